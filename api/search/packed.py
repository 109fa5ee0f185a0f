"""The search by words in a tenant that has segments: the best of all sources that have one of the words.

Owns which kinds are ranked so (those whose segments are live, with few changes beside them), and what of their lists is
kept in the process. What it hands on is a short list of sources that holds the best, for `mv.search_words` to score:
whatever that would find among all is found. Refuses to add up
(`packed_ranking`), to write segments (`connectors/postgres/word_segments.py`), and words that only begin like those of
the query. Read next: `schemas/sql/0044_word_segments.sql`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from api.db import Connection
from api.search.packed_ranking import Wanted, Word, WordList, WordSegment, rank
from api.search.schemas import WordsRoute
from connectors.postgres.word_segments import CHANGES_MAX, as_ids

PROVED_MAX = 10
CACHE_BYTES_MAX = 256_000_000
"""Lists that a process keeps. All words of a million passages take some 200 MB, those that are asked for a part."""

PACKS: Final = """
  select
    t.kind, coalesce(p.state = 'live', false) as live,
    array(
      select s.segment
      from mv.word_segments s
      where s.tenant_id = p.tenant_id and s.kind = p.kind
      order by s.segment
    ) as segments,
    array(
      select octet_length(s.dead) / 2
      from mv.word_segments s
      where s.tenant_id = p.tenant_id and s.kind = p.kind
      order by s.segment
    ) as dead,
    array(
      select c.source_id
      from mv.word_changes c
      where c.tenant_id = p.tenant_id and c.kind = p.kind
      limit $1
    ) as changes
  from mv.word_totals t
  left join mv.word_packs p on p.tenant_id = t.tenant_id and p.kind = t.kind
  where t.tenant_id = app.current_tenant() and t.sources > 0 and ($2::text is null or t.kind = $2)
  order by t.kind
"""
TERMS: Final = """
  select t.kind, t.key, t.idf, t.average
  from mv.word_terms(mv.search_terms($1), $2) as t
  where not exists (select from unnest(mv.search_terms($1)) as lexeme where mv.is_half_a_pair(lexeme))
  order by t.kind, t.n
"""
SEGMENTS: Final = """
  select s.segment, s.ids, s.lengths, s.dead
  from mv.word_segments s
  where s.tenant_id = app.current_tenant() and s.segment = any ($1::bigint[])
"""
LISTS: Final = """
  select
    s.segment, s.sources, substring(p.places from 2 * a.start + 1 for 2 * (a.upto - a.start)) as places,
    substring(p.counts from 4 * a.start + 1 for 4 * (a.upto - a.start)) as counts
  from mv.word_segments s
  left join lateral (
    select w.lexemes, w.ends, w.places, w.counts
    from mv.word_pages w
    where w.tenant_id = s.tenant_id and w.segment = s.segment and w.first <= $2 collate "C"
    order by w.first desc
    limit 1
  ) as p on true
  left join lateral (
    select coalesce(p.ends[n - 1], 0) as start, p.ends[n] as upto
    from array_position(p.lexemes, $2 collate "C") as n
  ) as a on true
  where s.tenant_id = app.current_tenant() and s.segment = any ($1::bigint[])
"""
"""The lists of one word: a row for each segment, whether or not somebody has the word there."""
BOUNDED: Final = """
  select source_id, proved
  from mv.rank_by_words(mv.search_terms($1), null, null, $2, $3, $4)
"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Sources that hold the best by words, pair by pair. `proved`: none that is left out is among the first ten."""

    kinds: list[str]
    ids: list[UUID]
    routes: dict[str, WordsRoute]
    proved: bool

    def plus(self, kind: str, route: WordsRoute, ids: Sequence[UUID], proved: bool) -> Chosen:
        """These, and those of another kind."""
        kinds = [*self.kinds, *[kind] * len(ids)]
        return Chosen(kinds, [*self.ids, *ids], self.routes | {kind: route}, self.proved and proved)


