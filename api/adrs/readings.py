"""What was read of each ADR's newest text, beside what became columns of the ADR: by which reader, and what was odd.

Owns the SQL of `app.adr_readings`, for whoever writes a text. What an older reader read is a query on it; the job
`reread` (`streams/reread_adrs.py`) brings it up to the reader at hand. Refuses to read.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import msgspec

from api.adrs.document import READER, ParsedAdr
from api.db import Connection
from schemas.arrays import arrays_of

_KEEP = """
  insert into app.adr_readings as r (tenant_id, adr_id, reader, number, label, oddities)
  select $1, n.adr_id, $2, n.number, n.label, n.oddities::jsonb
  from unnest($3::uuid[], $4::int[], $5::text[], $6::text[]) as n (adr_id, number, label, oddities)
  on conflict (tenant_id, adr_id)
  do update set
    reader = excluded.reader,
    number = excluded.number,
    label = excluded.label,
    oddities = excluded.oddities,
    read_at = excluded.read_at
"""


async def keep(connection: Connection, tenant_id: UUID, read: Iterable[tuple[UUID, ParsedAdr]]) -> None:
    """Keep the newest readings of some ADRs."""
    rows = [
        (adr_id, document.number, document.label, msgspec.json.encode(document.odd_lines()).decode())
        for adr_id, document in read
    ]
    if rows:
        await connection.execute(_KEEP, tenant_id, READER, *arrays_of(rows, 4))
