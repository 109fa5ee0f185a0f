"""The rows of tasks as the user who asked sees them.

Owns recording a task together with its job and its announcement, reading, listing, cancelling and deleting, and what
holds for a task: what it asks for, within the settings. Each is the user's own: that of others of the tenant is not
found. Refuses to do any of it (`api/agents/job.py`), and works in the caller's transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from api import paging
from api.agents import bounds, recording, withholding
from api.agents.recording import NewTask
from api.agents.schemas import (
    AgentBounds,
    AgentOrder,
    AgentStep,
    AgentStepPage,
    AgentTask,
    AgentTaskPage,
    AgentTaskRequest,
)
from api.agents.toolset import READS
from api.auth.users import Principal
from api.chat import models
from api.db import Connection, to_struct
from api.drafts.composing import has_model
from api.jobs import service as jobs
from api.jobs.service import NewJob
from api.requests import hash_request
from runtime.errors import Conflict, InvalidInput, NotFound
from runtime.settings import AgentSettings, LlmSettings
from schemas.jobs import AGENT_TASK

OPEN_MAX: Final = 10
"""Tasks of one user that wait or run: each can take minutes and money."""


class _KeyedTask(msgspec.Struct, frozen=True):
    """What a key stands for: keys are the tenant's, and tasks a user's."""

    user_id: UUID
    request: AgentTaskRequest


def settle_order(request: AgentTaskRequest, settings: AgentSettings, llm: LlmSettings) -> AgentOrder:
    """What holds for a task. Raises `InvalidInput` for more than the settings allow, `NotFound` for a model that
    is none. Pure."""
    named = list(READS) if request.tools is None else request.tools
    if "crawl" in named:
        named = [*named, "read_crawl"]  # else nobody could see what came of it
    if request.model is not None:
        models.require_known(llm, request.model)
    with_model = has_model(llm)
    if not with_model and "search_adrs" not in named:
        raise InvalidInput("without a model a task needs the tool search_adrs", hint="name it, or name no tools")
    return AgentOrder(
        tools=list(dict.fromkeys(named)),
        model=None if request.model is None else models.find_route(llm, request.model),
        bounds=AgentBounds(
            steps=_within("steps", request.steps, settings.steps_max),
            tokens=_within("tokens", request.tokens, settings.tokens_max),
            micro_usd=_within("micro_usd", request.micro_usd, settings.micro_usd_max)
            if settings.micro_usd_max
            else request.micro_usd,
            seconds=_within("seconds", request.seconds, settings.seconds_max),
        ),
        plan="model" if with_model else "quotes",
        prices_known=request.micro_usd is not None,
    )


def _within(name: str, asked: int | None, most: int) -> int:
    if asked is not None and asked > most:
        raise InvalidInput(
            f"{name} is {asked}, and a task may take {most} at most", hint=f"ask for less (agents.{name}_max)"
        )
    return most if asked is None else asked


_COUNT_OPEN: Final = """
  select count(*)
  from app.agent_tasks t
  join app.jobs j on j.tenant_id = t.tenant_id and j.job_id = t.task_id
  where t.tenant_id = $1 and t.asked_by = $2 and t.parent_id is null and j.state in ('queued', 'running')
"""


async def create(
    connection: Connection,
    principal: Principal,
    request: AgentTaskRequest,
    order: AgentOrder,
    key: str | None,
    traceparent: str | None,
) -> tuple[UUID, bool]:
    """A task, its job and its announcement. True when an earlier request with this key had made it. Raises `Conflict`
    for a key of another request, and when too many of the user's wait."""
    tenant_id, user_id = principal.tenant_id, principal.user_id
    waiting = await connection.fetchval(_COUNT_OPEN, tenant_id, user_id)
    request_hash = hash_request(_KeyedTask(user_id, request))
    task_id, replayed = await jobs.record(connection, principal, NewJob(AGENT_TASK), key, traceparent, request_hash)
    if replayed:
        return task_id, True
    if waiting >= OPEN_MAX:
        raise Conflict(
            f"{waiting} tasks of yours wait or run, and at most {OPEN_MAX} may",
            hint="wait for one of them, or cancel it",
        )
    await recording.record(connection, NewTask(tenant_id, task_id, user_id, principal.key_id, request.goal, order))
    return task_id, False


