"""The rows of crawls as a tenant sees them.

Owns recording a crawl together with its job and its event, reading, and asking for an end. Refuses to ask any site for
anything: a worker does (`streams/crawling`). Each function works in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

import msgspec

from api import paging
from api.auth.users import Principal
from api.crawls.schemas import Crawl, CrawledUrl, CrawledUrlPage, CrawlPage, NewCrawl, UrlCounts, UrlState
from api.db import Connection
from api.hosts import service as hosts
from api.jobs import service as jobs
from api.jobs.service import JobError, NewJob, State
from api.requests import hash_request, refuse
from connectors.fetching.urls import default_hosts, host_of, normalise
from runtime.errors import Conflict, InvalidInput, NotFound
from runtime.ids import new_id
from runtime.setting_kinds import is_allowed_host
from schemas.jobs import CRAWL, CRAWLS_OPEN_MAX

_COUNT_OPEN = """
  select count(*)
  from app.jobs
  where tenant_id = $1 and kind = $2 and state in ('queued', 'running')
"""

_INSERT_CRAWL = """
  insert into app.crawls (
    tenant_id, crawl_id, job_id, start_urls, hosts, include, exclude, depth_max, pages_max, bytes_max,
    seconds_max, gone_after, render, requested_by, traceparent
  )
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
"""

_EMIT_SUBMITTED = """
  select
    app.emit(
      'crawl.submitted', jsonb_build_object('tenant_id', tenant_id, 'id', crawl_id), tenant_id,
      jsonb_build_object(
        'event_id', gen_random_uuid(), 'tenant_id', tenant_id,
        'occurred_at', (extract(epoch from clock_timestamp()) * 1000000)::bigint, 'crawl_id', crawl_id,
        'start_urls', start_urls, 'depth_max', depth_max, 'pages_max', pages_max, 'hosts', hosts,
        'respect_robots', true, 'requested_by', requested_by
      ),
      case when traceparent is null then '{}'::jsonb else jsonb_build_object('traceparent', traceparent) end
    ),
    app.emit_job_progress(tenant_id, job_id)
  from app.crawls
  where tenant_id = $1 and crawl_id = $2
"""


async def create(
    connection: Connection,
    principal: Principal,
    wanted: NewCrawl,
    key: str | None,
    traceparent: str | None,
) -> tuple[Crawl, bool]:
    """A crawl that waits, with its job and its event. True when an earlier request with this key had made it."""
    tenant_id = principal.tenant_id
    start_urls, named = await settle(connection, tenant_id, wanted)
    # One after the other, so that the bound holds.
    await connection.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", f"crawls:{tenant_id}")
    crawl_id = new_id() if key is None else uuid5(tenant_id, key)
    job = NewJob(CRAWL, {"crawl_id": str(crawl_id)})
    job_id, replayed = await jobs.record(connection, principal, job, key, traceparent, hash_request(wanted))
    if replayed:
        return await read(connection, tenant_id, crawl_id), True
    if await connection.fetchval(_COUNT_OPEN, tenant_id, CRAWL) > CRAWLS_OPEN_MAX:
        raise Conflict(
            f"{CRAWLS_OPEN_MAX} crawls are not over yet", hint="wait for one, or cancel it: DELETE /v1/crawls/{id}"
        )
    await connection.execute(
        _INSERT_CRAWL,
        *(tenant_id, crawl_id, job_id, start_urls, named, wanted.include, wanted.exclude, wanted.depth),
        *(wanted.pages_max, wanted.bytes_max, wanted.seconds_max, wanted.gone_after, wanted.render),
        *(principal.user_id, traceparent),
    )
    await connection.execute(_EMIT_SUBMITTED, tenant_id, crawl_id)
    return await read(connection, tenant_id, crawl_id), False


async def settle(connection: Connection, tenant_id: UUID, wanted: NewCrawl) -> tuple[list[str], list[str]]:
    """The start pages in their normal form, and the hosts that may be asked. Raises `InvalidInput` for what cannot be
    crawled, and `Forbidden` for what the tenant does not allow."""
    start_urls = _read_urls(wanted.start_urls)
    named = [host.lower() for host in wanted.hosts] or list(default_hosts(start_urls))
    for url in start_urls:
        if not is_allowed_host(host_of(url), named):
            raise InvalidInput(
                f"{url} is not on one of the hosts of the crawl", hint="name its host among `hosts`, too"
            )
    await hosts.require_allowed(connection, tenant_id, start_urls, for_tool=False)
    return start_urls, named


def _read_urls(texts: Sequence[str]) -> list[str]:
    """Normal forms, each once. Raises `InvalidInput` with the first that is none."""
    urls: dict[str, None] = {}
    for text in texts:
        try:
            urls[normalise(text)] = None
        except ValueError as error:
            raise refuse(
                f"{text[:200]!r}: {error}",
                "write it like https://docs.example.org/",
                "body",
                ("start_urls", str(error)),
            ) from None
    return list(urls)


_READ_CRAWLS = """
  select
    c.crawl_id, c.job_id, j.state, j.phase, c.start_urls, c.hosts, c.include, c.exclude, c.depth_max as depth,
    c.pages_max, c.bytes_max, c.seconds_max, c.gone_after, c.render, c.asked, c.received, c.dropped,
    c.stopped, j.last_error, c.created_at, c.ends_at, j.finished_at, u.urls, u.rendered
  from app.crawls c
  join app.jobs j on j.tenant_id = c.tenant_id and j.job_id = c.job_id
  cross join lateral (
    select
      coalesce(jsonb_object_agg(s.state, s.urls), '{}') as urls,
      coalesce(sum(s.rendered), 0)::bigint as rendered
    from (
      select state, count(*) as urls, count(*) filter (where rendered) as rendered
      from app.crawl_urls
      where tenant_id = c.tenant_id and crawl_id = c.crawl_id
      group by state
    ) s
  ) u
  where c.tenant_id = $1
    and ($2::uuid is null or c.crawl_id = $2)
    and ($3::text is null or j.state = $3)
    and ($4::timestamptz is null or (c.created_at, c.crawl_id) < ($4, $5::uuid))
  order by c.created_at desc, c.crawl_id desc
  limit $6
