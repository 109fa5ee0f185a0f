"""Numbers of a log that are reserved: for a branch or a person who writes an ADR that is not here yet.

Owns who holds which number, and until when. The row of the log is locked first, by whoever reserves and by whoever
makes an ADR, so nobody gets a number that another one has. A number whose ADR came holds nothing any more; one whose
time is over, or that was given back, is the next that is reserved. Refuses to open a transaction: it is the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from api.db import Connection, to_struct
from api.logs import service as logs
from runtime.errors import Conflict
from schemas import text

HOLDER_CHARS_MAX: Final = 200
"""Longest name of a branch or a person."""
DAYS_DEFAULT: Final = 14
"""A reservation that nobody renews in so many days was forgotten."""
DAYS_MAX: Final = 90
RESERVED_MAX: Final = 200
"""Numbers of a log that are reserved at a time: nobody reviews as many proposals."""

Holder = Annotated[
    str, Meta(pattern=text.NAME, min_length=1, max_length=HOLDER_CHARS_MAX, description="A branch or a person.")
]


class ReservedNumber(msgspec.Struct, frozen=True):
    """A number that `holder` has until `expires_at`, or until its ADR comes."""

    log: str
    number: int
    holder: str
    reserved_by: UUID
    reserved_at: datetime
    expires_at: datetime


class ReservedNumbers(msgspec.Struct, frozen=True):
    items: list[ReservedNumber]


_LOCK = "select slug from app.logs where tenant_id = $1 and log_id = $2 for update"

_DROP_USED = """
  delete from app.number_reservations r
  using app.adrs a
  where r.tenant_id = $1 and r.log_id = $2 and a.tenant_id = $1 and a.log_id = $2 and a.number = r.number
"""

_RENEW = """
  update app.number_reservations
  set
    reserved_at = case when expires_at > clock_timestamp() then reserved_at else clock_timestamp() end,
    expires_at = greatest(expires_at, clock_timestamp() + $4::interval)
  where tenant_id = $1 and log_id = $2 and holder = $3
  returning number, holder, reserved_by, reserved_at, expires_at
"""

_COUNT = """
  select count(*)
  from app.number_reservations
  where tenant_id = $1 and log_id = $2 and expires_at > clock_timestamp()
"""

_TAKE_OVER = """
  update app.number_reservations
  set
    holder = $3,
    reserved_by = $5,
    reserved_at = clock_timestamp(),
    expires_at = clock_timestamp() + $4::interval
  where tenant_id = $1
    and log_id = $2
    and number = (
      select min(number)
      from app.number_reservations
      where tenant_id = $1 and log_id = $2 and expires_at <= clock_timestamp()
    )
  returning number, holder, reserved_by, reserved_at, expires_at
"""

_INSERT = """
  insert into app.number_reservations (
    tenant_id, log_id, number, holder, reserved_by, reserved_at, expires_at
  )
  values ($1, $2, $6, $3, $5, clock_timestamp(), clock_timestamp() + $4::interval)
  returning number, holder, reserved_by, reserved_at, expires_at
"""

_LIST = """
  select l.slug as log, r.number, r.holder, r.reserved_by, r.reserved_at, r.expires_at
  from app.number_reservations r
  join app.logs l using (tenant_id, log_id)
  where r.tenant_id = $1
    and l.slug = $2
    and r.expires_at > clock_timestamp()
    and not exists (
      select
      from app.adrs a
      where a.tenant_id = $1 and a.log_id = r.log_id and a.number = r.number
    )
  order by r.number
  limit $3
"""

_HELD = """
  select r.number, r.holder, r.expires_at
  from app.number_reservations r
  join app.logs l using (tenant_id, log_id)
  where r.tenant_id = $1
    and r.number = any($2::int[])
    and r.holder <> $4
    and r.expires_at > clock_timestamp()
    and (l.slug = $3 or ($3::text is null and (select count(*) from app.logs o where o.tenant_id = $1) = 1))
    and not exists (
      select
      from app.adrs a
      where a.tenant_id = $1 and a.log_id = r.log_id and a.number = r.number
    )
"""

_RELEASE = """
  update app.number_reservations
  set expires_at = least(expires_at, clock_timestamp())
  where tenant_id = $1 and log_id = $2 and holder = $3
"""


async def reserve(
    connection: Connection, tenant_id: UUID, user_id: UUID, slug: str, holder: str, days: int
) -> ReservedNumber:
    """The number of a holder, who keeps the one that they have. Raises `Conflict` where a log has too many reserved,
    and `NotFound` for a log that is not there; `main` is made."""
    log_id = await (logs.ensure if slug == logs.DEFAULT else logs.by_slug)(connection, tenant_id, slug)
    await connection.execute(_LOCK, tenant_id, log_id)
    await connection.execute(_DROP_USED, tenant_id, log_id)
    asked = (tenant_id, log_id, holder, timedelta(days=days))
    row = await connection.fetchrow(_RENEW, *asked)
    if row is None:
        if await connection.fetchval(_COUNT, tenant_id, log_id) >= RESERVED_MAX:
            raise Conflict(
                f"{RESERVED_MAX} numbers of the log {slug!r} are reserved, which is all that may be",
                hint="release what nobody needs any more",
            )
        row = await connection.fetchrow(_TAKE_OVER, *asked, user_id)
    if row is None:
        number, _ = await logs.take_number(connection, tenant_id, log_id)
        row = await connection.fetchrow(_INSERT, *asked, user_id, number)
    return to_struct({"log": slug, **row}, ReservedNumber)


async def list_reserved(connection: Connection, tenant_id: UUID, slug: str) -> ReservedNumbers:
    """What is reserved of a log, by number. Raises `InvalidInput` for one that is not there; `main` always is."""
    if slug != logs.DEFAULT:
        await logs.require_known(connection, tenant_id, slug)
    rows = await connection.fetch(_LIST, tenant_id, slug, RESERVED_MAX)
    return ReservedNumbers([to_struct(row, ReservedNumber) for row in rows])


async def find_held(
    connection: Connection, tenant_id: UUID, wanted: Sequence[int], slug: str | None, holder: str
) -> Sequence[Any]:
    """Those of these numbers that others hold, where their log is known: it is named, or the tenant has one alone."""
    rows: Sequence[Any] = await connection.fetch(_HELD, tenant_id, wanted, slug, holder)
    return rows


async def release(connection: Connection, tenant_id: UUID, slug: str, holder: str) -> None:
    """Give a number back. Who holds none has given it back. Raises `NotFound` for a log that is not there."""
    await connection.execute(_RELEASE, tenant_id, await logs.by_slug(connection, tenant_id, slug), holder)
