"""`/v1/agents`: give an agent a task, follow its steps, read what came of it, cancel it; answer what it proposes.

Owns the HTTP of it. Refuses SQL and rules: `service` and `proposing` have them.
"""

from __future__ import annotations

import asyncio
from typing import Annotated
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter

from api import paging
from api.adrs import service as adrs
from api.adrs.controller import actor
from api.adrs.document import parse
from api.agents import proposing, service
from api.agents.examples import ACCEPTED, FINISHED, PROPOSAL, REQUEST, STEP, SUBMITTED
from api.agents.schemas import (
    AgentStepPage,
    AgentTask,
    AgentTaskPage,
    AgentTaskRequest,
    Proposal,
    ProposalPage,
    ProposalState,
)
from api.auth.roles import NEEDS_CHAT
from api.db import tenant_transaction
from api.edge import traceparent
from api.routes import By, Db, body, delete, get, key_header, locate, post
from api.words import service as words
from runtime.settings import Settings

TaskId = Annotated[UUID, PathParameter(description="The task's id.")]
ProposalId = Annotated[UUID, PathParameter(description="The proposal's id.")]
Set = NamedDependency[Settings]
AFTER_MAX = 2**31 - 1


class AgentController(Controller):
    """A task is a goal that is pursued in steps, each of which is kept; it is its user's own."""

    path = "/v1/agents/tasks"
    tags = ("agents",)
    opt = NEEDS_CHAT

    @post("/", "Give an agent a task", SUBMITTED, "It waits for a worker.", status=201, errors=(404, 409, 413, 415))
    async def create_agent_task(
        self,
        database: Db,
        principal: By,
        settings: Set,
        data: Annotated[AgentTaskRequest, body("A task", REQUEST)],
        idempotency_key: Annotated[
            str | None, key_header("Repeating a request with the same key answers with the task that it made.")
        ] = None,
    ) -> Response[AgentTask]:
        """Each call of a model and each call of a tool is a step. Tools run as the caller, and those whose names begin
        with `propose_` only propose. It goes on when the caller leaves, and behind its last step when its process is
        killed. Without a model, the goal is searched for by its sentences, and what is found is quoted."""
        order = service.settle_order(data, settings.agents, settings.llm)
        trace = traceparent()
        async with tenant_transaction(database, principal.tenant_id) as connection:
            task_id, replayed = await service.create(connection, principal, data, order, idempotency_key, trace)
            task = await service.read(connection, principal, task_id)
        headers = locate(f"/v1/agents/tasks/{task_id}", replayed=replayed)
        return Response(task, headers=headers, status_code=201)

    @get(
        "/",
        "List tasks",
        {"items": [FINISHED | {"result": None, "spent": None}], "next_cursor": None},
        "Those of the caller, newest first.",
    )
    async def list_agent_tasks(
        self, database: Db, principal: By, limit: paging.Limit = paging.LIMIT_DEFAULT, cursor: paging.Cursor = None
    ) -> AgentTaskPage:
        """Results and what was spent are left out: each task is read by its id."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.page(connection, principal, limit, cursor)

    @get("/{task_id:uuid}", "Read a task", FINISHED, "How far it is, and what came of it.", errors=(404,))
    async def get_agent_task(self, database: Db, principal: By, task_id: TaskId) -> AgentTask:
        """The way to it is on the topic `job.progress`, its end on `agent.task.completed`."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.read(connection, principal, task_id)

    @get(
        "/{task_id:uuid}/steps",
        "Read the steps of a task",
        {"items": [STEP], "more": False},
        "The steps, in their order.",
        errors=(404,),
    )
    async def list_agent_steps(
        self,
        database: Db,
        principal: By,
        task_id: TaskId,
        after: Annotated[
            int, QueryParameter(ge=0, le=AFTER_MAX, description="Only those behind the step of this number.")
        ] = 0,
        limit: paging.Limit = paging.LIMIT_DEFAULT,
    ) -> AgentStepPage:
        """What was called, and what came of it. A step without an output is being done."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.page_steps(connection, principal, task_id, after, limit)

    @post(
        "/{task_id:uuid}/cancel",
        "Cancel a task",
        SUBMITTED | {"state": "running", "cancel_requested": True},
        "The task.",
        errors=(404,),
    )
    async def cancel_agent_task(self, database: Db, principal: By, task_id: TaskId) -> AgentTask:
        """It ends within a second: a model that is being asked is hung up on. What it proposed stays. One that is over
        stays as it ended."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.cancel(connection, principal, task_id)

    @delete("/{task_id:uuid}", "Delete a task", None, "It is gone, with its steps.", status=204, errors=(404,))
    async def delete_agent_task(self, database: Db, principal: By, task_id: TaskId) -> None:
        """Its goal, steps and result are deleted; a worker that is at it stops. What it proposed stays."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            await service.delete(connection, principal, task_id)


class ProposalController(Controller):
    """What agents would write. All of the tenant see it, since it is about records that all of them see."""

    path = "/v1/agents/proposals"
    tags = ("agents",)

    @get("/", "List proposals", {"items": [PROPOSAL], "next_cursor": None}, "Proposals, newest first.")
    async def list_proposals(
        self,
        database: Db,
        principal: By,
        in_state: Annotated[
            ProposalState | None, QueryParameter(name="state", description="Only those in this state.")
        ] = None,
        task_id: Annotated[UUID | None, QueryParameter(description="Only those of this task.")] = None,
        limit: paging.Limit = paging.LIMIT_DEFAULT,
        cursor: paging.Cursor = None,
    ) -> ProposalPage:
        """Nothing of an open one is written anywhere yet."""
        part = proposing.slice_of(cursor, limit, in_state, task_id)
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await proposing.page(connection, principal.tenant_id, in_state, task_id, part)

    @get("/{proposal_id:uuid}", "Read a proposal", PROPOSAL, "The proposal.", errors=(404,))
    async def get_proposal(self, database: Db, principal: By, proposal_id: ProposalId) -> Proposal:
        """What would be written, and why."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await proposing.read(connection, principal.tenant_id, proposal_id)

    @post(
        "/{proposal_id:uuid}/accept",
        "Accept a proposal",
        ACCEPTED,
        "The proposal as it is answered.",
        errors=(404, 409, 410, 413),
    )
    async def accept_proposal(self, database: Db, principal: By, settings: Set, proposal_id: ProposalId) -> Proposal:
        """It is written as a change of the caller's own: the history names who accepted it. Accepting again changes
        nothing."""
        tenant_id = principal.tenant_id
        async with tenant_transaction(database, tenant_id, read_only=True) as connection:
            found = await proposing.read(connection, tenant_id, proposal_id)
        document = None
        if found.state == "open":
            proposing.require_shown(found)
        if found.kind == "adr" and not found.withdrawn:
            text: str = found.content["body"]
            adrs.require_fitting(text, settings.api.adr_bytes_max)
            own = await words.load(database, tenant_id)
            document = await asyncio.to_thread(parse, text, words=own)
        async with tenant_transaction(database, tenant_id) as connection:
            return await proposing.accept(connection, tenant_id, proposal_id, document, actor(principal))

    @post(
        "/{proposal_id:uuid}/dismiss",
        "Dismiss a proposal",
        ACCEPTED | {"state": "dismissed", "became_id": None},
        "The proposal as it is answered.",
        errors=(404, 409),
    )
    async def dismiss_proposal(self, database: Db, principal: By, proposal_id: ProposalId) -> Proposal:
        """Nothing is written. Dismissing again changes nothing."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await proposing.dismiss(connection, principal.tenant_id, proposal_id, actor(principal))
