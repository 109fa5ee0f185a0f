"""The plain recomputation that every row that a flow keeps is held against: `adriatic verify`.

Owns the wait for the flows, the one snapshot that all is compared in, and the offsets. What is right in a table, its
flow declares: a query, or a recomputation in the simplest form there is (`dataflows/oracle_*.py`), which shares the
pure parts with the flow (chunker, embedder) and nothing else: no offsets, batches, versions in flight. Refuses to
repair. Reads as `adriatic_flows`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from graphlib import TopologicalSorter
from typing import Any
from uuid import UUID

import psycopg

from connectors.embedders import Embedder
from connectors.kafka.offsets import Offsets
from connectors.postgres.connections import Connection, connect
from connectors.postgres.errors import translate
from connectors.postgres.wal import read_position
from dataflows.catalog import flows
from dataflows.comparison import Comparison, TenantReport, VerifyReport
from runtime.deadline import Deadline
from runtime.errors import DependencyUnavailable, NotFound
from runtime.settings import Settings
from schemas.flows import KeptView

NOT_KEPT_BY_A_FLOW: Mapping[str, str] = {
    "mv.watermarks": "how far each flow is; `verify` waits for them, and compares with what they claim"
}
"""Tables of the schema `mv` that no flow declares, and why they are not compared."""
POLL_S = 0.1


def verify(
    settings: Settings,
    embedder: Embedder | None,
    wait: Deadline | None = None,
    tenant: str | None = None,
    sample: int | None = None,
    topics: Mapping[str, str] | None = None,
) -> VerifyReport:
    """Compare everything, or one `tenant` (its id or slug).

    With `wait`, first until the flows have reached the database's present position. `embedder` None recomputes no
    vector, `sample` at most so many a tenant. `topics` maps contract names to the topics that were read instead.
    Raises `DependencyUnavailable` when it cannot tell, also because the flows do not get there in time.
    """
    report = VerifyReport()
    with _snapshot(settings, wait, report) as connection:
        report.dead_letters = _one(connection, "select count(*) from ops.dlq where state = 'new' and stage <> 'reject'")
        space = _one(connection, "select space from mv.embedding_spaces where active")
        for tenant_id, slug in _tenants(connection, tenant):
            each = TenantReport(tenant_id, slug)
            report.tenants.append(each)
            comparison = Comparison(connection, report, each, space, embedder, sample)
            for flow in flows().values():
                flow.compare(comparison)
    _compare_offsets(settings, report, topics or {})
    return report


# --- waiting and reading --------------------------------------------------------------------------------------------


@contextmanager
def _snapshot(settings: Settings, wait: Deadline | None, report: VerifyReport) -> Iterator[Connection]:
    with translate(), connect(settings.postgres, name="adriatic-verify") as connection:
        connection.autocommit = True
        report.lsn = read_position(connection)
        if wait is not None:
            for names in _in_order():
                # What these read, the flows before them wrote meanwhile.
                report.lsn = read_position(connection)
                for view in (view for name in names for view in flows()[name].views):
                    _wait_for_view(connection, view, report.lsn, wait)
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


def _in_order() -> Iterator[tuple[str, ...]]:
    """Names of flows that need not wait for each other, after those that write what they read."""
    writers: dict[str, set[str]] = {}
    for name, flow in flows().items():
        for written in (*(f"adriatic.{table.name}" for table in flow.tables), *(view.name for view in flow.views)):
            writers.setdefault(written, set()).add(name)
    reads = {name: {*flow.topics, *(view.follows for view in flow.views)} for name, flow in flows().items()}
    order = TopologicalSorter(
        {name: {writer for each in read for writer in writers.get(each, ())} - {name} for name, read in reads.items()}
    )
    order.prepare()
    while order.is_active():
        names = order.get_ready()
        yield names
        order.done(*names)


def _wait_for_view(connection: Connection, view: KeptView, lsn: str, wait: Deadline) -> None:
    """A view has one watermark for each partition that it is made from, from the first start of its flow on. What a
    view still lacks when the time is over is reported as a difference."""
    while not view.follows:
        reached, partitions = _row(connection, REACHED, [lsn, view.name])
        if reached == partitions > 0:
            break
        if wait.passed:
            raise DependencyUnavailable(
                f"the view {view.name} has reached {lsn} in {reached} of {partitions} partitions",
                hint="`adriatic status` says whether capture and the flows run; behind a large import, wait longer",
            )
        wait.clock.sleep(POLL_S)
    while view.waiting and _one(connection, view.waiting) is not None and not wait.passed:
        wait.clock.sleep(POLL_S)


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


def _one(connection: Connection, query: Any, arguments: Sequence[Any] = ()) -> Any:
    row = connection.execute(query, arguments or None).fetchone()
    return row[0] if row else None


def _row(connection: Connection, query: Any, arguments: Sequence[Any]) -> Any:
    return connection.execute(query, arguments).fetchone()


# --- offsets --------------------------------------------------------------------------------------------------------


def _compare_offsets(settings: Settings, report: VerifyReport, renamed: Mapping[str, str]) -> None:
    """A flow that stands before the first record of a partition lost some; one that stands past its end is in another
    topic than it thinks."""
    offsets = Offsets(settings.kafka)
    with translate(), connect(settings.postgres, name="adriatic-verify") as connection:
        committed = {
            (flow, topic, partition): at
            for flow, topic, partition, at in connection.execute(
                "select flow, topic, partition, next_offset from ops.consumer_offsets"
            )
        }
    for name, flow in flows().items():
        sources = offsets.partitions([renamed.get(topic, topic) for topic in flow.topics])
        first, end = offsets.first(sources), offsets.end(sources)
        for source in sources:
            at = committed.get((name, *source))
            if at is None:
                report.add(None, "offset", f"{name} {source}", "has no committed offset")
            elif not first[source] <= at <= end[source]:
                report.add(None, "offset", f"{name} {source}", f"{at} is outside {first[source]} to {end[source]}")
