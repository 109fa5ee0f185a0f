"""Server-sent events, read: bytes in, events out. Pure.

Owns the parsing of the format (WHATWG HTML, section 9.2.6) as far as streams of answers use it: `event`, `data`, `id`
and comments. Refuses events without end: an event has a bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runtime.errors import DependencyUnavailable

EVENT_BYTES_MAX = 1_048_576
"""One event. A piece of an answer has some hundred bytes, a list of sources some ten thousand."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """`name` is "message" where the server named none."""

    name: str
    data: bytes
    id: str = ""


class SseDecoder:
    """Keeps what is left of an event between two pieces of a stream."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._id = ""
        self._data: list[bytes] = []
        self._size_bytes = 0

    def feed(self, part: bytes) -> Iterator[ServerEvent]:
        """The events that `part` completes. Raises `DependencyUnavailable` beyond the bound."""
        *lines, self._rest = (self._rest + part).split(b"\n")
        if len(self._rest) > EVENT_BYTES_MAX:
            self._too_large()
        for line in lines:
            if (event := self._line(line.removesuffix(b"\r"))) is not None:
                yield event

    def _line(self, line: bytes) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._size_bytes += len(value)
            if self._size_bytes > EVENT_BYTES_MAX:
                self._too_large()
        elif field == b"event":
            self._name = value.decode(errors="replace")
        elif field == b"id":
            self._id = value.decode(errors="replace")
        return None

    def _dispatch(self) -> ServerEvent | None:
        event = ServerEvent(self._name or "message", b"\n".join(self._data), self._id) if self._data else None
        self._name, self._data, self._size_bytes = "", [], 0
        return event

    def _too_large(self) -> None:
        raise DependencyUnavailable(f"the stream has an event of more than {EVENT_BYTES_MAX} bytes")
