"""What an import sends and gets: the shapes of `/v1/imports` and their bounds."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from schemas import text

EVENTS_MAX = 500
"""Changes in one request: about 5 MB of ordinary records, and a transaction that takes well under a second."""
PATH_CHARS_MAX = 500
"""A path is part of two index keys, which hold about 2 700 bytes with the commit; at most 4 bytes a character."""
REF_CHARS_MAX = 128
"""A commit id has 40 or 64 characters."""
AUTHOR_CHARS_MAX = 200
MESSAGE_CHARS_MAX = 2_000
"""The first line of a commit message; what is longer is cut, for it is a caption here and not a record."""
EXAMPLES_MAX = 5
"""How many of each kind of refusal and oddity are kept with their place; all are counted."""

LOGS_MAX = 20
"""Names that the log of a folder may have: one for each folder above it that says whose records are below."""

Key = Annotated[str, Meta(min_length=1)]
Slug = Annotated[str, Meta(pattern=text.SLUG)]


class StartImport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`log` is the slug of the log that the ADRs go to; it is made when it is missing.

    A `snapshot` knows the present only: a file whose text the log has already is passed over, whatever its `ref` is.
    With `folder`, the first of `log` and `or_logs` that has ADRs from this folder already is taken, so that an earlier
    import is gone on with; an empty one means paths without a folder.
    """

    source: Annotated[str, Meta(pattern=text.NAME, min_length=1, max_length=500)]
    log: Slug = "main"
    snapshot: bool = False
    folder: Annotated[str, Meta(max_length=PATH_CHARS_MAX)] | None = None
    or_logs: Annotated[tuple[Slug, ...], Meta(max_length=LOGS_MAX)] = ()


class ImportEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One change of one file. `ref` and `path` identify it: sent again, it is skipped.

    The text comes as `content`, or as `content_base64` when it is not UTF-8 or holds U+0000. A text over the limit need
    not be sent: `size_bytes` alone gets the same refusal.
    """

    ref: Key
    committed_at: datetime
    change: Literal["A", "M", "R", "D"]
    path: Key
    old_path: str | None = None
    author: str = ""
    subject: str = ""
    content: str | None = None
    content_base64: bytes | None = None
    size_bytes: Annotated[int, Meta(ge=0, le=2**53)] = 0

    def bytes_(self) -> bytes | None:
        """The file's bytes, or None when they were not sent."""
        return self.content.encode() if self.content is not None else self.content_base64


class Events(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Events in the order in which they happened. Keep the changes of one commit in one request where they fit."""

    events: Annotated[tuple[msgspec.Raw, ...], Meta(max_length=EVENTS_MAX)]
    """Each an `ImportEvent`, or what is refused by itself."""


class Remark(msgspec.Struct, frozen=True):
    """A refusal (nothing was written) or an oddity (it was, and is worth a look)."""

    path: str
    ref: str
    code: str
    detail: str
    line: Annotated[int | None, Meta(description="Which event of its request it was, from 1; null: not known.")] = None


class Tally(msgspec.Struct, frozen=True):
    """How often a kind was met, and the first few of it."""

    count: int
    examples: tuple[Remark, ...] = ()


class BatchResult(msgspec.Struct, frozen=True):
    """`received` is `applied` + `skipped` + refused; `versions` can exceed `applied`, see `overwritten`."""

    received: int
    applied: int
    skipped: int
    versions: int
    refused: tuple[Remark, ...]
    odd: tuple[Remark, ...]


class Import(msgspec.Struct, frozen=True):
    """An import so far. `skipped` changes were here already; `refused` and `odd` are by kind."""

    import_id: UUID
    log: str
    source: str
    state: Literal["running", "finished"]
    events: int
    applied: int
    skipped: int
    versions: int
    refused: dict[str, Tally]
    odd: dict[str, Tally]
    started_at: datetime
    finished_at: datetime | None = None


class LogTotals(msgspec.Struct, frozen=True):
    """What the log holds now, from whatever source."""

    live: int
    deleted: int
    versions: int
    numbered: int
    links: int
    links_resolved: int


class FinishedImport(msgspec.Struct, frozen=True):
    """The import, and the log that it went to."""

    report: Import
    totals: LogTotals
