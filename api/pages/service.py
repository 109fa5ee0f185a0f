"""The rows of crawled pages as a tenant sees them.

Owns reading one with its text, and deleting one. Refuses to ask its site: the next crawl does. Each function works in
the caller's transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from api.db import Connection, to_struct
from runtime.errors import NotFound


class SitePage(msgspec.Struct, frozen=True):
    """A page as the last crawl read it. `id` is what a search result names."""

    id: UUID
    url: str
    title: str
    media_type: str
    version: int
    body: Annotated[str, Meta(description="Its main part, as Markdown.")]
    gone: Annotated[int, Meta(description="Crawls in a row in which it was not there.")]
    crawl_id: Annotated[UUID, Meta(description="The last crawl that asked for it.")]
    fetched_at: Annotated[datetime, Meta(description="When its site last had it.")]
    changed_at: Annotated[datetime, Meta(description="When this version was fetched.")]


_READ = """
  select
    p.page_id as id, p.url, p.title, p.media_type, p.version, v.body, p.gone, p.crawl_id, p.fetched_at,
    v.effective_at as changed_at
  from app.pages p
  join app.page_versions v on v.tenant_id = p.tenant_id and v.page_id = p.page_id and v.version = p.version
  where p.tenant_id = $1 and p.page_id = $2 and p.deleted_at is null
"""


async def read(connection: Connection, tenant_id: UUID, page_id: UUID) -> SitePage:
    row = await connection.fetchrow(_READ, tenant_id, page_id)
    if row is None:
        raise _no_such_page(page_id)
    return to_struct(row, SitePage)


_DELETE = """
  with deleted as (
    update app.pages
    set deleted_at = now(), version = version + 1
    where tenant_id = $1 and page_id = $2 and deleted_at is null
    returning tenant_id, page_id, version, url, media_type
  )
  insert into app.page_versions (
    tenant_id, page_id, version, kind, url, title, media_type, body, effective_at, traceparent
  )
  select tenant_id, page_id, version, 'delete', url, '', media_type, '', now(), $3
  from deleted
  returning page_id
"""


async def delete(connection: Connection, tenant_id: UUID, page_id: UUID, traceparent: str | None) -> None:
    """Its text gets a version that says so. A crawl that finds the page again keeps it again."""
    if await connection.fetchval(_DELETE, tenant_id, page_id, traceparent) is None:
        raise _no_such_page(page_id)


def _no_such_page(page_id: UUID) -> NotFound:
    return NotFound(f"there is no page {page_id}", hint="GET /v1/search?kind=page finds them")
