"""Search by words within bounds finds what the search without bounds finds, says whether that is proved, and keeps its
statistics."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest

from runtime.settings import Settings
from tests.api.search.corpus import KEEP, Corpus
from tests.api.search.test_functions import reading

pytestmark = pytest.mark.stack

EXACT = "select kind, source_id, version, ordinal, score, terms from mv.search_words_exact(%s, null, null, 100)"
WORDS = "select kind, source_id, version, ordinal, score, terms from mv.search_words(%s, null, null, null, 100)"
BOUNDED = """
  select source_id, score, candidates, proved
  from mv.search_words(%s, null, null, %s::jsonb, 100)
"""
LARGE = 9_000
"""Sources of a tenant whose common words have more postings than are looked at."""
COMMON = [f"word{'abcdefghijklmnopqrst'[n]}" for n in range(20)]

FILL = """
with texts as (
    select number, body, gen_random_uuid() as source_id
    from unnest(%(bodies)s::text[]) with ordinality as t (body, number)
),
state as (
    insert into mv.search_state (tenant_id, kind, source_id, words_version, meaning_version, title, status,
        effective_at, recorded_at, words_at, chunks, length)
    select %(tenant_id)s, %(kind)s, source_id, 1, 1, 'Decision', 'accepted', now(), now(), now(), 1,
           mv.chunk_length(mv.chunk_tsv(1, '', '', body))
      from texts
)
insert into mv.chunks (
    tenant_id, kind, source_id, version, ordinal, heading_path, body, char_start, char_end, text_hash, tsv, length)
select %(tenant_id)s, %(kind)s, source_id, 1, 1, '', body, 0, length(body), sha256(body::bytea), tsv,
       mv.chunk_length(tsv)
  from texts, lateral (select mv.chunk_tsv(1, '', '', body) as tsv offset 0) t
"""
KEEP_ALL = """
  select mv.keep_words(array_agg(tenant_id), array_agg(kind), array_agg(source_id))
  from mv.search_state
  where tenant_id = %s
"""
DELETED: LiteralString = "update mv.search_state set deleted = true, chunks = 0, length = 0 where "
RANK = "select * from mv.rank_by_words(array['heron'], null, null, null, 9, 9)"
UNLIKE = """
  (select kind, lexeme, tier, sources from mv.word_stats where tenant_id = %(tenant_id)s
   except all
   select kind, left(substr(key, 6), -2), ascii(right(key, 1)) - 97, count(*)
   from mv.source_words, unnest(tsvector_to_array(words)) as key
   where tenant_id = %(tenant_id)s group by kind, key)
  union all
  (select kind, '', 0, sources - (select count(*) from mv.search_state s
      where s.tenant_id = t.tenant_id and s.kind = t.kind and not s.deleted and s.chunks > 0)
   from mv.word_totals t
   where tenant_id = %(tenant_id)s
     and (sources, length) <> (select count(*), coalesce(sum(s.length), 0) from mv.search_state s
        where s.tenant_id = t.tenant_id and s.kind = t.kind and not s.deleted and s.chunks > 0))
