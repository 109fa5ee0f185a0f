"""`/v1/crawls`: ask for one, list them, read one and what came of its addresses, cancel one.

Owns the HTTP of it. Refuses SQL and rules: `service` has them.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Response
from litestar.params import PathParameter, QueryParameter

from api import paging
from api.auth.roles import NEEDS_INGEST
from api.crawls import service
from api.crawls.schemas import Crawl, CrawledUrlPage, CrawlPage, NewCrawl, UrlState
from api.db import tenant_transaction
from api.edge import traceparent
from api.jobs.service import State
from api.routes import By, Db, body, delete, get, key_header, locate, post

_URLS = {
    "waiting": 12,
    "stored": 30,
    "unchanged": 0,
    "duplicate": 3,
    "redirected": 1,
    "refused": 2,
    "failed": 0,
    "gone": 0,
    "read": 1,
}
CRAWL_EXAMPLE: dict[str, Any] = {
    "crawl_id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "job_id": "0199f0c2-a1b3-7c3d-8e4f-5a6b7c8d9e0f",
    "state": "running",
    "phase": "fetching",
    "start_urls": ["https://docs.example.org/"],
    "hosts": ["docs.example.org", "www.docs.example.org"],
    "include": ["/guide/*"],
    "exclude": [],
    "depth": 2,
    "pages_max": 100,
    "bytes_max": 104857600,
    "seconds_max": 3600,
    "gone_after": 2,
    "render": None,
    "asked": 36,
    "rendered": 0,
    "received": 1822112,
    "dropped": 0,
    "stopped": "",
    "urls": _URLS,
    "last_error": None,
    "created_at": "2026-01-15T09:00:00Z",
    "ends_at": "2026-01-15T10:00:01Z",
    "finished_at": None,
}
_WAITING = CRAWL_EXAMPLE | {"state": "queued", "phase": "", "asked": 0, "received": 0, "ends_at": None}
_WAITING |= {"urls": dict.fromkeys(_URLS, 0)}
_URL = {
    "url": "https://docs.example.org/guide/old",
    "state": "refused",
    "code": "http-404",
    "detail": "it is not there",
    "status": 404,
    "depth": 1,
    "tries": 1,
    "rendered": False,
    "refers_to": None,
    "page_id": None,
    "asked_at": "2026-01-15T09:00:12Z",
}

CrawlId = Annotated[UUID, PathParameter(description="The crawl's id.")]


class CrawlController(Controller):
    """A crawl asks for pages of a site, one at a time, and keeps each as a source that is searched."""

    path = "/v1/crawls"
    tags = ("crawls",)

    @post(
        "/",
        "Crawl a site",
        _WAITING,
        "The crawl, waiting for a worker.",
        status=201,
        errors=(409, 413, 415),
        opt=NEEDS_INGEST,
    )
    async def create_crawl(
        self,
        database: Db,
        principal: By,
        data: Annotated[NewCrawl, body("Two levels", {"start_urls": ["https://docs.example.org/"], "depth": 2})],
        idempotency_key: Annotated[
            str | None, key_header("Repeating a request with the same key answers with the crawl that it made.")
        ] = None,
    ) -> Response[Crawl]:
        """Asked for is what `robots.txt` allows, at the pace that a site wants. A page that refuses is left alone.
        Crawl the same start pages again to see what changed: only that becomes new versions."""
        trace = traceparent()
        async with tenant_transaction(database, principal.tenant_id) as connection:
            crawl, replayed = await service.create(connection, principal, data, idempotency_key, trace)
        headers = locate(f"/v1/crawls/{crawl.crawl_id}", replayed=replayed)
        return Response(crawl, headers=headers, status_code=201)

    @get("/", "List crawls", {"items": [CRAWL_EXAMPLE], "next_cursor": None}, "Crawls, newest first.")
    async def list_crawls(
        self,
        database: Db,
        principal: By,
        in_state: Annotated[State | None, QueryParameter(name="state", description="Only those in this state.")] = None,
        limit: paging.Limit = paging.LIMIT_DEFAULT,
        cursor: paging.Cursor = None,
    ) -> CrawlPage:
        """The tenant's crawls. Take `next_cursor` of a page to get the next one."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.page(connection, principal.tenant_id, in_state, limit, cursor)

    @get("/{crawl_id:uuid}", "Read a crawl", CRAWL_EXAMPLE, "The crawl as it is now.", errors=(404,))
    async def get_crawl(self, database: Db, principal: By, crawl_id: CrawlId) -> Crawl:
        """How far it is, and what came of the addresses that it found."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.read(connection, principal.tenant_id, crawl_id)

    @get(
        "/{crawl_id:uuid}/urls",
        "List addresses of a crawl",
        {"items": [_URL], "next_cursor": None},
        "Addresses in the order in which they were found.",
        errors=(404,),
    )
    async def list_crawl_urls(
        self,
        database: Db,
        principal: By,
        crawl_id: CrawlId,
        in_state: Annotated[
            UrlState | None, QueryParameter(name="state", description="Only those of which this came.")
        ] = None,
        limit: paging.Limit = paging.LIMIT_DEFAULT,
        cursor: paging.Cursor = None,
    ) -> CrawledUrlPage:
        """What came of each, and why not a page. They are kept for 90 days after the crawl."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.page_urls(connection, principal.tenant_id, crawl_id, in_state, limit, cursor)

    @delete(
        "/{crawl_id:uuid}",
        "Cancel a crawl",
        CRAWL_EXAMPLE,
        "The crawl.",
        errors=(404,),
        opt=NEEDS_INGEST,
    )
    async def cancel_crawl(self, database: Db, principal: By, crawl_id: CrawlId) -> Crawl:
        """It ends after the request that it is at; pages that were stored stay. One that is over stays as it ended."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.cancel(connection, principal.tenant_id, crawl_id)
