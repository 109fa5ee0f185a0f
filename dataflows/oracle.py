"""The plain recomputation that every row that a flow keeps is held against: `adriatic verify`.

Owns what "right" means, in the simplest form there is: take the newest version of each source, cut it, embed it,
compare.
Shares the pure parts with the flows (chunker, embedder) and nothing else: no offsets, batches, versions in flight.
Refuses to repair. Reads as `adriatic_flows`, in one snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

import numpy as np
import psycopg

from connectors.embedders import Embedder
from connectors.kafka.source import Offsets
from connectors.postgres.sink import Connection, connect, mapped
from dataflows import oracle_feeds, oracle_related, oracle_usage
from dataflows.activity import Activity
from dataflows.chunker import Chunk, chunk, shown_title
from dataflows.embed import Embed
from dataflows.feeds import Feeds
from dataflows.index import Index, columns_of
from dataflows.oracle_activity import RIGHT, unlike
from dataflows.related import Related
from dataflows.usage import Usage
from runtime.deadline import Deadline
from runtime.errors import DependencyUnavailable, NotFound
from runtime.settings import Settings
from schemas.sources import SourceKey
from topics import catalog

Kind = Literal["missing", "extra", "different", "words", "no-vector", "vector", "orphan", "not-complete", "offset"]

DIFFERENCES_MAX = 200
"""How many differences a report spells out; the rest are counted."""
COSINE_MIN = 0.9999
"""Two computations of one vector: equal but for rounding on another kind of processor."""
SOURCES_AT_ONCE = 200
POLL_S = 0.1

COMPARED: Mapping[str, str] = {
    "mv.search_state": "the newest version of each source, column by column",
    "mv.chunks": "that version cut anew: text, place, hash, words; and nothing beside it",
    "mv.embeddings": "a vector for each passage, equal to one that is computed anew",
    **dict.fromkeys((*RIGHT, *oracle_usage.RIGHT), "a plain query over what the flow read, row by row"),
    "mv.related_features": "words and vectors of each ADR, made anew",
    "mv.related": "every pair of a tenant, compared one by one",
    "mv.feed_ledger": "the versions of documents that feeds wrote, and none that was passed over",
    "mv.feed_status": "a recount of the ledger, and of rejections",
}
"""Every table that a flow keeps, and what it is held against. A table that is neither here nor in `NOT_COMPARED` fails
`tests/dataflows/test_oracle.py`, and so does one here whose damage `verify` would not see."""
NOT_COMPARED: Mapping[str, str] = {
    "mv.watermarks": "how far each flow is; `verify` waits for them, and compares with what they claim",
    "mv.embedding_spaces": "written once by the flow that embeds, from its settings; no function of a topic",
    "mv.feed_rejections": "the newest refusals, which nothing else keeps; how many there were is in mv.feed_status",
    "mv.feed_days": "what counts against the quota of a day, by the broker's clock",
    "mv.embedding_stats": "what was known when each version came: a replay or a redrive cannot find that out again",
}
"""Tables of the schema `mv` that hold no view, and why."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the recomputation has it. `where` holds ids, never text."""

    kind: Kind
    where: str
    detail: str


@dataclass(slots=True)
class TenantReport:
    """What was compared for one tenant."""

    tenant_id: UUID
    slug: str
    sources: dict[str, int] = field(default_factory=dict)
    """How many are there, by kind."""
    deleted: int = 0
    chunks: int = 0
    vectors: int = 0
    vectors_recomputed: int = 0
    differences: int = 0


@dataclass(slots=True)
class Report:
    """`differences` are the first few; `differences_total` counts all."""

    tenants: list[TenantReport] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    differences_total: int = 0
    dead_letters: int = 0
    lsn: str = ""

    @property
    def clean(self) -> bool:
        return self.differences_total == 0

    def add(self, tenant: TenantReport | None, kind: Kind, where: str, detail: str) -> None:
        self.differences_total += 1
        if tenant is not None:
            tenant.differences += 1
        if len(self.differences) < DIFFERENCES_MAX:
            self.differences.append(Difference(kind, where, detail))


