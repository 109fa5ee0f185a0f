"""Tags of an ADR: labels for filters, set by people, apart from the versions.

Writes return the tags as they are then. Refuses to lock: the caller holds the head.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from api.adrs.schemas import TAGS_MAX
from api.db import Connection
from runtime.errors import Conflict


async def read(connection: Connection, tenant_id: UUID, adr_id: UUID) -> list[str]:
    rows = await connection.fetch(
        "select tag from app.adr_tags where tenant_id = $1 and adr_id = $2 order by tag", tenant_id, adr_id
    )
    return [row["tag"] for row in rows]


_ADD_TAGS = """
  insert into app.adr_tags (tenant_id, adr_id, tag)
  select $1, $2, unnest($3::text[])
  on conflict do nothing
"""


async def replace(connection: Connection, tenant_id: UUID, adr_id: UUID, tags: Iterable[str]) -> list[str]:
    """Make them exactly `tags`. The ones that stay are not written again: each row change is an event."""
    wanted = sorted(set(tags))
    await connection.execute(
        "delete from app.adr_tags where tenant_id = $1 and adr_id = $2 and not tag = any($3)", tenant_id, adr_id, wanted
    )
    if wanted:
        await connection.execute(_ADD_TAGS, tenant_id, adr_id, wanted)
    return await read(connection, tenant_id, adr_id)


async def add(connection: Connection, tenant_id: UUID, adr_id: UUID, tag: str) -> list[str]:
    """The caller holds the head's lock, so that the bound cannot be passed by two at once."""
    await connection.execute(
        "insert into app.adr_tags (tenant_id, adr_id, tag) values ($1, $2, $3) on conflict do nothing",
        *(tenant_id, adr_id, tag),
    )
    tags = await read(connection, tenant_id, adr_id)
    if len(tags) > TAGS_MAX:
        raise Conflict(f"an ADR has at most {TAGS_MAX} tags", hint="remove one first")
    return tags


async def remove(connection: Connection, tenant_id: UUID, adr_id: UUID, tag: str) -> list[str]:
    """Removing what is not there is fine."""
    await connection.execute(
        "delete from app.adr_tags where tenant_id = $1 and adr_id = $2 and tag = $3", tenant_id, adr_id, tag
    )
    return await read(connection, tenant_id, adr_id)
