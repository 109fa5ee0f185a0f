"""The ordinary connection of change capture: its account in `ops.*`, the heartbeat, and the catalogue.

Owns the SQL, and the advisory lock that lets one capture of a slot run at a time. Everything here is one short
statement or transaction: the caller reads the WAL in the same thread, so each is bounded. Refuses to decide
(`checks.py`) and to read rows of tables (`snapshot.py`).
"""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.capture.checks import Progress, Server
from connectors.capture.publication import Published, read_published
from connectors.capture.tracker import Confirmed
from connectors.postgres.connections import Session, connect
from connectors.postgres.errors import DETAIL_CHARS_MAX, translate
from connectors.postgres.lsn import parse, show
from connectors.postgres.wal import SlotState, read_position, read_slot
from runtime.errors import AdriaticError, DependencyUnavailable
from runtime.settings import PostgresSettings

LOCK_CLASS = 0x0AD21A
"""First half of the advisory lock's key; the second is a hash of the slot's name."""
HEARTBEAT_PREFIX = "heartbeat"
FLOW = "cdc"
"""Name of change capture in ops.dlq."""
NO_PARTITION = -1
"""A dead letter of change capture never was in a topic: its `record_offset` is its message's position in the WAL."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_READ_SERVER = """
  select
    current_setting('wal_level'), (select system_identifier::text from pg_control_system()),
    current_database()
"""
_READ_PROGRESS = """
  select system_id, lsn::text, committed_at, snapshot_after::text, snapshot_lsn::text
  from ops.cdc_progress
  where slot = %s
"""

_RECORD_SNAPSHOT = """
  insert into ops.cdc_progress as p (slot, system_id, lsn, committed_at, snapshot_after, snapshot_lsn)
  values (%s, %s, %s, %s, %s, %s)
  on conflict (slot)
  do update set snapshot_lsn = excluded.snapshot_lsn, updated_at = clock_timestamp()
"""

_ADVANCE_PROGRESS = """
  update ops.cdc_progress
  set lsn = %s, committed_at = greatest(committed_at, %s), updated_at = clock_timestamp()
  where slot = %s and lsn <= %s and snapshot_lsn is not null
"""

_EMIT_HEARTBEAT = """
  select pg_logical_emit_message(false, %s, (extract(epoch from clock_timestamp()) * 1000000)::bigint::text)
"""

_READ_TABLE_STATES = """
  select table_name, state, code, detail, hint, since
  from ops.cdc_tables
  where slot = %s
  order by state <> 'stopped', table_name
"""

_RECORD_TABLE_STATE = """
  insert into ops.cdc_tables as t (slot, table_name, state, code, detail, hint)
  values (%s, %s, %s, %s, %s, %s)
  on conflict (slot, table_name)
  do update set
    state = excluded.state,
    code = excluded.code,
    detail = excluded.detail,
    hint = excluded.hint,
    since = clock_timestamp()
  where t.state <> 'stopped' and (t.state, t.code) is distinct from (excluded.state, excluded.code)
"""

_INSERT_DEAD_LETTER = """
  insert into ops.dlq (flow, topic, partition, record_offset, tenant_id, stage, code, detail, hint, value)
  values (%s, %s, %s, %s, %s, 'encode', %s, %s, %s, %s)
  on conflict do nothing
"""


_TERMINATE_READER = """
  select pg_terminate_backend(active_pid)
  from pg_replication_slots
  where slot_name = %s and active_pid is not null