_READ: Final = """
  select
    t.task_id, t.parent_id, t.goal, t.request, j.state, j.phase, j.done as steps,
    j.cancel_requested_at is not null as cancel_requested, case when $6 then t.result end as result,
    j.last_error, t.created_at, j.started_at, j.finished_at
  from app.agent_tasks t
  join app.jobs j on j.tenant_id = t.tenant_id and j.job_id = t.task_id
  where t.tenant_id = $1
    and t.asked_by = $2
    and (t.task_id = $3 or ($3::uuid is null and t.parent_id is null))
    and ($4::timestamptz is null or (t.created_at, t.task_id) < ($4, $5::uuid))
  order by t.created_at desc, t.task_id desc
  limit $7
"""


async def read(connection: Connection, principal: Principal, task_id: UUID) -> AgentTask:
    """A task, without what was made of sources that were deleted since. Raises `NotFound`, also for what another user
    asked."""
    found = await _find(connection, principal, task_id)
    spent = await bounds.read_spent(connection, principal.tenant_id, principal.user_id, task_id)
    task = msgspec.structs.replace(found, spent=spent)
    lost = await withholding.look(connection, principal.tenant_id, task_id)
    return withholding.withhold_task(task, lost) if lost else task


async def _find(connection: Connection, principal: Principal, task_id: UUID) -> AgentTask:
    """A task as it is kept. Raises `NotFound`."""
    row = await connection.fetchrow(_READ, principal.tenant_id, principal.user_id, task_id, None, None, True, 1)
    if row is None:
        raise NotFound(f"there is no task {task_id} of yours", hint="GET /v1/agents/tasks lists them")
    return _task(row)


async def page(connection: Connection, principal: Principal, limit: int, cursor: str | None) -> AgentTaskPage:
    """Those that a person asked for, newest first, without results."""
    part = paging.Slice(cursor, limit, tuple[datetime, UUID], "tasks", str(principal.user_id))
    rows = await connection.fetch(
        _READ, principal.tenant_id, principal.user_id, None, *part.after, False, part.rows_max
    )
    return AgentTaskPage(*part.cut(list(map(_task, rows)), lambda each: (each.created_at, each.task_id)))


_READ_STEPS: Final = """
  select
    s.number, s.step_id, s.kind, s.name, s.state, s.input, s.output, s.attempt_id, s.begun_at, s.finished_at
  from app.agent_steps s
  join app.agent_tasks t using (tenant_id, task_id)
  where s.tenant_id = $1 and t.asked_by = $2 and s.task_id = $3 and s.number > $4
  order by s.number
  limit $5
"""


async def page_steps(
    connection: Connection, principal: Principal, task_id: UUID, after: int, limit: int
) -> AgentStepPage:
    """The steps behind the one numbered `after`, in order, without the texts of those that stand on what was deleted
    since. Raises `NotFound`."""
    await _find(connection, principal, task_id)
    rows = await connection.fetch(_READ_STEPS, principal.tenant_id, principal.user_id, task_id, after, limit + 1)
    lost = await withholding.look(connection, principal.tenant_id, task_id)
    steps = [to_struct(row, AgentStep, "input", "output") for row in rows[:limit]]
    return AgentStepPage([withholding.withhold_step(step, lost) for step in steps], len(rows) > limit)


async def cancel(connection: Connection, principal: Principal, task_id: UUID) -> AgentTask:
    """Cancel it: at once when nobody works on it, else within a second. One that is over stays as it ended."""
    await _find(connection, principal, task_id)
    await jobs.cancel(connection, principal.tenant_id, task_id)
    return await read(connection, principal, task_id)


async def delete(connection: Connection, principal: Principal, task_id: UUID) -> None:
    """Cancel it and delete its goal, its steps and its result. What it proposed stays, and its job says nothing."""
    await cancel(connection, principal, task_id)
    await connection.execute(
        "delete from app.agent_tasks where tenant_id = $1 and task_id = $2", principal.tenant_id, task_id
    )


def _task(row: Any) -> AgentTask:
    order = msgspec.json.decode(row["request"], type=AgentOrder)
    asked = {"tools": order.tools, "model": order.model, "plan": order.plan, "bounds": order.bounds}
    values = {**row, **asked, "spent": None}
    return to_struct(values, AgentTask, "result", "last_error")
