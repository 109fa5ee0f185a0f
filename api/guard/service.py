"""A check of a change against the tenant's records: what it cites that does not hold, what it seems to break, and what
holds and speaks of it.

Owns the order of the questions, the time for all, and the first and the last of them. The first is answered from what
was written (`app.*`), so it is never behind; the others by the search, which says how fresh it is. Next: `suspecting`
and `vetting`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Literal
from uuid import UUID

from api.adrs.naming import address_of
from api.chat.grounding import read_passages, strip_operators
from api.db import Connection, Database, tenant_transaction
from api.guard import schemas, suspecting, vetting
from api.guard.change import (
    AddedLine,
    Change,
    Citation,
    find_citations,
    find_titles,
    find_topics,
    fold,
    read_change,
)
from api.guard.naming import name_decision, show_place
from api.logs import service as logs
from api.research.passes import FUSION_K
from api.search import service as searching
from api.search.embedding import QueryEmbedder
from api.search.schemas import Degraded, Hit, SearchFreshness, SearchRequest
from runtime.errors import DependencyUnavailable

CHECK_S_MAX: Final = 20.0
"""Longest check, in seconds: eight searches take less than one on an idle machine."""
HITS_OF_TOPIC: Final = 10
"""Hits of each search that count."""
TITLE_CHARS_MIN: Final = 20
"""Shortest title that is looked for in a change, of at least four words: "Use Postgres" stands in many."""
TITLES_MAX: Final = 50
"""Titles that are found in one change."""
HEIRS_MAX: Final = 500
NEAR_MAX: Final = 20
"""The decisions of the ranking that are read for what the change may break, however few are shown."""

_NUMBERED = """
  select
    a.adr_id, l.slug as log, a.number, 'ADR-' || coalesce(a.label, a.number::text) as label, a.title,
    a.status, v.source_key
  from app.adrs a
  join app.logs l using (tenant_id, log_id)
  join app.adr_versions v using (tenant_id, adr_id, version)
  where a.tenant_id = $1
    and a.number = any($2::int[])
    and a.deleted_at is null
    and ($3::text is null or l.slug = $3)
  order by l.slug, a.number
"""

_TITLED = """
  select
    a.adr_id, l.slug as log, a.number, 'ADR-' || coalesce(a.label, a.number::text) as label, a.title, a.status
  from app.adrs a
  join app.logs l using (tenant_id, log_id)
  where a.tenant_id = $1
    and a.status = any($2::text[])
    and a.deleted_at is null
    and ($3::text is null or l.slug = $3)
    and length(a.title) >= $4
    and a.title ~ '\\S+\\s+\\S+\\s+\\S+\\s+\\S+'
    and position(regexp_replace(lower(a.title), '\\s+', ' ', 'g') in $5) > 0
  order by a.adr_id
  limit $6
"""

_HEIRS = """
  with heirs as (
    select adr_id as old_id, target_id as heir_id
    from app.adr_links
    where tenant_id = $1 and adr_id = any($2::uuid[]) and kind = 'superseded-by' and target_id is not null
    union
    select target_id, adr_id
    from app.adr_links
    where tenant_id = $1 and target_id = any($2) and kind = 'supersedes'
  )
  select
    h.old_id, a.adr_id, l.slug as log, a.number, 'ADR-' || coalesce(a.label, a.number::text) as label,
    a.title, a.status
  from heirs h
  join app.adrs a on a.tenant_id = $1 and a.adr_id = h.heir_id
  join app.logs l on l.tenant_id = a.tenant_id and l.log_id = a.log_id
  where a.deleted_at is null and h.old_id <> h.heir_id
  order by h.old_id, l.slug, a.number, a.adr_id
  limit $3
