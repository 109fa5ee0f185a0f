"""The search by words from packed segments finds what the search that reads everything finds, whatever changed and
whenever a step was taken or was cut off; and it is one tenant's."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from prometheus_client import REGISTRY

from api.db import Database, tenant_transaction
from api.search import packed, service
from api.search.allowed import Allowed
from api.search.packed import FoundByWords
from api.search.reading import OF_THE_INDEX
from connectors.postgres import word_segments
from connectors.postgres.connections import Connection, connect
from connectors.postgres.sink import TransactionalSink
from connectors.postgres.word_segments import PackedSegment, choose_to_merge, read_pack_health, step
from dataflows import words as words_tables
from dataflows.comparison import Comparison, TenantReport, VerifyReport
from dataflows.oracle_segments import compare_segments
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import SearchSettings, Settings
from schemas.stems import analyse_in, mark_stems
from streams.word_segments import WordSegmentWatch
from tests.api.search.corpus import KEEP, Corpus
from tests.api.search.test_functions import reading
from tests.api.search.test_routes import clients
from tests.api.search.test_words import COMMON, DELETED, EXACT, fill, write
from tests.connectors.embedders.stand_in import FakeEmbedder

pytestmark = pytest.mark.stack

RULES = SearchSettings(words_packed_min=200)
SOURCES = 300
"""Of a kind that gets segments."""
BY_LOOK_UPS = "select kind, source_id, score from mv.rank_words($1, null, null, null, 100)"
PASSAGES = "select kind, source_id, version, ordinal, terms from mv.word_passages(mv.search_terms($1), $2, $3)"
EDIT = """
  update mv.chunks
  set tsv = mv.chunk_tsv(1, '', '', %s), length = mv.chunk_length(mv.chunk_tsv(1, '', '', %s))
  where source_id = %s
"""
MEASURE: LiteralString = """
  update mv.search_state s
  set length = (select sum(c.length) from mv.chunks c where c.source_id = s.source_id)
  where source_id = %s
"""
PLACES = """
  select kind, source_id
  from mv.source_words
  where tenant_id = %s
  order by source_id
"""


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of a hundred sources, so that three hundred have all that a million have."""
    monkeypatch.setattr(word_segments, "SEGMENT_SOURCES_MAX", 100)
    monkeypatch.setattr(word_segments, "CHANGES_MIN", 8)
    monkeypatch.setattr(word_segments, "SMALL_SEGMENTS_MAX", 2)


@pytest.fixture
def flows(fresh_database: Settings) -> Iterator[Connection]:
    with connect(fresh_database.postgres, name="test", autocommit=True) as connection:
        yield connection


@asynccontextmanager
async def database_of(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings.postgres)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def advance(flows: Connection, *until: str) -> list[str]:
    """Steps, until one of these was taken or none is left."""
    done: list[str] = []
    while len(done) < 200:
        with flows.transaction():
            did = step(flows, RULES)
        if did is None:
            return done
        done.append(did)
        if did in until:
            return done
    raise AssertionError(f"it does not end: {done[-5:]}")


def tenants(corpus: Corpus, chance: random.Random) -> tuple[UUID, UUID]:
    """One with a kind that gets segments and one that does not, and another with the same words."""
    tenant_id, other = corpus.tenant("one"), corpus.tenant("other")
    fill(corpus, tenant_id, [write(chance) for _ in range(SOURCES)])
    fill(corpus, tenant_id, [write(chance) for _ in range(60)], "document")
    fill(corpus, other, [write(chance) for _ in range(SOURCES)])
    return tenant_id, other


def ask_for(chance: random.Random) -> list[str]:
    queries = [" ".join(chance.sample(COMMON, n)) for n in (1, 2, 3, 8)]
    queries += [" ".join(write(chance).split()[:n]) for n in (3, 12, 40)]
    return [*queries, "rare1", "nothing", "", "the of", "getUserName"]


Row = tuple[str, UUID, int, int, float, list[str]]


async def search(database: Database, tenant_id: UUID, query: str) -> tuple[list[Row], FoundByWords | None]:
    """What a search shows by words, in the form of the reference; and what the segments found, if they did."""
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        return await search_in(connection, tenant_id, query, Allowed())


