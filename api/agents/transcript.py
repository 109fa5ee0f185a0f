"""The steps of a task as rows: begun before anything is done, over afterwards.

Owns the SQL of `app.agent_steps` as a worker writes it. Each function works in the caller's transaction, which has the
tenant of the task. A step is begun only by whoever holds the job's lease and while nobody wants it cancelled, and is
over once: the first output stands. Refuses to do a step and to choose one (`plan`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

import msgspec

from api.agents.schemas import AgentOrder, StepKind, StepState
from api.agents.withholding import note
from api.db import Connection, to_struct
from api.withdrawn import SourceName
from runtime.errors import Fenced


class TaskRow(msgspec.Struct, frozen=True):
    """A task as its worker needs it. `seconds_left` is by the database's clock; `wanted` false: somebody cancelled
    it, or another worker has it."""

    asked_by: UUID
    key_id: str | None
    goal: str
    request: AgentOrder
    seconds_left: float
    wanted: bool


class StepRow(msgspec.Struct, frozen=True):
    """One step."""

    number: int
    step_id: UUID
    kind: StepKind
    name: str
    input: dict[str, Any]
    output: dict[str, Any] | None = None
    state: StepState = "begun"
    attempt_id: UUID | None = None
    begun_s_ago: float = 0.0
    """Seconds, by the database's clock."""

    @property
    def is_over(self) -> bool:
        return self.state != "begun"


_READ_TASK: Final = """
  select
    t.asked_by, t.key_id, t.goal, t.request,
    (
      (t.request -> 'bounds' ->> 'seconds')::float8 - extract(
        epoch from clock_timestamp() - coalesce(j.started_at, clock_timestamp())
      )
    )::float8 as seconds_left,
    j.state = 'running' and j.lease_owner = $3 and j.cancel_requested_at is null as wanted
  from app.agent_tasks t
  join app.jobs j on j.tenant_id = t.tenant_id and j.job_id = t.task_id
  where t.tenant_id = $1 and t.task_id = $2
"""

_READ_STEPS: Final = """
  select
    number, step_id, kind, name, input, output, state, attempt_id,
    extract(epoch from clock_timestamp() - begun_at)::float8 as begun_s_ago
  from app.agent_steps
  where tenant_id = $1 and task_id = $2
  order by number
"""


async def read(
    connection: Connection, tenant_id: UUID, task_id: UUID, owner: str
) -> tuple[TaskRow, list[StepRow]] | None:
    """A task and its steps, in order; None where it was deleted."""
    row = await connection.fetchrow(_READ_TASK, tenant_id, task_id, owner)
    if row is None:
        return None
    steps = await connection.fetch(_READ_STEPS, tenant_id, task_id)
    return to_struct(row, TaskRow, "request"), [to_struct(each, StepRow, "input", "output") for each in steps]


_BEGIN: Final = """
  insert into app.agent_steps (tenant_id, task_id, number, step_id, kind, name, input)
  select tenant_id, job_id, $4, $5, $6, $7, $8::text::jsonb
  from app.jobs
  where tenant_id = $1
    and job_id = $2
    and lease_owner = $3
    and state = 'running'
    and cancel_requested_at is null
  on conflict do nothing
  returning number
"""


async def begin(connection: Connection, tenant_id: UUID, task_id: UUID, owner: str, step: StepRow) -> None:
    """Write a step down before it is done. Raises `Fenced` where this worker is to do nothing more for the task."""
    what = (step.number, step.step_id, step.kind, step.name, encode(step.input))
    if await connection.fetchval(_BEGIN, tenant_id, task_id, owner, *what) is None:
        raise Fenced(f"step {step.number} of task {task_id} is not this worker's", hint="it was cancelled, or lost")


_NOTE_ATTEMPT: Final = """
  update app.agent_steps
  set attempt_id = $4
  where tenant_id = $1 and task_id = $2 and number = $3 and state = 'begun'
"""


async def note_attempt(connection: Connection, tenant_id: UUID, task_id: UUID, number: int, attempt_id: UUID) -> None:
    """Write down under which id the model is about to be asked."""
    await connection.execute(_NOTE_ATTEMPT, tenant_id, task_id, number, attempt_id)


_RECORD: Final = """
  update app.agent_steps
  set output = $4::text::jsonb, state = $5, sources = $6::text::jsonb, finished_at = clock_timestamp()
  where tenant_id = $1 and task_id = $2 and number = $3 and state = 'begun'
"""


async def record(
    connection: Connection,
    tenant_id: UUID,
    task_id: UUID,
    number: int,
    output: dict[str, Any],
    state: StepState,
    sources: Iterable[SourceName],
) -> None:
    """Write down what a step came to, and which sources it is made of. One that is over stays as it is."""
    await connection.execute(_RECORD, tenant_id, task_id, number, encode(output), state, note(sources))


def encode(value: Any) -> str:
    """The value as JSON that Postgres takes."""
    return msgspec.json.encode(_replace_nul(msgspec.to_builtins(value))).decode()


def _replace_nul(value: Any) -> Any:
    """A model may write U+0000, which no text in Postgres can hold."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {_replace_nul(name): _replace_nul(each) for name, each in value.items()}
    return [_replace_nul(each) for each in value] if isinstance(value, list) else value
