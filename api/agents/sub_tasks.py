"""The tool by which a task starts another one, waits for it, and has its answer.

Owns what a sub-task may take of its parent: fewer steps, tokens, money and seconds than the parent has left, and none
of the tools that it does not have; how deep they go, and how many there are. Its id is that of the step, so that a step
which is done again finds it. That it ends with its parent is the database's (`0056_sub_tasks.sql`). What it answers is
data for the parent, like all that a tool gives. Refuses to do any of it: it is a job, and a worker takes it up.
"""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from api.agents import bounds, recording
from api.agents.bounds import OUTPUT_TOKENS_MIN
from api.agents.recording import NewTask
from api.agents.schemas import (
    GOAL_CHARS_MAX,
    MICRO_USD_MAX,
    TOOLS_MAX,
    AgentBounds,
    AgentOrder,
    AgentResult,
    AgentSpent,
    ToolName,
)
from api.agents.withholding import read_note
from api.db import Connection, Database, tenant_transaction, to_struct
from api.jobs.service import JobError, State
from api.mcp.shapes import NOTICE
from api.withdrawn import SourceName
from runtime.errors import BoundReached, Forbidden
from runtime.setting_agents import STEPS_MAX, TOKENS_MAX
from schemas import text

DEPTH_MAX: Final = 2
"""Levels of sub-tasks: a plan, its parts, and a part that turned out to be two."""
SUB_TASKS_MAX: Final = 5
"""Sub-tasks of one task. A goal with more parts is several goals."""
KEPT_STEPS: Final = 2
"""Steps that a task keeps for itself: the one that starts the sub-task, and its own answer."""


class SubTaskCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `sub_task` takes. What is not given is half of what this task has left."""

    goal: Annotated[
        str,
        Meta(
            pattern=text.BODY,
            min_length=1,
            max_length=GOAL_CHARS_MAX,
            description="All that it has to know: it sees nothing of this task.",
        ),
    ]
    tools: (
        Annotated[list[ToolName], Meta(max_length=TOOLS_MAX, description="Tools of this task; all of them.")] | None
    ) = None
    steps: Annotated[int, Meta(ge=1, le=STEPS_MAX, description="Calls of models and tools at most.")] | None = None
    tokens: Annotated[int, Meta(ge=1, le=TOKENS_MAX, description="Tokens at most.")] | None = None
    micro_usd: Annotated[int, Meta(ge=0, le=MICRO_USD_MAX, description="Millionths of a US dollar at most.")] | None = (
        None
    )


class QuotedSubTask(msgspec.Struct, frozen=True):
    """How a sub-task ended. `steps` are those that it took, with those of its own sub-tasks; `detail` says why there is
    no answer."""

    notice: str
    task_id: UUID
    state: State
    text: str
    detail: str
    consulted: list[str]
    proposals: list[UUID]
    steps: int


class ParentTask(msgspec.Struct, frozen=True):
    """A task that wants to start another, with what it has taken so far."""

    asked_by: UUID
    key_id: str | None
    request: AgentOrder
    depth: int
    children: int
    steps: int
    seconds_left: float


_READ_CHILD: Final = """
  with recursive tree as (
    select $2::uuid as task_id
    union all
    select c.task_id
    from app.agent_tasks c
    join tree on c.parent_id = tree.task_id
    where c.tenant_id = $1
  )
  select
    j.state, j.last_error, t.result,
    greatest(
      j.done,
      (
        select count(*)
        from app.agent_steps s
        join tree on s.task_id = tree.task_id
        where s.tenant_id = $1 and s.state <> 'begun'
      )
    ) as steps
  from app.jobs j
  left join app.agent_tasks t on t.tenant_id = j.tenant_id and t.task_id = j.job_id
  where j.tenant_id = $1 and j.job_id = $2