"""


async def read(connection: Connection, tenant_id: UUID, crawl_id: UUID) -> Crawl:
    row = await connection.fetchrow(_READ_CRAWLS, tenant_id, crawl_id, None, None, None, 1)
    if row is None:
        raise NotFound(f"there is no crawl {crawl_id}", hint="GET /v1/crawls lists them")
    return _crawl(row)


async def page(
    connection: Connection, tenant_id: UUID, state: State | None, limit: int, cursor: str | None
) -> CrawlPage:
    """Newest first."""
    part = paging.Slice(cursor, limit, tuple[datetime, UUID], "crawls", state)
    rows = await connection.fetch(_READ_CRAWLS, tenant_id, None, state, *part.after, part.rows_max)
    return CrawlPage(*part.cut([_crawl(row) for row in rows], lambda crawl: (crawl.created_at, crawl.crawl_id)))


_READ_URLS = """
  select url_id, url, state, code, detail, status, depth, tries, rendered, refers_to, page_id, asked_at
  from app.crawl_urls
  where tenant_id = $1
    and crawl_id = $2
    and ($3::text is null or state = $3)
    and ($4::bigint is null or url_id > $4)
  order by url_id
  limit $5
"""


async def page_urls(
    connection: Connection, tenant_id: UUID, crawl_id: UUID, state: UrlState | None, limit: int, cursor: str | None
) -> CrawledUrlPage:
    """Addresses in the order in which they were found."""
    await read(connection, tenant_id, crawl_id)
    part = paging.Slice(cursor, limit, tuple[int], "crawl-urls", str(crawl_id), state)
    rows = await connection.fetch(_READ_URLS, tenant_id, crawl_id, state, *part.after, part.rows_max)
    shown, next_cursor = part.cut([dict(row) for row in rows], lambda row: (row["url_id"],))
    items = [CrawledUrl(**{name: row[name] for name in CrawledUrl.__struct_fields__}) for row in shown]
    return CrawledUrlPage(items, next_cursor)


async def cancel(connection: Connection, tenant_id: UUID, crawl_id: UUID) -> Crawl:
    """End it after the request that it is at; what was stored stays. One that is over stays as it ended."""
    crawl = await read(connection, tenant_id, crawl_id)
    await jobs.cancel(connection, tenant_id, crawl.job_id)
    return await read(connection, tenant_id, crawl_id)


def _crawl(row: Any) -> Crawl:
    counted = msgspec.json.decode(row["urls"])
    urls = UrlCounts(**{name: counted.get(name, 0) for name in UrlCounts.__struct_fields__})
    shown = {name: row[name] for name in Crawl.__struct_fields__ if name not in ("urls", "last_error")}
    error = None if row["last_error"] is None else msgspec.json.decode(row["last_error"], type=JobError)
    return Crawl(**shown, urls=urls, last_error=error)
