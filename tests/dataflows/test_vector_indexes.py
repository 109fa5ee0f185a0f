"""Indexes of large tenants for the search by meaning: what they find of what an exact search finds, and that every way
of getting there ends in the same rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import psycopg
import pytest
from prometheus_client import REGISTRY

from connectors.postgres import vector_indexes
from connectors.postgres.connections import connect
from connectors.postgres.sink import TransactionalSink
from connectors.postgres.vector_indexes import read_health, step
from connectors.postgres.vectors import send
from dataflows.comparison import Comparison, TenantReport, VerifyReport
from dataflows.embed import COMPLETE
from dataflows.index import Index
from dataflows.oracle_search import compare_indexes
from dataflows.vectors import keep as keep_vectors
from runtime.ids import new_id
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import SearchSettings, Settings
from schemas.sources import SourceKey
from streams.vector_indexes import VectorIndexWatch
from tests.dataflows.world import Outbox, Version, World

pytestmark = pytest.mark.stack

DIMENSION = 48
SPACE = "test/48"
PASSAGES = 3
"""Of each source."""
RULES = SearchSettings(exact_passages_max=200, index_memory_mb=64)
LARGE = 200
"""Sources of a tenant that gets an index: 600 passages, three times what an exact search compares."""
STEPS_MAX = 300
PAUSE_S = 0.1
QUERIES = 12
"""For a recall: of 120 neighbours 0.98 lets two be missed."""

WRITE_STATE = """
  insert into mv.search_state (
    tenant_id, kind, source_id, words_version, meaning_version, title, status, effective_at, recorded_at, words_at,
    meaning_at, chunks, length
  )
  values (%s, 'adr', %s, %s, %s, 't', %s, now(), now(), now(), now(), %s, 0)
  on conflict (tenant_id, kind, source_id)
  do update set words_version = excluded.words_version, meaning_version = excluded.meaning_version
"""
WRITE_CHUNK = """
  insert into mv.chunks
  values (%s, 'adr', %s, %s, %s, '', 'x', 0, 1, %s, '', 0)
"""
SEARCH = """
  select source_id, ordinal, score, route, second
  from mv.search_meaning(%s, %s, %s, %s, %s::jsonb, 100)
  order by score desc
