"""Migrations: order, drift, and one migrator at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from adriatic.stack import state
from runtime.errors import Halted
from runtime.settings import Settings
from schemas import migrations
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


@pytest.mark.stack
def test_the_state_in_the_files_is_what_the_migrations_make(fresh_database: Settings) -> None:
    """After a change: `adriatic schemas generate`, with a database that is migrated."""
    assert state.describe(fresh_database.postgres) == state.STATE_FILE.read_text()
