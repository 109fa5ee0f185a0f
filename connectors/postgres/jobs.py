"""The table of jobs as a worker sees it: claim, heartbeat, step, finish; and the contract of what a job does.

Owns the SQL on `app.jobs` that needs a lease, and the rule for failures. Refuses threads and clocks, which
`streams/worker.py` has; time is the database's. A claim has an owner of its own that is never used again, and every
write names it: a worker that lost its lease finds no row and writes nothing (`Fenced`).

A job goes on by steps. A step's rows and the job's new position are one transaction, so a worker that dies costs the
step that it was in, and no step is done twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from connectors.postgres.connections import Connection
from connectors.postgres.errors import DETAIL_CHARS_MAX
from runtime.errors import AdriaticError, CallerError, DataError, Fenced, OperatingError, Unprocessable

Outcome = Literal["retry", "failed"]

LEASE_S = 20
"""How long a job waits for a worker that died. The heartbeat comes four times as often."""
ATTEMPTS_MAX = 5
"""Failures in a row after which a job has failed. With the pauses below, about half a minute of trying."""
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 60.0
"""Pause after the first failure, doubled for each one more."""
OUTAGE_PAUSE_S = 5.0
"""Pause after a dependency did not answer. Such an attempt is not counted (law 7)."""
_CLAIM_LOCK = 4_271_008
"""Advisory lock under which a job is claimed: how many a tenant has running is then exact."""


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A claimed job. `position` is where its last committed step left it; empty at the beginning."""

    tenant_id: UUID
    job_id: UUID
    kind: str
    params: Mapping[str, Any]
    position: Mapping[str, Any]
    done: int
    total: int | None
    attempts: int
    owner: str
    cancel_requested: bool = False


@dataclass(frozen=True, slots=True)
class JobProgress:
    """Where a job stands after a step. `finished` ends it as succeeded; `result` says what it found, for people; with
    `pause_s` it gives its place to others for so long."""

    phase: str
    done: int
    total: int | None
    unit: str
    position: Mapping[str, Any] = field(default_factory=dict)
    finished: bool = False
    result: Mapping[str, Any] = field(default_factory=dict)
    pause_s: float = 0.0


class JobKind(ABC):
    """What one kind of job does. Instances hold no state of a job: that is in its row.

    A step should take a second or so: between two of them a job can be cancelled, and makes room for others'. Raises
    `DependencyUnavailable` to be tried again later, a `DataError` or `CallerError` when that cannot help; anything
    else is tried `ATTEMPTS_MAX` times.
    """

    name: str

    def prepare(self, connection: Connection, job: ClaimedJob) -> Any:
        """What takes long or waits on the world, outside of any transaction; `apply` gets what it returns. May be
        called more than once for a step. `connection` is for reading; set no tenant on it."""
        del connection, job

    @abstractmethod
    def apply(self, connection: Connection, job: ClaimedJob, prepared: Any) -> JobProgress:
        """The step's rows and events, in the transaction that moves the job on."""


_FIND_DUE = """
  select
    j.tenant_id, j.job_id, j.kind, j.params, j.position, j.done, j.total,
    j.attempts + (j.lease_owner is not null)::int, j.cancel_requested_at is not null, j.state = 'queued'
  from app.jobs j
  cross join lateral (
    select count(*) as running
    from app.jobs r
    where r.tenant_id = j.tenant_id and r.state = 'running' and r.lease_until > clock_timestamp()
  ) at_work
  where j.state in ('queued', 'running')
    and j.due_at <= clock_timestamp()
    and j.kind = any(%s)
    and (j.lease_until is null or j.lease_until <= clock_timestamp())
    and at_work.running < %s
  order by at_work.running, coalesce(j.served_at, j.created_at), j.job_id
  limit 1
  for update of j skip locked
"""

_LEASE = """
  update app.jobs
  set
    state = 'running',
    lease_owner = %s,
    lease_until = clock_timestamp() + %s * interval '1 s',
    heartbeat_at = clock_timestamp(),
    served_at = clock_timestamp(),
    attempts = %s,
    sequence = sequence + 1,
    started_at = coalesce(started_at, clock_timestamp())
  where tenant_id = %s and job_id = %s
"""


def claim(connection: Connection, owner: str, kinds: Collection[str], tenant_running_max: int) -> ClaimedJob | None:
    """The next job for a worker: of the tenant with fewest at work, the one that waited longest. In a transaction.

    A job whose lease ran out lost its worker, which counts as an attempt: what kills its worker each time fails in the
    end, instead of for ever.
    """
    connection.execute("select pg_advisory_xact_lock(%s)", [_CLAIM_LOCK])
    row = connection.execute(_FIND_DUE, [sorted(kinds), tenant_running_max]).fetchone()
    if row is None:
        return None
    tenant_id, job_id, kind, params, position, done, total, attempts, cancel, begins = row
    job = ClaimedJob(tenant_id, job_id, kind, params, position, done, total, attempts, owner, cancel)
    connection.execute(_LEASE, [owner, LEASE_S, attempts, job.tenant_id, job.job_id])
    if begins:
        _emit(connection, job)
    return job


