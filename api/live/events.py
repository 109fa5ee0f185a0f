"""The events of a live read, as bytes."""

from __future__ import annotations

from typing import Literal

import msgspec

from api.watermarks import AsOf

Reset = Literal["behind", "expired", "other-view", "other-tenant", "other-log", "snapshot-incomplete", "unreadable"]
"""Why a reader starts anew. `behind`: the changes since then are not held any more, or the reader was too slow.
`expired`: the token is too old. `other-log`: the topic was made anew, or filled anew by change capture. `unreadable`:
a record that cannot be decoded; the table is right all the same."""
End = Literal["token-expired", "closing", "slow", "too-large"]
"""Why a stream ends. After the first three a new request with `Last-Event-ID` goes on where this one ended.
`too-large`: the view has more rows by now than a live read carries."""


class WatermarkEvent(msgspec.Struct, frozen=True):
    """How far the picture is that the reader has by now. `waits_for`: what does not answer right now."""

    as_of: AsOf
    waits_for: list[str]


class ResetEvent(msgspec.Struct, frozen=True):
    """Forget every row: a snapshot follows."""

    reason: Reset


class EndEvent(msgspec.Struct, frozen=True):
    """The last event."""

    reason: End


_ENCODER = msgspec.json.Encoder()


def encode_frame(name: str, data: bytes, token: str) -> bytes:
    """One server-sent event. JSON has no line break of its own."""
    return f"id: {token}\nevent: {name}\ndata: ".encode() + data + b"\n\n"


def encode(value: msgspec.Struct) -> bytes:
    return _ENCODER.encode(value)


def encode_snapshot(rows: bytes, *, more: bool, as_of: AsOf) -> bytes:
    """`rows`: a JSON array."""
    return b'{"rows":' + rows + b',"more":' + (b"true" if more else b"false") + b',"as_of":' + encode(as_of) + b"}"
