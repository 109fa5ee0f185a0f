"""Indexes of tenants that have outgrown the exact search by meaning: begun, built, measured and left, a step at a time.

Owns the order of steps, and the statements. Every step is one transaction that leaves all to be found in
`mv.vector_indexes`, so whoever comes next goes on, after a kill too; one process at a time takes them. Refuses to keep
an index: the flows do, in the transaction that changes a source. Read next: `schemas/sql/0039_meaning.sql`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Literal, get_args
from uuid import UUID

import psycopg

from connectors.postgres.connections import Connection, read_value
from connectors.postgres.wal import read_share_left
from runtime.settings import SearchSettings

Did = Literal["dropped", "began", "filled", "built", "gave-way", "caught-up", "live", "left", "measured"]
State = Literal["filling", "building", "live"]
STATES: tuple[State, ...] = get_args(State)

FILL_PASSAGES_MAX = 2_000
"""Passages of one transaction of filling. The rows of their sources are locked for as long: a fifth of a second."""
CATCH_UP_PASSAGES_MAX = 500
"""The same when there is a graph, into which each passage takes a millisecond or two; and what the flows wait for when
an index becomes live."""
BUILD_MS_MAX = 6 * 3_600_000
"""Time for one graph. Two million passages take an hour on one core when they fit into the memory."""
LEFT_TO_BUILD_MIN, LEFT_WHILE_BUILDING_MIN = 0.5, 0.25
"""Shares of the WAL that slots may keep: with less left no graph is begun, and one that is being built is given up. A
transaction that writes holds the start of every slot where it began itself, so that a slot is lost when more is written
meanwhile than slots may keep: 4 GB in fifteen minutes while a tenant of a million passages was filled."""
LOOK_AT_SLOTS_S = 5.0
"""Time between two looks at what is left while a graph is built: at 50 MB/s, 6 % of 4 GB."""
BYTES_PER_VECTOR = 2_048
"""Memory that the graph takes for each vector, at 384 dimensions: what is asked for, up to the setting."""
LEAVE_SHARE = 0.5
"""An index is left when it holds less than this share of what an exact search may compare: no tenant that is about that
large has one built and dropped in turn."""
WAITING_SHARE_MAX = 0.5
"""An index is begun anew when more than this share of its passages changed while its graph was built, as they do while
a tenant is filled, or before, when whoever builds is killed: a passage takes 6 ms into a large graph, and 1.4 ms
when all is built anew (two cores, 10^6)."""
REMOVED_SHARE_MAX = 1.0
"""An index is built anew when as many rows were deleted from it as are in it. Vacuum mends the graph around each;
`tests/dataflows/test_vector_indexes.py` asserts the recall when half of a tenant was deleted."""
RECALL_EVERY_S = 3_600
"""Recall is measured anew after an hour: each query is compared with everything that the tenant has."""
RECALL_QUERIES = 20
"""Queries of one measurement: 200 neighbours, so that 0.98 is told from 0.95."""


@dataclass(frozen=True, slots=True)
class ComingIndex:
    """One index that is not live yet."""

    tenant_id: UUID
    slot: int
    state: State
    passages: int
    dimension: int
    graph_bytes: int | None


@dataclass(frozen=True, slots=True)
class IndexHealth:
    """All indexes at once. `recall`: of the worst; None when it is not known of each. `unknown`: how many are live and
    were not measured."""

    states: Mapping[State, int]
    passages: int
    recall: float | None
    unknown: int


ALONE = "select pg_try_advisory_xact_lock(4271004)"
"""One process builds at a time, whichever: two graphs at once would take twice the memory."""

ORPHANS = """
  select substring(c.relname from 'vectors_([0-9]+)$')::int
  from pg_inherits h
  join pg_class c on c.oid = h.inhrelid
  where h.inhparent = 'mv.vectors'::regclass
    and not exists (
      select
      from mv.vector_indexes i
      where i.slot = substring(c.relname from 'vectors_([0-9]+)$')::int
    )
  limit 1
"""
COMING = """
  select i.tenant_id, i.slot, i.state, i.passages, p.dimension, mv.vector_graph_bytes(i.slot)
  from mv.vector_indexes i
  join mv.embedding_spaces p using (space)
  where i.state <> 'live'
  order by i.slot
  limit 1
