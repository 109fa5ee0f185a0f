"""One page in the browser: given what came of it, left to its scripts until it rests, and read.

Owns which requests of a page are handed on (programs, what they read, and frames: by GET), what is answered with
nothing (styles), and what is refused: everything else. Each page has a context of its own, without cookies and
storage of any other. Refuses to ask for anything itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from playwright.async_api import (
    Browser,
    BrowserContext,
    CDPSession,
    Dialog,
    Error,
    Frame,
    Page,
    Request,
    Route,
    WebSocketRoute,
)

from connectors.rendering import (
    FRAMES_MAX,
    HTML_CHARS_MAX,
    READ_S,
    REQUESTS_MAX,
    SENT,
    Kind,
    NotRendered,
    Rendered,
    RenderRequest,
    ResourceGiven,
    ResourceWanted,
)
from connectors.rendering.reading import evaluate, read_tree

LOOK_S: Final = 0.25
QUIET_S: Final = 0.75
"""A page rests when it has waited for nothing, and had as much text, for so long."""
ACCEPT_CHARS_MAX: Final = 200

_KINDS: Final[dict[str, Kind]] = {"script": "script", "xhr": "data", "fetch": "data"}

_SIZE: Final = "document.body ? document.body.textContent.length : 0"
Ask = Callable[[ResourceWanted], Awaitable[ResourceGiven]]


class _Visit:
    """What one page asked for, and what came of it."""

    def __init__(self, page: Page, request: RenderRequest, ask: Ask) -> None:
        self._page = page
        self._request = request
        self._ask = ask
        self._arrived = False
        self.pending = 0
        self.asked = 0
        self.frames = 0
        self.location = ""
        self.refused: Counter[str] = Counter()
        self.crashed = asyncio.Event()

    async def route(self, route: Route) -> None:
        """Answer one request of the browser. Nothing that goes wrong lets it pass."""
        self.pending += 1
        try:
            await self._answer(route)
        except Error:
            pass  # the page is gone
        finally:
            self.pending -= 1

    async def _answer(self, route: Route) -> None:
        asked = route.request
        if asked.is_navigation_request():
            await self._navigate(route)
        elif asked.resource_type == "stylesheet":
            await route.fulfill(status=200, content_type="text/css", body="")
        elif asked.resource_type in _KINDS and asked.method == "GET":
            await self._hand_on(route, _KINDS[asked.resource_type])
        else:
            await self._refuse(route, SENT if asked.resource_type in _KINDS else asked.resource_type)

    async def _navigate(self, route: Route) -> None:
        """The page itself, once, and pages in its frames. Another one in its place is noted and not gone to."""
        asked = route.request
        if asked.frame.page != self._page:
            await self._refuse(route, "window")
        elif asked.frame != self._page.main_frame:
            await self._fill(route)
        elif not self._arrived:
            self._arrived = True
            await route.fulfill(status=200, content_type=self._request.content_type, body=self._request.body)
        else:
            if asked.method == "GET" and not _is_same(asked.url, self._request.url):
                self.location = self.location or asked.url
            await self._refuse(route, "other page")

    async def _fill(self, route: Route) -> None:
        """A frame, with what it names."""
        if route.request.method != "GET" or self.frames >= FRAMES_MAX:
            await self._refuse(route, "frame")
        else:
            self.frames += 1
            await self._hand_on(route, "frame")

    async def _hand_on(self, route: Route, kind: Kind) -> None:
        if self.asked >= REQUESTS_MAX:
            await self._refuse(route, kind)
            return
        self.asked += 1
        asked = route.request
        accept = asked.headers.get("accept", "")[:ACCEPT_CHARS_MAX]
        asker = self._request.url if kind == "frame" else self._find_asker(asked)
        given = await self._ask(ResourceWanted(asked.url, kind, asker, accept if accept.isprintable() else ""))
        if not given.status or (kind == "data" and not _may_read(asked.url, given, asker)):
            await self._refuse(route, kind)
            return
        headers = {"content-type": given.content_type or "application/octet-stream"}
        if given.origins:
            headers["access-control-allow-origin"] = given.origins
        await route.fulfill(status=given.status, headers=headers, body=given.body)

    def _find_asker(self, asked: Request) -> str:
        """The page that a program belongs to: what is written into a frame belongs to whose it is."""
        try:
            frame: Frame | None = asked.frame
        except Error:  # it belongs to none that is here
            frame = None
        while frame is not None and frame != self._page.main_frame:
            if urlsplit(frame.url).scheme in ("http", "https"):
                return frame.url
            frame = frame.parent_frame
        return self._request.url

    async def _refuse(self, route: Route, what: str) -> None:
        self.refused[what] += 1
        # To a browser that was told of an error, the error would be the page.
        await route.abort("aborted" if route.request.is_navigation_request() else "blockedbyclient")


def _may_read(url: str, given: ResourceGiven, asker: str) -> bool:
    """Whether scripts may read what another origin says: only when that says so. The driver would say it in its place,
    so it is looked at here."""
    own = _origin(asker)
    return {_origin(url), _origin(given.url)} == {own} or given.origins in ("*", own)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _is_same(one: str, other: str) -> bool:
    return one.partition("#")[0] == other.partition("#")[0]


async def render(browser: Browser, request: RenderRequest, ask: Ask) -> Rendered | NotRendered:
    """The page's tree, or why there is none."""
    try:
        async with asyncio.timeout(request.seconds_max):
            context = await browser.new_context(
                service_workers="block", accept_downloads=False, viewport={"width": 1280, "height": 2_000}
            )
            answer = await _visit(context, request, ask)
            await context.close()
            return answer
    except TimeoutError:
        return NotRendered("too-slow", f"its scripts were not over after {request.seconds_max:g} s")
    except Error:
        return NotRendered("crashed", "the browser died of the page")