class SegmentCache:
    """What was read of segments, which never changes. A key begins with a tenant; the longest unused goes first."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self.room = 0

    def get(self, key: tuple[Any, ...]) -> Any:
        if (found := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: tuple[Any, ...], value: Any) -> None:
        self.room += value.room
        if (before := self._kept.pop(key, None)) is not None:
            self.room -= before.room
        self._kept[key] = value
        while self.room > self._bytes_max:
            _, oldest = self._kept.popitem(last=False)
            self.room -= oldest.room


CACHE = SegmentCache(CACHE_BYTES_MAX)


async def choose(
    connection: Connection, tenant_id: UUID, words: str, only_kind: str | None, sources_max: int
) -> Chosen | None:
    """The `sources_max` best, and what changed. None where no kind has segments, and where nobody has a word as it is
    written: then words count that begin so. The transaction has one snapshot, in which no segment goes away."""
    packs = await connection.fetch(PACKS, CHANGES_MAX + 1, only_kind)
    packed = [row for row in packs if row["live"] and len(row["changes"]) <= CHANGES_MAX]
    terms = await connection.fetch(TERMS, words, only_kind) if packed else []
    if not terms:
        return None
    chosen = Chosen([], [], {}, proved=True)
    for row in packed:
        ids, proved = await _rank(connection, tenant_id, row, terms, sources_max)
        chosen = chosen.plus(row["kind"], "segments", ids, proved)
    for row in packs:
        if row["kind"] not in chosen.routes:
            found = await connection.fetch(BOUNDED, words, row["kind"], sources_max, PROVED_MAX)
            proved = all(each["proved"] for each in found)
            chosen = chosen.plus(row["kind"], "lists", [each["source_id"] for each in found], proved)
    return chosen if chosen.ids else None


async def _rank(
    connection: Connection, tenant_id: UUID, pack: Any, terms: Sequence[Any], sources_max: int
) -> tuple[list[UUID], bool]:
    """The best of one kind with what changed in it, and whether the first ten are among them."""
    own = [row for row in terms if row["kind"] == pack["kind"]]
    changed = [UUID(bytes=each.bytes) for each in pack["changes"]]
    if not own:
        return [], True
    segments = await _read_segments(connection, tenant_id, pack)
    words = [Word(row["idf"], await _read_lists(connection, tenant_id, pack["segments"], row["key"])) for row in own]
    wanted = Wanted(sources_max, PROVED_MAX, as_ids(b"".join(each.bytes for each in changed)))
    best, proved = await asyncio.to_thread(rank, segments, words, own[0]["average"], wanted)
    return [*changed, *best], proved


async def _read_segments(connection: Connection, tenant_id: UUID, pack: Any) -> list[WordSegment]:
    """The segments, with what is dead by now."""
    keys = [(tenant_id, segment, dead) for segment, dead in zip(pack["segments"], pack["dead"], strict=True)]
    found = {key[1]: CACHE.get(key) for key in keys}
    if missing := [segment for segment, known in found.items() if known is None]:
        for row in await connection.fetch(SEGMENTS, missing):
            segment = WordSegment.read(row["ids"], row["lengths"], row["dead"])
            found[row["segment"]] = segment
            CACHE.put((tenant_id, row["segment"], segment.dead_count), segment)
    return list(found.values())


async def _read_lists(connection: Connection, tenant_id: UUID, segments: Sequence[int], key: str) -> list[WordList]:
    """The lists of one word, by segment."""
    found = {segment: CACHE.get((tenant_id, segment, key)) for segment in segments}
    if missing := [segment for segment, known in found.items() if known is None]:
        for row in await connection.fetch(LISTS, missing, key):
            found[row["segment"]] = WordList.read(row["places"] or b"", row["counts"] or b"", row["sources"])
            CACHE.put((tenant_id, row["segment"], key), found[row["segment"]])
    return list(found.values())
