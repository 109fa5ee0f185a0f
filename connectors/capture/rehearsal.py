"""A reading of the WAL that produces nothing: is the log what the WAL says (R12)?

Owns the order of that reading and its end. It happens at a start whose log holds more than our progress speaks for, so
after an end that was not clean; it goes as far as the newest of those records, about a second of work. When it ends
without `ForeignLog`, every record in the log is one that this database makes, and streaming begins anew at the same
position. Nothing was written but heartbeats, which bring the end of the WAL to a quiet server.
"""

from __future__ import annotations

from collections.abc import Callable

from connectors.capture.ledger import Ledger
from connectors.capture.outbox import OutboxEvent
from connectors.capture.ports import Data, Stopping, WalSession
from connectors.capture.tables import Tables
from connectors.capture.tracker import Confirmed
from connectors.capture.translator import OpenTransaction, Translator
from connectors.kafka.producer import EncodedRecord
from connectors.kafka.records import TopicPartition
from connectors.postgres.lsn import Pos
from runtime.clock import Clock
from runtime.errors import AdriaticError, DataError, DependencyUnavailable

BEAT_S = 1.0
"""Time between two heartbeats."""
WAIT_S = 0.1
"""The longest wait for the WAL."""


class Rehearsal:
    """An outlet that compares. `tables`: its own, because what stops here has not been written down. `check`: that of
    the producer, for a record that is too large today."""

    def __init__(self, ledger: Ledger, tables: Tables, check: Callable[[EncodedRecord], None]) -> None:
        self._ledger = ledger
        self._tables = tables
        self.check = check
        self.at = 0
        """Everything that was committed before was said."""

    def begin(self, transaction: OpenTransaction) -> None:
        origin = transaction.origin
        self._ledger.begin(origin.commit, origin.xid, origin.committed_at_us)
        self.at = max(self.at, origin.commit)

    def commit(self, transaction: OpenTransaction, end: Confirmed) -> None:
        self.at = max(self.at, end.lsn)

    def mark(self, at: Confirmed) -> None:
        self.at = max(self.at, at.lsn)

    def send(self, record: EncodedRecord, transaction: OpenTransaction) -> None:
        self._ledger.has(TopicPartition(record.topic, record.partition), record.pos)

    def stop(self, name: str, error: AdriaticError) -> None:
        self._tables.stop(name, error.code)

    def dead_letter(self, event: OutboxEvent | None, pos: Pos, error: DataError) -> None:
        self._ledger.pass_over([pos])

    def require_said(self) -> None:
        """Nothing in the log is left that the WAL did not say, but in topics that are stopped, of which nothing is
        said: a table's, and those of events by their own names. Raises `ForeignLog`."""
        stopped = self._tables.stopped
        self._ledger.require_said({*stopped, *(self._tables.topic_of(name) for name in stopped)})


def rehearse(
    session: WalSession,
    rehearsal: Rehearsal,
    translator: Translator,
    until: int,
    beat: Callable[[], None],
    clock: Clock,
    stopping: Stopping,
) -> None:
    """Read the WAL to behind `until`. Raises `ForeignLog`, and `DependencyUnavailable` also when asked to stop."""
    beat_at = 0.0
    while rehearsal.at <= until:
        for message in session.receive():
            if isinstance(message, Data):
                translator.take(message.start, message.payload)
            elif not translator.in_transaction:
                rehearsal.at = max(rehearsal.at, message.end)
        session.keep_alive()
        if stopping():
            raise DependencyUnavailable("asked to stop while the log was compared with the WAL")
        if clock.monotonic() >= beat_at:
            beat_at = clock.monotonic() + BEAT_S
            beat()
        if rehearsal.at <= until:
            session.wait(WAIT_S)
    rehearsal.require_said()
