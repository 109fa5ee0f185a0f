"""The fixtures keep what they promise: real components, and databases that know nothing of each other."""

from __future__ import annotations

import psycopg
import pytest

from adriatic.stack import registry
from runtime.settings import Settings

pytestmark = pytest.mark.stack


def test_stack_answers(stack: Settings) -> None:
    with psycopg.connect(stack.postgres.dsn("admin", "postgres")) as connection:
        assert connection.execute("show wal_level").fetchone() == ("logical",)
    assert registry.answers(stack.registry.url) is None


def test_fresh_database_is_migrated(fresh_database: Settings) -> None:
    with psycopg.connect(fresh_database.postgres.dsn("owner")) as connection:
        assert connection.execute("select count(*) from app.tenants").fetchone() == (0,)
        connection.execute("create schema scratch")


def test_fresh_database_is_another_each_time(fresh_database: Settings) -> None:
    with psycopg.connect(fresh_database.postgres.dsn("owner")) as connection:
        assert connection.execute("select to_regnamespace('scratch')").fetchone() == (None,)
