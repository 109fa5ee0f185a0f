"""Pages, each a source with versions.

Owns the rows of `app.pages` and `app.page_versions` that a worker writes. A version is written when title or text
changed, and when a page is deleted because it was gone too often in a row; nothing else is one. Refuses to decide
what a page's text is.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from connectors.postgres.connections import Connection
from runtime.ids import new_id
from streams.crawling.frontier import CrawlState


@dataclass(frozen=True, slots=True)
class KnownPage:
    """What an earlier crawl left of a page: what to ask with, and what it is when it has not changed."""

    page_id: UUID
    etag: str
    last_modified: str
    text_hash: bytes
    simhash: int | None
    links: list[str]


@dataclass(frozen=True, slots=True)
class ReadPage:
    """A page that came, and was read. `links` are whole addresses, in scope or not."""

    title: str
    text: str
    media_type: str
    content_hash: bytes
    text_hash: bytes
    simhash: int | None
    links: list[str]
    etag: str = ""
    last_modified: str = ""


_FIND_KNOWN = """
  select page_id, etag, last_modified, text_hash, simhash, links
  from app.pages
  where tenant_id = %s and url = %s and deleted_at is null
"""


def find_known(connection: Connection, tenant_id: UUID, url: str) -> KnownPage | None:
    row = connection.execute(_FIND_KNOWN, [tenant_id, url]).fetchone()
    return None if row is None else KnownPage(*row)


_KEEP = """
  insert into app.pages as p (
    tenant_id, page_id, url, title, media_type, version, etag, last_modified, content_hash, text_hash,
    simhash, links, crawl_id, fetched_at
  )
  values (
    %(tenant_id)s, %(page_id)s, %(url)s, %(title)s, %(media_type)s, 1, %(etag)s, %(last_modified)s,
    %(content_hash)s, %(text_hash)s, %(simhash)s, %(links)s, %(crawl_id)s, clock_timestamp()
  )
  on conflict (tenant_id, url)
  do update set
    title = excluded.title,
    media_type = excluded.media_type,
    version = p.version + (p.content_hash <> excluded.content_hash or p.deleted_at is not null)::int,
    etag = excluded.etag,
    last_modified = excluded.last_modified,
    content_hash = excluded.content_hash,
    text_hash = excluded.text_hash,
    simhash = excluded.simhash,
    links = excluded.links,
    gone = 0,
    crawl_id = excluded.crawl_id,
    fetched_at = excluded.fetched_at,
    deleted_at = null
  returning page_id, version
"""

_INSERT_VERSION = """
  insert into app.page_versions (
    tenant_id, page_id, version, kind, crawl_id, url, title, media_type, body, effective_at, traceparent
  )
  values (
    %(tenant_id)s, %(page_id)s, %(version)s, case %(version)s::bigint when 1 then 'create' else 'update' end,
    %(crawl_id)s, %(url)s, %(title)s, %(media_type)s, %(text)s, clock_timestamp(), %(traceparent)s
  )
  on conflict (tenant_id, page_id, version) do nothing
  returning version
"""


def keep(connection: Connection, crawl: CrawlState, url: str, page: ReadPage) -> tuple[UUID, bool]:
    """Write what a page is now. Returns its id, and whether that made a version."""
    row = {
        "tenant_id": crawl.tenant_id,
        "crawl_id": crawl.crawl_id,
        "page_id": new_id(),
        "url": url,
        "title": page.title,
        "media_type": page.media_type,
        "etag": page.etag,
        "last_modified": page.last_modified,
        "content_hash": page.content_hash,
        "text_hash": page.text_hash,
        "simhash": page.simhash,
        "links": page.links,
        "text": page.text,
        "traceparent": crawl.traceparent,
    }
    kept = connection.execute(_KEEP, row).fetchone()
    assert kept, "an upsert returns its row"
    row["page_id"], row["version"] = kept
    # Its version is there already when the text is as it was.
    return kept[0], connection.execute(_INSERT_VERSION, row).fetchone() is not None


_TOUCH = """
  update app.pages
  set gone = 0, crawl_id = %s, fetched_at = clock_timestamp()
  where tenant_id = %s and page_id = %s
"""


def touch(connection: Connection, crawl: CrawlState, page_id: UUID) -> None:
    """Note that a page is as it was."""
    connection.execute(_TOUCH, [crawl.crawl_id, crawl.tenant_id, page_id])


_MISS = """
  update app.pages
  set
    gone = gone + 1,
    crawl_id = %(crawl_id)s,
    version = version + (gone + 1 >= %(gone_after)s)::int,
    deleted_at = case when gone + 1 >= %(gone_after)s then clock_timestamp() end
  where tenant_id = %(tenant_id)s and url = %(url)s and deleted_at is null
  returning page_id, version, deleted_at is not null, gone, media_type
"""

_INSERT_TOMBSTONE = """
  insert into app.page_versions (
    tenant_id, page_id, version, kind, crawl_id, url, title, media_type, body, effective_at, traceparent
  )
  values (%s, %s, %s, 'delete', %s, %s, '', %s, '', clock_timestamp(), %s)
"""


@dataclass(frozen=True, slots=True)
class MissedPage:
    """A page that was not there: how often in a row, and whether that was once too often."""

    page_id: UUID
    gone: int
    deleted: bool


def miss(connection: Connection, crawl: CrawlState, url: str) -> MissedPage | None:
    """Count that a page is not there any more, and delete it when that was so often enough. None: it never was."""
    asked = {"tenant_id": crawl.tenant_id, "crawl_id": crawl.crawl_id, "url": url, "gone_after": crawl.gone_after}
    row = connection.execute(_MISS, asked).fetchone()
    if row is None:
        return None
    page_id, version, deleted, gone, media_type = row
    if deleted:
        connection.execute(
            _INSERT_TOMBSTONE,
            [crawl.tenant_id, page_id, version, crawl.crawl_id, url, media_type, crawl.traceparent],
        )
    return MissedPage(page_id, gone, deleted)