@dataclass(frozen=True, slots=True)
class _Expected:
    """The newest version of a source, and its passages as they must be."""

    source: SourceKey
    version: int
    deleted: bool
    title: str
    status: str
    effective_at: Any
    chunks: tuple[Chunk, ...]

    @property
    def name(self) -> str:
        return f"{self.source.kind} {self.source.source_id} v{self.version}"


def verify(
    settings: Settings,
    embedder: Embedder | None,
    wait: Deadline | None = None,
    tenant: str | None = None,
    sample: int | None = None,
    topics: Mapping[str, str] | None = None,
) -> Report:
    """Compare everything, or one `tenant` (its id or slug).

    With `wait`, first until the flows have reached the database's present position. `embedder` None recomputes no
    vector, `sample` at most so many a tenant. `topics` maps contract names to the topics that were read instead.
    Raises `DependencyUnavailable` when it cannot tell, also because the flows do not get there in time.
    """
    report = Report()
    with _snapshot(settings, wait, report) as connection:
        report.dead_letters = _one(connection, "select count(*) from ops.dlq where state = 'new' and stage <> 'reject'")
        space = _one(connection, "select space from mv.embedding_spaces where active")
        for tenant_id, slug in _tenants(connection, tenant):
            each = TenantReport(tenant_id, slug)
            report.tenants.append(each)
            _compare_tenant(connection, report, each)
            _compare_vectors(connection, report, each, space, embedder, sample)
            for kind, table, where in unlike(connection, tenant_id, {**RIGHT, **oracle_usage.RIGHT}):
                report.add(each, kind, f"{slug} {where}", f"{table} is not what its source gives")
            for kind, table, where in oracle_related.unlike(connection, space, tenant_id):
                report.add(each, kind, f"{slug} {where}", f"{table} is not what texts, vectors and links give")
            for kind, table, where in oracle_feeds.unlike(connection, tenant_id):
                report.add(each, kind, f"{slug} {where}", f"{table} is not what the feeds' ledger gives")
    _compare_offsets(settings, report, topics or {})
    return report


# --- waiting and reading --------------------------------------------------------------------------------------------


@contextmanager
def _snapshot(settings: Settings, wait: Deadline | None, report: Report) -> Iterator[Connection]:
    with mapped(), connect(settings.postgres, name="adriatic-verify") as connection:
        connection.autocommit = True
        report.lsn = _one(connection, "select pg_current_wal_lsn()::text")
        if wait is not None:
            for flow in (Index, Activity, Usage, Feeds):
                for view in flow.views:
                    made_from = [topic for topic in flow.topics if view in flow.views_of(topic)]
                    _wait_for_view(connection, view, made_from, report.lsn, wait)
            _wait_for_meaning(connection, wait)
            # It is made from what the others wrote meanwhile.
            report.lsn = _one(connection, "select pg_current_wal_lsn()::text")
            for view in Related.views:
                _wait_for_view(connection, view, Related.topics, report.lsn, wait)
        connection.autocommit = False
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield connection
        connection.rollback()


def _wait_for_view(connection: Connection, view: str, topics: Sequence[str], lsn: str, wait: Deadline) -> None:
    """A view has one watermark for each partition of its topics."""
    declared = catalog.load()
    partitions = sum(declared[topic].partitions for topic in topics)
    while True:
        reached = _one(
            connection, "select count(*) from mv.watermarks where view = %s and lsn >= %s::pg_lsn", [view, lsn]
        )
        if reached >= partitions:
            return
        if wait.passed:
            raise DependencyUnavailable(
                f"the view {view} has reached {lsn} in {reached} of {partitions} partitions",
                hint="`adriatic status` says whether capture and the flows run; behind a large import, wait longer",
            )
        wait.clock.sleep(POLL_S)


def _wait_for_meaning(connection: Connection, wait: Deadline) -> None:
    """Until nothing waits for vectors, or the time is over: what still waits then is reported as a difference."""
    pending = (
        "select exists (select from mv.search_state "
        "where not deleted and meaning_version is distinct from words_version)"
    )
    while _one(connection, pending) and not wait.passed:
        wait.clock.sleep(POLL_S)