"""
WAITING = """
  select coalesce(sum(s.chunks), 0)
  from mv.vector_indexes i
  join mv.vector_changes c on c.tenant_id = i.tenant_id and c.slot = i.slot
  join mv.search_state s on s.tenant_id = i.tenant_id and s.kind = i.kind and s.source_id = c.source_id
  where i.tenant_id = %s and i.slot = %s
"""
SMALL = """
  select i.tenant_id, i.slot
  from mv.vector_indexes i
  where i.state = 'live'
    and i.passages < %(passages)s
    -- With texts that a source repeats, as it was counted when it began: else it would come and go.
    and (
      select coalesce(sum(s.chunks), 0)
      from mv.search_state s
      where s.tenant_id = i.tenant_id and s.kind = i.kind and not s.deleted
    ) < %(passages)s
  order by i.slot
  limit 1
"""
LARGE = """
  with sizes as (
    select tenant_id, kind, sum(chunks) as passages
    from mv.search_state
    where not deleted and meaning_version is not null
    group by tenant_id, kind
    having sum(chunks) > %s
  )
  select z.tenant_id, z.kind, p.space
  from sizes z
  cross join lateral mv.kept_spaces(z.tenant_id) p
  left join mv.vector_indexes i on i.tenant_id = z.tenant_id and i.kind = z.kind and i.space = p.space
  where p.complete and (i.slot is null or i.removed >= i.passages * %s)
  order by z.passages, z.tenant_id, z.kind
  limit 1
"""
"""The smallest first: it is ready soonest."""
UNMEASURED = """
  select i.tenant_id, i.slot, i.kind, i.space
  from mv.vector_indexes i
  left join mv.search_recall r on r.tenant_id = i.tenant_id and r.slot = i.slot
  where i.state = 'live'
    and (r.measured_at is null or r.measured_at < clock_timestamp() - make_interval(secs => %s))
  order by r.measured_at nulls first
  limit 1
"""
KEEP_BUILD = """
  update mv.vector_indexes
  set
    build_ms = extract(epoch from clock_timestamp() - transaction_timestamp()) * 1000,
    bytes = mv.vector_graph_bytes(slot)
  where tenant_id = %s and slot = %s
"""
KEEP_RECALL = """
  insert into mv.search_recall (tenant_id, kind, space, slot, queries, recall)
  select %(tenant)s, %(kind)s, %(space)s, %(slot)s, m.queries, m.recall
  from mv.measure_recall(%(tenant)s, %(slot)s, %(queries)s) m
  where m.queries > 0
  on conflict (tenant_id, kind, space)
  do update set
    slot = excluded.slot,
    queries = excluded.queries,
    recall = excluded.recall,
    measured_at = clock_timestamp()
"""
HEALTH = """
  select i.state, count(*), sum(i.passages), min(r.recall), count(*) filter (where r.recall is null)
  from mv.vector_indexes i
  left join mv.search_recall r on r.tenant_id = i.tenant_id and r.slot = i.slot
  group by i.state
