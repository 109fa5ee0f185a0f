"""`/v1/responses/{response_id}`: a response again, from any place on, stopped, or deleted, in OpenAI's protocol.

Owns the HTTP of it, and the id. A response is an answer that is kept (`api/chat/resuming`): it is its user's alone, and
every answer that is kept can be read here, whichever protocol it was asked in.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter
from litestar.response import Stream

from api.auth.roles import NEEDS_CHAT
from api.auth.users import Principal
from api.chat import conversations, encoding, resuming
from api.chat.dialects import examples, failures, openai_responses
from api.chat.dialects.openai_responses import ResponseObject
from api.chat.keeping import AnswerKeeper
from api.chat.supervisor import AnswerSupervisor
from api.db import Database
from api.edge import HEAD_STATE
from api.problems import Problem
from api.routes import By, Db, delete, get, post
from api.sse import HEADERS, MEDIA_TYPE
from runtime.deadline import Deadline
from runtime.errors import NotFound

PREFIX = "resp_"
ID_CHARS_MAX = 64
"""The prefix and 32 digits. Longer ones are none of ours."""
EVENTS_MAX = 2**31
"""More than any answer has."""
CANCEL_S_MAX = 5.0
"""How long cancelling waits for the end, which takes a tenth of a second in another process. The response then says
`in_progress`, as it is."""
LOOK_S = 0.05

ResponseId = Annotated[
    str, PathParameter(max_length=ID_CHARS_MAX, description="The response's id, as its first event named it.")
]


class DeletedResponse(msgspec.Struct, frozen=True):
    """What is left of it."""

    id: str
    object: Literal["response"] = "response"
    deleted: bool = True


def to_openai(problem: Problem) -> failures.OpenAIError:
    """The error is that of other routes, but what is not found here is no model."""
    told = failures.to_openai(problem)
    if problem.status != 404:
        return told
    return failures.OpenAIError(msgspec.structs.replace(told.error, code="not_found"))


class KeptResponseController(Controller):
    """Responses are kept for `llm.kept_days`, for the user who asked, unless that user asked with `store: false`."""

    path = "/v1/responses"
    tags = ("dialects",)
    opt = NEEDS_CHAT
    exception_handlers = failures.handlers(to_openai)

    @get(
        "/{response_id:str}",
        "Read a response again, in OpenAI's newer protocol",
        examples.RESPONSE,
        "The response, as far as it is; with `stream`, its events behind `starting_after`, as they come.",
        answer=ResponseObject,
        errors=(404,),
        describe=failures.describe(to_openai),
        opt={"chunks": ((openai_responses.ResponseEvent,), examples.RESPONSE_EVENT)},
    )
    async def get_response(
        self,
        request: Request[Any, Any, Any],
        database: Db,
        principal: By,
        supervisor: NamedDependency[AnswerSupervisor],
        response_id: ResponseId,
        stream: Annotated[bool, QueryParameter(description="Server-sent events.")] = False,
        starting_after: Annotated[
            int,
            QueryParameter(ge=-1, le=EVENTS_MAX, description="For a stream: the last `sequence_number` that was seen."),
        ] = -1,
    ) -> Response[Any]:
        """The same events with the same numbers as when it was asked for, whichever process writes it, and after it has
        ended too."""
        answer_id = read_id(response_id)
        if not stream:
            return Response(await _show(database, supervisor.keeper, principal, answer_id))
        kept = await resuming.find(database, principal, answer_id)
        if request.scope["state"].get(HEAD_STATE):
            return Response(None, media_type=MEDIA_TYPE, headers=HEADERS)
        cursor = await resuming.open_cursor(request, database, supervisor.keeper, principal, kept, -1)
        encoder = openai_responses.ResponseEncoder(answer_id, stores=True, after=starting_after)
        return Stream(encoding.frames(cursor, encoder.encode), media_type=MEDIA_TYPE, headers=HEADERS)

    @post(
        "/{response_id:str}/cancel",
        "Stop a response, in OpenAI's newer protocol",
        examples.RESPONSE | {"status": "cancelled"},
        "The response, with what there is of it.",
        errors=(404,),
        describe=failures.describe(to_openai),
    )
    async def cancel_response(
        self, database: Db, principal: By, supervisor: NamedDependency[AnswerSupervisor], response_id: ResponseId
    ) -> ResponseObject:
        """What it used until then is recorded. One that has ended stays as it is."""
        answer_id = read_id(response_id)
        await resuming.stop(database, supervisor.keeper, principal, answer_id)
        deadline = Deadline.after(CANCEL_S_MAX)
        while True:
            shown = await _show(database, supervisor.keeper, principal, answer_id)
            if shown.status != "in_progress" or deadline.passed:
                return shown
            await asyncio.sleep(LOOK_S)

    @delete(
        "/{response_id:str}",
        "Delete a response, in OpenAI's newer protocol",
        {"id": examples.RESPONSE["id"], "object": "response", "deleted": True},
        "Deleted, with its question.",
        errors=(404,),
        describe=failures.describe(to_openai),
    )
    async def delete_response(
        self, database: Db, principal: By, supervisor: NamedDependency[AnswerSupervisor], response_id: ResponseId
    ) -> DeletedResponse:
        """One that is still being written is stopped. What it cost stays in the books."""
        answer_id = read_id(response_id)
        await resuming.stop(database, supervisor.keeper, principal, answer_id)
        await conversations.delete_answer(database, principal, answer_id)
        return DeletedResponse(response_id)


def read_id(response_id: str) -> UUID:
    """The answer's id. Raises `NotFound` for what is no id of a response."""
    digits = response_id.removeprefix(PREFIX)
    try:
        found = UUID(hex=digits)
    except ValueError:
        found = None
    if found is None or response_id != f"{PREFIX}{found.hex}":
        raise NotFound(f"no response {response_id}", hint="ids of responses begin with resp_")
    return found


async def _show(database: Database, keeper: AnswerKeeper, principal: Principal, answer_id: UUID) -> ResponseObject:
    _, stored, ended = await resuming.read(database, keeper, principal, answer_id)
    return openai_responses.show([encoding.restore(event) for event in stored], answer_id, ended=ended)
