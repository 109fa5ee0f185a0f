"""`/v1/suggestions`: which decision may supersede another, or conflict with it.

Owns the HTTP of it. Refuses SQL and rules: `service` has them. The suggestions of one ADR are read beside what a model
suggests for it (`api/drafts/controller.py`), for one path has one controller.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response
from litestar.params import PathParameter, QueryParameter

from api import paging, watermarks
from api.adrs import preconditions
from api.adrs.controller import IfMatch, actor
from api.db import tenant_transaction
from api.routes import By, Db, body, get, post
from api.suggestions import examples, service
from api.suggestions.schemas import (
    AcceptedSuggestion,
    SuggestedRelation,
    SuggestedRelationPage,
    SuggestionState,
)
from schemas.suggestions import SuggestionKind

SuggestionId = Annotated[UUID, PathParameter(description="The suggestion's id.")]
InState = Annotated[
    SuggestionState | None, QueryParameter(name="state", description="Only those that are open, or were answered so.")
]


class RelationSuggestionController(Controller):
    """What is suggested of decisions that are near: supersedes, conflicts. People accept or dismiss it."""

    path = "/v1/suggestions"
    tags = ("suggestions",)

    @get("/", "List suggestions", examples.PAGE, "A page of them.")
    async def list_suggestions(
        self,
        database: Db,
        principal: By,
        in_state: InState = None,
        kind: Annotated[SuggestionKind | None, QueryParameter(description="Only of this kind.")] = None,
        limit: paging.Limit = paging.LIMIT_DEFAULT,
        cursor: paging.Cursor = None,
    ) -> Response[SuggestedRelationPage]:
        """Those of the newest decisions first. An open one goes when its reason is gone; an answered one stays."""
        page = paging.Slice(cursor, limit, tuple[UUID, UUID], "suggestions", in_state, kind)
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            items, following = await service.read_all(connection, principal.tenant_id, page, state=in_state, kind=kind)
            as_of = await watermarks.read_related(connection)
        return Response(SuggestedRelationPage(items, following, as_of), headers=as_of.headers())

    @get("/{suggestion_id:uuid}", "Read a suggestion", examples.SUGGESTION, "The suggestion.", errors=(404,))
    async def read_suggestion(self, database: Db, principal: By, suggestion_id: SuggestionId) -> SuggestedRelation:
        """One that is open, or was answered."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.read_one(connection, principal.tenant_id, suggestion_id)

    @post(
        "/{suggestion_id:uuid}/accept",
        "Accept a suggestion",
        examples.SUGGESTION | examples.ANSWERED | {"state": "accepted"},
        "The suggestion as it is answered.",
        errors=(404, 409, 410, 413, 415, 428),
    )
    async def accept_suggestion(
        self,
        database: Db,
        principal: By,
        suggestion_id: SuggestionId,
        data: Annotated[AcceptedSuggestion, body("What was shown", {"expected_version": 3})],
        if_match: IfMatch = None,
    ) -> SuggestedRelation:
        """Sets the link from the newer one, `supersedes` or, of a conflict, `relates-to`. An older one that is
        superseded gets a version that says so: the request names the version that it was made from, as a change of that
        ADR does. Accepting again changes nothing."""
        expected = preconditions.read_expected(if_match, data.expected_version)
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.accept(connection, principal.tenant_id, suggestion_id, expected, actor(principal))

    @post(
        "/{suggestion_id:uuid}/dismiss",
        "Dismiss a suggestion",
        examples.SUGGESTION | examples.ANSWERED | {"state": "dismissed"},
        "The suggestion as it is answered.",
        errors=(404, 409),
    )
    async def dismiss_suggestion(self, database: Db, principal: By, suggestion_id: SuggestionId) -> SuggestedRelation:
        """It stays dismissed, whatever is edited or made anew, until there is evidence of a stronger kind: titles that
        refuse each other are stronger than other options, and words of the text are the strongest."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.dismiss(connection, principal.tenant_id, suggestion_id, actor(principal))

    @post(
        "/{suggestion_id:uuid}/reopen",
        "Reopen a suggestion",
        examples.SUGGESTION,
        "The suggestion without its answer.",
        errors=(404, 409),
    )
    async def reopen_suggestion(self, database: Db, principal: By, suggestion_id: SuggestionId) -> SuggestedRelation:
        """Forgets the answer. Of an accepted one, after its link was removed."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.reopen(connection, principal.tenant_id, suggestion_id)
