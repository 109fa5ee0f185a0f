"""Writes down a task whose job is there, and announces it.

Owns both statements, for a task of a person (`service`) and for one that a task starts (`sub_tasks`). Refuses jobs and
rules. Each function works in the caller's transaction.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from api.agents.schemas import AgentOrder
from api.db import Connection

_INSERT: Final = """
  insert into app.agent_tasks (tenant_id, task_id, asked_by, key_id, goal, request, parent_id, depth)
  values ($1, $2, $3, $4, $5, $6::text::jsonb, $7, $8)
"""

_EMIT_SUBMITTED: Final = """
  select
    app.emit(
      'agent.task.submitted', jsonb_build_object('tenant_id', t.tenant_id, 'id', t.task_id), t.tenant_id,
      jsonb_build_object(
        'event_id', gen_random_uuid(), 'tenant_id', t.tenant_id,
        'occurred_at', (extract(epoch from clock_timestamp()) * 1000000)::bigint, 'task_id', t.task_id,
        'agent', j.kind, 'input', '{}', 'budget_micro_usd', t.request -> 'bounds' -> 'micro_usd',
        'requested_by', t.asked_by
      ),
      case
        when j.traceparent is null then '{}'::jsonb
        else jsonb_build_object('traceparent', j.traceparent)
      end
    ),
    app.emit_job_progress(t.tenant_id, t.task_id)
  from app.agent_tasks t
  join app.jobs j on j.tenant_id = t.tenant_id and j.job_id = t.task_id
  where t.tenant_id = $1 and t.task_id = $2
"""


class NewTask(msgspec.Struct, frozen=True):
    """A task as it is written down. `parent_id` is the task that starts it, `depth` how many are above it."""

    tenant_id: UUID
    task_id: UUID
    asked_by: UUID
    key_id: str | None
    goal: str
    order: AgentOrder
    parent_id: UUID | None = None
    depth: int = 0


async def record(connection: Connection, task: NewTask) -> None:
    """Write the task down, and announce it."""
    kept = msgspec.json.encode(task.order).decode()
    whose = (task.tenant_id, task.task_id, task.asked_by, task.key_id)
    await connection.execute(_INSERT, *whose, task.goal, kept, task.parent_id, task.depth)
    await connection.execute(_EMIT_SUBMITTED, task.tenant_id, task.task_id)
