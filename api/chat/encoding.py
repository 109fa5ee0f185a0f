"""How a client reads an answer: its numbered events as bytes. Pure.

Owns the ids of events. One module for each dialect of clients: this is our own, typed events with a name each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import msgspec

from api import sse
from api.chat.answers import Answer, Cursor
from api.chat.schemas import NAMES, ChatEvent

_ENCODER = msgspec.json.Encoder()


def encode(answer_id: UUID, number: int, event: ChatEvent) -> bytes:
    """One server-sent event. Its id names the answer and the place in it, and is unique for ever."""
    return sse.encode_frame(NAMES[type(event)], _ENCODER.encode(event), f"{answer_id}.{number}")


async def frames(answer: Answer, cursor: Cursor) -> AsyncIterator[bytes]:
    """The bytes of a response: what is there at once, then each event as it comes. Closes the cursor at the end."""
    try:
        while not cursor.at_end:
            events = await cursor.read(sse.KEEP_ALIVE_S)
            if events:
                yield b"".join(encode(answer.answer_id, number, event) for number, event in events)
            elif not cursor.at_end:
                yield sse.KEEP_ALIVE
    finally:
        cursor.close()
