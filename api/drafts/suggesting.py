"""Title, tags and related ADRs for an ADR, by a model or without one.

Owns what a suggestion may be: a tag that fits, the tenant's own first; an ADR that exists, and is not this one; a title
of one line. What a model writes is a claim, and what does not hold is left out. Without a model it is statistics: near
ADRs are what the search finds, and tags are theirs. Refuses to set anything, and to ask a model (`controller`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from api.adrs.document import TITLE_CHARS_MAX
from api.adrs.schemas import TAG_CHARS_MAX
from api.chat.citations import find_numbers
from api.chat.grounding import Grounding, Question
from api.chat.schemas import Source, UsageSpent
from api.db import Connection, Database, tenant_transaction
from api.drafts import composing, prompts
from api.drafts.composing import DraftedRecord
from api.drafts.prompts import RecordText
from api.drafts.schemas import SuggestedAdr, SuggestedMetadata, SuggestedTag
from api.search.embedding import QueryEmbedder
from runtime.errors import DependencyUnavailable
from schemas.text import NAME, TAG

TAGS_MAX: Final = 5
"""Tags that are suggested. More of them on one ADR part it from nothing."""
RELATED_MAX: Final = 8
"""ADRs that are suggested: as many as a person looks at."""
CANDIDATES: Final = 12
"""Sources that are looked at. Beyond it, what the search finds has little to do with the ADR."""
WHY_CHARS_MAX: Final = 300
"""One sentence."""
VOCABULARY_MAX: Final = 200
"""Tags of the tenant that a model is told of, those on most ADRs first: 2 000 tokens at the most."""
MENTION_WEIGHT: Final = 0.5
"""What it counts for a tag that the text has its words; a near ADR that has the tag counts 1, less with its rank."""

_TAG = re.compile(TAG)
_NAME = re.compile(NAME)
_WORD = re.compile(r"[^\W_]+")

_VOCABULARY = """
  select tag
  from app.adr_tags
  where tenant_id = $1
  group by tag
  order by count(*) desc, tag
  limit $2
"""

_NEAR = """
  select
    a.adr_id, 'ADR-' || coalesce(a.label, a.number::text) as label, l.slug as log, a.title, a.status,
    array(select tag from app.adr_tags t where t.tenant_id = a.tenant_id and t.adr_id = a.adr_id) as tags
  from unnest($2::uuid[]) with ordinality as wanted (adr_id, place)
  join app.adrs a on a.tenant_id = $1 and a.adr_id = wanted.adr_id
  join app.logs l on l.tenant_id = a.tenant_id and l.log_id = a.log_id
  where a.deleted_at is null
  order by wanted.place
