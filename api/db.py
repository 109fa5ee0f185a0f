"""The API's connections to Postgres, and the only way to use one: inside a transaction that has a tenant.

Owns the pool (role `adriatic_api`, which row security binds), its bounds, and what an error of the database is to a
caller (what it means is in `connectors/postgres/errors.py`). Starts without a database and heals by itself when one
appears. Refuses SQL: services have it.

Read next: `schemas/sql/0001_foundation.sql`, where the tenant of a transaction becomes a policy.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import msgspec
from pgvector.asyncpg import register_vector

from connectors.postgres.errors import map_error
from connectors.postgres.wal import SELECT_NOW
from runtime.deadline import Deadline
from runtime.errors import AdriaticError, Conflict, DependencyUnavailable, InvalidInput, LostRace, Unprocessable
from runtime.logs import get_logger
from runtime.settings import PostgresSettings, Role

log = get_logger("api")

Row = TypeVar("Row")
Connection = Any
"""An asyncpg connection. The library has no annotations, so this name is all that a type checker can hold on to."""

CONNECT_S_MAX = 3.0
"""Time to open a connection. A server that takes longer is away, as far as a waiting caller is concerned."""
ACQUIRE_S_MAX = 5.0
"""Time to wait for a free connection. Longer than the wait under a healthy burst (50 creates on one log take well under
a second), short enough that a caller behind a stuck database gets its 503 before its own client gives up."""
STATEMENT_S_MAX = 10.0
"""Time for one statement; the server ends it. Every statement of the API is bounded by its limits; one that takes
longer is a plan gone wrong, and holds one of few connections."""
COMMAND_S_MAX = STATEMENT_S_MAX + 2.0
"""Time for one round trip, on our side: only reached when the server cannot even say that it gave up."""
IDLE_IN_TRANSACTION_S_MAX = 30.0
"""A transaction that does nothing for this long has lost its process; the server takes its locks back."""
NOT_STORABLE = "text holds no U+0000, and times lie in the years 1 to 9999"
"""What the API's own checks let through, mostly."""
RETRY_AFTER_S = 2
"""What a 503 tells the caller: a restart of Postgres takes about this long."""

_DIED = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)


REFUSED = "AT"
"""How the codes begin by which our own functions in the database refuse."""


class CallRefused(Exception):
    """A function in the database refuses what was asked of it, and has done nothing. `code`: its SQLSTATE; `detail`:
    JSON, as the function says."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


@contextmanager
def translate_for_caller() -> Iterator[None]:
    """Turn asyncpg's exceptions into ours. What a service catches itself (a unique violation) does not get here."""
    try:
        yield
    except Exception as error:
        if (ours := map_error(error, "the database cannot serve right now")) is None:
            raise
        raise _tell_caller(ours) from error


def _tell_caller(error: AdriaticError) -> AdriaticError:
    """What the error is to somebody who made a request: the values in hand are the request's."""
    if isinstance(error, Unprocessable):
        log.warning("a value was not refused before", detail=error.detail)
        return InvalidInput(f"the database does not take a value: {error.detail}", hint=NOT_STORABLE)
    if isinstance(error, LostRace):
        return Conflict("another write to the same rows came first", hint="read again and repeat the request")
    if isinstance(error, DependencyUnavailable):
        return type(error)(error.detail, hint=f"try again in {RETRY_AFTER_S} s")
    return error


async def _send_vectors_in_binary(connection: Any) -> None:
    """Once a connection. A database that has no vectors yet is for readiness to tell of."""
    with suppress(ValueError):
        await register_vector(connection)


async def _keep(_connection: Any) -> None:
    """Nothing outlives a transaction that would have to be reset: the tenant and time-outs are set for its length, and
    nobody listens, locks or declares beyond it. asyncpg would ask the server all the same, each time."""


