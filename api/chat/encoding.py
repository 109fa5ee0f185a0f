"""How a client reads an answer: its numbered events as bytes, and how they are written down. Pure.

Owns the ids of events and the form of a part of an answer in the table. One module for each dialect of clients: this is
our own, typed events with a name each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from api import sse
from api.chat.schemas import NAMES, ChatEvent

_ENCODER = msgspec.json.Encoder()


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


_PART = msgspec.json.Decoder(list[StoredEvent])


def store(event: ChatEvent) -> StoredEvent:
    return StoredEvent(NAMES[type(event)], msgspec.Raw(_ENCODER.encode(event)))


def encode_part(events: Iterable[ChatEvent]) -> str:
    """Some events of an answer as they are written down."""
    return _ENCODER.encode([store(event) for event in events]).decode()


def decode_part(part: str) -> list[StoredEvent]:
    return _PART.decode(part)


def encode(answer_id: UUID, number: int, event: ChatEvent | StoredEvent) -> bytes:
    """One server-sent event. Its id names the answer and the place in it, and is unique for ever."""
    stored = event if isinstance(event, StoredEvent) else store(event)
    return sse.encode_frame(stored.name, bytes(stored.data), f"{answer_id}.{number}")


async def frames(cursor: AnswerCursor) -> AsyncIterator[bytes]:
    """The bytes of a response: what is there at once, then each event as it comes. Closes the cursor at the end."""
    try:
        while not cursor.at_end:
            events = await cursor.read(sse.KEEP_ALIVE_S)
            if events:
                yield b"".join(encode(cursor.answer_id, number, event) for number, event in events)
            elif not cursor.at_end:
                yield sse.KEEP_ALIVE
    finally:
        cursor.close()