async def _visit(context: BrowserContext, request: RenderRequest, ask: Ask) -> Rendered | NotRendered:
    page = await context.new_page()
    visit = _Visit(page, request, ask)
    page.on("crash", lambda _: visit.crashed.set())
    page.on("dialog", _dismiss)
    context.on("page", _close)
    await context.route("**/*", visit.route)
    await context.route_web_socket("**/*", _hang_up)
    work = asyncio.ensure_future(_load(context, page, visit, request))
    crash = asyncio.ensure_future(visit.crashed.wait())
    try:
        await asyncio.wait((work, crash), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            return NotRendered("crashed", "the page's process died: of an error, or of too much memory")
        return work.result()
    finally:
        for task in (work, crash):
            task.cancel()


async def _load(context: BrowserContext, page: Page, visit: _Visit, request: RenderRequest) -> Rendered | NotRendered:
    left_s = max(LOOK_S, request.seconds_max - READ_S)
    until = asyncio.get_running_loop().time() + left_s
    await page.goto(request.url, wait_until="commit", timeout=request.seconds_max * 1_000)
    session = await context.new_cdp_session(page)
    settled = await _wait_for_rest(session, visit, until)
    html = await read_tree(page, session)
    if not isinstance(html, str):
        return NotRendered("crashed", "the tree of the page cannot be read")
    if len(html) > HTML_CHARS_MAX:
        return NotRendered("too-large", f"its tree has more than {HTML_CHARS_MAX} characters")
    return Rendered(html, visit.location, dict(visit.refused), settled)


async def _wait_for_rest(session: CDPSession, visit: _Visit, until: float) -> bool:
    """Whether the page came to rest in its time. One that goes elsewhere need not."""
    now = asyncio.get_running_loop().time
    size, since = -1, now()
    while now() < until:
        await asyncio.sleep(LOOK_S)
        found = await evaluate(session, _SIZE)
        if visit.pending or found != size:
            size, since = found, now()
        elif now() - since >= QUIET_S:
            return True
        if visit.location:
            return True
    return False


async def _dismiss(dialog: Dialog) -> None:
    try:
        await dialog.dismiss()
    except Error:
        return


async def _close(page: Page) -> None:
    try:
        await page.close()
    except Error:
        return


def _hang_up(socket: WebSocketRoute) -> None:
    """Connected to nothing: the page sees a socket that opens and says nothing."""
    del socket