async def search_in(
    connection: Any, tenant_id: UUID, query: str, allowed: Allowed
) -> tuple[list[Row], FoundByWords | None]:
    read = await packed.read(connection, tenant_id, query, allowed, 100)
    found = read and read.rank()
    if found and found.hits:
        hits = [(hit.kind, hit.source_id, hit.score) for hit in found.hits]
    else:
        rows = await connection.fetch(BY_LOOK_UPS, query)
        hits, found = [(row["kind"], UUID(bytes=row["source_id"].bytes), row["score"]) for row in rows], None
    best = sorted(hits, key=lambda hit: (-hit[2], hit[0], hit[1]))[:100]
    said = {
        (row["kind"], UUID(bytes=row["source_id"].bytes)): row
        for row in await connection.fetch(PASSAGES, query, [hit[0] for hit in best], [hit[1] for hit in best])
    }
    return [
        (kind, source_id, *said[kind, source_id][2:4], score, said[kind, source_id]["terms"])
        for kind, source_id, score in best
    ], found


def assert_rows(found: Sequence[Row], exact: Sequence[tuple[Any, ...]], why: str) -> None:
    """Equal, but for the last digit of a score: how a sum was added up is nobody's business."""
    assert [(*row[:4], row[5]) for row in found] == [(*row[:4], row[5]) for row in exact], why
    assert [row[4] for row in found] == pytest.approx([row[4] for row in exact], abs=2e-9), why


async def assert_exact(settings: Settings, tenant_id: UUID, queries: Sequence[str], adr: str | None) -> None:
    """Every query finds what the reference finds. `adr`: the route of the kind that is large."""
    async with database_of(settings) as database:
        for query in queries:
            with reading(settings, tenant_id) as connection:
                exact = connection.execute(EXACT, [query]).fetchall()
            rows, chosen = await search(database, tenant_id, query)
            assert_rows(rows, exact, query)
            if exact and adr:
                assert chosen
                assert chosen.routes == {"adr": adr, "document": "lists"}
                assert chosen.proved
            else:
                assert chosen is None


def differences(flows: Connection, tenant_id: UUID) -> list[str]:
    """What `adriatic verify` says."""
    report = VerifyReport()
    with flows.transaction():
        compare_segments(Comparison(flows, report, TenantReport(tenant_id, "t"), None, None, None))
    return [each.detail for each in report.differences]


