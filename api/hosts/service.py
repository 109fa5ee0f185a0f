"""The rows of a tenant's list of hosts, each time that it was set as a version.

Owns the SQL of `app.allowed_hosts`, what a list means for a crawl and for a tool, and how many versions are kept.
Refuses the form of an entry (`connectors/fetching/reach.py`). Each function works in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from api import paging
from api.auth.users import Principal
from api.db import Connection, to_struct
from api.requests import refuse
from connectors.fetching.reach import HostList, read_entry
from runtime.errors import Conflict, Forbidden

VERSIONS_MAX: Final = 500
"""Versions that are kept: with one each day, those of more than a year."""
HINT: Final = "`adriatic hosts list` shows what is allowed; an admin adds to it: PUT /v1/allowed-hosts"


class AllowedHosts(msgspec.Struct, frozen=True):
    """A list and who set it. Version 0: nobody ever did, and it is empty."""

    version: int
    hosts: list[str]
    set_by: str | None
    set_at: datetime | None


class AllowedHostsPage(msgspec.Struct, frozen=True):
    items: list[AllowedHosts]
    next_cursor: str | None


_READ: Final = """
  select version, hosts, set_name as set_by, set_at
  from app.allowed_hosts
  where tenant_id = $1 and ($2::bigint is null or version < $2)
  order by version desc
  limit $3
"""


async def read(connection: Connection, tenant_id: UUID) -> AllowedHosts:
    """The list that holds."""
    row = await connection.fetchrow(_READ, tenant_id, None, 1)
    return AllowedHosts(0, [], None, None) if row is None else to_struct(row, AllowedHosts)


async def page(connection: Connection, tenant_id: UUID, limit: int, cursor: str | None) -> AllowedHostsPage:
    """The versions, newest first."""
    part = paging.Slice(cursor, limit, tuple[int], "allowed-hosts")
    rows = await connection.fetch(_READ, tenant_id, *part.after, part.rows_max)
    shown = [to_struct(row, AllowedHosts) for row in rows]
    return AllowedHostsPage(*part.cut(shown, lambda each: (each.version,)))


_ADD: Final = """
  insert into app.allowed_hosts (tenant_id, version, hosts, set_by, set_name)
  values ($1, $2, $3, $4, $5)
"""
_FORGET: Final = "delete from app.allowed_hosts where tenant_id = $1 and version <= $2"


async def replace(
    connection: Connection, principal: Principal, written: Sequence[str], replaces: int | None
) -> AllowedHosts:
    """The tenant has exactly these hosts afterwards. A list that is so already is no new version. Raises `Conflict`
    where another version than the one that `replaces` names holds, and `InvalidInput` for what is no host."""
    hosts = _read_entries(written)
    tenant_id = principal.tenant_id
    await connection.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", f"{tenant_id}/allowed-hosts")
    known = await read(connection, tenant_id)
    if replaces is not None and replaces != known.version:
        raise Conflict(
            f"the list is at version {known.version}, and {replaces} was to be replaced",
            hint="somebody else changed it: read it again",
        )
    if hosts == known.hosts:
        return known
    version = known.version + 1
    await connection.execute(_ADD, tenant_id, version, hosts, principal.user_id, principal.shown[:255])
    await connection.execute(_FORGET, tenant_id, version - VERSIONS_MAX)
    return await read(connection, tenant_id)


def _read_entries(written: Sequence[str]) -> list[str]:
    """Normal forms, sorted, each once. Raises `InvalidInput` with the first that is none."""
    entries: set[str] = set()
    for number, text in enumerate(written):
        try:
            entries.add(read_entry(text))
        except ValueError as error:
            raise refuse(
                f"{text[:200]!r}: {error}",
                "write it like docs.example.org, *.example.org or docs.example.org/guide/*",
                "body",
                (f"hosts[{number}]", str(error)),
            ) from None
    return sorted(entries)


async def require_allowed(connection: Connection, tenant_id: UUID, urls: Sequence[str], *, for_tool: bool) -> None:
    """Raise `Forbidden` for the first address, in its normal form, that the tenant does not allow. A tenant without a
    list allows a person's crawl whatever is public, and a tool nothing."""
    hosts = (await read(connection, tenant_id)).hosts
    if not hosts and not for_tool:
        return
    if not hosts:
        raise Forbidden("tools may reach no host: the list of allowed hosts is empty", hint=HINT)
    for url in urls:
        if not HostList(tuple(hosts)).allows(url):
            raise Forbidden(f"{url[:200]} is not on the list of hosts that the tenant allows", hint=HINT)
