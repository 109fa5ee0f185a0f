"""`/v1/crawl-schedules`: have sites crawled again and again, and see what came of it.

Owns the HTTP of it. Refuses SQL and rules: `schedules` has them.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Response
from litestar.params import PathParameter

from api.auth.roles import NEEDS_INGEST
from api.crawls import schedules
from api.crawls.controller import CRAWL_EXAMPLE
from api.crawls.schedules import CrawlSchedule, CrawlScheduleList, NewCrawlSchedule
from api.db import tenant_transaction
from api.routes import By, Db, body, delete, get, locate, post

_BOUNDS = (
    *("start_urls", "hosts", "include", "exclude", "depth", "pages_max", "bytes_max", "seconds_max", "gone_after"),
    "render",
)
_SCHEDULE: dict[str, Any] = {
    "schedule_id": "0199f0c2-c1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "crawl": {name: CRAWL_EXAMPLE[name] for name in _BOUNDS},
    "every_s": 86_400,
    "paused": False,
    "next_at": "2026-01-16T09:00:00Z",
    "last": CRAWL_EXAMPLE,
    "passed_over": 0,
    "told": "",
    "created_at": "2026-01-15T09:00:00Z",
}
_ASKED = {"crawl": {"start_urls": ["https://docs.example.org/"]}, "every_s": 86_400}

ScheduleId = Annotated[UUID, PathParameter(description="The schedule's id.")]


class CrawlScheduleController(Controller):
    """A schedule has a site crawled every few hours or days: each crawl writes what changed."""

    path = "/v1/crawl-schedules"
    tags = ("crawls",)

    @post(
        "/",
        "Schedule a crawl",
        _SCHEDULE | {"last": None},
        "The schedule, whose first crawl is made within a minute.",
        status=201,
        errors=(409, 413, 415),
        opt=NEEDS_INGEST,
    )
    async def create_crawl_schedule(
        self, database: Db, principal: By, data: Annotated[NewCrawlSchedule, body("Every day", _ASKED)]
    ) -> Response[CrawlSchedule]:
        """A crawl is made when its time has come and the one before is over. Times that were missed are not made up
        for. A tenant may have 50 schedules."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            made = await schedules.create(connection, principal, data)
        headers = locate(f"/v1/crawl-schedules/{made.schedule_id}", replayed=False)
        return Response(made, headers=headers, status_code=201)

    @get("/", "List schedules of crawls", {"items": [_SCHEDULE]}, "All of them, oldest first.")
    async def list_crawl_schedules(self, database: Db, principal: By) -> CrawlScheduleList:
        """Each with the crawl that was made last."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await schedules.list_all(connection, principal.tenant_id)

    @get("/{schedule_id:uuid}", "Read a schedule", _SCHEDULE, "The schedule.", errors=(404,))
    async def get_crawl_schedule(self, database: Db, principal: By, schedule_id: ScheduleId) -> CrawlSchedule:
        """When its next crawl is made, and what came of the last."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await schedules.read(connection, principal.tenant_id, schedule_id)

    @post(
        "/{schedule_id:uuid}/pause",
        "Pause a schedule",
        _SCHEDULE | {"paused": True, "next_at": None},
        "The schedule.",
        errors=(404,),
        opt=NEEDS_INGEST,
    )
    async def pause_crawl_schedule(self, database: Db, principal: By, schedule_id: ScheduleId) -> CrawlSchedule:
        """No crawl of it is made. One that is under way goes on."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await schedules.pause(connection, principal.tenant_id, schedule_id, paused=True)

    @post(
        "/{schedule_id:uuid}/resume",
        "Resume a schedule",
        _SCHEDULE,
        "The schedule.",
        errors=(404,),
        opt=NEEDS_INGEST,
    )
    async def resume_crawl_schedule(self, database: Db, principal: By, schedule_id: ScheduleId) -> CrawlSchedule:
        """Crawls of it are made again: one at once where a time was missed, and then at the times that it had."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await schedules.pause(connection, principal.tenant_id, schedule_id, paused=False)

    @delete(
        "/{schedule_id:uuid}",
        "Delete a schedule",
        None,
        "It is gone.",
        status=204,
        errors=(404,),
        opt=NEEDS_INGEST,
    )
    async def delete_crawl_schedule(self, database: Db, principal: By, schedule_id: ScheduleId) -> None:
        """Crawls that were made stay, and so do their pages."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            await schedules.delete(connection, principal.tenant_id, schedule_id)
