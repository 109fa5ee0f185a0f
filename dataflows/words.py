"""What ranking by words reads: the words of each source, how many sources have each word, how long all are together.

Owns when these tables are made to agree with `mv.search_state` and `mv.chunks`, which is in the transaction of the flow
`index`, and what `adriatic verify` holds them against. Refuses to derive them and to rank: `mv.keep_words` and
`mv.search_words` do, in the migration `search_words`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from connectors.postgres.connections import Connection
from schemas.flows import KeptTable
from schemas.sources import SourceKey, columns_of

_SOURCE_WORDS: Final = """
  select tenant_id, kind, source_id, version, length, words, counts
  from
    (
      select array_agg(s.tenant_id) as tenants, array_agg(s.kind) as kinds, array_agg(s.source_id) as ids
      from mv.search_state s
      where s.tenant_id = %(tenant_id)s
    ) as every,
    mv.derive_words(every.tenants, every.kinds, every.ids)
"""
_WORD_STATS: Final = """
  select
    w.tenant_id, w.kind, left(substr(key, 6), -2) collate "C" as lexeme,
    (ascii(right(key, 1)) - 97)::smallint as tier, count(*)::integer as sources
  from mv.source_words w, unnest(tsvector_to_array(w.words)) as key
  where w.tenant_id = %(tenant_id)s
  group by w.tenant_id, w.kind, key
"""
_WORD_TOTALS: Final = """
  select
    s.tenant_id, s.kind, count(*) filter (where not s.deleted and s.chunks > 0) as sources,
    coalesce(sum(s.length) filter (where not s.deleted and s.chunks > 0), 0) as length
  from mv.search_state s
  where s.tenant_id = %(tenant_id)s
  group by s.tenant_id, s.kind
"""
TABLES: Final = (
    KeptTable(
        "mv.source_words",
        compared="the words of the chunks on show, counted anew",
        columns="tenant_id, kind, source_id, version, length, words, counts",
        right=_SOURCE_WORDS,
    ),
    KeptTable(
        "mv.word_stats",
        compared="how many sources have each word, counted anew",
        columns="tenant_id, kind, lexeme, tier, sources",
        right=_WORD_STATS,
    ),
    KeptTable(
        "mv.word_totals",
        compared="the sources on show, counted and measured anew",
        columns="tenant_id, kind, sources, length",
        right=_WORD_TOTALS,
    ),
    KeptTable("mv.word_changes", compared="what is in no segment as it is on show"),
    KeptTable("mv.word_packs", not_compared="how far the segments of a kind are written"),
    KeptTable("mv.word_segments", compared="where they are live: each source on show in one, unless it changed"),
    KeptTable("mv.word_pages", compared="the words of these sources, unpacked"),
)

LEAVE_SEGMENTS = "select mv.leave_word_pack(tenant_id, kind) from mv.word_packs where tenant_id = %s order by kind"
KEEP = "select mv.keep_words(%s::uuid[], %s::text[], %s::uuid[])"
FORGET_WORDS = "delete from mv.source_words where tenant_id = %s"
FORGET_STATS = "delete from mv.word_stats where tenant_id = %s"
FORGET_TOTALS = "update mv.word_totals set sources = 0, length = 0 where tenant_id = %s"


def keep(connection: Connection, sources: Iterable[SourceKey]) -> None:
    """Make the tables agree with what is on show of these sources. The caller has locked their states."""
    connection.execute(KEEP, columns_of(sorted(set(sources))))


def forget(connection: Connection, tenant_id: UUID) -> None:
    """Empty the tables of a tenant, and leave its segments. The row of the totals stays, as those of `mv.search_state`
    do."""
    connection.execute(LEAVE_SEGMENTS, [tenant_id])
    connection.execute(FORGET_TOTALS, [tenant_id])
    connection.execute(FORGET_WORDS, [tenant_id])
    connection.execute(FORGET_STATS, [tenant_id])
