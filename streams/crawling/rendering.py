"""Has pages of crawls rendered: which, by whom, and what they are given meanwhile.

Owns whether a page is to be rendered, and the measures of it. The browsers are `connectors/rendering`, what pages ask
for goes through `resources`. Refuses rows, and what becomes of a page: `asking` and `outcomes` say so.
"""

from __future__ import annotations

from dataclasses import dataclass

from connectors.fetching import FetchedAnswer
from connectors.fetching.fetcher import Fetcher
from connectors.fetching.urls import normalise
from connectors.parsers import PageFacts
from connectors.postgres.connections import Connection
from connectors.postgres.jobs import ClaimedJob
from connectors.rendering import READ_S, RENDER_S_MAX, SENT, NotRendered, Rendered, RenderRequest
from connectors.rendering.pool import Browsers
from runtime import metrics
from runtime.clock import SYSTEM_CLOCK
from runtime.setting_crawler import CrawlerSettings, RenderMode
from streams.crawling.frontier import CrawlState
from streams.crawling.resources import ResourceCache, ResourceDoor


@dataclass(frozen=True, slots=True)
class RenderedPage:
    """A page as the browser showed it. `location`: where its scripts went instead, as a whole address; `told`: what it
    did not get."""

    html: bytes
    location: str
    told: str


class PageRenderer:
    """What renders the pages of one worker."""

    def __init__(self, settings: CrawlerSettings, browsers: Browsers, fetcher: Fetcher) -> None:
        self._settings = settings
        self._browsers = browsers
        self._fetcher = fetcher
        self._cache = ResourceCache()

    def choose_mode(self, crawl: CrawlState) -> RenderMode:
        said = crawl.render or self._settings.render
        return "never" if said == "never" else "always" if said == "always" else "auto"

    def bind(self, connection: Connection, job: ClaimedJob, crawl: CrawlState) -> CrawlRenderer:
        return CrawlRenderer(self, connection, job, crawl)

    def render(
        self, connection: Connection, job: ClaimedJob, crawl: CrawlState, answer: FetchedAnswer
    ) -> tuple[RenderedPage | NotRendered, int]:
        """The page, or why there is none; and the bytes that it took. Raises `StopRequested`."""
        seconds_max = RENDER_S_MAX if crawl.left_s is None else max(READ_S, min(RENDER_S_MAX, crawl.left_s))
        door = ResourceDoor(
            connection, job, crawl, self._fetcher, self._cache, answer.url, self._settings.delay_s, seconds_max
        )
        began = SYSTEM_CLOCK.monotonic()
        kind = answer.headers.get("content-type", answer.media_type)
        found = self._browsers.render(job.tenant_id, RenderRequest(answer.url, kind, answer.body, seconds_max), door)
        metrics.CRAWL_RENDER_SECONDS.observe(SYSTEM_CLOCK.monotonic() - began)
        metrics.CRAWL_RENDERS.labels(found.code if isinstance(found, NotRendered) else "rendered").inc()
        if isinstance(found, NotRendered):
            return found, door.received
        return RenderedPage(found.html.encode("utf-8", "replace"), _whole(found, answer.url), _tell(found, door)), (
            door.received
        )


@dataclass(frozen=True, slots=True)
class CrawlRenderer:
    """What renders the pages of one crawl, in one step of it."""

    renderer: PageRenderer
    connection: Connection
    job: ClaimedJob
    crawl: CrawlState

    @property
    def mode(self) -> RenderMode:
        return self.renderer.choose_mode(self.crawl)

    def wants(self, facts: PageFacts) -> bool:
        return self.mode == "always" or (self.mode == "auto" and facts.scripted)

    def render(self, answer: FetchedAnswer) -> tuple[RenderedPage | NotRendered, int]:
        return self.renderer.render(self.connection, self.job, self.crawl, answer)


def _whole(found: Rendered, url: str) -> str:
    """Where scripts went; empty when that is the page itself, or nothing that can be asked for."""
    try:
        location = normalise(found.location, url) if found.location else ""
    except ValueError:
        return ""
    return "" if location == url else location


def _tell(found: Rendered, door: ResourceDoor) -> str:
    """What a page lacks, for people; empty when it got all."""
    told = [] if found.settled else ["it never came to rest"]
    told += [door.describe()] if door.refused else []
    sent = found.refused.get(SENT, 0)
    told += [f"{sent} requests of it would have sent something"] if sent else []
    return "; ".join(told)
