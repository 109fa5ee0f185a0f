"""The events of a live read, as bytes."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from api.watermarks import AsOf

Reset = Literal["behind", "expired", "other-view", "other-tenant", "other-log", "snapshot-incomplete", "unreadable"]
"""Why a reader starts anew. `behind`: the changes since then are not held any more, or the reader was too slow.
`expired`: the token is too old. `other-log`: the topic was made anew, or filled anew by change capture. `unreadable`:
a record that cannot be decoded; the table is right all the same."""
End = Literal["token-expired", "closing", "slow", "too-large", "other-log"]
"""Why a stream ends. After the first three a new request with `Last-Event-ID` goes on where this one ended.
`too-large`: the view has more rows by now than a live read carries. `other-log`: the log tells of what the database
does not know, because it was set back to an earlier state; an operator must mend that."""


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


class SnapshotEvent(msgspec.Struct, frozen=True):
    """Rows of the view, at most 500; `more` until the last of them are here."""

    rows: list[dict[str, Any]]
    more: bool
    as_of: AsOf


_ENCODER = msgspec.json.Encoder()


def encode(value: msgspec.Struct) -> bytes:
    return _ENCODER.encode(value)


def encode_snapshot(rows: bytes, *, more: bool, as_of: AsOf) -> bytes:
    """`rows`: a JSON array."""
    return b'{"rows":' + rows + b',"more":' + (b"true" if more else b"false") + b',"as_of":' + encode(as_of) + b"}"