def _tenants(connection: Connection, tenant: str | None) -> list[tuple[UUID, str]]:
    rows = connection.execute(
        "select tenant_id, slug from app.tenants where %(t)s::text is null or slug = %(t)s or tenant_id::text = %(t)s "
        "order by slug",
        {"t": tenant},
    ).fetchall()
    if tenant is not None and not rows:
        raise NotFound(f"there is no tenant {tenant}")
    return [(tenant_id, slug) for tenant_id, slug in rows]


def _one(connection: Connection, query: Any, arguments: Sequence[Any] = ()) -> Any:
    row = connection.execute(query, arguments or None).fetchone()
    return row[0] if row else None


NEWEST = """
  with newest as (
    select kind, source_id, max(version) as version
    from app.source_versions
    where tenant_id = %(tenant)s
    group by kind, source_id
  )
  select v.tenant_id, v.kind, v.source_id, v.version, v.deleted, v.title, v.status, v.effective_at, v.body
  from newest n
  join app.source_versions v on v.kind = n.kind and v.source_id = n.source_id and v.version = n.version
  where v.tenant_id = %(tenant)s
  order by v.kind, v.source_id
"""


def _expected(connection: Connection, tenant_id: UUID) -> Iterator[_Expected]:
    with connection.cursor(name="newest") as cursor:
        cursor.itersize = SOURCES_AT_ONCE
        cursor.execute(NEWEST, {"tenant": tenant_id})
        for *key, version, deleted, title, status, effective_at, body in cursor:
            chunks = () if deleted else tuple(chunk(title, body))
            yield _Expected(SourceKey(*key), version, deleted, title, status, effective_at, chunks)


# --- words ----------------------------------------------------------------------------------------------------------

STATE_COLUMNS = ("words_version", "deleted", "title", "status", "effective_at", "chunks")
READ_STATES = """
  select
    tenant_id, kind, source_id, words_version, deleted, title, status, effective_at, chunks, meaning_version
  from mv.search_state
  where tenant_id = %s
"""


def _compare_tenant(connection: Connection, report: Report, tenant: TenantReport) -> None:
    states = {SourceKey(*row[:3]): row[3:] for row in connection.execute(READ_STATES, [tenant.tenant_id])}
    expected = list(_expected(connection, tenant.tenant_id))
    for start in range(0, len(expected), SOURCES_AT_ONCE):
        some = expected[start : start + SOURCES_AT_ONCE]
        stored = _stored_chunks(connection, some)
        for each in some:
            _compare_state(report, tenant, each, states.get(each.source))
            _compare_chunks(report, tenant, each, stored.get(each.source, {}))
        _compare_words(connection, report, tenant, some)
    known = {each.source for each in expected}
    for source in sorted(set(states) - known):
        if not states[source][1]:
            report.add(
                tenant, "extra", f"{tenant.slug} {source.kind} {source.source_id}", "is findable, and has no version"
            )
    _find_orphans(connection, report, tenant, known)


def _compare_state(report: Report, tenant: TenantReport, expected: _Expected, state: Any) -> None:
    where = f"{tenant.slug} {expected.name}"
    if expected.deleted:
        tenant.deleted += 1
    else:
        tenant.sources[expected.source.kind] = tenant.sources.get(expected.source.kind, 0) + 1
    if state is None:
        report.add(tenant, "missing", where, "is not in mv.search_state")
        return
    wanted = (
        *(expected.version, expected.deleted, expected.title, expected.status, expected.effective_at),
        len(expected.chunks),
    )
    for name, have, want in zip(STATE_COLUMNS, state, wanted, strict=False):
        if have != want:
            report.add(tenant, "different", where, f"search_state.{name} is not what the version says")
    if not expected.deleted and state[-1] != expected.version:
        report.add(tenant, "not-complete", where, f"findable by meaning is version {state[-1]}")


