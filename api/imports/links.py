"""Finds the ADR that a link means, among the ADRs of one log. Pure.

A path counts from the file that links, as Markdown means it; then as a former path of a file that was renamed; then as
a file name that only one ADR has, in the folder that links and else in any; then by the number that it starts with. A
label like ADR-12 is that number, as the files beside the one that links count: two services of one repository both
have an ADR 1. A label with a part or a year (ADR-51.1) is the file that is named so. A URL counts when it ends in the
whole path of one. What could mean two is left unresolved: the text stays, and nobody is misled.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit
from uuid import UUID

import msgspec

from api.adrs.mentions import Mention
from connectors.reading.numbers import OWN_FOLDER_NAMES, is_companion_name, read_number, stem

SEGMENTS_MAX = 40
"""Most segments of a URL's path that are tried as the start of a file's path."""


class KnownAdr(msgspec.Struct, frozen=True):
    """An ADR that can be linked to. `former_paths` are those it was renamed from; `label` is how its log counts it,
    where that is more than a number; `wanted` the number that its text and its path claim."""

    adr_id: UUID
    number: int | None
    path: str | None
    live: bool
    former_paths: tuple[str, ...] = ()
    label: str = ""
    wanted: int | None = None


class Resolver:
    """Answers for one log, as it is now."""

    def __init__(self, adrs: Iterable[KnownAdr]) -> None:
        known = list(adrs)
        self._paths = {adr.adr_id: adr.path for adr in known}
        self._numbers = {adr.number: adr.adr_id for adr in known if adr.number is not None}
        self._by_label = _Index(each for adr in known for each in _labels(adr))
        self._folders = {folder_of(adr.path) for adr in known if adr.path and adr.live and _labels(adr)}
        self._by_path = _Index((adr.path, adr) for adr in known if adr.path)
        self._by_former = _Index((path, adr) for adr in known for path in adr.former_paths)
        self._by_name = _Index(each for adr in known if adr.path for each in _names(adr.path, adr))

    def resolve(self, source_id: UUID, target: str) -> UUID | None:
        """The ADR that `target`, written in the ADR `source_id`, means; None when it is none, several, or itself."""
        found = self._find(self._paths.get(source_id) or "", target)
        return None if found == source_id else found

    def _find(self, source_path: str, target: str) -> UUID | None:
        label = Mention("relates-to", target).counted
        folder = folder_of(source_path)
        try:
            url = urlsplit(target)
        except ValueError:
            return None
        path = unquote(url.path)
        if url.scheme or url.netloc:
            parts = path.strip("/").split("/")[-SEGMENTS_MAX:]
            return next(filter(None, (self._at("/".join(parts[start:])) for start in range(len(parts)))), None)
        if "." not in path and "/" not in path:
            return self._by_number(folder, label)
        if path.startswith("/"):
            found = self._at(posixpath.normpath(path).lstrip("/"))
        else:
            found = self._at(posixpath.normpath(posixpath.join(posixpath.dirname(source_path), path)))
        name = posixpath.basename(path)
        found = found or self._by_name.only(f"{folder}/{name}") or self._by_name.only(name)
        # A path into another folder names a file there, maybe of another log: that a record here has its number says
        # nothing.
        beside = posixpath.normpath(posixpath.dirname(path) or ".") == "."
        return found or (self._by_number(folder, label) if beside else None)

    def _by_number(self, folder: str, label: str) -> UUID | None:
        """The record that a folder counts so. Where several folders count by themselves, the others are other logs."""
        if not label:
            return None
        if found := self._by_label.only(f"{folder}/{label}"):
            return found
        if folder in self._folders and len(self._folders) > 1 and self._by_label.several(label):
            return None
        return self._by_label.only(label) or (self._numbers.get(int(label)) if label.isdigit() else None)

    def _at(self, path: str) -> UUID | None:
        return self._by_path.only(path) or self._by_former.only(path)


def folder_of(path: str) -> str:
    """The folder of a record: that of its file, or the one above when the record has a folder of its own."""
    folder, name = posixpath.split(path)
    own = name.rpartition(".")[0].lower() in OWN_FOLDER_NAMES and read_number(path).end > 0
    return posixpath.dirname(folder) if own else folder


def _names(path: str, adr: KnownAdr) -> tuple[tuple[str, KnownAdr], ...]:
    name = posixpath.basename(path)
    return (name, adr), (f"{folder_of(path)}/{name}", adr)


def _labels(adr: KnownAdr) -> tuple[tuple[str, KnownAdr], ...]:
    """How the log counts an ADR, by itself and with its folder."""
    counted = read_number(adr.path) if adr.path else None
    said = counted.label if counted and counted.label else adr.label
    label = said or ("" if adr.number is None else str(adr.number))
    if not label or (adr.path and counted and counted.label and is_companion_name(stem(adr.path)[counted.end :])):
        return ()
    return (label, adr), (f"{folder_of(adr.path or '')}/{label}", adr)


class _Index:
    """Names to ADRs, where a living one goes before deleted ones and two of a kind cancel each other out."""

    def __init__(self, entries: Iterable[tuple[str, KnownAdr]]) -> None:
        self._living: dict[str, set[UUID]] = defaultdict(set)
        self._deleted: dict[str, set[UUID]] = defaultdict(set)
        for name, adr in entries:
            (self._living if adr.live else self._deleted)[name].add(adr.adr_id)

    def several(self, name: str) -> bool:
        return len(self._living.get(name, ())) > 1

    def only(self, name: str) -> UUID | None:
        candidates = self._living.get(name) or self._deleted.get(name) or set()
        return next(iter(candidates)) if len(candidates) == 1 else None
