"""`/v1/chat/answers` and `/v1/chat/sessions`: what was asked before, going on with an answer, and stopping one.

Owns the HTTP of it. Whatever is here is the caller's own: answers of other users of the tenant are not found.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, Response
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, PathParameter, QueryParameter
from litestar.response import Stream

from api import paging
from api.auth.roles import NEEDS_CHAT
from api.chat import conversations, encoding, resuming
from api.chat.controller import EVENTS_EXAMPLE
from api.chat.conversations import ChatAnswer, ChatSessionPage, ChatTurns
from api.chat.schemas import NAMES
from api.chat.supervisor import AnswerSupervisor
from api.chat.traces import AnswerTrace
from api.edge import HEAD_STATE
from api.routes import By, Db, delete, get, post
from api.sse import HEADERS, MEDIA_TYPE

EVENT_ID_CHARS_MAX = 64
"""A UUID, a dot, and the number of an event."""

AnswerId = Annotated[UUID, PathParameter(description="The answer's id, as the event `start` named it.")]
SessionId = Annotated[UUID, PathParameter(description="The conversation's id.")]
_LastEvent = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID",
        max_length=EVENT_ID_CHARS_MAX,
        description="The `id` of the last event that was seen: go on behind it. None: from the first event.",
    ),
]
_LastEventInQuery = Annotated[
    str | None,
    QueryParameter(max_length=EVENT_ID_CHARS_MAX, description="The same, for clients that cannot set headers."),
]

_SESSION = {
    "session_id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "title": "Why no dual write?",
    "answers": 2,
    "begun_at": "2026-01-15T09:00:03Z",
    "last_at": "2026-01-15T09:01:12Z",
}
_ANSWER: dict[str, Any] = {
    "answer_id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "session_id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "question": "Why no dual write?",
    "state": "completed",
    "text": "Everything enters Kafka through the log.",
    "sources": [],
    "citations": {"cited": [], "unsupported": []},
    "usage": None,
    "error": None,
    "begun_at": "2026-01-15T09:00:03Z",
    "ended_at": "2026-01-15T09:00:05Z",
    "withdrawn": 0,
}

_TRACE = {
    "answer_id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "trace_id": None,
    "complete": True,
    "stages": [
        {"name": "handle_chat_request", "within": None, "began_ms": 0.0, "took_ms": 412.6, "failed": False},
        {
            "name": "db_fetch_context",
            "within": "handle_chat_request",
            "began_ms": 0.3,
            "took_ms": 18.9,
            "failed": False,
        },
    ],
}


class AnswerController(Controller):
    """Answers are kept for `llm.kept_days`, for the user who asked."""

    path = "/v1/chat/answers"
    tags = ("chat",)
    opt = NEEDS_CHAT

    @get("/{answer_id:uuid}", "Read an answer", _ANSWER, "What there is of it.", errors=(404,))
    async def get_answer(
        self, database: Db, principal: By, supervisor: NamedDependency[AnswerSupervisor], answer_id: AnswerId
    ) -> ChatAnswer:
        """One that is still being written has the text so far, as far as this process knows it. One that stands on what
        was deleted since has no text: `withdrawn` says of how many sources, and they are `gone`."""
        found = await resuming.read(database, supervisor.keeper, principal, answer_id)
        return conversations.view(found.kept, found.events)

    @get(
        "/{answer_id:uuid}/stream",
        "Go on reading an answer",
        EVENTS_EXAMPLE,
        "The same events with the same ids as `POST /v1/chat/stream`, from the place that is asked for on.",
        answer=str,
        errors=(404,),
        media_type=MEDIA_TYPE,
        opt={"events": {name: event for event, name in NAMES.items()}},
    )
    async def resume_answer(
        self,
        request: Request[Any, Any, Any],
        database: Db,
        supervisor: NamedDependency[AnswerSupervisor],
        principal: By,
        answer_id: AnswerId,
        last_event: _LastEvent = None,
        last_event_id: _LastEventInQuery = None,
    ) -> Response[Any]:
        """Each event comes once and in order, whichever process writes the answer, and after it has ended too. When
        that process died, the last event is `error`; also when it stands on what was deleted since, with the code
        `gone` and without what was written."""
        after = resuming.read_place(answer_id, last_event or last_event_id)
        kept = await resuming.find(database, principal, answer_id)
        if request.scope["state"].get(HEAD_STATE):
            return Response(None, media_type=MEDIA_TYPE, headers=HEADERS)
        cursor = await resuming.open_cursor(request, database, supervisor.keeper, principal, kept, after)
        return Stream(encoding.frames(cursor), media_type=MEDIA_TYPE, headers=HEADERS)

    @get(
        "/{answer_id:uuid}/trace",
        "See where the time of an answer went",
        _TRACE,
        "Its stages, in the order in which they began.",
        errors=(404,),
    )
    async def get_answer_trace(
        self, principal: By, supervisor: NamedDependency[AnswerSupervisor], answer_id: AnswerId
    ) -> AnswerTrace:
        """The process that wrote the answer knows it, for a short while; a client that keeps its connection asks that
        one. Ask again until `complete`."""
        return supervisor.traces.find(principal, answer_id)

    @post(
        "/{answer_id:uuid}/stop",
        "Stop an answer",
        None,
        "It will stop, if it has not ended.",
        status=202,
        errors=(404,),
    )
    async def stop_answer(
        self, database: Db, principal: By, supervisor: NamedDependency[AnswerSupervisor], answer_id: AnswerId
    ) -> None:
        """Whoever reads it gets `error` with the code `stopped`; what it used until then is recorded. Stopping one that
        has ended changes nothing."""
        await resuming.stop(database, supervisor.keeper, principal, answer_id)

    @delete("/{answer_id:uuid}", "Delete an answer", None, "Deleted, with its question.", status=204, errors=(404,))
    async def delete_answer(
        self, database: Db, principal: By, supervisor: NamedDependency[AnswerSupervisor], answer_id: AnswerId
    ) -> None:
        """One that is still being written is stopped. What it cost stays in the books."""
        await resuming.stop(database, supervisor.keeper, principal, answer_id)
        await conversations.delete_answer(database, principal, answer_id)


class SessionController(Controller):
    """Conversations: answers with the same `session_id`, of one user."""

    path = "/v1/chat/sessions"
    tags = ("chat",)
    opt = NEEDS_CHAT

    @get("/", "List your conversations", {"items": [_SESSION], "next_cursor": None}, "The newest first.")
    async def list_sessions(
        self, database: Db, principal: By, limit: paging.Limit = paging.LIMIT_DEFAULT, cursor: paging.Cursor = None
    ) -> ChatSessionPage:
        """The one with the newest answer comes first."""
        return await conversations.list_sessions(database, principal, limit, cursor)

    @get(
        "/{session_id:uuid}",
        "Read a conversation",
        {"session_id": _SESSION["session_id"], "items": [_ANSWER]},
        "Its newest answers, the oldest of them first.",
        errors=(404,),
    )
    async def get_session(self, database: Db, principal: By, session_id: SessionId) -> ChatTurns:
        """There are at most 100 answers in it."""
        return await conversations.read_session(database, principal, session_id)

    @delete("/{session_id:uuid}", "Delete a conversation", None, "Deleted.", status=204, errors=(404,))
    async def delete_session(self, database: Db, principal: By, session_id: SessionId) -> None:
        """Everything that was asked and answered in it goes with it. What it cost stays in the books."""
        await conversations.delete_session(database, principal, session_id)
