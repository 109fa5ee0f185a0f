"""The page in a real browser: Debian's Chromium, without a window. Where there is none the tests are skipped, and say
so.

`site` is the API as a process on a database of its own, with decisions that can be found. Live reads need a broker and
flows, so here their answers are scripted, byte by byte; `test_live_page.py` has the whole system.
"""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Route, expect, sync_playwright

from api.auth.issuer import LocalIssuer
from connectors.rendering.pool import find_browser
from runtime.settings import Settings
from tests import databases
from tests.api.search.corpus import Corpus, writing
from tests.api.test_server import Server, serving
from tests.connectors.llm.stand_in import StandIn, standing_in
from tests.patience import PATIENCE_S

WAIT_MS = 20_000
"""For anything to appear. Far above what it takes; the machine may be busy."""
DESKTOP = {"width": 1440, "height": 900}
MOBILE = {"width": 320, "height": 700}

VIOLATIONS = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) =>
    violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """It ends with the module: its loop must not meet that of asynchronous tests."""
    executable = find_browser("auto")
    if executable is None:
        pytest.skip("no Chromium here (apt-get install chromium)")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        # Without the sandbox: CI runs as root, where Chromium refuses to have one. It only sees pages of ours.
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """One page in a context of its own, with everything that went wrong in it."""

    def __init__(self, context: BrowserContext, pictures: Path) -> None:
        self.context = context
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.pictures = pictures
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.add_init_script(VIOLATIONS)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _dialog(self, dialog: Dialog) -> None:
        self.errors.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def shot(self, name: str) -> None:
        self.page.screenshot(path=self.pictures / f"{name}.png")

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def eventually(self, expression: str) -> None:
        """Wait until a JavaScript expression is true. The page's policy forbids `eval`, so it is asked from outside."""
        self.until(lambda: bool(self.page.evaluate(expression)), expression)

    def until(self, check: Callable[[], bool], what: str) -> None:
        """Wait for something outside of the page, while the page goes on."""
        for _ in range(WAIT_MS // 50):
            if check():
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never: {what}")

    def clean(self) -> None:
        """Nothing was refused by the policy, and the console is empty."""
        assert self.page.evaluate("violations") == []
        assert self.errors == []


@dataclass
class Live:
    """Scripted answers of `/v1/live/{view}`: what each connection gets, in order, and what it asked with. One that
    gets `HELD` waits for `go_on`, so that what the page shows meanwhile can be looked at for as long as that takes."""

    scripts: dict[str, list[list[dict[str, Any]]]] = field(default_factory=dict)
    held: dict[str, Route] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    refuses: bool = False

    def answer(self, route: Route) -> None:
        view = route.request.url.rsplit("/", 1)[-1]
        self.asked.append((view, route.request.headers.get("last-event-id")))
        scripts = self.scripts.get(view, [])
        if not scripts:
            if self.refuses:
                route.abort("connectionrefused")
            return  # otherwise it is connected, and nothing comes
        script = scripts.pop(0)
        if script is HELD:
            self.held[view] = route
        else:
            _tell(route, script)

    def go_on(self, view: str) -> None:
        """Answer the connection that waits."""
        _tell(self.held.pop(view), self.scripts[view].pop(0))


HELD: list[dict[str, Any]] = []


def _tell(route: Route, script: list[dict[str, Any]]) -> None:
    body = "".join(
        f"id: {event['id']}\nevent: {event['event']}\ndata: {json.dumps(event['data'])}\n\n" for event in script
    )
    route.fulfill(status=200, content_type="text/event-stream", body=body)


@dataclass
class Site:
    """A running API, its tenant, and the way in."""

    server: Server
    corpus: Corpus
    tenant_id: UUID
    token: str
    provider: StandIn
    live: Live
    visit: Callable[..., Visit]

    @property
    def link(self) -> str:
        return f"{self.server.url}/#token={self.token}"

    def open(self, path: str = "/", **context: Any) -> Visit:
        """Signed in, at `path`."""
        visit = self.visit(**context)
        visit.page.goto(f"{self.server.url}{path}#token={self.token}")
        visit.page.wait_for_selector("#app:not([hidden])")
        return visit


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture
def visit(browser: Browser, pictures: Path) -> Iterator[Callable[..., Visit]]:
    contexts: list[BrowserContext] = []

    def begin(**options: Any) -> Visit:
        contexts.append(browser.new_context(**{"viewport": DESKTOP, **options}))
        return Visit(contexts[-1], pictures)

    yield begin
    for context in contexts:
        context.unroute_all(behavior="ignoreErrors")
        context.close()


@contextmanager
def standing_in_thread() -> Iterator[StandIn]:
    """The provider's stand-in, on a loop of its own."""
    ready: threading.Event = threading.Event()
    made: list[Any] = []

    async def serve() -> None:
        async with standing_in() as provider:
            made.extend((provider, asyncio.Event(), asyncio.get_running_loop()))
            ready.set()
            await made[1].wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="provider")
    thread.start()
    assert ready.wait(PATIENCE_S)
    try:
        yield made[0]
    finally:
        made[2].call_soon_threadsafe(made[1].set)
        thread.join(PATIENCE_S)


@dataclass(frozen=True)
class House:
    """What the tests of a module share: an API as a process, its database, its provider."""

    server: Server
    settings: Settings
    corpus: Corpus
    provider: StandIn


def asking(provider: StandIn) -> dict[str, str]:
    """The variables of an API process that asks this provider."""
    return {
        "ADRIATIC_LLM__PROVIDER": "anthropic",
        "ADRIATIC_LLM__MODEL": "claude-test-1",
        "ADRIATIC_LIMITS__NEW_USER_REQUESTS": "0",
        "ADRIATIC_LLM__API_KEY": "key",
        "ADRIATIC_LLM__BASE_URL": provider.url,
    }


@pytest.fixture(scope="module")
def house(stack: Settings, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with (
        databases.fresh(stack, template_database, "browser") as settings,
        writing(settings) as corpus,
        standing_in_thread() as provider,
        serving(settings, tmp_path_factory.mktemp("api"), **asking(provider)) as server,
    ):
        yield House(server, settings, corpus, provider)


@pytest.fixture
def site(house: House, visit: Callable[..., Visit]) -> Site:
    """A tenant of its own, whose views have just reported."""
    tenant_id = house.corpus.tenant(f"lagoon-{uuid.uuid4().hex[:8]}")
    house.corpus.connection.execute("delete from mv.watermarks")
    house.corpus.watermark(datetime.now(UTC))
    house.provider.closed.clear()
    token = LocalIssuer.open(house.settings.home, house.settings.auth).mint(tenant_id, subject="ada", ttl_s=3600)
    live = Live()

    def scripted(**options: Any) -> Visit:
        made = visit(**options)
        made.context.route("**/v1/live/*", live.answer)
        return made

    return Site(house.server, house.corpus, tenant_id, token.text, house.provider, live, scripted)
