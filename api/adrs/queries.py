"""The reads: one ADR now or at a time, lists, history. They read what was written (`app.*`), so they are never behind.

Refuses to change anything; meant for a read-only `tenant_transaction`, where all statements see one snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from api import paging
from api.adrs import service
from api.adrs.document import Status
from api.adrs.schemas import Adr, AdrPage, AdrSummary, Version, VersionPage, VersionSummary
from api.db import Connection, to_struct
from api.logs import service as logs
from runtime.errors import Gone, NotFound

Order = Literal["updated", "created"]

_LIVE: Literal["live"] = "live"
Which = Literal["live", "deleted", "all"]


class Filters(msgspec.Struct, frozen=True):
    """What a list is narrowed to; None is no filter."""

    status: tuple[Status, ...] = ()
    tag: tuple[str, ...] = ()
    log: str | None = None
    author: str | None = None
    updated_since: datetime | None = None
    title: str | None = None
    which: Which = _LIVE


async def read(connection: Connection, tenant_id: UUID, adr_id: UUID, *, include_deleted: bool = False) -> Adr:
    """The newest version. Raises `NotFound`, or `Gone` for a deleted one."""
    adr = await _one(connection, tenant_id, adr_id, None)
    if adr is None:
        service.no_such_adr(adr_id)
    if adr.deleted_at is not None and not include_deleted:
        raise Gone(
            f"the ADR was deleted at {adr.deleted_at.isoformat()}",
            hint=f"POST /v1/adrs/{adr_id}/restore brings it back; include_deleted=true shows it",
            coordinates={"current_version": adr.version},
        )
    return adr


async def read_at(
    connection: Connection, tenant_id: UUID, adr_id: UUID, time: datetime, *, include_deleted: bool = False
) -> Adr:
    """The version that was effective at `time`: the highest one that had taken effect by then.

    The highest, not the latest by its time: clocks of imported commits can run backwards, and the present must be what
    the head says. Raises `NotFound` when there was none yet, `Gone` when it was deleted at that time.
    """
    adr = await _one(connection, tenant_id, adr_id, time)
    if adr is None:
        await require_adr(connection, tenant_id, adr_id)
        raise NotFound(
            f"the ADR did not exist at {time.isoformat()}",
            hint=f"GET /v1/adrs/{adr_id}/versions says since when it does",
        )
    if adr.change == "delete" and not include_deleted:
        raise Gone(
            f"the ADR was deleted at {time.isoformat()}, by its version {adr.version}",
            hint="include_deleted=true shows it",
        )
    return adr


_READ_ONE = """
  select
    a.adr_id, l.slug as log, a.number, 'ADR-' || coalesce(a.label, a.number::text) as label, a.created_at,
    a.updated_at, a.deleted_at,
    array(
      select tag
      from app.adr_tags t
      where t.tenant_id = a.tenant_id and t.adr_id = a.adr_id
      order by tag
    ) as tags,
    v.version, v.title, v.status, v.message, v.author, v.author_id, v.change, v.effective_at, v.recorded_at,
    v.source_key, v.source_ref, v.original is not null as has_original, v.body
  from app.adrs a
  join app.logs l using (tenant_id, log_id)
  join app.adr_versions v using (tenant_id, adr_id)
  where a.tenant_id = $1
    and a.adr_id = $2
    and v.version = case
      when $3::timestamptz is null then a.version
      else (
        select max(x.version)
        from app.adr_versions x
        where x.tenant_id = a.tenant_id and x.adr_id = a.adr_id and x.effective_at <= $3
      )
    end
"""


async def _one(connection: Connection, tenant_id: UUID, adr_id: UUID, time: datetime | None) -> Adr | None:
    """The version that was effective at `time`; without one, the newest."""
    row = await connection.fetchrow(_READ_ONE, tenant_id, adr_id, time)
    return to_struct(row, Adr) if row else None


# Plans are made with the values at hand (`api/db.py`): each order has the plan that a statement of its own would have.
_LIST = """
  select
    a.adr_id, l.slug as log, a.number, 'ADR-' || coalesce(a.label, a.number::text) as label, a.created_at,
    a.updated_at, a.deleted_at,
    array(
      select tag
      from app.adr_tags t
      where t.tenant_id = a.tenant_id and t.adr_id = a.adr_id
      order by tag
    ) as tags,
    a.version, a.title, a.status
  from app.adrs a
  join app.logs l using (tenant_id, log_id)
  where a.tenant_id = $1
    and ($2::text = 'all' or ($2 = 'deleted') = (a.deleted_at is not null))
    and (cardinality($3::text[]) = 0 or a.status = any($3))
    and ($4::text is null or l.slug = $4)
    and ($5::timestamptz is null or a.updated_at >= $5)
    and ($6::text is null or a.title ilike $6)
    and (
      $7::text is null
      or exists (
        select
        from app.adr_versions v
        where v.tenant_id = a.tenant_id and v.adr_id = a.adr_id and v.author = $7
      )
    )
    and not exists (
      select
      from unnest($8::text[]) as w (tag)
      where not exists (
        select
        from app.adr_tags t
        where t.tenant_id = a.tenant_id and t.adr_id = a.adr_id and t.tag = w.tag
      )
    )
    and ($9::text <> 'created' or $11::uuid is null or a.adr_id < $11)
    and ($9 <> 'updated' or $11 is null or (a.updated_at, a.adr_id) < ($10::timestamptz, $11))
  order by case when $9 = 'updated' then a.updated_at end desc, a.adr_id desc
  limit $12
