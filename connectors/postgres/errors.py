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

from runtime.errors import AdriaticError, Defect, DependencyUnavailable, Halted, LostRace, Unprepared, Unprocessable

DETAIL_CHARS_MAX: Final = 1_024
"""Longest text of an error that is shown or kept."""

Meaning = Literal["away", "unprepared", "race", "data", "damaged", "defect"]

CLASSES: Final[Mapping[str, Meaning]] = {
    "00": "defect",  # success: no error
    "01": "defect",  # warning
    "02": "defect",  # no data: raised by code in the database alone, of which we have none that does
    "03": "defect",  # SQL statement not yet complete
    "08": "away",  # connection exception
    "09": "defect",  # triggered action exception
    "0A": "unprepared",  # feature not supported: also a plan that a migration has made stale, which a new one heals
    "0B": "defect",  # invalid transaction initiation
    "0F": "defect",  # locator exception
    "0L": "defect",  # invalid grantor
    "0P": "unprepared",  # invalid role specification
    "0Z": "defect",  # diagnostics exception
    "10": "defect",  # XQuery error
    "20": "defect",  # case not found
    "21": "data",  # cardinality violation: a key twice in what one statement writes
    "22": "data",  # data exception
    "23": "data",  # integrity constraint violation
    "24": "defect",  # invalid cursor state
    "25": "defect",  # invalid transaction state
    "26": "away",  # invalid SQL statement name: the session is not the one that prepared it
    "27": "defect",  # triggered data change violation
    "28": "unprepared",  # invalid authorization specification
    "2B": "defect",  # dependent privilege descriptors still exist
    "2D": "defect",  # invalid transaction termination
    "2F": "defect",  # SQL routine exception
    "34": "defect",  # invalid cursor name
    "38": "defect",  # external routine exception
    "39": "defect",  # external routine invocation exception
    "3B": "defect",  # savepoint exception
    "3D": "unprepared",  # invalid catalog name: no such database
    "3F": "unprepared",  # invalid schema name
    "40": "race",  # transaction rollback
    "42": "defect",  # syntax error or access rule violation
    "44": "data",  # WITH CHECK OPTION violation
    "53": "away",  # insufficient resources
    "54": "data",  # program limit exceeded: a text that is too long for an index
    "55": "unprepared",  # object not in prerequisite state
    "57": "away",  # operator intervention: shutting down, starting up, statement time-out
    "58": "away",  # system error outside of PostgreSQL
    "72": "away",  # snapshot failure
    "F0": "unprepared",  # configuration file error
    "HV": "away",  # foreign data wrapper error
    "P0": "defect",  # PL/pgSQL error
    "XX": "away",  # internal error
}
"""A class that is not here is younger than this table, and is taken for an outage: lag, never a loss (law 7)."""

STATES: Final[Mapping[str, Meaning]] = {
    "25006": "away",  # read-only transaction: a standby, until it is promoted
    "25P03": "away",  # idle-in-transaction time-out: this process was frozen
    "25P04": "away",  # transaction time-out
    "40003": "away",  # statement completion unknown
    # An object that is missing or other than it was: a migration that has not run yet, or a newer release's.
    "42501": "unprepared",  # insufficient privilege
    "42703": "unprepared",  # undefined column
    "42704": "unprepared",  # undefined object
    "42804": "unprepared",  # datatype mismatch
    "42809": "unprepared",  # wrong object type
    "42883": "unprepared",  # undefined function
    "42P01": "unprepared",  # undefined table
    "42P05": "away",  # duplicate prepared statement: see class 26
    "42P10": "unprepared",  # invalid column reference: no such index for ON CONFLICT
    "55006": "away",  # object in use
    "55P03": "away",  # lock not available
    "55P04": "defect",  # unsafe use of a new enum value: a migration's
    "XX001": "damaged",  # data corrupted
    "XX002": "damaged",  # index corrupted
}
"""Codes that mean something else than their class."""

CLIENTS: Final[Mapping[str, Meaning]] = {
    "psycopg.Error": "away",
    "psycopg.InterfaceError": "away",  # used after it was lost
    "psycopg.DatabaseError": "away",
    "psycopg.DataError": "data",  # refused before it was sent: a NUL in a text, a number out of range
    "psycopg.OperationalError": "away",  # refused or lost; see REFUSALS
    "psycopg.IntegrityError": "data",
    "psycopg.InternalError": "defect",
    "psycopg.ProgrammingError": "defect",
    "psycopg.NotSupportedError": "defect",
    "psycopg.ConnectionTimeout": "away",
    "psycopg.CancellationTimeout": "away",
    "psycopg.PipelineAborted": "away",
    "psycopg._WaitTimeout": "away",
    "asyncpg.PostgresError": "away",
    "asyncpg.FatalPostgresError": "away",
    "asyncpg.UnknownPostgresError": "away",
    "asyncpg.InterfaceError": "away",  # used after it was lost
    "asyncpg.DataError": "data",  # refused before it was sent
    "asyncpg.ClientConfigurationError": "unprepared",
    "asyncpg.UnsupportedClientFeatureError": "defect",
    "asyncpg.UnsupportedServerFeatureError": "defect",
    "asyncpg.InternalClientError": "away",  # the connection went away in the middle of the protocol
    "asyncpg.ProtocolError": "away",
    "asyncpg.OutdatedSchemaCacheError": "away",  # a migration changed a type; the cache is new afterwards
    "asyncpg.TargetServerAttributeNotMatched": "away",
    "builtins.OSError": "away",  # asyncpg lets the network's own errors through
}
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
    names = [f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(error).__mro__]
    if (state := sqlstate_of(error)) is not None:
        return STATES.get(state) or CLASSES.get(state[:2], "away")
    meaning = next((CLIENTS[name] for name in names if name in CLIENTS), None)
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
