"""The first copy of every published table, as one Kafka transaction (R5).

Owns reading rows in an exported snapshot, in the order of the primary key, and their records (op `r`). Refuses to know
slots and progress: `source.py` calls it when a snapshot is wanted.

Why it neither loses nor doubles, wherever the process ends:
- The slot is made first, and what is committed after that is in its stream, whenever that is read.
- The snapshot is taken later, at a position S that Postgres gives with it: it shows exactly what committed before S.
- All its records are in one transaction, with S in the header `adriatic.snapshot`. Ended in the middle, it is aborted
  (the next producer of the same name does that first), and readers of committed records never see it. The next attempt
  takes a new snapshot at a later S.
- Streaming starts afterwards, from the slot, and leaves out changes of tables that committed before S. Events of the
  outbox are in no table, so they are never left out.
- Ended between the transaction's commit and the note of it in ops.cdc_progress, the last records of the topics show
  that a snapshot later than the one wanted is there.

Its records have the position just before S, so that every streamed one is after them, even a commit that starts at S.
One transaction lasts at most as long as `connectors.kafka.producer` lets it, some ten million rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
from psycopg import pq, sql

from connectors.capture.encoder import ORDINALS_PER_CHANGE, TableEncoder, TransactionOrigin
from connectors.capture.pgoutput import Insert, Tuple
from connectors.capture.publication import Published
from connectors.capture.store import EPOCH
from connectors.capture.transport import Snapshot
from connectors.kafka.producer import TransactionalProducer
from connectors.postgres.connections import Session, connect
from connectors.postgres.errors import translate
from connectors.postgres.lsn import Lsn
from runtime.clock import Clock
from runtime.errors import DataError, DependencyUnavailable
from runtime.logs import get_logger
from runtime.settings import PostgresSettings

log = get_logger("cdc")

FETCH_ROWS = 500
"""Rows fetched at once. With texts of up to a mebibyte that is the memory that a copy needs."""


def copy(
    settings: PostgresSettings,
    snapshot: Snapshot,
    tables: list[tuple[Published, TableEncoder]],
    producer: TransactionalProducer,
    clock: Clock,
    stopping: Callable[[], bool],
) -> tuple[int, int, dict[str, DataError]]:
    """Copy `tables` as of `snapshot`. Returns how many rows, when the snapshot was taken (microseconds since 1970),
    and the tables with a row that has no record: those are left out from that row on and must be stopped (R11).

    Raises `DependencyUnavailable`, also when asked to stop: nothing is visible then.
    """
    faults: dict[str, DataError] = {}
    with _SnapshotReader(settings, snapshot.name) as reader:
        origin = TransactionOrigin(Lsn(snapshot.point - 1), reader.taken_at_us, None, snapshot_at=snapshot.point)
        producer.begin()
        rows = 0
        try:
            for table, encoder in tables:
                for cells in reader.rows(table):
                    if rows % FETCH_ROWS == 0 and stopping():
                        raise DependencyUnavailable("asked to stop in the middle of the snapshot")
                    now_us = int(clock.now().timestamp() * 1_000_000)
                    try:
                        row = Insert(table.relation.relation_id, cells)
                        ordinal = rows * ORDINALS_PER_CHANGE
                        (record,) = encoder.records(row, origin, snapshot.point, ordinal, now_us)
                        producer.check(record)
                    except DataError as error:
                        faults[table.name] = error
                        break
                    producer.send(record, stopping)
                    rows += 1
                log.info("table copied", table=table.name, rows=rows)
            producer.commit(stopping)
        except BaseException:
            producer.abort()
            raise
        return rows, reader.taken_at_us, faults


class _SnapshotReader(Session):
    """A transaction that sees exactly the snapshot."""

    reading = "begin the snapshot"

    def __init__(self, settings: PostgresSettings, snapshot: str) -> None:
        super().__init__(connect(settings, "wal", "cdc", name="adriatic-cdc-snapshot", autocommit=True))
        with translate("begin the snapshot"):
            self._connection.execute("begin isolation level repeatable read read only")
            self._connection.execute(sql.SQL("set transaction snapshot {}").format(sql.Literal(snapshot)))
            (taken_at,) = self._row("select now()")
            self.taken_at_us = int((taken_at - EPOCH).total_seconds() * 1_000_000)

    def rows(self, table: Published) -> Iterator[Tuple]:
        """Every row, each column as the text that the WAL would have."""
        relation = table.relation
        query = sql.SQL("declare copied no scroll cursor for select {} from only {}{}{}").format(
            sql.SQL(", ").join(sql.Identifier(column.name) for column in relation.columns),
            sql.Identifier(relation.schema, relation.table),
            sql.SQL(f" where {table.row_filter}" if table.row_filter else ""),
            _order(table),
        )
        with translate(f"copy {table.name}"):
            self._connection.execute(query)
            while True:
                result = self._connection.pgconn.exec_(b"fetch forward %d from copied" % FETCH_ROWS)
                if result.status != pq.ExecStatus.TUPLES_OK:
                    raise psycopg.errors.error_from_result(result)
                columns = range(result.nfields)
                for row in range(result.ntuples):
                    yield tuple(result.get_value(row, column) for column in columns)
                if result.ntuples < FETCH_ROWS:
                    break
            self._connection.execute("close copied")


def _order(table: Published) -> sql.Composable:
    keys = [sql.Identifier(column.name) for column in table.relation.columns if column.is_key]
    return sql.SQL(" order by {}").format(sql.SQL(", ").join(keys)) if keys else sql.SQL("")
