"""The way of one message of the protocol: from a request that is let in, through the SDK, to a whole answer.

Owns the SDK's manager, which keeps no sessions, so that any process answers any message; the bounds of a message; and
how many are answered at a time. Answers are JSON and whole: nothing streams, so nothing is held by a reader who is
slow. Refuses HTTP (`controller`), and to know what is asked (`offer`).

The SDK is read with the first message: it takes half a second of the processor, which each start of the API would wait
for, and most processes are never asked.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from api.auth.users import Principal
from api.db import Database
from api.search.embedding import QueryEmbedder
from runtime.errors import DependencyUnavailable, RateLimited

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

MESSAGE_BYTES_MAX: Final = 65_536
"""Largest message. A search has some hundred bytes, a prompt about a change some ten thousand."""
EXCHANGE_S_MAX: Final = 20.0
"""Longest wait for an answer, in seconds: twice what a tool may take."""
CALLS_MAX: Final = 32
"""Messages that one process answers at a time: three for each connection to the database, of which some wait."""
CALLS_OF_USER_MAX: Final = 8
"""Messages of one user or key at a time: an agent that asks for several things at once has room, one that runs wild has
not."""
CALLER: Final = "adriatic_caller"
"""Where the scope of a request has who calls."""
PASSED_ON: Final = ("mcp-protocol-version", "mcp-method", "mcp-name")
"""Headers that the SDK reads. The credential is none of them: nobody behind this needs it."""


class McpAnswer(NamedTuple):
    """What the SDK answers. `body` is empty where a message needs no answer."""

    status: int
    body: bytes


class McpEndpoint:
    """One of a process, between the start of `run` and its end."""

    def __init__(self, database: Database, embedder: QueryEmbedder) -> None:
        self._database = database
        self._embedder = embedder
        self._calls = Counter[UUID]()
        self._wanted = asyncio.Event()
        self._over = asyncio.Event()
        self._manager: asyncio.Future[StreamableHTTPSessionManager] | None = None

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Take messages for the length of the block."""
        self._manager = asyncio.get_running_loop().create_future()
        keeper = asyncio.create_task(self._keep(self._manager), name="mcp")
        try:
            yield
        finally:
            self._over.set()
            self._wanted.set()
            await keeper

    async def _keep(self, made: asyncio.Future[StreamableHTTPSessionManager]) -> None:
        """The manager, from the first message to the end. What it begins is ended by the task that began it."""
        await self._wanted.wait()
        if self._over.is_set():
            made.cancel()
            return
        try:
            manager = await asyncio.to_thread(self._make)
        except Exception as error:
            made.set_exception(error)
            return
        async with manager.run():
            made.set_result(manager)
            await self._over.wait()

    def _make(self) -> StreamableHTTPSessionManager:
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        from api.mcp.offer import McpOffer
        from api.mcp.server import make_server

        return StreamableHTTPSessionManager(
            make_server(McpOffer(self._database, self._embedder)),
            json_response=True,
            stateless=True,
            max_request_body_size=MESSAGE_BYTES_MAX,
        )

    async def exchange(self, caller: Principal, headers: Mapping[str, str], message: bytes) -> McpAnswer:
        """The answer to one message of a caller. Raises `RateLimited` and `DependencyUnavailable`."""
        with self._admit(caller.user_id):
            try:
                async with asyncio.timeout(EXCHANGE_S_MAX):
                    return await self._ask(caller, headers, message)
            except TimeoutError:
                late = f"the message was not answered within {EXCHANGE_S_MAX:g} s"
                raise DependencyUnavailable(late, hint="ask again, for less") from None

    @contextmanager
    def _admit(self, user_id: UUID) -> Iterator[None]:
        if self._calls[user_id] >= CALLS_OF_USER_MAX:
            raise RateLimited(
                f"{CALLS_OF_USER_MAX} messages of yours are being answered", hint="wait for one, then ask again"
            )
        if self._calls.total() >= CALLS_MAX:
            raise DependencyUnavailable(f"{CALLS_MAX} messages are being answered", hint="ask again in a second")
        self._calls[user_id] += 1
        try:
            yield
        finally:
            self._calls[user_id] -= 1
            if not self._calls[user_id]:
                del self._calls[user_id]

    async def _ask(self, caller: Principal, headers: Mapping[str, str], message: bytes) -> McpAnswer:
        """One exchange with the SDK, which gets the whole message and gives the whole answer."""
        # It always answers in JSON, so what a caller would accept is not asked.
        given = [(b"content-type", b"application/json"), (b"accept", b"application/json")]
        given += [(name.encode(), headers[name].encode("latin-1")) for name in PASSED_ON if name in headers]
        incoming = [{"type": "http.request", "body": message, "more_body": False}]
        status, parts = 500, list[bytes]()

        async def receive() -> dict[str, Any]:
            return incoming.pop() if incoming else await _never()

        async def send(event: Any) -> None:
            nonlocal status
            if event["type"] == "http.response.start":
                status = event["status"]
            else:
                parts.append(event.get("body", b""))

        assert self._manager is not None, "it runs"
        self._wanted.set()
        manager = await asyncio.shield(self._manager)
        await manager.handle_request(_scope(given, caller), receive, send)
        return McpAnswer(int(status), b"".join(parts))


def _scope(headers: Sequence[tuple[bytes, bytes]], caller: Principal) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/mcp",
        "raw_path": b"/mcp",
        "root_path": "",
        "query_string": b"",
        "headers": list(headers),
        "client": None,
        "server": None,
        CALLER: caller,
    }


async def _never() -> dict[str, Any]:
    """The caller does not leave: whether it did is not asked, since the answer is bounded."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")
