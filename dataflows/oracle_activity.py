"""The plain recomputation of feed, counts and active users, for `adriatic verify`: SQL over app.adr_versions, without
ledger or deltas.

Read next: `dataflows/oracle.py`, which says what is compared when; `dataflows/activity.py`, which keeps the tables.
"""

from __future__ import annotations

VERSIONS = """
  select tenant_id, adr_id, version, change, title, status, author, effective_at, recorded_at
  from app.adr_versions
  where tenant_id = %(tenant_id)s
"""

NEWEST = """
  select *
  from (
    select tenant_id, adr_id, version, change, title, status, author, effective_at, recorded_at
    from app.adr_versions
    where tenant_id = %(tenant_id)s
    order by recorded_at desc, effective_at desc, adr_id desc, version desc
    limit %(rows_max)s
  ) newest
"""

COUNTS = """
  select tenant_id, 'versions', change, count(*)
  from app.adr_versions
  where tenant_id = %(tenant_id)s
  group by tenant_id, change
  union all
  select tenant_id, kind, status, count(*)
  from (
    select tenant_id, status, case when change = 'delete' then 'deleted_adrs' else 'adrs' end as kind
    from app.adr_versions v
    where tenant_id = %(tenant_id)s
      and version = (
        select max(version)
        from app.adr_versions w
        where w.tenant_id = v.tenant_id and w.adr_id = v.adr_id
      )
  ) newest
  group by tenant_id, kind, status
"""

DAYS = """
  select tenant_id, (effective_at at time zone 'UTC')::date, count(distinct author)
  from app.adr_versions
  where tenant_id = %(tenant_id)s and author <> ''
  group by 1, 2
"""
