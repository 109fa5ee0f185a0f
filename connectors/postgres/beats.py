"""Beats: which session of change capture a record is from, and how far that session had come.

Owns the text of a beat in the header `adriatic.session`. Refuses to judge: a database knows a beat when it has a row
of that session in ops.cdc_sessions that has come as far; one that went back to an earlier state does not.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from runtime.errors import Undecodable

BEAT_MAX = 2**63 - 1
"""What a bigint holds. Once a second that is 292 thousand million years."""


class Beat(NamedTuple):
    """The `number`-th beat of a session; the first is 1. It is in the database before any record carries it."""

    session: UUID
    number: int

    def header(self) -> bytes:
        """The value of the header `adriatic.session`."""
        return b"%s/%d" % (str(self.session).encode(), self.number)

    @classmethod
    def parse(cls, header: bytes) -> Beat:
        """Read the header. Raises `Undecodable`."""
        session, slash, number = header[:64].partition(b"/")
        try:
            beat = cls(UUID(session.decode("ascii")), int(number))
        except ValueError:
            beat = None
        if not slash or beat is None or beat.header() != header or not 0 < beat.number <= BEAT_MAX:
            raise Undecodable(
                f"{header[:64]!r} is not a beat of change capture", hint="only change capture may write to this topic"
            )
        return beat
