"""What a page in the browser asks for: asked for as pages are, or refused.

Owns what a program of a page may be given: addresses of the crawl's hosts, of the tenant's list, that `robots.txt`
allows, one at a time, when it is the crawl's turn at their host. Redirects are looked at again. What came is kept for
the crawl's next pages, in bounded memory. Refuses to ask by itself: the fetcher does.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from connectors.fetching import FetchedAnswer, FetchRequest, NotFetched
from connectors.fetching.fetcher import Fetcher
from connectors.fetching.urls import host_of, normalise, origin_of
from connectors.postgres.connections import Connection
from connectors.postgres.jobs import ClaimedJob
from connectors.rendering import ResourceGiven, ResourceWanted
from runtime import metrics
from runtime.clock import SYSTEM_CLOCK
from runtime.setting_kinds import is_allowed_host
from streams.crawling import asking, rules, turns
from streams.crawling.frontier import HOPS_MAX, CrawlState
from streams.crawling.turns import Robots

RESOURCE_BYTES_MAX = 5_242_880
"""Largest answer on the wire, in bytes. Programs of large applications have a fifth of it."""
RESOURCE_S_MAX = 10.0
"""One request. A page has four times as long."""
TURN_S_MAX = 5.0
"""Longest wait for a turn at another host than the page's."""
POLL_S = 0.2
KEPT_BYTES_MAX = 33_554_432
"""What is kept in memory of all crawls of a worker, in bytes. What was used last goes last."""
KEPT_S_MAX = 600.0
"""How long, in seconds: a crawl sees a site as it was then."""
FRAME_TYPES = (*asking.HTML_TYPES, "text/plain")
TOLD_MAX = 3
"""Most reasons that are told of a page."""


@dataclass(frozen=True, slots=True)
class _Kept:
    given: ResourceGiven
    until: float


