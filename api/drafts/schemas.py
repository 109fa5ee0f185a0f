"""What a draft is asked for with, and what it is. Every bound of a field is written here, once."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api.adrs.document import Status
from api.adrs.schemas import TAGS_MAX, Message, Tag, Text, Title, VersionNumber
from api.chat.conversations import State
from api.chat.schemas import SOURCES_DEFAULT, SOURCES_MAX, Citations, OnDisconnect, OnFailure, Source, UsageSpent
from api.problems import Problem
from connectors.llm import Finish
from runtime.setting_models import MODEL_CHARS_MAX
from schemas import text

BRIEF_CHARS_MAX = 8_000
"""Three pages: who has more to say has written the ADR already."""

Task = Literal["write", "summarise", "expand", "review"]
NEEDS: Final[dict[Task, str]] = {"write": "brief", "summarise": "adr_id", "expand": "adr_id", "review": "adr_id"}
"""What each task has to be told."""
TEXTS: Final[tuple[Task, ...]] = ("write", "expand")
"""Tasks whose draft is the text of an ADR. The others are for reading: there is nothing to accept."""

ModelName = Annotated[
    Annotated[str, Meta(min_length=1, max_length=MODEL_CHARS_MAX)] | None,
    Meta(description="A model, as the settings name it; none is the first of them."),
]


class DraftRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`write` a new ADR from a `brief`, and from no other ADR; `summarise`, `expand` or `review` the ADR `adr_id`. A
    summary stands on that ADR alone."""

    task: Task
    brief: Annotated[
        Annotated[str, Meta(pattern=text.BODY, min_length=1, max_length=BRIEF_CHARS_MAX)] | None,
        Meta(description="What is to be decided, and what is known of it; or what to look at. `write` needs it."),
    ] = None
    adr_id: Annotated[UUID | None, Meta(description="The ADR. All but `write` need it.")] = None
    version: Annotated[VersionNumber | None, Meta(description="Its version; none is the newest.")] = None
    sources: Annotated[
        int, Meta(ge=1, le=SOURCES_MAX, description="Passages of other records and documents that it may stand on.")
    ] = SOURCES_DEFAULT
    model: ModelName = None
    on_failure: Annotated[OnFailure, Meta(description="As for a question to the chat.")] = "error"
    on_disconnect: Annotated[OnDisconnect, Meta(description="As for a question to the chat.")] = "stop"


class DraftOutcome(msgspec.Struct, frozen=True):
    """What was made of a draft: this version of this ADR."""

    adr_id: UUID
    version: int
    accepted_at: datetime


class AdrDraft(msgspec.Struct, frozen=True):
    """A text that a model made, and that is part of no ADR until it is accepted.

    `adr_id`, `version`: what it was made from; null for a new ADR. `text` is what was written so far. `finish`: why it
    ended; only one that ended by itself, with `stop`, can be accepted. `model` null: nobody has begun to answer.
    `withdrawn`: sources that it stands on and that were deleted since; then `text` is withheld, and it is not accepted.
    """

    draft_id: UUID
    task: Task
    adr_id: UUID | None
    version: int | None
    prompt_version: int
    state: State
    text: str
    model: str | None
    sources: list[Source]
    citations: Citations | None
    usage: UsageSpent | None
    error: Problem | None
    finish: Finish | None
    accepted: DraftOutcome | None
    withdrawn: int = 0


class DraftAcceptance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a person changes before it becomes an ADR. `log` and `tags` are for a new one."""

    body: Annotated[Text | None, Meta(description="The text, edited; none is the draft's own.")] = None
    title: Title | None = None
    status: Status | None = None
    log: Annotated[str, Meta(pattern=text.SLUG, description="Slug of the log that a new ADR goes to.")] = "main"
    tags: Annotated[list[Tag], Meta(max_length=TAGS_MAX, description="Tags of a new ADR.")] = []
    message: Annotated[Message, Meta(description="Why; empty says that it was drafted, and by which model.")] = ""


class SuggestionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which version to look at, and which model to ask."""

    version: Annotated[VersionNumber | None, Meta(description="Of the ADR; none is the newest.")] = None
    model: ModelName = None


class SuggestedTag(msgspec.Struct, frozen=True):
    """`known`: another ADR of the tenant has it."""

    tag: str
    known: bool


class SuggestedAdr(msgspec.Struct, frozen=True):
    """An ADR of the tenant that has to do with this one. `why` null: it is near, and nobody says why."""

    adr_id: UUID
    label: str | None
    log: str
    title: str
    status: str
    why: str | None


class SuggestedMetadata(msgspec.Struct, frozen=True):
    """Nothing of it is set until somebody sets it: the title by a change of the ADR, tags and links by their routes.

    `version`: what was looked at. `title` null: no better one is known. `model` null: no model was asked, and the
    suggestions come from the search and from what other ADRs have. `usage` is that of the model.
    """

    adr_id: UUID
    version: int
    title: str | None
    tags: list[SuggestedTag]
    related: list[SuggestedAdr]
    model: str | None
    usage: UsageSpent | None