CHUNK_COLUMNS = ("heading_path", "body", "char_start", "char_end", "text_hash")
READ_CHUNKS = """
  select
    c.tenant_id, c.kind, c.source_id, c.version, c.ordinal, c.heading_path, c.body, c.char_start, c.char_end,
    c.text_hash
  from mv.chunks c
  join unnest(%s::uuid[], %s::text[], %s::uuid[]) as a (tenant_id, kind, source_id)
    using (tenant_id, kind, source_id)
"""


def _stored_chunks(
    connection: Connection, some: Sequence[_Expected]
) -> dict[SourceKey, dict[tuple[int, int], tuple[Any, ...]]]:
    stored: dict[SourceKey, dict[tuple[int, int], tuple[Any, ...]]] = {}
    for tenant_id, kind, source_id, version, ordinal, *rest in connection.execute(
        READ_CHUNKS, columns_of([each.source for each in some])
    ):
        stored.setdefault(SourceKey(tenant_id, kind, source_id), {})[version, ordinal] = tuple(rest)
    return stored


def _compare_chunks(
    report: Report, tenant: TenantReport, expected: _Expected, stored: dict[tuple[int, int], tuple[Any, ...]]
) -> None:
    tenant.chunks += len(expected.chunks)
    for part in expected.chunks:
        where = f"{tenant.slug} {expected.name} #{part.ordinal}"
        have = stored.pop((expected.version, part.ordinal), None)
        if have is None:
            report.add(tenant, "missing", where, "is not in mv.chunks")
            continue
        wanted = (part.heading_path, part.body, part.char_start, part.char_end, part.text_hash)
        for name, old, new in zip(CHUNK_COLUMNS, have, wanted, strict=True):
            if old != new:
                report.add(tenant, "different", where, f"chunks.{name} is not what the text gives")
    source = expected.source
    for version, ordinal in sorted(stored):
        kind: Kind = "extra" if version == expected.version else "orphan"
        where = f"{tenant.slug} {source.kind} {source.source_id} v{version} #{ordinal}"
        report.add(tenant, kind, where, "should not be in mv.chunks")


UNLIKE_WORDS = """
  select c.kind, c.source_id, c.version, c.ordinal
  from mv.chunks c
  join unnest(%s::uuid[], %s::text[], %s::uuid[], %s::bigint[], %s::text[]) as a (
      tenant_id, kind, source_id, version, title
    )
    using (tenant_id, kind, source_id, version),
  lateral (select mv.chunk_tsv(c.ordinal, a.title, c.heading_path, c.body) as tsv offset 0) v
  where c.tsv <> v.tsv or c.length <> mv.chunk_length(v.tsv)
"""


def _compare_words(connection: Connection, report: Report, tenant: TenantReport, some: Sequence[_Expected]) -> None:
    columns = columns_of([each.source for each in some])
    versions, titles = [each.version for each in some], [shown_title(each.title) for each in some]
    for kind, source_id, version, ordinal in connection.execute(UNLIKE_WORDS, [*columns, versions, titles]):
        where = f"{tenant.slug} {kind} {source_id} v{version} #{ordinal}"
        report.add(tenant, "words", where, "tsv or length is not of its text")


COUNT_ORPHANS = """
  select c.kind, c.source_id, count(*)
  from mv.chunks c
  left join unnest(%s::uuid[], %s::text[], %s::uuid[]) as a (tenant_id, kind, source_id)
    using (tenant_id, kind, source_id)
  where c.tenant_id = %s and a.source_id is null
  group by c.kind, c.source_id
"""


def _find_orphans(connection: Connection, report: Report, tenant: TenantReport, known: set[SourceKey]) -> None:
    rows = connection.execute(COUNT_ORPHANS, [*columns_of(sorted(known)), tenant.tenant_id])
    for kind, source_id, count in rows:
        where = f"{tenant.slug} {kind} {source_id}"
        report.add(tenant, "orphan", where, f"{count} chunks of a source that has no version")


# --- meaning --------------------------------------------------------------------------------------------------------


READ_HASHES = """
  select c.kind, c.source_id, c.version, c.ordinal, c.text_hash, e.text_hash is not null
  from mv.chunks c
  join mv.search_state s
    on s.tenant_id = c.tenant_id
    and s.kind = c.kind
    and s.source_id = c.source_id
    and s.words_version = c.version
  left join mv.embeddings e on e.tenant_id = c.tenant_id and e.space = %s and e.text_hash = c.text_hash
  where c.tenant_id = %s and not s.deleted
"""


