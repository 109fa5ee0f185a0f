"""What a reader makes of stored texts: the shapes between whoever stores them and whoever reads them.

Owns the protocol, so that the job that reads again (`streams/reread_adrs.py`) and the reader (`api/imports/reader.py`)
know each other by it alone. Refuses to read and to store.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

import msgspec

OwnWordRow = tuple[str, str, str]
"""Subject, name and phrase of a tenant's own word."""
LinkRow = tuple[UUID, str, str, UUID | None]
"""ADR, kind, target as written, and the ADR that it leads to."""


class VersionText(msgspec.Struct, frozen=True):
    """The text of one version. `path` is where its ADR was found, empty when it was written here; `imported`: so was
    this version of it."""

    adr_id: UUID
    version: int
    path: str
    imported: bool
    body: str


class TextReading(msgspec.Struct, frozen=True):
    """What a text says. `title` and `status` are None where it says none and something stands in. `label`: how its log
    counts it, where that is more than `number`. `oddities` are {code, line, text}."""

    title: str | None
    status: str | None
    number: int | None
    label: str | None
    links: Collection[tuple[str, str]]
    oddities: Sequence[Mapping[str, Any]]


class LoggedAdr(msgspec.Struct, frozen=True):
    """An ADR as its log has it. `wanted` is the number that its text and path claim."""

    adr_id: UUID
    number: int | None
    label: str | None
    path: str | None
    live: bool
    former_paths: tuple[str, ...]
    wanted: int | None


class RecordReader(Protocol):
    """`version` grows when the same text may be read otherwise."""

    version: int

    def read(self, texts: Sequence[VersionText], own: Sequence[OwnWordRow]) -> Sequence[TextReading]:
        """What each text says, with the tenant's own words."""
        ...

    def settle_numbers(self, adrs: Sequence[LoggedAdr]) -> Mapping[UUID, int | None]:
        """The numbers of a log that are to be others."""
        ...

    def settle_links(self, adrs: Sequence[LoggedAdr], links: Sequence[LinkRow]) -> Sequence[LinkRow]:
        """The links of a log that lead elsewhere, with where they lead."""
        ...