class Database:
    """A bounded pool of connections of one role. `open` needs no server; the first use does."""

    def __init__(self, settings: PostgresSettings, role: Role = "api", connections_max: int | None = None) -> None:
        self._settings = settings
        self._role: Role = role
        self.connections_max = connections_max or settings.api_pool_max
        self._pool: Any = None

    async def open(self) -> None:
        """Make the pool, without connecting."""
        assert self._pool is None, "opened twice"
        self._pool = await asyncpg.create_pool(
            self._settings.dsn(self._role),
            password=self._read_password,
            min_size=0,
            max_size=self.connections_max,
            timeout=CONNECT_S_MAX,
            command_timeout=COMMAND_S_MAX,
            server_settings=_SESSION,
            init=_send_vectors_in_binary,
            reset=_keep,
        )

    async def close(self) -> None:
        """Let the transactions in flight end, for as long as a statement may take, then close everything."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            await asyncio.wait_for(pool.close(), COMMAND_S_MAX)
        except TimeoutError:
            pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection with no transaction and no tenant: it sees no tenant's rows.

        Raises `DependencyUnavailable` when none is free or none can be opened.
        """
        assert self._pool is not None, "used before `open` or after `close`"
        with translate_for_caller():
            async with self._pool.acquire(timeout=ACQUIRE_S_MAX) as connection:
                yield connection

    @asynccontextmanager
    async def begin(
        self,
        tenant_id: UUID,
        *,
        read_only: bool,
        committed: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> AsyncIterator[Connection]:
        """A connection in a transaction of one tenant. asyncpg's own exceptions pass through.

        `committed` is called with it after the commit, when it must not raise any more.
        """
        assert isinstance(tenant_id, UUID), "it becomes a part of a statement"
        connection, _ = await self._ask_first(lambda fresh: fresh.execute(_BEGIN[read_only] % tenant_id))
        try:
            try:
                yield connection
            except BaseException:
                if not connection.is_closed():
                    await connection.execute("rollback")
                raise
            await connection.execute("commit")
            if committed:
                await committed(connection)
        finally:
            await self._pool.release(connection)

    async def call(self, statement: str, *values: Any) -> Any:
        """The first row of one statement that is a transaction by itself, and says by itself whose rows it writes: one
        round trip. It is asked again when its connection had died, so it must be one that may come twice.

        Raises `CallRefused` for what the statement itself refuses.
        """
        return await self._call(lambda fresh: fresh.fetchrow(statement, *values))

    async def call_all(self, statement: str, *values: Any) -> Any:
        """The same with all rows."""
        return await self._call(lambda fresh: fresh.fetch(statement, *values))

    async def _call(self, ask: Callable[[Connection], Awaitable[Any]]) -> Any:
        with translate_for_caller():
            try:
                connection, found = await self._ask_first(ask)
            except asyncpg.PostgresError as error:
                if str(error.sqlstate).startswith(REFUSED):
                    raise CallRefused(str(error.sqlstate), error.detail or "") from None
                raise
            await self._pool.release(connection)
            return found

    async def _ask_first(self, ask: Callable[[Connection], Awaitable[Any]]) -> tuple[Connection, Any]:
        """A connection, and what it answers to the first question. Whoever gets it releases it.

        Connections that died while nobody used them (a restarted server, a firewall) show that at their first
        statement; as a rule nothing is done by then, so the next connection is asked instead of failing the caller.
        """
        assert self._pool is not None, "used before `open` or after `close`"
        deadline = Deadline.after(ACQUIRE_S_MAX)
        for tries_left in range(self.connections_max, -1, -1):
            connection = await self._pool.acquire(timeout=deadline.left_s)
            try:
                return connection, await ask(connection)
            except BaseException as error:
                died = isinstance(error, _DIED)
                if died or not isinstance(error, asyncpg.PostgresError):
                    # Also for a caller who left in the middle: the connection's state is nobody's business.
                    connection.terminate()
                await self._pool.release(connection)
                if not died or tries_left == 0 or deadline.passed:
                    raise
        raise AssertionError("the last try returns or raises")

    def single(self) -> AbstractAsyncContextManager[Connection]:
        """A connection outside the pool, for probes, which must not depend on how busy the pool is."""
        return single(self._settings.dsn(self._role), CONNECT_S_MAX)

    async def _read_password(self) -> str:
        """Asked for each connection: a password that was changed needs no new process."""
        return await asyncio.to_thread(self._settings.password, self._role)


@asynccontextmanager
async def single(dsn: str, answer_s: float) -> AsyncIterator[Connection]:
    """A connection of its own for the length of the block, which sees no tenant's rows. The server has `answer_s`
    seconds for the connection, and for each command."""
    with translate_for_caller():
        connection = await asyncpg.connect(dsn, timeout=answer_s, command_timeout=answer_s, server_settings=_SESSION)
        try:
            yield connection
        finally:
            await connection.close(timeout=CONNECT_S_MAX)


class LastWrite:
    """The newest commit of one request: `lsn` is at or after it, None while there was none."""

    lsn: str | None = None


LAST_WRITE: ContextVar[LastWrite | None] = ContextVar("last_write", default=None)
"""The edge puts one there for each request that may write, and shows its `lsn` in the answer. A view whose `as_of.lsn`
has reached that shows the write."""


async def _note(connection: Connection) -> None:
    """Note the position after a commit. A server that went away right after it leaves it unknown: the write stands all
    the same."""
    if (last := LAST_WRITE.get()) is not None:
        last.lsn = None
        with contextlib.suppress(asyncpg.PostgresError, *_DIED, TimeoutError):
            last.lsn, _ = await read_now(connection)


async def read_now(connection: Connection) -> tuple[str, str]:
    """The position of the WAL and the snapshot now, both as Postgres' text."""
    return tuple(await connection.fetchrow(SELECT_NOW))


@asynccontextmanager
async def tenant_transaction(
    database: Database, tenant_id: UUID, *, read_only: bool = False
) -> AsyncIterator[Connection]:
    """A transaction that sees and writes the rows of one tenant; committed when the block ends, undone if it raises.

    Where the request may write, its `LAST_WRITE` has the position afterwards. `read_only` gives one snapshot for all
    statements of the block, so that rows and the watermark that is shown with them belong together. Never hold one
    while a response is streamed.
    """
    with translate_for_caller():
        committed = None if read_only else _note
        async with database.begin(tenant_id, read_only=read_only, committed=committed) as connection:
            yield connection


def to_struct(row: Mapping[str, Any], wanted: type[Row], *json_columns: str) -> Row:
    """A row as a value of the type `wanted`. asyncpg gives JSON as its text."""
    values = dict(row)
    for name in json_columns:
        if isinstance(values[name], str):
            values[name] = msgspec.json.decode(values[name])
    return msgspec.convert(values, wanted)


@asynccontextmanager
async def savepoint(connection: Connection) -> AsyncIterator[None]:
    """What the block does, all or nothing, within the transaction that `connection` is in. One at a time."""
    await connection.execute("savepoint block")
    try:
        yield
    except BaseException:
        if not connection.is_closed():
            await connection.execute("rollback to savepoint block")
        raise
    await connection.execute("release savepoint block")


_BEGIN = {
    read_only: f"begin {mode}; select set_config('app.tenant_id', '%s', true)"
    for read_only, mode in ((True, "isolation level repeatable read read only"), (False, "read write"))
}
"""One round trip. The tenant is a UUID, so it needs no parameter, which two commands could not have."""
_SESSION = {
    "application_name": "adriatic-api",
    "timezone": "UTC",
    "statement_timeout": f"{STATEMENT_S_MAX * 1000:.0f}",
    "lock_timeout": f"{ACQUIRE_S_MAX * 1000:.0f}",
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_S_MAX * 1000:.0f}",
    # Plans are made for the tenant at hand; a generic plan is made for an average tenant that nobody is.
    "plan_cache_mode": "force_custom_plan",
}
