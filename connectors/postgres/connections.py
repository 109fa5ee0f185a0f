"""The one way to connect with psycopg: bounds, keep-alives and what a session is for. The API's pool of asyncpg has its
own in `api/db.py`.

Owns what each use may take before the server ends it. Refuses to retry, and to keep a connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

import psycopg

from connectors.postgres.errors import translate
from runtime.settings import PostgresSettings, Role

Connection = psycopg.Connection[tuple[Any, ...]]
Use = Literal["flow", "watch", "capture", "wal", "migrate", "probe", "verify"]

CONNECT_S_MAX: Final = 5
"""One attempt to connect. A server on the way up refuses at once; only a black hole takes this long."""
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVES_MAX = 10, 5, 3
"""Asked of both ends: a peer that vanished without a word is noticed after 25 s, and its locks are free."""
UNACKNOWLEDGED_MS_MAX: Final = 30_000
"""The same for what was sent and never taken."""


@dataclass(frozen=True, slots=True)
class SessionBounds:
    """How long a session of one kind may take, in milliseconds; 0 is for ever. `settings`: what else it needs."""

    statement_ms: int
    lock_ms: int = 0
    idle_in_transaction_ms: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    connect_s: int = CONNECT_S_MAX


SESSIONS: Final[Mapping[Use, SessionBounds]] = {
    # Nothing that a flow runs is this slow: a statement that is has met a lock that nobody will give back. Idle, it
    # frees the offset's row when a frozen process holds it, which will find itself fenced, or late.
    "flow": SessionBounds(statement_ms=120_000, idle_in_transaction_ms=120_000),
    # Looks take milliseconds. A longer one means that the database is in trouble: the look has failed.
    "watch": SessionBounds(statement_ms=3_000),
    # The account of capture: it would rather start its session again than be late with its feedback.
    "capture": SessionBounds(statement_ms=5_000, lock_ms=5_000),
    # The stream and the snapshot last as long as they last. R9: their values are text, which must not depend on how
    # somebody set the server.
    "wal": SessionBounds(
        statement_ms=0,
        settings={
            "datestyle": "ISO,YMD",
            "intervalstyle": "iso_8601",
            "extra_float_digits": "3",
            "bytea_output": "hex",
            "client_encoding": "UTF8",
            "idle_session_timeout": "0",
        },
    ),
    # It reads whole views in one snapshot, and computes vectors anew between two statements, minutes of a busy machine.
    "verify": SessionBounds(statement_ms=600_000, idle_in_transaction_ms=1_800_000),
    # A migration may rewrite a table; each sets its own bound on locks.
    "migrate": SessionBounds(statement_ms=0),
    # The supervisor asks every few seconds.
    "probe": SessionBounds(statement_ms=3_000, connect_s=3),
}


def connect(
    settings: PostgresSettings,
    use: Use = "flow",
    role: Role = "flows",
    *,
    name: str = "adriatic",
    database: str | None = None,
    autocommit: bool = False,
    **more: Any,
) -> Connection:
    """A connection of ours, called `name` in pg_stat_activity. `more` is for libpq. Raises what `errors.py` says."""
    bounds = SESSIONS[use]
    session = {
        "timezone": "UTC",
        "statement_timeout": bounds.statement_ms,
        "lock_timeout": bounds.lock_ms,
        "idle_in_transaction_session_timeout": bounds.idle_in_transaction_ms,
        "tcp_keepalives_idle": KEEPALIVE_IDLE_S,
        "tcp_keepalives_interval": KEEPALIVE_INTERVAL_S,
        "tcp_keepalives_count": KEEPALIVES_MAX,
        **bounds.settings,
    }
    with translate(f"connect to Postgres at {settings.host}:{settings.port} as {settings.user(role)}"):
        return psycopg.connect(
            settings.dsn(role, database),
            autocommit=autocommit,
            connect_timeout=bounds.connect_s,
            application_name=name,
            keepalives_idle=KEEPALIVE_IDLE_S,
            keepalives_interval=KEEPALIVE_INTERVAL_S,
            keepalives_count=KEEPALIVES_MAX,
            tcp_user_timeout=UNACKNOWLEDGED_MS_MAX,
            options=" ".join(f"-c {setting}={value}" for setting, value in session.items()),
            **more,
        )


def read_value(connection: Connection, query: Any, *parameters: Any) -> Any:
    """The first value of the first row; None where there is no row."""
    row = connection.execute(query, parameters or None).fetchone()
    return None if row is None else row[0]


class Session:
    """Something that works on one connection of its own, and closes it with the block that uses it. `reading` and
    `writing` are what it says of a statement that failed."""

    reading = writing = "Postgres"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The server gives up a slot, a lock or a transaction of it at once. Again is nothing."""
        self._connection.close()

    def _rows(self, query: Any, *values: Any) -> list[Any]:
        with translate(self.reading):
            return self._connection.execute(query, values).fetchall()

    def _row(self, query: Any, *values: Any) -> Any:
        """The only row. A query that may have none is asked for `_rows`."""
        (row,) = self._rows(query, *values)
        return row

    def _run(self, query: Any, *values: Any) -> None:
        with translate(self.writing):
            self._connection.execute(query, values)
