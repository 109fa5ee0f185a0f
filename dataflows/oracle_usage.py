"""The plain recomputation of usage and of what jobs are at, for `adriatic verify`: SQL over app.usage_events and
app.jobs.

A job that is over must be in its table exactly as it ended. One that is open must be there as well, and may be behind:
its steps are announced about once a second, so what the table has need only be something that the job has said.

Read next: `dataflows/comparison.py`, which compares; `dataflows/usage.py`, which keeps the tables.
"""

from __future__ import annotations

from dataflows.comparison import Right

_LEDGER = """
  select
    tenant_id, attempt_id, started_at, user_id, key_id, provider, model, outcome, usage_source,
    input_uncached, cache_read, cache_write_5m, cache_write_1h, output_visible, reasoning, cost_micro_usd
  from app.usage_events
  where tenant_id = %(tenant_id)s
"""

_BY_HOUR = """
  select
    tenant_id, date_trunc('hour', started_at, 'UTC'), count(*), count(*) filter (where outcome = 'completed'),
    count(*) filter (where outcome = 'failed'), count(*) filter (where outcome = 'cancelled'),
    sum(input_uncached), sum(cache_read), sum(cache_write_5m), sum(cache_write_1h), sum(output_visible),
    sum(reasoning), coalesce(sum(cost_micro_usd), 0), count(*) - count(cost_micro_usd),
    count(*) filter (where usage_source = 'partial'), count(*) filter (where usage_source = 'estimated')
  from app.usage_events
  where tenant_id = %(tenant_id)s
  group by tenant_id, date_trunc('hour', started_at, 'UTC')
"""

_BY_DAY = """
  select
    tenant_id, (started_at at time zone 'UTC')::date, count(*), count(*) filter (where outcome = 'completed'),
    count(*) filter (where outcome = 'failed'), count(*) filter (where outcome = 'cancelled'),
    sum(input_uncached), sum(cache_read), sum(cache_write_5m), sum(cache_write_1h), sum(output_visible),
    sum(reasoning), coalesce(sum(cost_micro_usd), 0), count(*) - count(cost_micro_usd),
    count(*) filter (where usage_source = 'partial'), count(*) filter (where usage_source = 'estimated')
  from app.usage_events
  where tenant_id = %(tenant_id)s
  group by tenant_id, (started_at at time zone 'UTC')::date
"""

_BY_MODEL = """
  select
    tenant_id, (started_at at time zone 'UTC')::date, provider, model, count(*),
    count(*) filter (where outcome = 'completed'), count(*) filter (where outcome = 'failed'),
    count(*) filter (where outcome = 'cancelled'), sum(input_uncached), sum(cache_read), sum(cache_write_5m),
    sum(cache_write_1h), sum(output_visible), sum(reasoning), coalesce(sum(cost_micro_usd), 0),
    count(*) - count(cost_micro_usd), count(*) filter (where usage_source = 'partial'),
    count(*) filter (where usage_source = 'estimated')
  from app.usage_events
  where tenant_id = %(tenant_id)s
  group by tenant_id, (started_at at time zone 'UTC')::date, provider, model
"""

_BY_USER = """
  select
    tenant_id, (started_at at time zone 'UTC')::date, user_id, count(*),
    count(*) filter (where outcome = 'completed'), count(*) filter (where outcome = 'failed'),
    count(*) filter (where outcome = 'cancelled'), sum(input_uncached), sum(cache_read), sum(cache_write_5m),
    sum(cache_write_1h), sum(output_visible), sum(reasoning), coalesce(sum(cost_micro_usd), 0),
    count(*) - count(cost_micro_usd), count(*) filter (where usage_source = 'partial'),
    count(*) filter (where usage_source = 'estimated')
  from app.usage_events
  where tenant_id = %(tenant_id)s
  group by tenant_id, (started_at at time zone 'UTC')::date, user_id
"""

_BY_KEY = """
  select
    tenant_id, (started_at at time zone 'UTC')::date, coalesce(key_id, ''), count(*),
    count(*) filter (where outcome = 'completed'), count(*) filter (where outcome = 'failed'),
    count(*) filter (where outcome = 'cancelled'), sum(input_uncached), sum(cache_read), sum(cache_write_5m),
    sum(cache_write_1h), sum(output_visible), sum(reasoning), coalesce(sum(cost_micro_usd), 0),
    count(*) - count(cost_micro_usd), count(*) filter (where usage_source = 'partial'),
    count(*) filter (where usage_source = 'estimated')
  from app.usage_events
  where tenant_id = %(tenant_id)s
  group by tenant_id, (started_at at time zone 'UTC')::date, coalesce(key_id, '')
"""

_JOBS = """
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
    limit %(finished_max)s
  ) over_now
  union all
  select tenant_id, job_id, kind, state, stage, done, total, unit, code, message, sequence
  from behind
  union all
  select tenant_id, job_id, kind, state, stage, done, total, unit, code, message, sequence
  from jobs j
  where state in ('queued', 'running') and not exists (select from behind b where b.job_id = j.job_id)
"""

_LEDGER_COLUMNS = (
    "tenant_id, attempt_id, started_at, user_id, key_id, provider, model, outcome, usage_source, input_uncached, "
    "cache_read, cache_write_5m, cache_write_1h, output_visible, reasoning, cost_micro_usd"
)
_COUNTS = (
    "attempts, completed, failed, cancelled, input_uncached, cache_read, cache_write_5m, cache_write_1h, "
    "output_visible, reasoning, cost_micro_usd, unpriced, partial, estimated"
)
_STATUS_COLUMNS = "tenant_id, job_id, kind, state, stage, done, total, unit, code, message, sequence"

RIGHT: Right = {
    "mv.usage_ledger": (_LEDGER_COLUMNS, _LEDGER),
    "mv.usage_by_hour": (f"tenant_id, hour, {_COUNTS}", _BY_HOUR),
    "mv.usage_by_day": (f"tenant_id, day, {_COUNTS}", _BY_DAY),
    "mv.usage_by_model": (f"tenant_id, day, provider, model, {_COUNTS}", _BY_MODEL),
    "mv.usage_by_user": (f"tenant_id, day, user_id, {_COUNTS}", _BY_USER),
    "mv.usage_by_key": (f"tenant_id, day, key_id, {_COUNTS}", _BY_KEY),
    "mv.job_status": (_STATUS_COLUMNS, _JOBS),
}
"""What to compare of each table, and the query that says what is right."""
