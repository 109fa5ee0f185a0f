"""The plain recomputation that every row that a flow keeps is held against: `adriatic verify`.

Owns the wait for the flows, the one snapshot that all is compared in, and the offsets. What is right in a table, its
flow declares: a query, or a recomputation in the simplest form there is (`dataflows/oracle_*.py`), which shares the
pure parts with the flow (chunker, embedder) and nothing else: no offsets, batches, versions in flight. Refuses to
repair. Reads as `adriatic_flows`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from graphlib import TopologicalSorter
from typing import Any
from uuid import UUID

import psycopg

from connectors.embedders import Embedder
from connectors.embedders.spaces import SpaceEmbedders
from connectors.kafka.offsets import Offsets
from connectors.postgres.connections import Connection, connect, read_value
from connectors.postgres.errors import translate
from connectors.postgres.wal import read_position
from dataflows.catalog import flows
from dataflows.comparison import Comparison, StuckView, TenantReport, VerifyReport
from runtime.deadline import Deadline
from runtime.errors import NotFound
from runtime.settings import Settings
from schemas.flows import KeptView

NOT_KEPT_BY_A_FLOW: Mapping[str, str] = {
    "mv.watermarks": "how far each flow is; `verify` waits for them, and compares with what they claim"
}
"""Tables of the schema `mv` that no flow declares, and why they are not compared."""
POLL_S = 0.1
LEVEL_S_MIN = 5.0
"""What each flow gets at least to follow those whose tables it reads, in seconds, when these used up the time: a batch
takes a second or two."""


def verify(
    settings: Settings,
    embedder: Embedder | SpaceEmbedders | None,
    wait: Deadline | None = None,
    tenant: str | None = None,
    sample: int | None = None,
    topics: Mapping[str, str] | None = None,
    view: str | None = None,
) -> VerifyReport:
    """Compare everything, or one `tenant` (its id or slug), or what the flow of one `view` keeps.

    With `wait`, first until the flows have reached the database's present position. A view that does not get there is
    named in the report, and what its flow keeps is not compared; all else is. `embedder` None recomputes no vector,
    `sample` at most so many a tenant. `topics` maps contract names to the topics that were read instead. Raises
    `DependencyUnavailable` when a dependency does not answer, `NotFound` for a tenant or a view that is not there.
    """
    report = VerifyReport()
    compared = {flow_of(view)} if view is not None else set(flows())
    with _snapshot(settings, wait, report, compared) as connection:
        report.dead_letters = read_value(
            connection, "select count(*) from ops.dlq where state = 'new' and stage <> 'reject'"
        )
        behind = {stuck.flow for stuck in report.stuck}
        for tenant_id, slug in _tenants(connection, tenant):
            each = TenantReport(tenant_id, slug)
            report.tenants.append(each)
            space = read_value(connection, "select mv.active_space(%s)", tenant_id)
            comparison = Comparison(connection, report, each, space, embedder, sample)
            for name, flow in flows().items():
                if name in compared - behind:
                    report.flow = name
                    flow.compare(comparison)
    for name in sorted(compared):
        report.flow = name
        _compare_offsets(settings, report, name, topics or {})
    return report


def flow_of(view: str) -> str:
    """The name of the flow that keeps a view. Raises `NotFound`."""
    for name, flow in flows().items():
        if view in (each.name for each in flow.views):
            return name
    known = ", ".join(each.name for flow in flows().values() for each in flow.views)
    raise NotFound(f"there is no view {view}", hint=f"one of {known}")


# --- waiting and reading --------------------------------------------------------------------------------------------


@contextmanager
def _snapshot(
    settings: Settings, wait: Deadline | None, report: VerifyReport, compared: Collection[str]
) -> Iterator[Connection]:
    with translate(), connect(settings.postgres, "verify", name="adriatic-verify") as connection:
        connection.autocommit = True
        report.lsn = read_position(connection)
        if wait is not None:
            for names in order():
                # What these read, the flows before them wrote meanwhile.
                report.lsn = read_position(connection)
                enough = wait if wait.left_s > LEVEL_S_MIN else Deadline.after(LEVEL_S_MIN, wait.clock)
                wanted = {view: name for name in names for view in flows()[name].views}
                stuck = _wait_for_views(connection, wanted, report.lsn, enough)
                report.stuck += [each for each in stuck if each.flow in compared]
        connection.autocommit = False
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield connection
        connection.rollback()


REACHED = """
  select count(*) filter (where lsn >= %s::pg_lsn), count(*)
  from mv.watermarks
  where view = %s
