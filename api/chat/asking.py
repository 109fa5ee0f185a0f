"""Turn a conversation into an answer that is being written, for clients that bring their own messages.

Owns the choice between a conversation that is grounded in the tenant's sources and one that goes to the model as it
stands. Refuses dialects: they make the prompt before, and read the answer after.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.params import HeaderParameter

from api.auth.users import Principal
from api.chat import caching, models
from api.chat.answers import Answer
from api.chat.grounding import Question, ground, read_question
from api.chat.responding import make_attempt, wait_for_turn
from api.chat.schemas import ChatRequest
from api.chat.supervisor import AnswerSupervisor, Wishes
from api.chat.traces import WHOLE
from connectors.llm.prompts import Prompt
from runtime import stages
from runtime.clock import Clock
from runtime.settings import LlmSettings, Settings

CacheControl = Annotated[
    str | None,
    HeaderParameter(
        name="Cache-Control",
        description="`no-cache`: ask anew, though the same prompt had an answer before. `max-age`: of the last so many "
        "seconds only. `no-store`: ask anew, and give the answer to nobody else.",
    ),
]


class AskedFor(msgspec.Struct, frozen=True):
    """What a request says beside its conversation: which answers of before will do, whether this one can be read again,
    and whether it goes on when nobody reads it."""

    cache_control: str | None = None
    keeps: bool = False
    goes_on: bool = False


class Asker:
    """One request's way to an answer."""

    def __init__(self, request: Request[Principal, Any, State], state: State) -> None:
        settings: Settings = state.settings
        clock: Clock = state.clock
        self.settings: LlmSettings = settings.llm
        self.asked_at_s = int(clock.now().timestamp())
        """Seconds since 1970."""
        self._request = request
        self._state = state

    async def ask(self, model: str, conversation: Prompt, asked: AskedFor) -> Answer:
        """The answer, which has begun to be written. Raises `NotFound` for a model that is none, and what
        `wait_for_turn` and `ground` raise; then nobody was asked."""
        stages.begin_record(WHOLE)
        models.require_known(self.settings, model)
        supervisor: AnswerSupervisor = self._state.supervisor
        route = models.find_route(self.settings, model)
        cache = caching.read_policy(asked.cache_control)
        wishes = Wishes(route, on_disconnect="keep" if asked.goes_on else "stop", cache=cache)
        async with wait_for_turn(self._request, supervisor, self._request.user, wishes.model):
            question = await self._ground(conversation) if model == models.GROUNDED else Question(conversation)
            if asked.keeps:
                question = msgspec.structs.replace(question, kept_as=read_question(conversation))
            return supervisor.start(make_attempt(self._request, self._request.user, None), question, wishes)

    async def _ground(self, conversation: Prompt) -> Question:
        asked = ChatRequest(read_question(conversation))
        with stages.measure("db_fetch_context"):
            found = await ground(self._state.database, self._state.embedder, self._request.user.tenant_id, asked)
        return Question(found.weave(conversation), found)