"""


class Store(Session):
    """One session with the database, as adriatic_cdc. Close it, or use it as a context manager."""

    reading, writing = "read the catalogue", "write to ops"

    def __init__(self, settings: PostgresSettings, slot: str) -> None:
        self._slot = slot
        super().__init__(connect(settings, "capture", "cdc", name="adriatic-cdc-state", autocommit=True))

    def lock(self) -> None:
        """Be the only capture of this slot until this connection ends. Raises `DependencyUnavailable`."""
        (locked,) = self._row("select pg_try_advisory_lock(%s, %s)", LOCK_CLASS, _hash(self._slot))
        if not locked:
            raise DependencyUnavailable(
                f"another capture of slot {self._slot} is running", hint="this one takes over when it ends"
            )

    # --- the catalogue ----------------------------------------------------------------------------------------------

    def server(self, publication: str) -> Server:
        wal_level, system_id, database = self._row(_READ_SERVER)
        with translate("read the catalogue"):
            exists = read_published(self._connection, publication) is not None
        return Server(wal_level, system_id, database, exists)

    def slot(self) -> SlotState | None:
        with translate("read the catalogue"):
            return read_slot(self._connection, self._slot)

    def newest_xid(self) -> int:
        """The whole id of a transaction of now: one that has not ended, or is next."""
        xid: int = self._row("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint")[0]
        return xid

    def find_blocking(self, pid: int) -> list[int]:
        """Processes of Postgres whose transactions the process `pid` waits for."""
        return list(self._row("select pg_blocking_pids(%s)", pid)[0])

    def read_published(self, publication: str) -> list[Published]:
        """The publication's tables."""
        with translate("read the catalogue"):
            return read_published(self._connection, publication) or []

    # --- our account ------------------------------------------------------------------------------------------------

    def progress(self) -> Progress | None:
        for system_id, lsn, at, after, snapshot in self._rows(_READ_PROGRESS, self._slot):
            at_us = (at - EPOCH) // timedelta(microseconds=1)
            return Progress(system_id, parse(lsn), at_us, parse(after), snapshot and parse(snapshot))
        return None

    def snapshot_done(self, progress: Progress, snapshot_lsn: int, committed_at_us: int) -> None:
        """The snapshot is in Kafka. For a first one this is where readers begin to see progress."""
        before, after = show(progress.lsn), show(progress.snapshot_after)
        at = self.time(committed_at_us)
        self._run(_RECORD_SNAPSHOT, self._slot, progress.system_id, before, at, after, show(snapshot_lsn))

    def beat(self, confirmed: Confirmed | None, *, heartbeat: bool, read_at_us: int = 0) -> None:
        """Write down progress that moved, and a heartbeat into the WAL. Durable when this returns. `read_at_us`: the
        newest commit or heartbeat that was read, whether or not it is in Kafka; written with a heartbeat."""
        with translate("write progress"), self._connection.transaction():
            if confirmed is not None:
                written = self._connection.execute(
                    _ADVANCE_PROGRESS,
                    [show(confirmed.lsn), self.time(confirmed.committed_at_us), self._slot, show(confirmed.lsn)],
                )
                if written.rowcount != 1:
                    raise DependencyUnavailable("change capture was reset", hint="it starts again by itself")
            if heartbeat:
                if read_at_us:
                    self._connection.execute(
                        "update ops.cdc_progress set read_at = greatest(read_at, %s) where slot = %s",
                        [self.time(read_at_us), self._slot],
                    )
                self._connection.execute(_EMIT_HEARTBEAT, [HEARTBEAT_PREFIX])

    def read_stopped(self) -> dict[str, str]:
        """Tables that are stopped, and why."""
        return dict(
            self._rows("select table_name, code from ops.cdc_tables where slot = %s and state = 'stopped'", self._slot)
        )

    def table_states(self) -> list[dict[str, Any]]:
        """List for people every table that was ever captured, stopped ones first."""
        names = ("table", "state", "code", "detail", "hint")
        return [
            dict(zip(names, row, strict=True)) | {"since": since.isoformat()}
            for *row, since in self._rows(_READ_TABLE_STATES, self._slot)
        ]

    @staticmethod
    def time(us: int) -> datetime:
        """Convert microseconds since 1970."""
        return EPOCH + timedelta(microseconds=us)

    def table_state(self, table: str, state: str, error: AdriaticError | None = None) -> None:
        """Show what a table is doing. A stopped table stays so until `reset`."""
        self._run(_RECORD_TABLE_STATE, self._slot, table, state, *(_tell(error) if error else ("", "", "")))

    def dead_letter(self, topic: str, lsn: int, tenant_id: str | None, error: AdriaticError, content: bytes) -> None:
        """Keep an outbox message that cannot be encoded. The second time it is there already."""
        self._run(_INSERT_DEAD_LETTER, FLOW, topic, NO_PARTITION, lsn, tenant_id, *_tell(error), content)

    # --- starting over ----------------------------------------------------------------------------------------------

    def reset(self, *, keep_slot: bool) -> None:
        """All tables are to be copied again. With the slot kept, events and changes go on where they were."""
        with translate("reset"), self._connection.transaction():
            self._connection.execute("delete from ops.cdc_tables where slot = %s", [self._slot])
            if keep_slot:
                # A snapshot that another process ends from here on was asked for already: it counts as the new one.
                self._connection.execute(
                    "update ops.cdc_progress set snapshot_after = %s, snapshot_lsn = null where slot = %s",
                    [read_position(self._connection), self._slot],
                )
            else:
                self._connection.execute("delete from ops.cdc_progress where slot = %s", [self._slot])

    def terminate_reader(self) -> None:
        """End whoever reads the slot; a capture that runs connects again and finds what `reset` left."""
        self._run(_TERMINATE_READER, self._slot)

    def drop_slot(self) -> None:
        self._run(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = %s", self._slot
        )


def _hash(name: str) -> int:
    """Stable, and within Postgres' signed integer."""
    return zlib.crc32(name.encode()) - 2**31


def _tell(error: AdriaticError) -> tuple[str, str, str]:
    """Why, as a row has it."""
    return error.code, error.detail[:DETAIL_CHARS_MAX], error.hint
