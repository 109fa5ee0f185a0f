"""Finds the ADR that a link means, among the ADRs of one log. Pure.

A path counts from the file that links, as Markdown means it; then as a former path of a file that was renamed; then as
a file name that only one ADR has; then by the number that it starts with. A label like ADR-12 is that number. A URL
counts when it ends in the whole path of one. What could mean two is left unresolved: the text stays, and nobody is
misled.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit
from uuid import UUID

import msgspec

from api.adrs.mentions import Mention

SEGMENTS_MAX = 40
"""Most segments of a URL's path that are tried as the start of a file's path."""


class KnownAdr(msgspec.Struct, frozen=True):
    """An ADR that can be linked to. `former_paths` are those it was renamed from."""

    adr_id: UUID
    number: int | None
    path: str | None
    live: bool
    former_paths: tuple[str, ...] = ()


class Resolver:
    """Answers for one log, as it is now."""

    def __init__(self, adrs: Iterable[KnownAdr]) -> None:
        known = list(adrs)
        self._paths = {adr.adr_id: adr.path for adr in known}
        self._numbers = {adr.number: adr.adr_id for adr in known if adr.number is not None}
        self._by_path = _Index((adr.path, adr) for adr in known if adr.path)
        self._by_former = _Index((path, adr) for adr in known for path in adr.former_paths)
        self._by_name = _Index((posixpath.basename(adr.path), adr) for adr in known if adr.path)

    def resolve(self, source_id: UUID, target: str) -> UUID | None:
        """The ADR that `target`, written in the ADR `source_id`, means; None when it is none, several, or itself."""
        found = self._find(self._paths.get(source_id) or "", target)
        return None if found == source_id else found

    def _find(self, source_path: str, target: str) -> UUID | None:
        number = Mention("relates-to", target).number
        try:
            url = urlsplit(target)
        except ValueError:
            return None
        path = unquote(url.path)
        if url.scheme or url.netloc:
            parts = path.strip("/").split("/")[-SEGMENTS_MAX:]
            return next(filter(None, (self._at("/".join(parts[start:])) for start in range(len(parts)))), None)
        if "." not in path and "/" not in path:
            return self._by_number(number)
        if path.startswith("/"):
            found = self._at(posixpath.normpath(path).lstrip("/"))
        else:
            found = self._at(posixpath.normpath(posixpath.join(posixpath.dirname(source_path), path)))
        return found or self._by_name.only(posixpath.basename(path)) or self._by_number(number)

    def _by_number(self, number: int | None) -> UUID | None:
        return None if number is None else self._numbers.get(number)

    def _at(self, path: str) -> UUID | None:
        return self._by_path.only(path) or self._by_former.only(path)


class _Index:
    """Names to ADRs, where a living one goes before deleted ones and two of a kind cancel each other out."""

    def __init__(self, entries: Iterable[tuple[str, KnownAdr]]) -> None:
        self._living: dict[str, set[UUID]] = defaultdict(set)
        self._deleted: dict[str, set[UUID]] = defaultdict(set)
        for name, adr in entries:
            (self._living if adr.live else self._deleted)[name].add(adr.adr_id)

    def only(self, name: str) -> UUID | None:
        candidates = self._living.get(name) or self._deleted.get(name) or set()
        return next(iter(candidates)) if len(candidates) == 1 else None
