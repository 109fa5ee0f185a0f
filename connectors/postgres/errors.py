"""What the errors of Postgres' drivers mean here: one table for psycopg and asyncpg, whoever asks.

Owns the meaning of every SQLSTATE, by its code and else by its class (its first two characters; PostgreSQL
documentation, appendix A), and of what the drivers raise without one. Refuses to decide what happens next: that is in
the class (`runtime/errors.py`), and each edge only says what it does with it (the API: which status). Knows the drivers
by the names of their classes, so that nobody loads a driver that it does not use. A test walks both drivers.

    away        the server, or the way to it: wait                          DependencyUnavailable
    unprepared  it answers, and is not as this release needs it             Unprepared
    race        another transaction came first, nothing was done            LostRace
    data        the values in hand                                          Unprocessable
    damaged     the server says that its own files are wrong                Halted
    defect      our statement, whatever the values                          Defect
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal

from connectors.meanings import by_name, find_meaning
from runtime.errors import (
    AdriaticError,
    Defect,
    DependencyUnavailable,
    Halted,
    LostRace,
    SpendStopped,
    Unprepared,
    Unprocessable,
)

DETAIL_CHARS_MAX: Final = 1_024
"""Longest text of an error that is shown or kept."""

Meaning = Literal["away", "unprepared", "race", "data", "damaged", "defect"]

CLASSES: Final[Mapping[str, Meaning]] = by_name(
    {
        # Connection exception; invalid SQL statement name: the session is not the one that prepared it; insufficient
        # resources; operator intervention: shutting down, starting up, statement time-out; system error outside of
        # PostgreSQL; snapshot failure; foreign data wrapper error; internal error.
        "away": "08 26 53 57 58 72 HV XX",
        # Feature not supported: also a plan that a migration has made stale, which a new one heals; invalid role
        # specification; invalid authorization specification; invalid catalog name: no such database; invalid schema
        # name; object not in prerequisite state; configuration file error.
        "unprepared": "0A 0P 28 3D 3F 55 F0",
        # Transaction rollback.
        "race": "40",
        # Cardinality violation: a key twice in what one statement writes; data exception; integrity constraint
        # violation; WITH CHECK OPTION violation; program limit exceeded: a text that is too long for an index.
        "data": "21 22 23 44 54",
        # No error: success and warning. Raised by code in the database alone, of which we have none that does: no
        # data, triggered action exception, locator exception, diagnostics exception, case not found, triggered data
        # change violation, SQL routine exception, external routine exception and its invocation, PL/pgSQL error. In
        # what we ask: statement not yet complete, invalid transaction initiation, invalid grantor, XQuery error,
        # invalid cursor state, invalid transaction state, dependent privilege descriptors still exist, invalid
        # transaction termination, invalid cursor name, savepoint exception, syntax error or access rule violation.
        "defect": "00 01 02 09 0F 0Z 20 27 2F 38 39 P0 03 0B 0L 10 24 25 2B 2D 34 3B 42",
    }
)
"""A class that is not here is younger than this table, and is taken for an outage: lag, never a loss (law 7)."""

STATES: Final[Mapping[str, Meaning]] = by_name(
    {
        # Read-only transaction: a standby, until it is promoted; idle-in-transaction time-out: this process was frozen;
        # transaction time-out; statement completion unknown; duplicate prepared statement: see class 26; object in use;
        # lock not available.
        "away": "25006 25P03 25P04 40003 42P05 55006 55P03",
        # An object that is missing or other than it was, by a migration that has not run yet or a newer release's:
        # insufficient privilege, undefined column, undefined object, datatype mismatch, wrong object type, undefined
        # function, undefined table, invalid column reference (no such index for ON CONFLICT).
        "unprepared": "42501 42703 42704 42804 42809 42883 42P01 42P10",
        # Data corrupted, index corrupted.
        "damaged": "XX001 XX002",
        # Unsafe use of a new enum value: a migration's.
        "defect": "55P04",
    }
)
"""Codes that mean something else than their class."""

CLIENTS: Final[Mapping[str, Meaning]] = by_name(
    {
        # `InterfaceError`: used after it was lost. `OperationalError`: refused or lost; see REFUSALS.
        # `InternalClientError`: the connection went away in the middle of the protocol. `OutdatedSchemaCacheError`: a
        # migration changed a type; the cache is new afterwards. asyncpg lets the network's own errors through.
        "away": """
            psycopg.Error psycopg.InterfaceError psycopg.DatabaseError psycopg.OperationalError
            psycopg.ConnectionTimeout psycopg.CancellationTimeout psycopg.PipelineAborted psycopg._WaitTimeout
            asyncpg.PostgresError asyncpg.FatalPostgresError asyncpg.UnknownPostgresError asyncpg.InterfaceError
            asyncpg.InternalClientError asyncpg.ProtocolError asyncpg.OutdatedSchemaCacheError
            asyncpg.TargetServerAttributeNotMatched builtins.OSError
        """,
        "unprepared": "asyncpg.ClientConfigurationError",
        # `DataError`: refused before it was sent: a NUL in a text, a number out of range.
        "data": "psycopg.DataError psycopg.IntegrityError asyncpg.DataError",
        "defect": """
            psycopg.InternalError psycopg.ProgrammingError psycopg.NotSupportedError
            asyncpg.UnsupportedClientFeatureError asyncpg.UnsupportedServerFeatureError
        """,
    }
)
"""What the drivers raise without a SQLSTATE, by package and class. asyncpg has two classes `DataError`: the one with a
SQLSTATE is decided by that."""

REFUSALS: Final[tuple[tuple[str, str], ...]] = (
    ("authentication failed", "is the password in the settings the one that the server has?"),
    ("no pg_hba.conf entry", "pg_hba.conf must let this user in from this address"),
    ("no password supplied", "set the password in the settings"),
    ("does not exist", "run `adriatic migrate` with its administrator part, or create it"),
    ("not permitted to log in", "run `adriatic migrate` with its administrator part"),
    ("permission denied for database", "run `adriatic migrate` with its administrator part"),
)
"""Words of libpq when the server is there and says no, and what helps. It gives no SQLSTATE for a connection that could
not be made: its words are all there is."""

HINTS: Final[Mapping[Meaning, str]] = {
    "away": "is Postgres running, and is its address right?",
    "unprepared": "run `adriatic migrate`, and compare the [postgres] settings",
    "race": "do it again",
    "data": "",
    "damaged": "look at the server's log before anything else is written, and restore what is damaged",
    "defect": "this is a fault in Adriatic: its log has more",
}
SPEND_STOPPED: Final = "AD001"
"""The SQLSTATE with which the database refuses an attempt where spending is stopped: one of ours, in a class that
neither the standard nor Postgres has."""
RESUME_HINT: Final = "`adriatic spend switch` shows what is stopped, and `adriatic spend resume` resumes it"
_ERRORS: Final[Mapping[Meaning, type[AdriaticError]]] = {
    "away": DependencyUnavailable,
    "unprepared": Unprepared,
    "race": LostRace,
    "data": Unprocessable,
    "damaged": Halted,
    "defect": Defect,
}
_NOT_MIGRATED: Final = "the database is not as this release needs it: "


def meaning_of(error: BaseException) -> Meaning | None:
    """None: it is no error of a driver."""
    if (state := sqlstate_of(error)) is not None:
        return STATES.get(state) or CLASSES.get(state[:2], "away")
    meaning = find_meaning(error, CLIENTS)
    return "unprepared" if meaning == "away" and _refusal(error) else meaning


def map_error(error: BaseException, doing: str) -> AdriaticError | None:
    """Our error for one of a driver's; `doing` says what was tried. None when it is none of theirs.

    A server's text may quote values, so of a fault of the data only kind, table and constraint are told.
    """
    meaning = meaning_of(error)
    if meaning is None:
        return None
    if meaning == "data":
        return Unprocessable(describe_fault(error))
    state = sqlstate_of(error)
    if state == SPEND_STOPPED:
        return SpendStopped(first_line(error), hint=RESUME_HINT)
    reason = _NOT_MIGRATED if meaning == "unprepared" and state is not None and state[:2] == "42" else ""
    detail = f"{doing}: {reason}{first_line(error)}"
    hint = _server_hint(error) or _refusal(error) or HINTS[meaning]
    return _ERRORS[meaning](detail, hint=HINTS[meaning] if reason else hint)


@contextmanager
def translate(doing: str = "Postgres") -> Iterator[None]:
    """Run a block that talks to Postgres through a driver. An `OSError` may be anybody's, and passes."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) or (ours := map_error(error, doing)) is None:
            raise
        raise ours from error


def sqlstate_of(error: BaseException) -> str | None:
    """None for what is not the server's."""
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else None


def describe_fault(error: BaseException) -> str:
    """What kind of fault, without values: a driver's DETAIL line quotes them."""
    name = type(error).__name__
    told = getattr(error, "diag", error)
    if constraint := getattr(told, "constraint_name", None):
        return f"{name}: constraint {constraint} of {getattr(told, 'table_name', None)}"
    return f"{name} {sqlstate_of(error) or ''}".strip()


def first_line(error: BaseException) -> str:
    """The server's own message; of a failed connection, what was said first."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text: Any = getattr(getattr(error, "diag", None), "message_primary", None) or str(error)
    return text.strip().partition("\n")[0][:DETAIL_CHARS_MAX] or type(error).__name__


def _server_hint(error: BaseException) -> str:
    hint = getattr(getattr(error, "diag", None), "message_hint", None) or getattr(error, "hint", None)
    return hint if isinstance(hint, str) else ""


def _refusal(error: BaseException) -> str:
    if (sqlstate_of(error) or "28")[:2] not in ("28", "3D"):
        return ""
    text = str(error)
    return next((hint for phrase, hint in REFUSALS if phrase in text), "")
