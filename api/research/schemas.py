"""What research takes and gives, on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from api.adrs.document import Status
from api.jobs.service import JobError, State
from api.search.query import QUERY_CHARS_MAX
from api.search.schemas import VALUE_CHARS_MAX, VALUES_MAX, Degraded, SearchFreshness
from api.withdrawn import NamedSource
from schemas import sources, text

SOURCES_DEFAULT = 8
SOURCES_MAX = 20
"""Sources of one answer: more than a person opens."""
PASSES_MAX = 3
"""Rounds of searching. What two more rounds did not find, by the gaps that the first one left, is not there."""
EXPAND_DEFAULT = False
PASSES_DEFAULT = 1
RERANK_DEFAULT = False
WRITE_DEFAULT = False
"""What is on by itself: what `adriatic eval research` shows to help. On six real histories none of the first three did
so by more than chance; taking a question apart did. A model's text costs money, and says no more than quotes do."""

_Text = Annotated[str, Meta(max_length=VALUE_CHARS_MAX)]


class ResearchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question, what may be found, and how much is done. Filters are joined by and, as in a search."""

    question: Annotated[
        str,
        Meta(
            pattern=text.BODY,
            min_length=1,
            max_length=QUERY_CHARS_MAX,
            description="One question or several, in words; comparisons are taken apart.",
        ),
    ]
    status: Annotated[list[Status], Meta(max_length=VALUES_MAX, description="One of these.")] = []
    tag: Annotated[list[_Text], Meta(max_length=VALUES_MAX, description="All of these.")] = []
    log: Annotated[_Text | None, Meta(description="Slug of the log.")] = None
    author: Annotated[_Text | None, Meta(description="Somebody who wrote a version.")] = None
    since: Annotated[datetime, Meta(description="In effect at or after this time.", tz=True)] | None = None
    until: Annotated[datetime, Meta(description="In effect before this time.", tz=True)] | None = None
    kind: Annotated[sources.Kind | None, Meta(description="Sources of this kind only. Null: of all.")] = None
    sources: Annotated[int, Meta(ge=1, le=SOURCES_MAX, description="Sources at most.")] = SOURCES_DEFAULT
    expand: Annotated[bool, Meta(description="Search again with words of what was found first.")] = EXPAND_DEFAULT
    passes: Annotated[int, Meta(ge=1, le=PASSES_MAX, description="Rounds of searching at most.")] = PASSES_DEFAULT
    rerank: Annotated[bool, Meta(description="Rank passages anew by comparing word with word.")] = RERANK_DEFAULT
    write: Annotated[bool, Meta(description="Have the chat model write the text, and check each of its claims.")] = (
        WRITE_DEFAULT
    )


class CitedSource(msgspec.Struct, frozen=True):
    """A version of a source that the answer stands on. `number` is what `[number]` in the text points to."""

    number: int
    kind: sources.Kind
    source_id: UUID
    version: int
    label: str | None
    log: str | None
    title: str
    status: str
    heading: str
    path: str | None


class CheckedClaim(msgspec.Struct, frozen=True):
    """A claim, and where it stands: characters [char_start, char_end) of the body of that version of its source.
    `support`: the share of its words that the place has; 1 for what is quoted. `pages`: the first and the last page, of
    a document whose file has pages. `path`: where the API shows it, a PDF at its page; older results have neither."""

    text: str
    source: int
    char_start: int
    char_end: int
    support: float
    pages: tuple[int, int] | None = None
    path: str | None = None


class AnsweredPart(msgspec.Struct, frozen=True):
    """One of the questions that the question was taken apart into. `answered` is false where the sources do not hold
    it, and then there is no claim. `dropped`: claims that were taken out, because their citation did not hold."""

    question: str
    answered: bool
    claims: list[CheckedClaim]
    dropped: int = 0


class ResearchPass(msgspec.Struct, frozen=True):
    """One round: what was searched for, how many passages were new, and what was missing after it. `words_of`: sources
    that an expansion took words from; when one of these was deleted since, `queries` are left out."""

    queries: list[str]
    found: int
    missing: list[str]
    words_of: list[NamedSource] = []


class DroppedClaims(msgspec.Struct, frozen=True):
    """How many claims of a model were taken out for a reason: what they cite is not there (`absent`), or has not their
    words, their numbers, a negation of theirs, or says the opposite; they cite nothing (`uncited`), lead to where the
    source does not (`link`), or are too long or too many (`length`)."""

    fault: str
    claims: int


class WrittenAnswer(msgspec.Struct, frozen=True):
    """What a model wrote, as far as it holds. No claim: it abstained, or nothing of it held."""

    model: str
    claims: list[CheckedClaim]
    dropped: list[DroppedClaims]


class ResearchResult(msgspec.Struct, frozen=True):
    """Sources first, then what they say. `answered` is false where no part has an answer. `reranked`: who ranked the
    passages anew; null where nobody did, and `rerank_error` says why, where somebody should have. `written` and
    `write_error` likewise: without claims of a model that hold, the text is quotes. Older results have neither.
    `withdrawn`: sources that were deleted since; they are left out, and so is what stood on them."""

    answered: bool
    sources: list[CitedSource]
    parts: list[AnsweredPart]
    text: str
    passes: list[ResearchPass]
    reranked: str | None
    rerank_error: JobError | None
    degraded: list[Degraded]
    as_of: SearchFreshness | None
    written: WrittenAnswer | None = None
    write_error: JobError | None = None
    withdrawn: int = 0


class Research(msgspec.Struct, frozen=True):
    """A question, how far it is, and what came of it. `done` of `total`, in `unit`; `total` is null at first."""

    research_id: UUID
    question: str
    state: State
    phase: str
    done: int
    total: int | None
    unit: str
    cancel_requested: bool
    result: ResearchResult | None
    last_error: JobError | None
    created_at: datetime
    finished_at: datetime | None


class ResearchPage(msgspec.Struct, frozen=True):
    """The results of a page are left out: each is read by its id."""

    items: list[Research]
    next_cursor: str | None
