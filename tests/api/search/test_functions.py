"""The functions that find and rank, as the API's role: right scores, the right index, and nobody else's rows."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString
from uuid import UUID

import numpy as np
import psycopg
import pytest

from runtime.settings import Settings
from tests.api.search.corpus import KEEP, MEASURE, Corpus, writing

pytestmark = pytest.mark.stack

EXACT = "select source_id, version, ordinal, score, terms from mv.search_words_exact(%s, %s, %s, %s)"
WORDS = "select source_id, version, ordinal, score, terms from mv.search_words(%s, %s, %s, null, %s)"
MEANING = """
  select source_id, ordinal, score
  from mv.search_meaning(%s, %s::vector, %s, %s, null, %s)
  order by score desc, source_id
"""
SOURCES_WITH = "select source_id from mv.search_sources_with(websearch_to_tsquery('pg_catalog.english', %s))"


@pytest.fixture
def corpus(fresh_database: Settings) -> Iterator[Corpus]:
    with writing(fresh_database) as writer:
        yield writer


@contextmanager
def reading(settings: Settings, tenant_id: UUID | None) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(settings.postgres.dsn("api")) as connection:
        if tenant_id:
            connection.execute("select set_config('app.tenant_id', %s, true)", [str(tenant_id)])
        yield connection


# --- ranking --------------------------------------------------------------------------------------------------------

TEXTS = {
    "Use Kafka as the log": "# Use Kafka as the log\n\nKafka keeps records in order. Kafka is fast, and it's Kafka.\n",
    "Use Postgres": "# Use Postgres\n\n## Context\n\nWe need transactions.\n\n## Decision\n\nPostgres. Not Kafka.\n",
    "Name the teams": "# Name the teams\n\nTeams have names of rivers. No broker is named here.\n",
    "Long": "# Long\n\n" + "\n\n".join(f"## Part {n}\n\n" + f"A broker like Kafka, item {n}. " * 40 for n in range(6)),
}


def test_scores_are_those_of_bm25(fresh_database: Settings, corpus: Corpus) -> None:
    tenant_id = corpus.tenant("one")
    for title, text in TEXTS.items():
        corpus.adr(tenant_id, title, text)
    with reading(fresh_database, tenant_id) as connection:
        for query in ("kafka", "Kafka broker", "why do we use Postgres transactions", "rivers", "part item broker log"):
            found = {row[0]: row[3] for row in connection.execute(WORDS, [query, None, None, 100])}
            expected = bm25(connection, query)
            assert found.keys() == expected.keys(), query
            for adr_id, score in expected.items():
                assert found[adr_id] == pytest.approx(score, abs=1e-8), query


def bm25(connection: psycopg.Connection[Any], query: str) -> dict[UUID, float]:
    """The plain recomputation: every word of every text, counted one by one."""
    counts: dict[UUID, Counter[str]] = defaultdict(Counter)
    lengths: Counter[UUID] = Counter()
    rows = connection.execute(
        "select source_id, lexeme, positions, weights from mv.chunks, unnest(tsv) as t (lexeme, positions, weights)"
    )
    for adr_id, lexeme, positions, weights in rows:
        words = len(positions) - weights.count("C")
        lengths[adr_id] += words
        counts[adr_id][lexeme] += (words or 0.25) + (2 if "A" in weights else 0)  # type: ignore[assignment]
    row = connection.execute("select mv.search_terms(%s)", [query]).fetchone()
    assert row
    average = sum(lengths.values()) / len(lengths)
    scores: dict[UUID, float] = defaultdict(float)
    for term in row[0]:
        having = [adr_id for adr_id in counts if counts[adr_id][term]]
        idf = math.log(1 + (len(lengths) - len(having) + 0.5) / (len(having) + 0.5))
        for adr_id in having:
            count = counts[adr_id][term]
            scores[adr_id] += idf * count * 2.5 / (count + 1.5 * (0.25 + 0.75 * lengths[adr_id] / average))
    return scores


def test_a_lexeme_is_counted_exactly_up_to_the_bound(fresh_database: Settings) -> None:
    with reading(fresh_database, None) as connection:
        for count in (1, 2, 3, 7, 31, 63, 64, 65, 200):
            row = connection.execute(
                "select mv.lexeme_count(to_tsvector('pg_catalog.english', %s), mv.lexeme_query('kafka'), "
                "mv.lexeme_count_buckets())",
                ["kafka other " * count],
            ).fetchone()
            assert row == (min(count, 64),)


@pytest.mark.parametrize("lexeme", ["kafka", "it's", "a & b", "!x", "x:*", "back\\slash", "ümlaut", "漢字", "<->"])
def test_a_lexeme_is_a_query_for_itself_only(fresh_database: Settings, lexeme: str) -> None:
    with reading(fresh_database, None) as connection:
        row = connection.execute(
            "select array_to_tsvector(array[%(lexeme)s]) @@ mv.lexeme_query(%(lexeme)s), "
            "array_to_tsvector(array['other']) @@ mv.lexeme_query(%(lexeme)s)",
            {"lexeme": lexeme},
        ).fetchone()
    assert row == (True, False)


def test_ties_are_broken_by_id_and_the_chunk_is_the_best_one(fresh_database: Settings, corpus: Corpus) -> None:
    tenant_id = corpus.tenant("one")
    text = "# Same\n\n" + "Nothing of interest. " * 60 + "\n\n## Here\n\n" + "The heron fishes. " * 60
    ids = sorted(corpus.adr(tenant_id, "Same", text) for _ in range(5))
    with reading(fresh_database, tenant_id) as connection:
        rows = connection.execute(WORDS, ["heron", None, None, 3]).fetchall()
        assert [row[0] for row in rows] == ids[:3]
        row = connection.execute(
            "select body from mv.chunks where source_id = %s and version = %s and ordinal = %s", rows[0][:3]
        ).fetchone()
    assert row
    assert "heron" in row[0]


def test_a_filter_narrows_and_does_not_rescore(fresh_database: Settings, corpus: Corpus) -> None:
    tenant_id = corpus.tenant("one")
    ids = [corpus.adr(tenant_id, title, text) for title, text in TEXTS.items()]
    with reading(fresh_database, tenant_id) as connection:
        everything = {row[0]: row[3] for row in connection.execute(WORDS, ["kafka", None, None, 100])}
        one = connection.execute(WORDS, ["kafka", ["adr"], [ids[1]], 100]).fetchall()
        assert [(row[0], row[3]) for row in one] == [(ids[1], everything[ids[1]])]
        assert connection.execute(WORDS, ["kafka", [], [], 100]).fetchall() == []


def test_documents_leave_the_scores_and_the_places_of_adrs_as_they_were(
    fresh_database: Settings, corpus: Corpus
) -> None:
    tenant_id = corpus.tenant("one")
    ids = {corpus.adr(tenant_id, title, text) for title, text in TEXTS.items()}
    (vector,) = corpus.embedder.embed(["a broker like kafka"])
    meaning = [corpus.embedder.space.name, str(vector.tolist()), None, None, 2]
    queries = ("kafka broker", "rivers", "part item broker log")
    with reading(fresh_database, tenant_id) as connection:
        before = [connection.execute(WORDS, [query, None, None, 100]).fetchall() for query in queries]
        near = connection.execute(MEANING, meaning).fetchall()
    manuals = {
        corpus.document(tenant_id, f"Kafka manual {n}", "# Kafka\n\n" + "A broker like kafka, a log. " * 2_000)
        for n in range(3)
    }
    with reading(fresh_database, tenant_id) as connection:
        for query, rows in zip(queries, before, strict=True):
            after = connection.execute(WORDS, [query, None, None, 100]).fetchall()
            assert [row for row in after if row[0] in ids] == rows, query
        assert manuals <= {row[0] for row in connection.execute(WORDS, ["kafka broker", None, None, 100])}
        after = connection.execute(MEANING, meaning).fetchall()
        assert [row for row in after if row[0] in ids] == near != []
        assert manuals & {row[0] for row in after}


@pytest.mark.parametrize("query", ["", "the and of", "?!", "nobodyeverwrotethis"])
def test_nothing_matches_nothing(fresh_database: Settings, corpus: Corpus, query: str) -> None:
    tenant_id = corpus.tenant("one")
    corpus.adr(tenant_id, "Use Kafka", "Kafka")
    with reading(fresh_database, tenant_id) as connection:
        assert connection.execute(WORDS, [query, None, None, 100]).fetchall() == []


def test_only_the_version_on_show_is_found(fresh_database: Settings, corpus: Corpus) -> None:
    """While the vectors of version 2 are made, words find version 2 and meaning still finds version 1."""
    tenant_id = corpus.tenant("one")
    adr_id = corpus.adr(tenant_id, "Pick a broker", "the heron fishes")
    execute = corpus.connection.execute
    execute(
        "insert into mv.chunks select tenant_id, kind, source_id, 2, 0, '', 'the osprey dives', 0, 16, '\\x02', "
        "mv.chunk_tsv(0, 'Pick a broker', '', 'the osprey dives'), 3 from mv.chunks where source_id = %s",
        [adr_id],
    )
    execute("update mv.search_state set words_version = 2 where source_id = %s", [adr_id])
    execute(KEEP, [tenant_id, "adr", adr_id])
    space = corpus.embedder.space.name
    vector = str(corpus.embedder.embed(["heron"])[0].tolist())
    with reading(fresh_database, tenant_id) as connection:
        assert connection.execute(WORDS, ["heron", None, None, 10]).fetchall() == []
        assert [row[:2] for row in connection.execute(WORDS, ["osprey", None, None, 10])] == [(adr_id, 2)]
        assert [row[0] for row in connection.execute(MEANING, [space, vector, None, None, 10])] == [adr_id]
    execute("update mv.search_state set deleted = true where source_id = %s", [adr_id])
    execute(KEEP, [tenant_id, "adr", adr_id])
    with reading(fresh_database, tenant_id) as connection:
        assert connection.execute(WORDS, ["osprey", None, None, 10]).fetchall() == []
        assert connection.execute(MEANING, [space, vector, None, None, 10]).fetchall() == []


def test_meaning_is_exact_and_stays_in_its_space(fresh_database: Settings, corpus: Corpus) -> None:
    tenant_id = corpus.tenant("one")
    titles = [
        f"{colour} {thing}" for colour in ("red", "green", "blue") for thing in ("log", "broker", "table", "view")
    ]
    ids = {corpus.adr(tenant_id, title, f"About the {title}.") for title in titles}
    (query,) = corpus.embedder.embed(["green broker"])
    with reading(fresh_database, tenant_id) as connection:
        rows = connection.execute(
            MEANING, [corpus.embedder.space.name, str(query.tolist()), None, None, 100]
        ).fetchall()
        vectors = connection.execute(
            "select c.source_id, e.embedding::text from mv.chunks c join mv.embeddings e using (tenant_id, text_hash)"
        ).fetchall()
        assert connection.execute(MEANING, ["another space", str(query.tolist()), None, None, 100]).fetchall() == []
    exact = {adr_id: float(np.dot(np.array(json.loads(vector)), query)) for adr_id, vector in vectors}
    assert {row[0] for row in rows} == ids
    assert [row[2] for row in rows] == pytest.approx(sorted(exact.values(), reverse=True), abs=1e-5)
    assert all(row[2] == pytest.approx(exact[row[0]], abs=1e-5) for row in rows)


@pytest.mark.parametrize("chunks_max", [100, 6])
def test_meaning_knows_the_second_nearest_passage(fresh_database: Settings, corpus: Corpus, chunks_max: int) -> None:
    """A source of one passage is as near by it twice; a second that is not taken counts as the last that is."""
    tenant_id = corpus.tenant("one")
    filler = "and whatever else is to be said of it, in so many words that no neighbour joins this part " * 2
    for words in (["broker log", "broker"], ["broker log", "river", "heron"], ["broker"], ["heron", "river log"]):
        corpus.adr(tenant_id, "Note", "".join(f"## {word}\n\n{word} {filler}\n\n" for word in words))
    corpus.adr(tenant_id, "Short", "A broker log.")
    (query,) = corpus.embedder.embed(["broker log"])
    with reading(fresh_database, tenant_id) as connection:
        found = connection.execute(
            "select source_id, score, second from mv.search_meaning(%s, %s::vector, null, null, null, %s)",
            [corpus.embedder.space.name, str(query.tolist()), chunks_max],
        ).fetchall()
        vectors = connection.execute(
            "select c.source_id, e.embedding::text from mv.chunks c join mv.embeddings e using (tenant_id, text_hash)"
        ).fetchall()
    near = [(float(np.dot(np.array(json.loads(each)), query)), of) for of, each in vectors]
    near.sort(key=lambda each: (-each[0], each[1]))
    taken = near[:chunks_max]
    assert len(near) > 6
    expected = {}
    for _, of in taken:
        mine = [score for score, other in taken if other == of]
        alone = sum(other == of for _, other in near) == 1
        expected[of] = (mine[0], mine[0] if alone else [*mine, taken[-1][0]][1])
    assert {row[0]: (row[1], row[2]) for row in found} == {
        of: pytest.approx(scores, abs=1e-5) for of, scores in expected.items()
    }
    assert chunks_max == 100 or any(second == taken[-1][0] for _, second in expected.values())


# --- tenants --------------------------------------------------------------------------------------------------------


def test_without_a_tenant_nothing_is_found(fresh_database: Settings, corpus: Corpus) -> None:
    tenant_id = corpus.tenant("one")
    corpus.adr(tenant_id, "Use Kafka", "Kafka")
    space, vector = corpus.embedder.space.name, str(corpus.embedder.embed(["kafka"])[0].tolist())
    with reading(fresh_database, None) as connection:
        for setting in (None, ""):
            if setting is not None:
                connection.execute("select set_config('app.tenant_id', %s, true)", [setting])
            assert connection.execute(WORDS, ["kafka", None, None, 100]).fetchall() == []
            assert connection.execute(SOURCES_WITH, ["kafka"]).fetchall() == []
            assert connection.execute(MEANING, [space, vector, None, None, 100]).fetchall() == []


def test_another_tenant_changes_nothing(fresh_database: Settings, corpus: Corpus) -> None:
    """A nearer neighbour of another tenant is not found, takes nobody's place, and changes no score."""
    mine, other = corpus.tenant("mine"), corpus.tenant("other")
    for number in range(8):
        corpus.adr(mine, f"Decision {number}", f"A note on brokers, number {number}.")
    space, vector = corpus.embedder.space.name, str(corpus.embedder.embed(["kafka brokers"])[0].tolist())

    def everything() -> list[Any]:
        with reading(fresh_database, mine) as connection:
            return [
                connection.execute(WORDS, ["kafka brokers", None, None, 5]).fetchall(),
                connection.execute(MEANING, [space, vector, None, None, 5]).fetchall(),
                sorted(connection.execute(SOURCES_WITH, ["brokers"]).fetchall()),
            ]

    before = everything()
    theirs = {corpus.adr(other, "Kafka brokers", "Kafka brokers " * 10) for _ in range(200)}
    assert everything() == before
    assert len(before[0]) == len(before[1]) == 5
    with reading(fresh_database, mine) as connection:
        assert connection.execute(WORDS, ["kafka brokers", ["adr"] * 200, list(theirs), 100]).fetchall() == []
        assert connection.execute(MEANING, [space, vector, ["adr"] * 200, list(theirs), 100]).fetchall() == []


