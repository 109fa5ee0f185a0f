"""The rows of schedules of crawls as a tenant sees them.

Owns making one within its bounds, reading, pausing and deleting. Refuses to make a crawl of one: the agent that does
the jobs does (`streams/crawling/schedules.py`). Each function works in the caller's transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from api.auth.users import Principal
from api.crawls import service
from api.crawls.schemas import Crawl, NewCrawl
from api.db import Connection
from runtime.errors import Conflict, NotFound
from runtime.ids import new_id

SCHEDULES_MAX: Final = 50
"""Schedules of one tenant, paused ones among them: with the shortest time between two crawls, one a minute."""
EVERY_S_MIN: Final = 3_600
"""Shortest time between two crawls of one schedule, in seconds: sites are asked politely, and change by the day."""
EVERY_S_MAX: Final = 31_622_400
"""Longest time, in seconds: a leap year."""


class NewCrawlSchedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is crawled, as in `POST /v1/crawls`, and how often."""

    crawl: NewCrawl
    every_s: Annotated[
        int, Meta(ge=EVERY_S_MIN, le=EVERY_S_MAX, description="Seconds from one crawl to the next; the first is now.")
    ]


class CrawlSchedule(msgspec.Struct, frozen=True):
    """`last` is the crawl that was made last. `told` says why none was made the last time; empty: one was. A time at
    which none was made counts in `passed_over`."""

    schedule_id: UUID
    crawl: NewCrawl
    every_s: int
    paused: bool
    next_at: Annotated[datetime | None, Meta(description="When the next crawl is made; null while it is paused.")]
    last: Crawl | None
    passed_over: int
    told: str
    created_at: datetime


class CrawlScheduleList(msgspec.Struct, frozen=True):
    items: list[CrawlSchedule]


_COUNT: Final = "select count(*) from app.crawl_schedules where tenant_id = $1"
_INSERT: Final = """
  insert into app.crawl_schedules (
    tenant_id, schedule_id, start_urls, hosts, include, exclude, depth_max, pages_max, bytes_max, seconds_max,
    gone_after, render, every_s, made_by
  )
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
"""


async def create(connection: Connection, principal: Principal, wanted: NewCrawlSchedule) -> CrawlSchedule:
    """A schedule whose first crawl is due now. Raises `Conflict` when the tenant has as many as it may have."""
    tenant_id, crawl, schedule_id = principal.tenant_id, wanted.crawl, new_id()
    start_urls, hosts = await service.settle(connection, tenant_id, crawl)
    # One after the other, so that the bound holds.
    await connection.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", f"crawl-schedules:{tenant_id}")
    if await connection.fetchval(_COUNT, tenant_id) >= SCHEDULES_MAX:
        raise Conflict(
            f"there are {SCHEDULES_MAX} schedules, and a tenant may have as many",
            hint="delete one: DELETE /v1/crawl-schedules/{id}",
        )
    await connection.execute(
        _INSERT,
        *(tenant_id, schedule_id, start_urls, hosts, crawl.include, crawl.exclude, crawl.depth, crawl.pages_max),
        *(crawl.bytes_max, crawl.seconds_max, crawl.gone_after, crawl.render, wanted.every_s, principal.user_id),
    )
    return await read(connection, tenant_id, schedule_id)


_READ: Final = """
  select
    schedule_id, start_urls, hosts, include, exclude, depth_max as depth, pages_max, bytes_max, seconds_max,
    gone_after, render, every_s, paused, case when not paused then next_at end as next_at, last_crawl_id,
    passed_over, told, created_at
  from app.crawl_schedules
  where tenant_id = $1 and ($2::uuid is null or schedule_id = $2)
  order by created_at, schedule_id
"""


async def read(connection: Connection, tenant_id: UUID, schedule_id: UUID) -> CrawlSchedule:
    """Raises `NotFound`."""
    row = await connection.fetchrow(_READ, tenant_id, schedule_id)
    if row is None:
        raise NotFound(f"there is no schedule {schedule_id}", hint="GET /v1/crawl-schedules lists them")
    return await _show(connection, tenant_id, row)


async def list_all(connection: Connection, tenant_id: UUID) -> CrawlScheduleList:
    """All of the tenant, oldest first: their number is bounded."""
    rows = await connection.fetch(_READ, tenant_id, None)
    return CrawlScheduleList([await _show(connection, tenant_id, row) for row in rows])


_PAUSE: Final = """
  update app.crawl_schedules
  set paused = $3
  where tenant_id = $1 and schedule_id = $2
"""


async def pause(connection: Connection, tenant_id: UUID, schedule_id: UUID, *, paused: bool) -> CrawlSchedule:
    """Make no more crawls of it, or again. Of the times that were missed meanwhile, one is made up for. Raises
    `NotFound`."""
    await connection.execute(_PAUSE, tenant_id, schedule_id, paused)
    return await read(connection, tenant_id, schedule_id)


async def delete(connection: Connection, tenant_id: UUID, schedule_id: UUID) -> None:
    """Forget it. Crawls that were made stay, and so does what they stored. Raises `NotFound`."""
    await read(connection, tenant_id, schedule_id)
    await connection.execute(
        "delete from app.crawl_schedules where tenant_id = $1 and schedule_id = $2", tenant_id, schedule_id
    )


async def _show(connection: Connection, tenant_id: UUID, row: Any) -> CrawlSchedule:
    crawl = NewCrawl(**{name: row[name] for name in NewCrawl.__struct_fields__})
    last = None if row["last_crawl_id"] is None else await service.read(connection, tenant_id, row["last_crawl_id"])
    own = ("schedule_id", "every_s", "paused", "next_at", "passed_over", "told", "created_at")
    return CrawlSchedule(crawl=crawl, last=last, **{name: row[name] for name in own})
