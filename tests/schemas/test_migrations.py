"""Migrations: order, drift, and one migrator at a time."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from runtime.errors import DependencyUnavailable, Halted
from runtime.settings import Settings
from schemas import migrations, state
from schemas.migrations import Applied, Migration


def migration(number: int, sql: str = "select 1", checksum: str = "") -> Migration:
    return Migration(number, f"n{number}", sql, checksum or f"sum{number}")


def row(number: int, checksum: str = "") -> Applied:
    return Applied(number, f"n{number}", checksum or f"sum{number}")


def test_the_files_are_numbered_from_one_without_a_gap() -> None:
    found = migrations.load()
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    assert all(len(one.checksum) == 64 for one in found)


@pytest.mark.parametrize("names", [["0002_b.sql"], ["0001_a.sql", "0003_c.sql"], ["0001_a.sql", "0001_b.sql"]])
def test_a_gap_or_a_number_taken_twice_is_refused(names: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text("select 1")
    with pytest.raises(Halted, match="without a gap"):
        migrations.load(tmp_path)


def test_other_files_are_not_migrations(tmp_path: Path) -> None:
    for name in ("0001_a.sql", "bootstrap.sql", "0002_b.sql.orig"):
        (tmp_path / name).write_text("select 1")
    assert [one.title for one in migrations.load(tmp_path)] == ["0001_a"]


def test_what_is_pending_is_what_was_not_applied() -> None:
    files = [migration(1), migration(2), migration(3)]
    assert migrations.find_pending(files, []) == tuple(files)
    assert migrations.find_pending(files, [row(1), row(2)]) == (files[2],)
    assert migrations.find_pending(files, [row(1), row(2), row(3)]) == ()


def test_a_database_that_is_ahead_is_left_alone() -> None:
    assert migrations.find_pending([migration(1)], [row(1), row(2)]) == ()


NEXT = migrations.BASELINE + 1


@pytest.mark.parametrize("rows", [[row(NEXT, "other")], [row(NEXT + 1)], [row(NEXT), row(NEXT + 2)]])
def test_drift_is_refused_with_what_to_do(rows: list[Applied]) -> None:
    with pytest.raises(Halted) as raised:
        migrations.find_pending([migration(NEXT), migration(NEXT + 1)], rows)
    assert "applied files never change" in raised.value.hint


@pytest.mark.parametrize("rows", [[row(1, "other")], [row(1), row(2, "other")]])
def test_a_database_from_before_the_baseline_is_told_what_to_do(rows: list[Applied]) -> None:
    with pytest.raises(Halted, match="made before the baseline") as raised:
        migrations.find_pending([migration(1), migration(2)], rows)
    assert "`adriatic reset`" in raised.value.hint
    assert "import" in raised.value.hint


def test_the_baseline_is_there() -> None:
    assert len(migrations.load()) >= migrations.BASELINE


def owner(settings: Settings) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(settings.postgres.dsn("owner"), autocommit=True)


@pytest.mark.stack
def test_every_file_is_recorded_and_a_second_run_does_nothing(fresh_database: Settings) -> None:
    files = migrations.load()
    with owner(fresh_database) as connection:
        assert list(migrations.apply(connection, files, 5)) == []
        assert migrations.read_applied(connection) == tuple(Applied(f.number, f.name, f.checksum) for f in files)


@pytest.mark.stack
def test_a_file_that_fails_changes_nothing_and_says_where(fresh_database: Settings) -> None:
    files = migrations.load()
    broken = migration(len(files) + 1, "create table app.half ();\ncreate table nonsense.other ();")
    with owner(fresh_database) as connection:
        with pytest.raises(Halted, match=f"{broken.title}, line .*nonsense"):
            list(migrations.apply(connection, [*files, broken], 5))
        assert connection.execute("select to_regclass('app.half')").fetchone() == (None,)
        mended = migration(broken.number, "create table app.half ();")
        assert list(migrations.apply(connection, [*files, mended], 5)) == [mended]
        changed = migration(broken.number, "create table app.half (x int);", "changed")
        with pytest.raises(Halted, match=f"{changed.title} has changed"):
            list(migrations.apply(connection, [*files, changed], 5))


@pytest.mark.stack
def test_one_migrator_at_a_time(fresh_database: Settings) -> None:
    with owner(fresh_database) as first, owner(fresh_database) as second:
        first.execute("select pg_advisory_lock(%s)", [migrations.LOCK_ID])
        with pytest.raises(DependencyUnavailable, match="held the lock"):
            list(migrations.apply(second, migrations.load(), 0.1))
        first.execute("select pg_advisory_unlock(%s)", [migrations.LOCK_ID])
        assert list(migrations.apply(second, migrations.load(), 5)) == []


@pytest.mark.stack
def test_a_table_in_use_is_waited_for_a_bounded_time(fresh_database: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "STATEMENT_LOCK_MAX_MS", 100)
    files = migrations.load()
    alter = migration(len(files) + 1, "alter table app.tenants add column motto text")
    with owner(fresh_database) as reader, owner(fresh_database) as connection:
        with reader.transaction():
            reader.execute("select from app.tenants")
            with pytest.raises(DependencyUnavailable, match="waited 100 ms for a lock"):
                list(migrations.apply(connection, [*files, alter], 5))
        assert list(migrations.apply(connection, [*files, alter], 5)) == [alter]


@pytest.mark.stack
def test_the_state_in_the_files_is_what_the_migrations_make(fresh_database: Settings) -> None:
    """After a change: `adriatic schemas generate`, with a database that is migrated."""
    with owner(fresh_database) as connection:
        assert state.describe(connection) == state.STATE_FILE.read_text()
