"""What is known of records that a change proposes: numbers that are taken, and decisions that say the same or else.

Owns the look-up: the number in the log, and accepted records that are near. The comparison is `proposals`, which is
pure. A number is looked up where its log is known: it was named, or the tenant has one alone. Refuses to hold a record
against itself: one of the same file, or of the same number and title, is the one that is being proposed, and what a
proposal links itself is known to its author.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from api.chat.grounding import strip_operators
from api.db import Database, tenant_transaction
from api.guard import schemas
from api.guard.breaking import judge_likelihood
from api.guard.change import Change, fold, gather_words
from api.guard.naming import name_decision, show_place
from api.guard.proposals import Likeness, ProposedRecord, compare_decisions, find_proposals, read_decision
from api.guard.records import read_accepted
from api.logs.numbers import find_held
from api.search import service as searching
from api.search.embedding import QueryEmbedder
from api.search.schemas import SearchRequest
from connectors.reading.outcomes import Decision

NEAR_MAX: Final = 20
"""Records that a proposal is compared with, of each of two searches: by its title, and by all that it says."""
TITLE_QUERY_CHARS_MAX: Final = 300

_TAKEN = """
  select
    a.adr_id, l.slug as log, a.number, 'ADR-' || coalesce(a.label, a.number::text) as label, a.title,
    a.status, v.source_key
  from app.adrs a
  join app.logs l using (tenant_id, log_id)
  join app.adr_versions v using (tenant_id, adr_id, version)
  where a.tenant_id = $1
    and a.number = any($2::int[])
    and a.deleted_at is null
    and (l.slug = $3 or ($3::text is null and (select count(*) from app.logs o where o.tenant_id = $1) = 1))
  order by a.number
"""


async def vet(
    database: Database, embedder: QueryEmbedder, tenant_id: UUID, change: Change, asked: schemas.CheckRequest
) -> list[schemas.VettedProposal]:
    """The records that a change proposes, each with what is known of it."""
    log = asked.log
    proposals = await asyncio.to_thread(find_proposals, change)
    if not proposals:
        return []
    near = [await _find_near(database, embedder, tenant_id, each, log) for each in proposals]
    ids = list(dict.fromkeys(adr_id for found in near for adr_id in found))
    numbers = [each.parsed.number for each in proposals if each.parsed.number is not None]
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        rows = await read_accepted(connection, tenant_id, ids, log)
        taken = await connection.fetch(_TAKEN, tenant_id, numbers, log)
        if asked.holder is not None:
            taken = [*taken, *await find_held(connection, tenant_id, numbers, log, asked.holder)]
    return await asyncio.to_thread(_vet_all, proposals, taken, rows)


async def _find_near(
    database: Database, embedder: QueryEmbedder, tenant_id: UUID, proposal: ProposedRecord, log: str | None
) -> list[UUID]:
    found: list[UUID] = []
    for wanted in (proposal.parsed.title[:TITLE_QUERY_CHARS_MAX], gather_words(proposal.text)):
        if query := strip_operators(wanted):
            request = SearchRequest(query, status=["accepted"], kind="adr", log=log, limit=NEAR_MAX, correct=False)
            result = await searching.search(database, embedder, tenant_id, request)
            found += [hit.source_id for hit in result.hits]
    return found


def _vet_all(
    proposals: Sequence[ProposedRecord], taken: Sequence[Any], rows: Sequence[Any]
) -> list[schemas.VettedProposal]:
    standing = [(row, read_decision(row["title"], row["body"])) for row in rows]
    return [_vet(each, taken, standing) for each in proposals]


def _vet(
    proposal: ProposedRecord, taken: Sequence[Any], standing: Sequence[tuple[Any, Decision]]
) -> schemas.VettedProposal:
    parsed = proposal.parsed
    mine = (row for row in taken if row["number"] == parsed.number)
    found = [_tell_number(row) for row in mine if "holder" in row or not _is_itself(proposal, row)]
    found += sorted(_compare(proposal, standing), key=lambda each: -each.confidence)
    place = show_place(proposal.line)
    return schemas.VettedProposal(parsed.title, parsed.number, parsed.status, place, found[: schemas.FINDINGS_MAX])


def _tell_number(row: Any) -> schemas.ProposalFinding:
    number = str(row["number"])
    if "holder" in row:
        reason = f"the number {number} is reserved for {row['holder']} until {row['expires_at']:%Y-%m-%d}"
        return schemas.ProposalFinding(*("number-reserved", "certain", 1.0, None, number, row["holder"], reason))
    return schemas.ProposalFinding(
        *("number-taken", "certain", 1.0, name_decision(row), number, row["title"]),
        f"the number {number} is taken by {row['title']}",
    )


def _compare(proposal: ProposedRecord, standing: Sequence[tuple[Any, Decision]]) -> Iterator[schemas.ProposalFinding]:
    decision = proposal.decision
    for row, other in standing:
        if _is_itself(proposal, row) or row["number"] in proposal.named:
            continue
        if (likeness := compare_decisions(decision, other)) is not None:
            yield _tell(likeness, row)


def _is_itself(proposal: ProposedRecord, row: Any) -> bool:
    path = (proposal.line.path or "").rpartition("/")[2]
    if row["source_key"] is not None and path and row["source_key"].rpartition("/")[2] == path:
        return True
    return bool(row["number"] == proposal.parsed.number and fold(row["title"]) == fold(proposal.parsed.title))


def _tell(likeness: Likeness, row: Any) -> schemas.ProposalFinding:
    decision = name_decision(row)
    name = f"{decision.label or decision.address} {decision.title}"
    return schemas.ProposalFinding(
        likeness.kind,
        judge_likelihood(likeness.confidence),
        likeness.confidence,
        decision,
        likeness.mine,
        likeness.theirs,
        _REASONS[likeness.kind].format(name),
    )


_REASONS: Final = {
    "duplicate": "decides the same as {}, which is accepted",
    "supersedes": "leaves what {} chose, and does not say that it supersedes it",
    "conflicts": "answers otherwise than {}, which is accepted",
}