def test_two_tenants_on_one_connection(fresh_database: Settings, corpus: Corpus) -> None:
    """Plans are kept; what they find is not."""
    ids = {}
    for slug in ("one", "two"):
        tenant_id = corpus.tenant(slug)
        ids[tenant_id] = corpus.adr(tenant_id, "Use Kafka", f"Kafka for {slug}")
    with psycopg.connect(fresh_database.postgres.dsn("api"), prepare_threshold=0) as connection:
        for _ in range(10):
            for tenant_id, adr_id in ids.items():
                with connection.transaction():
                    connection.execute("select set_config('app.tenant_id', %s, true)", [str(tenant_id)])
                    assert [row[0] for row in connection.execute(WORDS, ["kafka", None, None, 10])] == [adr_id]
                    assert connection.execute(SOURCES_WITH, ["kafka"]).fetchall() == [(adr_id,)]


def test_only_the_api_calls_and_nobody_inherits(fresh_database: Settings, corpus: Corpus) -> None:
    tenant_id = corpus.tenant("one")
    corpus.adr(tenant_id, "Use Kafka", "Kafka")
    for role in ("flows", "cdc"):
        with psycopg.connect(fresh_database.postgres.dsn(role)) as connection:
            connection.execute("select set_config('app.tenant_id', %s, true)", [str(tenant_id)])
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(WORDS, ["kafka", None, None, 10])
    with psycopg.connect(fresh_database.postgres.dsn("owner")) as connection:
        connection.execute("select set_config('app.tenant_id', %s, true)", [str(tenant_id)])
        assert connection.execute("select from mv.chunks").fetchall() == []
    rows = corpus.connection.execute(
        "select r.rolname, r.rolcanlogin, r.rolbypassrls, r.rolsuper, p.proconfig from pg_proc p "
        "join pg_roles r on r.oid = p.proowner where p.prosecdef and p.pronamespace = 'mv'::regnamespace"
    ).fetchall()
    # Those of the owner make and drop tables, and have no sight of rows.
    assert sorted(row[:4] for row in rows) == [
        *[("adriatic_owner", True, False, False)] * 3,
        *[("adriatic_search", False, False, False)] * 3,
    ]
    for *_, config in rows:
        assert any(setting.startswith("search_path=") for setting in config)