class ResourceCache:
    """What came for pages, by crawl and address. Used by many threads. Nothing of a crawl is another one's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[UUID, str, str], _Kept] = OrderedDict()
        self._bytes = 0

    def find(self, crawl_id: UUID, url: str, accept: str) -> ResourceGiven | None:
        with self._lock:
            kept = self._kept.get((crawl_id, url, accept))
            if kept is None or kept.until < SYSTEM_CLOCK.monotonic():
                return None
            self._kept.move_to_end((crawl_id, url, accept))
            return kept.given

    def keep(self, crawl_id: UUID, url: str, accept: str, given: ResourceGiven) -> None:
        with self._lock:
            before = self._kept.pop((crawl_id, url, accept), None)
            self._bytes += len(given.body) - (len(before.given.body) if before else 0)
            self._kept[crawl_id, url, accept] = _Kept(given, SYSTEM_CLOCK.monotonic() + KEPT_S_MAX)
            while self._bytes > KEPT_BYTES_MAX:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= len(oldest.given.body)


class _ResourceRefused(Exception):
    """Becomes an answer without anything; says why."""


def find_why_not_shown(answer: FetchedAnswer, page_url: str) -> str:
    """Why an answer is not shown in a frame of a page; empty when it is. Sites say who may (`frame-ancestors`, or
    `X-Frame-Options` where they say no more), and what is not to be kept is not kept within another page."""
    if answer.status != 200:
        return f"its page in a frame answers {answer.status}"
    wishes = {word.strip().lower() for word in answer.headers.get("x-robots-tag", "").replace(":", ",").split(",")}
    if wishes & {"noindex", "none"}:
        return "its page in a frame asks not to be kept"
    own = origin_of(answer.url) == origin_of(page_url)
    ancestors = answer.headers.get("frame-ancestors", "").lower().split()
    option = answer.headers.get("x-frame-options", "").strip().lower()
    if ancestors:
        shown = "*" in ancestors or origin_of(page_url) in ancestors or (own and "'self'" in ancestors)
    else:
        shown = not option or (own and option == "sameorigin")
    return "" if shown else "it lets no page like this show it in a frame"


class ResourceDoor:
    """The way out of one page. `received` are the bytes that came; `refused` says why not, and how often."""

    def __init__(
        self,
        connection: Connection,
        job: ClaimedJob,
        crawl: CrawlState,
        fetcher: Fetcher,
        cache: ResourceCache,
        page_url: str,
        delay_s: float,
        seconds_max: float,
    ) -> None:
        self._connection = connection
        self._job = job
        self._crawl = crawl
        self._fetcher = fetcher
        self._cache = cache
        self._page_url = page_url
        self._page_host = host_of(page_url)
        self._delay_s = delay_s
        self._seconds_max = seconds_max
        self._until: float | None = None
        self.received = 0
        self.refused: Counter[str] = Counter()

    def ask(self, wanted: ResourceWanted) -> ResourceGiven:
        if self._until is None:
            self._until = SYSTEM_CLOCK.monotonic() + self._seconds_max
        # Whether a page may be shown in another one depends on that.
        form = f"in {origin_of(self._page_url)}" if wanted.kind == "frame" else wanted.accept
        try:
            kept = self._find_kept(wanted, form)
            if kept is not None:
                metrics.CRAWL_RESOURCES.labels("kept").inc()
                return kept
            given = self._follow(wanted)
        except _ResourceRefused as refusal:
            metrics.CRAWL_RESOURCES.labels("refused").inc()
            self.refused[str(refusal)] += 1
            return ResourceGiven()
        metrics.CRAWL_RESOURCES.labels("asked").inc()
        if given.status == 200:
            self._cache.keep(self._crawl.crawl_id, wanted.url, form, given)
        return given

    def _find_kept(self, wanted: ResourceWanted, form: str) -> ResourceGiven | None:
        """What came for another page of the crawl, where this one might ask for it, too."""
        kept = self._cache.find(self._crawl.crawl_id, wanted.url, form)
        if kept is not None:
            for url in {wanted.url, kept.url}:
                self._look_at(url, wanted.page_url)
        return kept

    def describe(self) -> str:
        """Why the page did not get all that it asked for; empty when it did."""
        told = [f"{why} ({count})" for why, count in self.refused.most_common(TOLD_MAX)]
        return "; ".join(told)[:500]

    def _follow(self, wanted: ResourceWanted) -> ResourceGiven:
        url = wanted.url
        for _ in range(HOPS_MAX + 1):
            url = self._look_at(url, wanted.page_url)
            answer = self._ask_one(url, wanted)
            if not answer.location:
                if wanted.kind == "frame" and (reason := find_why_not_shown(answer, self._page_url)):
                    raise _ResourceRefused(f"{host_of(url)}: {reason}")
                origins = answer.headers.get("access-control-allow-origin", "")
                return ResourceGiven(answer.status, url, answer.headers.get("content-type", ""), answer.body, origins)
            url = answer.location
        raise _ResourceRefused(f"{urlsplit(url).netloc}: too many redirects")

    def _look_at(self, url: str, asker: str) -> str:
        """The normal form of an address that may be asked for by this crawl, for a program of `asker`."""
        try:
            url = normalise(url)
        except ValueError as error:
            raise _ResourceRefused(f"an address: {error}") from None
        host = host_of(url)
        if not is_allowed_host(host, self._crawl.hosts):
            raise _ResourceRefused(f"{host}: it is not one of the hosts of this crawl")
        if self._crawl.reach is not None and not self._crawl.reach.allows(url):
            raise _ResourceRefused(f"{host}: it is not on the list of hosts that the tenant allows")
        if self._fetcher.may_be_private(host) and {host, host_of(asker)} != {self._page_host}:
            # A program of one site must not read another one that only the inner network sees.
            raise _ResourceRefused(f"{host}: it may be private, and the page is of another host")
        return url

    def _ask_one(self, url: str, wanted: ResourceWanted) -> FetchedAnswer:
        host = host_of(url)
        robots = self._find_robots(host, origin_of(url))
        if robots.state == "closed" or not rules.may_fetch(robots.body, url):
            raise _ResourceRefused(f"{host}: its robots.txt forbids it")
        left = self._crawl.bytes_max - self._crawl.received - self.received
        if left <= 0:
            raise _ResourceRefused("the crawl has had as many bytes as it may")
        self._take_turn(host)
        request = FetchRequest(
            url,
            FRAME_TYPES if wanted.kind == "frame" else (),
            min(RESOURCE_BYTES_MAX, left),
            max(0.1, min(RESOURCE_S_MAX, self._count_left_s())),
            headers={"accept": wanted.accept} if wanted.accept else {},
            reach=self._crawl.reach,
        )
        answer = self._fetcher.ask(request)
        failed = answer.temporary if isinstance(answer, NotFetched) else answer.status == 429 or answer.status >= 500
        self._end_turn(host, failed=failed)
        if isinstance(answer, NotFetched):
            self.received += request.bytes_max if answer.code == "too-large" else 0
            raise _ResourceRefused(f"{host}: {answer.detail}")
        self.received += answer.received
        return answer

    def _find_robots(self, host: str, origin: str) -> Robots:
        known = turns.read_robots(self._connection, origin)
        if known is not None:
            return known
        self._take_turn(host)
        answer = asking.ask_robots(self._fetcher, origin)
        if answer.robots is not None:
            delay_s = rules.find_delay(answer.robots.body)
            turns.keep_robots(self._connection, origin, host, answer.robots, delay_s)
        self._end_turn(host, failed=answer.robots is None)
        self.received += answer.received
        if answer.robots is None:
            raise _ResourceRefused(f"{host}: its robots.txt cannot be had")
        return answer.robots

    def _take_turn(self, host: str) -> None:
        """Wait until the host may be asked once more by this crawl."""
        until = SYSTEM_CLOCK.monotonic() + min(TURN_S_MAX, self._count_left_s())
        while not (
            turns.go_on(self._connection, self._job, host, self._delay_s)
            or turns.take(self._connection, self._job, host, self._delay_s)
        ):
            if SYSTEM_CLOCK.monotonic() >= until:
                raise _ResourceRefused(f"{host}: it was not the crawl's turn there")
            SYSTEM_CLOCK.sleep(POLL_S)
        wait_s = turns.find_wait(self._connection, host, self._delay_s)
        if wait_s >= self._count_left_s():
            self._end_turn(host, failed=False)
            raise _ResourceRefused(f"{host}: the page had no time left at its pace")
        SYSTEM_CLOCK.sleep(wait_s)

    def _end_turn(self, host: str, *, failed: bool) -> None:
        """The turn at the page's own host is that of its step, and ends with it."""
        if host != self._page_host:
            turns.give_back(self._connection, self._job, host, self._delay_s, failed=failed)

    def _count_left_s(self) -> float:
        assert self._until is not None, "it is set by the first request"
        return max(0.0, self._until - SYSTEM_CLOCK.monotonic())