"""


Beside = Callable[[], AbstractContextManager[Connection]]
"""Gives another connection to the same database."""


def step(connection: Connection, settings: SearchSettings, beside: Beside | None = None) -> Did | None:
    """Take one step, in the transaction of `connection`; None when there is nothing to do, or another process does it.
    The role must see all tenants' rows. `beside`: where slots are looked at while a graph is built; None: they are not.
    """
    if not read_value(connection, ALONE):
        return None
    for take in (_drop, partial(_go_on, beside=beside), _leave, _begin, _measure):
        if did := take(connection, settings):
            return did
    return None


def read_health(connection: Connection) -> IndexHealth:
    """How all indexes are."""
    rows = connection.execute(HEALTH).fetchall()
    live = [row for row in rows if row[0] == "live"]
    recall, unknown = (live[0][3], live[0][4]) if live else (None, 0)
    states: dict[State, int] = dict.fromkeys(STATES, 0) | {row[0]: row[1] for row in rows}
    return IndexHealth(states, int(sum(row[2] for row in rows)), None if unknown else recall, unknown)


def _drop(connection: Connection, settings: SearchSettings) -> Did | None:
    """Drop a table that no index has any more. Who reads it now is not waited for: it is dropped the next time."""
    slot = read_value(connection, ORPHANS)
    if slot is None or not read_value(connection, "select mv.drop_vector_table(%s)", slot):
        return None
    return "dropped"


def _go_on(connection: Connection, settings: SearchSettings, beside: Beside | None) -> Did | None:
    row = connection.execute(COMING).fetchone()
    if row is None:
        return None
    index = ComingIndex(*row)
    if index.state == "filling":
        connection.execute("select mv.fill_vectors(%s, %s, %s)", [index.tenant_id, index.slot, FILL_PASSAGES_MAX])
        return "filled"
    if _is_overtaken(connection, index):
        connection.execute("select mv.leave_vectors(%s, %s)", [index.tenant_id, index.slot])
        return "left"
    if index.graph_bytes is None:
        return _build_within(connection, index, settings.index_memory_mb, beside)
    return _finish(connection, index)


def _is_overtaken(connection: Connection, index: ComingIndex) -> bool:
    waiting: int = read_value(connection, WAITING, index.tenant_id, index.slot)
    return waiting > max(index.passages * WAITING_SHARE_MAX, CATCH_UP_PASSAGES_MAX)


def _build_within(connection: Connection, index: ComingIndex, memory_mb_max: int, beside: Beside | None) -> Did | None:
    """Build, unless or until too little WAL is left for slots."""
    if beside is None:
        _build(connection, index, memory_mb_max)
        return "built"
    with beside() as other:
        if (left := read_share_left(other)) is not None and left < LEFT_TO_BUILD_MIN:
            return None
        over, given_up = threading.Event(), threading.Event()
        watch = threading.Thread(target=_watch_slots, args=(connection, other, over, given_up), daemon=True)
        watch.start()
        try:
            with connection.transaction():
                _build(connection, index, memory_mb_max)
        except psycopg.errors.QueryCanceled:
            if not given_up.is_set():
                raise
            return "gave-way"
        finally:
            over.set()
            watch.join()
    return "built"


def _watch_slots(connection: Connection, other: Connection, over: Event, given_up: Event) -> None:
    """Cancel what `connection` does when too little is left, until it is over."""
    while not over.wait(LOOK_AT_SLOTS_S):
        try:
            left = read_share_left(other)
        except psycopg.Error:  # the database is gone, and the build with it
            return
        if left is not None and left < LEFT_WHILE_BUILDING_MIN:
            given_up.set()
            connection.cancel_safe(timeout=LOOK_AT_SLOTS_S)


def _build(connection: Connection, index: ComingIndex, memory_mb_max: int) -> None:
    connection.execute("select set_config('statement_timeout', %s, true)", [str(BUILD_MS_MAX)])
    wanted_mb = 64 + index.passages * BYTES_PER_VECTOR * index.dimension // 384 // 1_000_000
    arguments = [index.slot, index.dimension, min(wanted_mb, memory_mb_max)]
    connection.execute("select mv.build_vector_graph(%s, %s, %s)", arguments)
    connection.execute(KEEP_BUILD, [index.tenant_id, index.slot])


def _finish(connection: Connection, index: ComingIndex) -> Did:
    of = (index.tenant_id, index.slot, CATCH_UP_PASSAGES_MAX)
    if read_value(connection, "select mv.catch_up_vectors(%s, %s, %s)", *of):
        return "caught-up"
    return "live" if read_value(connection, "select mv.put_live_vectors(%s, %s, %s)", *of) else "caught-up"


def _leave(connection: Connection, settings: SearchSettings) -> Did | None:
    row = connection.execute(SMALL, {"passages": settings.exact_passages_max * LEAVE_SHARE}).fetchone()
    if row is None:
        return None
    connection.execute("select mv.leave_vectors(%s, %s)", row)
    return "left"


def _begin(connection: Connection, settings: SearchSettings) -> Did | None:
    row = connection.execute(LARGE, [settings.exact_passages_max, REMOVED_SHARE_MAX]).fetchone()
    if row is None:
        return None
    connection.execute("select mv.begin_vectors(%s, %s, %s)", row)
    return "began"


def _measure(connection: Connection, settings: SearchSettings) -> Did | None:
    row = connection.execute(UNMEASURED, [RECALL_EVERY_S]).fetchone()
    if row is None:
        return None
    of = dict(zip(("tenant", "slot", "kind", "space"), row, strict=True))
    done = connection.execute(KEEP_RECALL, of | {"queries": RECALL_QUERIES}).rowcount
    return "measured" if done else None