"""
"""Statistics that a recount does not give."""


def write(chance: random.Random) -> str:
    """Words as prose has them: a few everywhere, most of them rare; some texts are about one of the common ones."""
    words = [COMMON[min(int(chance.paretovariate(0.7)) - 1, 19)] for _ in range(chance.randint(5, 60))]
    words += [f"rare{int(chance.paretovariate(0.4)) % 50_000}" for _ in range(chance.randint(1, 12))]
    words += [chance.choice(COMMON)] * chance.choice((0, 0, 0, 1, 2, 7))
    chance.shuffle(words)
    return " ".join(words)


def fill(corpus: Corpus, tenant_id: UUID, bodies: Sequence[str], kind: str = "adr") -> None:
    corpus.connection.execute(FILL, {"tenant_id": tenant_id, "kind": kind, "bodies": list(bodies)})
    corpus.connection.execute(KEEP_ALL, [tenant_id])
    corpus.connection.execute("analyze mv.chunks, mv.search_state, mv.source_words, mv.word_stats")


def unlike(corpus: Corpus, tenant_id: UUID) -> list[Any]:
    return corpus.connection.execute(UNLIKE, {"tenant_id": tenant_id}).fetchall()


# --- against the exact one ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_small_tenant_gets_exactly_what_there_is(fresh_database: Settings, corpus: Corpus, seed: int) -> None:
    """Sources, scores, words and passages, beside another tenant that has the same words."""
    chance = random.Random(seed)
    tenant_id, other = corpus.tenant("one"), corpus.tenant("other")
    for kind in ("adr", "document"):
        fill(corpus, tenant_id, [write(chance) for _ in range(150)], kind)
    fill(corpus, other, [write(chance) for _ in range(300)])
    corpus.adr(tenant_id, "The wordb of worda", "# One\n\nwordb getUserName\n\n" + "## Two\n\nuser wordc wordb " * 70)
    queries = [" ".join(chance.sample(COMMON, n)) for n in (1, 2, 3, 8)]
    queries += [" ".join(write(chance).split()[:n]) for n in (3, 12, 40)]
    queries += ["user name", "wordb", "nothing", "", "the of"]
    with reading(fresh_database, tenant_id) as connection:
        for query in queries:
            exact = connection.execute(EXACT, [query]).fetchall()
            assert connection.execute(WORDS, [query]).fetchall() == exact, query


def test_a_large_tenant_gets_the_best(fresh_database: Settings, corpus: Corpus) -> None:
    """By recall of the first ten; where it is called proved, all of them. Fewer are looked at than have the words."""
    chance = random.Random(7)
    tenant_id = corpus.tenant("large")
    fill(corpus, tenant_id, [write(chance) for _ in range(LARGE)])
    queries = [" ".join(chance.sample(COMMON[:12], n)) for n in (1, 1, 2, 2, 3, 3, 5, 8)]
    queries += [" ".join(write(chance).split()[:n]) for n in (3, 4, 5, 6, 9, 12)]
    found = wanted = proved = looked_at = 0
    with reading(fresh_database, tenant_id) as connection:
        for query in queries:
            exact = connection.execute(EXACT, [query]).fetchall()
            rows = connection.execute(BOUNDED, [query, None]).fetchall()
            scores = {row[1]: row[4] for row in exact}
            assert all(scores.get(row[0], row[1]) == row[1] for row in rows), query
            tenth = exact[:10][-1][4]
            good = sum(row[1] >= tenth for row in rows[:10])
            looked_at += rows[0][2]
            if rows[0][3]:
                assert good == len(exact[:10]), query
            found, wanted, proved = found + good, wanted + len(exact[:10]), proved + rows[0][3]
        one = connection.execute(BOUNDED, [COMMON[4], None]).fetchone()
    assert one
    assert one[3], "one word is proved by its tiers"
    assert looked_at / len(queries) < LARGE / 2
    assert found / wanted >= 0.98, f"recall@10 {found / wanted:.3f}"
    assert proved >= 4


def test_a_filter_leaves_scores_and_is_nobody_elses(fresh_database: Settings, corpus: Corpus) -> None:
    tenant_id, other = corpus.tenant("one"), corpus.tenant("other")
    ids = [
        corpus.adr(
            tenant_id, f"Heron {number}", "The heron. " * number, status="proposed" if number % 3 else "accepted"
        )
        for number in range(1, 13)
    ]
    theirs = corpus.adr(other, "Heron", "The heron.", status="accepted")
    with reading(fresh_database, tenant_id) as connection:
        every = {row[0]: row[1] for row in connection.execute(BOUNDED, ["heron", None])}
        some = connection.execute(BOUNDED, ["heron", '{"status": ["accepted"]}']).fetchall()
        kinds = connection.execute(BOUNDED, ["heron", '{"kind": "document"}']).fetchall()
        named = connection.execute(
            "select source_id from mv.search_words('heron', array['adr', 'adr'], %s::uuid[], null, 10)",
            [[ids[4], theirs]],
        ).fetchall()
    assert set(every) == set(ids)
    assert {row[0]: row[1] for row in some} == {one: every[one] for one in ids[2::3]}
    assert not any(row[3] for row in some), "what a filter left out is not known to be worse"
    assert kinds == []
    assert named == [(ids[4],)]


# --- statistics -----------------------------------------------------------------------------------------------------


def test_statistics_follow_edits_and_deletes_and_a_repetition_changes_nothing(corpus: Corpus) -> None:
    chance = random.Random(3)
    tenant_id = corpus.tenant("one")
    fill(corpus, tenant_id, [write(chance) for _ in range(40)])
    execute = corpus.connection.execute
    assert unlike(corpus, tenant_id) == []
    before = execute("select * from mv.source_words order by 1, 2, 3").fetchall()
    versions = execute("select xmin, * from mv.word_stats order by 2, 3, 4, 5").fetchall()
    execute(KEEP_ALL, [tenant_id])
    assert execute("select * from mv.source_words order by 1, 2, 3").fetchall() == before
    assert execute("select xmin, * from mv.word_stats order by 2, 3, 4, 5").fetchall() == versions
    ids = [row[2] for row in before]
    for number, source_id in enumerate(ids):
        if number % 2:
            execute(
                "update mv.search_state set deleted = true, chunks = 0, length = 0 where source_id = %s", [source_id]
            )
        else:
            execute(
                "update mv.chunks set tsv = to_tsvector('english', 'worda new new'), length = 3 where source_id = %s",
                [source_id],
            )
            execute("update mv.search_state set length = 3 where source_id = %s", [source_id])
        execute(KEEP, [tenant_id, "adr", source_id])
    assert unlike(corpus, tenant_id) == []
    assert execute("select lexeme, sum(sources) from mv.word_stats group by 1 order by 1").fetchall() == [
        ("new", 20),
        ("worda", 20),
    ]
    execute("update mv.search_state set deleted = true, chunks = 0, length = 0 where tenant_id = %s", [tenant_id])
    execute(KEEP_ALL, [tenant_id])
    assert execute("select count(*) from mv.word_stats").fetchone() == (0,)
    assert execute("select sources, length from mv.word_totals").fetchall() == [(0, 0)]


def test_a_text_of_more_different_words_than_are_kept(fresh_database: Settings, corpus: Corpus) -> None:
    """What it says most is kept, so that it is found by it and no row is too large."""
    tenant_id = corpus.tenant("one")
    fill(corpus, tenant_id, [" ".join(f"w{number}" for number in range(9_000)) + " often often", "x" * 300])
    assert corpus.connection.execute("select max(length(words)) from mv.source_words").fetchone() == (8_000,)
    assert unlike(corpus, tenant_id) == []
    with reading(fresh_database, tenant_id) as connection:
        assert len(connection.execute(BOUNDED, ["often", None]).fetchall()) == 1
        assert len(connection.execute(BOUNDED, ["x" * 300, None]).fetchall()) == 1


def test_two_that_write_for_one_tenant_take_turns(fresh_database: Settings, corpus: Corpus) -> None:
    """Each has sources of its own and the same words, in opposite orders: nobody waits for ever, no count is lost."""
    chance = random.Random(5)
    tenant_id, other = corpus.tenant("one"), corpus.tenant("other")
    for each in (tenant_id, other):
        for kind in ("adr", "document"):
            corpus.connection.execute(
                FILL, {"tenant_id": each, "kind": kind, "bodies": [write(chance) for _ in range(40)]}
            )
    rows = corpus.connection.execute("select tenant_id, kind, source_id from mv.search_state order by 3").fetchall()
    failed: list[BaseException] = []

    def run(own: list[Any]) -> None:
        try:
            with psycopg.connect(fresh_database.postgres.dsn("flows"), autocommit=True) as connection:
                for start in range(0, len(own), 8):
                    some = own[start : start + 8]
                    connection.execute(
                        "select mv.keep_words(%s::uuid[], %s::text[], %s::uuid[])",
                        [[row[column] for row in some] for column in range(3)],
                    )
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=[own]) for own in (rows[::2], rows[1::2][::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert corpus.connection.execute("select sum(sources) from mv.word_totals").fetchone() == (160,)
    assert unlike(corpus, tenant_id) == unlike(corpus, other) == []


def test_another_tenants_words_are_not_in_the_dictionary(fresh_database: Settings, corpus: Corpus) -> None:
    mine, other = corpus.tenant("mine"), corpus.tenant("other")
    corpus.adr(mine, "Heron", "The heron.")
    corpus.adr(other, "Osprey", "The osprey.")
    with reading(fresh_database, mine) as connection:
        assert {row[0] for row in connection.execute("select lexeme from mv.word_stats")} == {"heron"}
        assert connection.execute("select sources from mv.word_totals").fetchall() == [(1,)]
        assert connection.execute("select mv.word_beginnings(array['her', 'osp'])").fetchone() == (["heron"],)
    with reading(fresh_database, None) as connection:
        assert connection.execute("select lexeme from mv.word_stats").fetchall() == []
        assert connection.execute(RANK).fetchall() == []