"""


class _ChildRow(msgspec.Struct, frozen=True):
    state: State
    last_error: JobError | None
    result: AgentResult | None
    steps: int


async def run(
    database: Database, tenant_id: UUID, user_id: UUID, task_id: UUID, step_id: UUID, asked: SubTaskCall
) -> QuotedSubTask | None:
    """The sub-task of a step: started where it is not there, and None until it is over. Raises `BoundReached` where the
    parent has nothing left for one, and `Forbidden` for a tool that it does not have."""
    async with tenant_transaction(database, tenant_id) as connection:
        row = await connection.fetchrow(_READ_CHILD, tenant_id, step_id)
        if row is None:
            await _start(connection, tenant_id, user_id, task_id, step_id, asked)
            return None
    child = to_struct(row, _ChildRow, "last_error", "result")
    if child.state in ("queued", "running"):
        return None
    result = child.result
    detail = "" if result else child.last_error.detail if child.last_error else f"it was {child.state}"
    if result is None:
        return QuotedSubTask(NOTICE, step_id, child.state, "", detail, [], [], child.steps)
    return QuotedSubTask(NOTICE, step_id, child.state, result.text, "", result.consulted, result.proposals, child.steps)


_READ_SOURCES: Final = "select sources from app.agent_steps where tenant_id = $1 and task_id = $2 order by number"


async def read_sources(connection: Connection, tenant_id: UUID, step_id: UUID) -> list[SourceName]:
    """What the sub-task of a step stands on, each once."""
    rows = await connection.fetch(_READ_SOURCES, tenant_id, step_id)
    return list(dict.fromkeys(name for row in rows for name in read_note(row["sources"])))


_READ_PARENT: Final = """
  select
    t.asked_by, t.key_id, t.request, t.depth,
    (select count(*) from app.agent_tasks c where c.tenant_id = $1 and c.parent_id = $2) as children,
    (
      (t.request -> 'bounds' ->> 'seconds')::float8 - extract(
        epoch from clock_timestamp() - coalesce(j.started_at, clock_timestamp())
      )
    )::float8 as seconds_left,
    0 as steps
  from app.agent_tasks t
  join app.jobs j on j.tenant_id = t.tenant_id and j.job_id = t.task_id
  where t.tenant_id = $1 and t.task_id = $2
  for update of j
"""

_INSERT_JOB: Final = """
  insert into app.jobs (tenant_id, job_id, kind, params, requested_by, traceparent)
  select tenant_id, $3, kind, params, requested_by, traceparent
  from app.jobs
  where tenant_id = $1 and job_id = $2 and state = 'running' and cancel_requested_at is null
  on conflict do nothing
  returning job_id
"""


async def _start(
    connection: Connection, tenant_id: UUID, user_id: UUID, task_id: UUID, step_id: UUID, asked: SubTaskCall
) -> None:
    """Record the sub-task and its job. Nothing, where nobody wants the parent any more: its worker looks by itself."""
    row = await connection.fetchrow(_READ_PARENT, tenant_id, task_id)
    if row is None:
        return
    steps = (await connection.fetchrow(_READ_CHILD, tenant_id, task_id))["steps"]
    parent = msgspec.structs.replace(to_struct(row, ParentTask, "request"), steps=steps)
    spent = await bounds.read_spent(connection, tenant_id, user_id, task_id)
    order = divide(parent, spent, asked)
    if await connection.fetchval(_INSERT_JOB, tenant_id, task_id, step_id) is None:
        return
    who = (tenant_id, step_id, parent.asked_by, parent.key_id)
    await recording.record(connection, NewTask(*who, asked.goal, order, task_id, parent.depth + 1))


def divide(parent: ParentTask, spent: AgentSpent, asked: SubTaskCall) -> AgentOrder:
    """What holds for a sub-task. Raises `BoundReached` and `Forbidden`. Pure."""
    order, own = parent.request, parent.request.bounds
    if parent.depth >= DEPTH_MAX:
        raise BoundReached(f"sub-tasks go {DEPTH_MAX} levels deep, and this is the last", hint="do it in this task")
    if parent.children >= SUB_TASKS_MAX:
        raise BoundReached(
            f"this task has {parent.children} sub-tasks, and at most {SUB_TASKS_MAX} are started",
            hint="do the rest in this task",
        )
    tools = order.tools if asked.tools is None else list(dict.fromkeys(asked.tools))
    if missing := [name for name in tools if name not in order.tools]:
        raise Forbidden(
            f"a sub-task may not use {', '.join(missing)}: this task may not",
            hint=f"it may use {', '.join(order.tools)}",
        )
    money = None
    if own.micro_usd is not None and spent.micro_usd is not None:
        money = _take("micro_usd", own.micro_usd - spent.micro_usd, asked.micro_usd, least=0)
    elif asked.micro_usd is not None or own.micro_usd is not None:
        money = min(each for each in (asked.micro_usd, own.micro_usd) if each is not None)
    shares = AgentBounds(
        steps=_take("steps", own.steps - parent.steps - KEPT_STEPS, asked.steps, least=1),
        tokens=_take("tokens", own.tokens - spent.tokens, asked.tokens, least=OUTPUT_TOKENS_MIN),
        micro_usd=money,
        seconds=max(1, int(parent.seconds_left)),
    )
    return msgspec.structs.replace(order, tools=tools, bounds=shares)


def _take(name: str, left: int, asked: int | None, *, least: int) -> int:
    """What a sub-task gets of what is left: what is asked for, as far as it is there; else half."""
    if left < least:
        raise BoundReached(
            f"this task has {max(0, left)} {name} left, which is too little for a sub-task",
            hint="answer with what is known",
        )
    return max(least, min(left, asked if asked is not None else -(-left // 2)))