"""


@dataclass
class Shelf:
    """One database with tenants, and beside it what an exact search of each would find."""

    settings: Settings
    flows: psycopg.Connection[Any]
    api: psycopg.Connection[Any]
    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(11))
    vectors: dict[UUID, dict[UUID, npt.NDArray[np.float32]]] = field(default_factory=dict)
    rare: dict[UUID, str] = field(default_factory=dict)
    centres: npt.NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self.centres = self.chance.normal(size=(40, DIMENSION)).astype(np.float32)
        self.flows.execute(
            "insert into mv.embedding_spaces values (%s, 'test', 'test', '1', %s, true)", [SPACE, DIMENSION]
        )

    def draw(self, count: int) -> npt.NDArray[np.float32]:
        """Vectors near one of forty centres, as texts are near their subject."""
        near = self.centres[self.chance.integers(len(self.centres), size=count)]
        drawn: npt.NDArray[np.float32] = near + 0.6 * self.chance.normal(size=near.shape).astype(np.float32)
        return drawn

    def tenant(self, sources: int, status: str = "accepted") -> UUID:
        tenant_id = new_id()
        with psycopg.connect(self.settings.postgres.dsn("admin"), autocommit=True) as admin:
            slug = f"t{tenant_id.hex}"
            admin.execute("insert into app.tenants values (%s, %s, 'T')", [tenant_id, slug])
        self.vectors[tenant_id] = {}
        self.put(tenant_id, sources, status)
        return tenant_id

    def put(self, tenant_id: UUID, sources: int, status: str = "accepted") -> list[UUID]:
        with self.flows.transaction():
            return [self.write(self.flows, tenant_id, new_id(), status=status) for _ in range(sources)]

    def write(
        self,
        connection: psycopg.Connection[Any],
        tenant_id: UUID,
        source_id: UUID,
        version: int = 1,
        status: str = "accepted",
        vectors: npt.NDArray[np.float32] | None = None,
    ) -> UUID:
        """A version that is findable by meaning, as the flows write it: the rows, and then the index."""
        vectors = self.draw(PASSAGES) if vectors is None else vectors
        keys = [vector.tobytes()[:32] for vector in vectors]
        state = [tenant_id, source_id, version, version, status, len(keys)]
        connection.execute(WRITE_STATE, state)
        connection.execute(
            "delete from mv.chunks where tenant_id = %s and kind = 'adr' and source_id = %s", [tenant_id, source_id]
        )
        for ordinal, (key, vector) in enumerate(zip(keys, vectors, strict=True)):
            connection.execute(WRITE_CHUNK, [tenant_id, source_id, version, ordinal, key])
            connection.execute(
                "insert into mv.embeddings values (%s, %s, %s, %s) on conflict do nothing",
                [tenant_id, SPACE, key, send(vector)],
            )
        keep_vectors(connection, [SourceKey(tenant_id, "adr", source_id)])
        self.vectors[tenant_id][source_id] = vectors
        self.rare[source_id] = status
        return source_id

    def delete(self, tenant_id: UUID, sources: Sequence[UUID]) -> None:
        with self.flows.transaction():
            self.flows.execute(
                "update mv.search_state set deleted = true where tenant_id = %s and source_id = any(%s)",
                [tenant_id, list(sources)],
            )
            self.flows.execute(
                "delete from mv.chunks where tenant_id = %s and source_id = any(%s)", [tenant_id, list(sources)]
            )
            keep_vectors(self.flows, [SourceKey(tenant_id, "adr", source_id) for source_id in sources])
        for source_id in sources:
            del self.vectors[tenant_id][source_id]

    def advance(self, *until: str) -> list[str]:
        """Steps, until one of these was taken or none is left. That a table was dropped is not told: while vacuum looks
        at it that waits for a later look."""
        done: list[str] = []
        for _ in range(STEPS_MAX):
            with self.flows.transaction():
                did = step(self.flows, RULES)
            if did is not None and did != "dropped":
                done.append(did)
            if did in until or (did is None and not self.flows.execute(vector_indexes.ORPHANS).fetchone()):
                return done
            if did is None:
                time.sleep(PAUSE_S)
        raise AssertionError(f"it does not end: {done[-5:]}")

    def search(
        self, tenant_id: UUID, query: npt.NDArray[np.float32], passing: str | None = None, ids: list[UUID] | None = None
    ) -> list[tuple[Any, ...]]:
        kinds = None if ids is None else ["adr"] * len(ids)
        with self.api.transaction():
            self.api.execute("select set_config('app.tenant_id', %s, true)", [str(tenant_id)])
            return self.api.execute(SEARCH, [SPACE, send(query), kinds, ids, passing]).fetchall()

    def recall(self, tenant_id: UUID, route: str, status: str = "", listed: bool = False) -> float:
        """Of the ten nearest sources, on average of some queries. Every answer takes this route and is full."""
        sources = {
            source_id: vectors
            for source_id, vectors in self.vectors[tenant_id].items()
            if not status or self.rare[source_id] == status
        }
        found = 0
        wanted = min(10, len(sources))
        for query in self.draw(QUERIES):
            nearest = {source_id: max(_cosines(query, vectors)) for source_id, vectors in sources.items()}
            best = sorted(nearest, key=lambda source_id: -nearest[source_id])[:wanted]
            passing = f'{{"status": ["{status}"]}}' if status and not listed else None
            rows = self.search(tenant_id, query, passing, list(sources) if listed else None)
            assert {row[3] for row in rows} == {route}
            assert {row[0] for row in rows} <= set(sources)
            assert len(rows) >= wanted
            for row in rows:
                assert row[2] == pytest.approx(nearest[row[0]], abs=1e-4) or row[2] <= nearest[row[0]]
                # The next of its passages that was taken, or the last that was taken of all.
                possible = [each for each in _cosines(query, sources[row[0]]) if each <= row[2] + 1e-4]
                assert any(abs(row[4] - each) < 1e-4 for each in (*possible, min(each[4] for each in rows)))
            found += len({row[0] for row in rows[:wanted]} & set(best))
        return found / (QUERIES * wanted)

    def differences(self, tenant_id: UUID) -> list[str]:
        """What `adriatic verify` says."""
        report = VerifyReport()
        with self.flows.transaction():
            compare_indexes(Comparison(self.flows, report, TenantReport(tenant_id, "t"), SPACE, None, None))
        return [each.detail for each in report.differences]

    def slot(self, tenant_id: UUID) -> int:
        row = self.flows.execute("select slot from mv.vector_indexes where tenant_id = %s", [tenant_id]).fetchone()
        assert row is not None
        return int(row[0])

    def count_tables(self) -> int:
        row = self.flows.execute("select count(*) from pg_class where relname ~ '^vectors_[0-9]'").fetchone()
        assert row is not None
        return int(row[0])

    def states(self) -> list[tuple[Any, ...]]:
        return self.flows.execute(
            "select tenant_id, state, passages, removed from mv.vector_indexes order by slot"
        ).fetchall()


def _cosines(query: npt.NDArray[np.float32], vectors: npt.NDArray[np.float32]) -> list[float]:
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    return [float(each) for each in vectors @ query / lengths]


@pytest.fixture
def shelf(fresh_database: Settings) -> Iterator[Shelf]:
    with (
        connect(fresh_database.postgres, name="test", autocommit=True) as flows,
        psycopg.connect(fresh_database.postgres.dsn("api"), autocommit=True) as api,
    ):
        yield Shelf(fresh_database, flows, api)


# --- recall ---------------------------------------------------------------------------------------------------------


def test_a_small_tenant_beside_a_large_one_stays_exact(shelf: Shelf) -> None:
    small, large = shelf.tenant(20), shelf.tenant(LARGE)
    assert shelf.recall(large, "exact") == 1.0
    assert shelf.advance()[-2:] == ["live", "measured"]
    assert shelf.states() == [(large, "live", LARGE * PASSAGES, 0)]
    assert shelf.recall(large, "index") >= 0.98
    assert shelf.recall(small, "exact") == 1.0
    assert shelf.differences(large) == []


@pytest.mark.parametrize(
    ("share", "route"), [(0.5, "index"), (0.01, "index, then exact"), (0.001, "index, then exact")]
)
def test_a_filter_leaves_the_nearest_of_what_passes(shelf: Shelf, share: float, route: str) -> None:
    rest = max(1, round(LARGE * share))
    tenant_id = shelf.tenant(LARGE - rest)
    shelf.put(tenant_id, rest, "rejected")
    shelf.advance()
    assert shelf.recall(tenant_id, route, "rejected") >= (0.95 if share < 0.5 else 0.98)
    assert shelf.recall(tenant_id, "exact", "rejected", listed=True) == 1.0


def test_half_of_a_tenant_is_deleted(shelf: Shelf) -> None:
    tenant_id = shelf.tenant(LARGE)
    shelf.advance()
    shelf.delete(tenant_id, list(shelf.vectors[tenant_id])[: LARGE // 2 - 1])
    assert shelf.recall(tenant_id, "index") >= 0.98
    assert shelf.differences(tenant_id) == []
    shelf.delete(tenant_id, list(shelf.vectors[tenant_id])[:10])
    # As many are gone as there are: another is built beside it, and takes its place.
    assert shelf.advance("began") == ["began"]
    assert [row[1] for row in shelf.states()] == ["live", "filling"]
    assert shelf.recall(tenant_id, "index") >= 0.98
    assert {"built", "live"} <= set(shelf.advance())
    assert shelf.states() == [(tenant_id, "live", (LARGE // 2 - 9) * PASSAGES, 0)]
    assert shelf.recall(tenant_id, "index") >= 0.98
    assert shelf.differences(tenant_id) == []


def test_vectors_that_arrive_while_it_is_built_and_searched_are_found(shelf: Shelf) -> None:
    tenant_id = shelf.tenant(LARGE)
    for until in ("began", "filled", "built", "caught-up", "live"):
        shelf.advance(until)
        some = shelf.put(tenant_id, 55)
        edited = list(shelf.vectors[tenant_id])[5]
        with shelf.flows.transaction():
            kept = shelf.vectors[tenant_id][edited]
            changed = np.concatenate([kept[:1], shelf.draw(2)])
            shelf.write(shelf.flows, tenant_id, edited, 100 + len(shelf.vectors[tenant_id]), vectors=changed)
        shelf.delete(tenant_id, some[:3])
        for source_id in some[3:6]:
            assert shelf.search(tenant_id, shelf.vectors[tenant_id][source_id][1])[0][0] == source_id
        assert shelf.search(tenant_id, changed[2])[0][:2] == (edited, 2)
    assert shelf.recall(tenant_id, "index") >= 0.98
    assert shelf.differences(tenant_id) == []


def test_an_edit_leaves_the_passages_that_it_did_not_change(shelf: Shelf) -> None:
    tenant_id = shelf.tenant(LARGE)
    shelf.advance()
    source_id, vectors = next(iter(shelf.vectors[tenant_id].items()))
    with shelf.flows.transaction():
        shelf.write(shelf.flows, tenant_id, source_id, 2, vectors=np.concatenate([shelf.draw(1), vectors[:2]]))
    assert shelf.states() == [(tenant_id, "live", LARGE * PASSAGES, 1)]
    with shelf.flows.transaction():
        keep_vectors(shelf.flows, [SourceKey(tenant_id, "adr", source_id)])
    assert shelf.states() == [(tenant_id, "live", LARGE * PASSAGES, 1)], "a replay changes nothing"


def test_both_flows_keep_it(world: World, outbox: Outbox) -> None:
    """What is edited, deleted and erased, through the broker; and a replay of all of it."""
    tenant_id, first, second = new_id(), new_id(), new_id()
    world.run_until_done(world.embed)
    world.versions([Version(tenant_id, first, 1, change="create"), Version(tenant_id, second, 1, body="# Two\n\nB.\n")])
    world.run_until_done(world.index)
    outbox.carry()
    world.run_until_done(world.embed)
    space = world.rows("select space from mv.embedding_spaces")[0][0]
    with connect(world.settings.postgres, name="test", autocommit=True) as flows:
        flows.execute("select mv.begin_vectors(%s, 'adr', %s)", [tenant_id, space])
        did = None
        while did != "live":
            with flows.transaction():
                did = step(flows, RULES)
                assert did
    kept = "select source_id, count(*) from mv.vectors group by 1 order by 1"
    assert world.rows(kept) == [(first, 1), (second, 1)]
    edit = Version(tenant_id, first, 2, body="# Use a log\n\nBecause of something else.\n")
    world.versions([edit, Version(tenant_id, second, 2, change="delete", body="")])
    world.run_until_done(world.index)
    old = world.rows("select source_id, text_hash from mv.vectors")
    assert [row[0] for row in old] == [first], "what is deleted is gone at once; the old version is found until"
    outbox.carry()
    world.run_until_done(world.embed)
    new = world.rows("select source_id, text_hash from mv.vectors")
    assert [row[0] for row in new] == [first], "the new one has its vectors"
    assert new != old
    assert world.rows("select passages, removed from mv.vector_indexes") == [(1, 2)]
    world.versions([edit, Version(tenant_id, first, 1, change="create")])
    world.run_until_done(world.index)
    assert world.rows("select passages, removed from mv.vector_indexes") == [(1, 2)], "a replay changes nothing"
    with connect(world.settings.postgres, name="test", autocommit=True) as flows:
        report = VerifyReport()
        compare_indexes(Comparison(flows, report, TenantReport(tenant_id, "t"), space, None, None))
    assert report.clean


# --- tenants --------------------------------------------------------------------------------------------------------


def test_the_nearest_of_another_tenant_is_never_seen_and_never_counts(shelf: Shelf) -> None:
    mine, theirs = shelf.tenant(LARGE), shelf.tenant(LARGE)
    shelf.advance()
    query = shelf.draw(1)[0]
    before = shelf.search(mine, query)
    with shelf.flows.transaction():
        for _ in range(50):
            near = (query + 0.001 * shelf.draw(PASSAGES)).astype(np.float32)
            shelf.write(shelf.flows, theirs, new_id(), vectors=near)
    assert shelf.search(mine, query) == before
    assert {row[0] for row in before} <= set(shelf.vectors[mine])
    with psycopg.connect(shelf.settings.postgres.dsn("api")) as connection:
        assert connection.execute("select count(*) from mv.vectors").fetchone() == (0,), "without a tenant nothing"
        connection.execute("select set_config('app.tenant_id', %s, true)", [str(mine)])
        for table in ("mv.vectors", "mv.vector_indexes", "mv.search_recall"):
            rows = connection.execute(psycopg.sql.SQL("select distinct tenant_id from {}").format(
                psycopg.sql.Identifier(*table.split("."))
            )).fetchall()  # fmt: skip
            assert rows == [(mine,)], table


# --- every way there ------------------------------------------------------------------------------------------------


def test_killed_in_and_after_any_step_it_is_the_same(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_indexes, "FILL_PASSAGES_MAX", 75 * PASSAGES)
    monkeypatch.setattr(vector_indexes, "CATCH_UP_PASSAGES_MAX", 20 * PASSAGES)
    tenant_id = shelf.tenant(LARGE)
    done: list[str] = []
    while len(done) < STEPS_MAX:
        # Who is killed before the commit leaves nothing; who comes next has a session of its own.
        with connect(shelf.settings.postgres, name="killed") as killed:
            step(killed, RULES)
            killed.rollback()
        with connect(shelf.settings.postgres, name="next") as coming:
            did = step(coming, RULES)
        if did is None:
            break
        done.append(did)
        if did == "built":
            shelf.put(tenant_id, 70)
    assert done == ["began", *["filled"] * 4, "built", *["caught-up"] * 3, "live", "measured"]
    assert shelf.differences(tenant_id) == []
    assert shelf.recall(tenant_id, "index") >= 0.98


def test_a_step_takes_few_sources_that_are_long(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their rows are locked for as long as it takes, and the flow that embeds waits."""
    monkeypatch.setattr(vector_indexes, "FILL_PASSAGES_MAX", 250)
    monkeypatch.setattr(vector_indexes, "CATCH_UP_PASSAGES_MAX", 90)
    tenant_id = shelf.tenant(0)
    for _ in range(4):
        shelf.write(shelf.flows, tenant_id, new_id(), vectors=shelf.draw(200))
    filled = []
    for did in iter(lambda: shelf.advance("began", "filled", "built")[-1], "built"):
        filled.append((did, shelf.states()[0][2]))
    assert filled == [("began", 0), ("filled", 400), ("filled", 800), ("filled", 800)]
    for _ in range(3):
        shelf.write(shelf.flows, tenant_id, new_id(), vectors=shelf.draw(100))
    assert shelf.advance() == ["caught-up", "caught-up", "live", "measured"]
    assert shelf.differences(tenant_id) == []


