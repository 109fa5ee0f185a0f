"""What a crawl is asked with, and what is shown of one.

Owns the bounds that a caller may choose within. Refuses rows.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api.jobs.service import JobError, State
from connectors.fetching.urls import URL_CHARS_MAX
from runtime.setting_crawler import RenderMode

START_URLS_MAX = 20
PATTERNS_MAX = 50
"""Most hosts, and most patterns of paths, of each kind: a person wrote them."""
DEPTH_MAX = 20
PAGES_MAX = 10_000
"""Most pages of one crawl: at one a second nearly three hours."""
BYTES_MAX = 10_737_418_240
SECONDS_MAX = 86_400
GONE_AFTER_MAX = 100

StartUrl = Annotated[str, Meta(min_length=1, max_length=URL_CHARS_MAX)]
HostPattern = Annotated[str, Meta(pattern=r"^(\*\.)?[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*$", max_length=253)]
PathPattern = Annotated[str, Meta(pattern=r"^/[!-~]*$", max_length=200)]
UrlState = Literal["waiting", "stored", "unchanged", "duplicate", "redirected", "refused", "failed", "gone", "read"]


class NewCrawl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    start_urls: Annotated[
        list[StartUrl],
        Meta(min_length=1, max_length=START_URLS_MAX, description="Where to begin; http and https only."),
    ]
    hosts: Annotated[
        list[HostPattern],
        Meta(
            max_length=PATTERNS_MAX,
            description="Hosts that may be asked, `*.example.org` for all below it. Empty: those of the start pages, "
            "each with and without `www.`.",
        ),
    ] = []
    include: Annotated[
        list[PathPattern],
        Meta(max_length=PATTERNS_MAX, description="Paths that may be asked for, with `*`. Empty: all."),
    ] = []
    exclude: Annotated[
        list[PathPattern], Meta(max_length=PATTERNS_MAX, description="Paths that may not be asked for, with `*`.")
    ] = []
    depth: Annotated[
        int, Meta(ge=0, le=DEPTH_MAX, description="Links followed from a start page; 0 is the start pages alone.")
    ] = 2
    pages_max: Annotated[int, Meta(ge=1, le=PAGES_MAX, description="Requests for pages at most.")] = 100
    bytes_max: Annotated[int, Meta(ge=1_000, le=BYTES_MAX, description="Bytes of answers at most.")] = 104_857_600
    seconds_max: Annotated[int, Meta(ge=1, le=SECONDS_MAX, description="Time from its begin at most.")] = 3_600
    gone_after: Annotated[
        int,
        Meta(
            ge=1, le=GONE_AFTER_MAX, description="A page is deleted when it was not there in so many crawls in a row."
        ),
    ] = 2
    render: Annotated[
        RenderMode | None,
        Meta(
            description="Which pages a browser renders, where the operator has one: `never` any, `auto` those with "
            "scripts and hardly any text, `always` all. null: as `crawler.render` says."
        ),
    ] = None


class UrlCounts(msgspec.Struct, frozen=True):
    """Addresses by what came of them. `stored` has a new version, `unchanged` is as it was, `read` are sitemaps."""

    waiting: int
    stored: int
    unchanged: int
    duplicate: int
    redirected: int
    refused: int
    failed: int
    gone: int
    read: int


class Crawl(msgspec.Struct, frozen=True):
    """`state` is its job's. `asked` counts requests for pages, `received` the bytes of all answers."""

    crawl_id: UUID
    job_id: UUID
    state: State
    phase: str
    start_urls: list[str]
    hosts: list[str]
    include: list[str]
    exclude: list[str]
    depth: int
    pages_max: int
    bytes_max: int
    seconds_max: int
    gone_after: int
    render: RenderMode | None
    asked: int
    rendered: Annotated[int, Meta(description="Addresses whose text, or whose redirect, is what a browser showed.")]
    received: int
    dropped: Annotated[int, Meta(description="Links of pages for which the list of addresses had no room.")]
    stopped: Annotated[str, Meta(description="The bound that ended it: pages, bytes or time; empty: nothing was left.")]
    urls: UrlCounts
    last_error: JobError | None
    created_at: datetime
    ends_at: Annotated[datetime | None, Meta(description="When its bound on time is reached; null before it begins.")]
    finished_at: datetime | None


class CrawlPage(msgspec.Struct, frozen=True):
    items: list[Crawl]
    next_cursor: str | None


class CrawledUrl(msgspec.Struct, frozen=True):
    """An address and what came of it. `refers_to`: where it leads, or whose text it has; `page_id` of what was kept."""

    url: str
    state: UrlState
    code: Annotated[
        str, Meta(description="Why it is refused, failed, a duplicate or gone, or `not-rendered`; else empty.")
    ]
    detail: str
    status: Annotated[int | None, Meta(description="Of the last answer.")]
    depth: int
    tries: int
    rendered: Annotated[bool, Meta(description="Its text is what a browser showed.")]
    refers_to: str | None
    page_id: UUID | None
    asked_at: datetime | None


class CrawledUrlPage(msgspec.Struct, frozen=True):
    items: list[CrawledUrl]
    next_cursor: str | None
