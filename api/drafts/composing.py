"""The way from a request to what a model is asked: the record, what it may stand on, and their numbers.

Owns how much of a record is read, which sources a task has, and that a number in brackets which the record itself has
is none of theirs. Refuses words (`prompts`) and to ask anybody. Nothing is cut in silence: a record that is too long
for its task is refused. Holds no connection when it returns.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec

from api.adrs import queries
from api.adrs.document import Status
from api.chat.citations import find_numbers
from api.chat.grounding import Grounding, Question, cite_record, ground
from api.chat.schemas import ChatRequest, Source
from api.db import Database, tenant_transaction
from api.drafts import prompts
from api.drafts.prompts import RecordText
from api.drafts.schemas import NEEDS, DraftRequest
from api.search.embedding import QueryEmbedder
from api.search.query import QUERY_CHARS_MAX
from connectors.llm import BYTES_PER_TOKEN
from connectors.llm.extractive import PASSAGES_MAX
from connectors.llm.prompts import Passage
from connectors.reading.structure import read_structure
from runtime.errors import Conflict, InvalidInput, TooLarge
from runtime.settings import LlmSettings

RECORD_CHARS_MAX = 48_000
"""Longest record that a model reads, some 12 000 tokens of English: more than any but collections of records have, and
what every model takes."""
SECTION_CHARS_MIN = 60
"""A section with less than that, such as a status, says little by itself."""

_TELLING = re.compile(r"decision|decid|outcome|context|problem|consequence", re.IGNORECASE)
"""Headings of the sections that a summary quotes first."""


class DraftedRecord(msgspec.Struct, frozen=True):
    """The version of an ADR that something is drafted from."""

    adr_id: UUID
    version: int
    label: str | None
    log: str
    title: str
    status: Status
    body: str
    tags: list[str]

    @property
    def name(self) -> str:
        return self.title if self.label is None else f"{self.label} {self.title}"


class DraftPlan(msgspec.Struct, frozen=True):
    """What is asked, and about which version; None for a new ADR."""

    question: Question
    record: DraftedRecord | None


def require_model(settings: LlmSettings) -> None:
    """Raise `Conflict` where nobody could write: what quotes passages has no words of its own."""
    if not has_model(settings):
        raise Conflict(
            "no model is set that could write this: without one, passages are only quoted",
            hint="set llm.provider and llm.model, or llm.models; summarise and suggestions work without a model",
        )


def has_model(settings: LlmSettings) -> bool:
    """Whether there is a model to ask."""
    asked = [target.provider for model in settings.models for target in model.targets] or [settings.provider]
    return any(provider != "extractive" for provider in asked)


async def compose(
    database: Database, embedder: QueryEmbedder, tenant_id: UUID, request: DraftRequest, settings: LlmSettings
) -> DraftPlan:
    """Raises `InvalidInput` for a task that was not told what it needs, `NotFound` and `Gone` for the ADR, `TooLarge`
    for a long one, `Conflict` where there is no model, `DependencyUnavailable` when the search cannot answer."""
    if getattr(request, NEEDS[request.task]) is None:
        raise InvalidInput(f"{request.task} needs {NEEDS[request.task]}", hint=f"send {NEEDS[request.task]}")
    if request.task == "write" and (request.adr_id or request.version):
        raise InvalidInput("write makes a new ADR, from no other", hint="leave out adr_id and version")
    if request.task != "summarise":
        require_model(settings)
    record = None
    if request.adr_id is not None:
        record = await read_record(database, tenant_id, request.adr_id, request.version)
    if record is not None and request.task == "expand":
        _require_room(record, settings.output_tokens_max)
    own = find_numbers(record.body) if record else frozenset()
    found = Grounding("", [], (), None, [])
    if request.task != "summarise":
        words = " ".join(filter(None, (record.title if record else None, request.brief)))
        found = await find_others(database, embedder, tenant_id, words, request.sources, record)
    return DraftPlan(_ask(request, record, own, found, settings.output_tokens_max), record)


def _ask(
    request: DraftRequest, record: DraftedRecord | None, own: frozenset[int], found: Grounding, tokens_max: int
) -> Question:
    numbers = choose_numbers(own)
    about = None if record is None else RecordText(next(numbers), record.title, record.status, record.body)
    found = number_anew(found, numbers)
    quoted = tuple(quote(record, about.number)) if record and about else ()
    prompt = prompts.write_prompt(request.task, request.brief, about, found.passages, quoted, tokens_max)
    if record and about:
        found = msgspec.structs.replace(found, sources=[cite(record, about.number), *found.sources])
    asked = request.brief or (f"{request.task} {record.label or record.adr_id}" if record else request.task)
    # What a model is not asked about is quoted, so a summary has its own passages among those that were found.
    found = msgspec.structs.replace(found, passages=(*quoted, *found.passages))
    return Question(prompt, found, asked, own)


async def read_record(database: Database, tenant_id: UUID, adr_id: UUID, version: int | None) -> DraftedRecord:
    """One version of an ADR that is not deleted. Raises `NotFound`, `Gone`, and `TooLarge`."""
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        head = await queries.read(connection, tenant_id, adr_id)
        shown: Any = head
        if version not in (None, head.version):
            shown = await queries.version(connection, tenant_id, adr_id, version)
    if len(shown.body) > RECORD_CHARS_MAX:
        raise TooLarge(
            f"the ADR has {len(shown.body)} characters, and at most {RECORD_CHARS_MAX} are read for a draft",
            hint="split it; nothing of it is left out in silence",
        )
    return DraftedRecord(
        *(adr_id, shown.version, head.label, head.log, shown.title, shown.status, shown.body, head.tags)
    )


async def find_others(
    database: Database, embedder: QueryEmbedder, tenant_id: UUID, words: str, limit: int, record: DraftedRecord | None
) -> Grounding:
    """Passages of the tenant's other sources, at most `limit`."""
    # One more, since the record finds itself.
    found = await ground(database, embedder, tenant_id, ChatRequest(words[:QUERY_CHARS_MAX], sources=limit + 1))
    both = zip(found.sources, found.passages, strict=True)
    others = [each for each in both if record is None or each[0].source_id != record.adr_id][:limit]
    return msgspec.structs.replace(
        found, sources=[source for source, _ in others], passages=tuple(passage for _, passage in others)
    )


