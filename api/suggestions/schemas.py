"""What callers send and get of suggestions, and how a reason reads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api import watermarks
from api.adrs.document import Status
from api.adrs.schemas import VERSION_MAX
from schemas.suggestions import Evidence, Field, SuggestionKind

SuggestionState = Literal["open", "accepted", "dismissed"]


class PairedAdr(msgspec.Struct, frozen=True):
    """One of the two decisions, as it is now. Its `version` is what an accepting request names."""

    adr_id: UUID
    label: str | None
    log: str
    title: str
    status: Status
    version: int


class QuotedPassage(msgspec.Struct, frozen=True):
    """Where something stands: characters of the title or of the body, from `start` to before `end`."""

    field: Field
    start: int
    end: int
    quote: str


class SuggestionReason(msgspec.Struct, frozen=True):
    """Why it is suggested. `text` says it. `confidence` is the share of right ones among labelled pairs of this kind
    and evidence."""

    evidence: Evidence
    text: str
    confidence: float
    terms: list[str]
    newer: QuotedPassage
    older: QuotedPassage


class SuggestedRelation(msgspec.Struct, frozen=True):
    """What is suggested of two decisions. `answered_by` and `answered_at` are of the newest answer, if there is one."""

    suggestion_id: UUID
    kind: SuggestionKind
    state: SuggestionState
    newer: PairedAdr
    older: PairedAdr
    reason: SuggestionReason
    answered_by: str | None
    answered_at: datetime | None


class SuggestedRelations(msgspec.Struct, frozen=True):
    """The suggestions of one decision."""

    suggestions: list[SuggestedRelation]
    as_of: watermarks.AsOf


class SuggestedRelationPage(msgspec.Struct, frozen=True):
    """A page of all suggestions: those of the newest decisions first."""

    items: list[SuggestedRelation]
    next_cursor: str | None
    as_of: watermarks.AsOf


class AcceptedSuggestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`expected_version`: of the older decision, as it was shown."""

    expected_version: Annotated[int, Meta(ge=1, le=VERSION_MAX)] | None = None


_SAID: dict[tuple[SuggestionKind, Evidence], str] = {
    ("supersedes", "words"): "the newer one says that it leaves this",
    ("supersedes", "negation"): "the title of the newer one ends what the older one chose",
    ("supersedes", "outcome"): "both answer the same question, and the newer one knows the older one's option",
    ("conflicts", "negation"): "the title of one refuses what the other chose",
    ("conflicts", "outcome"): "both answer the same question, each with another option",
}


def say(kind: SuggestionKind, evidence: Evidence) -> str:
    """A reason as a sentence."""
    return _SAID.get((kind, evidence), "both speak of the same")
