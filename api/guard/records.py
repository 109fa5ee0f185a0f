"""The texts of decisions that hold, for those who compare a change with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from api.db import Connection
from api.guard.stances import BODY_CHARS_MAX

_ACCEPTED = """
  select
    a.adr_id, l.slug as log, a.number, 'ADR-' || coalesce(a.label, a.number::text) as label, a.title,
    a.status, v.source_key, left(v.body, $4) as body
  from app.adrs a
  join app.logs l using (tenant_id, log_id)
  join app.adr_versions v using (tenant_id, adr_id, version)
  where a.tenant_id = $1
    and a.adr_id = any($2::uuid[])
    and a.status = 'accepted'
    and a.deleted_at is null
    and ($3::text is null or l.slug = $3)
  order by l.slug, a.number, a.adr_id
"""


async def read_accepted(connection: Connection, tenant_id: UUID, ids: Sequence[UUID], log: str | None) -> Sequence[Any]:
    """Those of these decisions that hold, of one log or of all, with as much of each text as is compared."""
    rows: Sequence[Any] = await connection.fetch(_ACCEPTED, tenant_id, ids, log, BODY_CHARS_MAX)
    return rows
