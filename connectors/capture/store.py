"""The ordinary connection of change capture: its account in `ops.*`, the heartbeat, and the catalogue.

Owns the SQL, and the lock that lets one capture run at a time. Everything here is one short
statement or transaction: the caller reads the WAL in the same thread, so each is bounded. Refuses to decide
(`checks.py`, `identity.py`) and to read rows of tables (`transport.py`).
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from psycopg import errors

from connectors.capture import checks
from connectors.capture.checks import Progress, Server
from connectors.capture.outbox import OutboxEvent
from connectors.capture.pgoutput import Message
from connectors.capture.ports import FilledTopic, Written
from connectors.capture.publication import Published, read_published
from connectors.postgres.beats import Beat
from connectors.postgres.connections import Connection, Session, connect
from connectors.postgres.errors import DETAIL_CHARS_MAX, translate
from connectors.postgres.lsn import parse, show
from connectors.postgres.wal import SlotState, read_position, read_slot
from runtime.errors import AdriaticError, DependencyUnavailable
from runtime.logs import get_logger
from runtime.settings import PostgresSettings

log = get_logger("cdc")

HEARTBEAT_PREFIX = "heartbeat"
HEARTBEAT_DIGITS_MAX = 18
"""Microseconds since 1970 have 16, until the year 2286."""
FLOW = "cdc"
"""Name of change capture in ops.dlq."""
NO_PARTITION = -1
"""A dead letter of change capture never was in a topic: its `record_offset` is its id in the outbox."""
DEAD_LETTER_BYTES_MAX = 8 * 1_048_576
"""Written in far less than a statement may take."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_READ_SERVER = """
  select
    current_setting('wal_level'), (select system_identifier::text from pg_control_system()),
    current_database(), ops.publication_mark(%s)
"""
_READ_MARK = "select ops.publication_mark(%s)"
_KEEP_MARK = """
  update ops.cdc_progress
  set publication = %s
  where slot = %s and publication is null
"""
_READ_PROGRESS = """
  select system_id, lsn::text, committed_at, snapshot_after::text, snapshot_lsn::text, publication
  from ops.cdc_progress
  where slot = %s
"""

_RECORD_SNAPSHOT = """
  insert into ops.cdc_progress as p (
    slot, system_id, lsn, committed_at, snapshot_after, snapshot_lsn, publication
  )
  values (%s, %s, %s, %s, %s, %s, %s)
  on conflict (slot)
  do update set snapshot_lsn = excluded.snapshot_lsn, updated_at = clock_timestamp()
"""

_ADVANCE_PROGRESS = """
  update ops.cdc_progress
  set lsn = %s, committed_at = coalesce(%s, committed_at), updated_at = clock_timestamp()
  where slot = %s and lsn <= %s and snapshot_lsn is not null
"""

_EMIT_HEARTBEAT = """
  select pg_logical_emit_message(
    false, %s, %s || (extract(epoch from clock_timestamp()) * 1000000)::bigint::text
  )
"""

_READ_AT = """
  update ops.cdc_progress
  set read_at = %s
  where slot = %s
"""

_WANT_SNAPSHOT = """
  insert into ops.cdc_snapshots (slot, snapshot_id)
  values (%s, %s)
  on conflict (slot)
  do update set slot = excluded.slot
  returning snapshot_id
"""
_WANT_ANOTHER_SNAPSHOT = """
  insert into ops.cdc_snapshots (slot, snapshot_id)
  values (%s, %s)
  on conflict (slot)
  do update set snapshot_id = excluded.snapshot_id, wanted_at = clock_timestamp()
"""

_BEGIN_SESSION = """
  insert into ops.cdc_sessions (session, slot, beat, started_lsn, process)
  values (%s, %s, %s, %s, %s)
"""
_END_SESSION = """
  update ops.cdc_sessions
  set ended = true
  where session = %s
"""
_READ_PREDECESSOR = """
  select process
  from ops.cdc_sessions
  where slot = %s and not ended
  order by started_lsn desc
  limit 1
"""
_WRITE_BEAT = """
  update ops.cdc_sessions
  set beat = greatest(beat, %s)
  where session = %s
"""
_READ_BEATS = """
  select session, beat
  from ops.cdc_sessions
  where session = any (%s)
"""
_READ_FIRST_SESSION = """
  select min(started_lsn)::text
  from ops.cdc_sessions
  where slot = %s
"""

_READ_TOPICS = """
  select topic, topic_id, partitions, ends, may_differ, lasts
  from ops.cdc_topics
  where slot = %s
"""
_RECORD_TOPIC = """
  insert into ops.cdc_topics (slot, topic, topic_id, partitions, ends, lasts)
  values (%s, %s, %s, %s, %s, %s)
  on conflict (slot, topic)
  do update set
    topic_id = excluded.topic_id,
    partitions = excluded.partitions,
    ends = excluded.ends,
    lasts = excluded.lasts,
    may_differ = false
