"""Which log a record belongs to, where a repository has several folders of records: two services each have an ADR 1.

Owns the names of such folders and what the log of one is called. Pure. Refuses to read: sources do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec.structs import replace

from connectors.history.model import Fault, FileChange, HistorySource, SourceKind, is_record_file

ADR_FOLDERS: Final = frozenset(
    (
        *("adr", "adrs", "decisions", "decision-records", "decision-record", "decision-log", "architecture-decisions"),
        *("architecture-decision-records", "architecture-decision-record", "architectural-decisions"),
    )
)
"""Names of folders that hold decision records in public repositories, in lower case."""
MAIN: Final = "main"
"""The log of a repository that has one folder of records, and of the folder that belongs to no service."""
SLUG_CHARS_MAX: Final = 63
_NAMELESS: Final = frozenset(
    (
        *("doc", "docs", "documentation", "wiki", "architecture", "architectural", "arch", "design", "src", "source"),
        *("packages", "services", "service", "apps", "libs", "modules", "projects", "components", "internal", "pkg"),
    )
)
"""Names of folders that say nothing of whose records are below."""


def record_folder(path: str) -> str:
    """The folder of records that a path lies in; empty where none of its folders is named like one."""
    parts = path.split("/")[:-1]
    at = next((at for at, part in enumerate(parts) if part.lower() in ADR_FOLDERS), -1)
    return "/".join(parts[: at + 1])


def name_logs(paths: Iterable[str]) -> dict[str, str]:
    """The log of each folder of records, in the order of their first record: `main` where there is one, else after the
    services that they belong to."""
    folders = list(dict.fromkeys(record_folder(path) for path in paths if is_record_file(path)))
    if len(folders) < 2:
        return dict.fromkeys(folders, MAIN)
    named: dict[str, str] = {}
    for folder in folders:
        taken = set(named.values())
        named[folder] = next(name for name in _candidates(folder) if name not in taken)
    return named


def names_of(folder: str) -> list[str]:
    """What the log of a folder may be called, from the nearest to the fullest."""
    own = [part for part in folder.split("/")[:-1] if _slug(part) and part.lower() not in _NAMELESS]
    return [_slug("-".join(own[start:])) for start in range(len(own) - 1, -1, -1)] or [MAIN]


def _candidates(folder: str) -> Iterable[str]:
    names = names_of(folder)
    yield from names
    yield from (f"{names[-1][: SLUG_CHARS_MAX - 6]}-{count}" for count in range(2, 100_000))


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:SLUG_CHARS_MAX].strip("-")


class PartSource:
    """The part of a source that lies in one folder of records. A file that moves in from another is new, and one that
    moves out is gone. What is no change stands with the first part (`first`)."""

    def __init__(self, source: HistorySource, folder: str, *, first: bool) -> None:
        self.name = f"{source.name}/{folder}" if folder else source.name
        self.kind: SourceKind = source.kind
        self.snapshot = source.snapshot
        self._source = source
        self._folder = folder
        self._first = first

    def count(self) -> int:
        return sum(1 for _ in self.changes())

    def notes(self) -> list[str]:
        return self._source.notes() if self._first else []

    def changes(self) -> Iterator[FileChange | Fault]:
        for item in self._source.changes():
            if isinstance(item, Fault):
                if self._first:
                    yield item
                continue
            came = item.old_path is not None and record_folder(item.old_path) == self._folder
            here = record_folder(item.path) == self._folder
            if here and item.change == "R" and not came:
                yield replace(item, change="A", old_path=None)
            elif here:
                yield item
            elif came and item.old_path is not None:
                yield replace(item, change="D", path=item.old_path, old_path=None, content=None, size_bytes=0)
