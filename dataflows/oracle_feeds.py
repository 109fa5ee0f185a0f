"""The plain recomputation of what became of feeds' items, for `adriatic verify`: SQL over the ledger, without deltas.

Read next: `dataflows/oracle.py`, which says what is compared when; `dataflows/feeds.py`, which keeps the tables.
"""

from __future__ import annotations

from uuid import UUID

from connectors.postgres.connections import Connection
from dataflows.comparison import SHOWN_MAX, Unlike

_NOT_WRITTEN = """
  (
    select feed_id, external_id, version, deleted
    from mv.feed_ledger
    where tenant_id = %(tenant_id)s and outcome = 'accepted'
  )
  except all (
    select feed_id, external_id, version, kind = 'delete'
    from app.document_versions
    where tenant_id = %(tenant_id)s and origin = 'feed'
  )
  order by 1
  limit %(max)s
"""

_WRITTEN_UNCOUNTED = """
  (
    select feed_id, external_id, version, kind = 'delete'
    from app.document_versions
    where tenant_id = %(tenant_id)s and origin = 'feed'
  )
  except all (
    select feed_id, external_id, version, deleted
    from mv.feed_ledger
    where tenant_id = %(tenant_id)s and outcome = 'accepted'
  )
  order by 1
  limit %(max)s
"""

_MISCOUNTED = """
  (
    select
      s.feed_id, count(l.outcome) filter (where l.outcome = 'accepted'),
      count(l.outcome) filter (where l.outcome = 'accepted' and l.deleted),
      count(l.outcome) filter (where l.outcome = 'superseded'), coalesce(sum(l.repeats), 0)::bigint
    from mv.feed_status s
    left join mv.feed_ledger l using (tenant_id, feed_id)
    where s.tenant_id = %(tenant_id)s
    group by s.feed_id
  )
  except all (
    select feed_id, accepted, deleted, superseded, duplicates
    from mv.feed_status
    where tenant_id = %(tenant_id)s
  )
  order by 1
  limit %(max)s
"""

_WITHOUT_STATUS = """
  select distinct feed_id
  from mv.feed_ledger
  where tenant_id = %(tenant_id)s
  except
  select feed_id
  from mv.feed_status
  where tenant_id = %(tenant_id)s
  order by 1
  limit %(max)s
"""
"""A ledger without counts."""

_NOT_CONSERVED = """
  select feed_id
  from mv.feed_status
  where tenant_id = %(tenant_id)s
    and (
      received + redriven <> accepted + duplicates + superseded + rejected
      or rejected <> (select coalesce(sum(value::bigint), 0) from jsonb_each_text(rejected_by))
    )
  order by 1
  limit %(max)s
"""
"""Every record became something, once."""

_PASSED_OVER = """
  select feed_id, external_id, version
  from (
    select distinct on (feed_id, external_id) *
    from mv.feed_ledger
    where tenant_id = %(tenant_id)s
    order by feed_id, external_id, version desc
  ) newest
  where outcome <> 'accepted'
  order by 1
  limit %(max)s
"""
"""The newest version of an item is never one that was passed over."""

_LETTERS_LOST = """
  select tenant_id
  from (
    select
      tenant_id, sum(not_kept) as not_kept,
      sum(rejected) - sum(coalesce((rejected_by ->> 'bad_signature')::bigint, 0)) as refused
    from mv.feed_status
    where tenant_id = %(tenant_id)s
    group by tenant_id
  ) s
  where not_kept = 0
    and refused <> (
      select count(*)
      from ops.dlq d
      where d.flow = 'feeds' and d.stage = 'reject' and d.tenant_id = s.tenant_id
    )
  order by 1
  limit %(max)s
"""
"""What a producer sent and was refused is a dead letter, unless it was too many."""

QUERIES = (
    ("missing", "app.document_versions", _NOT_WRITTEN),
    ("extra", "app.document_versions", _WRITTEN_UNCOUNTED),
    ("missing", "mv.feed_status", _MISCOUNTED),
    ("missing", "mv.feed_status", _WITHOUT_STATUS),
    ("extra", "mv.feed_status", _NOT_CONSERVED),
    ("extra", "mv.feed_ledger", _PASSED_OVER),
    ("missing", "ops.dlq", _LETTERS_LOST),
)
"""What each row that a query gives is an instance of. All of them give nothing when all is right."""


def unlike(connection: Connection, tenant_id: UUID) -> list[Unlike]:
    """Every row that is not as it should be, up to `SHOWN_MAX` of a kind."""
    return [
        Unlike("missing" if kind == "missing" else "extra", table, " ".join(map(str, row[:3])))
        for kind, table, query in QUERIES
        for row in connection.execute(query, {"tenant_id": tenant_id, "max": SHOWN_MAX})
    ]
