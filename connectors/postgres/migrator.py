"""Applying migrations: each file once, in a transaction of its own, by one process at a time.

Owns the order of things on the owner's connection, the record in `ops.migrations` (made by the first file) and what an
error in a file means. Refuses to know what the files contain and what is pending: `schemas/migrations.py` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import psycopg

from connectors.postgres.connections import Connection
from connectors.postgres.errors import first_line, map_error
from runtime.errors import DependencyUnavailable, Halted, Unprepared
from schemas.migrations import LOCK_ID, Applied, Migration, find_pending, line_at

STATEMENT_LOCK_MAX_MS: Final = 10_000
"""How long one statement of a migration may wait for a lock on a table, in milliseconds. A waiting ALTER TABLE blocks
every reader queued behind it, so it must give up long before a client notices an outage."""


def read_applied(connection: Connection) -> tuple[Applied, ...]:
    """What this database has, in order; empty for a new one."""
    if connection.execute("select to_regclass('ops.migrations')").fetchone() == (None,):
        return ()
    rows = connection.execute("select number, name, checksum from ops.migrations order by number")
    return tuple(Applied(*row) for row in rows)


def apply(
    connection: Connection, available: Sequence[Migration], wait_s: float, lock_ms: int = STATEMENT_LOCK_MAX_MS
) -> Iterator[Migration]:
    """Bring the database up to `available`; yields each migration after it is committed.

    `connection` is in autocommit mode and belongs to the owner. Waits up to `wait_s` seconds for another migrator.
    Safe to run again, and to interrupt: a file is committed as a whole or not at all.
    """
    lock(connection, wait_s, f"another migration has held the lock for {wait_s:.0f} s")
    try:
        _set_lock_timeout(connection, lock_ms)
        for migration in find_pending(available, read_applied(connection)):
            _apply_one(connection, migration, lock_ms)
            yield migration
    finally:
        if not connection.closed:
            connection.execute("select pg_advisory_unlock(%s)", [LOCK_ID])


def lock(connection: Connection, wait_s: float, held: str) -> None:
    """Take the lock of everything that changes a server, which ends with the connection. Raises
    `DependencyUnavailable`, saying `held`, when somebody else has it for longer than `wait_s`."""
    try:
        _set_lock_timeout(connection, max(1, int(wait_s * 1000)))
        connection.execute("select pg_advisory_lock(%s)", [LOCK_ID])
    except psycopg.errors.LockNotAvailable:
        raise DependencyUnavailable(held, hint="wait for it to end, then run this again") from None


def _set_lock_timeout(connection: Connection, timeout_ms: int) -> None:
    connection.execute("select set_config('lock_timeout', %s, false)", [str(timeout_ms)])


UNCHANGED_MARKS = """
  select slot
  from ops.cdc_progress
  where publication = ops.publication_mark(split_part(publication, ' ', 1))
"""
KEEP_MARKS = """
  update ops.cdc_progress
  set publication = ops.publication_mark(split_part(publication, ' ', 1))
  where slot = any (%s)
"""


def _read_marks(connection: Connection) -> list[str]:
    """Captures whose publication nobody has changed: what a migration makes of it is theirs from then on."""
    if connection.execute("select to_regprocedure('ops.publication_mark(text)')").fetchone() == (None,):
        return []
    return [slot for (slot,) in connection.execute(UNCHANGED_MARKS)]


def _apply_one(connection: Connection, migration: Migration, lock_ms: int) -> None:
    try:
        with connection.transaction():
            unchanged = _read_marks(connection)
            connection.execute(migration.sql.encode())
            if unchanged:
                connection.execute(KEEP_MARKS, [unchanged])
            connection.execute(
                "insert into ops.migrations (number, name, checksum) values (%s, %s, %s)",
                [migration.number, migration.name, migration.checksum],
            )
    except psycopg.errors.LockNotAvailable:
        raise DependencyUnavailable(
            f"{migration.title} waited {lock_ms} ms for a lock on a table",
            hint="something holds that table (see pg_stat_activity); nothing was changed, run it again",
        ) from None
    except psycopg.Error as error:
        ours = map_error(error, migration.title)
        # What else the server does not take is the file's fault: also an object that it says is not there.
        if isinstance(ours, DependencyUnavailable) and not isinstance(ours, Unprepared):
            raise ours from None
        position = error.diag.statement_position
        line = line_at(migration, int(position)) if position else "?"
        raise Halted(
            f"{migration.title}, line {line}: {first_line(error)}",
            hint=error.diag.message_hint or "nothing of this file was changed",
        ) from None
