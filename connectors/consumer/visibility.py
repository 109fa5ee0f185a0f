"""The wait until the transactions that a log tells of can be seen by whoever reads the tables.

Postgres writes a commit to the WAL, from where the walsender takes it at once, and only then lets other sessions see
it: microseconds later, or, with a synchronous standby, when that has answered. Who decides by what is **not** in a
table must not look in between. Owns that wait; `connectors/postgres/xid.py` has the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable

from connectors.postgres.sink import TransactionalSink
from connectors.postgres.xid import TransactionSnapshot
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.deadline import backoff_s
from runtime.errors import DataError
from runtime.lifecycle import Lifecycle
from runtime.logs import get_logger

log = get_logger("visibility")

PAUSE_FIRST_S = 0.001
PAUSE_MAX_S = 0.05
"""Longest time between two looks. A commit is visible some microseconds after it is in the WAL; only a standby takes
longer, and its answer need not be noticed faster than a batch takes."""
TOLD_S = 1.0
"""A wait that is longer is said at /health/ready: below, it is what a synchronous standby costs."""
WAIT = "visibility"
"""The wait's name in the health report."""


class Visibility:
    """The wait of one writer, on its own connection. Not for several threads at once."""

    def __init__(self, sink: TransactionalSink, life: Lifecycle, clock: Clock = SYSTEM_CLOCK) -> None:
        self._sink = sink
        self._life = life
        self._clock = clock
        self._snapshot = TransactionSnapshot(0, 0)

    def wait(self, xids: Iterable[int]) -> None:
        """Wait until every later statement sees all of these transactions, however long that takes: it is lag, never an
        error. Raises `StopRequested`.

        What the last snapshot saw is visible for ever, so a reader that is behind hardly ever asks.
        """
        hidden = self._find_hidden(xids)
        began_s, told, pauses = self._clock.monotonic(), False, backoff_s(PAUSE_FIRST_S, PAUSE_MAX_S)
        while hidden:
            self._snapshot = self._life.retry("postgres", self._look)
            hidden = self._find_hidden(hidden)
            waited_s = self._clock.monotonic() - began_s
            if hidden and waited_s > TOLD_S:
                if not told:
                    hidden = self._life.retry("postgres", lambda some=hidden: self._drop_unassigned(some))  # type: ignore[misc]
                told = True
            if hidden:
                if told:
                    self._life.health.wait_for(WAIT, _reason(hidden, waited_s))
                self._life.sleep(next(pauses))
        if told:
            self._life.health.clear(WAIT)

    def _find_hidden(self, xids: Iterable[int]) -> set[int]:
        return {xid for xid in xids if not self._snapshot.sees(xid)}

    def _look(self) -> TransactionSnapshot:
        with self._sink.read() as connection:
            ((snapshot,),) = connection.execute("select pg_current_snapshot()::text").fetchall()
        return TransactionSnapshot.parse(snapshot)

    def _drop_unassigned(self, xids: set[int]) -> set[int]:
        """Drop those that this database never gave out. It is then a copy from before they began: what they did is
        not here and will not come, so there is nothing to wait for."""
        kept = {xid for xid in xids if self._is_assigned(xid)}
        if kept != xids:
            log.warning("the log tells of transactions that this database has not come to", newest=max(xids))
        return kept

    def _is_assigned(self, xid: int) -> bool:
        try:
            with self._sink.read() as connection:
                connection.execute("select pg_xact_status(%s::text::xid8)", [xid])
        except DataError:  # "transaction ID is in the future"
            return False
        return True


def _reason(xids: set[int], waited_s: float) -> str:
    newest = max(xids, default=0)
    return (
        f"transaction {newest} is in the log and, after {waited_s:.0f} s, not yet visible: does a synchronous standby "
        "of Postgres not answer?"
    )
