"""`/v1/drafts` and `/v1/adrs/{adr_id}/suggestions`: what a model makes for ADRs, until somebody accepts it.

Owns the HTTP of it. Everything that holds for a question to the chat holds here, since it is one: slots, limits,
budgets, the ledger, going on after a cut, stopping.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response
from litestar.di import NamedDependency
from litestar.params import PathParameter

from api import watermarks
from api.adrs import examples, preconditions, queries
from api.adrs.controller import actor
from api.adrs.schemas import Adr
from api.auth.roles import NEEDS_CHAT, NEEDS_READ
from api.auth.users import Principal
from api.chat import encoding, resuming
from api.chat.answers import Answer
from api.chat.controller import EVENTS_EXAMPLE
from api.chat.conversations import gather
from api.chat.responding import collect, make_attempt, stream, wait_for_turn
from api.chat.schemas import NAMES, ChatEvent, Start, UsageSpent
from api.chat.supervisor import AnswerSupervisor, Wishes
from api.db import Database, tenant_transaction
from api.drafts import accepting, composing, store, suggesting
from api.drafts.examples import DRAFT, REQUEST, SUGGESTED
from api.drafts.schemas import AdrDraft, DraftAcceptance, DraftRequest, SuggestedMetadata, SuggestionRequest
from api.drafts.store import DraftRow
from api.routes import AdrId, By, Db, body, get, post
from api.search.embedding import QueryEmbedder
from api.sse import MEDIA_TYPE
from api.suggestions import service as suggestions
from api.suggestions.controller import InState
from api.suggestions.examples import OF_ONE
from api.suggestions.schemas import SuggestedRelations
from runtime.settings import Settings

DraftId = Annotated[UUID, PathParameter(description="The draft's id: the `answer_id` of its event `start`.")]
ERRORS = (404, 409, 410, 413, 415, 429)
Embed = NamedDependency[QueryEmbedder]
Supervise = NamedDependency[AnswerSupervisor]
Set = NamedDependency[Settings]


LOOK_S = 0.1
ENDING_LOOKS = 20
"""How often it is looked whether a draft that is to be accepted has ended: two seconds. What is written longer is not
to be accepted yet."""


class DraftController(Controller):
    """A draft is text that belongs to no ADR until a person accepts it."""

    path = "/v1/drafts"
    tags = ("drafts",)
    opt = NEEDS_CHAT

    @post(
        "/stream",
        "Draft, and read it as it is written",
        EVENTS_EXAMPLE,
        "The same events as `POST /v1/chat/stream`. `answer_id` of `start` is the draft's id.",
        answer=str,
        errors=ERRORS,
        media_type=MEDIA_TYPE,
        opt={"events": {name: event for event, name in NAMES.items()}},
    )
    async def stream_draft(
        self,
        request: Request[Any, Any, Any],
        database: Db,
        embedder: Embed,
        supervisor: Supervise,
        principal: By,
        settings: Set,
        data: Annotated[DraftRequest, body("Summarise an ADR", REQUEST)],
    ) -> Response[Any]:
        """Nothing is written into any ADR. A reader who was cut goes on with `GET /v1/chat/answers/{answer_id}/stream`,
        and `POST …/stop` stops it."""
        answer, row = await _start(request, database, embedder, supervisor, principal, settings, data)
        note = functools.partial(_note, database, supervisor, principal, answer, row)
        return await stream(request, answer, on_begun=note)

    @post(
        "/",
        "Draft, and wait for the whole",
        DRAFT,
        "The draft, which is whole.",
        answer=AdrDraft,
        errors=ERRORS,
    )
    async def create_draft(
        self,
        request: Request[Any, Any, Any],
        database: Db,
        embedder: Embed,
        supervisor: Supervise,
        principal: By,
        settings: Set,
        data: Annotated[DraftRequest, body("Summarise an ADR", REQUEST)],
    ) -> Response[Any]:
        """Nothing is written into any ADR: that is for `POST /v1/drafts/{draft_id}/accept`. Without a model an ADR is
        summarised by quoting it, and all else is refused."""
        answer, row = await _start(request, database, embedder, supervisor, principal, settings, data)

        def render(events: list[ChatEvent]) -> bytes:
            return msgspec.json.encode(store.view(answer.answer_id, row, map(encoding.store, events), ended=True))

        response = await collect(request, answer, render)
        if answer.ended:
            await _note(database, supervisor, principal, answer, row)
        return response

    @get("/{draft_id:uuid}", "Read a draft", DRAFT, "What there is of it.", errors=(404,))
    async def get_draft(self, database: Db, principal: By, supervisor: Supervise, draft_id: DraftId) -> AdrDraft:
        """It is there for as long as answers are kept, for the user who asked. `DELETE /v1/chat/answers/{answer_id}`
        discards it."""
        return await _read(database, principal, supervisor, draft_id)

    @post(
        "/{draft_id:uuid}/accept",
        "Make an ADR of a draft",
        examples.ADR | {"version": 4, "message": "Drafted by a-model"},
        "The ADR: a new one, or one with a new version.",
        errors=(404, 409, 410, 413, 415),
        opt={"scope": "write"},
    )
    async def accept_draft(
        self,
        database: Db,
        principal: By,
        supervisor: Supervise,
        settings: Set,
        draft_id: DraftId,
        data: Annotated[DraftAcceptance, body("As it is", {"message": "Reviewed by Ada"})],
    ) -> Response[Adr]:
        """The version that the draft was made from must still be the newest, else it is 409 with `current_version`, and
        nothing has changed. Accepting again changes nothing, and answers with the ADR. Numbers of sources in the text
        become their names."""
        draft = await _read_ended(database, principal, supervisor, draft_id)
        adr = await accepting.accept(database, principal, draft, data, actor(principal), settings.api.adr_bytes_max)
        return Response(adr, headers={"etag": preconditions.etag(adr), "location": f"/v1/adrs/{adr.adr_id}"})


class SuggestionController(Controller):
    """What an ADR could have: a title, tags and related ADRs; and what is suggested of it and others."""

    path = "/v1/adrs/{adr_id:uuid}/suggestions"
    tags = ("drafts",)
    opt = NEEDS_CHAT

    @get(
        "/",
        "What is suggested of an ADR and others",
        OF_ONE,
        "Those in which it is the newer or the older one.",
        errors=(404,),
        opt=NEEDS_READ,
        tags=["suggestions"],
    )
    async def list_adr_suggestions(
        self,
        database: Db,
        principal: By,
        adr_id: AdrId,
        in_state: InState = None,
        position: watermarks.Position = None,
    ) -> Response[SuggestedRelations]:
        """That the newer one supersedes the other, or conflicts with it. Each says why, with the passages, and how
        often that kind of reason was right. At most 50."""
        await watermarks.wait_until_related(database, principal.tenant_id, position)
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            await queries.require_adr(connection, principal.tenant_id, adr_id)
            found = await suggestions.read_of(connection, principal.tenant_id, adr_id, in_state)
            as_of = await watermarks.read_related(connection)
        return Response(SuggestedRelations(found, as_of), headers=as_of.headers())

    @post("/", "Suggest title, tags and related ADRs", SUGGESTED, "What could be set.", errors=ERRORS)
    async def suggest_metadata(
        self,
        request: Request[Any, Any, Any],
        database: Db,
        embedder: Embed,
        supervisor: Supervise,
        principal: By,
        settings: Set,
        adr_id: AdrId,
        data: Annotated[SuggestionRequest, body("Of the newest version", {})],
    ) -> Response[SuggestedMetadata]:
        """Nothing is set. Each related ADR is one of the tenant's, and tags are the tenant's own where those fit.
        Without a model it is what near ADRs have."""
        async with wait_for_turn(request, supervisor, principal, data.model):
            record = await composing.read_record(database, principal.tenant_id, adr_id, data.version)
            basis = await suggesting.collect(database, embedder, principal.tenant_id, record)
            if not composing.has_model(settings.llm):
                return Response(suggesting.suggest_by_statistics(basis))
            question = suggesting.write_question(basis, settings.llm.output_tokens_max)
            answer = supervisor.start(make_attempt(request, principal, None), question, Wishes(data.model))

        def render(events: list[ChatEvent]) -> bytes:
            found = gather(map(encoding.store, events))
            model = found.read("start", Start).model
            claims = suggesting.read_claims(basis, found.text, model, found.read("usage", UsageSpent))
            return msgspec.json.encode(claims)

        return await collect(request, answer, render)


async def _start(
    request: Request[Any, Any, Any],
    database: Database,
    embedder: QueryEmbedder,
    supervisor: AnswerSupervisor,
    principal: Principal,
    settings: Settings,
    data: DraftRequest,
) -> tuple[Answer, DraftRow]:
    async with wait_for_turn(request, supervisor, principal, data.model):
        plan = await composing.compose(database, embedder, principal.tenant_id, data, settings.llm)
        wishes = Wishes(data.model, data.on_failure, data.on_disconnect)
        answer = supervisor.start(make_attempt(request, principal, None), plan.question, wishes)
    made_from = (plan.record.adr_id, plan.record.version) if plan.record else (None, None)
    return answer, DraftRow(data.task, *made_from)


async def _note(
    database: Database, supervisor: AnswerSupervisor, principal: Principal, answer: Answer, row: DraftRow
) -> None:
    await supervisor.keeper.await_note(answer.answer_id)
    await store.add(database, principal.tenant_id, answer.answer_id, row)


async def _read(database: Database, principal: Principal, supervisor: AnswerSupervisor, draft_id: UUID) -> AdrDraft:
    row = await store.find(database, principal, draft_id)
    _, events, ended = await resuming.read(database, supervisor.keeper, principal, draft_id)
    return store.view(draft_id, row, events, ended=ended)


async def _read_ended(
    database: Database, principal: Principal, supervisor: AnswerSupervisor, draft_id: UUID
) -> AdrDraft:
    """The draft, which ends now or a moment ago: another process sees its end when it is written down."""
    for _ in range(ENDING_LOOKS):
        draft = await _read(database, principal, supervisor, draft_id)
        if draft.state != "running":
            break
        await asyncio.sleep(LOOK_S)
    return draft
