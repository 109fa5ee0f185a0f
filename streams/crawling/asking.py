"""What waits on the world: one request of a crawl, and the reading of what came.

Owns how a page, a sitemap and a `robots.txt` are asked for, and what an answer means before any row is looked at.
Refuses rows: what becomes of it all, `job` writes.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from connectors.fetching import FetchedAnswer, FetchRequest, NotFetched
from connectors.fetching.fetcher import Fetcher
from connectors.fetching.reach import HostList
from connectors.parsers import PageFacts, Parsed, Refused
from connectors.parsers.pool import Parsers
from connectors.rendering import NotRendered
from runtime.clock import SYSTEM_CLOCK
from streams.crawling import rules
from streams.crawling.page_store import KnownPage, ReadPage
from streams.crawling.turns import FETCH_S_MAX, Robots

if TYPE_CHECKING:
    from streams.crawling.rendering import CrawlRenderer

HTML_TYPES = ("text/html", "application/xhtml+xml")
PAGE_TYPES = (*HTML_TYPES, "text/plain", "text/markdown", "application/pdf")
SITEMAP_TYPES = ("application/xml", "text/xml", "text/plain", "application/gzip", "application/x-gzip")
PAGE_BYTES_MAX = 10_485_760
"""Largest answer on the wire, in bytes. Pages have a hundredth of it; PDFs come near."""
ROBOTS_BYTES_MAX = 524_288
"""Largest `robots.txt`: RFC 9309 asks for 500 KiB at least."""
ROBOTS_REDIRECTS_MAX = 5
"""Most redirects of a `robots.txt`, as RFC 9309 has it."""
RETRY_AFTER_S_MAX = 3_600.0
"""A site that wants to be left alone for longer is left alone by this crawl."""


@dataclass(frozen=True, slots=True)
class RobotsAnswer:
    """What an origin said. None: it did not answer, and is asked again."""

    robots: Robots | None
    received: int = 0


@dataclass(frozen=True, slots=True)
class SitemapAnswer:
    """The addresses that a sitemap has; `lists_sitemaps`: these are of sitemaps. None: it was not to be had."""

    locations: list[str] | None
    lists_sitemaps: bool = False
    received: int = 0


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """What came of a page. One of `page`, `refused` and `fetched` says it: text, why there is none, or an answer
    without a body. `retry`: the host is to be left alone and the page asked for again, after `pause_s` at least.
    `rendered`: the text is what a browser showed, and `told` what that did not get; `not_rendered`: why it is not,
    though it should have been."""

    fetched: FetchedAnswer | None = None
    failure: NotFetched | None = None
    page: ReadPage | None = None
    facts: PageFacts | None = None
    refused: Refused | None = None
    retry: bool = False
    pause_s: float = 0.0
    received: int = 0
    rendered: bool = False
    told: str = ""
    not_rendered: NotRendered | None = None


def ask_robots(fetcher: Fetcher, origin: str) -> RobotsAnswer:
    """What an origin's `robots.txt` says. One that cannot be had for a reason that stays closes the origin."""
    request = FetchRequest(f"{origin}/robots.txt", (), ROBOTS_BYTES_MAX, FETCH_S_MAX, ROBOTS_REDIRECTS_MAX)
    answer = fetcher.ask(request)
    if isinstance(answer, NotFetched):
        return RobotsAnswer(None if answer.temporary else Robots("closed", why=answer.detail))
    if answer.status == 200:
        body = answer.body.decode("utf-8", "replace").replace("\0", "")
        kept = body.encode()[:ROBOTS_BYTES_MAX].decode("utf-8", "ignore")
        return RobotsAnswer(Robots("read", kept), answer.received)
    if answer.status == 429 or answer.status >= 500:
        return RobotsAnswer(None)
    return RobotsAnswer(Robots("none"))


def ask_sitemap(fetcher: Fetcher, url: str, reach: HostList | None = None) -> SitemapAnswer:
    request = FetchRequest(url, SITEMAP_TYPES, PAGE_BYTES_MAX, FETCH_S_MAX, ROBOTS_REDIRECTS_MAX, reach=reach)
    answer = fetcher.ask(request)
    if isinstance(answer, NotFetched) or answer.status != 200:
        return SitemapAnswer(None)
    lists_sitemaps, locations = rules.read_sitemap(answer.body)
    return SitemapAnswer(locations, lists_sitemaps, answer.received)


