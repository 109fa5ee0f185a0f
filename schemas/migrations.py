"""SQL migrations: ordered files, forward only, each applied once in a transaction of its own.

Owns the files in `schemas/sql/`, the order, the record of what is applied (`ops.migrations`, made by the first file)
and what counts as drift. Refuses to open a connection and to make roles or databases:
`connectors/postgres/provision.py` does, and hands its connection in. An applied file never changes again; the next
change is the next file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import DependencyUnavailable, Halted

if TYPE_CHECKING:
    import psycopg

SQL_FOLDER = Path(__file__).parent / "sql"
BOOTSTRAP_FILE = SQL_FOLDER / "bootstrap.sql"
FILE_NAME = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9_]+)\.sql")

BASELINE = 15
"""The last file that 0.1.0 begins with. Nothing was released before it, so there is no way from what was there then."""

LOCK_ID = 0x6164_7269_6174_6963
"""Advisory lock of whoever migrates: the ASCII of "adriatic". Advisory locks are per database."""

STATEMENT_LOCK_MAX_MS = 10_000
"""How long one statement of a migration may wait for a lock on a table, in milliseconds. A waiting ALTER TABLE blocks
every reader queued behind it, so it must give up long before a client notices an outage."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `checksum` is the sha-256 of its bytes, in hex."""

    number: int
    name: str
    sql: str
    checksum: str

    @property
    def title(self) -> str:
        return f"{self.number:04d}_{self.name}"


@dataclass(frozen=True, slots=True)
class Applied:
    """One row of `ops.migrations`."""

    number: int
    name: str
    checksum: str


def load(folder: Path = SQL_FOLDER) -> tuple[Migration, ...]:
    """The files, in order. Raises `Halted` when a number is missing or taken twice: two branches made one each."""
    found = [_read(file, match) for file in sorted(folder.iterdir()) if (match := FILE_NAME.fullmatch(file.name))]
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise Halted(
            f"the migrations in {folder} are not numbered 1 to {len(found)} without a gap: {numbers}",
            hint="renumber the files that were not released yet",
        )
    return tuple(found)


def _read(file: Path, match: re.Match[str]) -> Migration:
    content = file.read_bytes()
    return Migration(int(match["number"]), match["name"], content.decode(), hashlib.sha256(content).hexdigest())


def find_pending(available: Sequence[Migration], applied: Sequence[Applied]) -> tuple[Migration, ...]:
    """What is still to be applied, in order.

    A database that is ahead of these files (a newer release migrated it) is fine: migrations expand before they
    contract, so the release before still runs. Raises `Halted` when an applied file has changed or a number was
    skipped, and for a database that is older than the baseline.
    """
    for file, row in zip(available, applied, strict=False):
        if (file.number, file.checksum) == (row.number, row.checksum):
            continue
        if row.number <= BASELINE:
            raise Halted(
                f"this database was made before the baseline of 0.1.0, and has another {row.number:04d}_{row.name}",
                hint="it cannot be migrated: delete it (`adriatic reset`), then import what was in it again",
            )
        raise Halted(
            f"migration {row.number:04d}_{row.name} was applied with checksum {row.checksum[:12]}, "
            f"and the file {file.title} has {file.checksum[:12]}",
            hint="applied files never change: restore the file and put the change into a new one; "
            "before the first release, `adriatic reset` starts again",
        )
    return tuple(available[len(applied) :])


def read_applied(connection: psycopg.Connection[Any]) -> tuple[Applied, ...]:
    """What this database has, in order; empty for a new one."""
    if connection.execute("select to_regclass('ops.migrations')").fetchone() == (None,):
        return ()
    rows = connection.execute("select number, name, checksum from ops.migrations order by number")
    return tuple(Applied(*row) for row in rows)


def apply(connection: psycopg.Connection[Any], available: Sequence[Migration], wait_s: float) -> Iterator[Migration]:
    """Bring the database up to `available`; yields each migration after it is committed.

    `connection` is in autocommit mode and belongs to the owner. Waits up to `wait_s` seconds for another migrator.
    Safe to run again, and to interrupt: a file is committed as a whole or not at all.
    """
    import psycopg

    try:
        _set_lock_timeout(connection, max(1, int(wait_s * 1000)))
        connection.execute("select pg_advisory_lock(%s)", [LOCK_ID])
    except psycopg.errors.LockNotAvailable:
        raise DependencyUnavailable(
            f"another migration has held the lock for {wait_s:.0f} s", hint="wait for it to end, then run this again"
        ) from None
    try:
        _set_lock_timeout(connection, STATEMENT_LOCK_MAX_MS)
        for migration in find_pending(available, read_applied(connection)):
            _apply_one(connection, migration)
            yield migration
    finally:
        if not connection.closed:
            connection.execute("select pg_advisory_unlock(%s)", [LOCK_ID])


def _set_lock_timeout(connection: psycopg.Connection[Any], timeout_ms: int) -> None:
    connection.execute("select set_config('lock_timeout', %s, false)", [str(timeout_ms)])


def _apply_one(connection: psycopg.Connection[Any], migration: Migration) -> None:
    import psycopg

    try:
        with connection.transaction():
            connection.execute(migration.sql.encode())
            connection.execute(
                "insert into ops.migrations (number, name, checksum) values (%s, %s, %s)",
                [migration.number, migration.name, migration.checksum],
            )
    except psycopg.errors.LockNotAvailable:
        raise DependencyUnavailable(
            f"{migration.title} waited {STATEMENT_LOCK_MAX_MS} ms for a lock on a table",
            hint="something holds that table (see pg_stat_activity); nothing was changed, run it again",
        ) from None
    except psycopg.OperationalError as error:
        raise DependencyUnavailable(f"{migration.title}: {error}", hint="nothing was changed, run it again") from None
    except psycopg.Error as error:
        raise Halted(
            f"{migration.title}, line {_line(migration.sql, error)}: {error.diag.message_primary or error}",
            hint=error.diag.message_hint or "nothing of this file was changed",
        ) from None


def _line(sql: str, error: psycopg.Error) -> str:
    position = error.diag.statement_position
    return str(sql.count("\n", 0, int(position)) + 1) if position else "?"
