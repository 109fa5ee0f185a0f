"""What each job is at: `mv.job_status`, from the topic `job.progress`.

Owns the rule that the newest sequence of a job wins, and the bound on jobs that are over. A part of the flow `usage`
(`dataflows/usage.py`), which reads the topic. Refuses the table of jobs: what a job is at is what it said last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from connectors.postgres.connections import Connection
from schemas.flows import KeptView

TOPIC = "job.progress"
VIEW = KeptView(
    "job_status",
    "What each job said last.",
    made_from=(TOPIC,),
    table="mv.job_status",
    key=("job_id",),
    columns=("kind", "state", "stage", "done", "total", "unit", "code", "message", "occurred_at"),
)
COMPARED_COLUMNS = "tenant_id, job_id, kind, state, stage, done, total, unit, code, message, sequence"
FINISHED_MAX = 500
"""Jobs of a tenant that are over and still shown: some weeks of them. All of them are in app.jobs."""
FINISHED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A row of `mv.job_status`."""

    tenant_id: UUID
    job_id: UUID
    kind: str
    state: str
    stage: str
    done: int
    total: int | None
    unit: str
    code: str
    message: str
    sequence: int
    occurred_at: datetime


def newest(values: Sequence[Any]) -> tuple[JobStatus, ...]:
    """The last word of each job, sorted by key. Pure."""
    last: dict[tuple[UUID, UUID], JobStatus] = {}
    for value in values:
        status = JobStatus(
            *(value["tenant_id"], value["job_id"], value["job_kind"], value["state"], value["stage"]),
            *(value["done"], value["total"], value["unit"], value["code"], value["message"]),
            *(value["sequence"], value["occurred_at"]),
        )
        known = last.get((status.tenant_id, status.job_id))
        if known is None or known.sequence < status.sequence:
            last[status.tenant_id, status.job_id] = status
    return tuple(status for _, status in sorted(last.items()))


_WRITE_STATUS = """
  insert into mv.job_status as s (
    tenant_id, job_id, kind, state, stage, done, total, unit, code, message, sequence, occurred_at
  )
  values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
  on conflict (tenant_id, job_id)
  do update set
    kind = excluded.kind,
    state = excluded.state,
    stage = excluded.stage,
    done = excluded.done,
    total = excluded.total,
    unit = excluded.unit,
    code = excluded.code,
    message = excluded.message,
    sequence = excluded.sequence,
    occurred_at = excluded.occurred_at
  where s.sequence < excluded.sequence
"""

_TRIM_FINISHED = """
  delete from mv.job_status
  where tenant_id = %(tenant_id)s
    and state = any(%(finished)s)
    and job_id <= (
      select job_id
      from mv.job_status
      where tenant_id = %(tenant_id)s and state = any(%(finished)s)
      order by job_id desc
      offset %(max)s
      limit 1
    )
"""


def apply(connection: Connection, statuses: Sequence[JobStatus]) -> None:
    connection.cursor().executemany(_WRITE_STATUS, [astuple(status) for status in statuses])
    connection.cursor().executemany(
        _TRIM_FINISHED,
        [
            {"tenant_id": tenant_id, "finished": list(FINISHED), "max": FINISHED_MAX}
            for tenant_id in sorted({status.tenant_id for status in statuses if status.state in FINISHED})
        ],
    )


_SAY_AGAIN = """
  select count(
    app.emit(
      'job.progress', jsonb_build_object('tenant_id', tenant_id, 'id', job_id), tenant_id,
      jsonb_build_object(
        'event_id', gen_random_uuid(), 'tenant_id', tenant_id,
        'occurred_at', (extract(epoch from at) * 1000000)::bigint, 'job_id', job_id, 'job_kind', kind,
        'sequence', sequence, 'state', state, 'stage', phase, 'done', done, 'total', total, 'unit', unit,
        'code', coalesce(last_error ->> 'code', ''), 'message', coalesce(last_error ->> 'detail', '')
      )
    )
  )
  from (
    select
      *, coalesce(finished_at, heartbeat_at, started_at, created_at) as at,
      row_number() over (partition by tenant_id, finished_at is not null order by job_id desc) as nth
    from app.jobs
    where %(tenant_id)s::uuid is null or tenant_id = %(tenant_id)s
  ) jobs
  where finished_at is null or nth <= %(finished_max)s
"""


def say_again(connection: Connection, tenant_id: UUID | None = None) -> int:
    """Let every job that is shown say once more what it is at, of one tenant or of all; returns how many. The topic
    forgets within days. What a job has said already is not changed by it: the first word of a sequence counts."""
    row = connection.execute(_SAY_AGAIN, {"tenant_id": tenant_id, "finished_max": FINISHED_MAX}).fetchone()
    return int(row[0]) if row else 0