def change(corpus: Corpus, tenant_id: UUID, chance: random.Random, count: int) -> None:
    """Edit some, delete some, add some."""
    rows = corpus.connection.execute(PLACES, [tenant_id]).fetchall()
    for kind, source_id in chance.sample(rows, count):
        if chance.random() < 0.3:
            corpus.connection.execute(DELETED + "source_id = %s", [source_id])
        else:
            edit(corpus, source_id, write(chance))
        corpus.connection.execute(KEEP, [tenant_id, kind, source_id])
    for _ in range(count // 4):
        title, text = " ".join(write(chance).split()[:4]), write(chance)
        corpus.adr(tenant_id, title, text, by_meaning=False)


def edit(corpus: Corpus, source_id: UUID, body: str) -> None:
    corpus.connection.execute(EDIT, [body, body, source_id])
    corpus.connection.execute(MEASURE, [source_id])


# --- against the exact one ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
async def test_segments_find_exactly_what_there_is(
    fresh_database: Settings, corpus: Corpus, flows: Connection, small_steps: None, seed: int
) -> None:
    """Before they are there, while they are written, and with changes beside them, beside a tenant with equal words."""
    chance = random.Random(seed)
    tenant_id, other = tenants(corpus, chance)
    queries = ask_for(chance)
    await assert_exact(fresh_database, tenant_id, queries, None)
    for until in ("began", "filled", "filled"):
        assert advance(flows, until)[-1] == until
        change(corpus, tenant_id, chance, 6)
        await assert_exact(fresh_database, tenant_id, queries[:4], None)
    assert set(advance(flows)) >= {"filled", "live", "packed"}
    await assert_exact(fresh_database, tenant_id, queries, "segments")
    for count in (4, 20, 40, 60):
        change(corpus, tenant_id, chance, count)
        await assert_exact(fresh_database, tenant_id, queries, "segments")
        advance(flows)
        await assert_exact(fresh_database, tenant_id, queries, "segments")
        assert differences(flows, tenant_id) == differences(flows, other) == []


async def test_stems_of_other_languages_are_words_like_any(
    fresh_database: Settings, corpus: Corpus, flows: Connection, small_steps: None
) -> None:
    """Some texts are German, with endings, and some are not; each word is asked for with its stem."""
    chance = random.Random(5)
    tenant_id = corpus.tenant("one")
    endings = ["", "e", "en", "er", "ung", "ungen"]
    texts = [" ".join(word + chance.choice(endings) for word in write(chance).split()) for _ in range(SOURCES + 30)]
    german = [analyse_in("de", text) if chance.random() < 0.5 else text for text in texts]
    fill(corpus, tenant_id, german[:SOURCES])
    fill(corpus, tenant_id, german[SOURCES:], "document")
    advance(flows)
    words = [chance.choice(texts).split()[:n] for n in (1, 2, 5, 12)]
    stems = [[stem for word in some for stem in mark_stems("de", word)] for some in words]
    queries = [OF_THE_INDEX.join([" ".join(some), *own]) for some, own in zip(words, stems, strict=True)]
    assert all(stems)
    await assert_exact(fresh_database, tenant_id, [*queries, *(OF_THE_INDEX + stem for stem in stems[2])], "segments")
    assert differences(flows, tenant_id) == []


async def test_texts_that_are_equal_are_found_in_the_order_of_their_ids(
    fresh_database: Settings, corpus: Corpus, flows: Connection, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than are handed on: those with the lowest ids are, from every segment."""
    monkeypatch.setattr("api.search.packed_ranking.EQUAL_MAX", 5)
    tenant_id = corpus.tenant("one")
    fill(corpus, tenant_id, ["worda wordb"] * SOURCES + ["worda worda wordc"] * 20)
    fill(corpus, tenant_id, ["wordb"], "document")
    advance(flows)
    async with database_of(fresh_database) as database:
        with reading(fresh_database, tenant_id) as connection:
            for query, proved in (("worda", True), ("wordb", False)):
                rows, chosen = await search(database, tenant_id, query)
                exact = connection.execute(EXACT, [query]).fetchall()
                assert_rows(rows, exact, query)
                assert chosen
                assert chosen.proved is proved, "which of many equals is first is not said to be known"
                assert len(chosen.hits) <= 101


async def test_too_much_beside_the_segments_is_looked_up_within_bounds(
    fresh_database: Settings, corpus: Corpus, flows: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a bounded part is all there is. The route says which it was."""
    chance = random.Random(5)
    tenant_id, _ = tenants(corpus, chance)
    advance(flows)
    monkeypatch.setattr(packed, "CHANGES_MAX", 10)
    await assert_exact(fresh_database, tenant_id, ask_for(chance), "segments")
    change(corpus, tenant_id, chance, 30)
    await assert_exact(fresh_database, tenant_id, ask_for(chance), None)
    assert read_pack_health(flows).changes > 10
    monkeypatch.setattr(word_segments, "CHANGES_MIN", 8)
    advance(flows)
    assert read_pack_health(flows).changes == 0
    await assert_exact(fresh_database, tenant_id, ask_for(chance), "segments")


async def test_a_process_keeps_no_more_lists_than_it_may(
    fresh_database: Settings, corpus: Corpus, flows: Connection, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(8)
    tenant_id, other = tenants(corpus, chance)
    advance(flows)
    for room in (0, 30_000):
        cache = packed.SegmentCache(room)
        monkeypatch.setattr(packed, "CACHE", cache)
        for each in (tenant_id, tenant_id):
            await assert_exact(fresh_database, each, ask_for(chance), "segments")
        assert cache.room <= room
        assert (cache.room > 0) is (room > 0)
    async with database_of(fresh_database) as database:
        assert (await search(database, other, COMMON[0]))[0] != (await search(database, tenant_id, COMMON[0]))[0]


# --- every way there ------------------------------------------------------------------------------------------------


async def test_killed_in_and_after_any_step_it_is_the_same(
    fresh_database: Settings, corpus: Corpus, small_steps: None, flows: Connection
) -> None:
    chance = random.Random(2)
    tenant_id, _ = tenants(corpus, chance)
    queries = ask_for(chance)
    done: list[str] = []
    changes = [40, 12, 12, 12]
    while len(done) < 60:
        # Who is killed before the commit leaves nothing; who comes next has a session of its own.
        with connect(fresh_database.postgres, name="killed") as killed:
            step(killed, RULES)
            killed.rollback()
        with connect(fresh_database.postgres, name="next") as coming:
            did = step(coming, RULES)
        if did is None and not changes:
            break
        if did is None:
            change(corpus, tenant_id, chance, changes.pop())
        else:
            done.append(did)
        assert differences(flows, tenant_id) == []
    assert {"began", "filled", "live", "packed", "merged"} == set(done)
    await assert_exact(fresh_database, tenant_id, queries, "segments")


@pytest.mark.parametrize("seam", ["_mark_dead", "find_places"])
async def test_what_changes_while_a_segment_is_written_stays_noted(
    fresh_database: Settings,
    corpus: Corpus,
    flows: Connection,
    small_steps: None,
    monkeypatch: pytest.MonkeyPatch,
    seam: str,
) -> None:
    """Sources that are packed, changed again by others between two statements of the step that packs them."""
    chance = random.Random(4)
    tenant_id, _ = tenants(corpus, chance)
    advance(flows)
    change(corpus, tenant_id, chance, 20)
    noted = [row[0] for row in flows.execute("select source_id from mv.word_changes order by 1")]
    original = getattr(word_segments, seam)

    def meanwhile(*arguments: Any) -> Any:
        monkeypatch.setattr(word_segments, seam, original)
        for source_id in noted[:7]:
            edit(corpus, source_id, f"worda meanwhile {write(chance)}")
            corpus.connection.execute(KEEP, [tenant_id, "adr", source_id])
        corpus.connection.execute(DELETED + "source_id = %s", [noted[8]])
        corpus.connection.execute(KEEP, [tenant_id, "adr", noted[8]])
        return original(*arguments)

    monkeypatch.setattr(word_segments, seam, meanwhile)
    with flows.transaction():
        assert step(flows, RULES) == "packed"
    assert read_pack_health(flows).changes == 8
    assert differences(flows, tenant_id) == []
    await assert_exact(fresh_database, tenant_id, ["meanwhile", *ask_for(chance)], "segments")
    advance(flows)
    await assert_exact(fresh_database, tenant_id, ["meanwhile", *ask_for(chance)], "segments")


async def test_segments_that_are_merged_are_there_to_the_end_of_a_search(
    fresh_database: Settings, corpus: Corpus, flows: Connection, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(6)
    tenant_id, _ = tenants(corpus, chance)
    advance(flows)
    with reading(fresh_database, tenant_id) as connection:
        exact = connection.execute(EXACT, ["wordb wordc"]).fetchall()
    monkeypatch.setattr(packed, "CACHE", packed.SegmentCache(1_000_000))
    async with (
        database_of(fresh_database) as database,
        tenant_transaction(database, tenant_id, read_only=True) as asked,
    ):
        await asked.fetch(packed.PACKS, 1, None)
        gone = flows.execute("delete from mv.word_segments").rowcount
        rows, chosen = await search_in(asked, tenant_id, "wordb wordc", Allowed())
    assert gone > 3
    assert chosen
    assert_rows(rows, exact, "wordb wordc")


def test_a_kind_begins_after_those_who_did_not_see_it(
    fresh_database: Settings, corpus: Corpus, flows: Connection
) -> None:
    tenant_id, _ = tenants(corpus, random.Random(1))
    kind, source_id = corpus.connection.execute(PLACES, [tenant_id]).fetchall()[0]
    with connect(fresh_database.postgres, name="flow") as flow:
        flow.execute(KEEP, [tenant_id, kind, source_id])
        flows.execute("set lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            flows.execute("select mv.begin_word_pack(%s, %s)", [tenant_id, kind])
        flow.commit()
    flows.execute("set lock_timeout = 0")
    assert "live" in advance(flows)
    assert differences(flows, tenant_id) == []


def test_two_processes_do_not_write_at_once(fresh_database: Settings, corpus: Corpus) -> None:
    tenants(corpus, random.Random(1))
    with connect(fresh_database.postgres, name="one") as one, connect(fresh_database.postgres, name="two") as two:
        assert step(one, RULES) == "began"
        assert step(two, RULES) is None


async def test_a_tenant_that_shrinks_or_is_made_anew_has_none(
    fresh_database: Settings, corpus: Corpus, flows: Connection, small_steps: None
) -> None:
    chance = random.Random(1)
    tenant_id, other = tenants(corpus, chance)
    advance(flows)
    corpus.connection.execute(
        DELETED + "source_id in (select source_id from mv.source_words where tenant_id = %s limit 290)", [tenant_id]
    )
    corpus.connection.execute(
        "select mv.keep_words(array_agg(tenant_id), array_agg(kind), array_agg(source_id)) from mv.search_state "
        "where deleted"
    )
    assert advance(flows)[-1] == "left"
    await assert_exact(fresh_database, tenant_id, ask_for(chance), None)
    with flows.transaction():
        words_tables.forget(flows, other)
    for table in ("mv.word_packs", "mv.word_segments", "mv.word_pages", "mv.word_changes"):
        left = psycopg.sql.SQL("select count(*) from {}").format(psycopg.sql.Identifier(*table.split(".")))
        assert flows.execute(left).fetchone() == (0,), table


def test_the_smallest_segments_are_merged_as_far_as_they_are_alike() -> None:
    sizes = [64, 70, 200, 1_000, 5_000, 30_000]
    segments = [PackedSegment(number, alive) for number, alive in enumerate(sizes)]
    assert choose_to_merge(segments) == [0, 1, 2, 3, 4]
    assert choose_to_merge(segments[3:]) == [3, 4], "together they would be too large"
    assert choose_to_merge([segments[0], segments[1], segments[3]]) == [0, 1]


def test_the_agents_watch_takes_every_step(fresh_database: Settings, corpus: Corpus, flows: Connection) -> None:
    tenant_id, _ = tenants(corpus, random.Random(1))
    settings = fresh_database.model_copy(update={"search": RULES})
    life = Lifecycle(Health())
    store = TransactionalSink(settings.postgres, "test", life)
    WordSegmentWatch(settings, life).look(store)
    store.close()
    assert REGISTRY.get_sample_value("adriatic_word_packs", {"state": "live"}) == 2
    assert REGISTRY.get_sample_value("adriatic_word_changes") == 0
    assert flows.execute("select sum(sources) from mv.word_segments where tenant_id = %s", [tenant_id]).fetchone() == (
        SOURCES,
    )


# --- what is said and compared --------------------------------------------------------------------------------------


async def test_a_search_says_its_route_and_keeps_to_filters(
    fresh_database: Settings, corpus: Corpus, flows: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_id = corpus.tenant("one")
    for number in range(1, 25):
        status = "proposed" if number % 3 else "accepted"
        corpus.adr(tenant_id, f"Heron {number}", "The heron. " * number, status=status)
    fill(corpus, tenant_id, [write(random.Random(seed)) for seed in range(SOURCES)])
    asked: list[dict[str, Any]] = [{}, {"status": ["accepted"]}, {"kind": "adr"}, {"limit": 3}]
    queries = ("heron", "heron -24", "the herons", "hero")
    same: dict[str, Any] = {"mode": "words", "explain": True, "correct": False}
    async with clients(fresh_database, tenant_id, embedder=FakeEmbedder()) as (client,):
        before = [await client.search(q, **same, **more) for q in queries for more in asked]
        advance(flows)
        monkeypatch.setattr(service, "LISTED_SOURCES_MAX", 0)
        after = [await client.search(q, **same, **more) for q in queries for more in asked]
    for one, two in zip(before, after, strict=True):
        assert [hit["source_id"] for hit in one["hits"]] == [hit["source_id"] for hit in two["hits"]]
        assert one["explain"]["words_routes"] == {}
    assert [len(each["hits"]) for each in after[:4]] == [10, 8, 10, 3]
    assert (after[0]["explain"]["words_routes"], after[0]["explain"]["words_proved"]) == ({"adr": "segments"}, True)
    assert after[1]["explain"]["words_routes"] == {"adr": "segments"}
    assert after[1]["explain"]["words_proved"] is False, "what a filter left out is not known to be worse"
    assert after[-4]["explain"]["words_routes"] == {}, "words that only begin so are looked up"


# --- tenants --------------------------------------------------------------------------------------------------------


async def test_another_tenants_segments_are_not_readable(
    fresh_database: Settings, corpus: Corpus, flows: Connection, small_steps: None
) -> None:
    """Neither by a query, nor by their numbers."""
    mine, other = tenants(corpus, random.Random(9))
    advance(flows)
    change(corpus, other, random.Random(1), 4)
    change(corpus, mine, random.Random(1), 4)
    theirs = [row[0] for row in flows.execute("select segment from mv.word_segments where tenant_id = %s", [other])]
    with reading(fresh_database, mine) as connection:
        for table in ("mv.word_packs", "mv.word_segments", "mv.word_pages", "mv.word_changes"):
            seen = psycopg.sql.SQL("select distinct tenant_id from {}").format(
                psycopg.sql.Identifier(*table.split("."))
            )
            assert connection.execute(seen).fetchall() == [(mine,)], table
    with reading(fresh_database, None) as connection:
        assert connection.execute("select count(*) from mv.word_pages").fetchone() == (0,)
    async with database_of(fresh_database) as database, tenant_transaction(database, mine, read_only=True) as asked:
        assert await asked.fetch(packed.SEGMENTS, theirs) == []
        assert await asked.fetch(packed.LISTS, theirs, COMMON[0]) == []
        read = await packed.read(asked, mine, " ".join(COMMON), Allowed(), 2_000)
        assert read
    with reading(fresh_database, mine) as connection:
        own = {row[0] for row in connection.execute("select source_id from mv.search_state")}
    found = read.rank().hits
    assert found
    assert {hit.source_id for hit in found} <= own
