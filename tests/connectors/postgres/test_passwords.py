"""Passwords that are kept in a file are read for each connection: whoever changes one restarts nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from api.db import Database
from connectors.postgres.connections import Use, connect
from runtime.errors import DependencyUnavailable, Unprepared
from runtime.settings import PostgresSettings, Role, Settings

pytestmark = pytest.mark.stack


def keep_in_file(settings: PostgresSettings, role: Role, file: Path) -> tuple[PostgresSettings, str]:
    """The settings with the password of a role in a file, and the password."""
    password = settings.password(role)
    file.write_text(f"{password}\n")
    return settings.model_copy(update={f"{role}_password": SecretStr(f"file:{file}")}), password


@pytest.mark.parametrize(("use", "role"), [("flow", "flows"), ("watch", "flows"), ("capture", "cdc"), ("wal", "cdc")])
def test_each_connection_has_the_password_of_its_moment(
    fresh_database: Settings, tmp_path: Path, use: Use, role: Role
) -> None:
    file = tmp_path / "password"
    settings, password = keep_in_file(fresh_database.postgres, role, file)
    more = {"replication": "database"} if use == "wal" else {}
    connect(settings, use, role, autocommit=True, **more).close()
    file.write_text("not-that-one")
    with pytest.raises(Unprepared):
        connect(settings, use, role, autocommit=True, **more)
    file.write_text(password)
    connect(settings, use, role, autocommit=True, **more).close()
    file.unlink()
    with pytest.raises(Unprepared, match="cannot be read"):
        connect(settings, use, role, autocommit=True, **more)


async def test_the_pool_takes_another_password_and_keeps_the_connections_that_it_has(
    fresh_database: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    settings, password = keep_in_file(fresh_database.postgres, "api", file)
    database = Database(settings, connections_max=2)
    await database.open()
    async with database.connection() as held:
        file.write_text("not-that-one")
        assert await held.fetchval("select 1") == 1, "a session outlives its password"
        with pytest.raises(DependencyUnavailable):
            async with database.connection():
                pass
        with pytest.raises(DependencyUnavailable):
            async with database.single():
                pass
        file.write_text(password)
        async with database.connection() as another, database.single() as outside:
            assert await another.fetchval("select 1") == 1
            assert await outside.fetchval("select 1") == 1
    await database.close()


def test_a_password_may_have_any_letters(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("a/b@c:d?e#f%20 g")
    settings = PostgresSettings(api_password=SecretStr(f"file:{file}"))
    assert "://adriatic_api:a%2Fb%40c%3Ad%3Fe%23f%2520%20g@" in settings.dsn("api")
