"""The routes of other clients' protocols on a real database: without a key, with tools, and what stays the client's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from connectors.embedders.spaces import MODEL as EMBEDDER
from connectors.llm.extractive import NOTHING, OPENING
from connectors.llm.sse import SseDecoder
from runtime.setting_embedders import EmbedderSettings, EmbeddingModelSettings
from runtime.settings import Settings
from tests.api.chat.test_routes import chatting, furnished, idle
from tests.api.chat.test_routes import openai as behind
from tests.api.search.corpus import Corpus
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import StandIn, standing_in

pytestmark = pytest.mark.stack

ASKED = [{"role": "user", "content": "Why is a dual write forbidden?"}]


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    async with standing_in() as standing:
        yield standing


async def test_without_a_key_every_dialect_quotes_passages(fresh_database: Settings, corpus: Corpus) -> None:
    async with chatting(fresh_database) as world:
        caller = await furnished(world, corpus)
        assert [card["id"] for card in (await caller.get("/v1/models")).json()["data"]] == ["adriatic", EMBEDDER]
        body: dict[str, Any] = {"model": "adriatic", "max_tokens": 9}
        completion = (await caller.post("/v1/chat/completions", {**body, "messages": ASKED})).json()
        message = (await caller.post("/v1/messages", {**body, "messages": ASKED})).json()
        response = (await caller.post("/v1/responses", {"model": "adriatic", "input": ASKED})).json()
        text = completion["choices"][0]["message"]["content"]
        assert text.startswith(OPENING)
        assert message["content"][0]["text"] == response["output"][0]["content"][0]["text"] == text
        for answer in (completion, message, response):
            assert answer["citations"]["cited"] == [1, 2]
            assert [source["label"] for source in answer["sources"]] == ["ADR-2", "ADR-3"]
        nothing = await caller.post("/v1/responses", {"model": "adriatic", "input": "zzyzx?"})
        assert nothing.json()["output"][0]["content"][0]["text"] == NOTHING
        await idle(world)
        async with world.admin() as admin:
            kept = await admin.fetchval("select count(*) from app.answers where tenant_id = $1", caller.tenant_id)
        assert kept == 2, "a conversation is the client's, but a response can be read again"


async def test_the_ai_sdk_is_told_in_its_chunks(fresh_database: Settings, corpus: Corpus) -> None:
    async with chatting(fresh_database) as world:
        caller = await furnished(world, corpus)
        path = "/v1/chat/stream?protocol=ai-sdk"
        told = await caller.post(path, {"question": "Why is a dual write forbidden?"})
        assert told.headers["x-vercel-ai-ui-message-stream"] == "v1"
        *events, last = SseDecoder().feed(told.content)
        kinds = [json.loads(event.data)["type"] for event in events]
        assert kinds[:5] == ["start", "start-step", "source-document", "source-document", "text-start"]
        assert kinds[-4:] == ["data-citations", "data-usage", "finish-step", "finish"]
        assert last.data == b"[DONE]"
        refused = await caller.post("/v1/chat/stream?protocol=morse", {"question": "x"})
        assert refused.status_code == 400


async def test_a_model_with_tools_is_asked_though_nothing_was_found(
    fresh_database: Settings, corpus: Corpus, server: StandIn
) -> None:
    server.script = [recorded.OPENAI_START, recorded.openai_text("I look [3]."), recorded.OPENAI_END]
    tool = {"type": "function", "function": {"name": "look"}}
    body = {"model": "adriatic", "messages": [{"role": "user", "content": "zzyzx?"}]}
    async with chatting(fresh_database, **behind(server)) as world:
        caller = await furnished(world, corpus)
        without = (await caller.post("/v1/chat/completions", body)).json()
        assert without["choices"][0]["message"]["content"] == NOTHING
        assert not server.requests
        answer = (await caller.post("/v1/chat/completions", {**body, "tools": [tool]})).json()
        assert answer["choices"][0]["message"]["content"] == "I look."
        assert answer["citations"] == {"cited": [], "unsupported": [3]}


async def test_brackets_of_a_form_and_of_a_plain_answer_stay(
    fresh_database: Settings, corpus: Corpus, server: StandIn
) -> None:
    server.script = [recorded.OPENAI_START, recorded.openai_text('{"numbers":[7, 8]}'), recorded.OPENAI_END]
    async with chatting(fresh_database, **behind(server)) as world:
        caller = await furnished(world, corpus)
        form = {"response_format": {"type": "json_object"}}
        for more in ({"model": "adriatic", **form}, {"model": "gpt-test-1"}):
            answer = (await caller.post("/v1/chat/completions", {**more, "messages": ASKED})).json()
            assert json.loads(answer["choices"][0]["message"]["content"]) == {"numbers": [7, 8]}
            assert "citations" not in answer


async def test_a_key_in_anthropics_header_opens_only_what_takes_it(fresh_database: Settings, corpus: Corpus) -> None:
    async with chatting(fresh_database) as world:
        caller = await furnished(world, corpus)
        headers = {"x-api-key": caller.token}
        assert (await world.http.get("/v1/models", headers=headers)).status_code == 200
        assert (await world.http.get("/v1/adrs", headers=headers)).status_code == 401
        twice = [("x-api-key", caller.token), ("x-api-key", "another")]
        refused = await world.http.get("/v1/models", headers=twice)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "x-api-key")


async def test_a_model_with_a_slash_in_its_name_is_found(
    fresh_database: Settings, corpus: Corpus, server: StandIn
) -> None:
    async with chatting(fresh_database, **(behind(server) | {"model": "meta/llama-4"})) as world:
        caller = await world.tenant()
        assert (await caller.get("/v1/models/meta%2Fllama-4")).json()["id"] == "meta/llama-4"
        missing = await caller.get("/v1/models/nope")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


async def test_models_that_make_vectors_are_listed_and_no_chat(
    fresh_database: Settings, corpus: Corpus, server: StandIn
) -> None:
    small = EmbeddingModelSettings(name="small", model="text-embedding-3-small", dimension=8)
    settings = fresh_database.model_copy(update={"embedder": EmbedderSettings(models=(small,))})
    async with chatting(settings, **behind(server)) as world:
        caller = await world.tenant()
        cards = (await caller.get("/v1/models")).json()["data"]
        assert [(card["id"], card["uses"]) for card in cards] == [
            ("adriatic", ["chat", "embeddings"]),
            ("gpt-test-1", ["chat"]),
            (EMBEDDER, ["embeddings"]),
            ("small", ["embeddings"]),
        ]
        for card in cards:
            assert (await caller.get(f"/v1/models/{card['id']}")).json() == card
        refused = await caller.post("/v1/chat/completions", {"model": "small", "messages": ASKED})
        assert refused.status_code == 404
        assert "adriatic, gpt-test-1" in refused.json()["error"]["message"], "only what answers is offered"
        assert server.requests == []