def choose_numbers(own: frozenset[int]) -> Iterator[int]:
    """Numbers for sources, from 1 on, without those that the record has. Pure."""
    return (number for number in itertools.count(1) if number not in own)


def number_anew(found: Grounding, numbers: Iterator[int]) -> Grounding:
    """The same sources by other numbers. Pure."""
    taken = list(itertools.islice(numbers, len(found.sources)))
    return msgspec.structs.replace(
        found,
        sources=[
            msgspec.structs.replace(each, number=number) for each, number in zip(found.sources, taken, strict=True)
        ],
        passages=tuple(
            msgspec.structs.replace(each, number=number) for each, number in zip(found.passages, taken, strict=True)
        ),
    )


def cite(record: DraftedRecord, number: int) -> Source:
    """The record itself as a source. Pure."""
    return cite_record(record, number, len(record.body))


def quote(record: DraftedRecord, number: int) -> list[Passage]:
    """The sections of a record that say most of it, in their order; for a text without any, the text. Pure."""
    structure = read_structure(record.body)
    bounds = itertools.pairwise([*(heading.line for heading in structure.headings), len(structure.lines)])
    sections = [
        Passage(number, record.name, heading.text, text)
        for heading, (begin, end) in zip(structure.headings, bounds, strict=True)
        if len(text := "\n".join(structure.lines[begin + heading.lines : end]).strip()) >= SECTION_CHARS_MIN
    ]
    telling = [each for each in sections if _TELLING.search(each.heading)]
    others = [each for each in sections if each not in telling]
    chosen = [*telling, *others][:PASSAGES_MAX]
    return [each for each in sections if each in chosen] or [Passage(number, record.name, "", record.body)]


def _require_room(record: DraftedRecord, output_tokens_max: int) -> None:
    """A text that is to grow may take half of what a model may write: what is cut at the end is no record."""
    bytes_max = output_tokens_max * BYTES_PER_TOKEN // 2
    size_bytes = len(record.body.encode())
    if size_bytes > bytes_max:
        raise TooLarge(
            f"the ADR has {size_bytes} bytes, and one that is written anew may have {bytes_max}",
            hint="half of llm.output_tokens_max, at four bytes a token: raise it, or split the ADR",
        )