"""


async def page(
    connection: Connection, tenant_id: UUID, filters: Filters, order: Order, limit: int, cursor: str | None
) -> AdrPage:
    """ADRs, newest first by `order`.

    By `created` a list that is read page by page shows each ADR once, whatever happens meanwhile. By `updated` an ADR
    that is updated meanwhile moves to the front, ahead of the pages that are still to come.
    """
    part = paging.Slice(cursor, limit, tuple[datetime | None, UUID], "adrs", order, filters)
    rows = await connection.fetch(
        _LIST,
        *(tenant_id, filters.which, list(filters.status), filters.log or None, filters.updated_since),
        *(_like(filters.title), filters.author or None, list(filters.tag)),
        *(order, *part.after, part.rows_max),
    )
    if filters.log and not rows:
        await logs.require_known(connection, tenant_id, filters.log)
    items = [to_struct(row, AdrSummary) for row in rows]
    return AdrPage(*part.cut(items, lambda adr: (adr.updated_at if order == "updated" else None, adr.adr_id)))


def _like(part: str | None) -> str | None:
    """A pattern for "contains", with the pattern's own signs taken literally."""
    if not part:
        return None
    escaped = part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


_READ_VERSIONS = """
  select
    v.adr_id, v.version, v.title, v.status, v.message, v.author, v.author_id, v.change, v.effective_at,
    v.recorded_at, v.source_key, v.source_ref, v.original is not null as has_original,
    octet_length(v.body) as size_bytes, case when v.version = $3::int then v.body end as body
  from app.adr_versions v
  where v.tenant_id = $1
    and v.adr_id = $2
    and ($3 is null or v.version = $3)
    and ($4::int is null or v.version < $4)
  order by v.version desc
  limit $5
"""
"""All of them, without their texts, or the one that is asked for."""


async def history(connection: Connection, tenant_id: UUID, adr_id: UUID, limit: int, cursor: str | None) -> VersionPage:
    """The versions, newest first. Deleted ADRs keep their history."""
    part = paging.Slice(cursor, limit, tuple[int], "versions", adr_id)
    rows = await connection.fetch(_READ_VERSIONS, tenant_id, adr_id, None, *part.after, part.rows_max)
    if not rows and cursor is None:
        service.no_such_adr(adr_id)
    items = [to_struct(row, VersionSummary) for row in rows]
    return VersionPage(*part.cut(items, lambda each: (each.version,)))


async def version(connection: Connection, tenant_id: UUID, adr_id: UUID, number: int) -> Version:
    """One version with its text. Raises `NotFound`."""
    row = await connection.fetchrow(_READ_VERSIONS, tenant_id, adr_id, number, None, 1)
    return to_struct(await _require_version(connection, tenant_id, adr_id, number, row), Version)


async def text(connection: Connection, tenant_id: UUID, adr_id: UUID, number: int) -> bytes:
    """The bytes of a version as they came in. Raises `NotFound`."""
    row = await connection.fetchrow(
        "select body, original from app.adr_versions where tenant_id = $1 and adr_id = $2 and version = $3",
        *(tenant_id, adr_id, number),
    )
    body, original = await _require_version(connection, tenant_id, adr_id, number, row)
    return body.encode() if original is None else bytes(original)


async def _require_version(connection: Connection, tenant_id: UUID, adr_id: UUID, number: int, row: Any) -> Any:
    """`row`, where there is one. Raises `NotFound`, which says whether the ADR is missing or the version."""
    if row is None:
        await require_adr(connection, tenant_id, adr_id)
        service.no_such_version(adr_id, number)
    return row


async def two_versions(
    connection: Connection, tenant_id: UUID, adr_id: UUID, old: int | None, new: int | None
) -> Sequence[Version]:
    """The two versions to compare: by default the newest one and the one before it."""
    head = await connection.fetchval(
        "select version from app.adrs where tenant_id = $1 and adr_id = $2", tenant_id, adr_id
    )
    if head is None:
        service.no_such_adr(adr_id)
    newer = new or head
    older = old or max(1, newer - 1)
    return [await version(connection, tenant_id, adr_id, number) for number in (older, newer)]


async def require_adr(connection: Connection, tenant_id: UUID, adr_id: UUID) -> None:
    if not await connection.fetchval(
        "select true from app.adrs where tenant_id = $1 and adr_id = $2", tenant_id, adr_id
    ):
        service.no_such_adr(adr_id)
