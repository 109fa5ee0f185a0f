"""What a change seems to break, of all decisions of a tenant: which of them are read, and what is told of them.

Owns the look-up: decisions that have a name which the change uses, found by words, and those that are near to it. The
comparison is `breaking`, which is pure. Refuses to look at more than `RECORDS_MAX` decisions: those with the rarest
names come first, for so the search ranks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from api.chat.grounding import strip_operators
from api.db import Database, tenant_transaction
from api.guard import schemas
from api.guard.breaking import CONFIDENCE, Breach, find_breaches, judge_likelihood
from api.guard.change import Change
from api.guard.naming import name_decision, show_place
from api.guard.records import read_accepted
from api.guard.stances import Stances, read_stances
from api.guard.uses import Uses, read_uses
from api.search import service as searching
from api.search.embedding import QueryEmbedder
from api.search.query import QUERY_CHARS_MAX
from api.search.schemas import LIMIT_MAX, SearchFreshness, SearchRequest

SEARCHES_MAX: Final = 2
"""Searches for the names of one change: some two hundred names, dependencies before names of code."""
RECORDS_MAX: Final = 60
"""Decisions that are read for one check. One takes about ten milliseconds the first time."""
STANCES_MAX: Final = 500
"""Texts of decisions whose stances a process keeps: 32 MB of text at most."""


async def find_broken(
    database: Database,
    embedder: QueryEmbedder,
    tenant_id: UUID,
    change: Change,
    log: str | None,
    near: Sequence[UUID],
) -> tuple[list[schemas.BrokenDecision], SearchFreshness | None]:
    """What the change seems to break, the surest first, at most `BROKEN_MAX`, and up to when that is known. `near`:
    decisions that are read anyway."""
    uses = await asyncio.to_thread(read_uses, change)
    found = dict.fromkeys(near)
    as_of: SearchFreshness | None = None
    for query in _queries(uses):
        asked = SearchRequest(
            query, mode="words", status=["accepted"], kind="adr", log=log, limit=LIMIT_MAX, correct=False
        )
        result = await searching.search(database, embedder, tenant_id, asked)
        as_of = as_of or result.as_of
        found |= dict.fromkeys(hit.source_id for hit in result.hits)
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        rows = await read_accepted(connection, tenant_id, list(found)[:RECORDS_MAX], log)
    breaches = await asyncio.to_thread(_compare, uses, rows)
    ordered = sorted(breaches, key=lambda each: -CONFIDENCE[each.evidence])
    return [_tell(each, rows[each.record]) for each in ordered[: schemas.BROKEN_MAX]], as_of


def _queries(uses: Uses) -> list[str]:
    """The different names that a change uses, as searches."""
    queries: list[str] = []
    gathered = ""
    for name in dict.fromkeys(_names(uses)):
        if len(gathered) + len(name) + 1 > QUERY_CHARS_MAX:
            queries.append(gathered)
            gathered = ""
        gathered += f"{name} "
    queries.append(gathered)
    stripped = (strip_operators(query).strip() for query in queries[:SEARCHES_MAX])
    return [query for query in stripped if query]


def _names(uses: Uses) -> Iterator[str]:
    for wanted in (("dependency", "service", "prose"), ("import",), ("call",)):
        for use in uses.names:
            if use.kind in wanted:
                yield use.spelled[: schemas.LINE_CHARS_MAX]
                yield min(use.keys, key=lambda key: (len(key), key))[: schemas.LINE_CHARS_MAX]
        if wanted == ("dependency", "service", "prose"):
            yield from (each.number.name for each in uses.numbers)


def _compare(uses: Uses, rows: Sequence[Any]) -> list[Breach]:
    return find_breaches(uses, [_read(row["title"], row["body"]) for row in rows])


@lru_cache(maxsize=STANCES_MAX)
def _read(title: str, body: str) -> Stances:
    """A function of the text alone, so whose text it is does not matter."""
    return read_stances(title, body)


def _tell(breach: Breach, row: Any) -> schemas.BrokenDecision:
    sure = CONFIDENCE[breach.evidence]
    return schemas.BrokenDecision(
        name_decision(row),
        breach.evidence,
        judge_likelihood(sure),
        sure,
        show_place(breach.line),
        breach.heading,
        breach.quote,
        breach.reason,
    )
