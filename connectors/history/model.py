"""What every source of histories yields, and the contract that they all keep."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal, Protocol

import msgspec

ChangeKind = Literal["A", "M", "R", "D"]
"""Added, modified, renamed (its content may have changed as well), deleted."""
SourceKind = Literal["git", "folder", "jsonl"]

MARKDOWN_SUFFIXES = (".md", ".markdown")


class FileChange(msgspec.Struct, frozen=True):
    """One file in one commit.

    `ref` names the commit; with `path` it identifies the change, now and in every later run. `content` is the file
    after the change, byte for byte: None for a deletion, and when it is larger than what was asked for (`size_bytes`
    then says how large it is). `old_path` is set for a rename.
    """

    ref: str
    committed_at: datetime
    author: str
    subject: str
    change: ChangeKind
    path: str
    old_path: str | None = None
    content: bytes | None = None
    size_bytes: int = 0


class Fault(msgspec.Struct, frozen=True):
    """Something in the source that is no change. `where` locates it for a person ("line 12")."""

    where: str
    code: str
    detail: str


def symbolic_link(where: str) -> Fault:
    """A link that is named like a record. What it points to is elsewhere, and may be outside of the source."""
    return Fault(where, "symbolic-link", "not followed")


class HistorySource(Protocol):
    """A history, read from the start on every call of `changes`.

    `name` says where it is; `snapshot` that it knows the current state only, so that the absence of a file means
    nothing. Reading blocks. It raises `InvalidInput` when the source as a whole cannot be read, and never for one bad
    entry.
    """

    name: str
    kind: SourceKind
    snapshot: bool

    def count(self) -> int:
        """How many changes and faults `changes` will yield, found without reading contents."""
        ...

    def changes(self) -> Iterator[FileChange | Fault]:
        """The changes, commit by commit, oldest first."""
        ...

    def notes(self) -> list[str]:
        """What a person should know about the source before it is read, one sentence each."""
        ...


def is_markdown(path: str) -> bool:
    return path.lower().endswith(MARKDOWN_SUFFIXES)
