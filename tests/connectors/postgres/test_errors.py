"""Every exception of both drivers, and every SQLSTATE, has one meaning, chosen on purpose, whichever driver says it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import asyncpg
import asyncpg.exceptions
import psycopg
import psycopg.errors
import pytest

from connectors.postgres import errors
from runtime.errors import (
    AdriaticError,
    Defect,
    DependencyUnavailable,
    Halted,
    LostRace,
    Unprepared,
    Unprocessable,
)

NOT_ERRORS = (Warning, psycopg.Warning, psycopg.Rollback, asyncio.CancelledError)
"""Warnings, and what ends a block on purpose: nobody raises these at us."""


def exceptions_of(*modules: ModuleType) -> Iterator[type[BaseException]]:
    for module in modules:
        for found in vars(module).values():
            if isinstance(found, type) and issubclass(found, BaseException) and not issubclass(found, NOT_ERRORS):
                yield found


PSYCOPG = sorted(set(exceptions_of(psycopg, psycopg.errors)), key=lambda kind: kind.__name__)
ASYNCPG = sorted(set(exceptions_of(asyncpg, asyncpg.exceptions, asyncpg.exceptions._base)), key=lambda kind: str(kind))
WARNINGS = {"00", "01"}
KINDS = (*PSYCOPG, *ASYNCPG)
STATES = sorted({state for kind in KINDS if (state := getattr(kind, "sqlstate", None))})


def mapped_by_us(kind: type[BaseException]) -> AdriaticError | None:
    return errors.map_error(kind("it said so"), "read")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_exception_is_in_the_table_itself(kind: type[BaseException]) -> None:
    state = getattr(kind, "sqlstate", None)
    if state is None:
        assert f"{kind.__module__.partition('.')[0]}.{kind.__name__}" in errors.CLIENTS
    else:
        assert state in errors.STATES or state[:2] in errors.CLASSES
    ours = mapped_by_us(kind)
    assert type(ours) in errors._ERRORS.values()
    assert ours is not None
    assert isinstance(ours, Unprocessable) or (ours.detail.startswith("read: ") and ours.hint)


@pytest.mark.parametrize("state", STATES)
def test_both_drivers_mean_the_same(state: str) -> None:
    kinds = [kind for kind in KINDS if getattr(kind, "sqlstate", None) == state]
    assert {type(mapped_by_us(kind)) for kind in kinds} == {type(mapped_by_us(psycopg.errors.lookup(state)))}


def test_no_exception_to_a_class_says_what_the_class_says() -> None:
    assert [state for state, meaning in errors.STATES.items() if errors.CLASSES[state[:2]] == meaning] == []


def test_no_entry_is_of_an_exception_that_is_gone() -> None:
    known = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in (*PSYCOPG, *ASYNCPG)}
    assert set(errors.CLIENTS) - known == {"builtins.OSError"}
    assert set(errors.STATES) <= set(STATES)
    assert set(errors.CLASSES) - {state[:2] for state in STATES} == WARNINGS


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("22P02", Unprocessable),  # invalid text representation
        ("22021", Unprocessable),  # character not in repertoire
        ("23514", Unprocessable),  # check violation
        ("54000", Unprocessable),  # program limit: a text too long for a tsvector
        ("40P01", LostRace),  # deadlock
        ("40001", LostRace),  # serialisation failure
        ("57P01", DependencyUnavailable),  # the administrator ended the connection
        ("57014", DependencyUnavailable),  # statement time-out
        ("53100", DependencyUnavailable),  # disk full
        ("55P03", DependencyUnavailable),  # lock not available
        ("25006", DependencyUnavailable),  # a standby, read only
        ("XX000", DependencyUnavailable),  # a bug of the server's
        ("42P01", Unprepared),  # no such table: the migration did not run yet
        ("42703", Unprepared),  # no such column
        ("42501", Unprepared),  # no right to do this
        ("28P01", Unprepared),  # the password
        ("3D000", Unprepared),  # no such database
        ("0A000", Unprepared),  # a cached plan that a migration made stale
        ("42601", Defect),  # syntax error
        ("25P02", Defect),  # a statement in a transaction that has failed
        ("XX002", Halted),  # a damaged index
        ("ZZ999", DependencyUnavailable),  # nobody knows it yet: lag, never a loss
    ],
)
def test_what_a_state_comes_to(state: str, expected: type[AdriaticError]) -> None:
    class Said(psycopg.Error):
        sqlstate = state

    ours = errors.map_error(Said("values are quoted here"), "write")
    assert type(ours) is expected
    assert expected is not Unprocessable or "values are quoted here" not in str(ours)


def test_what_is_missing_names_the_command_that_brings_it() -> None:
    for error in (
        psycopg.errors.UndefinedTable("t"),
        asyncpg.UndefinedColumnError("c"),
        asyncpg.UndefinedTableError("t"),
    ):
        ours = errors.map_error(error, "read")
        assert isinstance(ours, Unprepared)
        assert "not as this release needs it" in ours.detail
        assert "adriatic migrate" in ours.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('connection failed: FATAL:  password authentication failed for user "postgres"', "password in the settings"),
        ('connection failed: FATAL:  no pg_hba.conf entry for host "::1"', "pg_hba.conf"),
        ('connection failed: FATAL:  database "adriatic" does not exist', "adriatic migrate"),
        ("fe_sendauth: no password supplied", "set the password"),
    ],
)
def test_a_refused_connection_is_for_somebody_to_mend(text: str, hint: str) -> None:
    ours = errors.map_error(psycopg.OperationalError(text), "connect")
    assert isinstance(ours, Unprepared)
    assert hint in ours.hint


def test_a_lost_connection_is_an_outage() -> None:
    for error in (
        psycopg.OperationalError("the database system is starting up"),
        psycopg.InterfaceError("closed"),
        asyncpg.InterfaceError("closed"),
        ConnectionRefusedError("refused"),
        TimeoutError(),
    ):
        assert type(errors.map_error(error, "ask")) is DependencyUnavailable


def test_a_value_that_the_client_refuses_is_the_records_fault() -> None:
    for error in (psycopg.DataError("NUL"), asyncpg.exceptions._base.DataError("out of range")):
        ours = errors.map_error(error, "write")
        assert isinstance(ours, Unprocessable)
        assert "NUL" not in ours.detail
        assert "out of range" not in ours.detail


def test_what_is_of_no_driver_passes() -> None:
    assert errors.map_error(ValueError("?"), "read") is None
    for raised in (ValueError("?"), OSError("disk"), Halted("ours")):
        with pytest.raises(type(raised)) as caught, errors.translate():
            raise raised
        assert caught.value is raised


def test_a_fault_of_a_constraint_names_it() -> None:
    error: Any = asyncpg.UniqueViolationError("quotes values")
    error.constraint_name, error.table_name = "one_slug", "tenants"
    ours = errors.map_error(error, "write")
    assert ours is not None
    assert ours.detail == "UniqueViolationError: constraint one_slug of tenants"
