"""Migrations on a real database: applied once, by one migrator at a time, whole or not at all."""

from __future__ import annotations

import pytest

from connectors.postgres.connections import Connection, connect
from connectors.postgres.migrator import apply, read_applied
from runtime.errors import DependencyUnavailable, Halted
from runtime.settings import Settings
from schemas.migrations import LOCK_ID, Applied, Migration, load


def migration(number: int, sql: str, checksum: str = "") -> Migration:
    return Migration(number, f"n{number}", sql, checksum or f"sum{number}")


def owner(settings: Settings) -> Connection:
    return connect(settings.postgres, "migrate", "owner", name="test", autocommit=True)


@pytest.mark.stack
def test_every_file_is_recorded_and_a_second_run_does_nothing(fresh_database: Settings) -> None:
    files = load()
    with owner(fresh_database) as connection:
        assert list(apply(connection, files, 5)) == []
        assert read_applied(connection) == tuple(Applied(f.number, f.name, f.checksum) for f in files)


@pytest.mark.stack
def test_a_file_that_fails_changes_nothing_and_says_where(fresh_database: Settings) -> None:
    files = load()
    broken = migration(len(files) + 1, "create table app.half ();\ncreate table nonsense.other ();")
    with owner(fresh_database) as connection:
        with pytest.raises(Halted, match=f"{broken.title}, line .*nonsense"):
            list(apply(connection, [*files, broken], 5))
        assert connection.execute("select to_regclass('app.half')").fetchone() == (None,)
        mended = migration(broken.number, "create table app.half ();")
        assert list(apply(connection, [*files, mended], 5)) == [mended]
        changed = migration(broken.number, "create table app.half (x int);", "changed")
        with pytest.raises(Halted, match=f"{changed.title} has changed"):
            list(apply(connection, [*files, changed], 5))


@pytest.mark.stack
def test_one_migrator_at_a_time(fresh_database: Settings) -> None:
    with owner(fresh_database) as first, owner(fresh_database) as second:
        first.execute("select pg_advisory_lock(%s)", [LOCK_ID])
        with pytest.raises(DependencyUnavailable, match="held the lock"):
            list(apply(second, load(), 0.1))
        first.execute("select pg_advisory_unlock(%s)", [LOCK_ID])
        assert list(apply(second, load(), 5)) == []


@pytest.mark.stack
def test_a_table_in_use_is_waited_for_a_bounded_time(fresh_database: Settings) -> None:
    files = load()
    alter = migration(len(files) + 1, "alter table app.tenants add column motto text")
    with owner(fresh_database) as reader, owner(fresh_database) as connection:
        with reader.transaction():
            reader.execute("select from app.tenants")
            with pytest.raises(DependencyUnavailable, match="waited 100 ms for a lock"):
                list(apply(connection, [*files, alter], 5, lock_ms=100))
        assert list(apply(connection, [*files, alter], 5, lock_ms=100)) == [alter]