# --- plans ----------------------------------------------------------------------------------------------------------

CROWD = """
with adrs as (select gen_random_uuid() as adr_id, n from generate_series(1, 4000) n),
state as (
    insert into mv.search_state (tenant_id, kind, source_id, words_version, meaning_version, title, status,
        effective_at, recorded_at, words_at, chunks, length)
    select %(tenant_id)s, 'adr', adr_id, 1, 1, 'Decision', 'accepted', now(), now(), now(), 5, 0 from adrs
)
insert into mv.chunks (
    tenant_id, kind, source_id, version, ordinal, heading_path, body, char_start, char_end, text_hash, tsv, length)
select %(tenant_id)s, 'adr', adr_id, 1, ordinal, '', body, 0, length(body), sha256(body::bytea), tsv,
       mv.chunk_length(tsv)
  from adrs, generate_series(0, 4) ordinal,
       lateral (select format('use the service w%%s w%%s', n %% 997, (n * 5 + ordinal) %% 4999) as body) b,
       lateral (select to_tsvector('pg_catalog.english', body) as tsv) t
"""


@pytest.fixture
def crowd(fresh_database: Settings, corpus: Corpus) -> UUID:
    """A tenant with 20 000 chunks."""
    tenant_id = corpus.tenant("crowd")
    corpus.connection.execute(CROWD, {"tenant_id": tenant_id})
    corpus.connection.execute(MEASURE, [tenant_id])
    corpus.connection.execute(
        "select mv.keep_words(array_agg(tenant_id), array_agg(kind), array_agg(source_id)) from mv.search_state"
    )
    corpus.connection.execute("vacuum analyze mv.chunks, mv.search_state, mv.source_words, mv.word_stats")
    return tenant_id


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def explained(connection: psycopg.Connection[Any], statement: str) -> list[dict[str, Any]]:
    row = connection.execute(f"explain (format json) {statement}").fetchone()
    assert row
    return list(nodes(row[0][0]["Plan"]))


