"""Pages whose text is made by scripts, as a browser shows them; the browser connects to nothing.

`confine` takes the network from a process for good, `child` is the process in which the browser is driven, `visit` is
one page in it, `reading` what is read of that, `pool` starts processes, gives them work and ends them at their bounds,
`standing` says whether there are any. Here is what they say to each other. What a page asks for is asked for by whoever
has it rendered, through a `Door`. Refuses to fetch, and to know which pages have to be rendered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO, Literal, Protocol, TypeVar

import msgspec

Kind = Literal["script", "data", "frame"]
"""What a page asks for and may be given: a program, what a program reads, or a page that is shown in it."""

Code = Literal["no-browser", "busy", "too-slow", "memory", "crashed", "too-large"]

RENDER_S_MAX = 40.0
"""All of one page, in seconds: with scripts that are asked for at one a second, some thirty of them."""
SENT = "sent"
"""What a request that is no GET counts as, among those that are refused."""
READ_S = 5.0
"""What is kept of it for reading the tree."""
REQUESTS_MAX = 60
"""Most requests of one page that are handed on. What is beyond them is refused."""
FRAMES_MAX = 10
"""Most pages within one page, at whatever depth, that are asked for and read. Each may be a process."""
HTML_CHARS_MAX = 5_000_000
"""Largest tree that is taken, as text. The text in it has a bound of its own, where it is read."""
FRAME_BYTES_MAX = 33_554_432
"""Largest message between the two processes: a tree of four bytes a character, and room."""


class RenderRequest(msgspec.Struct, frozen=True, tag="render"):
    """A page that came already: it is not asked for again. `seconds_max`: all of it, once the browser is there."""

    url: str
    content_type: str
    body: bytes
    seconds_max: float = RENDER_S_MAX


class ResourceWanted(msgspec.Struct, frozen=True, tag="wanted"):
    """What a page asks for. `accept` is what it wants it as. `page_url` is whose program asks, the page or a frame of
    it; of a frame, it is the page."""

    url: str
    kind: Kind
    page_url: str
    accept: str = ""


class ResourceGiven(msgspec.Struct, frozen=True, tag="given"):
    """What came of it, and from where after redirects. `status` 0: nothing, and the page is told that it cannot be had.
    `origins` is what the answer's head says of who may read it (`Access-Control-Allow-Origin`)."""

    status: int = 0
    url: str = ""
    content_type: str = ""
    body: bytes = b""
    origins: str = ""


class Rendered(msgspec.Struct, frozen=True, tag="rendered"):
    """The tree of a page as HTML, without scripts. `location`: where its scripts wanted to go instead. `refused` counts
    what it asked for and did not get, by what it was; `settled`: it had come to rest."""

    html: str
    location: str = ""
    refused: Mapping[str, int] = {}
    settled: bool = True


class NotRendered(msgspec.Struct, frozen=True, tag="not-rendered"):
    """`detail` says why, for people."""

    code: Code
    detail: str


class Door(Protocol):
    """How what a page asks for is asked for, or not: the only way out. Called by one thread, one request at a time."""

    def ask(self, wanted: ResourceWanted) -> ResourceGiven: ...


FromChild = ResourceWanted | Rendered | NotRendered
ToChild = RenderRequest | ResourceGiven
Message = TypeVar("Message")


def pack(message: FromChild | ToChild) -> bytes:
    """A message with its length before it."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(4, "big") + body


def read_frame(pipe: BinaryIO) -> bytes | None:
    """The next message, packed; None when the other side is gone, or says what nobody can take."""
    head = pipe.read(4)
    size = int.from_bytes(head, "big")
    if len(head) < 4 or size > FRAME_BYTES_MAX:
        return None
    body = pipe.read(size)
    return body if len(body) == size else None
