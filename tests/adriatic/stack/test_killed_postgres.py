"""The embedded server is killed while a session of it computes, and sees nothing of that."""

from __future__ import annotations

import threading
from contextlib import suppress

import psutil
import psycopg

from adriatic.stack import postgres
from tests.copies import Copy, running_copy
from tests.dataflows.world import until

BACK_S_MAX = 60.0
COMPUTE = "select count(md5(n::text)) from generate_series(1, 4000000000) n"
"""Longer than any test; like a graph that is built, it never waits for anything."""


def _dsn(copy: Copy) -> str:
    return copy.settings.postgres.model_copy(update={"database": "postgres"}).dsn("admin")


def _is_at_work(session: psutil.Process) -> bool:
    try:
        return session.status() == psutil.STATUS_RUNNING
    except psutil.Error:
        return False


def _answers(dsn: str) -> bool:
    with suppress(psycopg.Error), psycopg.connect(dsn, connect_timeout=5) as connection:
        return connection.execute("select 1").fetchone() == (1,)
    return False


def _compute(dsn: str) -> psutil.Process:
    connection = psycopg.connect(dsn)
    session = psutil.Process(connection.info.backend_pid)

    def run() -> None:
        with suppress(psycopg.Error), connection:
            connection.execute(COMPUTE)

    threading.Thread(target=run, daemon=True).start()
    until(lambda: _is_at_work(session))
    return session


def test_a_server_that_was_killed_is_back_though_a_session_computes() -> None:
    with running_copy(only=("postgres",)) as copy, running_copy(only=("postgres",)) as other:
        session, bystander = (_compute(_dsn(each)) for each in (copy, other))
        copy.process("postgres").kill()
        until(lambda: _answers(_dsn(copy)), wait_s=BACK_S_MAX)
        assert not session.is_running()
        assert bystander.is_running(), "one of another server"
        _leaves_its_own_alone(other)


def _leaves_its_own_alone(copy: Copy) -> None:
    server = postgres.locate(copy.settings)
    there = psutil.Process(copy.process("postgres").pid).children()
    postgres.end_orphans(server)
    assert there
    assert all(each.is_running() for each in there)
