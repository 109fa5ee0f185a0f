"""The word that somebody is about to write: what it may become.

Owns where an unfinished word begins inside of a name, and which words of the tenant go on like it: those that begin so,
most frequent first, or, where the dictionary keeps a stem that is shorter, the stem that some ending would give it.
Refuses to rank: what is found here are words of the index, which the search takes beside those that were typed.
"""

from __future__ import annotations

from typing import Final

from api.db import Connection
from api.search.spelling import ENDINGS, LAST, STEMS
from schemas.analysis import analyse_phrase, analyse_query

BEGINNING_CHARS_MIN: Final = 2
"""One letter begins a tenth of all words."""
COMPLETIONS_MAX: Final = 8
"""Words that an unfinished one is taken for. What is meant is among the first few, or another letter is typed."""
RARITY_MAX: Final = 20
"""A word of so many times fewer sources than the first is left out: being rare, it would weigh more than all others."""
READ_MAX: Final = 20_000
"""Rows of the dictionary that are read. A million words have as many that begin with two common letters."""

BEGINNING_SO: Final = """
  select w.lexeme, sum(w.sources)::bigint as sources
  from (
    select s.lexeme, s.sources
    from unnest($1::text[], $2::text[]) as b (first, above)
    cross join mv.word_totals t
    cross join lateral (
      select s.lexeme, s.sources
      from mv.word_stats s
      where s.tenant_id = app.current_tenant()
        and s.kind = t.kind
        and s.lexeme >= b.first collate "C"
        and s.lexeme < b.above collate "C"
      offset 0
    ) as s
    where t.tenant_id = app.current_tenant()
    limit $3
  ) as w
  group by w.lexeme
  order by sources desc, w.lexeme
  limit $4
"""
AMONG: Final = """
  select s.lexeme, sum(s.sources)::bigint as sources
  from unnest($1::text[]) as w (lexeme)
  cross join mv.word_totals t
  cross join lateral (
    select s.lexeme, s.sources
    from mv.word_stats s
    where s.tenant_id = app.current_tenant() and s.kind = t.kind and s.lexeme = w.lexeme collate "C"
    offset 0
  ) as s
  where t.tenant_id = app.current_tenant()
  group by s.lexeme
  order by sources desc, s.lexeme
  limit $2
"""


def find_beginnings(unfinished: str) -> list[str]:
    """What the words that are meant begin with: the last part of a name, and the name in one."""
    parts = analyse_phrase(unfinished).replace("_", " ").lower().split()
    if not parts or not unfinished[-1].isalnum():
        return []
    whole = [word for word in analyse_query(unfinished).lower().split() if word.endswith(parts[-1])]
    return [each for each in dict.fromkeys([parts[-1], *whole]) if len(each) >= BEGINNING_CHARS_MIN]


async def complete(connection: Connection, unfinished: str) -> list[str]:
    """Words of the tenant's index that the unfinished one may become, the one that most sources have first."""
    beginnings = find_beginnings(unfinished)
    if not beginnings:
        return []
    above = [beginning + LAST for beginning in beginnings]
    rows = await connection.fetch(BEGINNING_SO, beginnings, above, READ_MAX, COMPLETIONS_MAX)
    if not rows:
        # "happines" begins no stem: that of "happiness" is shorter.
        tails = dict.fromkeys(ending[at:] for ending in ENDINGS for at in range(len(ending)))
        forms = await connection.fetch(STEMS, [beginnings[0] + tail for tail in tails])
        stems = {lexeme for form in forms for lexeme in form["lexemes"] if len(lexeme) >= BEGINNING_CHARS_MIN}
        rows = await connection.fetch(AMONG, list(stems), COMPLETIONS_MAX)
    return [row["lexeme"] for row in rows if row["sources"] * RARITY_MAX >= rows[0]["sources"]]
