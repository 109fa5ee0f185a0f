"""Where the time of an answer went: stages of every way to ask, for the user who asked, and the metrics beside them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest

from api.chat import traces
from connectors.llm.fake.requests import DialectName
from connectors.llm.fake.scripts import FakePace
from connectors.llm.fake.server import FakeLlm, listen
from runtime.settings import Settings
from tests.api.chat.test_failover import WHOLE, fail_by, serving
from tests.api.chat.test_providers import pointed
from tests.api.chat.test_routes import ask, chatting, furnished, ledger
from tests.api.search.corpus import Corpus
from tests.api.world import Caller, World
from tests.patience import soon

pytestmark = pytest.mark.stack

OUR_STAGES = ["handle_chat_request", "db_fetch_context", "wait_for_slot", "validate_quota"]
PARTS = ["http_connect", "wait_for_first_token", "stream_tokens"]


@pytest.fixture
async def fake() -> AsyncIterator[FakeLlm]:
    async with listen(FakeLlm("whole", FakePace(chunks=14, gap_s=0.002))) as running:
        yield running


async def read(caller: Caller, answer_id: str) -> dict[str, Any]:
    """The trace, when the answer is settled."""
    found: list[dict[str, Any]] = []

    async def look() -> bool:
        response = await caller.get(f"/v1/chat/answers/{answer_id}/trace")
        assert response.status_code == 200, response.text
        found.append(response.json())
        return bool(found[-1]["complete"])

    while not await look():
        await soon(lambda: True)
    return found[-1]


async def figures(world: World, *names: str) -> list[float]:
    """Sums of metrics over their labels, as operators see them."""
    shown = (await world.http.get("/metrics")).text
    return [
        sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", shown, re.MULTILINE)) for name in names
    ]


@pytest.mark.parametrize("dialect", get_args(DialectName))
async def test_an_answer_of_a_provider_has_all_stages(
    fresh_database: Settings, corpus: Corpus, fake: FakeLlm, dialect: str
) -> None:
    async with chatting(fresh_database, **pointed(fake.url, dialect, "whole")) as world:
        caller = await furnished(world, corpus)
        _, data, _ = await ask(caller)
        found = await read(caller, data["start"]["answer_id"])
        call = f"call_{dialect}_api"
        assert [each["name"] for each in found["stages"]] == [*OUR_STAGES, call, *PARTS, "db_save_usage"]
        assert {each["name"] for each in found["stages"] if each["within"] == call} == set(PARTS)
        assert not any(each["failed"] for each in found["stages"])
        assert all(each["took_ms"] >= 0 for each in found["stages"])
        by_name = {each["name"]: each["began_ms"] for each in found["stages"]}
        assert list(by_name.values()) == sorted(by_name.values())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {}),
        ("/v1/responses", {}),
        ("/v1/messages", {"max_tokens": 100}),
    ],
)
async def test_other_clients_protocols_are_measured_too(
    fresh_database: Settings, corpus: Corpus, fake: FakeLlm, path: str, body: dict[str, Any]
) -> None:
    async with chatting(fresh_database, **pointed(fake.url, "openai", "whole")) as world:
        caller = await furnished(world, corpus)
        asked = "Why is a dual write forbidden?"
        said = {"input": asked} if path.endswith("responses") else {"messages": [{"role": "user", "content": asked}]}
        response = await caller.post(path, {"model": "adriatic", **said, **body})
        assert response.status_code == 200, response.text
        await ledger(world, caller)
        (((_, _, record), _),) = world.app.state.supervisor.traces._kept._kept.values()
        names = [stage.name for stage in record.stages]
        assert names == [*OUR_STAGES, "call_openai_api", *PARTS, "db_save_usage"]


async def test_passages_as_they_stand_have_no_parts_of_a_call(fresh_database: Settings, corpus: Corpus) -> None:
    async with chatting(fresh_database) as world:
        caller = await furnished(world, corpus)
        _, data, _ = await ask(caller)
        found = await read(caller, data["start"]["answer_id"])
        assert [each["name"] for each in found["stages"]] == [*OUR_STAGES, "call_extractive_api", "db_save_usage"]


async def test_an_attempt_that_failed_is_there_with_the_one_that_answered(
    fresh_database: Settings, corpus: Corpus
) -> None:
    async with serving(fresh_database, corpus) as bench:
        first, second = bench.servers
        fail_by(first, "500")
        second.script = WHOLE
        _, data, _ = await ask(bench.caller)
        found = await read(bench.caller, data["start"]["answer_id"])
        connects = [each["failed"] for each in found["stages"] if each["name"] == "http_connect"]
        assert connects == [True, False]
        assert sum(each["name"] == "db_save_usage" for each in found["stages"]) == 2


async def test_only_who_asked_sees_it_and_it_is_forgotten_in_time(
    fresh_database: Settings, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "TRACES_MAX", 2)
    async with chatting(fresh_database) as world:
        caller, stranger = await furnished(world, corpus), await world.tenant()
        colleague = world.caller(caller.tenant_id, "bob")
        _, data, _ = await ask(caller)
        path = f"/v1/chat/answers/{data['start']['answer_id']}/trace"
        assert [(await one.get(path)).status_code for one in (caller, colleague, stranger)] == [200, 404, 404]
        for _ in range(2):
            await ask(caller)
        gone = await caller.get(path)
        assert (gone.status_code, gone.json()["code"]) == (404, "not-found")
        assert "the process that wrote" in gone.json()["hint"]


async def test_the_figures_of_the_specification_move(fresh_database: Settings, corpus: Corpus, fake: FakeLlm) -> None:
    counted = ("ai_first_token_duration_ms_count", "ai_inter_token_duration_ms_count", "ai_tokens_total")
    made = ("ai_tokens_per_second_count", "ai_cost_total", "adriatic_chats_total")
    priced = {**pointed(fake.url, "openai", "whole"), "model": "gpt-4o-mini"}
    async with chatting(fresh_database, **priced) as world:
        caller = await furnished(world, corpus)
        budget = {"level": "org", "period": "month", "limit_micro_usd": 10_000_000}
        assert (await caller.put("/v1/budgets", budget)).status_code < 300
        before = await figures(world, *counted, *made)
        await ask(caller)
        (row,) = await ledger(world, caller)
        after = await figures(world, *counted, *made)
        assert all(now > then for then, now in zip(before, after, strict=True))
        assert after[4] - before[4] == pytest.approx(row["cost_micro_usd"] / 1_000_000)
        assert await figures(world, "adriatic_budget_leases_open", "adriatic_chats_active") == [0, 0]
