"""Links between ADRs, and from ADRs to elsewhere.

Owns two origins that do not touch each other: `text` links are read out of the newest version and replaced with it,
`user` links are set and removed through the API. A target is kept as it was written, with the ADR that it leads to
where it leads to one: by id, by label or by path, within the log. Imports know more: `api/imports/links.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from api.adrs.mentions import LINKS_MAX, Mention
from api.adrs.schemas import IncomingLink, Link, Links, NewLink
from api.db import Connection, to_struct
from runtime.errors import Conflict, NotFound
from schemas.arrays import arrays_of

USER_LINKS_MAX = 200
"""Set by people on one ADR."""
INCOMING_MAX = 500
OUTGOING_MAX = USER_LINKS_MAX + LINKS_MAX


_READ_OUTGOING = """
  select kind, target, target_id, origin
  from app.adr_links
  where tenant_id = $1 and adr_id = $2
  order by kind, target
  limit $3
"""

_READ_INCOMING = """
  select l.kind, l.adr_id, a.title, l.origin
  from app.adr_links l
  join app.adrs a using (tenant_id, adr_id)
  where l.tenant_id = $1 and l.target_id = $2 and l.adr_id <> $2 and a.deleted_at is null
  order by l.kind, a.title, l.adr_id
  limit $3
"""


async def read(connection: Connection, tenant_id: UUID, adr_id: UUID) -> Links:
    """Both directions. Links from deleted ADRs are not shown: nobody reads those."""
    outgoing = await connection.fetch(_READ_OUTGOING, tenant_id, adr_id, OUTGOING_MAX + 1)
    incoming = await connection.fetch(_READ_INCOMING, tenant_id, adr_id, INCOMING_MAX + 1)
    return Links(
        [to_struct(row, Link) for row in outgoing[:OUTGOING_MAX]],
        [to_struct(row, IncomingLink) for row in incoming[:INCOMING_MAX]],
        len(outgoing) > OUTGOING_MAX or len(incoming) > INCOMING_MAX,
    )


_ADD_LINK = """
  insert into app.adr_links as l (tenant_id, adr_id, kind, target, target_id, origin)
  values ($1, $2, $3, $4, $5, 'user')
  on conflict (tenant_id, adr_id, kind, target)
  do update set origin = 'user', target_id = coalesce(excluded.target_id, l.target_id)
"""


async def put(connection: Connection, tenant_id: UUID, adr_id: UUID, log_id: UUID, link: NewLink) -> Link:
    """Set a link; one that is there already becomes the user's own. The caller holds the head's lock."""
    target_id = await _resolve(connection, tenant_id, log_id, link.target)
    await connection.execute(_ADD_LINK, tenant_id, adr_id, link.kind, link.target, target_id)
    count = await connection.fetchval(
        "select count(*) from app.adr_links where tenant_id = $1 and adr_id = $2 and origin = 'user'", tenant_id, adr_id
    )
    if count > USER_LINKS_MAX:
        raise Conflict(f"people may set {USER_LINKS_MAX} links on one ADR", hint="remove one first")
    return Link(link.kind, link.target, target_id, "user")


async def remove(connection: Connection, tenant_id: UUID, adr_id: UUID, kind: str, target: str) -> None:
    """Remove a user's link. Raises `NotFound`; a link that the text has is a `Conflict`, for it would come back."""
    origin = await connection.fetchval(
        "select origin from app.adr_links where tenant_id = $1 and adr_id = $2 and kind = $3 and target = $4",
        *(tenant_id, adr_id, kind, target),
    )
    if origin is None:
        raise NotFound("there is no such link", hint=f"GET /v1/adrs/{adr_id}/links lists them")
    if origin == "text":
        raise Conflict("the link is in the ADR's text", hint="change the text; its links follow")
    await connection.execute(
        "delete from app.adr_links where tenant_id = $1 and adr_id = $2 and kind = $3 and target = $4",
        *(tenant_id, adr_id, kind, target),
    )


_DROP_FROM_TEXTS = """
  delete from app.adr_links l
  where l.adr_id = any($1)
    and l.origin = 'text'
    and not exists (
      select
      from unnest($2::uuid[], $3::text[], $4::text[]) as n (adr_id, kind, target)
      where n.adr_id = l.adr_id and n.kind = l.kind and n.target = l.target
    )
"""


async def drop_from_texts(
    connection: Connection, adr_ids: Sequence[UUID], kept: Collection[tuple[UUID, str, str]]
) -> list[list[Any]]:
    """Remove the `text` links of these ADRs but those in `kept` (ADR, kind, target); returns its columns."""
    columns = arrays_of(kept, 3)
    await connection.execute(_DROP_FROM_TEXTS, adr_ids, *columns)
    return columns


_ADD_FROM_TEXT = """
  insert into app.adr_links (tenant_id, adr_id, kind, target, target_id)
  select
    $1, $2, n.kind, n.target,
    (
      select a.adr_id
      from app.adrs a
      where a.tenant_id = $1
        and a.log_id = $3
        and a.adr_id <> $2
        and (a.source_key = n.target or a.number = n.number or a.label = n.label)
      order by a.source_key is not distinct from n.target desc, a.deleted_at is not null
      limit 1
    )
  from unnest($4::text[], $5::text[], $6::int[], $7::text[]) as n (kind, target, number, label)
  on conflict do nothing
"""


async def replace_from_text(
    connection: Connection, tenant_id: UUID, adr_id: UUID, log_id: UUID, found: Iterable[Mention]
) -> None:
    """Make the `text` links what the newest text says. The ones that stay are not written again."""
    wanted = {(link.kind, link.target): link.counts for link in found if "\0" not in link.target}
    _, kinds, targets = await drop_from_texts(connection, [adr_id], [(adr_id, *link) for link in wanted])
    if not wanted:
        return
    # A path is more certain than the number in it; an ADR's link to itself says nothing.
    numbers, labels = arrays_of(wanted.values(), 2)
    await connection.execute(_ADD_FROM_TEXT, tenant_id, adr_id, log_id, kinds, targets, numbers, labels)


_FIND_TARGET = """
  select adr_id
  from app.adrs
  where tenant_id = $1 and log_id = $2 and (source_key = $3 or number = $4 or label = $5)
  order by source_key is not distinct from $3 desc, deleted_at is not null
  limit 1
"""


async def _resolve(connection: Connection, tenant_id: UUID, log_id: UUID, target: str) -> UUID | None:
    """The ADR that `target` means, or None. An id that is nobody's here is an error: it cannot mean anything else."""
    try:
        wanted = UUID(target)
    except ValueError:
        counts = Mention("relates-to", target).counts
        found: UUID | None = await connection.fetchval(_FIND_TARGET, tenant_id, log_id, target, *counts)
        return found
    if not await connection.fetchval(
        "select true from app.adrs where tenant_id = $1 and adr_id = $2", tenant_id, wanted
    ):
        raise NotFound(f"there is no ADR {wanted} to link to", hint="GET /v1/adrs lists them")
    return wanted
