"""A slow target and a second one, over real HTTP: who has content first answers, the other is stopped, and each is in
the books once, with what it had reserved given back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from connectors.llm.routing.retries import RetryBudget
from runtime.settings import Settings
from tests.api.chat.test_failover import HALF, WHOLE, Bench, fail_by, serving
from tests.api.chat.test_routes import QUESTION, Leaver, ask, ledger
from tests.api.search.corpus import Corpus
from tests.api.spend.test_routes import PRICES, limit, only
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import SILENT_S, Step
from tests.patience import PATIENCE_S, soon

pytestmark = pytest.mark.stack

SOON = {"hedge_after_ms": 50}
NEVER = {"hedge_after_ms": 600_000}
SILENT: list[Step] = [recorded.OPENAI_START, SILENT_S]
ROOM_MICRO_USD = 100_000_000


def list_prices(folder: Path) -> Path:
    """A price for each target."""
    file = folder / "prices.toml"
    file.write_text("".join(PRICES.replace("gpt-test-1", f"gpt-{name}") for name in "abc"))
    return file


async def check_all_is_back(bench: Bench) -> None:
    """No slot, lease or unsettled attempt is left, and no provider is read."""
    await soon(lambda: all(server.open == 0 for server in bench.servers), "the end of what providers send")
    for target in "abc"[: len(bench.servers)]:
        assert await bench.metric("adriatic_llm_in_flight", target=target) == 0
        assert await bench.metric("adriatic_llm_breaker_state", target=target) == 0
    async with bench.world.admin() as admin:
        assert await admin.fetchval("select count(*) from app.attempts") == 0
        assert await admin.fetchval("select count(*) from app.leases") == 0


@pytest.mark.parametrize("on_cancel", ["cancel", "drain"])
async def test_the_second_answers_for_a_first_that_says_nothing(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path, on_cancel: str
) -> None:
    target = {"on_cancel": on_cancel}
    async with serving(fresh_database, corpus, target=target, model=SOON, prices=list_prices(tmp_path)) as bench:
        slow, quick = bench.servers
        slow.script = [recorded.OPENAI_START, 1.0, recorded.openai_text("Too late."), recorded.OPENAI_END]
        quick.script = WHOLE
        before = await bench.metric("adriatic_llm_hedges_total", outcome="won")
        await limit(bench.caller, ROOM_MICRO_USD)
        names, data, text = await ask(bench.caller)
        assert names == ["start", "sources", "delta", "citations", "usage", "done"]
        assert text == "It fails [1]."
        rows = {str(row["attempt_id"]): row for row in await ledger(bench.world, bench.caller, 2)}
        winner = rows.pop(data["start"]["attempt_id"])
        (loser,) = rows.values()
        assert (winner["outcome"], winner["usage_source"], winner["price_id"]) == (
            *("completed", "provider"),
            "openai/gpt-b/2026-01-01",
        )
        assert (loser["outcome"], loser["code"]) == ("cancelled", "hedged")
        assert loser["cost_micro_usd"] > 0, "what it read was charged"
        assert loser["usage_source"] == ("provider" if on_cancel == "drain" else "estimated")
        assert [len(server.requests) for server in bench.servers] == [1, 1]
        budget = await only(bench.caller)
        assert budget["reserved_micro_usd"] == 0
        assert budget["spent_micro_usd"] == winner["cost_micro_usd"] + loser["cost_micro_usd"], "each is billed once"
        await check_all_is_back(bench)
        assert await bench.metric("adriatic_llm_hedges_total", outcome="won") == before + 1


async def test_the_first_answers_when_it_is_the_first_after_all(fresh_database: Settings, corpus: Corpus) -> None:
    async with serving(fresh_database, corpus, model=SOON) as bench:
        first, second = bench.servers
        first.script = [recorded.OPENAI_START, 1.0, *WHOLE[1:]]
        second.script = SILENT
        _, data, text = await ask(bench.caller)
        assert text == "It fails [1]."
        await soon(second.closed.is_set, "the end of the second")
        rows = {str(row["attempt_id"]): row for row in await ledger(bench.world, bench.caller, 2)}
        assert rows.pop(data["start"]["attempt_id"])["outcome"] == "completed"
        assert [row["code"] for row in rows.values()] == ["hedged"]
        await check_all_is_back(bench)


async def test_nobody_else_is_asked_while_the_first_is_in_time(fresh_database: Settings, corpus: Corpus) -> None:
    async with serving(fresh_database, corpus, model=NEVER) as bench:
        first, second = bench.servers
        first.script = WHOLE
        assert (await ask(bench.caller))[2] == "It fails [1]."
        assert not second.requests
        await ledger(bench.world, bench.caller, 1)
        fail_by(first, "500")
        second.script = WHOLE
        assert (await ask(bench.caller))[2] == "It fails [1].", "a failure is followed at once"
        await ledger(bench.world, bench.caller, 3)


@pytest.mark.parametrize("failing", [0, 1])
async def test_one_that_fails_leaves_the_answer_to_the_other(
    fresh_database: Settings, corpus: Corpus, failing: int
) -> None:
    async with serving(fresh_database, corpus, model=SOON) as bench:
        bad, good = bench.servers[failing], bench.servers[1 - failing]
        bad.script = [recorded.OPENAI_START, 0.5, recorded.OPENAI_ERROR]
        good.script = [recorded.OPENAI_START, 1.5, *WHOLE[1:]]
        _, data, text = await ask(bench.caller)
        assert text == "It fails [1]."
        rows = {str(row["attempt_id"]): row for row in await ledger(bench.world, bench.caller, 2)}
        assert rows.pop(data["start"]["attempt_id"])["outcome"] == "completed"
        assert [(row["outcome"], row["code"]) for row in rows.values()] == [("failed", "dependency-unavailable")]
        assert [len(server.requests) for server in bench.servers] == [1, 1]
        await check_all_is_back(bench)


async def test_when_both_fail_the_third_is_asked_and_nobody_beside_it(fresh_database: Settings, corpus: Corpus) -> None:
    async with serving(fresh_database, corpus, 3, model=SOON) as bench:
        for server in bench.servers[:2]:
            server.script = [recorded.OPENAI_START, 0.5, recorded.OPENAI_ERROR]
        bench.servers[2].script = [recorded.OPENAI_START, 0.5, *WHOLE[1:]]
        assert (await ask(bench.caller))[2] == "It fails [1]."
        rows = await ledger(bench.world, bench.caller, 3)
        assert sorted(row["outcome"] for row in rows) == ["completed", "failed", "failed"]
        assert [len(server.requests) for server in bench.servers] == [1, 1, 1]


async def test_a_winner_that_breaks_off_is_begun_anew_for_who_wants_that(
    fresh_database: Settings, corpus: Corpus
) -> None:
    async with serving(fresh_database, corpus, 3, model=SOON) as bench:
        slow, breaks, whole = bench.servers
        slow.script, breaks.script, whole.script = SILENT, [*HALF, recorded.OPENAI_ERROR], WHOLE
        response = await bench.caller.post("/v1/chat/stream", {**QUESTION, "on_failure": "restart"})
        assert b"event: reset" in response.content
        assert b"It fails [1]." in response.content
        rows = await ledger(bench.world, bench.caller, 3)
        assert sorted((row["outcome"], row["code"]) for row in rows) == [
            ("cancelled", "hedged"),
            ("completed", ""),
            ("failed", "dependency-unavailable"),
        ]
        await check_all_is_back(bench)


@pytest.mark.parametrize("on_cancel", ["cancel", "drain"])
async def test_a_caller_who_leaves_and_a_stop_end_both(
    fresh_database: Settings, corpus: Corpus, on_cancel: str
) -> None:
    async with serving(fresh_database, corpus, target={"on_cancel": on_cancel}, model=SOON) as bench:
        for server in bench.servers:
            server.script = SILENT
        leaver = Leaver(bench.world, bench.caller)
        await soon(lambda: all(server.open == 1 for server in bench.servers), "two that are asked")
        if on_cancel == "cancel":
            leaver.left.set()
        else:  # an order to stop does not wait for a bill
            stop = {"state": "stopped", "reason": "A loop runs away."}
            assert (await bench.caller.put("/v1/spend/switch", stop)).status_code == 200
        await asyncio.wait_for(leaver.task, PATIENCE_S)
        await soon(lambda: all(server.open == 0 for server in bench.servers), "the end of both")
        rows = await ledger(bench.world, bench.caller, 2)
        outcomes = sorted((row["outcome"], row["code"]) for row in rows)
        assert outcomes == (
            [("cancelled", ""), ("cancelled", "")]
            if on_cancel == "cancel"
            else [("cancelled", ""), ("failed", "spend-stopped")]
        )
        await check_all_is_back(bench)


async def test_where_a_budget_has_room_for_one_the_first_goes_on(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    async with serving(fresh_database, corpus, model=SOON, prices=list_prices(tmp_path)) as bench:
        first, second = bench.servers
        first.script = [recorded.OPENAI_START, 1.0, *WHOLE[1:]]
        second.script = WHOLE
        await limit(bench.caller, 8_000)  # a piece of 512 tokens is 5 120
        _, data, text = await ask(bench.caller)
        assert text == "It fails [1]."
        assert not second.requests, "nobody is asked who has reserved nothing"
        rows = {str(row["attempt_id"]): row for row in await ledger(bench.world, bench.caller, 2)}
        assert rows.pop(data["start"]["attempt_id"])["outcome"] == "completed"
        (refused,) = rows.values()
        assert (refused["code"], refused["cost_micro_usd"]) == ("budget-exceeded", 0)
        await check_all_is_back(bench)


async def test_no_second_is_asked_when_too_many_were(
    fresh_database: Settings, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RetryBudget, "spend", lambda _: False)
    async with serving(fresh_database, corpus, model=SOON) as bench:
        first, second = bench.servers
        first.script = [recorded.OPENAI_START, 0.5, *WHOLE[1:]]
        before = await bench.metric("adriatic_llm_hedges_total", outcome="unavailable")
        assert (await ask(bench.caller))[2] == "It fails [1]."
        assert not second.requests
        assert await bench.metric("adriatic_llm_hedges_total", outcome="unavailable") == before + 1
        await ledger(bench.world, bench.caller, 1)


async def test_many_at_once_leave_nothing_behind(fresh_database: Settings, corpus: Corpus) -> None:
    words: list[Step] = [recorded.openai_text("word "), 0.02] * 5
    bounds: dict[str, Any] = {"streams_per_tenant_max": 100, "cache_s": 0}
    async with serving(fresh_database, corpus, model={"hedge_after_ms": 20}, **bounds) as bench:
        for server, pause_s in zip(bench.servers, (0.05, 0.03), strict=True):
            server.script = [recorded.OPENAI_START, pause_s, *words, recorded.OPENAI_END]
        leavers = [Leaver(bench.world, bench.caller) for _ in range(30)]
        for number, leaver in enumerate(leavers):
            await asyncio.sleep(0.01 * (number % 5))
            if number % 3:
                leaver.left.set()
        await asyncio.wait_for(asyncio.gather(*(leaver.task for leaver in leavers)), PATIENCE_S)
        supervisor = bench.world.app.state.supervisor
        await soon(lambda: not (supervisor._running or supervisor._settling), "the books")
        async with bench.world.admin() as admin:
            rows = await admin.fetch("select * from app.usage_events where tenant_id = $1", bench.caller.tenant_id)
        answered = [leaver for leaver in leavers if b"event: done" in leaver.sent]
        assert len(answered) >= 10
        # Who leaves in the moment in which an answer ends is not there to read its end.
        assert len([row for row in rows if row["outcome"] == "completed"]) >= len(answered)
        assert len(rows) >= sum(len(server.requests) for server in bench.servers), "each that was asked has its row"
        await check_all_is_back(bench)
