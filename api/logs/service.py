"""Reads and writes of app.logs.

Owns the making of a log and the giving of numbers. Works in the caller's transaction, and refuses to make one itself.
"""

from __future__ import annotations

import difflib
import re
from datetime import datetime
from uuid import UUID

import msgspec

from api import paging
from api.db import Connection, to_struct
from api.requests import NEAR, refuse
from runtime.errors import Conflict, InvalidInput, NotFound
from runtime.ids import new_id
from schemas import text

DEFAULT = "main"
"""The log of an ADR whose creator names none. The only one that is made on demand."""
DEFAULT_NAME = "Decisions"
SLUGS_NAMED_MAX = 1_000
"""Logs among which the nearest name is looked for."""
SLUG = re.compile(text.SLUG)
NAME_CHARS_MAX = 200


class Log(msgspec.Struct, frozen=True):
    """`next_number` is what the next ADR of this log gets; `adrs` counts the ones that are not deleted."""

    log_id: UUID
    slug: str
    name: str
    next_number: int
    adrs: int
    created_at: datetime


class LogPage(msgspec.Struct, frozen=True):
    items: list[Log]
    next_cursor: str | None


async def create(connection: Connection, tenant_id: UUID, slug: str, name: str = "") -> Log:
    """Make a log. Raises `Conflict` when the tenant has one with this slug."""
    _check(slug, name)
    made = await connection.fetchrow(_INSERT_LOG, tenant_id, new_id(), slug, name or slug)
    if made is None:
        raise Conflict(f"there is a log {slug!r} already", hint="choose another slug, or use the one that exists")
    return to_struct(made, Log)


async def ensure(connection: Connection, tenant_id: UUID, slug: str, name: str = "") -> UUID:
    """The id of the log `slug`, made first when it is missing."""
    found = await find(connection, tenant_id, slug)
    if found is not None:
        return found
    _check(slug, name)
    # Losing a race is fine: the winner's row is committed by the time `on conflict` lets us go on.
    made: UUID | None = await connection.fetchval(_INSERT_LOG, tenant_id, new_id(), slug, name or slug)
    return made or await by_slug(connection, tenant_id, slug)


async def find(connection: Connection, tenant_id: UUID, slug: str) -> UUID | None:
    found: UUID | None = await connection.fetchval(
        "select log_id from app.logs where tenant_id = $1 and slug = $2", tenant_id, slug
    )
    return found


async def by_slug(connection: Connection, tenant_id: UUID, slug: str) -> UUID:
    """Raises `NotFound`."""
    found = await find(connection, tenant_id, slug)
    if found is None:
        raise NotFound(f"there is no log {slug!r}", hint="GET /v1/logs lists them, POST /v1/logs makes one")
    return found


async def require_known(connection: Connection, tenant_id: UUID, slug: str) -> None:
    """Raise `InvalidInput` with the nearest log that there is for a filter that names none: nothing is an answer to
    another question."""
    if await find(connection, tenant_id, slug) is not None:
        return
    slugs = [row["slug"] for row in await connection.fetch(_SLUGS, tenant_id, SLUGS_NAMED_MAX)]
    near = difflib.get_close_matches(slug, slugs, n=1, cutoff=NEAR)
    said = f"there is no log {slug[:80]!r}" + (f"; did you mean {near[0]}?" if near else "")
    hint = f"there are: {', '.join(slugs[:20])}" if slugs else "there is none yet"
    raise refuse(f"query log: {said}", hint, "query", ("log", said))


_SLUGS = """
  select slug
  from app.logs
  where tenant_id = $1
  order by slug
  limit $2
"""

_LIST_LOGS = """
  select
    log_id, slug, name, next_number, created_at,
    (
      select count(*)
      from app.adrs a
      where a.tenant_id = l.tenant_id and a.log_id = l.log_id and a.deleted_at is null
    ) as adrs
  from app.logs l
  where tenant_id = $1 and ($2::text is null or slug > $2)
  order by slug
  limit $3
"""


async def page(connection: Connection, tenant_id: UUID, limit: int, cursor: str | None) -> LogPage:
    """The tenant's logs, by slug."""
    part = paging.Slice(cursor, limit, tuple[str], "logs")
    rows = await connection.fetch(_LIST_LOGS, tenant_id, *part.after, part.rows_max)
    return LogPage(*part.cut([to_struct(row, Log) for row in rows], lambda log: (log.slug,)))


_TAKE_NUMBER = """
  update app.logs
  set next_number = next_number + 1
  where tenant_id = $1 and log_id = $2
  returning next_number - 1 as number, clock_timestamp() as at
"""


async def take_number(connection: Connection, tenant_id: UUID, log_id: UUID) -> tuple[int, datetime]:
    """The next number of a log, and the time at which it was given.

    It is the caller's when its transaction commits, and the next caller's when not.

    Waits for other transactions that took a number of the same log and are not done: that is what makes them gapless.
    """
    row = await connection.fetchrow(_TAKE_NUMBER, tenant_id, log_id)
    if row is None:
        raise NotFound("there is no such log", hint="GET /v1/logs lists them")
    return row["number"], row["at"]


_INSERT_LOG = """
  insert into app.logs (tenant_id, log_id, slug, name)
  values ($1, $2, $3, $4)
  on conflict (tenant_id, slug) do nothing
  returning log_id, slug, name, next_number, 0 as adrs, created_at
"""


def _check(slug: str, name: str) -> None:
    if not SLUG.fullmatch(slug):
        raise InvalidInput(
            f"{slug[:80]!r} cannot name a log", hint="1 to 63 of a-z, 0-9 and '-', starting with a letter or digit"
        )
    if len(name) > NAME_CHARS_MAX:
        raise InvalidInput("the name is too long", hint=f"at most {NAME_CHARS_MAX} characters")
