"""A process that has enough to begin: every route that begins an answer says so, in the words of its clients."""

from __future__ import annotations

import asyncio
from typing import Any

from prometheus_client import REGISTRY

from api.chat.starting import StartPacer
from runtime.settings import LimitSettings, LlmSettings, Settings
from tests.api.chat.test_limits import NONE, whole
from tests.api.search.corpus import Corpus
from tests.api.world import Caller, running
from tests.connectors.llm.stand_in import StandIn, standing_in

TURN: Any = [{"role": "user", "content": "Why no dual write?"}]
ROUTES: dict[str, Any] = {
    "/v1/chat/stream": {"question": "Why no dual write?"},
    "/v1/chat/completions": {"model": "m", "messages": TURN},
    "/v1/responses": {"model": "m", "input": "Why no dual write?"},
    "/v1/messages": {"model": "m", "messages": TURN, "max_tokens": 100},
    "/v1/drafts": {"task": "write", "brief": "Why nobody writes twice."},
}


def paced(settings: Settings, provider: StandIn, waiting_max: int) -> Settings:
    llm = {"provider": "openai", "model": "m", "base_url": f"{provider.url}/v1", "starts_waiting_max": waiting_max}
    update = {"llm": LlmSettings.model_validate(llm), "limits": LimitSettings.model_validate(NONE)}
    return settings.model_copy(update=update)


async def use_up(starts: StartPacer, caller: Caller) -> None:
    """Every turn of this beat."""
    while starts.free:
        (await starts.take(caller.tenant_id)).release()


def refusals() -> float:
    return REGISTRY.get_sample_value("adriatic_chat_starts_refused_total", {"reason": "unavailable"}) or 0.0


async def test_who_finds_no_turn_is_told_when_to_come_again_in_each_dialect(fresh_database: Settings) -> None:
    async with standing_in() as provider, running(paced(fresh_database, provider, 0)) as world:
        tenant = await world.tenant()
        starts: StartPacer = world.app.state.supervisor.starts
        await use_up(starts, tenant)
        starts.close()  # no beat: none of these turns is over
        before, bodies = refusals(), {}
        for path, question in ROUTES.items():
            answer = await tenant.post(path, question)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1"), (path, answer.text)
            bodies[path] = answer.json()
        assert refusals() == before + len(ROUTES)
        assert bodies["/v1/chat/stream"]["code"] == bodies["/v1/drafts"]["code"] == "dependency-unavailable"
        for path in ("/v1/chat/completions", "/v1/responses"):
            assert bodies[path]["error"]["code"] == "service_unavailable"
        assert bodies["/v1/messages"]["error"]["type"] == "overloaded_error"
        assert not provider.requests, "nobody was asked"


async def test_who_waits_begins_at_the_next_beat(fresh_database: Settings, corpus: Corpus) -> None:
    async with standing_in() as provider, running(paced(fresh_database, provider, 10)) as world:
        tenant = await world.tenant()
        provider.script = whole()
        await use_up(world.app.state.supervisor.starts, tenant)
        paths = ("/v1/chat/completions", "/v1/messages")
        answers = await asyncio.gather(*(tenant.post(path, ROUTES[path]) for path in paths))
        assert [answer.status_code for answer in answers] == [200, 200]
