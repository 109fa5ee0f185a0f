"""What is begun on the page, done: a worker with every kind of job in this process, a site on loopback that it may
crawl, and a model that says what a test wants."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from api.agents.desk import AgentDesk
from api.agents.job import AgentTaskJob
from api.research.asking import ResearchDesk
from api.research.job import ResearchJob
from connectors.embedders.spaces import SpaceEmbedders
from connectors.llm.fake.server import listen
from connectors.objects import Objects
from connectors.parsers import Limits
from connectors.parsers.pool import Parsers
from connectors.rendering.pool import Browsers
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import CrawlerSettings, Settings
from streams.crawling.job import CrawlSite
from streams.crawling.rendering import PageRenderer
from streams.documents import EraseOriginal, ParseDocument
from streams.worker import Worker
from tests.api.agents.world import ScriptedLlm, configured
from tests.browser.conftest import House
from tests.connectors.embedders.stand_in import FakeEmbedder
from tests.connectors.fetching.local_web import LocalWeb, serving_web
from tests.patience import PATIENCE_S

HOST = "harbour.test"
PIXELS_MAX = 400_000
"""Of a page that is recognised: so that a test can draw one that is too large."""


@dataclass
class Bureau:
    """What the tests of a module share: the site that is crawled, and the model that agents ask."""

    local: LocalWeb
    fake: ScriptedLlm


@contextmanager
def serving_model() -> Iterator[ScriptedLlm]:
    """The scripted model, on a loop of its own."""
    fake, ready, ends = ScriptedLlm(["Done."]), threading.Event(), threading.Event()

    async def serve() -> None:
        async with listen(fake):
            ready.set()
            await asyncio.to_thread(ends.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="model")
    thread.start()
    assert ready.wait(PATIENCE_S)
    try:
        yield fake
    finally:
        ends.set()
        thread.join(PATIENCE_S)


@contextmanager
def working(settings: Settings, local: LocalWeb, delay_s: float = 0.0) -> Iterator[None]:
    """A worker until the end of the block."""
    life = Lifecycle(Health())
    embedders = SpaceEmbedders.of(FakeEmbedder())
    parsers = Parsers(Limits(pixels_max=PIXELS_MAX, scan_seconds_max=400))
    objects = Objects(settings)
    research, agents = ResearchDesk(settings, embedders), AgentDesk(settings, embedders)
    crawler = CrawlerSettings(browser="auto", browser_sandbox=False, delay_s=delay_s)
    browsers = Browsers(crawler)
    with local.fetching(HOST, delay_s=delay_s) as fetcher:
        kinds: tuple[Any, ...] = (
            ResearchJob(research),
            AgentTaskJob(agents),
            CrawlSite(fetcher, parsers, delay_s, PageRenderer(crawler, browsers, fetcher)),
            ParseDocument(objects, parsers),
            EraseOriginal(objects),
        )
        worker = Worker({kind.name: kind for kind in kinds}, settings.postgres, life)
        worker.start()
        try:
            yield
        finally:
            life.stop()
            fetcher.close()
            browsers.close()
            parsers.close()
            agents.close()
            worker.join(PATIENCE_S)
            research.close()
            embedders.close()


@contextmanager
def open_bureau(house: House) -> Iterator[Bureau]:
    with serving_web() as local, serving_model() as fake, working(configured(house.settings, fake.url), local):
        yield Bureau(local, fake)
