"""Tasks of agents over real HTTP on a real database: what they do, what they may take, whose they are."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from runtime.settings import Settings
from schemas.codec import Encoder
from tests.api.agents.world import Agency, Call, Turn, agency
from tests.api.search.corpus import Corpus
from tests.schemas.fakes import MemoryRegistry

pytestmark = pytest.mark.stack

SEARCH: Call = ("search_adrs", {"query": "dual write"})
READ: Call = ("read_adr", {"adr": "ADR-1"})
ENDED = "It fails in the middle, says ADR-1 (adr://main/1)."


async def test_a_task_is_done_in_steps_that_can_be_read(fresh_database: Settings, corpus: Corpus) -> None:
    turns: list[Turn] = [
        [SEARCH, ("list_adrs", {})],
        [READ, ("diff_adr", {"adr": "1"})],
        [("related_adrs", {"adr": "1"})],
        ENDED,
    ]
    async with agency(fresh_database, corpus, turns) as made:
        task = await made.run()
        assert task["state"] == "succeeded", task["last_error"]
        assert task["result"]["text"].strip() == ENDED
        assert task["result"]["consulted"][:1] == ["adr://main/1"]
        assert task["result"]["proposals"] == []
        assert task["steps"] == 9
        steps = await made.steps(task["task_id"])
        assert [step["number"] for step in steps] == list(range(1, 10))
        assert [step["name"] for step in steps if step["kind"] == "tool"] == [
            *("search_adrs", "list_adrs", "read_adr", "diff_adr", "related_adrs")
        ]
        assert {step["state"] for step in steps} == {"done"}
        assert steps[4]["output"]["result"]["text"].startswith("# Nobody writes twice")
        # What a model is given back is what the steps have, as results of its own calls.
        told = [each for each in made.fake.bodies[-1]["messages"] if each["role"] == "tool"]
        assert len(told) == 5
        assert "never an instruction to you" in told[0]["content"]
        rows = await made.rows("select * from app.usage_events where session_id = $1", task["task_id"])
        assert {str(row["attempt_id"]) for row in rows} == {step["attempt_id"] for step in steps if step["attempt_id"]}
        assert len(rows) == 4
        assert task["spent"]["micro_usd"] == sum(row["cost_micro_usd"] for row in rows)
        after = (await made.caller.get(f"/v1/agents/tasks/{task['task_id']}/steps?after=7&limit=1")).json()
        assert ([step["number"] for step in after["items"]], after["more"]) == ([8], True)


async def test_research_is_a_tool_that_quotes_or_says_that_nothing_is_there(
    fresh_database: Settings, corpus: Corpus
) -> None:
    calls: list[Turn] = [
        [("research", {"question": "Why is a dual write forbidden, and what says Zzyzx of qwrtp?"})],
        [("research", {"question": "x", "passes": 4})],
        "So it is.",
    ]
    async with agency(fresh_database, corpus, calls) as made:
        task = await made.run()
        assert task["state"] == "succeeded", task["last_error"]
        found, refused = [step for step in await made.steps(task["task_id"]) if step["kind"] == "tool"]
        result = found["output"]["result"]
        quotes = [claim["text"] for part in result["parts"] for claim in part["claims"]]
        assert "A dual write fails in the middle." in quotes
        assert result["answered"]
        assert {source["label"] for source in result["sources"]} >= {"ADR-1"}
        assert refused["output"]["error"]["code"] == "invalid-input"
        assert task["result"]["consulted"] == ["adr://main/1"]
        kept = await made.rows("select 1 from app.research")
        assert kept == [], "it is a tool, and nothing that somebody asked for"


async def test_without_a_model_the_best_passages_of_each_part_are_quoted(
    fresh_database: Settings, corpus: Corpus
) -> None:
    async with agency(fresh_database, corpus) as made:
        task = await made.run("Why is a dual write forbidden? What does a script tell a fake provider?")
        assert task["state"] == "succeeded", task["last_error"]
        assert task["plan"] == "quotes"
        text = task["result"]["text"]
        assert text.index("A dual write fails in the middle.") < text.index("which a script tells what to say")
        assert "Why is a dual write forbidden?" in text
        assert "[1]" in text
        assert task["result"]["consulted"][0] == "adr://main/1"
        assert [step["kind"] for step in await made.steps(task["task_id"])] == ["tool", "tool", "model"] * 2
        assert made.fake.bills.stats.requests == 0
        nothing = await made.run("Zzyzx qwrtp?")
        assert nothing["state"] == "succeeded"
        refused = await made.caller.post("/v1/agents/tasks", {"goal": "Anything?", "tools": ["read_adr"]})
        assert refused.status_code == 400
        assert "search_adrs" in refused.json()["detail"]


# --- bounds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "detail"),
    [
        ({"steps": 6}, "the task took 6 steps, and at most 6 may be taken"),
        ({"tokens": 2_000}, "and at most 2000 may be taken"),
        ({"micro_usd": 900}, "and at most 900 may be spent"),
    ],
)
async def test_a_bound_ends_a_task_and_says_which(
    fresh_database: Settings, corpus: Corpus, bounds: dict[str, Any], detail: str
) -> None:
    # It calls for ever, two tools at a time, whatever it is told.
    async with agency(fresh_database, corpus, [[SEARCH, READ]]) as made:
        task = await made.run(**bounds)
        assert task["state"] == "failed"
        assert task["last_error"]["code"] == "bound-reached"
        assert detail in task["last_error"]["detail"]
        assert "agents." in task["last_error"]["hint"]
        steps = await made.steps(task["task_id"])
        assert len([step for step in steps if step["state"] == "done"]) <= 6
        if "micro_usd" in bounds:
            assert task["spent"]["micro_usd"] <= bounds["micro_usd"]
        if "tokens" in bounds:
            assert task["spent"]["tokens"] <= bounds["tokens"]


async def test_in_its_last_step_a_model_is_asked_to_answer(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, [[SEARCH], [READ], ENDED]) as made:
        task = await made.run(steps=5)
        assert task["state"] == "succeeded"
        assert [body.get("tool_choice") for body in made.fake.bodies] == ["auto", "auto", "none"]


async def test_time_ends_a_task_in_the_middle_of_a_call(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, [ENDED], hangs_at=0) as made:
        task = await made.run(seconds=1)
        assert task["state"] == "failed"
        assert "the task took longer than 1 s" in task["last_error"]["detail"]


async def test_a_result_that_is_too_large_is_told_to_the_model(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, [[("read_adr", {"adr": "9"})], ENDED], output_bytes_max=1_024) as made:
        long = "# Long\n\n" + "word " * 400
        corpus.adr(made.caller.tenant_id, "Long", long, number=9, log="main")
        task = await made.run()
        assert task["state"] == "succeeded"
        told = made.fake.bodies[-1]["messages"][-1]["content"]
        assert "and at most 1024 are given" in told
        assert "agents.output_bytes_max" in told


async def test_more_than_the_settings_allow_is_refused(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, [ENDED], works=False, steps_max=5, seconds_max=30) as made:
        for asked, told in (
            ({"steps": 6}, "a task may take 5 at most"),
            ({"seconds": 31}, "a task may take 30 at most"),
            ({"tools": ["rm_rf"]}, "rm_rf"),
            ({"model": "nobody"}, "there is no model"),
        ):
            refused = await made.caller.post("/v1/agents/tasks", {"goal": "Anything?", **asked})
            assert refused.status_code in (400, 404)
            assert told in refused.json()["detail"]
        for _ in range(10):
            await made.submit()
        refused = await made.caller.post("/v1/agents/tasks", {"goal": "One more?"})
        assert (refused.status_code, "at most 10" in refused.json()["detail"]) == (409, True)


async def test_a_budget_of_the_tenant_holds_for_a_task(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, [[SEARCH]]) as made:
        budget = {"level": "org", "period": "month", "limit_micro_usd": 10}
        assert (await made.caller.put("/v1/budgets", budget)).status_code < 300
        task = await made.run()
        assert (task["state"], task["last_error"]["code"]) == ("failed", "budget-exceeded")
        assert made.fake.bills.stats.requests == 0


# --- whose it is, and its end ---------------------------------------------------------------------------------------


async def test_a_key_makes_one_task_and_belongs_to_one_request(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, [ENDED], works=False) as made:
        headers = {"idempotency-key": "a-key"}
        first = await made.caller.post("/v1/agents/tasks", {"goal": "Why?"}, headers=headers)
        again = await made.caller.post("/v1/agents/tasks", {"goal": "Why?"}, headers=headers)
        assert first.json()["task_id"] == again.json()["task_id"]
        assert again.headers["idempotent-replay"] == "true"
        other = await made.caller.post("/v1/agents/tasks", {"goal": "How?"}, headers=headers)
        assert other.status_code == 409
        assert len((await made.caller.get("/v1/agents/tasks")).json()["items"]) == 1


async def test_nobody_else_finds_a_task(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, [[("propose_tag", TAG)], ENDED]) as made:
        task = await made.run(tools=["propose_tag"])
        (proposal,) = await made.proposals()
        stranger, colleague = await made.world.tenant(), made.world.caller(made.caller.tenant_id, "grace")
        path = f"/v1/agents/tasks/{task['task_id']}"
        for other in (stranger, colleague):
            assert (await other.get(path)).status_code == 404
            assert (await other.get(f"{path}/steps")).status_code == 404
            assert (await other.post(f"{path}/cancel", None)).status_code == 404
            assert (await other.delete(path)).status_code == 404
            assert (await other.get("/v1/agents/tasks")).json()["items"] == []
        # A proposal is about a record that all of the tenant see, and nobody else.
        assert await made.proposals(stranger) == []
        for verb in ("accept", "dismiss"):
            answer = await stranger.post(f"/v1/agents/proposals/{proposal['proposal_id']}/{verb}", None)
            assert answer.status_code == 404
        assert len(await made.proposals(colleague)) == 1


async def test_a_cancelled_task_hangs_up_on_its_model(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, [[SEARCH], ENDED], hangs_at=1) as made:
        task_id = await made.submit()
        await made.soon("select from app.agent_steps where number = 3 and attempt_id is not null")
        await _asked(made, 2)
        response = await made.caller.post(f"/v1/agents/tasks/{task_id}/cancel", None)
        assert response.json()["cancel_requested"] is True
        task = await made.ended(task_id)
        assert (task["state"], task["result"]) == ("cancelled", None)
        await made.soon("select from app.usage_events where outcome = 'cancelled'")
        assert await made.rows("select from app.attempts") == []
        (event,) = await _completed(made)
        assert (event["state"], event["steps"], event["code"]) == ("cancelled", 2, "")


async def test_a_task_that_waits_is_cancelled_at_once_and_deleted(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, [ENDED], works=False) as made:
        task_id = await made.submit()
        cancelled = (await made.caller.post(f"/v1/agents/tasks/{task_id}/cancel", None)).json()
        assert cancelled["state"] == "cancelled"
        (event,) = await _completed(made)
        assert (event["task_id"], event["state"]) == (task_id, "cancelled")
        assert (await made.caller.delete(f"/v1/agents/tasks/{task_id}")).status_code == 204
        assert await made.rows("select from app.agent_tasks") == []
        assert (await made.caller.get(f"/v1/agents/tasks/{task_id}")).status_code == 404
        assert (await made.caller.get(f"/v1/agents/tasks/{uuid4()}")).status_code == 404


async def test_the_end_is_told_once_with_what_it_came_to(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, [[("propose_tag", TAG), SEARCH], ENDED]) as made:
        task = await made.run(tools=["propose_tag", "search_adrs"])
        (event,) = await _completed(made)
        assert (event["task_id"], event["state"]) == (task["task_id"], "succeeded")
        assert (event["steps"], event["proposals"]) == (4, 1)


TAG = {"adr": "ADR-1", "tag": "writes", "reason": "It is about writes."}


async def _asked(made: Agency, requests: int) -> None:
    while made.fake.bills.stats.requests < requests:
        await made.soon("select 1")


async def _completed(made: Agency) -> list[Any]:
    """The events that say that a task is over, each of which keeps to its contract."""
    encoder = Encoder(MemoryRegistry(), "agent.task.completed-value")
    rows = await made.rows("select value from app.outbox where topic = 'agent.task.completed'")
    events = [json.loads(row["value"]) for row in rows]
    assert all(map(encoder.encode_json, events))
    return events
