"""`/v1/chat/stream`: a question in, an answer as server-sent events out.

Owns the route and its documentation. What happens until the first byte is in `responding.py`; the routes of other
clients' protocols are in `dialects`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from litestar import Controller, Request, Response
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from api.auth.roles import NEEDS_CHAT
from api.chat import caching, conversations
from api.chat.asking import CacheControl
from api.chat.dialects import ai_sdk
from api.chat.dialects.ai_sdk import UiMessageEncoder
from api.chat.grounding import Question, ground
from api.chat.responding import make_attempt, stream, wait_for_turn
from api.chat.schemas import NAMES, ChatRequest
from api.chat.supervisor import AnswerSupervisor, Wishes
from api.chat.tools import Toolbox
from api.chat.traces import WHOLE
from api.routes import By, Db, body, post
from api.search.embedding import QueryEmbedder
from api.sse import MEDIA_TYPE
from runtime import stages
from runtime.settings import Settings

EVENTS_EXAMPLE = """\
id: 0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f.2
event: delta
data: {"text":"Everything enters Kafka through the log [1]."}

"""
_DESCRIPTION = """Server-sent events: `start` (session, answer, attempt, provider, freshness), `sources` (numbered \
passages), `delta` (text), `reasoning`, `call` and `call_delta` (what the model thinks, and which tools it wants \
called), `tool` (with `tools`: what is looked up for the model; `sources` comes again when it found more), `reset` \
(what came so far is void: another attempt begins anew, for who asked for it), `citations` (checked against the \
sources), `usage`, and at last `done` or `error` (problem details). With `protocol=ai-sdk`: the chunks of a UI message \
stream, without names."""


class ChatController(Controller):
    """Answers stand on what the tenant's search finds; every number in them points to a source that exists."""

    path = "/v1/chat"
    tags = ("chat",)
    opt = NEEDS_CHAT

    @post(
        "/stream",
        "Ask, and read the answer as it is written",
        EVENTS_EXAMPLE,
        _DESCRIPTION,
        answer=str,
        errors=(404, 413, 415, 429),
        media_type=MEDIA_TYPE,
        opt={"events": {name: event for event, name in NAMES.items()}, "bare": True},
    )
    async def stream_chat(
        self,
        request: Request[Any, Any, Any],
        database: Db,
        embedder: NamedDependency[QueryEmbedder],
        supervisor: NamedDependency[AnswerSupervisor],
        principal: By,
        settings: NamedDependency[Settings],
        data: Annotated[ChatRequest, body("Question", {"question": "Why no dual write?"})],
        protocol: Annotated[
            Literal["adriatic", "ai-sdk"],
            QueryParameter(
                description="How the answer is told: `adriatic`, the events below; `ai-sdk`, the UI message stream of "
                "the AI SDK (`useChat`, `readUIMessageStream`)."
            ),
        ] = "adriatic",
        cache_control: CacheControl = None,
    ) -> Response[Any]:
        """Closing the connection stops the answer, unless `on_disconnect` is `keep`; what it used until then is
        recorded. A reader who was cut goes on with `GET /v1/chat/answers/{answer_id}/stream`.

        An answer that the same prompt, with the same passages, got in this tenant within `llm.cache_s` is given again:
        it costs nothing, and `Cache-Status` says `hit`.

        Until the first text an error is a problem response with its own status; afterwards it is the event `error`.
        """
        stages.begin_record(WHOLE)
        toolbox = Toolbox(database, embedder, principal.tenant_id) if data.tools else None
        # A client of the AI SDK cannot be told that what came so far is void.
        on_failure = data.on_failure if protocol == "adriatic" else "error"
        # What was looked up is part of the answer, and no part of the prompt that it would be found by.
        cache = caching.read_policy(cache_control) if data.cache and not toolbox else None
        wishes = Wishes(data.model, on_failure, data.on_disconnect, cache)
        async with wait_for_turn(request, supervisor, principal, data.model):
            with stages.measure("db_fetch_context"):
                before = await conversations.remember(database, principal, data.session_id)
                grounding = await ground(database, embedder, principal.tenant_id, data, before)
            prompt = grounding.prompt(settings.llm.output_tokens_max)
            question = Question(toolbox.offer(prompt) if toolbox else prompt, grounding, data.question)
            answer = supervisor.start(make_attempt(request, principal, data.session_id), question, wishes, toolbox)
        if protocol == "ai-sdk":
            return await stream(request, answer, UiMessageEncoder(answer.answer_id).encode, ai_sdk.HEADERS)
        return await stream(request, answer)
