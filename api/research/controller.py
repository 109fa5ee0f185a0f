"""`/v1/research`: ask what takes several searches, see how far it is, read what came of it, cancel it, delete it.

Owns the HTTP of it. Refuses SQL and rules: `service` has them.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response
from litestar.params import PathParameter

from api import paging
from api.auth.roles import NEEDS_CHAT
from api.db import tenant_transaction
from api.edge import traceparent
from api.research import service
from api.research.examples import ANSWERED, REQUEST, SUBMITTED
from api.research.schemas import Research, ResearchPage, ResearchRequest
from api.routes import By, Db, body, delete, get, key_header, locate, post

ResearchId = Annotated[UUID, PathParameter(description="The id of the research.")]


class ResearchController(Controller):
    """A question that takes several searches, done by a job; each is its user's own."""

    path = "/v1/research"
    tags = ("research",)
    opt = NEEDS_CHAT

    @post(
        "/",
        "Ask for research",
        SUBMITTED,
        "It waits for a worker.",
        status=201,
        errors=(409, 413, 415),
    )
    async def create_research(
        self,
        database: Db,
        principal: By,
        data: Annotated[ResearchRequest, body("A question", REQUEST)],
        idempotency_key: Annotated[
            str | None, key_header("Repeating a request with the same key answers with the research that it made.")
        ] = None,
    ) -> Response[Research]:
        """The question is taken apart, searched for in rounds, and answered with quotes, each of them checked against
        the version that it cites. What the sources do not hold is said to be missing. It goes on when the caller
        leaves."""
        trace = traceparent()
        async with tenant_transaction(database, principal.tenant_id) as connection:
            research_id, replayed = await service.create(connection, principal, data, idempotency_key, trace)
            research = await service.read(connection, principal, research_id)
        headers = locate(f"/v1/research/{research_id}", replayed=replayed)
        return Response(research, headers=headers, status_code=201)

    @get(
        "/",
        "List research",
        {"items": [ANSWERED | {"result": None}], "next_cursor": None},
        "What the caller asked, newest first.",
    )
    async def list_research(
        self, database: Db, principal: By, limit: paging.Limit = paging.LIMIT_DEFAULT, cursor: paging.Cursor = None
    ) -> ResearchPage:
        """Results are left out: each is read by its id."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.page(connection, principal, limit, cursor)

    @get("/{research_id:uuid}", "Read research", ANSWERED, "How far it is, and what came of it.", errors=(404,))
    async def get_research(self, database: Db, principal: By, research_id: ResearchId) -> Research:
        """The steps to it are on the topic `job.progress`, its end on `rag.search.completed`."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.read(connection, principal, research_id)

    @post(
        "/{research_id:uuid}/cancel",
        "Cancel research",
        SUBMITTED | {"state": "running", "cancel_requested": True},
        "The research.",
        errors=(404,),
    )
    async def cancel_research(self, database: Db, principal: By, research_id: ResearchId) -> Research:
        """It ends after the step that it is in, about a second. One that is over stays as it ended."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.cancel(connection, principal, research_id)

    @delete(
        "/{research_id:uuid}",
        "Delete research",
        None,
        "It is gone, and what it found.",
        status=204,
        errors=(404,),
    )
    async def delete_research(self, database: Db, principal: By, research_id: ResearchId) -> None:
        """What was asked and found is deleted; a worker that is at it stops."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            await service.delete(connection, principal, research_id)
