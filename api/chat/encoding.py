"""How a client reads an answer: its numbered events as bytes. Pure.

Owns the seam between an answer and a dialect, and the ids of events in our own dialect: typed events with a name each.
The dialects of other clients are one module each in `dialects`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from uuid import UUID

import msgspec

from api import sse
from api.chat.answers import Cursor
from api.chat.schemas import NAMES, ChatEvent

Encode = Callable[[int, ChatEvent], bytes]
"""One event of an answer, with its number in it, as the bytes of a dialect; none where the dialect has no word for it.
A dialect whose events lean on earlier ones is a bound method of an object that one reader has: it is called for each
event once, from the first on, in order. It does no I/O and reads no clock."""

_ENCODER = msgspec.json.Encoder()


def encode(answer_id: UUID, number: int, event: ChatEvent) -> bytes:
    """One server-sent event. Its id names the answer and the place in it, and is unique for ever."""
    return sse.encode_frame(NAMES[type(event)], _ENCODER.encode(event), f"{answer_id}.{number}")


async def frames(cursor: Cursor, encode: Encode) -> AsyncIterator[bytes]:
    """The bytes of a response: what is there at once, then each event as it comes. Closes the cursor at the end."""
    try:
        while not cursor.at_end:
            events = await cursor.read(sse.KEEP_ALIVE_S)
            if made := b"".join(encode(number, event) for number, event in events):
                yield made
            elif not (events or cursor.at_end):
                yield sse.KEEP_ALIVE
    finally:
        cursor.close()
