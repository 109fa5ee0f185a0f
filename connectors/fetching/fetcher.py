"""Asks for what an address names, within bounds, and connects to nothing that is not public.

Owns the order of things: the address is looked at, its name resolved once for a connection, every address that it has
checked, and the connection made to one of these and to no other. A redirect begins anew, and is counted. Size, unpacked
size, time and type are bounded, whatever the other side sends and however slowly. Refuses cookies, credentials and
proxies, and to repeat anything.

The transport is aiohttp, which connects where its resolver says; Host and the name in TLS are those of the address. It
runs in a thread with a loop of its own, so that a bound on time ends whatever is waited for.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import zlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from connectors.fetching import AGENT, FetchedAnswer, FetchRequest, NotFetched
from connectors.fetching.addresses import why_refused
from connectors.fetching.urls import is_literal, normalise
from runtime.lifecycle import StopRequested
from runtime.settings import CrawlerSettings

CONNECT_S_MAX = 10.0
"""Longest wait for a connection: a server that is there answers in a tenth of that, from wherever."""
SILENCE_S_MAX = 10.0
"""Longest pause in an answer. One that drips faster than that ends at the bound of the whole."""
LINE_BYTES_MAX = 8_190
"""Longest line of an answer's head, as most servers have it for requests."""
HEADER_CHARS_MAX = 500
"""What is handed on of one header: tags have forty characters, dates thirty."""
ADDRESSES_MAX = 16
"""Most addresses of a name that are looked at; with more, it is refused. Large sites have eight."""
PART_BYTES = 65_536
UNPACKED_FACTOR = 4
"""How much larger than its bound on the wire an answer may be unpacked: pages pack to a fifth. Beyond it, it is a
bomb."""
CONNECTIONS_MAX = 8
"""Most connections of one process at a time: twice the places of a worker."""
IDLE_S = 15.0
"""How long a connection waits for the next page of its host."""

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_KEPT = (
    *("etag", "last-modified", "retry-after", "x-robots-tag", "content-type", "link"),
    *("access-control-allow-origin", "x-frame-options"),
)
"""Headers of an answer that are handed on."""

Resolve = Callable[[str], Awaitable[list[str]]]
"""The addresses of a name, as text. Raises `OSError` when there are none."""


class _Refusal(Exception):
    """Ends a request; becomes `NotFetched`."""

    def __init__(self, failure: NotFetched) -> None:
        super().__init__(failure.detail)
        self.failure = failure


async def resolve_name(host: str) -> list[str]:
    """Ask the machine's own resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _CheckedResolver(AbstractResolver):
    """Resolves, and hands on nothing unless all of it may be connected to."""

    def __init__(self, resolve: Resolve, private: frozenset[str]) -> None:
        self._resolve = resolve
        self._private = private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family
        addresses = await self._resolve(host)
        if not addresses or len(addresses) > ADDRESSES_MAX:
            raise OSError(f"it has {len(addresses)} addresses")
        for address in addresses:
            require_allowed(host, address, self._private)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


def require_allowed(host: str, address: str, private: frozenset[str]) -> None:
    """Raise unless `host` may lead to `address`. Which one it is nobody is told: names of an inner network are none of
    a tenant's business."""
    if reason := why_refused(address, private=host in private):
        raise _Refusal(NotFetched("forbidden-address", f"{host} leads to what {reason}"))


