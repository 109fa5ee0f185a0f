"""The first copy of every published table, as one Kafka transaction (R5): a source of records beside the stream.

Owns the records of the rows of an exported snapshot (op `r`), in the order of the primary key, and what to do with a
row that has none. Refuses to know slots and progress: `session.py` makes one when a snapshot is wanted.

Why it neither loses nor doubles, wherever the process ends:
- The slot is made first, and what is committed after that is in its stream, whenever that is read.
- The snapshot is taken later, at a position S that Postgres gives with it: it shows exactly what committed before S.
- All its records are in one transaction, with S and the id that it was asked for by. Ended in the middle, it is aborted
  (the next producer of the same name does that first), and readers of committed records never see it. The next attempt
  takes a new snapshot at a later S, under the same id.
- Streaming starts afterwards, from the slot, and leaves out changes that committed before S. Events are rows of the
  outbox, which keeps them for days: those go to their topics once more.
- Ended between the transaction's commit and the note of it in ops.cdc_progress, the last records of the topics show
  the id that is wanted. A snapshot of another id is never taken for ours, however late it is.

Its records have the position just before S, so that every streamed one is after them, even a commit that starts at S.
One transaction lasts at most as long as `connectors.kafka.producer` lets it, some ten million rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from connectors.capture.encoder import ORDINALS_PER_CHANGE, TransactionOrigin
from connectors.capture.ends import Ends
from connectors.capture.pgoutput import Insert, Tuple
from connectors.capture.ports import RecordTransaction, Rows, Snapshot, Stopping
from connectors.capture.publication import Published
from connectors.capture.translator import guard
from connectors.kafka.producer import EncodedRecord
from connectors.kafka.records import TopicPartition
from connectors.postgres.lsn import Lsn, Pos
from runtime.clock import Clock
from runtime.errors import DataError
from runtime.logs import get_logger

log = get_logger("cdc")

MakeRecord = Callable[[Insert, TransactionOrigin, int, int, int], EncodedRecord | None]
"""Makes the record of a row: its origin, LSN, ordinal, and the time in microseconds since 1970. None: it has none.
Raises `DataError`."""

STEP_ROWS = 500
"""Rows of one step. With texts of up to a mebibyte they take as much memory as a fetch does."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What is copied, and where to. `beat`: gives the header of the beat that records carry now, and is called at each
    step."""

    rows: Rows
    snapshot: Snapshot
    snapshot_id: UUID
    tables: Sequence[tuple[Published, MakeRecord]]
    transaction: RecordTransaction
    ends: Ends
    beat: Callable[[], bytes]


class SnapshotCopy:
    """The rows of `tables` as of a snapshot, each by what makes records of its rows. `faults`: the tables with a row
    that has no record; those are left out from that row on and must be stopped (R11)."""

    def __init__(self, copied: Copied, clock: Clock, stopping: Stopping) -> None:
        self._copied = copied
        self._clock = clock
        self._stopping = stopping
        self._left = list(reversed(copied.tables))
        self._table: tuple[Published, MakeRecord, Iterator[Tuple]] | None = None
        self.faults: dict[str, DataError] = {}
        self.count = 0
        point = copied.snapshot.point
        self._origin = TransactionOrigin(
            Lsn(point - 1), copied.rows.taken_at_us, None, snapshot_at=point, snapshot_id=copied.snapshot_id
        )

    @property
    def done(self) -> bool:
        return self._table is None and not self._left

    def wait(self) -> None:
        """There is always more, until it is done."""

    def step(self) -> bool:
        """Copy so many rows. Waits only for room in the producer."""
        self._origin = self._origin._replace(beat=self._copied.beat())
        self._copied.ends.require_growth()
        for _ in range(STEP_ROWS):
            if self._table is None:
                if not self._left:
                    return False
                table, make = self._left.pop()
                self._table = table, make, self._copied.rows.read(table)
            table, make, rows = self._table
            cells = next(rows, None)
            if cells is None or not self._row(table, make, cells):
                self._table = None
                log.info("table copied", table=table.name, rows=self.count)
        return True

    def _row(self, table: Published, make: MakeRecord, cells: Tuple) -> bool:
        """Whether the table goes on."""
        now_us = int(self._clock.now().timestamp() * 1_000_000)
        transaction, ordinal = self._copied.transaction, self.count * ORDINALS_PER_CHANGE
        try:
            row = Insert(table.relation.relation_id, cells)
            record = guard(make, row, self._origin, self._copied.snapshot.point, ordinal, now_us)
            if record is not None:
                transaction.check(record)
        except DataError as error:
            self.faults[table.name] = error
            return False
        self.count += 1
        if record is not None:
            source = TopicPartition(record.topic, record.partition)
            transaction.send(record, partial(self._take_ack, source, record.pos), self._stopping)
        return True

    def _take_ack(self, source: TopicPartition, pos: Pos, offset: int) -> None:
        self._copied.ends.reach(source, offset, pos)
