"""The chat with each provider's dialect, end to end: what the ledger has is what the fake provider would charge."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest

from connectors.llm.fake.requests import DialectName
from connectors.llm.fake.scripts import FakePace
from connectors.llm.fake.server import FakeLlm, listen
from connectors.llm.sse import SseDecoder
from runtime.settings import Settings
from tests.api.chat.test_routes import QUESTION, ask, chatting, furnished, ledger
from tests.api.search.corpus import Corpus
from tests.connectors.llm.stand_in import StandIn, standing_in
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.stack, pytest.mark.parametrize("dialect", get_args(DialectName))]

CHUNKS = 14
TEXT = "This is what a provider that is none has to say about it [1]. "


@pytest.fixture
async def fake() -> AsyncIterator[FakeLlm]:
    async with listen(FakeLlm("whole", FakePace(chunks=CHUNKS))) as running:
        yield running


def pointed(url: str, dialect: str, script: str) -> dict[str, Any]:
    base = f"{url}/v1" if dialect == "openai" else url
    return {"provider": dialect, "model": f"fake-{script}", "base_url": base, "api_key": "key"}


async def test_a_whole_answer_is_in_the_books_as_it_is_on_the_bill(
    fresh_database: Settings, corpus: Corpus, fake: FakeLlm, dialect: str
) -> None:
    async with chatting(fresh_database, **pointed(fake.url, dialect, "whole")) as world:
        caller = await furnished(world, corpus)
        names, data, text = await ask(caller)
        assert (names[-1], text, data["done"]["finish"]) == ("done", TEXT, "stop")
        assert data["citations"] == {"cited": [1], "unsupported": []}
        (row,), (bill,) = await ledger(world, caller), fake.bills.since(0)
        assert (row["provider"], row["model"], row["outcome"]) == (dialect, "fake-whole", "completed")
        assert (row["usage_source"], row["unseen_tokens_max"]) == ("provider", 0)
        assert (row["input_uncached"], row["output_visible"]) == (bill.input_tokens, bill.output_tokens)


async def test_what_breaks_is_no_whole_answer_and_its_bound_holds(
    fresh_database: Settings, corpus: Corpus, fake: FakeLlm, dialect: str
) -> None:
    async with chatting(fresh_database, **pointed(fake.url, dialect, "cut-end")) as world:
        caller = await furnished(world, corpus)
        response = await caller.post("/v1/chat/stream", QUESTION)
        events = list(SseDecoder().feed(response.content))
        assert [event.name for event in events][-2:] == ["usage", "error"]
        assert "broke off" in json.loads(events[-1].data)["detail"]
        (row,), (bill,) = await ledger(world, caller), fake.bills.since(0)
        assert row["outcome"] == "failed"
        seen = row["input_uncached"] + row["output_visible"]
        assert seen <= bill.input_tokens + bill.output_tokens <= seen + row["unseen_tokens_max"]


async def test_a_caller_who_leaves_closes_the_connection_and_the_bound_holds(
    fresh_database: Settings, corpus: Corpus, fake: FakeLlm, dialect: str
) -> None:
    async with chatting(fresh_database, **pointed(fake.url, dialect, "stall")) as world:
        caller = await furnished(world, corpus)
        asking = asyncio.create_task(caller.post("/v1/chat/stream", QUESTION))
        for _ in range(round(PATIENCE_S / 0.05)):
            if fake.bills.since(0):
                break
            await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        (row,) = await ledger(world, caller)
        (bill,) = fake.bills.since(0)
        assert (row["outcome"], bill.outcome) == ("cancelled", "client-gone")
        seen = row["input_uncached"] + row["output_visible"]
        assert bill.input_tokens + bill.output_tokens <= seen + row["unseen_tokens_max"]


async def test_a_wait_is_passed_on_in_whole_seconds(fresh_database: Settings, corpus: Corpus, dialect: str) -> None:
    async with standing_in() as refusing:
        refuse_for_now(refusing)
        async with chatting(fresh_database, **pointed(refusing.url, dialect, "whole")) as world:
            caller = await furnished(world, corpus)
            response = await caller.post("/v1/chat/stream", QUESTION)
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")


def refuse_for_now(refusing: StandIn) -> None:
    refusing.status, refusing.body, refusing.headers = 429, {"error": {"message": "no"}}, {"retry-after-ms": "1500"}
