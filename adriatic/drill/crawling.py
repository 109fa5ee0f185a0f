"""A crawl, shown without a network: of a site on loopback, by a worker of the scratch installation.

Owns the steps and what each must find: pages are kept, each asked for once and at the pace that was set, what forbids
and what leads inside is left alone, and a crawl again writes nothing where nothing changed. The installation's own
worker rightly refuses loopback, so this one has its own, whose settings allow the one name. Refuses to make the site
(`site`) and the place (`scratch`), and to print.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from adriatic.drill.site import COPIES, FORBIDDEN, GONE, HOST, INSIDE, PAGES, TRAP, LocalSite, serve_site
from adriatic.drill.steps import DrillStep, DrillWork, ScratchDrill, require, wait_until
from connectors.fetching.fetcher import Fetcher
from connectors.parsers.pool import Parsers
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import CrawlerSettings, Settings
from streams.crawling.job import CrawlSite
from streams.worker import Worker

DELAY_S = 0.2
"""Pause between two requests. A real site gets a second; here somebody waits."""
STOP_S_MAX = 15.0
BOUNDS: dict[str, Any] = {"depth": 5, "pages_max": 50, "seconds_max": 60}
"""What each crawl may take: more than the site has, and an end."""


class CrawlShow(ScratchDrill):
    """What a crawl does, step by step, each with its figure."""

    site: LocalSite
    first: dict[str, Any]

    def steps(self) -> Sequence[DrillWork]:
        return (
            ("a site is crawled to its end", self._crawl),
            ("each page was asked for once, at its pace", self._check_pace),
            ("what forbids, and what leads inside, is left alone", self._check_refusals),
            ("crawled again, nothing is written that did not change", self._crawl_again),
        )

    async def run(self) -> Sequence[DrillStep]:
        """The steps that were taken, with the site and a worker beside them."""
        async with serve_site() as self.site, _work(self.scratch.settings, self.site):
            return await super().run()

    async def _crawl(self) -> str:
        began_s = self.clock.monotonic()
        self.first = await self._end()
        took_s = self.clock.monotonic() - began_s
        kept = self.first["urls"]["stored"]
        require(kept == len(PAGES), f"{kept} pages were kept, and not {len(PAGES)}")
        copies = self.first["urls"]["duplicate"]
        require(copies == len(COPIES), f"{copies} copies were found, and not {len(COPIES)}")
        return f"{kept} pages kept, {copies} copy told apart, {self.first['received']} bytes, {took_s:.1f} s"

    async def _check_pace(self) -> str:
        asked = Counter(path for path in self.site.asked if path != "/robots.txt")
        twice = [path for path, times in asked.items() if times > 1]
        require(not twice, f"asked for more than once: {', '.join(twice)}")
        return f"{sum(asked.values())} requests, one at a time, at least {DELAY_S:g} s apart"

    async def _check_refusals(self) -> str:
        found = {each["url"]: each for each in await self._urls(self.first)}
        forbidden, gone = (found.get(f"http://{HOST}:{self.site.port}{path}", {}) for path in (FORBIDDEN, GONE))
        led = found.get(f"http://{INSIDE}:{self.site.inside_port}/", {})
        require(FORBIDDEN not in self.site.asked, f"{FORBIDDEN} was asked for, though robots.txt forbids it")
        require(forbidden.get("code") == "robots", f"of {FORBIDDEN} is said {forbidden}")
        require(self.site.connected == 0, f"{self.site.connected} connections were made to what is inside")
        require(led.get("state") == "refused", f"of what {TRAP} leads to is said {led}")
        require(gone.get("code") == "http-404", f"of {GONE} is said {gone}")
        return f"robots.txt: {forbidden['detail']}; inside: {led['detail']}, 0 connections; gone: {gone['detail']}"

    async def _crawl_again(self) -> str:
        again = await self._end()
        urls = again["urls"]
        require(urls["stored"] == 0, f"{urls['stored']} pages were written again")
        require(urls["unchanged"] == len(PAGES), f"{urls['unchanged']} pages are as they were, of {len(PAGES)}")
        return f"{urls['unchanged']} pages as they were, 0 written"

    async def _end(self) -> dict[str, Any]:
        """A crawl of the site, when it is over."""
        wanted = {"start_urls": [self.site.url], "hosts": [HOST, INSIDE], **BOUNDS}
        crawl = await self.do("POST", "/v1/crawls", wanted)

        async def is_over() -> bool:
            crawl.update(await self.do("GET", f"/v1/crawls/{crawl['crawl_id']}"))
            return crawl["finished_at"] is not None

        await wait_until(is_over, "the crawl is not over")
        require(crawl["state"] == "succeeded", f"the crawl {crawl['state']}: {crawl['last_error']}")
        return crawl

    async def _urls(self, crawl: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.do("GET", f"/v1/crawls/{crawl['crawl_id']}/urls?limit=100"))["items"]
        return found


@asynccontextmanager
async def _work(settings: Settings, site: LocalSite) -> AsyncIterator[None]:
    """A worker that crawls this site, until the end of the block."""
    life = Lifecycle(Health())
    parsers = Parsers()
    fetcher = Fetcher(CrawlerSettings(allowed_private=(HOST,), delay_s=DELAY_S), site.resolve)
    worker = Worker({CrawlSite.name: CrawlSite(fetcher, parsers, DELAY_S)}, settings.postgres, life, places=1)
    worker.start()
    try:
        yield
    finally:
        life.stop()
        await asyncio.to_thread(fetcher.close)
        await asyncio.to_thread(parsers.close)
        await asyncio.to_thread(worker.join, STOP_S_MAX)
