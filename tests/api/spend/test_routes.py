"""`/v1/budgets`, and what a chat says and costs where there are budgets and prices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from api.spend.purse import PIECE_TOKENS
from runtime.ids import new_id
from runtime.settings import LlmSettings, Settings
from tests.api.chat.test_routes import QUESTION, ask, furnished, idle, ledger
from tests.api.search.corpus import Corpus
from tests.api.world import Caller, World, running
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import StandIn, standing_in

pytestmark = pytest.mark.stack

BUDGETS = "/v1/budgets"
PRICES = """
[[prices]]
provider = "openai"
model = "gpt-test-1"
valid_from = 2026-01-01
source = "made up"
read_on = 2026-01-01

[prices.rates]
input_uncached = 2_000_000
cache_read = 200_000
cache_write_5m = 2_000_000
cache_write_1h = 2_000_000
output_visible = 10_000_000
reasoning = 10_000_000
"""
COST = 325 * 2 + 1000 // 5 + (15 + 25) * 10
"""Of the recorded answer, in micro-USD."""


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    async with standing_in() as standing:
        standing.script = [recorded.OPENAI_START, recorded.openai_text("Because [1]."), recorded.OPENAI_END]
        yield standing


@asynccontextmanager
async def chatting(settings: Settings, server: StandIn, tmp_path: Path, prices: str = PRICES) -> AsyncIterator[World]:
    file = tmp_path / "prices.toml"
    file.write_text(prices)
    llm = LlmSettings(provider="openai", model="gpt-test-1", base_url=f"{server.url}/v1", prices=file)
    async with running(settings.model_copy(update={"llm": llm})) as world:
        yield world


async def limit(caller: Caller, micro_usd: int, period: str = "month", **more: str) -> dict[str, Any]:
    body = {"level": "org", "period": period, "limit_micro_usd": micro_usd, **more}
    response = await caller.put(BUDGETS, body)
    assert response.status_code == 200, response.text
    made: dict[str, Any] = response.json()
    return made


async def only(caller: Caller) -> dict[str, Any]:
    (budget,) = (await caller.get(BUDGETS)).json()["budgets"]
    found: dict[str, Any] = budget
    return found


# --- a chat -----------------------------------------------------------------------------------------------------------


async def test_an_answer_says_what_it_cost_and_so_do_the_ledger_and_the_budget(
    fresh_database: Settings, corpus: Corpus, server: StandIn, tmp_path: Path
) -> None:
    async with chatting(fresh_database, server, tmp_path) as world:
        caller = await furnished(world, corpus)
        await limit(caller, 1_000_000)
        _, data, _ = await ask(caller)
        assert data["usage"]["cost_micro_usd"] == COST
        (row,) = await ledger(world, caller)
        assert (row["cost_micro_usd"], row["unseen_cost_max_micro_usd"]) == (COST, 0)
        assert row["price_id"] == "openai/gpt-test-1/2026-01-01"
        budget = await only(caller)
        assert (budget["spent_micro_usd"], budget["reserved_micro_usd"]) == (COST, 0)
        assert budget["remaining_micro_usd"] == 1_000_000 - COST
        assert budget["begins"] < budget["resets_at"]


async def test_a_budget_that_is_used_up_is_a_problem_and_nobody_is_asked(
    fresh_database: Settings, corpus: Corpus, server: StandIn, tmp_path: Path
) -> None:
    async with chatting(fresh_database, server, tmp_path) as world:
        caller = await furnished(world, corpus)
        made = await limit(caller, 10, "day")
        response = await caller.post("/v1/chat/stream", QUESTION)
        assert response.status_code == 429
        problem = response.json()
        assert (problem["code"], problem["budget_id"]) == ("budget-exceeded", made["budget_id"])
        assert datetime.fromisoformat(problem["resets_at"]) == datetime.fromisoformat(made["resets_at"])
        assert problem["limit_micro_usd"] == 10
        assert "budget of the organisation for the day has 10 of 10" in problem["detail"]
        assert 1 <= int(response.headers["retry-after"]) <= 86_400
        assert not server.requests
        (row,) = await ledger(world, caller)
        assert (row["outcome"], row["code"], row["cost_micro_usd"]) == ("failed", "budget-exceeded", 0)
        await idle(world)
        assert (await only(caller))["remaining_micro_usd"] == 10, "what is refused uses up nothing"
        await limit(caller, 1_000_000, "day")
        assert (await ask(caller))[0][-1] == "done"


async def test_a_budget_that_ends_in_the_middle_ends_the_answer_with_its_usage_and_a_problem(
    fresh_database: Settings, corpus: Corpus, server: StandIn, tmp_path: Path
) -> None:
    server.script = [recorded.OPENAI_START, *[recorded.openai_text("word " * 32)] * 200, recorded.OPENAI_END]
    async with chatting(fresh_database, server, tmp_path) as world:
        caller = await furnished(world, corpus)
        made = await limit(caller, PIECE_TOKENS * 10 + 3_000, "prepaid")
        names, data, text = await ask(caller)
        assert names[-2:] == ["usage", "error"]
        assert (data["error"]["code"], data["error"]["status"]) == ("budget-exceeded", 429)
        assert data["error"]["budget_id"] == made["budget_id"]
        assert 0 < len(text) < 32 * 5 * 200
        (row,) = await ledger(world, caller)
        await idle(world)
        assert (row["outcome"], row["code"]) == ("failed", "budget-exceeded")
        assert row["cost_micro_usd"] == data["usage"]["cost_micro_usd"]
        budget = await only(caller)
        assert 0 < budget["spent_micro_usd"] == row["cost_micro_usd"] <= budget["limit_micro_usd"]
        assert (budget["reserved_micro_usd"], budget["resets_at"]) == (0, None)
        assert server.closed.is_set() or server.open == 0 or await _closed(server)


async def _closed(server: StandIn) -> bool:
    await server.closed.wait()
    return True


async def test_an_unknown_price_asks_nobody_where_a_budget_covers_it(
    fresh_database: Settings, corpus: Corpus, server: StandIn, tmp_path: Path
) -> None:
    async with chatting(fresh_database, server, tmp_path, PRICES.replace("gpt-test-1", "gpt-test-2")) as world:
        caller, free = await furnished(world, corpus), await furnished(world, corpus)
        await limit(caller, 1_000_000)
        response = await caller.post("/v1/chat/stream", QUESTION)
        assert (response.status_code, response.json()["code"]) == (403, "forbidden")
        assert "price of openai gpt-test-1 is not known" in response.json()["detail"]
        assert not server.requests
        _, data, _ = await ask(free)
        assert data["usage"]["cost_micro_usd"] is None
        (row,) = await ledger(world, free)
        assert (row["cost_micro_usd"], row["price_id"], row["unseen_cost_max_micro_usd"]) == (None, None, None)


async def test_what_asks_no_model_is_free_also_where_nothing_is_left(
    fresh_database: Settings, corpus: Corpus, server: StandIn, tmp_path: Path
) -> None:
    async with chatting(fresh_database, server, tmp_path) as world:
        caller = await furnished(world, corpus)
        await limit(caller, 0)
        names, data, _ = await ask(caller, question="zzyzx?")
        assert (names[-1], data["usage"]["cost_micro_usd"]) == ("done", 0)


# --- the routes -------------------------------------------------------------------------------------------------------


async def test_a_budget_is_set_changed_listed_and_removed(tenant: Caller) -> None:
    assert (await tenant.get(BUDGETS)).json() == {"budgets": []}
    first = await limit(tenant, 5_000_000)
    again = await limit(tenant, 7_000_000)
    assert again["budget_id"] == first["budget_id"]
    user = first["created_by"]
    await limit(tenant, 1, "day", level="user", subject=user.upper())
    await limit(tenant, 2, "prepaid", level="key", subject="web app")
    found = (await tenant.get(BUDGETS)).json()["budgets"]
    assert [(each["level"], each["subject"], each["period"], each["limit_micro_usd"]) for each in found] == [
        ("key", "web app", "prepaid", 2),
        ("org", "", "month", 7_000_000),
        ("user", user, "day", 1),
    ]
    for each in found:
        for status in (204, 404):
            assert (await tenant.delete(f"{BUDGETS}/{each['budget_id']}")).status_code == status
    assert (await tenant.get(BUDGETS)).json() == {"budgets": []}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"level": "org", "subject": "x"}, 400, "no subject"),
        ({"level": "user"}, 400, "needs a subject"),
        ({"level": "user", "subject": "ada"}, 400, "not the id of a user"),
        ({"level": "user", "subject": str(new_id())}, 404, "no user"),
        ({"level": "key"}, 400, "needs a subject"),
        ({"level": "key", "subject": "a\nb"}, 400, "one line"),
        ({"level": "team"}, 400, "level"),
        ({"period": "week"}, 400, "period"),
        ({"limit_micro_usd": -1}, 400, "limit_micro_usd"),
        ({"limit_micro_usd": 1.5}, 400, "limit_micro_usd"),
        ({"limit_micro_usd": 10**15 + 1}, 400, "limit_micro_usd"),
    ],
)
async def test_what_is_no_budget(tenant: Caller, body: dict[str, Any], status: int, says: str) -> None:
    response = await tenant.put(BUDGETS, {"level": "org", "period": "day", "limit_micro_usd": 1, **body})
    assert response.status_code == status, response.text
    assert says in response.text
    assert (await tenant.get(BUDGETS)).json() == {"budgets": []}


async def test_another_tenants_budget_cannot_be_removed(tenant: Caller, world: World) -> None:
    made = await limit(tenant, 1)
    other = await world.tenant()
    assert (await other.delete(f"{BUDGETS}/{made['budget_id']}")).status_code == 404
    assert (await other.get(BUDGETS)).json() == {"budgets": []}
    assert (await only(tenant))["budget_id"] == made["budget_id"]