"""


class NearAdr(msgspec.Struct, frozen=True):
    """An ADR that the search found, with the number by which a model names it."""

    number: int
    suggested: SuggestedAdr
    tags: list[str]


class SuggestionBasis(msgspec.Struct, frozen=True):
    """What there is to suggest from. `known`: tags of the tenant, those on most ADRs first."""

    record: DraftedRecord
    found: Grounding
    near: list[NearAdr]
    known: list[str]


class _RelatedClaim(msgspec.Struct, frozen=True):
    source: int
    why: str


class _Claims(msgspec.Struct, frozen=True):
    title: str
    tags: list[str]
    related: list[_RelatedClaim]


async def collect(
    database: Database, embedder: QueryEmbedder, tenant_id: UUID, record: DraftedRecord
) -> SuggestionBasis:
    """Look for what is near, and which tags there are. Raises as `ground` does."""
    found = await composing.find_others(database, embedder, tenant_id, record.title, CANDIDATES, record)
    numbers = composing.choose_numbers(find_numbers(record.body))
    next(numbers)  # the record's
    found = composing.number_anew(found, numbers)
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        known = [row["tag"] for row in await connection.fetch(_VOCABULARY, tenant_id, VOCABULARY_MAX)]
        near = await _read_near(connection, tenant_id, found.sources)
    return SuggestionBasis(record, found, near, known)


async def _read_near(connection: Connection, tenant_id: UUID, sources: Sequence[Source]) -> list[NearAdr]:
    numbers = {source.source_id: source.number for source in sources if source.kind == "adr"}
    rows: list[Any] = await connection.fetch(_NEAR, tenant_id, list(numbers))
    return [
        NearAdr(
            numbers[row["adr_id"]],
            SuggestedAdr(row["adr_id"], row["label"], row["log"], row["title"], row["status"], None),
            row["tags"],
        )
        for row in rows
    ]


def write_question(basis: SuggestionBasis, output_tokens_max: int) -> Question:
    """What a model is asked: it is told of the ADRs that are near, and may name only those. Pure."""
    record = basis.record
    number = next(composing.choose_numbers(find_numbers(record.body)))
    about = RecordText(number, record.title, record.status, record.body)
    near = {each.number for each in basis.near}
    passages = [each for each in basis.found.passages if each.number in near]
    prompt = prompts.write_suggesting_prompt(about, record.tags, basis.known, passages, output_tokens_max)
    return Question(prompt, basis.found)


def suggest_by_statistics(basis: SuggestionBasis) -> SuggestedMetadata:
    """What the search and the tags of near ADRs say. The ADR has a title, and no better one is known. Pure."""
    weights: defaultdict[str, float] = defaultdict(float)
    for rank, each in enumerate(basis.near, 1):
        for tag in each.tags:
            weights[tag] += 1 / rank
    body = _words(f"{basis.record.title}\n{basis.record.body}")
    for tag in basis.known:
        if f" {_words(tag).strip()} " in body:
            weights[tag] += MENTION_WEIGHT
    ranked = sorted(weights, key=lambda tag: (-weights[tag], tag))
    return _make(basis, None, ranked, [each.suggested for each in basis.near], None, None)


def read_claims(basis: SuggestionBasis, answer: str, model: str, usage: UsageSpent | None) -> SuggestedMetadata:
    """What a model suggested, as far as it holds. Raises `DependencyUnavailable` for what is not of the form. Pure."""
    try:
        claims = msgspec.json.decode(answer, type=_Claims)
    except msgspec.MsgspecError:
        raise DependencyUnavailable("the model answered in another form than was asked for", hint="ask again") from None
    near: Mapping[int, SuggestedAdr] = {each.number: each.suggested for each in basis.near}
    related = {
        claim.source: msgspec.structs.replace(near[claim.source], why=_say_why(claim.why))
        for claim in claims.related
        if claim.source in near
    }
    return _make(basis, claims.title, claims.tags, list(related.values()), model, usage)


def _make(
    basis: SuggestionBasis,
    title: str | None,
    tags: Sequence[str],
    related: Sequence[SuggestedAdr],
    model: str | None,
    usage: UsageSpent | None,
) -> SuggestedMetadata:
    title = " ".join((title or "").split())
    fits = title != basis.record.title and len(title) <= TITLE_CHARS_MAX and _NAME.match(title)
    return SuggestedMetadata(
        basis.record.adr_id,
        basis.record.version,
        title if fits else None,
        _choose_tags(basis, tags),
        list(related[:RELATED_MAX]),
        *(model, usage),
    )


def _choose_tags(basis: SuggestionBasis, tags: Sequence[str]) -> list[SuggestedTag]:
    """Those that fit and that the ADR does not have, each as the tenant writes it; the tenant's own first."""
    own = {tag.casefold(): tag for tag in (*(tag for each in basis.near for tag in each.tags), *basis.known)}
    has = {tag.casefold() for tag in basis.record.tags}
    wanted = dict.fromkeys(" ".join(tag.split()) for tag in tags)
    fitting = [tag for tag in wanted if tag.casefold() not in has and len(tag) <= TAG_CHARS_MAX and _TAG.match(tag)]
    chosen = {tag.casefold(): SuggestedTag(own.get(tag.casefold(), tag), tag.casefold() in own) for tag in fitting}
    return sorted(chosen.values(), key=lambda each: not each.known)[:TAGS_MAX]


def _say_why(why: str) -> str | None:
    return " ".join(why.split())[:WHY_CHARS_MAX] or None


def _words(text: str) -> str:
    """The words of a text, each between blanks."""
    words = " ".join(_WORD.findall(text.casefold()))
    return f" {words} "