"""


def order() -> Iterator[tuple[str, ...]]:
    """Names of flows that need not wait for each other, after those that write what they read."""
    writers: dict[str, set[str]] = {}
    for name, flow in flows().items():
        for written in (*(f"adriatic.{table.name}" for table in flow.tables), *(view.name for view in flow.views)):
            writers.setdefault(written, set()).add(name)
    reads = {name: {*flow.topics, *(view.follows for view in flow.views)} for name, flow in flows().items()}
    levels = TopologicalSorter(
        {name: {writer for each in read for writer in writers.get(each, ())} - {name} for name, read in reads.items()}
    )
    levels.prepare()
    while levels.is_active():
        names = levels.get_ready()
        yield names
        levels.done(*names)


def _wait_for_views(
    connection: Connection, wanted: Mapping[KeptView, str], lsn: str, wait: Deadline
) -> list[StuckView]:
    """Wait for all of them at once, and return those that do not get there. A view has one watermark for each partition
    that it is made from, from the first start of its flow on."""
    while True:
        stuck = []
        for view, flow in wanted.items():
            reached, partitions = _row(connection, REACHED, [lsn, view.follows or view.name])
            if not reached == partitions > 0:
                stuck.append(StuckView(view.name, flow, f"has reached {lsn} in {reached} of {partitions} partitions"))
        if wait.passed or not stuck:
            break
        wait.clock.sleep(POLL_S)
    behind = {each.flow for each in stuck}
    for view, flow in wanted.items():
        # What a view still lacks when the time is over is reported as a difference.
        while (
            flow not in behind and view.waiting and read_value(connection, view.waiting) is not None and not wait.passed
        ):
            wait.clock.sleep(POLL_S)
    return stuck


_READ_TENANTS = """
  select tenant_id, slug
  from app.tenants
  where %(t)s::text is null or slug = %(t)s or tenant_id::text = %(t)s
  order by slug
"""


def _tenants(connection: Connection, tenant: str | None) -> list[tuple[UUID, str]]:
    rows = connection.execute(_READ_TENANTS, {"t": tenant}).fetchall()
    if tenant is not None and not rows:
        raise NotFound(f"there is no tenant {tenant}")
    return [(tenant_id, slug) for tenant_id, slug in rows]


def _row(connection: Connection, query: Any, arguments: Sequence[Any]) -> Any:
    return connection.execute(query, arguments).fetchone()


# --- offsets --------------------------------------------------------------------------------------------------------


_READ_OFFSETS = "select topic, partition, next_offset from ops.consumer_offsets where flow = %s"


def _compare_offsets(settings: Settings, report: VerifyReport, name: str, renamed: Mapping[str, str]) -> None:
    """A flow that stands before the first record of a partition lost some; one that stands past its end is in another
    topic than it thinks."""
    offsets = Offsets(settings.kafka)
    with translate(), connect(settings.postgres, name="adriatic-verify") as connection:
        committed = {(topic, partition): at for topic, partition, at in connection.execute(_READ_OFFSETS, [name])}
    sources = offsets.partitions([renamed.get(topic, topic) for topic in flows()[name].topics])
    first, end = offsets.first(sources), offsets.end(sources)
    for source in sources:
        at = committed.get((source.topic, source.partition))
        if at is None:
            report.add(None, "offset", f"{name} {source}", "has no committed offset")
        elif not first[source] <= at <= end[source]:
            report.add(None, "offset", f"{name} {source}", f"{at} is outside {first[source]} to {end[source]}")
