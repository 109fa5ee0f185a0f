"""From nothing to a migrated database, whatever state the server is in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from connectors.postgres import provision as module
from connectors.postgres.provision import check_pgvector, provision
from runtime.clock import ManualClock
from runtime.deadline import Deadline
from runtime.errors import DependencyUnavailable, Halted, Unprepared
from runtime.settings import PostgresSettings, Settings
from schemas import migrations
from tests import databases

NOWHERE = PostgresSettings(host="127.0.0.1", port=1)


class Extension:
    """A connection that has one version of the extension, or none."""

    def __init__(self, version: str | None) -> None:
        self._version = version

    def execute(self, _query: Any) -> Extension:
        return self

    def fetchone(self) -> tuple[str] | None:
        return None if self._version is None else (self._version,)


@pytest.mark.parametrize("version", ["0.8.3", "0.7.4", "0.8"])
def test_a_pgvector_that_corrupts_indexes_is_refused(version: str) -> None:
    with pytest.raises(Halted, match="can corrupt an index"):
        check_pgvector(Extension(version))  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["0.8.4", "0.8.5", "0.10.0", "1.0"])
def test_a_newer_pgvector_is_taken(version: str) -> None:
    assert check_pgvector(Extension(version)) == version  # type: ignore[arg-type]


def test_a_missing_pgvector_is_named() -> None:
    with pytest.raises(Halted, match="not installed"):
        check_pgvector(Extension(None))  # type: ignore[arg-type]


def test_a_server_that_is_away_is_waited_for_until_the_deadline() -> None:
    clock = ManualClock()
    with pytest.raises(DependencyUnavailable, match="connect to Postgres at"):
        provision(NOWHERE, Deadline.after(20, clock))
    assert 15 < clock.monotonic() <= 20


@pytest.fixture
def empty(stack: Settings) -> Iterator[PostgresSettings]:
    """Settings of a database that does not exist, dropped afterwards."""
    name = f"provision_{uuid4().hex[:12]}"
    yield stack.postgres.model_copy(update={"database": name})
    if not os.environ.get("ADRIATIC_TEST_STACK"):
        return  # Our own server is deleted as a whole; a drop is a checkpoint.
    with psycopg.connect(stack.postgres.dsn("admin", "postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@pytest.mark.stack
def test_from_nothing_to_a_migrated_database_and_again(empty: PostgresSettings) -> None:
    first = provision(empty, Deadline.after(databases.PROVISION_S_MAX))
    assert first.created
    assert first.applied == [migration.title for migration in migrations.load()]
    second = provision(empty, Deadline.after(databases.PROVISION_S_MAX))
    assert not second.created
    assert second.applied == []
    assert second.version == first.version == len(first.applied)
    assert provision(empty, Deadline.after(databases.PROVISION_S_MAX), bootstrap=False) == second


@pytest.mark.stack
def test_several_at_once_end_with_one_database(empty: PostgresSettings) -> None:
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(lambda _: provision(empty, Deadline.after(databases.PROVISION_S_MAX)), range(3)))
    assert sum(report.created for report in reports) == 1
    applied = [title for report in reports for title in report.applied]
    assert sorted(applied) == [migration.title for migration in migrations.load()]


@pytest.mark.stack
def test_our_roles_have_no_more_rights_than_they_need(empty: PostgresSettings) -> None:
    provision(empty, Deadline.after(databases.PROVISION_S_MAX))
    with psycopg.connect(empty.dsn("admin")) as connection:
        rows = connection.execute(
            "select rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication from pg_roles "
            "where rolname like 'adriatic\\_%'"
        ).fetchall()
    assert {name for name, *rights in rows if any(rights)} == {"adriatic_cdc"}
    assert {name: rest for name, *rest in rows}["adriatic_cdc"] == [False, False, False, False, True]


@pytest.mark.stack
def test_passwords_are_set_as_verifiers(empty: PostgresSettings) -> None:
    with psycopg.connect(empty.dsn("admin", "postgres"), autocommit=True) as connection:
        role = f"adriatic_test_{uuid4().hex[:8]}"
        connection.execute(sql.SQL("create role {}").format(sql.Identifier(role)))
        try:
            module._set_password(connection, role, "")
            module._set_password(connection, role, "it's secret")
            stored = connection.execute("select rolpassword from pg_authid where rolname = %s", [role]).fetchone()
        finally:
            connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))
    assert stored is not None
    assert stored[0].startswith("SCRAM-SHA-256$")


@pytest.mark.stack
def test_a_database_that_is_missing_is_not_an_outage(empty: PostgresSettings) -> None:
    clock = ManualClock()
    with pytest.raises(Unprepared, match="does not exist") as raised:
        provision(empty, Deadline.after(60, clock), bootstrap=False)
    assert "adriatic migrate" in raised.value.hint
    assert clock.monotonic() == 0, "it was not waited for"


@pytest.mark.stack
def test_a_refused_password_is_not_waited_for(stack: Settings) -> None:
    clock = ManualClock()
    wrong = stack.postgres.model_copy(update={"owner_password": SecretStr("wrong")})
    with pytest.raises(Unprepared, match="password") as raised:
        provision(wrong, Deadline.after(60, clock), bootstrap=False)
    assert "password in the settings" in raised.value.hint
    assert clock.monotonic() == 0
