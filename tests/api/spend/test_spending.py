"""`/v1/spend` over HTTP: two API processes on one database, a provider that is being read, and the books explained."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from connectors.llm.sse import SseDecoder
from dataflows.usage import LEDGER, Spent, Usage, UsageEffects
from runtime.ids import new_id
from runtime.settings import LlmSettings, Settings
from tests.api.chat.test_routes import QUESTION, ask, furnished, ledger
from tests.api.search.corpus import Corpus
from tests.api.spend.test_routes import COST, PRICES, chatting, limit
from tests.api.world import Caller, World, running
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import SILENT_S, StandIn, standing_in
from tests.patience import soon

pytestmark = pytest.mark.stack

SWITCH = "/v1/spend/switch"
OVERRIDES = "/v1/spend/overrides"
STOP = {"state": "stopped", "reason": "A loop runs away."}


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    async with standing_in() as standing:
        standing.script = [recorded.OPENAI_START, recorded.openai_text("Because [1]."), recorded.OPENAI_END]
        yield standing


@asynccontextmanager
async def two_processes(
    settings: Settings, server: StandIn, tmp_path: Path, **more: Any
) -> AsyncIterator[tuple[World, World]]:
    """Two supervisors, each with its own lease, pool and watch."""
    file = tmp_path / "prices.toml"
    file.write_text(PRICES)
    llm = LlmSettings(provider="openai", model="gpt-test-1", base_url=f"{server.url}/v1", prices=file, **more)
    settings = settings.model_copy(update={"llm": llm})
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(running(settings))
        two = await stack.enter_async_context(running(settings))
        yield one, two


def override_of(budget: dict[str, Any], micro_usd: int, hours: int = 1) -> dict[str, Any]:
    expires_at = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
    return {
        "budget_id": budget["budget_id"],
        "amount_micro_usd": micro_usd,
        "reason": "The release.",
        "expires_at": expires_at,
    }


def count_usage(settings: Settings) -> None:
    """What the flow `usage` does with all that is in the ledger."""
    with psycopg.connect(settings.postgres.dsn("flows")) as connection:
        rows = connection.execute(f"select {', '.join(LEDGER)} from app.usage_events").fetchall()
        Usage().apply(connection, UsageEffects(tuple(Spent(*row) for row in rows), (), ()))


# --- the switch -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_cancel", ["cancel", "drain"])
async def test_a_stop_through_one_process_ends_the_answers_of_another(
    on_cancel: str, fresh_database: Settings, corpus: Corpus, server: StandIn, tmp_path: Path
) -> None:
    server.script = [recorded.OPENAI_START, recorded.openai_text("Half of it "), SILENT_S]
    async with two_processes(fresh_database, server, tmp_path, on_cancel=on_cancel) as (one, two):
        caller = await furnished(one, corpus)
        there = two.caller(caller.tenant_id)
        other = await furnished(one, corpus)
        await limit(caller, 10_000_000)
        asked = [asyncio.create_task(caller.post("/v1/chat/stream", QUESTION)) for _ in range(2)]
        asked.append(asyncio.create_task(there.post("/v1/chat/stream", QUESTION)))
        untouched = asyncio.create_task(other.post("/v1/chat/stream", QUESTION))
        await soon(lambda: len(server.requests) == 4 and server.open == 4, "four questions")
        stopped = await there.put(SWITCH, STOP)
        assert (stopped.status_code, stopped.json()["state"]) == (200, "stopped"), stopped.text
        for response in await asyncio.gather(*asked):
            if response.status_code == 200:
                events = list(SseDecoder().feed(response.content))
                assert [event.name for event in events][-2:] == ["usage", "error"]
                problem = json.loads(events[-1].data)
            else:
                problem = response.json()
            assert (problem["status"], problem["code"]) == (403, "spend-stopped")
            assert "A loop runs away." in problem["detail"]
            assert "spend resume" in problem["hint"]
        await soon(lambda: server.open == 1, "the end of what the provider sends")
        assert not untouched.done(), "another tenant goes on"
        untouched.cancel()
        await asyncio.gather(untouched, return_exceptions=True)
        rows = await ledger(one, caller, 3)
        assert {(row["outcome"], row["code"]) for row in rows} == {("failed", "spend-stopped")}
        for process in (caller, there):
            refused = await process.post("/v1/chat/stream", QUESTION)
            assert (refused.status_code, refused.json()["code"]) == (403, "spend-stopped")
        assert len(server.requests) == 4, "nobody was asked"
        (budget,) = (await caller.get("/v1/budgets")).json()["budgets"]
        assert budget["reserved_micro_usd"] == 0
        assert budget["spent_micro_usd"] == sum(row["cost_micro_usd"] for row in rows), "billed once"
        assert (await caller.put(SWITCH, {"state": "running", "reason": "Mended."})).json()["state"] == "running"
        server.script = [recorded.OPENAI_START, recorded.openai_text("Because [1]."), recorded.OPENAI_END]
        assert (await ask(there))[0][-1] == "done"


async def test_an_answer_of_before_is_given_while_spending_is_stopped(
    fresh_database: Settings, corpus: Corpus, server: StandIn, tmp_path: Path
) -> None:
    async with two_processes(fresh_database, server, tmp_path, cache_s=600) as (one, _):
        caller = await furnished(one, corpus)
        await ask(caller)
        await ledger(one, caller)
        await soon(lambda: not one.app.state.supervisor._sharing._storing, "the answer that can be given again")
        assert (await caller.put(SWITCH, STOP)).status_code == 200
        names, data, text = await ask(caller)
        assert (names[-1], text, data["usage"]["usage_source"]) == ("done", "Because [1].", "cache")
        other = await caller.post("/v1/chat/stream", {"question": "Which dual write?"})
        assert (other.status_code, other.json()["code"]) == (403, "spend-stopped")
        assert len(server.requests) == 1, "nobody was asked"
        rows = await ledger(one, caller, 2)
        assert sorted((row["code"], row["cost_micro_usd"]) for row in rows) == [("", COST), ("spend-stopped", 0)]


async def test_a_budget_that_is_passed_by_far_stops_everything_until_it_is_raised(
    fresh_database: Settings, corpus: Corpus, server: StandIn, tmp_path: Path
) -> None:
    async with two_processes(fresh_database, server, tmp_path) as (one, two):
        caller = await furnished(one, corpus)
        there = two.caller(caller.tenant_id)
        budget = await limit(caller, 1_000_000)
        await ask(caller)
        await ledger(one, caller)
        server.script = [recorded.OPENAI_START, recorded.openai_text("Half of it "), SILENT_S]
        asked = asyncio.create_task(there.post("/v1/chat/stream", QUESTION))
        await soon(lambda: server.open == 1, "a question")
        await limit(caller, COST // 2)
        ended = await asked
        assert b"spend-stopped" in ended.content
        await soon(lambda: server.open == 0, "the end of what the provider sends")
        state = (await there.get(SWITCH)).json()
        assert (state["state"], state["stops"][0]["budget_id"]) == ("stopped", budget["budget_id"])
        refused = await there.put(SWITCH, {"state": "running", "reason": "Please."})
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        alerts = (await caller.get("/v1/spend/alerts")).json()["items"]
        assert [alert["percent"] for alert in alerts] == [110, 95, 85, 70]
        made = await caller.post(OVERRIDES, override_of(budget, 1_000_000))
        assert made.status_code == 201, made.text
        server.script = [recorded.OPENAI_START, recorded.openai_text("Because [1]."), recorded.OPENAI_END]
        assert (await ask(there))[0][-1] == "done"
        over = await caller.delete(f"{OVERRIDES}/{made.json()['override_id']}")
        assert (over.status_code, over.json()["in_force"]) == (200, False)
        assert (await there.post("/v1/chat/stream", QUESTION)).json()["code"] == "spend-stopped"
        (kept,) = (await there.get(OVERRIDES)).json()["items"]
        assert (kept["reason"], kept["amount_micro_usd"]) == ("The release.", 1_000_000)
        assert kept["created_by"] == kept["ended_by"] == budget["created_by"]


async def test_what_was_answered_before_costs_nothing_and_is_given_when_a_budget_is_used_up(
    fresh_database: Settings, corpus: Corpus, server: StandIn, tmp_path: Path
) -> None:
    async with two_processes(fresh_database, server, tmp_path, cache_s=600) as (one, two):
        caller = await furnished(one, corpus)
        there = two.caller(caller.tenant_id)
        await ask(caller)
        await ledger(one, caller)
        await limit(caller, COST)
        refused = await there.post("/v1/chat/stream", {"question": "Why is a dual write forbidden at all?"})
        assert (refused.status_code, refused.json()["code"]) == (429, "budget-exceeded")
        names, data, _ = await ask(there)
        assert (names[-1], data["usage"]["usage_source"], data["usage"]["cost_micro_usd"]) == ("done", "cache", 0)
        (budget,) = (await caller.get("/v1/budgets")).json()["budgets"]
        assert (budget["spent_micro_usd"], budget["reserved_micro_usd"]) == (COST, 0)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"state": "off"}, 400, "state"),
        ({"reason": " "}, 400, "reason"),
        ({"reason": "x" * 501}, 400, "reason"),
        ({"level": "user", "subject": str(new_id())}, 404, "no user"),
        ({"subject": "x"}, 400, "no subject"),
    ],
)
async def test_what_is_no_order(tenant: Caller, body: dict[str, Any], status: int, says: str) -> None:
    response = await tenant.put(SWITCH, {**STOP, **body})
    assert response.status_code == status, response.text
    assert says in response.text
    assert (await tenant.get(SWITCH)).json() == {"state": "running", "stops": [], "ended": []}


async def test_another_tenants_override_is_not_found(tenant: Caller, world: World) -> None:
    made = (await tenant.post(OVERRIDES, override_of(await limit(tenant, 1), 5))).json()
    other = await world.tenant()
    assert (await other.delete(f"{OVERRIDES}/{made['override_id']}")).status_code == 404
    assert (await other.post(OVERRIDES, override_of(made, 5))).status_code == 404, "nor is its budget"
    assert (await other.get(OVERRIDES)).json()["items"] == []
    without_zone = override_of(made, 5) | {"expires_at": "2030-01-01T00:00:00"}
    assert (await tenant.post(OVERRIDES, without_zone)).status_code == 400


async def test_without_a_database_nobody_says_that_nothing_is_stopped(lonely: World) -> None:
    response = await lonely.caller(new_id()).get(SWITCH)
    assert (response.status_code, response.json()["code"]) == (503, "dependency-unavailable")


# --- the books --------------------------------------------------------------------------------------------------------


async def test_counter_ledger_and_aggregate_are_explained_down_to_the_attempt(
    fresh_database: Settings, corpus: Corpus, server: StandIn, tmp_path: Path
) -> None:
    async with chatting(fresh_database, server, tmp_path) as world:
        caller = await furnished(world, corpus)
        budget = await limit(caller, 1_000_000)
        _, data, _ = await ask(caller)
        await ledger(world, caller)
        path = "/v1/spend/explanation"
        before = (await caller.get(path)).json()
        one = {"attempts": 1, "unpriced": 0, "cost_micro_usd": COST}
        none = {"attempts": 0, "unpriced": 0, "cost_micro_usd": 0}
        assert (before["ledger"], before["aggregate"], before["not_counted"]) == (one, none, one)
        assert (before["aggregate_drift_micro_usd"], before["counter_drift_micro_usd"]) == (0, 0)
        count_usage(fresh_database)
        today = (await caller.get(path, params={"period": "day"})).json()
        assert (today["ledger"], today["aggregate"], today["not_counted"]) == (one, one, none)
        assert today["aggregate_drift_micro_usd"] == 0
        long_ago = (await caller.get(path, params={"on": "2020-02-29"})).json()
        assert (long_ago["begins"], long_ago["ends"]) == ("2020-02-01T00:00:00Z", "2020-03-01T00:00:00Z")
        assert (long_ago["ledger"], long_ago["counters"]) == (none, [])
        for request_id in (data["start"]["attempt_id"], data["start"]["session_id"]):
            (attempt,) = (await caller.get(f"/v1/spend/requests/{request_id}")).json()["items"]
            assert attempt["attempt_id"] == data["start"]["attempt_id"]
            assert attempt["cost_micro_usd"] == attempt["repriced_micro_usd"] == attempt["counted_micro_usd"] == COST
            assert (attempt["state"], attempt["drift_micro_usd"], attempt["reserved_micro_usd"]) == ("settled", 0, 0)
            assert attempt["price_id"] == "openai/gpt-test-1/2026-01-01"
            assert [each["budget_id"] for each in attempt["budgets"]] == [budget["budget_id"]]
        other = await world.tenant()
        assert (await other.get(f"/v1/spend/requests/{data['start']['attempt_id']}")).status_code == 404
        assert (await other.get(path)).json()["ledger"] == none


async def test_an_attempt_in_flight_has_a_lease_and_no_cost(
    fresh_database: Settings, corpus: Corpus, server: StandIn, tmp_path: Path
) -> None:
    server.script = [recorded.OPENAI_START, recorded.openai_text("Half of it "), SILENT_S]
    async with chatting(fresh_database, server, tmp_path) as world:
        caller = await furnished(world, corpus)
        await limit(caller, 1_000_000)
        asked = asyncio.create_task(caller.post("/v1/chat/stream", QUESTION))
        await soon(lambda: server.open == 1, "a question")
        async with world.admin() as admin:
            attempt_id = await admin.fetchval("select attempt_id from app.attempts")
        (attempt,) = (await caller.get(f"/v1/spend/requests/{attempt_id}")).json()["items"]
        assert (attempt["state"], attempt["cost_micro_usd"], attempt["tokens"]) == ("in-flight", None, None)
        (counter,) = (await caller.get("/v1/spend/explanation")).json()["counters"]
        assert counter["reserved_micro_usd"] == counter["leases_micro_usd"] == attempt["reserved_micro_usd"] > 0
        await caller.put(SWITCH, STOP)
        await asked


async def test_books_that_are_apart_are_said_to_be(
    fresh_database: Settings, corpus: Corpus, server: StandIn, tmp_path: Path
) -> None:
    async with chatting(fresh_database, server, tmp_path) as world:
        caller = await furnished(world, corpus)
        await limit(caller, 1_000_000)
        await ask(caller)
        await ledger(world, caller)
        count_usage(fresh_database)
        async with world.admin() as admin:
            await admin.execute("update app.budget_windows set spent_micro_usd = spent_micro_usd + 7")
            await admin.execute("update mv.usage_by_day set cost_micro_usd = cost_micro_usd - 3")
        found = (await caller.get("/v1/spend/explanation")).json()
        assert (found["aggregate_drift_micro_usd"], found["counter_drift_micro_usd"]) == (-3, 7)
        assert found["counters"][0]["drift_micro_usd"] == 7
