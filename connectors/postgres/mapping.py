"""What psycopg's exceptions mean here.

Owns one rule: what a server says while it is away, busy, starting or shutting down is `DependencyUnavailable` (retry);
what it says about us (password, rights, missing objects) is `Misconfigured` (somebody must act, and we look again);
everything else about our statements is `Halted`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg

from runtime.errors import AdriaticError, DependencyUnavailable, Halted, Misconfigured

_AWAY = (
    pg.OperationalError,  # connection lost or refused, 57P01 shutdown, 57P03 starting, 53xxx out of resources
    pg.InterfaceError,  # used after it was lost
    pg.LockNotAvailable,
    pg.DeadlockDetected,
    pg.SerializationFailure,
    pg.ObjectInUse,
    pg.QueryCanceled,
)
_OURS = (
    pg.InvalidAuthorizationSpecification,
    pg.InvalidPassword,
    pg.InsufficientPrivilege,
    pg.InvalidCatalogName,
    pg.UndefinedObject,
    pg.UndefinedTable,
    pg.InvalidSchemaName,
    pg.ObjectNotInPrerequisiteState,
)
_REFUSED = ("authentication failed", "no pg_hba.conf entry", "no password supplied", 'database "', 'role "')
"""libpq gives no SQLSTATE for a connection that the server refused: its words are all there is."""


def mapped(error: psycopg.Error, doing: str) -> AdriaticError:
    """The error of ours for one of psycopg's; `doing` says what was tried."""
    text = (error.diag.message_primary or str(error)).strip().splitlines()
    detail = f"{doing}: {text[-1] if text else type(error).__name__}"
    hint = error.diag.message_hint or ""
    if isinstance(error, _OURS) or (error.sqlstate is None and any(word in str(error) for word in _REFUSED)):
        return Misconfigured(detail, hint=hint or "run `adriatic migrate`, and compare the [postgres] settings")
    if isinstance(error, _AWAY):
        return DependencyUnavailable(detail, hint=hint or "is Postgres running, and is its address right?")
    return Halted(detail, hint=hint)


@contextmanager
def boundary(doing: str) -> Iterator[None]:
    """Run a block that talks to Postgres."""
    try:
        yield
    except psycopg.Error as error:
        raise mapped(error, doing) from error
