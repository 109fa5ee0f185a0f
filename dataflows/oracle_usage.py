"""The plain recomputation of usage and of what jobs are at, for `adriatic verify`: SQL over app.usage_events and
app.jobs.

A job that is over must be in its table exactly as it ended. One that is open must be there as well, and may be behind:
its steps are announced about once a second, so what the table has need only be something that the job has said.

Read next: `dataflows/comparison.py`, which compares; `dataflows/usage.py`, which keeps the tables.
"""

from __future__ import annotations

from dataflows.comparison import Right
from dataflows.job_status import FINISHED_MAX

LEDGER = (
    "tenant_id, attempt_id, started_at, user_id, key_id, provider, model, outcome, usage_source, input_uncached, "
    "cache_read, cache_write_5m, cache_write_1h, output_visible, reasoning, cost_micro_usd"
)
COUNTS = (
    "attempts, completed, failed, cancelled, input_uncached, cache_read, cache_write_5m, cache_write_1h, "
    "output_visible, reasoning, cost_micro_usd, unpriced, partial, estimated"
)
_COUNTED = (
    "count(*), count(*) filter (where outcome = 'completed'), count(*) filter (where outcome = 'failed'), "
    "count(*) filter (where outcome = 'cancelled'), sum(input_uncached), sum(cache_read), sum(cache_write_5m), "
    "sum(cache_write_1h), sum(output_visible), sum(reasoning), coalesce(sum(cost_micro_usd), 0), "
    "count(*) - count(cost_micro_usd), count(*) filter (where usage_source = 'partial'), "
    "count(*) filter (where usage_source = 'estimated')"
)
_DAY = "(started_at at time zone 'UTC')::date"


def _by(columns: str, groups: str) -> tuple[str, str]:
    return (
        f"tenant_id, {columns}, {COUNTS}",
        f"select tenant_id, {groups}, {_COUNTED} from app.usage_events where tenant_id = %(tenant_id)s "  # noqa: S608
        f"group by tenant_id, {groups}",
    )


USAGE: Right = {
    "mv.usage_ledger": (LEDGER, f"select {LEDGER} from app.usage_events where tenant_id = %(tenant_id)s"),  # noqa: S608 - constants
    "mv.usage_by_hour": _by("hour", "date_trunc('hour', started_at, 'UTC')"),
    "mv.usage_by_day": _by("day", _DAY),
    "mv.usage_by_model": _by("day, provider, model", f"{_DAY}, provider, model"),
    "mv.usage_by_user": _by("day, user_id", f"{_DAY}, user_id"),
    "mv.usage_by_key": _by("day, key_id", f"{_DAY}, coalesce(key_id, '')"),
}

STATUS = "tenant_id, job_id, kind, state, stage, done, total, unit, code, message, sequence"
_OPEN = "state in ('queued', 'running')"
_JOBS = (
    "with jobs as (select tenant_id, job_id, kind, state, phase as stage, done, total, unit, "  # noqa: S608 - constants
    "coalesce(last_error ->> 'code', '') as code, coalesce(last_error ->> 'detail', '') as message, sequence "
    "from app.jobs where tenant_id = %(tenant_id)s), "
    # What is behind said something earlier of a job that is open still.
    "behind as (select s.* from mv.job_status s join jobs j using (tenant_id, job_id) "
    f"where j.{_OPEN} and s.{_OPEN} and s.sequence < j.sequence) "
)
JOBS: Right = {
    "mv.job_status": (
        STATUS,
        f"{_JOBS} select {STATUS} from (select * from jobs where not {_OPEN} order by job_id desc "  # noqa: S608 - constants
        f"limit {FINISHED_MAX}) over_now union all select {STATUS} from behind union all "
        f"select {STATUS} from jobs j where {_OPEN} and not exists "
        "(select from behind b where b.job_id = j.job_id)",
    )
}

RIGHT: Right = {**USAGE, **JOBS}
