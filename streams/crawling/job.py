"""The job of a crawl, step by step: record what came, then choose what is asked for next.

Owns the order of things. A step ends by taking the turn at a host, in its own transaction; the next one asks for the
one page, and records what came of it in the transaction that moves the job on. So a worker that dies costs one
request, and a page that was stored is not asked for again. Refuses SQL and requests, which the neighbours have.

Where nobody's turn has come, the job gives its place to others until then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.fetching.fetcher import Fetcher
from connectors.fetching.urls import origin_of
from connectors.parsers.pool import Parsers
from connectors.postgres.connections import Connection
from connectors.postgres.jobs import ClaimedJob, JobKind, JobProgress
from runtime.clock import SYSTEM_CLOCK
from schemas.jobs import CRAWL
from streams.crawling import asking, frontier, page_store, rules, turns
from streams.crawling.asking import PageAnswer, RobotsAnswer, SitemapAnswer
from streams.crawling.frontier import CrawlState, FrontierUrl, ReadyUrl
from streams.crawling.outcomes import record_page
from streams.crawling.rendering import PageRenderer

UNIT = "pages"
PAUSE_S_MAX = 30.0
"""Longest time for which a crawl gives its place away; then it looks again, and sees that it was cancelled."""
CHOICES_MAX = 100
"""Addresses that one step may refuse by `robots.txt` before it ends; the next step goes on."""

Answer = PageAnswer | RobotsAnswer | SitemapAnswer


class CrawlSite(JobKind):
    """See the module."""

    name = CRAWL

    def __init__(
        self, fetcher: Fetcher, parsers: Parsers, delay_s: float, renderer: PageRenderer | None = None
    ) -> None:
        self._fetcher = fetcher
        self._parsers = parsers
        self._delay_s = delay_s
        self._renderer = renderer

    def prepare(self, connection: Connection, job: ClaimedJob) -> Answer | None:
        """The one request, once it is time for it. None: nothing is to be asked for, or the turn is over."""
        if "url_id" not in job.position:
            return None
        crawl = frontier.read(connection, job)
        waiting = frontier.read_url(connection, crawl, job.position["url_id"])
        if waiting is None or not turns.is_still_mine(connection, job, waiting.host):
            return None
        SYSTEM_CLOCK.sleep(min(job.position["ready_s"], turns.AHEAD_S_MAX))
        if job.position["asks"] == "robots":
            return asking.ask_robots(self._fetcher, origin_of(waiting.url))
        if waiting.kind == "sitemap":
            return asking.ask_sitemap(self._fetcher, waiting.url, crawl.reach)
        known = page_store.find_known(connection, job.tenant_id, waiting.url)
        bytes_left = max(1, crawl.bytes_max - crawl.received)
        renderer = None if self._renderer is None else self._renderer.bind(connection, job, crawl)
        asked = (self._fetcher, self._parsers, job.tenant_id, waiting.url, known, bytes_left)
        return asking.ask_page(*asked, reach=crawl.reach, renderer=renderer)

    def apply(self, connection: Connection, job: ClaimedJob, prepared: Answer | None) -> JobProgress:
        crawl = frontier.read(connection, job)
        if not job.position:
            frontier.begin(connection, crawl)
        elif prepared is not None:
            waiting = frontier.read_url(connection, crawl, job.position["url_id"])
            assert waiting, "only this job writes what came of it"
            self._record(connection, job, crawl, waiting, prepared)
        return self._choose(connection, job)

    # --- what came --------------------------------------------------------------------------------------------------

    def _record(
        self, connection: Connection, job: ClaimedJob, crawl: CrawlState, waiting: FrontierUrl, answer: Answer
    ) -> None:
        failed, pause_s = False, 0.0
        if isinstance(answer, RobotsAnswer):
            failed = answer.robots is None
            if answer.robots:
                delay_s = rules.find_delay(answer.robots.body)
                turns.keep_robots(connection, origin_of(waiting.url), waiting.host, answer.robots, delay_s)
        elif isinstance(answer, SitemapAnswer):
            self._record_sitemap(connection, crawl, waiting, answer)
        else:
            failed, pause_s = answer.retry, answer.pause_s
            record_page(connection, crawl, waiting, answer)
        asked = int(isinstance(answer, PageAnswer))
        frontier.count(connection, crawl, asked=asked, received=answer.received)
        turns.give_back(connection, job, waiting.host, self._delay_s, failed=failed, pause_s=pause_s)

    def _record_sitemap(
        self, connection: Connection, crawl: CrawlState, waiting: FrontierUrl, answer: SitemapAnswer
    ) -> None:
        if answer.locations is None:
            refused = frontier.UrlOutcome("refused", "no-sitemap", "there is no sitemap that can be read")
            frontier.note(connection, crawl, waiting.url_id, refused)
            return
        urls = crawl.scope.take(answer.locations)
        frontier.note(connection, crawl, waiting.url_id, frontier.UrlOutcome("read"))
        if answer.lists_sitemaps:
            frontier.add_sitemaps(connection, crawl, urls)
        elif crawl.depth_max > 0:
            frontier.add(connection, crawl, urls, depth=1)

    # --- what is next -----------------------------------------------------------------------------------------------

    def _choose(self, connection: Connection, job: ClaimedJob) -> JobProgress:
        """Take the next turn, wait for one, or end."""
        for _ in range(CHOICES_MAX):
            crawl = frontier.read(connection, job)
            if stopped := find_bound(crawl):
                return self._end(connection, crawl, stopped)
            ready = frontier.find_ready(connection, crawl, job)
            if not ready:
                if crawl.recalled:
                    return self._end(connection, crawl, "")
                frontier.recall(connection, crawl)
                continue
            first = ready[0]
            if reason := _find_hopeless(first):
                frontier.give_up_host(connection, crawl, first.next.host, reason)
                continue
            if crawl.left_s is not None and first.ready_s > crawl.left_s:
                return self._end(connection, crawl, "time")
            if first.ready_s > turns.AHEAD_S_MAX or not turns.take(connection, job, first.next.host, self._delay_s):
                return self._show(connection, crawl, {"asks": "nothing"}, max(first.ready_s, frontier.HELD_S))
            position = self._ask_next(connection, crawl, first.next)
            if position is not None:
                return self._show(connection, crawl, {**position, "ready_s": first.ready_s})
            turns.leave(connection, job, first.next.host, self._delay_s)
        return self._show(connection, crawl, {"asks": "nothing"})

    def _ask_next(self, connection: Connection, crawl: CrawlState, next_: FrontierUrl) -> Mapping[str, Any] | None:
        """What to ask the host for: its rules, where nobody knows them, or the page. None: its rules forbid the
        page."""
        if crawl.reach is not None and not crawl.reach.allows(next_.url):
            told = "it is not on the list of hosts that the tenant allows"
            outcome = frontier.UrlOutcome("refused", "not-allowed", told)
            frontier.note(connection, crawl, next_.url_id, outcome, tried=False)
            return None
        robots = turns.read_robots(connection, origin_of(next_.url))
        if robots is None:
            return {"asks": "robots", "url_id": next_.url_id}
        if robots.state == "closed" or not rules.may_fetch(robots.body, next_.url):
            detail = (
                "robots.txt forbids it" if robots.state == "read" else f"its robots.txt cannot be had: {robots.why}"
            )
            frontier.note(
                connection, crawl, next_.url_id, frontier.UrlOutcome("refused", "robots", detail), tried=False
            )
            return None
        if next_.depth == 0 and next_.kind == "page":
            sitemaps = [*rules.read_robots(robots.body).sitemaps][: frontier.SITEMAPS_MAX]
            frontier.add_sitemaps(connection, crawl, crawl.scope.take(sitemaps, next_.url))
        return {"asks": "page", "url_id": next_.url_id}

    def _end(self, connection: Connection, crawl: CrawlState, stopped: str) -> JobProgress:
        frontier.end(connection, crawl, stopped)
        phase = f"ended at its bound of {stopped}" if stopped else "nothing is left"
        return JobProgress(phase, crawl.asked, crawl.asked, UNIT, finished=True)

    def _show(
        self, connection: Connection, crawl: CrawlState, position: Mapping[str, Any], pause_s: float = 0.0
    ) -> JobProgress:
        total = min(crawl.pages_max, crawl.asked + frontier.count_left(connection, crawl))
        phase = "waiting for a host" if pause_s else "fetching"
        return JobProgress(phase, crawl.asked, total, UNIT, position, pause_s=min(pause_s, PAUSE_S_MAX))


def _find_hopeless(first: ReadyUrl) -> str:
    """Why nothing more of a host is to be had for now; empty when it is worth to wait."""
    if first.is_open:
        return "its host failed too often in a row, and is left alone for a while"
    if first.ready_s > asking.RETRY_AFTER_S_MAX:
        return f"its host wants to be left alone for {first.ready_s:.0f} s, which is longer than a crawl waits"
    return ""


def find_bound(crawl: CrawlState) -> str:
    """The bound that a crawl has reached; empty while there is none."""
    if crawl.asked >= crawl.pages_max:
        return "pages"
    if crawl.received >= crawl.bytes_max:
        return "bytes"
    return "time" if crawl.left_s is not None and crawl.left_s <= 0 else ""