def ask_page(
    fetcher: Fetcher,
    parsers: Parsers,
    tenant_id: UUID,
    url: str,
    known: KnownPage | None,
    bytes_left: int,
    *,
    reach: HostList | None = None,
    renderer: CrawlRenderer | None = None,
) -> PageAnswer:
    """One request for a page, and its text when it has a new one; what its scripts ask for meanwhile, too, where a
    browser renders it. Raises `StopRequested`."""
    asked = {"if-none-match": known.etag, "if-modified-since": known.last_modified} if known else {}
    if renderer is not None and renderer.mode == "always":
        asked = {}  # that the page is as it was says nothing of what its scripts make
    request = FetchRequest(
        url,
        PAGE_TYPES,
        min(PAGE_BYTES_MAX, bytes_left),
        FETCH_S_MAX,
        headers={name: value for name, value in asked.items() if value},
        reach=reach,
    )
    answer = fetcher.ask(request)
    if isinstance(answer, NotFetched):
        # What was too large was read up to its bound, or would have been: it counts, so that a crawl comes to an end.
        spent = request.bytes_max if answer.code == "too-large" else 0
        return PageAnswer(failure=answer, retry=answer.temporary, received=spent)
    if answer.status in (408, 425, 429) or answer.status >= 500:
        pause_s = rules.read_retry_after(answer.headers.get("retry-after", ""), SYSTEM_CLOCK.now())
        return PageAnswer(fetched=answer, retry=pause_s <= RETRY_AFTER_S_MAX, pause_s=pause_s)
    if answer.status != 200:
        return PageAnswer(fetched=answer)
    parsed = _parse(parsers, tenant_id, url, answer)
    if renderer is None or not isinstance(parsed, Parsed) or answer.media_type not in HTML_TYPES:
        return _read(parsed, answer)
    facts = _join_facts(parsed, answer.headers.get("x-robots-tag", ""))
    return (
        _render(parsers, tenant_id, url, answer, parsed, renderer) if renderer.wants(facts) else _read(parsed, answer)
    )


def _render(
    parsers: Parsers, tenant_id: UUID, url: str, answer: FetchedAnswer, parsed: Parsed, renderer: CrawlRenderer
) -> PageAnswer:
    """The page as a browser shows it, where one can; else as it came, and why. What it said of itself for the next time
    (`ETag`) says nothing of what its scripts make, and is not kept."""
    found, received = renderer.render(answer)
    received += answer.received
    plain = msgspec.structs.replace(
        answer, headers={name: said for name, said in answer.headers.items() if name not in ("etag", "last-modified")}
    )
    if isinstance(found, NotRendered):
        return replace(_read(parsed, plain), received=received, not_rendered=found)
    if found.location:
        leads = msgspec.structs.replace(plain, location=found.location)
        return PageAnswer(fetched=leads, received=received, rendered=True)
    shown = msgspec.structs.replace(plain, body=found.html, media_type=HTML_TYPES[0])
    read = _read(_parse(parsers, tenant_id, url, shown), shown)
    return replace(read, received=received, rendered=True, told=found.told)


def _parse(parsers: Parsers, tenant_id: UUID, url: str, answer: FetchedAnswer) -> Parsed | Refused:
    name = Path(urlsplit(url).path).name or "page"
    if answer.media_type in HTML_TYPES and not name.lower().endswith((".html", ".htm")):
        name += ".html"
    with tempfile.NamedTemporaryFile(prefix="adriatic-") as copy:
        copy.write(answer.body)
        copy.flush()
        return parsers.parse_page(tenant_id, Path(copy.name), name[-255:], url)


def _read(parsed: Parsed | Refused, answer: FetchedAnswer) -> PageAnswer:
    if isinstance(parsed, Refused):
        return PageAnswer(fetched=answer, refused=parsed, received=answer.received)
    facts = _join_facts(parsed, answer.headers.get("x-robots-tag", ""))
    page = ReadPage(
        title=parsed.title,
        text=parsed.text,
        media_type=parsed.media_type,
        content_hash=rules.hash_content(parsed.title, parsed.text),
        text_hash=rules.hash_text(parsed.text),
        simhash=rules.simhash(parsed.text),
        links=list(facts.links),
        # That a shell is as it was says nothing of what its scripts make.
        etag="" if facts.scripted else answer.headers.get("etag", ""),
        last_modified="" if facts.scripted else answer.headers.get("last-modified", ""),
    )
    return PageAnswer(fetched=answer, page=page, facts=facts, received=answer.received)


def _join_facts(parsed: Parsed, header: str) -> PageFacts:
    """What the page says of itself, and what its head says beside it."""
    facts = parsed.site or PageFacts(())
    wishes = {word.strip().lower() for word in header.replace(":", ",").split(",")}
    return PageFacts(
        facts.links,
        facts.canonical,
        facts.index and not wishes & {"noindex", "none"},
        facts.follow and not wishes & {"nofollow", "none"},
        facts.scripted,
    )
