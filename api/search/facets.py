"""What is found, counted by status, tag, log, author, kind and year.

Owns what is counted: the sources that pass the filters of a search and, where it searches by words, have one of them;
what only lies near in meaning is not counted, since everything lies somewhere near. Up to a bound the counts are exact.
Beyond it the best are counted, and the answer says that there are more: a count is never more than there is. Refuses to
filter and to rank, which the search has done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from api.db import Connection
from api.search.allowed import Allowed
from api.search.schemas import FacetCounts, Facets, FacetValue, SearchRequest
from schemas.arrays import arrays_of

LISTED_MAX: Final = 4_000
"""Sources of which each is looked at: some 50 ms. What passes a filter is counted in full up to here."""
BEST_MAX: Final = 1_000
"""Sources that are counted of more: the best by words."""
VALUES_MAX: Final = 20
"""Values of one facet, the most frequent first. How many more there are is said."""

EVERYTHING: Final = """
  select s.kind, s.source_id
  from mv.search_state s
  where s.tenant_id = app.current_tenant() and not s.deleted
  limit $1
"""
WITH_A_WORD: Final = """
  select r.kind, r.source_id
  from mv.rank_by_words($1, $2, $3, null, $4, 10) as r
"""
THE_BEST: Final = """
  select r.kind, r.source_id
  from mv.rank_words($1, $2, $3, $4::text::jsonb, $5) as r
"""
LOOSE: Final = """
  select
    array(select one from unnest($1::text[]) as one where mv.is_half_a_pair(one)) as halves,
    mv.word_beginnings(mv.search_beginnings($1)) as beginnings
"""
COUNT: Final = """
  with found as materialized (
    select s.kind, s.source_id, s.status, s.effective_at, a.log_id
    from unnest($1::text[], $2::uuid[]) as f (kind, source_id)
    join mv.search_state s on s.tenant_id = app.current_tenant()
      and s.kind = f.kind
      and s.source_id = f.source_id
    left join app.adrs a on s.kind = 'adr' and a.tenant_id = s.tenant_id and a.adr_id = s.source_id
    where not s.deleted
      -- A delete is seen at once, as among the hits.
      and case s.kind
        when 'adr' then a.adr_id is not null and a.deleted_at is null
        else not coalesce(
          (
            select v.deleted
            from app.source_versions v
            where v.tenant_id = s.tenant_id and v.kind = s.kind and v.source_id = s.source_id
            order by v.version desc
            limit 1
          ), true
        )
      end
  ),
  counted as (
    select 'status' as facet, f.status as value, count(*) as sources
    from found f
    where 'status' = any ($3::text[]) and f.status <> ''
    group by f.status
    union all
    select 'kind', f.kind, count(*)
    from found f
    where 'kind' = any ($3)
    group by f.kind
    union all
    select 'year', to_char(f.effective_at at time zone 'UTC', 'YYYY'), count(*)
    from found f
    where 'year' = any ($3)
    group by 2
    union all
    select 'log', l.slug, count(*)
    from found f
    join app.logs l on l.tenant_id = app.current_tenant() and l.log_id = f.log_id
    where 'log' = any ($3)
    group by l.slug
    union all
    select 'tag', t.tag, count(*)
    from found f
    join app.adr_tags t on t.tenant_id = app.current_tenant() and t.adr_id = f.source_id
    where 'tag' = any ($3) and f.kind = 'adr'
    group by t.tag
    union all
    select 'author', min(v.author), count(distinct f.source_id)
    from found f
    join app.adr_versions v on v.tenant_id = app.current_tenant() and v.adr_id = f.source_id
    where 'author' = any ($3) and f.kind = 'adr' and v.author <> ''
    group by lower(v.author)
  ),
  ranked as (
    select
      c.facet, c.value, c.sources,
      row_number() over (partition by c.facet order by c.sources desc, c.value) as place,
      count(*) over (partition by c.facet) as n
    from counted c
  )
  select r.facet, r.value, r.sources, r.n, (select count(*) from found) as found
  from ranked r
  where r.place <= $4
  union all
  select '', '', 0, 0, (select count(*) from found)
  order by 1, 3 desc, 2
"""
"""Kinds and ids of what is counted, facets, values at most. The row without a facet says how many sources there are."""


async def count(
    connection: Connection, request: SearchRequest, words: str, terms: Sequence[str], allowed: Allowed
) -> Facets:
    """Count what a search finds, in its transaction. `words` and `terms` are the query as it was read."""
    by_words = request.mode != "meaning" and bool(terms)
    if by_words:
        found, is_all = await _find_with_a_word(connection, words, terms, allowed)
    else:
        found, is_all = await _find_passing(connection, allowed)
    rows = await connection.fetch(COUNT, *arrays_of(found, 2), request.facets, VALUES_MAX)
    by = {facet: FacetCounts([], 0) for facet in request.facets}
    for row in rows:
        if row["facet"]:
            counts = by[row["facet"]]
            counts.values.append(FacetValue(row["value"], row["sources"]))
            by[row["facet"]] = msgspec.structs.replace(counts, more=row["n"] - len(counts.values))
    return Facets("sources with a word" if by_words else "all that pass", rows[0]["found"], not is_all, by)


Found = list[tuple[Any, ...]]
"""Kinds and ids."""


async def _find_passing(connection: Connection, allowed: Allowed) -> tuple[Found, bool]:
    """What passes the filters, up to the bound, and whether that is all of it."""
    if allowed.listed is None:
        rows = await connection.fetch(EVERYTHING, LISTED_MAX + 1)
        return [tuple(row) for row in rows[:LISTED_MAX]], len(rows) <= LISTED_MAX
    listed = list(zip(*allowed.listed, strict=True))
    return listed[:LISTED_MAX], len(listed) <= LISTED_MAX and not allowed.bounded


async def _find_with_a_word(
    connection: Connection, words: str, terms: Sequence[str], allowed: Allowed
) -> tuple[Found, bool]:
    passing, is_all = await _find_passing(connection, allowed)
    if not is_all:
        rows = await connection.fetch(THE_BEST, words, allowed.kinds, allowed.ids, allowed.filter_json, BEST_MAX)
        unwanted = set(zip(*allowed.unwanted, strict=True))
        return [pair for row in rows if (pair := tuple(row)) not in unwanted], False
    loose = await connection.fetchrow(LOOSE, terms)
    if not loose["halves"]:
        rows = await connection.fetch(WITH_A_WORD, terms, *arrays_of(passing, 2), LISTED_MAX)
        if rows:
            return [tuple(row) for row in rows], True
    # As the search does: what begins like one of the words, of which not all are looked up.
    beginnings = [*terms, *loose["beginnings"]]
    for half in loose["halves"]:
        beginnings += await connection.fetchval("select mv.word_beginnings(array[$1::text])", half)
    rows = await connection.fetch(WITH_A_WORD, beginnings, *arrays_of(passing, 2), LISTED_MAX)
    return [tuple(row) for row in rows], False