def _compare_vectors(
    connection: Connection,
    report: Report,
    tenant: TenantReport,
    space: str | None,
    embedder: Embedder | None,
    sample: int | None,
) -> None:
    rows = connection.execute(READ_HASHES, [space, tenant.tenant_id]).fetchall()
    hashes: set[bytes] = set()
    for kind, source_id, version, ordinal, text_hash, has_vector in rows:
        hashes.add(text_hash)
        tenant.vectors += has_vector
        if not has_vector:
            where = f"{tenant.slug} {kind} {source_id} v{version} #{ordinal}"
            report.add(tenant, "no-vector", where, "has no vector")
    if embedder is None or space is None:
        return
    if embedder.space.name != space:
        report.add(tenant, "vector", tenant.slug, f"the settings' embedder makes {embedder.space.name}, not {space}")
        return
    # Hashes are as good as random, so the first few of them are a sample, and the same one every time.
    chosen = set(sorted(hashes)[:sample] if sample is not None else hashes)
    texts = {
        part.text_hash: part.text
        for each in _expected(connection, tenant.tenant_id)
        for part in each.chunks
        if part.text_hash in chosen
    }
    _recompute(connection, report, tenant, embedder, texts)


def _recompute(
    connection: Connection, report: Report, tenant: TenantReport, embedder: Embedder, texts: dict[bytes, str]
) -> None:
    ordered = sorted(texts)
    for start in range(0, len(ordered), SOURCES_AT_ONCE):
        keys = ordered[start : start + SOURCES_AT_ONCE]
        vectors = embedder.embed([texts[key] for key in keys])
        stored: dict[bytes, str] = dict(
            connection.execute(
                "select text_hash, embedding::text from mv.embeddings "
                "where tenant_id = %s and space = %s and text_hash = any(%s)",
                [tenant.tenant_id, embedder.space.name, keys],
            ).fetchall()
        )
        for key, vector in zip(keys, vectors, strict=True):
            if key not in stored:
                continue  # reported as no-vector already
            tenant.vectors_recomputed += 1
            cosine = _cosine(vector, stored[key])
            if not cosine >= COSINE_MIN:
                report.add(tenant, "vector", f"{tenant.slug} text {key.hex()[:16]}", f"cosine {cosine:.6f} to its text")


def _cosine(vector: Any, literal: str) -> float:
    other = np.array(literal.strip("[]").split(","), dtype=np.float32)
    if other.shape != vector.shape:
        return float("nan")
    norms = float(np.linalg.norm(vector)) * float(np.linalg.norm(other))
    return float(np.dot(vector, other)) / norms if norms else float("nan")


# --- offsets --------------------------------------------------------------------------------------------------------


def _compare_offsets(settings: Settings, report: Report, renamed: Mapping[str, str]) -> None:
    """A flow that stands before the first record of a partition lost some; one that stands past its end is in another
    topic than it thinks."""
    offsets = Offsets(settings.kafka)
    flows: tuple[tuple[str, tuple[str, ...]], ...] = tuple(
        (flow.name, flow.topics) for flow in (Index, Embed, Activity, Usage, Related, Feeds)
    )
    with mapped(), connect(settings.postgres, name="adriatic-verify") as connection:
        committed = {
            (flow, topic, partition): at
            for flow, topic, partition, at in connection.execute(
                "select flow, topic, partition, next_offset from ops.consumer_offsets"
            )
        }
    for flow, topics in flows:
        sources = offsets.partitions([renamed.get(topic, topic) for topic in topics])
        first, end = offsets.first(sources), offsets.end(sources)
        for source in sources:
            at = committed.get((flow, *source))
            if at is None:
                report.add(None, "offset", f"{flow} {source}", "has no committed offset")
            elif not first[source] <= at <= end[source]:
                report.add(None, "offset", f"{flow} {source}", f"{at} is outside {first[source]} to {end[source]}")
