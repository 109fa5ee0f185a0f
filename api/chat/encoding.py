"""How a client reads an answer: its numbered events as bytes, and how they are written down. Pure.

Owns the seam between an answer and a dialect, the ids of events, and the form of a part of an answer in the table. One
module for each dialect of clients: this is our own, typed events with a name each; the others are in `dialects`.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

import msgspec

from api import sse
from api.chat.schemas import NAMES, ChatEvent, TextDelta

Encode = Callable[[int, ChatEvent], bytes]
"""One event of an answer, with its number in it, as the bytes of a dialect; none where the dialect has no word for it.
A dialect whose events lean on earlier ones is a bound method of an object that one reader has: it is called for each
event once, from the first on, in order. It does no I/O and reads no clock."""

_ENCODER = msgspec.json.Encoder()
_TEXT = f"\nevent: {NAMES[TextDelta]}\ndata: ".encode()


class StoredEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event as it is written down: its name, and its data as JSON."""

    name: str
    data: msgspec.Raw


class AnswerCursor(Protocol):
    """A reader's place in an answer, whether the answer is in memory or in the table."""

    @property
    def answer_id(self) -> UUID: ...

    @property
    def at_end(self) -> bool: ...

    async def read(self, wait_s: float) -> Sequence[tuple[int, ChatEvent | StoredEvent]]: ...

    def close(self) -> None: ...


_TYPES: Mapping[str, type[ChatEvent]] = {name: kind for kind, name in NAMES.items()}
_PART = msgspec.json.Decoder(list[StoredEvent])


def store(event: ChatEvent) -> StoredEvent:
    return StoredEvent(NAMES[type(event)], msgspec.Raw(_ENCODER.encode(event)))


def encode_part(events: Iterable[ChatEvent]) -> str:
    """Some events of an answer as they are written down."""
    return _ENCODER.encode([store(event) for event in events]).decode()


def decode_part(part: str) -> list[StoredEvent]:
    return _PART.decode(part)


def restore(stored: StoredEvent) -> ChatEvent:
    """The event that was written down."""
    event: ChatEvent = msgspec.json.decode(stored.data, type=_TYPES[stored.name])
    return event


class TextFrame:
    """The frame of a piece of text in some dialect, made once: between its two ends is the text as JSON. Nearly all
    events are such pieces, and making the objects of a dialect for each costs more than all the rest of writing it."""

    __slots__ = ("_after", "_before")

    def __init__(self, empty: bytes) -> None:
        """Takes the frame of an empty text, behind which it has no other."""
        self._before, _, self._after = empty.rpartition(b'""')

    def encode(self, text: str) -> bytes:
        return self._before + _ENCODER.encode(text) + self._after


def encode(answer_id: UUID | str, number: int, event: ChatEvent | StoredEvent) -> bytes:
    """One server-sent event. Its id names the answer and the place in it, and is unique for ever."""
    if type(event) is TextDelta:
        return b"id: %b.%d%b%b\n\n" % (str(answer_id).encode(), number, _TEXT, _ENCODER.encode(event))
    stored = event if isinstance(event, StoredEvent) else store(event)
    return sse.encode_frame(stored.name, bytes(stored.data), f"{answer_id}.{number}")


async def frames(cursor: AnswerCursor, dialect: Encode | None = None) -> AsyncIterator[bytes]:
    """The bytes of a response: what is there at once, then each event as it comes. Closes the cursor at the end.

    Ours is the only dialect in which an answer can be read from the middle on: the cursor of another one is at the
    beginning, and its encoder leaves out what its reader has.
    """
    make = dialect or functools.partial(encode, str(cursor.answer_id))
    try:
        while not cursor.at_end:
            events = await cursor.read(sse.KEEP_ALIVE_S)
            if made := b"".join([make(number, event) for number, event in _restore_all(events, dialect)]):
                yield made
            elif not (events or cursor.at_end):
                yield sse.KEEP_ALIVE
    finally:
        cursor.close()


def _restore_all(
    events: Sequence[tuple[int, ChatEvent | StoredEvent]], dialect: Encode | None
) -> Sequence[tuple[int, Any]]:
    """What another dialect than ours is told of: events as they were before they were written down."""
    if dialect is None or not events or not isinstance(events[0][1], StoredEvent):
        return events
    return [(number, restore(event) if isinstance(event, StoredEvent) else event) for number, event in events]