"""

GONE: Final = ("superseded", "deprecated", "rejected")
"""The states in which a decision does not hold."""


async def check(
    database: Database, embedder: QueryEmbedder, tenant_id: UUID, asked: schemas.CheckRequest
) -> schemas.CheckResult:
    """Raises `InvalidInput` for a log that is not there, and `DependencyUnavailable`."""
    change = await asyncio.to_thread(read_change, asked.change, asked.path)
    try:
        async with asyncio.timeout(CHECK_S_MAX):
            cited = await _find_cited(database, tenant_id, change, asked.log)
            topics = await asyncio.to_thread(find_topics, change) if asked.limit else []
            ranking = _Ranking()
            for topic in topics:
                request = SearchRequest(
                    strip_operators(topic.query),
                    status=["accepted"],
                    kind="adr",
                    log=asked.log,
                    limit=HITS_OF_TOPIC,
                    explain=True,
                )
                found = await searching.search(database, embedder, tenant_id, request)
                ranking.add(topic.path, found.hits, found.degraded, found.as_of)
            near = ranking.best(NEAR_MAX)
            broken, as_of = await suspecting.find_broken(database, embedder, tenant_id, change, asked.log, near)
            proposals = await vetting.vet(database, embedder, tenant_id, change, asked)
            governing = await ranking.read(database, tenant_id, asked.limit)
    except TimeoutError:
        raise DependencyUnavailable(
            f"the check took longer than {CHECK_S_MAX:g} s", hint="check less at a time, or try again"
        ) from None
    return schemas.CheckResult(
        *(cited, broken, proposals, governing, len(change.lines), len(change.files), len(topics)),
        *(ranking.degraded, ranking.as_of or as_of),
    )


# --- what is cited and does not hold --------------------------------------------------------------------------------


async def _find_cited(
    database: Database, tenant_id: UUID, change: Change, log: str | None
) -> list[schemas.CitedDecision]:
    citations = await asyncio.to_thread(find_citations, change)
    said = await asyncio.to_thread(lambda: fold("\n".join(each.text for each in change.lines)))
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        if log is not None:
            await logs.require_known(connection, tenant_id, log)
        numbers = sorted({each.number for each in citations})
        numbered = await connection.fetch(_NUMBERED, tenant_id, numbers, log)
        titled = await connection.fetch(_TITLED, tenant_id, list(GONE), log, TITLE_CHARS_MIN, said, TITLES_MAX)
        old_ids = [row["adr_id"] for row in (*numbered, *titled) if row["status"] in GONE]
        heirs = await _read_heirs(connection, tenant_id, old_ids)
    found: dict[tuple[UUID, AddedLine], schemas.CitedDecision] = {}
    for citation in citations:
        for row in _choose(citation, numbered):
            by: Literal["number", "file"] = "file" if citation.file else "number"
            found.setdefault((row["adr_id"], citation.line), _cite(row, by, citation.line, heirs))
    lines = await asyncio.to_thread(find_titles, change, [row["title"] for row in titled])
    for row, line in zip(titled, lines, strict=True):
        if line is not None:
            found.setdefault((row["adr_id"], line), _cite(row, "title", line, heirs))
    return list(found.values())


def _choose(citation: Citation, rows: Sequence[Any]) -> list[Any]:
    """The records that a citation means and that do not hold. A number that one log's valid record has as well may mean
    that one, so it is nothing to tell."""
    meant = [
        row for row in rows if row["number"] == citation.number and (citation.log is None or row["log"] == citation.log)
    ]
    if citation.file is not None:
        name = citation.file.lower()
        meant = [
            row for row in meant if row["source_key"] is None or row["source_key"].rpartition("/")[2].lower() == name
        ]
    return meant if all(row["status"] in GONE for row in meant) else []


async def _read_heirs(
    connection: Connection, tenant_id: UUID, old_ids: Sequence[UUID]
) -> dict[UUID, list[schemas.NamedDecision]]:
    heirs: dict[UUID, list[schemas.NamedDecision]] = {}
    if old_ids:
        for row in await connection.fetch(_HEIRS, tenant_id, old_ids, HEIRS_MAX):
            heirs.setdefault(row["old_id"], []).append(name_decision(row))
    return heirs


def _cite(
    row: Any, by: Literal["number", "file", "title"], line: AddedLine, heirs: dict[UUID, list[schemas.NamedDecision]]
) -> schemas.CitedDecision:
    decision, instead = name_decision(row), heirs.get(row["adr_id"], [])
    named = ", ".join(f"{each.label or each.address} {each.title}" for each in instead)
    reason = f"{decision.label or decision.address} is {decision.status}" + (f"; see {named}" if named else "")
    return schemas.CitedDecision(decision, by, show_place(line), instead, reason)


# --- what holds and is near -----------------------------------------------------------------------------------------


class _Ranking:
    """The hits of all topics, joined by rank."""

    def __init__(self) -> None:
        self.degraded: list[Degraded] = []
        self.as_of: SearchFreshness | None = None
        self._scores: dict[UUID, float] = {}
        self._best: dict[UUID, Hit] = {}
        self._paths: dict[UUID, list[str]] = {}

    def add(self, path: str | None, hits: Sequence[Hit], degraded: Sequence[Degraded], as_of: SearchFreshness) -> None:
        """Count the hits of one topic, best first."""
        for rank, hit in enumerate(hits, 1):
            key = hit.source_id
            self._scores[key] = self._scores.get(key, 0.0) + 1 / (FUSION_K + rank)
            if key not in self._best or hit.score > self._best[key].score:
                self._best[key] = hit
            if path is not None:
                self._paths.setdefault(key, []).append(path)
        self.degraded += [each for each in degraded if each not in self.degraded]
        self.as_of = self.as_of or as_of  # the oldest: the first of them

    def best(self, limit: int) -> list[UUID]:
        """The ids of the best."""
        return sorted(self._scores, key=lambda key: (-self._scores[key], str(key)))[:limit]

    async def read(self, database: Database, tenant_id: UUID, limit: int) -> list[schemas.GoverningDecision]:
        """The best, with their passages."""
        pairs = await read_passages(database, tenant_id, [self._best[key] for key in self.best(limit)])
        return [self._tell(hit, row) for hit, row in pairs]

    def _tell(self, hit: Hit, row: Any) -> schemas.GoverningDecision:
        assert hit.explain is not None
        assert hit.log is not None
        words, meaning = hit.explain.words, hit.explain.meaning
        support: Literal["both", "words", "meaning"] = "both" if words and meaning else "words" if words else "meaning"
        said = [f"shares {', '.join((words.terms or [])[:8])}"] if words else []
        said += [f"is alike in meaning (cosine {meaning.score:.2f})"] if meaning else []
        label = None if hit.number is None else f"ADR-{hit.number}"
        address = address_of(hit.log, hit.number, hit.source_id)
        return schemas.GoverningDecision(
            schemas.NamedDecision(hit.source_id, address, label, hit.log, hit.title, "accepted"),
            row["heading_path"],
            row["body"][: schemas.EXCERPT_CHARS_MAX],
            round(self._scores[hit.source_id], 6),
            self._paths.get(hit.source_id, []),
            support,
            " and ".join(said),
        )
