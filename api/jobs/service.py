"""The rows of jobs as a tenant sees them.

Owns recording a job together with its announcement, reading, and asking for an end. Refuses to do any of it: a worker
with a lease does (`connectors/postgres/jobs.py`). Each function works in the caller's transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api import paging
from api.auth.users import Principal
from api.db import Connection, to_struct
from api.requests import hash_request, require_usable_key
from runtime.errors import Conflict, InvalidInput, NotFound
from runtime.ids import new_id
from schemas.jobs import KINDS

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class NewJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Annotated[str, Meta(max_length=63, description=f"What to do: {', '.join(KINDS)}.")]
    params: Annotated[dict[str, Any], Meta(description="As the kind takes them.")] = {}


class JobError(msgspec.Struct, frozen=True):
    code: str
    detail: str
    hint: str


class Job(msgspec.Struct, frozen=True):
    """`done` of `total`, in `unit`; `total` is null while it is not known."""

    job_id: UUID
    kind: str
    params: dict[str, Any]
    state: State
    phase: str
    done: int
    total: int | None
    unit: str
    result: Annotated[dict[str, Any], Meta(description="What it found so far, in the kind's own words.")]
    attempts: Annotated[int, Meta(description="Failures in a row, since something was done last.")]
    cancel_requested: bool
    last_error: JobError | None
    created_at: datetime
    started_at: datetime | None
    heartbeat_at: Annotated[datetime | None, Meta(description="When a worker last said that it is at it.")]
    finished_at: datetime | None


class JobPage(msgspec.Struct, frozen=True):
    items: list[Job]
    next_cursor: str | None


def require_valid(wanted: NewJob) -> None:
    """Raise `InvalidInput` unless there is such a kind and it takes these parameters."""
    params = KINDS.get(wanted.kind)
    if params is None:
        raise InvalidInput(f"there is no job of kind {wanted.kind!r}", hint=f"kinds are: {', '.join(KINDS)}")
    try:
        msgspec.convert(wanted.params, params)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the parameters do not fit: {error}", hint=(params.__doc__ or "").strip()) from None


_INSERT_JOB = """
  insert into app.jobs (
    tenant_id, job_id, kind, params, idempotency_key, request_hash, requested_by, traceparent
  )
  values ($1, $2, $3, $4::text::jsonb, $5, $6, $7, $8)
  on conflict (tenant_id, idempotency_key) do nothing
  returning job_id
"""


async def create(
    connection: Connection, principal: Principal, wanted: NewJob, key: str | None, traceparent: str | None
) -> tuple[UUID, bool]:
    """A queued job and its announcement. True when an earlier request with this key had made it."""
    job_id, replayed = await record(connection, principal, wanted, key, traceparent, hash_request(wanted))
    if not replayed:
        await connection.execute(_EMIT_SUBMITTED, principal.tenant_id, job_id)
    return job_id, replayed


async def record(
    connection: Connection,
    principal: Principal,
    wanted: NewJob,
    key: str | None,
    traceparent: str | None,
    request_hash: bytes,
) -> tuple[UUID, bool]:
    """A queued job that nobody has announced yet: whoever calls does, in this transaction. True when an earlier request
    with this key, and of this hash, had made it."""
    if key is not None:
        require_usable_key(key)
    job_id = new_id()
    tenant_id = principal.tenant_id
    params = msgspec.json.encode(wanted.params).decode()
    made = await connection.fetchval(
        _INSERT_JOB, tenant_id, job_id, wanted.kind, params, key, request_hash, principal.user_id, traceparent
    )
    if made is None:
        row = await connection.fetchrow(
            "select job_id, request_hash from app.jobs where tenant_id = $1 and idempotency_key = $2", tenant_id, key
        )
        if row["request_hash"] != request_hash:
            raise Conflict("this Idempotency-Key was used for another request", hint="a new request needs a new key")
        return row["job_id"], True
    return job_id, False


_EMIT_SUBMITTED = """
  select
    app.emit(
      'agent.task.submitted', jsonb_build_object('tenant_id', tenant_id, 'id', job_id), tenant_id,
      jsonb_build_object(
        'event_id', gen_random_uuid(), 'tenant_id', tenant_id,
        'occurred_at', (extract(epoch from clock_timestamp()) * 1000000)::bigint, 'task_id', job_id,
        'agent', kind, 'input', params::text, 'requested_by', requested_by
      ),
      case when traceparent is null then '{}'::jsonb else jsonb_build_object('traceparent', traceparent) end
    ),
    app.emit_job_progress(tenant_id, job_id)
  from app.jobs
  where tenant_id = $1 and job_id = $2
"""


_READ_JOBS = """
  select
    job_id, kind, params, state, phase, done, total, unit, result, attempts,
    cancel_requested_at is not null as cancel_requested, last_error, created_at, started_at, heartbeat_at,
    finished_at
  from app.jobs
  where tenant_id = $1
    and ($2::uuid is null or job_id = $2)
    and ($3::text is null or state = $3)
    and ($4::timestamptz is null or (created_at, job_id) < ($4, $5::uuid))
  order by created_at desc, job_id desc
  limit $6
"""


async def read(connection: Connection, tenant_id: UUID, job_id: UUID) -> Job:
    row = await connection.fetchrow(_READ_JOBS, tenant_id, job_id, None, None, None, 1)
    if row is None:
        raise NotFound(f"there is no job {job_id}", hint="GET /v1/jobs lists them")
    return _job(row)


async def page(connection: Connection, tenant_id: UUID, state: State | None, limit: int, cursor: str | None) -> JobPage:
    """Newest first."""
    part = paging.Slice(cursor, limit, tuple[datetime, UUID], "jobs", state)
    rows = await connection.fetch(_READ_JOBS, tenant_id, None, state, *part.after, part.rows_max)
    return JobPage(*part.cut([_job(row) for row in rows], lambda job: (job.created_at, job.job_id)))


_CANCEL_JOB = """
  update app.jobs
  set
    cancel_requested_at = coalesce(cancel_requested_at, now()),
    sequence = sequence + 1,
    state = case when idle then 'cancelled' else state end,
    finished_at = case when idle then now() end,
    lease_owner = case when idle then null else lease_owner end,
    lease_until = case when idle then null else lease_until end
  from (
    select job_id as id, lease_until is null or lease_until <= now() as idle
    from app.jobs
    where tenant_id = $1 and job_id = $2 and state in ('queued', 'running')
    for update
  ) found
  where tenant_id = $1 and job_id = found.id
  returning job_id
"""


async def cancel(connection: Connection, tenant_id: UUID, job_id: UUID) -> Job:
    """Cancel a job: at once when nobody works on it, else after its step. One that is over stays as it ended."""
    row = await connection.fetchrow(_CANCEL_JOB, tenant_id, job_id)
    if row is not None:
        await connection.execute("select app.emit_job_progress($1, $2)", tenant_id, job_id)
    return await read(connection, tenant_id, job_id)


def _job(row: Any) -> Job:
    return to_struct(row, Job, "params", "result", "last_error")
