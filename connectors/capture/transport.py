"""The replication connection: bytes of the WAL in, acknowledgements out.

Owns the streaming replication protocol over libpq (PostgreSQL documentation, "Streaming Replication Protocol"):
CREATE_REPLICATION_SLOT, START_REPLICATION, the frames inside COPY BOTH, and status updates
that go out on time (R2); and reading the rows of an exported snapshot. Non-blocking: `receive` gives what has arrived,
`wait` waits for more. One thread only. Refuses to know what the bytes mean (`pgoutput.py`) and what may be acknowledged
(`tracker.py`).
"""

from __future__ import annotations

import select
import struct
from collections.abc import Iterator
from typing import LiteralString

import psycopg
from psycopg import pq, sql

from connectors.capture.pgoutput import POSTGRES_EPOCH_US, Tuple
from connectors.capture.ports import Data, Keepalive, Meanwhile, Snapshot
from connectors.capture.publication import Published
from connectors.capture.store import EPOCH
from connectors.postgres import lsn
from connectors.postgres.connections import Connection, Session, connect
from connectors.postgres.errors import translate
from runtime.clock import Clock
from runtime.errors import DependencyUnavailable, Halted
from runtime.settings import PostgresSettings

WRITE_S_MAX = 5.0
"""Longest time that a server takes nothing before it counts as frozen."""
STATUS_EVERY_S = 10.0
"""We speak at least this often, unasked; more often when the server's patience is shorter (R2)."""
RECEIVE_MESSAGES_MAX = 500
"""Messages handed over at once: some 10 ms of encoding, after which the caller looks at its other duties."""
CREATE_WAIT_S = 0.2
"""Time between two looks whether a slot has been made: it takes as long as the longest transaction that runs."""

_XLOG = struct.Struct(">QQQ")
_KEEPALIVE = struct.Struct(">QQB")
_STATUS = struct.Struct(">cQQQqB")


FETCH_ROWS = 500
"""Rows fetched at once. With texts of up to a mebibyte that is the memory that a copy needs."""
END_S_MAX = 30.0
"""Limit for ending a stream in order: the server finishes the transaction that it is sending."""


