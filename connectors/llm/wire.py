"""One POST to a provider, and its answer as it comes: the way of all dialects to their servers.

Owns the connections, the refusal as an exception, and the end of a response. Refuses dialects, keys and time-outs
between pieces; that to connect it hands to aiohttp. The SDKs make the same request at ten times the cost, and a second
of imports at the start: tests hold what is sent here to what they would send.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec
from yarl import URL

from connectors.llm import hangup
from connectors.llm.failures import StatusError

IDLE_S_MAX = 30.0
"""How long a connection that nobody uses is kept, in seconds: who asks again soon finds one that is open."""
ERROR_BYTES_MAX = 65_536
"""What is read of a refusal. They have a kilobyte, with their details."""
REST_S_MAX = 0.05
"""How long the end of a response is waited for after the last event, so that its connection can be used again. It comes
with the event, or it is not worth the wait."""
_HEADERS = {"accept": "text/event-stream", "content-type": "application/json", "user-agent": "adriatic"}


class _ReadTimer:
    """The time-out of each read of one response, by one timer that is set anew only when it goes off: a timer for each
    piece of an answer would cost a tenth of what the piece costs. Close it."""

    __slots__ = ("_handle", "_late", "_loop", "_set_for_s", "_task", "_until_s")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._set_for_s = 0.0
        self._until_s = 0.0
        self._task: asyncio.Task[Any] | None = None
        """Who waits now."""
        self._late = False

    async def read(self, content: aiohttp.StreamReader, wait_s: float) -> bytes:
        """What `content` has next. Raises `TimeoutError` when it does not come in `wait_s`."""
        self._task = task = asyncio.current_task()
        assert task, "a response is read by a task"
        cancelling = task.cancelling()
        self._until_s, self._late = self._loop.time() + wait_s, False
        if self._handle is None or self._until_s < self._set_for_s:
            self._set(self._until_s)
        try:
            return await content.readany()
        except asyncio.CancelledError:
            # Only what was cancelled from here: somebody else's wish to end the task goes on.
            if self._late and task.uncancel() <= cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._task = None

    def _set(self, at_s: float) -> None:
        self.close()
        self._set_for_s = at_s
        self._handle = self._loop.call_at(at_s, self._look)

    def _look(self) -> None:
        self._handle = None
        if self._task is None:
            return
        if self._loop.time() < self._until_s:
            self._set(self._until_s)
        else:
            self._late = True
            self._task.cancel()

    def close(self) -> None:
        if self._handle:
            self._handle.cancel()
            self._handle = None


class ProviderResponse:
    """A response that has begun. Whoever opened it closes it."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content
        self._timer = _ReadTimer()

    def close(self) -> None:
        self._timer.close()

    async def read(self, wait_s: float) -> bytes:
        """The next bytes of the body, empty at its end. Raises `TimeoutError` when they do not come in `wait_s`, and
        what aiohttp raises."""
        return self._content.read_nowait() or await self._timer.read(self._content, wait_s)

    async def read_rest(self) -> None:
        """Read to the end, if it is there. What goes wrong after an answer is nobody's concern."""
        if self._content.at_eof():
            return
        with contextlib.suppress(Exception):
            async with asyncio.timeout(REST_S_MAX):
                while await self._content.readany():
                    pass


class ProviderClient:
    """The connections to one address. How many is bounded by whoever asks (`llm.in_flight_max`). Close it."""

    def __init__(self, url: str, connect_s: float) -> None:
        self._url = URL(url, encoded=True)
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """What is open is closed, also in the middle of an answer."""
        if self._session:
            await self._session.close()

    @asynccontextmanager
    async def post(self, request: Mapping[str, Any], headers: Mapping[str, str]) -> AsyncIterator[ProviderResponse]:
        """Ask. Leaving the block closes a connection whose response was not read to its end. Raises `StatusError` for a
        refusal, and what aiohttp raises. A redirect is a refusal: key and prompt would go wherever it points."""
        session = self._session or self._open()
        response = await session.post(
            self._url,
            data=msgspec.json.encode(request),
            headers={**_HEADERS, **headers},
            allow_redirects=False,
            timeout=self._timeout,
        )
        try:
            if response.status != 200:
                raise StatusError(response.status, response.headers, await _read_refusal(response))
            hangup.offer(functools.partial(_cut, response))
            with contextlib.closing(ProviderResponse(response)) as opened:
                yield opened
        finally:
            response.close()

    def _open(self) -> aiohttp.ClientSession:
        """Made at the first question, since it belongs to the loop that asks."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S_MAX),
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=_find_proxy(self._url),
        )
        return self._session


def _find_proxy(url: URL) -> str | None:
    """The proxy that the environment has for an address. aiohttp would look for one at each request, and into a file
    of passwords beside it."""
    return None if proxy_bypass(url.host or "") else getproxies().get(url.scheme)


def _cut(response: aiohttp.ClientResponse) -> None:
    """Close the connection of a response that is being read. The other side is told in this moment: closing a transport
    is done in a later turn of the loop, behind all that waits for one."""
    transport = response.connection.transport if response.connection else None
    found = transport.get_extra_info("socket") if transport else None
    if found is not None and found.fileno() >= 0:
        borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=found.fileno())  # of whatever family it is
        with contextlib.suppress(OSError):  # it is closed already
            borrowed.shutdown(socket.SHUT_RDWR)
        borrowed.detach()
    response.close()


async def _read_refusal(response: aiohttp.ClientResponse) -> Any:
    """The body of a refusal: as JSON, else as text."""
    read = b""
    async for part in response.content.iter_any():
        read += part
        if len(read) > ERROR_BYTES_MAX:
            return None
    try:
        return msgspec.json.decode(read)
    except msgspec.DecodeError:
        return read.decode(errors="replace")
