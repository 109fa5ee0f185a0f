"""What the filters of a search let pass, as its statements take it. Pure; `service` finds out what it is."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

import msgspec

Pairs = tuple[list[str], list[UUID]]
"""Kinds and ids of sources."""


class Allowed(NamedTuple):
    """What may be found: pair by pair, or by a filter that each candidate is asked by, or without either everything.
    `unwanted`: pairs that are taken out of what is found. `listed`: what passes the filters, as far as it was listed
    and whichever way it is asked for; null without filters. `bounded`: there is more of something than was taken up."""

    kinds: list[str] | None = None
    ids: list[UUID] | None = None
    filter: dict[str, Any] | None = None
    unwanted: Pairs = ([], [])
    bounded: bool = False
    listed: Pairs | None = None

    @property
    def filter_json(self) -> str | None:
        return msgspec.json.encode(self.filter).decode() if self.filter else None
