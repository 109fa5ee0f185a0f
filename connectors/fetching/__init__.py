"""The one way out to addresses that somebody else named: pages, `robots.txt`, sitemaps.

`urls` tells which addresses are addresses, `addresses` which of the machines behind a name may be spoken to, `reach`
which hosts a tenant allows, `fetcher` asks within bounds. Here is what they say to each other. Refuses to know what is
fetched for, and whether it may be by the rules of a site: `streams/crawling` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from connectors.fetching.reach import HostList

FailureCode = Literal[
    "forbidden-url", "forbidden-address", "unknown-name", "no-connection", "too-slow", "too-large", "bomb",
    "wrong-type", "too-many-redirects", "bad-answer", "not-allowed",
]  # fmt: skip

TEMPORARY: frozenset[FailureCode] = frozenset(("unknown-name", "no-connection", "too-slow", "bad-answer"))
"""What may be otherwise a minute later. The others are what the address, or its answer, is."""

AGENT = "adriatic"
"""Our name in `robots.txt`, and the first word of `User-Agent`."""


class FetchRequest(msgspec.Struct, frozen=True):
    """What to ask for. `types` are the media types that are taken of an answer with status 200; without any, all
    are. `reach` is what may be asked for, at each redirect again; None: whatever is public."""

    url: str
    types: tuple[str, ...]
    bytes_max: int
    seconds_max: float
    redirects_max: int = 0
    headers: Mapping[str, str] = {}
    reach: HostList | None = None


class FetchedAnswer(msgspec.Struct, frozen=True):
    """An answer, of whatever status. `body` is unpacked, and empty unless the status is 200; `location` is where a
    redirect that was not followed leads, as a whole address; `received` are the bytes of the body on the wire."""

    url: str
    status: int
    media_type: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""
    location: str = ""
    received: int = 0


class NotFetched(msgspec.Struct, frozen=True):
    """`detail` says what is wrong, for people."""

    code: FailureCode
    detail: str

    @property
    def temporary(self) -> bool:
        return self.code in TEMPORARY
