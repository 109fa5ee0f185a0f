"""The search by words in a tenant that has segments: the best of all sources that have one of the words.

Owns which kinds are ranked so (those whose segments are live, with few changes beside them), and what of their lists is
kept in the process. Whatever `mv.rank_words` would find among all is found, with the same scores. Refuses to add up
(`packed_ranking`), to write segments (`connectors/postgres/word_segments.py`), and words that only begin like those of
the query. Read next: `schemas/sql/0044_word_segments.sql`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from api.db import Connection
from api.search.allowed import Allowed
from api.search.fusion import WordsHit
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
SCORED: Final = """
  select kind, source_id, score, candidates, proved
  from mv.rank_by_words(mv.search_terms($1), $2, $3, $4, $5, $6)
"""


class FoundByWords(NamedTuple):
    """The best by words of each kind, in no order. `proved`: none that is left out is among the first ten. `looked_at`:
    how many sources were ranked of kinds without segments; null where there are none."""

    hits: list[WordsHit]
    routes: dict[str, WordsRoute]
    proved: bool
    looked_at: int | None = None

    def plus(self, kind: str, route: WordsRoute, rows: Sequence[Any]) -> FoundByWords:
        """These, and what the database found of another kind."""
        hits = [WordsHit(row["kind"], read_id(row), row["score"]) for row in rows]
        proved = self.proved and all(row["proved"] for row in rows)
        looked_at = self.looked_at
        if route == "lists":
            looked_at = (looked_at or 0) + (rows[0]["candidates"] if rows else 0)
        return FoundByWords([*self.hits, *hits], self.routes | {kind: route}, proved, looked_at)


@dataclass(frozen=True, slots=True)
class PackedKind:
    """A kind whose lists were read, to be added up."""

    kind: str
    segments: list[WordSegment]
    words: list[Word]
    average: float
    wanted: Wanted


class PackedReading(NamedTuple):
    """What was read of a tenant: kinds to be added up, and what was found of other kinds and of what changed."""

    kinds: list[PackedKind]
    beside: FoundByWords

    def rank(self) -> FoundByWords:
        """All of it. Takes a processor for some milliseconds and no connection, so it belongs in a thread."""
        hits, routes, proved, looked_at = self.beside
        for one in self.kinds:
            best, is_proved = rank(one.segments, one.words, one.average, one.wanted)
            hits = [*hits, *(WordsHit(one.kind, source_id, score) for source_id, score in best)]
            proved = proved and is_proved
        return FoundByWords(hits, routes, proved, looked_at)


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


def read_id(row: Any) -> UUID:
    """The source of a row. The driver has a type of its own, which is not ordered like others."""
    return UUID(bytes=row["source_id"].bytes)


async def read(
    connection: Connection, tenant_id: UUID, words: str, allowed: Allowed, sources_max: int
) -> PackedReading | None:
    """The lists of the words, for the `sources_max` best of each kind. None where no kind has segments, and where
    nobody has a word as it is written: then words count that begin so. The transaction has one snapshot, in which no
    segment goes away."""
    only_kind = allowed.filter.get("kind") if allowed.filter else None
    packs = await connection.fetch(PACKS, CHANGES_MAX + 1, only_kind)
    packed = [row["kind"] for row in packs if row["live"] and len(row["changes"]) <= CHANGES_MAX]
    terms = await connection.fetch(TERMS, words, only_kind) if packed else []
    if not terms:
        return None
    kinds: list[PackedKind] = []
    beside = FoundByWords([], {}, proved=True)
    for row in packs:
        asked = _AskedKind(row, [each for each in terms if each["kind"] == row["kind"]], _find_among(allowed, row))
        if asked.among == []:
            continue
        if row["kind"] not in packed:
            beside = beside.plus(row["kind"], "lists", await _score(connection, words, asked, asked.among, sources_max))
            continue
        changed = asked.find_changed()
        if asked.terms:
            kinds.append(await _read_kind(connection, tenant_id, asked, changed, sources_max))
        found = await _score(connection, words, asked, changed, sources_max) if changed and asked.terms else []
        beside = beside.plus(row["kind"], "segments", found)
    return PackedReading(kinds, beside)


class _AskedKind(NamedTuple):
    """One kind of the tenant: its row of `PACKS`, those of its words, and what may be found of it, or all."""

    pack: Any
    terms: Sequence[Any]
    among: list[bytes] | None

    def find_changed(self) -> list[bytes]:
        """What changed since it was packed, and may be found."""
        changed = [each.bytes for each in self.pack["changes"]]
        return changed if self.among is None else sorted({*changed} & {*self.among})


def _find_among(allowed: Allowed, pack: Any) -> list[bytes] | None:
    if allowed.kinds is None or allowed.ids is None:
        return None
    pairs = zip(allowed.kinds, allowed.ids, strict=True)
    return sorted(source_id.bytes for kind, source_id in pairs if kind == pack["kind"])


async def _score(
    connection: Connection, words: str, asked: _AskedKind, among: list[bytes] | None, sources_max: int
) -> list[Any]:
    """What the database finds of one kind, among these or among all."""
    kind = asked.pack["kind"]
    ids = None if among is None else [UUID(bytes=each) for each in among]
    kinds = None if ids is None else [kind] * len(ids)
    rows: list[Any] = await connection.fetch(SCORED, words, kinds, ids, kind, sources_max, PROVED_MAX)
    return rows


async def _read_kind(
    connection: Connection, tenant_id: UUID, asked: _AskedKind, changed: list[bytes], sources_max: int
) -> PackedKind:
    segments = await _read_segments(connection, tenant_id, asked.pack)
    words = [
        Word(row["idf"], await _read_lists(connection, tenant_id, asked.pack["segments"], row["key"]))
        for row in asked.terms
    ]
    among = None if asked.among is None else as_ids(b"".join(asked.among))
    wanted = Wanted(sources_max, PROVED_MAX, as_ids(b"".join(changed)), among)
    return PackedKind(asked.pack["kind"], segments, words, asked.terms[0]["average"], wanted)


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
