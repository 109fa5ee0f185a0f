"""Log sequence numbers: byte positions in the WAL.

Owns the two texts of a position: Postgres' own (`16/B374D848`) and the one in record headers. Refuses arithmetic that
is not about bytes: a position is a plain `int`, so comparing and subtracting are Python's.
"""

from __future__ import annotations

from typing import NamedTuple, NewType

from runtime.errors import Undecodable

Lsn = NewType("Lsn", int)


def parse(text: str) -> Lsn:
    """Read Postgres' text, `16/B374D848`."""
    high, slash, low = text.partition("/")
    if not slash:
        raise ValueError(f"{text!r} is not a log sequence number")
    return Lsn((int(high, 16) << 32) | int(low, 16))


def show(lsn: int) -> str:
    """Write Postgres' text."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


class Pos(NamedTuple):
    """Where a record comes from: the commit's position, and the record's place in that transaction.

    Records of a partition are in this order, without equals: it is what makes the log its own ledger (R8).
    """

    commit: Lsn
    ordinal: int

    def header(self) -> bytes:
        """The value of the header `adriatic.pos`. Sorts as text like it does as a pair."""
        return b"%016X/%08d" % self

    @classmethod
    def parse(cls, header: bytes) -> Pos:
        commit, slash, ordinal = header.partition(b"/")
        try:
            if not slash:
                raise ValueError("no slash")
            return cls(Lsn(int(commit, 16)), int(ordinal))
        except ValueError:
            raise Undecodable(
                f"{header[:64]!r} is not a position", hint="only change capture may write to this topic"
            ) from None
