"""Which position may be acknowledged (R1): the end of the longest prefix of transactions that is wholly in Kafka.

Owns the order of transactions, which is that of their commits, and the count of their unacknowledged records. Several
may be open at once. Pure: no I/O, no clock. Refuses to know records: each is one `count_sent` and one `count_acked` on
the transaction that it belongs to.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Everything that was committed before `lsn` is in Kafka. `committed_at_us`: the source's clock, since 1970; 0: not
    known."""

    lsn: int
    committed_at_us: int


class Transaction:
    """One transaction on its way. Records may be acknowledged before the commit has been seen. `whole`: it is shown
    between its begin and its commit, with nothing in between; else it is in progress, and others commit before it."""

    __slots__ = ("_end", "_unacked", "whole")

    def __init__(self, end: Confirmed | None = None, *, whole: bool = True) -> None:
        self._end = end
        self._unacked = 0
        self.whole = whole

    def count_sent(self) -> None:
        self._unacked += 1

    def count_acked(self) -> None:
        assert self._unacked > 0, "a record was acknowledged twice"
        self._unacked -= 1

    @property
    def done(self) -> bool:
        return self._end is not None and self._unacked == 0


class Tracker:
    """Transactions in commit order. `commit` and `mark` are called in WAL order."""

    def __init__(self, start: Confirmed) -> None:
        self._pending: deque[Transaction] = deque()
        self._open: set[Transaction] = set()
        self._confirmed = start

    def begin(self, *, whole: bool = True) -> Transaction:
        assert not (whole and self.in_transaction), "transactions that are shown whole do not nest"
        transaction = Transaction(whole=whole)
        self._open.add(transaction)
        return transaction

    def commit(self, transaction: Transaction, end: Confirmed) -> None:
        """Its place is behind everything that committed before: what is open does not hold anybody back, because it
        commits later, and the server keeps its WAL until then."""
        self._open.remove(transaction)
        transaction._end = end
        self._pending.append(transaction)

    def abort(self, transaction: Transaction) -> None:
        """It never commits: nothing of it is waited for."""
        self._open.remove(transaction)

    def mark(self, at: Confirmed) -> None:
        """Called between transactions: everything up to here has been received (a heartbeat, a keepalive)."""
        if self.in_transaction:
            return
        if self._pending and self._pending[-1].done:
            # While Kafka is away marks keep coming: the newest stands for all.
            self._pending.pop()
        self._pending.append(Transaction(at))

    @property
    def in_transaction(self) -> bool:
        """Whether one that is shown whole has begun: what comes until its commit is its own."""
        return any(transaction.whole for transaction in self._open)

    def advance(self) -> Confirmed:
        """How far the prefix reaches now. Never moves back."""
        pending = self._pending
        while pending and pending[0].done:
            end = pending.popleft()._end
            assert end is not None
            if end.lsn >= self._confirmed.lsn:
                # The time of the newest position, not the latest time: the source's clock may have stepped back.
                self._confirmed = Confirmed(end.lsn, end.committed_at_us or self._confirmed.committed_at_us)
        return self._confirmed
