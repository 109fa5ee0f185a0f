"""Which position may be acknowledged (R1): the end of the longest prefix of transactions that is wholly in Kafka.

Owns the order of transactions and the count of their unacknowledged records. Pure: no I/O, no clock. Refuses to know
records: each is one `count_sent` and one `count_acked` on the transaction that it belongs to.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Everything that was committed before `lsn` is in Kafka. `committed_at_us`: the source's clock, since 1970."""

    lsn: int
    committed_at_us: int


class Transaction:
    """One transaction on its way. Records may be acknowledged before the commit has been seen."""

    __slots__ = ("_end", "_unacked")

    def __init__(self, end: Confirmed | None = None) -> None:
        self._end = end
        self._unacked = 0

    def count_sent(self) -> None:
        self._unacked += 1

    def count_acked(self) -> None:
        assert self._unacked > 0, "a record was acknowledged twice"
        self._unacked -= 1

    @property
    def done(self) -> bool:
        return self._end is not None and self._unacked == 0


class Tracker:
    """Transactions in commit order. `begin`, `commit` and `mark` are called in WAL order."""

    def __init__(self, start: Confirmed) -> None:
        self._pending: deque[Transaction] = deque()
        self._open: Transaction | None = None
        self._confirmed = start

    def begin(self) -> Transaction:
        assert self._open is None, "transactions do not nest in protocol 1"
        self._open = Transaction()
        self._pending.append(self._open)
        return self._open

    def commit(self, end: Confirmed) -> None:
        assert self._open is not None, "commit without begin"
        self._open._end = end
        self._open = None

    def mark(self, at: Confirmed) -> None:
        """Called between transactions: everything up to here has been received (a heartbeat, a keepalive)."""
        if self._open is not None:
            return
        if self._pending and self._pending[-1].done:
            # While Kafka is away marks keep coming: the newest stands for all.
            self._pending.pop()
        self._pending.append(Transaction(at))

    @property
    def in_transaction(self) -> bool:
        return self._open is not None

    def advance(self) -> Confirmed:
        """How far the prefix reaches now. Never moves back."""
        pending = self._pending
        while pending and pending[0].done:
            end = pending.popleft()._end
            assert end is not None
            if end.lsn >= self._confirmed.lsn:
                self._confirmed = Confirmed(end.lsn, max(end.committed_at_us, self._confirmed.committed_at_us))
        return self._confirmed
