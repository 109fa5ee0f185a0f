"""Transaction ids, and which of them a snapshot sees. Pure.

Owns the whole id of a transaction from the half that the WAL names it by, and the comparison with a snapshot. A
position of the WAL cannot say what is visible: Postgres writes a commit to the WAL, and only then takes the transaction
off the list of those that run. Ids can: a snapshot sees a committed transaction exactly when its id is below `xmax` and
not among those that ran.
"""

from __future__ import annotations

from dataclasses import dataclass

XID_BITS = 32
"""The WAL names transactions by the lower half of their id."""
XID_MASK = (1 << XID_BITS) - 1


def whole_xid(xid: int, near: int) -> int:
    """The id with its epoch, of 32 bits of it: the one closest to `near`, which has all of its bits. Postgres stops
    before two transactions that are not over are 2^31 apart."""
    half, span = 1 << (XID_BITS - 1), 1 << XID_BITS
    return near + ((xid - near + half) % span) - half


@dataclass(frozen=True, slots=True)
class TransactionSnapshot:
    """What a statement sees, by whole transaction ids: those below `xmax` that did not run (`xip`) then."""

    xmin: int
    xmax: int
    xip: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, text: str) -> TransactionSnapshot:
        """Read Postgres' text, `xmin:xmax:xip,xip`."""
        xmin, xmax, xip = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(int(each) for each in xip.split(",") if each))

    def sees(self, xid: int) -> bool:
        """Whether it sees what the transaction did, given that it committed."""
        return xid < self.xmin or (xid < self.xmax and xid not in self.xip)
