"""A small site on loopback, for a crawl that needs no network: a few pages, and what a crawler must not fall for.

Owns what the site answers and notes, its names, which no resolver but ours knows, and a listener where nobody may
connect. Refuses to know crawls (`crawling`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from adriatic.stack.ports import LOOPBACK

HOST = "harbour.test"
"""The site. Its address is private, so settings must allow it by this name."""
INSIDE = "inside.test"
"""What the site leads to and no setting allows: a machine of one's own network."""
FORBIDDEN = "/desk/wages"
"""What its `robots.txt` forbids."""
TRAP = "/door"
"""A redirect to what is inside."""
GONE = "/timetable-of-1998"
PAGES = {
    "/": ("Saltmarsh harbour", ("/berths", "/tides", "/copy", FORBIDDEN, TRAP, GONE)),
    "/berths": ("Berths", ("/", "/tides")),
    "/tides": ("Tides", ("/tides/tables",)),
    "/tides/tables": ("Tables of tides", ("/",)),
}
"""Title and links of each page, by its path."""
COPIES = {"/copy": "/berths"}
"""A page whose text is that of another one."""
SENTENCES = 12


class LocalSite:
    """The pages, and what was asked for, in order. `connected` counts those who came to the forbidden door."""

    def __init__(self) -> None:
        self.port = 0
        self.inside_port = 0
        self.asked: list[str] = []
        self.connected = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/"

    async def resolve(self, host: str) -> list[str]:
        """What a resolver says of these names; of others, that there are none."""
        if host in (HOST, INSIDE):
            return [LOOPBACK]
        raise OSError("no such name")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path == "/robots.txt":
            return web.Response(text=f"User-agent: *\nDisallow: {FORBIDDEN}\n")
        if request.path == TRAP:
            return web.Response(status=302, headers={"Location": f"http://{INSIDE}:{self.inside_port}/"})
        page = PAGES.get(COPIES.get(request.path, request.path))
        if page is None:
            return web.Response(status=404)
        return web.Response(text=_write(*page), content_type="text/html")


def _write(title: str, links: tuple[str, ...]) -> str:
    """A page with a text that is long enough to be one, and no other's."""
    said = " ".join(f"The {title.lower()} have rule {number * len(title)}." for number in range(SENTENCES))
    listed = "".join(f'<li><a href="{link}">{link}</a></li>' for link in links)
    head = f"<head><title>{title}</title></head>"
    return f"<html>{head}<body><main><h1>{title}</h1><p>{said}</p><ul>{listed}</ul></main></body></html>"


@asynccontextmanager
async def serve_site() -> AsyncIterator[LocalSite]:
    """The site and the listener, until the end of the block."""
    site = LocalSite()

    async def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        site.connected += 1
        writer.close()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", site.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    inside = await asyncio.start_server(count, LOOPBACK, 0)
    try:
        listening = web.TCPSite(runner, LOOPBACK, 0)
        await listening.start()
        site.port = runner.addresses[0][1]
        site.inside_port = inside.sockets[0].getsockname()[1]
        yield site
    finally:
        inside.close()
        await runner.cleanup()
