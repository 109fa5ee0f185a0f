"""Tenants, as whoever runs the platform sees them: made and listed through the owner's role, never by a tenant.

Refuses to serve HTTP: the API's role may read its own tenant's row and nothing else of this table.
"""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from uuid import UUID

import msgspec

from api.db import Connection, single, to_struct
from runtime.errors import Conflict, InvalidInput, NotFound
from runtime.ids import new_id
from runtime.settings import PostgresSettings
from schemas import text

SLUG = re.compile(text.SLUG)
"""What the table's check allows: fits a host name and a path segment."""
NAME_CHARS_MAX = 200
TENANTS_MAX = 10_000
"""Rows that one listing returns; more tenants than that need a search, not a list."""


class Tenant(msgspec.Struct, frozen=True):
    """One organisation. `created` is False when it was there already."""

    tenant_id: UUID
    slug: str
    name: str
    created_at: datetime
    created: bool = False


ANSWER_S_MAX = 30.0
"""The server's time for the connection of a command, and for each of its statements: nobody waits behind it."""


def owner(settings: PostgresSettings) -> AbstractAsyncContextManager[Connection]:
    """A connection as the schema's owner, for the length of one command."""
    return single(settings.dsn("owner"), ANSWER_S_MAX)


_INSERT_TENANT = """
  insert into app.tenants (tenant_id, slug, name)
  values ($1, $2, $3)
  on conflict (slug) do nothing
  returning tenant_id, slug, name, created_at
"""


async def create(connection: Connection, slug: str, name: str = "", *, if_missing: bool = False) -> Tenant:
    """Make a tenant. One with this slug is a `Conflict`, or with `if_missing` the answer."""
    if not SLUG.fullmatch(slug):
        raise InvalidInput(
            f"{slug!r} cannot name a tenant", hint="1 to 63 of a-z, 0-9 and '-', starting with a letter or digit"
        )
    name = name or slug
    if not 1 <= len(name) <= NAME_CHARS_MAX or "\0" in name:
        raise InvalidInput("the name is empty or too long", hint=f"1 to {NAME_CHARS_MAX} characters")
    row = await connection.fetchrow(_INSERT_TENANT, new_id(), slug, name)
    if row:
        return to_struct({**row, "created": True}, Tenant)
    if not if_missing:
        raise Conflict(f"there is a tenant {slug!r} already", hint="choose another slug, or pass --if-missing")
    return await by_slug(connection, slug)


async def by_slug(connection: Connection, slug: str) -> Tenant:
    row = await connection.fetchrow("select tenant_id, slug, name, created_at from app.tenants where slug = $1", slug)
    if row is None:
        raise NotFound(f"there is no tenant {slug!r}", hint="see `adriatic tenant list`")
    return to_struct(row, Tenant)


async def list_all(connection: Connection) -> list[Tenant]:
    """Every tenant, by slug."""
    rows = await connection.fetch(
        "select tenant_id, slug, name, created_at from app.tenants order by slug limit $1", TENANTS_MAX
    )
    return [to_struct(row, Tenant) for row in rows]