class PostgresWal:
    """The server, as `ports.Wal` wants it."""

    def __init__(self, settings: PostgresSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    def open(self) -> Transport:
        return Transport(self._settings, self._clock)

    def rows(self, snapshot: Snapshot) -> SnapshotRows:
        return SnapshotRows(self._settings, snapshot.name)


class Transport(Session):
    """One replication connection."""

    reading = "read wal_sender_timeout"

    def __init__(self, settings: PostgresSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        super().__init__(_replicate(settings))
        self._pgconn = self._connection.pgconn
        (sender_timeout_ms,) = self._row("select setting::bigint from pg_settings where name = 'wal_sender_timeout'")
        self.sender_timeout_s = float(sender_timeout_ms) / 1000
        self._status_every_s = min(STATUS_EVERY_S, self.sender_timeout_s / 2 or STATUS_EVERY_S)
        self._status_at = 0.0
        self._received = 0
        self._flushed = 0
        self._streaming = False

    # --- commands ---------------------------------------------------------------------------------------------------

    @property
    def backend_pid(self) -> int:
        return self._pgconn.backend_pid

    def create_slot(self, name: str, meanwhile: Meanwhile) -> int:
        """Returns where its stream starts. Waits for every transaction that is running now, and calls `meanwhile`
        several times a second, which may raise."""
        return self._create(name, "LOGICAL pgoutput (SNAPSHOT 'nothing')", meanwhile).point

    def export_snapshot(self, name: str, meanwhile: Meanwhile) -> Snapshot:
        """Make a temporary slot `name`, which goes with this connection: so Postgres gives a snapshot together
        with its exact position in the WAL. Waits as `create_slot` does."""
        return self._create(name, "TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')", meanwhile)

    def _create(self, name: str, kind: LiteralString, meanwhile: Meanwhile) -> Snapshot:
        pgconn = self._pgconn
        with translate(f"create the slot {name}"):
            command = sql.SQL("CREATE_REPLICATION_SLOT {} {}").format(sql.Identifier(name), sql.SQL(kind))
            pgconn.send_query(command.as_bytes(self._connection))
            while pgconn.flush() == 1 or pgconn.is_busy():
                select.select([pgconn.socket], [], [], CREATE_WAIT_S)
                pgconn.consume_input()
                meanwhile()
            result = pgconn.get_result()
            assert result is not None
            if result.status != pq.ExecStatus.TUPLES_OK:
                raise psycopg.errors.error_from_result(result)
            while pgconn.get_result() is not None:
                pass
        point, snapshot = result.get_value(0, 1), result.get_value(0, 2)
        assert point is not None
        return Snapshot(lsn.parse(point.decode()), (snapshot or b"").decode())

    def start(self, slot: str, publication: str) -> None:
        """START_REPLICATION. The server sends what was committed since the position that it has as confirmed."""
        if self._streaming:
            self._end_stream()
        command = sql.SQL(
            "START_REPLICATION SLOT {} LOGICAL 0/0 (proto_version '1', messages 'true', publication_names {})"
        ).format(sql.Identifier(slot), sql.Literal(_quote(publication)))
        with translate(f"start replication from slot {slot}"):
            self._connection.execute(command)
        self._pgconn.nonblocking = 1
        self._streaming = True
        self.send_status()

    def _end_stream(self) -> None:
        """End COPY BOTH from our side, and take what the server sends until it has ended it from its own: then it has
        let go of the slot. The next stream needs a connection of its own: a walsender remembers that it is done."""
        until_s = self._clock.monotonic() + END_S_MAX
        with translate("end the stream"):
            while self._pgconn.put_copy_end() == 0:
                self._wait_writable()
            while self._pgconn.flush() == 1:
                self._wait_writable()
            while (length := self._pgconn.get_copy_data(1)[0]) >= 0:
                if length == 0:
                    self.wait(CREATE_WAIT_S)
                    self._pgconn.consume_input()
                if self._clock.monotonic() > until_s:
                    raise DependencyUnavailable("Postgres does not end the stream")
            self._pgconn.nonblocking = 0
            while (result := self._pgconn.get_result()) is not None:
                if result.status == pq.ExecStatus.FATAL_ERROR:
                    raise psycopg.errors.error_from_result(result, encoding="utf-8")
        self._connection.close()
        self._connection = _replicate(self._settings)
        self._pgconn = self._connection.pgconn
        self._streaming = False
        self._received = self._flushed = 0

    # --- the stream -------------------------------------------------------------------------------------------------

    def receive(self, messages_max: int = RECEIVE_MESSAGES_MAX) -> list[Data | Keepalive]:
        """What has arrived, possibly nothing. Answers the server's questions on the way. Raises
        `DependencyUnavailable` when the stream has ended."""
        with translate("read the WAL"):
            messages: list[Data | Keepalive] = []
            may_read = True
            while len(messages) < messages_max:
                length, frame = self._pgconn.get_copy_data(1)
                if length > 0:
                    messages.append(self._frame(bytes(frame)))
                elif length == 0 and may_read:
                    # Only now: what libpq holds is taken out first, or it would grow without end.
                    self._pgconn.consume_input()
                    may_read = False
                elif length == 0:
                    break
                else:
                    self._raise_end()
            return messages

    def wait(self, timeout_s: float) -> None:
        """Wait until something arrives, for at most `timeout_s`."""
        select.select([self._pgconn.socket], [], [], timeout_s)

    def keep_alive(self) -> None:
        """Call often: sends the status when it is due."""
        if self._clock.monotonic() >= self._status_at:
            self.send_status()

    def acknowledge(self, flushed: int) -> None:
        """Everything committed before `flushed` is durable elsewhere: the server may forget it. Never moves back."""
        if flushed > self._flushed:
            self._flushed = flushed
            self.send_status()

    def send_status(self, *, reply: bool = False) -> None:
        now_us = int(self._clock.now().timestamp() * 1_000_000) - POSTGRES_EPOCH_US
        received = max(self._received, self._flushed)
        message = _STATUS.pack(b"r", received, self._flushed, self._flushed, now_us, reply)
        self._status_at = self._clock.monotonic() + self._status_every_s
        with translate("acknowledge"):
            while self._pgconn.put_copy_data(message) == 0:
                self._wait_writable()
            while self._pgconn.flush() == 1:
                self._wait_writable()

    def _wait_writable(self) -> None:
        """The server does not read. It may itself wait for us to read, so take in what is there."""
        readable, writable, _ = select.select([self._pgconn.socket], [self._pgconn.socket], [], WRITE_S_MAX)
        if readable:
            self._pgconn.consume_input()
        if not readable and not writable:
            raise DependencyUnavailable("Postgres neither reads nor writes", hint="is its machine frozen?")

    def _frame(self, frame: bytes) -> Data | Keepalive:
        kind = frame[0]
        if kind == 0x77:  # w
            start, end, _sent_at = _XLOG.unpack_from(frame, 1)
            self._received = max(self._received, start, end)
            return Data(start, frame[1 + _XLOG.size :])
        if kind == 0x6B:  # k
            end, sent_at, wants_reply = _KEEPALIVE.unpack_from(frame, 1)
            self._received = max(self._received, end)
            if wants_reply:
                self.send_status()
            return Keepalive(end, sent_at + POSTGRES_EPOCH_US)
        raise Halted(f"the server sent a frame of kind {frame[:1]!r}", hint="is it a Postgres that we know?")

    def _raise_end(self) -> None:
        """COPY is over: the server says why."""
        result = self._pgconn.get_result()
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result, encoding="utf-8")
        raise DependencyUnavailable("Postgres ended the stream", hint="it is probably shutting down")


def _replicate(settings: PostgresSettings) -> Connection:
    more = {"replication": "database", "prepare_threshold": None}
    return connect(settings, "wal", "cdc", name="adriatic-cdc", autocommit=True, **more)


def _quote(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


class SnapshotRows(Session):
    """A transaction that sees exactly the snapshot."""

    reading = "begin the snapshot"

    def __init__(self, settings: PostgresSettings, snapshot: str) -> None:
        super().__init__(connect(settings, "wal", "cdc", name="adriatic-cdc-snapshot", autocommit=True))
        with translate("begin the snapshot"):
            self._connection.execute("begin isolation level repeatable read read only")
            self._connection.execute(sql.SQL("set transaction snapshot {}").format(sql.Literal(snapshot)))
            (taken_at,) = self._row("select now()")
            self.taken_at_us = int((taken_at - EPOCH).total_seconds() * 1_000_000)

    def read(self, table: Published) -> Iterator[Tuple]:
        """Every row, each column as the text that the WAL would have."""
        relation = table.relation
        query = sql.SQL("declare copied no scroll cursor for select {} from {}{}{}{}").format(
            sql.SQL(", ").join(sql.Identifier(column.name) for column in relation.columns),
            sql.SQL("" if table.is_partitioned else "only "),
            sql.Identifier(relation.schema, relation.table),
            sql.SQL(f" where {table.row_filter}" if table.row_filter else ""),
            _order(table),
        )
        with translate(f"copy {table.name}"):
            self._connection.execute("close all")  # of a table that was left in the middle
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


def _order(table: Published) -> sql.Composable:
    keys = [sql.Identifier(column.name) for column in table.relation.columns if column.is_key]
    return sql.SQL(" order by {}").format(sql.SQL(", ").join(keys)) if keys else sql.SQL("")
