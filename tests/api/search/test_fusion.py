"""What two arms found is joined as one statement of the database joins it, and names stand above everything."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from api.search.fusion import EXACT_SCORE, NAMED_SCORE, WORDS_SHARE, Listed, MeaningHit, WordsHit, fuse
from runtime.settings import Settings

KINDS = ("adr", "document", "page")
CANDIDATES_MAX = 12
JOINED = """
  with words as (
    select w.*, row_number() over (order by w.score desc, w.kind, w.source_id) as rank
    from jsonb_to_recordset(%(words)s) as w (kind text, source_id uuid, score float8)
  ),
  meaning as (
    select
      m.*, (m.score + m.second) / 2 as nearness,
      row_number() over (order by round(((m.score + m.second) / 2)::numeric, 9) desc, m.kind, m.source_id) as rank
    from jsonb_to_recordset(%(meaning)s) as m (kind text, source_id uuid, score float8, second float8)
  ),
  last_words as (
    select max(score) as best, case when count(*) < %(most)s then 0 else min(score) end as least
    from words
  ),
  last_meaning as (select kind, min(second) as least from meaning group by kind)
  select kind, source_id, words_rank, meaning_rank, by_meaning, score
  from (
    select kind, source_id, w.rank as words_rank, m.rank as meaning_rank,
      coalesce(m.rank < w.rank, w.rank is null and m.rank is not null) as by_meaning,
      coalesce(%(share)s::float8 * w.score / nullif(l.best, 0), 0) + coalesce((1 - %(share)s) * m.nearness, 0)
      + case
          when w.score is null then coalesce(%(share)s * l.least / nullif(l.best, 0), 0)
          else 0
        end
      + case
          when m.score is null then (1 - %(share)s)
            * coalesce(k.least, (select min(o.least) from last_meaning o), 0)
          else 0
        end as score
    from words w
    full join meaning m using (kind, source_id)
    left join last_meaning k using (kind)
    cross join last_words l
  ) joined
  order by round(score::numeric, 9) desc, kind, source_id
"""


def draw(chance: random.Random) -> Listed:
    """Few ids and few scores, so that many are in both lists and many are equal."""
    ids = [UUID(int=chance.getrandbits(128)) for _ in range(chance.randint(1, 20))]
    pairs = sorted({(chance.choice(KINDS), chance.choice(ids)) for _ in range(25)})
    scores = [0.0, 0.25, 0.5, round(chance.random(), 3), round(chance.random(), 3) * 20]
    words = [WordsHit(*each, chance.choice(scores)) for each in pairs if chance.random() < 0.4][:CANDIDATES_MAX]
    meaning = [
        MeaningHit(*each, 1, 0, max(near), "exact", min(near))
        for each in pairs
        if chance.random() < 0.4 and (near := [chance.choice(scores[:4]), chance.random()])
    ]
    chance.shuffle(words)
    chance.shuffle(meaning)
    return Listed(words, meaning, set(), set(), CANDIDATES_MAX)


@pytest.mark.stack
def test_lists_are_joined_as_the_database_would(fresh_database: Settings) -> None:
    with psycopg.connect(fresh_database.postgres.dsn("flows")) as connection:
        for seed in range(200):
            listed = draw(random.Random(seed))
            values: dict[str, Any] = {
                "words": Jsonb(
                    [{"kind": w.kind, "source_id": str(w.source_id), "score": w.score} for w in listed.words]
                ),
                "meaning": Jsonb(
                    [
                        {"kind": m.kind, "source_id": str(m.source_id), "score": m.score, "second": m.second}
                        for m in listed.meaning
                    ]
                ),
                "most": CANDIDATES_MAX,
                "share": WORDS_SHARE,
            }
            rows = connection.execute(JOINED, values).fetchall()
            found = fuse(listed)
            assert [(*each.pair, each.words_rank, each.meaning_rank, each.is_by_meaning) for each in found] == [
                row[:5] for row in rows
            ], seed
            assert [each.score for each in found] == pytest.approx([row[5] for row in rows], abs=1e-12), seed


def test_what_is_named_is_above_what_has_the_name_and_that_above_the_rest() -> None:
    ids = [UUID(int=n) for n in range(4)]
    words = [WordsHit("adr", ids[1], 9.0), WordsHit("adr", ids[0], 1.0)]
    meaning = [MeaningHit("adr", ids[0], 1, 3, 1.0, "exact", 1.0)]
    found = fuse(Listed(words, meaning, {("adr", ids[2])}, {("adr", ids[1]), ("page", ids[3])}, 100))
    assert [each.pair[1] for each in found] == [ids[2], ids[1], ids[3], ids[0]]
    assert found[0].score >= NAMED_SCORE > found[1].score >= EXACT_SCORE > found[3].score
    assert [each.ordinal for each in found] == [0, None, None, 3], "of a named ADR its beginning is shown"


def test_nothing_is_joined_of_nothing() -> None:
    assert fuse(Listed([], [], set(), set(), 100)) == []
