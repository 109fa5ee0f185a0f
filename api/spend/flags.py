"""Flags of use that looks like abuse, read for an admin, and that somebody has looked at one.

Owns the SQL of both. Refuses to raise one: a look over the ledger does, several times a minute (`streams/abuse.py`).
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api.auth.users import Principal
from api.db import Database, tenant_transaction, to_struct
from api.paging import Slice
from runtime.errors import NotFound

FlagKind = Literal["rapid-calls", "new-user-use", "users-of-one-address"]


class AbuseFlag(msgspec.Struct, frozen=True):
    """Use that somebody should look at. It refuses nobody anything."""

    flag_id: UUID
    kind: Annotated[
        FlagKind,
        Meta(
            description="`rapid-calls`: calls of models in one minute; `new-user-use`: tokens of a user in its first "
            "24 hours; `users-of-one-address`: new users from one address within 24 hours."
        ),
    ]
    subject: Annotated[str, Meta(description="The user's id; of an address, a hash that says nothing of it.")]
    day: Annotated[date, Meta(description="In UTC. A kind and a subject have one flag a day.")]
    measured: Annotated[int, Meta(description="The most that was seen.")]
    threshold: Annotated[int, Meta(description="From how much on it was flagged.")]
    raised_at: datetime
    seen_at: Annotated[datetime, Meta(description="When it was last more than before.")]
    users: Annotated[list[UUID], Meta(description="Who came from the address, while that is known: two days.")]
    reviewed_by: UUID | None
    reviewed_at: datetime | None
    note: str


class AbuseFlagPage(msgspec.Struct, frozen=True):
    """The newest first."""

    items: list[AbuseFlag]
    next_cursor: str | None


class FlagReview(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody found who looked at a flag."""

    note: Annotated[str, Meta(min_length=1, max_length=500, description="One line, for whoever asks later.")]


USERS_MAX = 100
"""Users of one address that are shown."""

_LIST = """
  select
    f.flag_id, f.kind, f.subject, f.day, f.measured, f.threshold, f.raised_at, f.seen_at, f.reviewed_by,
    f.reviewed_at, f.note,
    case
      when f.kind = 'users-of-one-address' then
        array(
          select a.user_id
          from app.user_addresses a
          where a.tenant_id = f.tenant_id and a.address_hash = decode(f.subject, 'hex')
          order by a.seen_at, a.user_id
          limit $6
        )
      else '{}'::uuid[]
    end as users
  from app.abuse_flags f
  where f.tenant_id = $1
    and ($2::timestamptz is null or (f.raised_at, f.flag_id) < ($2, $3::uuid))
    and ($5::boolean or f.reviewed_at is null)
  order by f.raised_at desc, f.flag_id desc
  limit $4
"""

_REVIEW = """
  update app.abuse_flags
  set reviewed_by = $3, reviewed_at = now(), note = $4
  where tenant_id = $1 and flag_id = $2
  returning
    flag_id, kind, subject, day, measured, threshold, raised_at, seen_at, '{}'::uuid[] as users, reviewed_by,
    reviewed_at, note
"""


async def read(
    database: Database, tenant_id: UUID, limit: int, cursor: str | None, *, reviewed: bool = False
) -> AbuseFlagPage:
    """Flags that nobody has looked at, a page at a time; `reviewed`: the others too."""
    page = Slice(cursor, limit, tuple[datetime, UUID], "flags")
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        rows = await connection.fetch(_LIST, tenant_id, *page.after, page.rows_max, reviewed, USERS_MAX)
    found = [to_struct(row, AbuseFlag) for row in rows]
    return AbuseFlagPage(*page.cut(found, lambda each: (each.raised_at, each.flag_id)))


async def review(database: Database, principal: Principal, flag_id: UUID, done: FlagReview) -> AbuseFlag:
    """Note that somebody has looked; again overwrites. Raises `NotFound`."""
    async with tenant_transaction(database, principal.tenant_id) as connection:
        row = await connection.fetchrow(_REVIEW, principal.tenant_id, flag_id, principal.user_id, done.note)
    if row is None:
        raise NotFound(f"no flag {flag_id}", hint="GET /v1/spend/flags lists them; they are kept for a while")
    return to_struct(row, AbuseFlag)