def test_a_graph_that_is_overtaken_while_it_is_built_is_begun_anew(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenant that is being filled: each passage into the graph would take longer than to build all of it again."""
    monkeypatch.setattr(vector_indexes, "CATCH_UP_PASSAGES_MAX", 20 * PASSAGES)
    tenant_id = shelf.tenant(LARGE)
    shelf.advance("built")
    shelf.put(tenant_id, LARGE)
    assert shelf.advance("built") == ["left", "began", "filled", "filled", "built"]
    shelf.put(tenant_id, LARGE)  # half as many as are in it
    steps = -(-LARGE // 20)
    assert shelf.advance() == [*["caught-up"] * (steps - 1), "live", "measured"]
    assert shelf.recall(tenant_id, "index") >= 0.98
    assert shelf.differences(tenant_id) == []


def test_a_graph_that_was_overtaken_before_it_is_built_is_not_built(shelf: Shelf) -> None:
    """Whoever builds may be killed again and again, or be away."""
    tenant_id = shelf.tenant(LARGE)
    shelf.advance("began")
    while shelf.states()[0][1] == "filling":
        shelf.advance("filled")
    shelf.put(tenant_id, LARGE)
    assert shelf.advance("built") == ["left", "began", "filled", "filled", "built"]
    assert shelf.advance() == ["live", "measured"]
    assert shelf.recall(tenant_id, "index") >= 0.98


def test_vectors_are_looked_up_while_statistics_are_those_of_an_empty_table(shelf: Shelf) -> None:
    """A first import writes thousands of rows before they are counted. Else each passage reads all vectors of the
    tenant, twice: when its source becomes findable, and when an index takes it."""
    for table in ("mv.search_state", "mv.chunks", "mv.embeddings"):
        with psycopg.connect(shelf.settings.postgres.dsn("admin"), autocommit=True) as admin:
            admin.execute(psycopg.sql.SQL("alter table {} set (autovacuum_enabled = false)").format(
                psycopg.sql.Identifier(*table.split("."))
            ))  # fmt: skip
    tenant_id, passages = shelf.tenant(LARGE), 50
    source_id = shelf.write(shelf.flows, tenant_id, new_id(), vectors=shelf.draw(passages))
    reads_max = 1_000 + passages * 30
    assert shelf.advance("began")
    written = "select mv.write_vectors(%s, %s, 'adr', %s, %s)"
    for statement, values, meaning_version in (
        (COMPLETE, [[tenant_id], ["adr"], [source_id]], None),
        (written, [tenant_id, shelf.slot(tenant_id), SPACE, [source_id]], 1),
    ):
        with shelf.flows.transaction(force_rollback=True):
            shelf.flows.execute(
                "update mv.search_state set meaning_version = %s where source_id = %s", [meaning_version, source_id]
            )
            explained = shelf.flows.execute(f"explain (analyze, buffers, format json) {statement}", values).fetchone()
        assert explained is not None
        assert 0 < explained[0][0]["Plan"]["Shared Hit Blocks"] < reads_max, statement


def test_an_index_begins_after_those_who_did_not_see_it(shelf: Shelf) -> None:
    tenant_id = shelf.tenant(LARGE)
    with connect(shelf.settings.postgres, name="flow") as flow:
        late = shelf.write(flow, tenant_id, new_id())
        with connect(shelf.settings.postgres, name="builder") as builder:
            builder.execute("set lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                step(builder, RULES)
        flow.commit()
    shelf.advance()
    assert shelf.search(tenant_id, shelf.vectors[tenant_id][late][0])[0][0] == late
    assert shelf.differences(tenant_id) == []


def test_two_processes_do_not_build_at_once(shelf: Shelf) -> None:
    shelf.tenant(LARGE)
    with connect(shelf.settings.postgres, name="one") as one, connect(shelf.settings.postgres, name="two") as two:
        assert step(one, RULES) == "began"
        assert step(two, RULES) is None


def test_a_tenant_that_shrinks_is_exact_again(shelf: Shelf) -> None:
    tenant_id = shelf.tenant(LARGE)
    shelf.advance()
    shelf.delete(tenant_id, list(shelf.vectors[tenant_id])[:-20])
    assert shelf.advance() == ["left"]
    assert shelf.recall(tenant_id, "exact") == 1.0
    assert shelf.flows.execute("select count(*) from mv.vectors").fetchone() == (0,)
    assert shelf.count_tables() == 0


def test_what_is_made_anew_has_no_index_until_it_is_large_again(shelf: Shelf) -> None:
    tenant_id = shelf.tenant(LARGE)
    shelf.advance()
    with shelf.flows.transaction():
        Index.forget(shelf.flows, tenant_id)
    assert shelf.states() == []
    assert shelf.search(tenant_id, shelf.draw(1)[0]) == []
    assert shelf.advance() == []
    assert shelf.count_tables() == 0


def test_the_agents_watch_takes_every_step(shelf: Shelf) -> None:
    tenant_id = shelf.tenant(LARGE)
    settings = shelf.settings.model_copy(update={"search": RULES})
    life = Lifecycle(Health())
    store = TransactionalSink(settings.postgres, "test", life)
    VectorIndexWatch(settings, life).look(store)
    store.close()
    assert shelf.states() == [(tenant_id, "live", LARGE * PASSAGES, 0)]
    assert REGISTRY.get_sample_value("adriatic_vector_indexes", {"state": "live"}) == 1
    recall = REGISTRY.get_sample_value("adriatic_search_recall_ratio")
    assert recall is not None
    assert recall >= 0.98


# --- what is known --------------------------------------------------------------------------------------------------


def test_recall_is_unknown_until_it_is_measured(shelf: Shelf) -> None:
    tenant_id = shelf.tenant(LARGE)
    assert read_health(shelf.flows).recall is None
    shelf.advance("live")
    health = read_health(shelf.flows)
    assert (health.recall, health.unknown, health.states["live"]) == (None, 1, 1)
    assert shelf.advance() == ["measured"]
    health = read_health(shelf.flows)
    assert health.unknown == 0
    assert health.recall is not None
    assert health.recall >= 0.98
    # A graph that lost half of its rows unseen is found out: the sampler compares, it does not believe.
    shelf.flows.execute("update mv.search_recall set measured_at = measured_at - interval '2 hours'")
    assert shelf.advance() == ["measured"]
    assert shelf.flows.execute("select queries from mv.search_recall where tenant_id = %s", [tenant_id]).fetchone() == (
        vector_indexes.RECALL_QUERIES,
    )


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        ("delete from mv.vectors where source_id = (select min(source_id::text)::uuid from mv.vectors)", 2),
        ("update mv.vectors set embedding = (select max(embedding::text)::halfvec from mv.vectors)", 1),
        ("update mv.vector_indexes set passages = passages + 1", 1),
        ("update mv.search_state set deleted = true where source_id in (select source_id from mv.vectors limit 1)", 1),
    ],
)
def test_verify_finds_what_an_index_has_wrong(shelf: Shelf, break_it: Any, says: int) -> None:
    tenant_id = shelf.tenant(LARGE)
    shelf.advance()
    shelf.flows.execute(break_it)
    assert len(set(shelf.differences(tenant_id))) == says