"""
_WRITE_ENDS = """
  update ops.cdc_topics t
  set ends = moved.ends::bigint [], lasts = moved.lasts::text []
  from unnest(%s::text [], %s::text [], %s::text []) as moved (topic, ends, lasts)
  where t.slot = %s and t.topic = moved.topic
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
        self._nonce = f"{secrets.token_hex(8)} "
        """Nobody else's heartbeat begins with it."""
        self._settings = settings
        self._lock: Connection | None = None
        self._publication: tuple[str, str | None] = "", None
        """Its name, and the mark that it had when this session looked first."""
        super().__init__(connect(settings, "capture", "cdc", name="adriatic-cdc-state", autocommit=True))

    def lock(self) -> None:
        """Be the only capture of this database until `close`. Raises `DependencyUnavailable`.

        A lock on a table, because anybody may take an advisory one. It is held by a transaction that does nothing else,
        and has neither a snapshot nor an id that would keep the vacuum from its work."""
        lock = connect(self._settings, "capture", "cdc", name="adriatic-cdc-lock")
        try:
            with translate("be the only capture"):
                lock.execute("lock table ops.cdc_lock in exclusive mode nowait")
        except AdriaticError as error:
            lock.close()
            if not isinstance(error.__cause__, errors.LockNotAvailable):
                raise
            raise DependencyUnavailable(
                f"another capture of slot {self._slot} is running", hint="this one takes over when it ends"
            ) from None
        self._lock = lock

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()
        super().close()

    # --- the catalogue ----------------------------------------------------------------------------------------------

    def server(self, publication: str) -> Server:
        wal_level, system_id, database, mark = self._row(_READ_SERVER, publication)
        self._publication = publication, mark
        return Server(wal_level, system_id, database, mark)

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
        for system_id, lsn, at, after, snapshot, publication in self._rows(_READ_PROGRESS, self._slot):
            at_us = (at - EPOCH) // timedelta(microseconds=1)
            return Progress(system_id, parse(lsn), at_us, parse(after), snapshot and parse(snapshot), publication)
        return None

    def snapshot_done(self, progress: Progress, snapshot_lsn: int, committed_at_us: int) -> None:
        """The snapshot is in Kafka. For a first one this is where readers begin to see progress."""
        before, after = show(progress.lsn), show(progress.snapshot_after)
        at = self.time(committed_at_us)
        _, mark = self._publication
        self._run(_RECORD_SNAPSHOT, self._slot, progress.system_id, before, at, after, show(snapshot_lsn), mark)

    def write(self, written: Written) -> None:
        """Write a beat: progress that moved, the ends of what was filled, and a heartbeat into the WAL. Durable when
        this returns."""
        confirmed, connection = written.confirmed, self._connection
        with translate("write progress"), self._connection.transaction():
            if self._lock is not None:
                self._lock.execute("select 1")  # whoever lost the lock writes nothing more
            self._require_publication()
            moved = []
            if confirmed is not None:
                # The time of the newest position, not the latest ever seen: a clock may have been wrong for a while.
                at = self.time(confirmed.committed_at_us) if confirmed.committed_at_us else None
                lsn = show(confirmed.lsn)
                moved.append(connection.execute(_ADVANCE_PROGRESS, [lsn, at, self._slot, lsn]))
            if written.beat is not None:
                moved.append(connection.execute(_WRITE_BEAT, [written.beat.number, written.beat.session]))
            if any(cursor.rowcount != 1 for cursor in moved):
                raise DependencyUnavailable("change capture was reset", hint="it starts again by itself")
            if written.ends:
                ends = [f"{{{','.join(map(str, each))}}}" for each in written.ends.values()]
                lasts = [_array(written.lasts.get(topic, ())) for topic in written.ends]
                connection.execute(_WRITE_ENDS, [list(written.ends), ends, lasts, self._slot])
            if written.heartbeat:
                if written.read_at_us:
                    connection.execute(_READ_AT, [self.time(written.read_at_us), self._slot])
                connection.execute(_EMIT_HEARTBEAT, [HEARTBEAT_PREFIX, self._nonce])

    def _require_publication(self) -> None:
        name, mark = self._publication
        row = self._connection.execute(_READ_MARK, [name]).fetchone()
        checks.require_publication(mark, row[0] if row else None)

    def own_heartbeat(self, message: Message) -> int | None:
        """When this session wrote it, by the source's clock, in microseconds since 1970; None: it did not."""
        if message.prefix != HEARTBEAT_PREFIX or not message.content.startswith(self._nonce.encode()):
            return None
        number = message.content[len(self._nonce) :]
        return int(number) if number.isdigit() and len(number) <= HEARTBEAT_DIGITS_MAX else None

    def wal_end(self) -> int:
        with translate("read the catalogue"):
            return parse(read_position(self._connection))

    # --- which snapshot, which sessions, which topics ---------------------------------------------------------------

    def want_snapshot(self, snapshot_id: UUID) -> UUID:
        """The id of the snapshot that is wanted, or was taken: that of whoever asked first, else this one."""
        found: UUID = self._row(_WANT_SNAPSHOT, self._slot, snapshot_id)[0]
        return found

    def renew_snapshot(self, snapshot_id: UUID) -> None:
        """Want another snapshot, whatever was wanted or taken before."""
        self._run(_WANT_ANOTHER_SNAPSHOT, self._slot, snapshot_id)

    def begin_session(self, beat: Beat, process: str) -> None:
        """Write down a session and its first beat, before it produces anything."""
        with translate("begin a session"):
            now = read_position(self._connection)
        self._run(_KEEP_MARK, self._publication[1], self._slot)
        self._run(_BEGIN_SESSION, beat.session, self._slot, beat.number, now, process)

    def end_session(self, session: UUID) -> None:
        """Nothing of this session comes into Kafka any more."""
        self._run(_END_SESSION, session)

    def predecessor(self) -> str | None:
        """The process of the newest session that has not ended; None: there is none."""
        return next((process for (process,) in self._rows(_READ_PREDECESSOR, self._slot)), None)

    def read_beats(self, sessions: Collection[UUID]) -> dict[UUID, int]:
        """The highest beat of each of these sessions that the database knows."""
        return dict(self._rows(_READ_BEATS, list(sessions)))

    def first_session_at(self) -> int | None:
        """The end of the WAL when the first session of all began; None before there was one."""
        (found,) = self._row(_READ_FIRST_SESSION, self._slot)
        return found and parse(found)

    def read_topics(self) -> dict[str, FilledTopic]:
        return {
            name: FilledTopic(topic_id, partitions, tuple(ends), may_differ, tuple(lasts))
            for name, topic_id, partitions, ends, may_differ, lasts in self._rows(_READ_TOPICS, self._slot)
        }

    def fill_topics(self, topics: Mapping[str, FilledTopic]) -> None:
        """Write down topics that are new to us, or differ and may."""
        with translate(self.writing), self._connection.transaction():
            for name, topic in topics.items():
                found = [self._slot, name, topic.topic_id, topic.partitions, list(topic.ends), list(topic.lasts)]
                self._connection.execute(_RECORD_TOPIC, found)

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

    def dead_letter(self, event: OutboxEvent | None, lsn: int, error: AdriaticError) -> None:
        """Keep an event that cannot be encoded, under its id. The second time it is there already. What is too
        large for a short statement is kept without its content, which the outbox has."""
        topic, number, tenant_id, content = "", lsn, None, b""
        if event is not None:
            topic, number, tenant_id, content = event.topic, event.event_id, event.tenant_id, event.content()
            if len(content) > DEAD_LETTER_BYTES_MAX:
                content = b""
        self._run(_INSERT_DEAD_LETTER, FLOW, topic, NO_PARTITION, number, tenant_id, *_tell(error), content)

    def tend_outbox(self) -> None:
        """Make the outbox's days to come, and drop those that everybody has passed."""
        made, dropped = self._row("select * from ops.tend_outbox()")
        if made or dropped:
            log.info("outbox tended", made=made, dropped=dropped)

    # --- starting over ----------------------------------------------------------------------------------------------

    def reset(self, *, keep_slot: bool) -> None:
        """All tables are to be copied again, by a snapshot with an id of its own, into whatever the topics are now.
        With the slot kept, events and changes go on where they were."""
        with translate("reset"), self._connection.transaction():
            self._connection.execute("delete from ops.cdc_tables where slot = %s", [self._slot])
            self._connection.execute(_WANT_ANOTHER_SNAPSHOT, [self._slot, uuid4()])
            # Keys stay in their partitions, if the topics are the same ones.
            self._connection.execute(
                "update ops.cdc_topics set may_differ = true, ends = '{}', lasts = '{}' where slot = %s", [self._slot]
            )
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


class PostgresState:
    """Where the state is, as `ports.StateDatabase` wants it."""

    def __init__(self, settings: PostgresSettings, slot: str) -> None:
        self._settings = settings
        self._slot = slot

    @contextmanager
    def open(self) -> Iterator[Store]:
        with Store(self._settings, self._slot) as store:
            yield store


def _array(texts: Sequence[str]) -> str:
    """An array of texts that need no escape, as Postgres writes it."""
    return "{" + ",".join(f'"{text}"' for text in texts) + "}"


def _tell(error: AdriaticError) -> tuple[str, str, str]:
    """Why, as a row has it."""
    return error.code, error.detail[:DETAIL_CHARS_MAX], error.hint
