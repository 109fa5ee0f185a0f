"""Migrations: order, drift, and one migrator at a time."""

from __future__ import annotations

import uuid
from pathlib import Path

import psycopg
import pytest

from connectors.postgres.provision import provision
from runtime.deadline import Deadline
from runtime.errors import DependencyUnavailable, Halted
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
    assert migrations.pending(files, []) == tuple(files)
    assert migrations.pending(files, [row(1), row(2)]) == (files[2],)
    assert migrations.pending(files, [row(1), row(2), row(3)]) == ()


def test_a_database_that_is_ahead_is_left_alone() -> None:
    assert migrations.pending([migration(1)], [row(1), row(2)]) == ()


@pytest.mark.parametrize("rows", [[row(1, "other")], [row(2)], [row(1), row(3)]])
def test_drift_is_refused_with_what_to_do(rows: list[Applied]) -> None:
    with pytest.raises(Halted) as raised:
        migrations.pending([migration(1), migration(2)], rows)
    assert "applied files never change" in raised.value.hint


def owner(settings: Settings) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(settings.postgres.dsn("owner"), autocommit=True)


@pytest.mark.stack
def test_every_file_is_recorded_and_a_second_run_does_nothing(fresh_database: Settings) -> None:
    files = migrations.load()
    with owner(fresh_database) as connection:
        assert list(migrations.apply(connection, files, 5)) == []
        assert migrations.applied(connection) == tuple(Applied(f.number, f.name, f.checksum) for f in files)


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
def test_what_was_there_before_its_table_was_published_is_written_again(
    stack: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No copy is taken of a table that joins the publication later, so its topic would lack the rows that it has."""
    files = migrations.load()
    number = next(file.number for file in files if file.name == "usage")
    settings = stack.postgres.model_copy(update={"database": f"before_{uuid.uuid4().hex[:12]}"})
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "load", lambda: files[: number - 1])
        provision(settings, Deadline.after(60))
    tenant = uuid.uuid4()
    with psycopg.connect(settings.dsn("admin"), autocommit=True) as admin:
        admin.execute("insert into app.tenants (tenant_id, slug, name) values (%s, 't', 't')", [tenant])
        admin.execute("insert into app.users (tenant_id, user_id, subject) values (%s, %s, 'u')", [tenant, tenant])
        admin.execute(
            "insert into app.usage_events (tenant_id, attempt_id, session_id, user_id, provider, model, "
            "input_uncached, cache_read, cache_write_5m, cache_write_1h, output_visible, reasoning, usage_source, "
            "outcome, started_at, finished_at) select %(t)s, gen_random_uuid(), %(t)s, %(t)s, 'p', 'm', 1, 0, 0, 0, "
            "n, 0, 'provider', 'completed', now(), now() from generate_series(1, 3) n",
            {"t": tenant},
        )
        admin.execute(
            "insert into mv.activity_ledger select %s, gen_random_uuid(), 1, 'create', 't', 'accepted', author, "
            "'2026-01-01T23:59Z', now() from unnest(array['ada', 'ada', 'bob', '']) as a (author)",
            [tenant],
        )
        admin.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", [settings.database])
        provision(settings, Deadline.after(60))
        changes = admin.execute(
            "select data from pg_logical_slot_get_binary_changes(%s, null, null, 'proto_version', '1', "
            "'publication_names', 'adriatic')",
            [settings.database],
        ).fetchall()
        admin.execute("select pg_drop_replication_slot(%s)", [settings.database])
        updates = [data for (data,) in changes if data[:1] == b"U"]
        assert len(updates) == 3
        assert all(str(tenant).encode() in data for data in updates)
        days = admin.execute("select day::text, users from mv.daily_active_users").fetchall()
        assert days == [("2026-01-01", 2)]
        forced = admin.execute(
            "select bool_and(relforcerowsecurity) from pg_class where oid in "
            "('app.usage_events'::regclass, 'mv.activity_ledger'::regclass)"
        ).fetchone()
        assert forced == (True,), "the owner is bound again"