_EXTEND_LEASES = """
  update app.jobs j
  set lease_until = clock_timestamp() + %s * interval '1 s', heartbeat_at = clock_timestamp()
  from (
    select tenant_id, job_id
    from app.jobs
    where state = 'running' and lease_owner = any(%s)
    for update skip locked
  ) mine
  where j.tenant_id = mine.tenant_id and j.job_id = mine.job_id
"""


def heartbeat(connection: Connection, owners: Collection[str]) -> None:
    """Keep the leases of `owners`. A row that its own step has locked is left out: that step renews it."""
    connection.execute(_EXTEND_LEASES, [LEASE_S, sorted(owners)])


_ADVANCE = """
  update app.jobs
  set
    phase = %s,
    done = %s,
    total = %s,
    unit = %s,
    position = %s,
    result = %s,
    attempts = 0,
    last_error = null,
    sequence = sequence + 1,
    heartbeat_at = clock_timestamp(),
    lease_until = clock_timestamp() + %s * interval '1 s'
  where tenant_id = %s and job_id = %s and lease_owner = %s and state = 'running'
  returning cancel_requested_at is not null
"""


def advance(connection: Connection, job: ClaimedJob, progress: JobProgress, *, announce: bool) -> bool:
    """Move the job on, last in the step's transaction. True when somebody wants it cancelled. Raises `Fenced`."""
    moved = [progress.phase, progress.done, progress.total, progress.unit]
    moved += [Jsonb(dict(progress.position)), Jsonb(dict(progress.result))]
    row = connection.execute(_ADVANCE, [*moved, LEASE_S, job.tenant_id, job.job_id, job.owner]).fetchone()
    if row is None:
        raise _lease_error(job)
    if progress.finished:
        finish(connection, job, "succeeded")
    elif announce:
        _emit(connection, job)
    return bool(row[0])


def finish(
    connection: Connection,
    job: ClaimedJob,
    state: Literal["succeeded", "failed", "cancelled"],
    error: Exception | None = None,
) -> None:
    """The end of a job, with its last event. Raises `Fenced`."""
    _give_up_lease(connection, job, state, job.attempts, error)


_RELEASE = """
  update app.jobs
  set
    lease_owner = null,
    lease_until = null,
    served_at = clock_timestamp(),
    due_at = clock_timestamp() + %s * interval '1 s'
  where tenant_id = %s and job_id = %s and lease_owner = %s
"""


def release(connection: Connection, job: ClaimedJob, pause_s: float = 0.0) -> None:
    """Back in line, as far as it is: a slice is over, it has to wait, or the worker stops. Raises `Fenced`."""
    connection.execute(_RELEASE, [pause_s, job.tenant_id, job.job_id, job.owner])


def fail(connection: Connection, job: ClaimedJob, error: Exception, steps: int) -> Outcome:
    """End an attempt that raised: try again later, or give up. `steps` are those that this claim committed."""
    outage = isinstance(error, OperatingError)
    attempts = (0 if steps else job.attempts) + (0 if outage else 1)
    if isinstance(error, (DataError, CallerError)) or attempts >= ATTEMPTS_MAX:
        finish(connection, job, "failed", error)
        return "failed"
    pause_s = OUTAGE_PAUSE_S if outage else min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** (attempts - 1))
    _give_up_lease(connection, job, "running", attempts, error, pause_s)
    return "retry"


def exists(connection: Connection, tenant_id: UUID, job_id: UUID) -> bool:
    found = connection.execute("select from app.jobs where tenant_id = %s and job_id = %s", [tenant_id, job_id])
    return found.fetchone() is not None


_END_LEASE = """
  update app.jobs
  set
    state = %s,
    attempts = %s,
    due_at = clock_timestamp() + %s * interval '1 s',
    last_error = coalesce(%s, last_error),
    lease_owner = null,
    lease_until = null,
    sequence = sequence + 1,
    finished_at = case when %s then clock_timestamp() end
  where tenant_id = %s and job_id = %s and lease_owner = %s and state = 'running'
"""


def _give_up_lease(
    connection: Connection, job: ClaimedJob, state: str, attempts: int, error: Exception | None, pause_s: float = 0.0
) -> None:
    """Leave the job in `state`, and say so. Raises `Fenced`."""
    last_error = None if error is None else Jsonb(describe_error(error))
    left = [state, attempts, pause_s, last_error, state != "running"]
    if not connection.execute(_END_LEASE, [*left, job.tenant_id, job.job_id, job.owner]).rowcount:
        raise _lease_error(job)
    _emit(connection, job)


def describe_error(error: Exception) -> dict[str, str]:
    """An error as a job shows it. What we did not raise on purpose may quote values, so only its kind is shown."""
    if isinstance(error, AdriaticError):
        return {"code": error.code, "detail": error.detail[:DETAIL_CHARS_MAX], "hint": error.hint}
    detail = f"the step raised {type(error).__name__}"
    return {"code": Unprocessable.code, "detail": detail, "hint": "see the worker's log"}


def _emit(connection: Connection, job: ClaimedJob) -> None:
    connection.execute("select app.emit_job_progress(%s, %s)", [job.tenant_id, job.job_id])


def _lease_error(job: ClaimedJob) -> Fenced:
    return Fenced(
        f"the lease of job {job.job_id} is gone",
        hint="another worker has it, or it is over; this one writes nothing more for it",
        coordinates={"job_id": str(job.job_id), "tenant_id": str(job.tenant_id)},
    )