def test_words_go_through_the_index(fresh_database: Settings, corpus: Corpus, crowd: UUID) -> None:
    source = corpus.connection.execute("select prosrc from pg_proc where proname = 'search_sources_with'").fetchone()
    assert source
    body = re.search(r"return query\s(.*?);", source[0], re.DOTALL)
    assert body
    statement = re.sub(r"= tenant\b", f"= '{crowd}'", body[1])
    statement = re.sub(r"@@ query\b", "@@ 'w123'::tsquery", statement)
    assert statement.count(str(crowd)) == 2
    with corpus.connection.transaction(force_rollback=True):
        corpus.connection.execute("select set_config('app.tenant_id', %s, true)", [str(crowd)])
        corpus.connection.execute("set local role adriatic_search")
        assert "chunks_tsv" in {node.get("Index Name") for node in explained(corpus.connection, statement)}
        # What the functions are for: under the tenant's policy the same statement cannot use it.
        corpus.connection.execute("set local role adriatic_api")
        assert "chunks_tsv" not in {node.get("Index Name") for node in explained(corpus.connection, statement)}


@pytest.mark.parametrize(
    ("index", "statement", "arguments"),
    [
        ("mv.source_words_words", WORDS, ["w123 w4567 service", None, None, 100]),
        ("mv.chunks_tsv", EXACT, ["w123 w4567", None, None, 100]),
        ("mv.chunks_tsv", SOURCES_WITH, ["w123"]),
    ],
)
def test_the_functions_use_it_themselves(
    fresh_database: Settings,
    corpus: Corpus,
    crowd: UUID,
    index: str,
    statement: LiteralString,
    arguments: list[Any],
) -> None:
    scans = "select pg_stat_get_xact_numscans(%s::regclass)"
    with reading(fresh_database, crowd) as connection:
        assert connection.execute(scans, [index]).fetchone() == (0,)
        assert connection.execute(statement, arguments).fetchall()
        row = connection.execute(scans, [index]).fetchone()
    assert row
    assert row[0] > 0
