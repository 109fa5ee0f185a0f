"""Sources that were taken away since something was made of them.

Owns the one question whether a source of the tenant is still there, as of this transaction: what flows keep is behind,
and what was kept of an answer knows nothing of it. Refuses to know what is done about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from api.db import Connection
from schemas.arrays import arrays_of

_FIND_GONE: Final = """
  select wanted.kind, wanted.source_id
  from unnest($1::text[], $2::uuid[]) as wanted (kind, source_id)
  where coalesce(
    (
      select v.deleted
      from app.source_versions v
      where v.tenant_id = app.current_tenant() and v.kind = wanted.kind and v.source_id = wanted.source_id
      order by v.version desc
      limit 1
    ), true
  )
"""

SourceName = tuple[str, UUID]
"""Kind and id."""


async def find_gone(connection: Connection, sources: Iterable[SourceName]) -> frozenset[SourceName]:
    """Those that were deleted, or never were the tenant's. Nothing is asked where there are none."""
    wanted = list(dict.fromkeys(sources))
    if not wanted:
        return frozenset()
    rows = await connection.fetch(_FIND_GONE, *arrays_of(wanted, 2))
    return frozenset((row["kind"], row["source_id"]) for row in rows)