class Fetcher:
    """The client of one process. `ask` may be called by many threads, and blocks."""

    def __init__(self, settings: CrawlerSettings, resolve: Resolve = resolve_name) -> None:
        contact = f" (+{settings.contact})" if settings.contact else ""
        self._headers = {"user-agent": f"{AGENT}/1{contact}", "accept-encoding": "gzip", "accept-language": "*"}
        self._private = frozenset(name.lower() for name in settings.allowed_private)
        self._resolve = resolve
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fetcher", daemon=True)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._thread.start()

    def ask(self, request: FetchRequest) -> FetchedAnswer | NotFetched:
        """What came, or why nothing did. Raises `StopRequested` when this is closed meanwhile."""
        if self._closed:
            raise StopRequested
        try:
            return asyncio.run_coroutine_threadsafe(self._fetch(request), self._loop).result()
        except CancelledError:
            raise StopRequested from None

    def may_be_private(self, host: str) -> bool:
        """Whether settings let a host have a private address."""
        return host.lower() in self._private

    def close(self) -> None:
        """End every request. Whoever waits for one is asked to stop."""
        if self._closed:
            return
        self._closed = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _fetch(self, request: FetchRequest) -> FetchedAnswer | NotFetched:
        try:
            async with asyncio.timeout(request.seconds_max):
                return await self._follow(request)
        except _Refusal as refusal:
            return refusal.failure
        except (TimeoutError, aiohttp.ServerTimeoutError):
            return NotFetched("too-slow", f"it was not there after {request.seconds_max:g} s, or said nothing for long")
        except aiohttp.ClientConnectorDNSError:
            return NotFetched("unknown-name", "its name has no address, or too many")
        except aiohttp.ClientConnectorError as error:
            return NotFetched("no-connection", f"nothing can be connected to: {type(error).__name__}")
        except (aiohttp.ClientError, ValueError, OSError) as error:
            return NotFetched("bad-answer", f"the answer cannot be read: {type(error).__name__}")

    async def _follow(self, request: FetchRequest) -> FetchedAnswer:
        url = request.url
        for _ in range(request.redirects_max + 1):
            answer = await self._ask_one(url, request)
            if not answer.location or not request.redirects_max:
                return answer
            url = answer.location
        raise _Refusal(NotFetched("too-many-redirects", f"more than {request.redirects_max} redirects"))

    async def _ask_one(self, url: str, request: FetchRequest) -> FetchedAnswer:
        try:
            url = normalise(url)
        except ValueError as error:
            raise _Refusal(NotFetched("forbidden-url", str(error))) from None
        if request.reach is not None and not request.reach.allows(url):
            raise _Refusal(NotFetched("not-allowed", "it is not on the list of hosts that the tenant allows"))
        target = URL(url, encoded=True)
        host = target.raw_host or ""
        if is_literal(host):  # a number is not resolved, so it is looked at here
            require_allowed(host, host, self._private)
        headers = {**self._headers, "accept": ", ".join(request.types) or "*/*", **request.headers}
        async with self._open().get(target, headers=headers, allow_redirects=False) as response:
            kept = {name: _plain(response.headers[name]) for name in _KEPT if name in response.headers}
            if ancestors := _find_ancestors(response.headers.getall("content-security-policy", [])):
                kept["frame-ancestors"] = ancestors
            answer = FetchedAnswer(url, response.status, _plain(response.content_type).lower(), kept)
            if response.status in _REDIRECTS and "location" in response.headers:
                return _point(answer, response.headers["location"])
            if response.status != 200:
                return answer
            return await _read(response, answer, request)

    def _open(self) -> aiohttp.ClientSession:
        """The session, made where its loop is."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_CheckedResolver(self._resolve, self._private),
                use_dns_cache=False,
                limit=CONNECTIONS_MAX,
                keepalive_timeout=IDLE_S,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S_MAX, sock_read=SILENCE_S_MAX),
                auto_decompress=False,
                max_line_size=LINE_BYTES_MAX,
                max_field_size=LINE_BYTES_MAX,
                trust_env=False,
            )
        return self._session


def _find_ancestors(policies: Sequence[str]) -> str:
    """Who may show an answer in a frame, as its policy says: one directive of a head that may be long. Of several
    policies all hold; what only one of them allows is not told."""
    said = [
        _plain(directive.strip()[len("frame-ancestors") :]).strip()
        for directive in ",".join(policies).replace(",", ";").split(";")
        if directive.strip().lower().startswith("frame-ancestors")
    ]
    return said[0] if len(set(said)) == 1 else "'none'" if said else ""


def _plain(text: str) -> str:
    """What of a header can be kept and said again: a server may send any bytes."""
    return "".join(sign for sign in text[:HEADER_CHARS_MAX] if " " <= sign <= "~")


def _point(answer: FetchedAnswer, location: str) -> FetchedAnswer:
    """The answer with where it leads."""
    try:
        target = normalise(location, answer.url)
    except ValueError as error:
        raise _Refusal(NotFetched("forbidden-url", f"it leads to what cannot be asked for: {error}")) from None
    return FetchedAnswer(answer.url, answer.status, answer.media_type, answer.headers, location=target)


async def _read(response: aiohttp.ClientResponse, answer: FetchedAnswer, request: FetchRequest) -> FetchedAnswer:
    """The answer with its body. What is too large is left when that is known, not when it is here."""
    if request.types and answer.media_type not in request.types:
        raise _Refusal(NotFetched("wrong-type", f"it is {answer.media_type[:100] or 'of no type'}"))
    if (response.content_length or 0) > request.bytes_max:
        raise _too_large(request)
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if packing not in ("identity", "gzip", "x-gzip", ""):
        raise _Refusal(NotFetched("bad-answer", "it is packed in a way that nobody asked for"))
    body, received = bytearray(), 0
    unpack: Any = zlib.decompressobj(wbits=31) if packing.endswith("gzip") else None
    async for part in response.content.iter_chunked(PART_BYTES):
        received += len(part)
        if received > request.bytes_max:
            raise _too_large(request)
        body += _unpack(unpack, part, request.bytes_max * UNPACKED_FACTOR - len(body)) if unpack else part
    if unpack and not unpack.eof:
        raise _Refusal(NotFetched("bad-answer", "it is packed, and ends in the middle"))
    return FetchedAnswer(answer.url, answer.status, answer.media_type, answer.headers, bytes(body), received=received)


def _unpack(unpack: Any, part: bytes, left: int) -> bytes:
    try:
        out: bytes = unpack.decompress(part, left + 1)
    except zlib.error:
        raise _Refusal(NotFetched("bad-answer", "it says that it is packed, and is not")) from None
    if len(out) > left:
        raise _Refusal(NotFetched("bomb", "unpacked it is far larger than any page"))
    return out


def _too_large(request: FetchRequest) -> _Refusal:
    return _Refusal(NotFetched("too-large", f"it has more than {request.bytes_max} bytes"))
