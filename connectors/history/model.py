"""What every source of histories yields, and the contract that they all keep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, Protocol

import msgspec

ChangeKind = Literal["A", "M", "R", "D"]
"""Added, modified, renamed (its content may have changed as well), deleted."""
SourceKind = Literal["git", "folder", "jsonl"]

Markup = Literal["markdown", "asciidoc", "restructuredtext"]

MARKUPS: Final[Mapping[str, Markup]] = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".mdx": "markdown",
    ".adoc": "asciidoc",
    ".asciidoc": "asciidoc",
    ".asc": "asciidoc",
    ".rst": "restructuredtext",
    ".rest": "restructuredtext",
}
"""How the name of a file ends that can be read as a decision record, and the markup that it is in."""
_OTHER_TEXTS: Final = (".txt", ".html", ".htm", ".org", ".textile", ".docx", ".doc", ".odt", ".rtf", ".pdf", ".wiki")
"""Files that people also keep decisions in. They are not read here, and it is said."""
_NUMBERED: Final = re.compile(r"(?:adr[-_ ]?)?\d{1,5}[-_ .][^/]*", re.IGNORECASE)
"""A name like that of a record, whatever it ends with: without an end, or with `.md.bak`."""
_NO_TEXTS: Final = (
    *(".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".drawio", ".puml", ".plantuml", ".mmd"),
    *(".json", ".yaml", ".yml", ".toml", ".csv", ".zip"),
)
"""What lies beside records and is none, though it has their number: pictures, and what they are made from."""
NAMED_MAX: Final = 5
"""Files that are named where some were left out: enough to see which ones, and one line."""


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


class PartedSource(HistorySource, Protocol):
    """A source that can be read in parts, a folder of records at a time."""

    def paths(self) -> list[str]:
        """The paths that are there at its end, found without reading contents: a folder that was left has no log."""
        ...

    def part(self, folder: str, others: Sequence[str]) -> HistorySource:
        """What of it lies in one folder of records, or, with an empty `folder`, in none of `others`."""
        ...


def is_record_file(path: str) -> bool:
    return path.lower().endswith(tuple(MARKUPS))


def note_left_out(paths: Iterable[str]) -> list[str]:
    """The sentence that names what lies beside the records and may be one, too. No sentence when there is nothing."""
    left = [path for path in paths if _may_be_record(path.lower())]
    if not left:
        return []
    more = f" and {len(left) - NAMED_MAX} more" if len(left) > NAMED_MAX else ""
    return [f"not read, for they are no Markdown, AsciiDoc or reStructuredText: {', '.join(left[:NAMED_MAX])}{more}"]


def _may_be_record(path: str) -> bool:
    name = path.rpartition("/")[2]
    numbered = _NUMBERED.fullmatch(name) is not None and not name.endswith((*MARKUPS, *_NO_TEXTS))
    return name.endswith(_OTHER_TEXTS) or numbered
