"""What callers send and get. Every bound of a field is written here, once, and ends in the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api.adrs.document import TITLE_CHARS_MAX, Status
from api.adrs.mentions import TARGET_CHARS_MAX, LinkKind
from schemas import text

Change = Literal["create", "update", "rename", "rollback", "delete", "restore"]

MESSAGE_CHARS_MAX = 2_000
"""Why a version was made: the length of a long commit message's summary, not of an essay."""
TAG_CHARS_MAX = 64
TAGS_MAX = 50
"""Most tags of one ADR. Tags are for filters; more of them than this are text."""
VERSION_MAX = 2_147_483_647

Title = Annotated[str, Meta(pattern=text.NAME, min_length=1, max_length=TITLE_CHARS_MAX, description="One line.")]
Text = Annotated[
    str,
    Meta(pattern=text.BODY, min_length=1, description="The whole text in Markdown, as written, title included."),
]
Message = Annotated[str, Meta(max_length=MESSAGE_CHARS_MAX, description="Why this version was made.")]
Tag = Annotated[str, Meta(pattern=text.TAG, min_length=1, max_length=TAG_CHARS_MAX)]
VersionNumber = Annotated[int, Meta(ge=1, le=VERSION_MAX)]
ExpectedVersion = (
    Annotated[
        int, Meta(ge=1, le=VERSION_MAX, description="The version this change was made from, as If-Match says it.")
    ]
    | None
)


class _In(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A body that is refused when it has a field that we do not know."""


class NewAdr(_In, frozen=True):
    """Title and status are read from the text when they are not given."""

    body: Text
    title: Title | None = None
    status: Status | None = None
    log: Annotated[str, Meta(pattern=text.SLUG, description="Slug of the log it goes to.")] = "main"
    tags: Annotated[list[Tag], Meta(max_length=TAGS_MAX)] = []
    message: Message = ""


class AdrChange(_In, frozen=True):
    """What is not given stays. With a new body, title and status are read from it when they are not given."""

    body: Text | None = None
    title: Title | None = None
    status: Status | None = None
    message: Message = ""
    expected_version: ExpectedVersion = None


class Rollback(_In, frozen=True):
    """Makes a new version with the text of `to_version`. Nothing is removed from the history."""

    to_version: VersionNumber
    message: Message = ""
    expected_version: ExpectedVersion = None


class Restore(_In, frozen=True):
    message: Message = ""
    expected_version: ExpectedVersion = None


class NewTags(_In, frozen=True):
    tags: Annotated[list[Tag], Meta(max_length=TAGS_MAX)]


class NewLink(_In, frozen=True):
    """`target` is the id of an ADR, a label like ADR-12 (of the same log), a path, or a URL."""

    kind: LinkKind
    target: Annotated[str, Meta(pattern=text.NAME, min_length=1, max_length=TARGET_CHARS_MAX)]


class Link(msgspec.Struct, frozen=True):
    """A link as it was written. `target_id` is there when it leads to an ADR of this tenant."""

    kind: LinkKind
    target: str
    target_id: UUID | None
    origin: Literal["text", "user"]


class IncomingLink(msgspec.Struct, frozen=True):
    """Another ADR that links here."""

    kind: LinkKind
    adr_id: UUID
    title: str
    origin: Literal["text", "user"]


class Links(msgspec.Struct, frozen=True):
    """`truncated`: there are more than one answer holds."""

    outgoing: list[Link]
    incoming: list[IncomingLink]
    truncated: bool


class AdrSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An ADR without its text. `label` is what people call it (ADR-12), unique in its log; `adr_id` is what it is."""

    adr_id: UUID
    log: str
    number: int | None
    label: str | None
    title: str
    status: Status
    version: int
    tags: list[str]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class AdrPage(msgspec.Struct, frozen=True):
    items: list[AdrSummary]
    next_cursor: str | None


class Adr(AdrSummary, frozen=True, kw_only=True):
    """An ADR as one of its versions has it: the newest one, or the one that was effective at `as_of`.

    `updated_at` and `tags` are of now, whatever the version. `has_original`: the text came in bytes that are not UTF-8;
    `GET …/versions/{version}/text` gives those.
    """

    body: str
    message: str
    author: str
    author_id: UUID | None
    change: Change
    effective_at: datetime
    recorded_at: datetime
    source_key: str | None
    source_ref: str | None
    has_original: bool


class VersionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the history. `effective_at` is when it was decided, `recorded_at` when this system learned of it."""

    adr_id: UUID
    version: int
    change: Change
    title: str
    status: Status
    message: str
    author: str
    author_id: UUID | None
    effective_at: datetime
    recorded_at: datetime
    source_key: str | None
    source_ref: str | None
    size_bytes: int
    has_original: bool


class Version(VersionSummary, frozen=True, kw_only=True):
    """One entry of the history, with its text."""

    body: str


class VersionPage(msgspec.Struct, frozen=True):
    items: list[VersionSummary]
    next_cursor: str | None


class DiffLine(msgspec.Struct, frozen=True):
    """`op`: ` ` in both, `-` only in the old text, `+` only in the new one."""

    op: Literal[" ", "-", "+"]
    text: str


class Hunk(msgspec.Struct, frozen=True):
    """A stretch of changes with its surroundings. Starts count from 1."""

    old_start: int
    old_lines: int
    new_start: int
    new_lines: int
    lines: list[DiffLine]


class FieldChange(msgspec.Struct, frozen=True):
    field: Literal["title", "status"]
    old: str
    new: str


class Diff(msgspec.Struct, frozen=True):
    """What changed from one version to another: fields, and the text as a unified diff and as hunks.

    `coarse`: the texts are too large and too different to be compared line by line; the differing middle is shown as
    replaced. `truncated`: more lines than one answer holds; the unified text is whole, the hunks are cut.
    """

    adr_id: UUID
    from_version: int
    to_version: int
    fields: list[FieldChange]
    unified: str
    hunks: list[Hunk]
    coarse: bool
    truncated: bool
