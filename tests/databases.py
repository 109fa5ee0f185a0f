"""Databases for tests, on the server of a stack: made from a template, dropped where it stays or is in memory."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from connectors.postgres.provision import provision
from runtime.deadline import Deadline
from runtime.settings import Role, Settings
from tests.copies import is_in_memory

PROVISION_S_MAX = 300.0
"""All migrations, on any machine."""
SLOT_S_MAX = 120.0
"""Until a backend that was told to end has let go of its slot."""

_COPY_RIGHTS = """
  update pg_database d
  set datacl = t.datacl
  from pg_database t
  where d.datname = %s and t.datname = %s
"""

KEPT_MAX = 4
"""Sessions that are used again, in each process of the tests."""
_KEPT: dict[str, psycopg.Connection[Any]] = {}


def template(stack: Settings) -> str:
    """The name of a new database that is migrated. Nobody can connect to it: a session there is in the way of whoever
    copies it."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    provision(stack.postgres.model_copy(update={"database": name}), Deadline.after(PROVISION_S_MAX))
    with admin(stack) as connection:
        connection.execute(sql.SQL("alter database {} allow_connections false").format(sql.Identifier(name)))
    return name


@contextmanager
def fresh(stack: Settings, template: str, purpose: str = "test") -> Iterator[Settings]:
    """Settings whose database is new and as the template."""
    name = f"{purpose}_{uuid.uuid4().hex[:12]}"
    database = sql.Identifier(name)
    with admin(stack) as connection:
        connection.execute(sql.SQL("create database {} template {}").format(database, sql.Identifier(template)))
        # Rights on a database belong to its name and are not cloned with it.
        connection.execute(_COPY_RIGHTS, [name, template])
    yield stack.model_copy(update={"postgres": stack.postgres.model_copy(update={"database": name})})
    drop(stack, name)


def drop(stack: Settings, name: str) -> None:
    """Drop the slots that a capture left in a database, and on a server that stays, the database."""
    with admin(stack) as connection:
        slots = connection.execute("select slot_name from pg_replication_slots where database = %s", [name]).fetchall()
        for (slot,) in slots:
            connection.execute(
                "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s", [slot]
            )
            _drop_slot(connection, str(slot))
        if os.environ.get("ADRIATIC_TEST_STACK") or is_in_memory(stack.stack.postgres_data or stack.home):
            # A drop is a checkpoint, seconds on a busy disk. Our own server there is deleted as a whole instead.
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def let_emit(stack: Settings, *topics: str, role: str = "adriatic_flows") -> None:
    """Let a role emit events for topics that are a test's own."""
    with psycopg.connect(stack.postgres.dsn("admin"), autocommit=True) as connection:
        connection.execute("insert into app.emitters select %s, unnest(%s::text[])", [role, list(topics)])


@contextmanager
def act(settings: Settings, role: Role, tenant: uuid.UUID | None = None) -> Iterator[psycopg.Connection[Any]]:
    """A transaction of a role as the API opens it, rolled back afterwards."""
    with (
        psycopg.connect(settings.postgres.dsn(role), autocommit=True) as connection,
        connection.transaction(force_rollback=True),
    ):
        if tenant is not None:
            connection.execute("select set_config('app.tenant_id', %s, true)", [str(tenant)])
        yield connection


def ask(dsn: str, query: Any, *values: Any) -> list[tuple[Any, ...]]:
    """Rows of a statement that commits by itself, in a session that is used again: a login costs more than most
    questions. A session that was lost is replaced, once. Safe for any thread."""
    if (kept := _KEPT.pop(dsn, None)) is not None:
        try:
            return _rows(kept, query, values)
        except psycopg.OperationalError:
            kept.close()
        finally:
            _keep(dsn, kept)
    made = psycopg.connect(dsn, autocommit=True, prepare_threshold=None)  # tables may change meanwhile
    try:
        return _rows(made, query, values)
    finally:
        _keep(dsn, made)


def _keep(dsn: str, connection: psycopg.Connection[Any]) -> None:
    if connection.closed:
        return
    before = _KEPT.pop(dsn, None)
    _KEPT[dsn] = connection
    for extra in (before, *(_KEPT.pop(next(iter(_KEPT)), None) for _ in range(len(_KEPT) - KEPT_MAX))):
        if extra is not None:
            extra.close()


def close_kept() -> None:
    """Close the sessions that would be used again."""
    while _KEPT:
        _KEPT.popitem()[1].close()


def admin(stack: Settings) -> psycopg.Connection[Any]:
    return psycopg.connect(stack.postgres.dsn("admin", "postgres"), autocommit=True)


def _rows(connection: psycopg.Connection[Any], query: Any, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    cursor = connection.execute(query, values or None)
    return cursor.fetchall() if cursor.description else []


def _drop_slot(connection: psycopg.Connection[Any], slot: str) -> None:
    deadline = Deadline.after(SLOT_S_MAX)
    while not deadline.passed:
        try:
            connection.execute("select pg_drop_replication_slot(%s)", [slot])
        except psycopg.errors.ObjectInUse:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"replication slot {slot} stays in use")
