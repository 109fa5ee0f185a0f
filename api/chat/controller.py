"""`/v1/chat/stream`: a question in, an answer as server-sent events out.

Owns what happens before the first byte: a problem response as long as nothing was shown, and a caller who hangs up
while nothing was. Refuses Litestar's `ServerSentEvent`, whose generator is not closed when a caller leaves early.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from litestar import Controller, Request, Response
from litestar.di import NamedDependency
from litestar.response import Stream

from api.chat import conversations, encoding, limits
from api.chat.answers import Answer
from api.chat.grounding import ground
from api.chat.ledger import Attempt
from api.chat.schemas import NAMES, ChatRequest
from api.chat.supervisor import AnswerSupervisor, Wishes
from api.edge import CLIENT_GONE
from api.routes import By, Db, body, post
from api.search.embedding import QueryEmbedder
from api.sse import HEADERS, MEDIA_TYPE
from runtime import metrics
from runtime.ids import new_id

EVENTS_EXAMPLE = """\
id: 0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f.2
event: delta
data: {"text":"Everything enters Kafka through the log [1]."}

"""
_DESCRIPTION = """Server-sent events: `start` (session, answer, attempt, provider, freshness), `sources` (numbered \
passages), `delta` (text), `reset` (what came so far is void: another attempt begins anew, for who asked for it), \
`citations` (checked against the sources), `usage`, and at last `done` or `error` (problem details)."""


class ChatController(Controller):
    """Answers stand on what the tenant's search finds; every number in them points to a source that exists."""

    path = "/v1/chat"
    tags = ("chat",)

    @post(
        "/stream",
        "Ask, and read the answer as it is written",
        EVENTS_EXAMPLE,
        _DESCRIPTION,
        answer=str,
        errors=(404, 413, 415, 429),
        media_type=MEDIA_TYPE,
        opt={"events": {name: event for event, name in NAMES.items()}},
    )
    async def stream_chat(
        self,
        request: Request[Any, Any, Any],
        database: Db,
        embedder: NamedDependency[QueryEmbedder],
        supervisor: NamedDependency[AnswerSupervisor],
        principal: By,
        data: Annotated[ChatRequest, body("Question", {"question": "Why no dual write?"})],
    ) -> Response[Any]:
        """Closing the connection stops the answer, unless `on_disconnect` is `keep`; what it used until then is
        recorded. A reader who was cut goes on with `GET /v1/chat/answers/{answer_id}/stream`.

        Until the first text an error is a problem response with its own status; afterwards it is the event `error`.
        """
        supervisor.admit(principal.tenant_id, data.model)
        before = await conversations.remember(database, principal, data.session_id)
        grounding = await ground(database, embedder, principal.tenant_id, data, before)
        attempt = Attempt(
            tenant_id=principal.tenant_id,
            user_id=principal.user_id,
            session_id=data.session_id or new_id(),
            attempt_id=new_id(),
            request_id=request.scope.get("state", {}).get("request_id", ""),
            path=request.scope["path"],
            key_id=principal.key_id,
        )
        wishes = Wishes(data.model, data.on_failure, data.on_disconnect)
        answer = supervisor.start(attempt, grounding, wishes)
        cursor = answer.open()
        if data.session_id is None:
            metrics.CHAT_SESSIONS.inc()
        try:
            began = await _await_first(request, answer)
        except BaseException:
            cursor.close()
            raise
        if not began:
            cursor.close()
            return Response(None, status_code=CLIENT_GONE)
        headers = HEADERS | limits.tell(answer.standings)
        return Stream(encoding.frames(cursor), media_type=MEDIA_TYPE, headers=headers)


async def _await_first(request: Request[Any, Any, Any], answer: Answer) -> bool:
    """True when there is something to show, False when the caller hung up before. Raises what went wrong."""
    first = asyncio.create_task(answer.first())
    gone = asyncio.create_task(_await_disconnect(request))
    try:
        await asyncio.wait({first, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not first.done():
            return False
        await first
        return True
    finally:
        for task in (first, gone):
            task.cancel()
        await asyncio.gather(first, gone, return_exceptions=True)


async def _await_disconnect(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
