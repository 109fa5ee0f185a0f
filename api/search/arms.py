"""What is found of a search, by words, by meaning and by name, in the transaction of its tenant.

Owns the order in which they are asked: while the lists of a large tenant are added up in a thread, the connection
looks for what is near. Owns which way words go: by packed segments where a kind has them (`packed`), by `mv.rank_words`
elsewhere, and for words that only begin like those of the query. Refuses to join what they found (`fusion`) and to
read what is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from api.db import Connection
from api.search import identifiers, packed, sql
from api.search.allowed import Allowed
from api.search.fusion import Listed, MeaningHit, Pair, WordsHit, put_best_first
from api.search.packed import read_id
from api.search.query import Query
from api.search.reading import QueryReading
from api.search.schemas import WordsRoute
from connectors.embedders import EmbeddingSpace, Vector

CANDIDATES_MAX: Final = 100
"""Most hits of each arm, before fusion."""
ASKED_MAX: Final = 2_000
"""The same before each is asked whether it passes a filter, as `mv.rank_words` has it."""
ASKED_AT_ONCE: Final = 250
"""How many of these are asked together: most filters leave a good part, so the first few hundred are enough."""

Embedded = tuple[EmbeddingSpace, Vector]


class Asked(NamedTuple):
    """What is looked for. `by_words`: whether words count; `embedded`: the query's vector, where meaning counts."""

    tenant_id: UUID
    query: Query
    read: QueryReading
    by_words: bool
    embedded: Embedded | None


class ByWords(NamedTuple):
    """The best by words, the best first. `wanted`: the words that they were ranked by. `looked_at`: how many sources
    were ranked; null where all that have one were. `proved`: null where nothing was found."""

    hits: list[WordsHit]
    wanted: Sequence[str]
    routes: dict[str, WordsRoute]
    looked_at: int | None
    proved: bool | None


NO_WORDS: Final = ByWords([], (), {}, None, None)


class FoundByArms(NamedTuple):
    """All of it. `listed` is what `fusion` joins."""

    words: ByWords
    listed: Listed


async def find(connection: Connection, asked: Asked, allowed: Allowed) -> FoundByArms:
    """What each arm finds of what may be found."""
    reading = await _read_packed(connection, asked, allowed) if asked.by_words else None
    ranking = asyncio.create_task(asyncio.to_thread(reading.rank)) if reading else None
    try:
        meaning = await _find_near(connection, asked.embedded, allowed) if asked.embedded else []
    finally:
        ranked = await ranking if ranking else None
    words = NO_WORDS
    if asked.by_words:
        words = await _choose_packed(connection, asked, ranked, allowed) if ranked else words
        if not words.hits:
            words = await _rank_words(connection, asked, allowed)
    named = await _find_named(connection, asked, allowed) if asked.by_words and asked.query.numbers else set()
    name = identifiers.find_name(asked.query) if asked.by_words else None
    exact = await _find_exact(connection, name, words, allowed) if name else set()
    return FoundByArms(words, Listed(words.hits, meaning, named, exact, CANDIDATES_MAX))


async def _read_packed(connection: Connection, asked: Asked, allowed: Allowed) -> packed.PackedReading | None:
    sources_max = ASKED_MAX if allowed.filter or allowed.unwanted[0] else CANDIDATES_MAX
    return await packed.read(connection, asked.tenant_id, asked.read.words, allowed, sources_max)


async def _choose_packed(connection: Connection, asked: Asked, found: packed.FoundByWords, allowed: Allowed) -> ByWords:
    """The best that pass the filter. No hits where none does: words that begin like them are looked for then."""
    unwanted = _pairs(*allowed.unwanted)
    best = [hit for hit in put_best_first(found.hits) if hit.pair not in unwanted]
    proved = found.proved and not allowed.filter
    if allowed.filter:
        best = await _keep_passing(connection, best, allowed)
    return ByWords(best[:CANDIDATES_MAX], asked.read.terms, found.routes, found.looked_at, proved if best else None)


async def _keep_passing(connection: Connection, hits: Sequence[WordsHit], allowed: Allowed) -> list[WordsHit]:
    """The first that pass the filter, asked a few hundred at a time."""
    kept: list[WordsHit] = []
    for start in range(0, len(hits), ASKED_AT_ONCE):
        some = hits[start : start + ASKED_AT_ONCE]
        kinds, ids = [hit.kind for hit in some], [hit.source_id for hit in some]
        kept += [some[row["n"] - 1] for row in await connection.fetch(sql.PASSING, kinds, ids, allowed.filter_json)]
        if len(kept) >= CANDIDATES_MAX:
            break
    return kept


async def _rank_words(connection: Connection, asked: Asked, allowed: Allowed) -> ByWords:
    unwanted = _pairs(*allowed.unwanted)
    sources_max = ASKED_MAX if unwanted else CANDIDATES_MAX
    rows = await connection.fetch(
        sql.RANKED, asked.read.words, allowed.kinds, allowed.ids, allowed.filter_json, sources_max
    )
    ranked = [WordsHit(row["kind"], read_id(row), row["score"], row["ordinal"], row["terms"]) for row in rows]
    hits = [hit for hit in ranked if hit.pair not in unwanted]
    if not hits:
        return NO_WORDS
    return ByWords(hits[:CANDIDATES_MAX], rows[0]["wanted"], {}, rows[0]["candidates"], rows[0]["proved"])


async def _find_near(connection: Connection, embedded: Embedded, allowed: Allowed) -> list[MeaningHit]:
    space, vector = embedded
    rows = await connection.fetch(
        sql.NEAREST, space.name, vector, allowed.kinds, allowed.ids, allowed.filter_json, CANDIDATES_MAX
    )
    unwanted = _pairs(*allowed.unwanted)
    hits = [MeaningHit(row["kind"], read_id(row), *row[2:]) for row in rows]
    return [hit for hit in hits if hit.pair not in unwanted]


async def _find_named(connection: Connection, asked: Asked, allowed: Allowed) -> set[Pair]:
    numbers = list(asked.query.numbers)
    rows = await connection.fetch(sql.NAMED, numbers, allowed.kinds, allowed.ids, allowed.filter_json)
    return {(row["kind"], read_id(row)) for row in rows} - _pairs(*allowed.unwanted)


async def _find_exact(connection: Connection, name: identifiers.Name, words: ByWords, allowed: Allowed) -> set[Pair]:
    rows = await connection.fetch(
        sql.EXACT,
        *name,
        allowed.kinds,
        allowed.ids,
        allowed.filter_json,
        *allowed.unwanted,
        [hit.source_id for hit in words.hits],
        CANDIDATES_MAX,
    )
    return {(row["kind"], read_id(row)) for row in rows}


def _pairs(kinds: Sequence[str], ids: Sequence[UUID]) -> set[Pair]:
    return {(kind, UUID(bytes=source_id.bytes)) for kind, source_id in zip(kinds, ids, strict=True)}
