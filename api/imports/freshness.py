"""How long a tenant's writes take until a search shows them, and how much embedding their edits saved.

Reads what the flows recorded (`mv.search_state`, `mv.embedding_stats`) and refuses to estimate. What is measured: from
the moment at which a version was written to the moment at which a search could find it, for the newest version of each
ADR. A version that a newer one replaced before it became findable never was, and is not counted; what is not findable
yet is counted as waiting, and has no time.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from api import watermarks
from api.db import Database, tenant_transaction


class Arm(msgspec.Struct, frozen=True):
    """One way of searching. Seconds from written to findable; null when nothing was counted."""

    counted: int
    waiting: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    max_s: float | None
    last_at: datetime | None


class Embeddings(msgspec.Struct, frozen=True):
    """Passages of edited versions, and how many of them needed no embedding because their text was known.

    Counted for the tenant since its first write. `avoided` is null while there was no edit.
    """

    edits: int
    edit_chunks: int
    edit_chunks_known: int
    avoided: float | None
    embedded: int


class Freshness(msgspec.Struct, frozen=True):
    """How far search is with what was written since `since` (always, when null)."""

    since: datetime | None
    words: Arm
    meaning: Arm
    embeddings: Embeddings
    as_of: watermarks.AsOf


_ARMS = """
  with shown as (
    select
      a.version, s.words_version, s.meaning_version, s.deleted,
      case when s.recorded_at >= coalesce($1::timestamptz, '-infinity') then s.recorded_at end as recorded_at,
      s.words_at, s.meaning_at
    from app.adrs a
    left join mv.search_state s on s.tenant_id = a.tenant_id and s.kind = 'adr' and s.source_id = a.adr_id
  ),
  times as (
    select
      *, extract(epoch from words_at - recorded_at)::float8 as words_s,
      case
        when not deleted and meaning_version = words_version then
          extract(epoch from meaning_at - recorded_at)::float8
      end as meaning_s
    from shown
  )
  select
    count(*) filter (where words_version is distinct from version) as words_waiting,
    count(*) filter (
      where words_version is distinct from version
      or (not deleted and meaning_version is distinct from words_version)
    ) as meaning_waiting,
    count(words_s) as words_counted, count(meaning_s) as meaning_counted,
    percentile_cont(array[0.5, 0.95, 0.99, 1]) within group (order by words_s) as words,
    percentile_cont(array[0.5, 0.95, 0.99, 1]) within group (order by meaning_s) as meaning,
    max(words_at) filter (where words_s is not null) as words_last,
    max(meaning_at) filter (where meaning_s is not null) as meaning_last
  from times
"""
_EMBEDDINGS = "select edits, edit_chunks, edit_chunks_known, embedded from mv.embedding_stats"


async def read(database: Database, tenant_id: UUID, since: datetime | None) -> Freshness:
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        row = await connection.fetchrow(_ARMS, since)
        saved = await connection.fetchrow(_EMBEDDINGS)
        as_of = await watermarks.read(connection, watermarks.WORDS_VIEW)
    edits, chunks, known, embedded = tuple(saved) if saved else (0, 0, 0, 0)
    return Freshness(
        since=since,
        words=_arm(row["words_counted"], row["words_waiting"], row["words"], row["words_last"]),
        meaning=_arm(row["meaning_counted"], row["meaning_waiting"], row["meaning"], row["meaning_last"]),
        embeddings=Embeddings(edits, chunks, known, round(known / chunks, 4) if chunks else None, embedded),
        as_of=as_of,
    )


def _arm(counted: int, waiting: int, seconds: list[float] | None, last_at: datetime | None) -> Arm:
    # One clock stamps both ends, in two transactions: a difference below zero is its resolution.
    p50, p95, p99, most = (round(max(0.0, s), 3) for s in seconds) if seconds else (None, None, None, None)
    return Arm(counted, waiting, p50, p95, p99, most, last_at)
