"""The plain recomputation of usage and of what jobs are at, for `adriatic verify`: SQL over app.usage_events and
app.jobs.

A job that is over must be in its table exactly as it ended. One that is open must be there as well, and may be behind:
its steps are announced about once a second, so what the table has need only be something that the job has said.

Read next: `dataflows/comparison.py`, which compares; `dataflows/usage.py`, which keeps the tables.
"""

from __future__ import annotations

LEDGER = """
  select
    tenant_id, attempt_id, started_at, user_id, key_id, provider, model, outcome, usage_source,
    input_uncached, cache_read, cache_write_5m, cache_write_1h, output_visible, reasoning, cost_micro_usd
  from app.usage_events
  where tenant_id = %(tenant_id)s
"""

ATTEMPTS = """
  select
    tenant_id, date_trunc('hour', started_at, 'UTC') as hour, (started_at at time zone 'UTC')::date as day,
    provider, model, user_id, coalesce(key_id, '') as key_id, 1 as attempts,
    (outcome = 'completed')::int as completed, (outcome = 'failed')::int as failed,
    (outcome = 'cancelled')::int as cancelled, input_uncached, cache_read, cache_write_5m, cache_write_1h,
    output_visible, reasoning, coalesce(cost_micro_usd, 0) as cost_micro_usd,
    (cost_micro_usd is null)::int as unpriced, (usage_source = 'partial')::int as partial,
    (usage_source = 'estimated')::int as estimated
  from app.usage_events
  where tenant_id = %(tenant_id)s
"""
"""Each attempt by everything that there is a table by, with what it adds to the counts."""

JOBS = """
  with jobs as (
    select
      tenant_id, job_id, kind, state, phase as stage, done, total, unit,
      coalesce(last_error ->> 'code', '') as code, coalesce(last_error ->> 'detail', '') as message, sequence
    from app.jobs
    where tenant_id = %(tenant_id)s
  ),
  -- What is behind said something earlier of a job that is open still.
  behind as (
    select s.*
    from mv.job_status s
    join jobs j using (tenant_id, job_id)
    where j.state in ('queued', 'running') and s.state in ('queued', 'running') and s.sequence < j.sequence
  )
  select tenant_id, job_id, kind, state, stage, done, total, unit, code, message, sequence
  from (
    select *
    from jobs
    where not state in ('queued', 'running')
    order by job_id desc
    limit %(rows_max)s
  ) over_now
  union all
  select tenant_id, job_id, kind, state, stage, done, total, unit, code, message, sequence
  from behind
  union all
  select tenant_id, job_id, kind, state, stage, done, total, unit, code, message, sequence
  from jobs j
  where state in ('queued', 'running') and not exists (select from behind b where b.job_id = j.job_id)
"""
