"""A web on loopback: names that only its own resolver knows, a server that notes what it was asked, and a listener
where nobody may connect.

`allowed` are names that settings would let be private; everything else at a private address is what a site could lead
to and must not.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from connectors.fetching.fetcher import Fetcher
from runtime.settings import CrawlerSettings

FORBIDDEN = "127.0.0.66"
"""Where the listener is. Names that lead there are not among those allowed."""
METADATA = "169.254.169.254"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def html(body: str, title: str = "A page", head: str = "") -> web.Response:
    document = f"<html><head><title>{title}</title>{head}</head><body><main>{body}</main></body></html>"
    return web.Response(text=document, content_type="text/html")


@dataclass
class LocalWeb:
    """What answers, by host and path, and what was asked, in order."""

    port: int = 0
    names: dict[str, list[str]] = field(default_factory=dict)
    """Addresses of names that lead elsewhere than here."""
    handlers: dict[tuple[str, str], Handler] = field(default_factory=dict)
    fallback: Handler | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    looked_up: Counter[str] = field(default_factory=Counter)
    at_once_max: dict[str, int] = field(default_factory=dict)
    connected: list[str] = field(default_factory=list)
    """Connections to the address where nobody may connect."""
    _at_once: Counter[str] = field(default_factory=Counter)

    def url(self, host: str, path: str = "/") -> str:
        return f"http://{host}:{self.port}{path}"

    def serve(self, host: str, path: str, handler: Handler) -> None:
        self.handlers[host, path] = handler

    def paths(self, host: str) -> list[str]:
        """What a host was asked for, but for its rules."""
        return [path for name, path in self.asked if name == host and path != "/robots.txt"]

    async def resolve(self, host: str) -> list[str]:
        self.looked_up[host] += 1
        if host in self.names:
            return list(self.names[host])
        if host.endswith(".test"):
            return ["127.0.0.1"]
        raise OSError("no such name")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        host = request.host.partition(":")[0]
        self.asked.append((host, request.path_qs))
        self.heads.append(dict(request.headers))
        self._at_once[host] += 1
        self.at_once_max[host] = max(self.at_once_max.get(host, 0), self._at_once[host])
        try:
            handler = self.handlers.get((host, request.path_qs)) or self.fallback
            if handler is None:
                return web.Response(status=404)
            return await handler(request)
        finally:
            self._at_once[host] -= 1

    @contextmanager
    def fetching(self, *allowed: str, delay_s: float = 0.0) -> Iterator[Fetcher]:
        settings = CrawlerSettings(allowed_private=allowed, delay_s=delay_s, contact="https://crawler.test/about")
        fetcher = Fetcher(settings, self.resolve)
        try:
            yield fetcher
        finally:
            fetcher.close()


@contextmanager
def serving_web() -> Iterator[LocalWeb]:
    """A server in a thread of its own, and the listener."""
    served = LocalWeb()
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()

    async def forbid(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.connected.append(str(writer.get_extra_info("peername")))
        writer.close()

    async def run() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", served.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        listening = socket.create_server(("127.0.0.1", 0))
        served.port = listening.getsockname()[1]
        await web.SockSite(runner, listening).start()
        forbidden = await asyncio.start_server(forbid, FORBIDDEN, served.port)
        ready.set()
        await stop.wait()
        forbidden.close()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
