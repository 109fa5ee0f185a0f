"""Tasks that start tasks: what one may take of the other, how deep, how many, and that both end together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from api.agents import sub_tasks
from api.agents.schemas import AgentBounds, AgentOrder, AgentSpent
from api.agents.sub_tasks import ParentTask, SubTaskCall, divide
from runtime.errors import BoundReached, Forbidden
from runtime.ids import new_id
from runtime.settings import Settings
from tests.api.agents.dying import Boundary, work_until
from tests.api.agents.world import Agency, Call, Turn, agency
from tests.api.search.corpus import Corpus

TOOLS = ["search_adrs", "read_adr", "propose_tag", "sub_task"]
PART = "What forbids a dual write?"
DEEPER = "Read ADR-1."
SEARCH: Call = ("search_adrs", {"query": "dual write"})
TAG: Call = ("propose_tag", {"adr": "ADR-1", "tag": "writes", "reason": "It is about writes."})
ANSWER = "It fails in the middle, says ADR-1 (adr://main/1)."


def start(goal: str = PART, **more: Any) -> Call:
    return ("sub_task", {"goal": goal, **more})


# --- what one gets of the other: pure -------------------------------------------------------------------------------


def parent(**more: Any) -> ParentTask:
    own = AgentBounds(steps=20, tokens=10_000, micro_usd=1_000, seconds=600)
    order = AgentOrder(["search_adrs", "sub_task"], None, own, "model")
    values: dict[str, Any] = {"depth": 0, "children": 0, "steps": 3, "seconds_left": 99.5, "request": order, **more}
    return ParentTask(new_id(), None, values.pop("request"), **values)


def test_it_gets_half_of_what_is_left_and_never_more_than_that_is() -> None:
    spent = AgentSpent(tokens=4_000, micro_usd=400)
    half = divide(parent(), spent, SubTaskCall(PART)).bounds
    assert half == AgentBounds(steps=8, tokens=3_000, micro_usd=300, seconds=99)
    most = divide(parent(), spent, SubTaskCall(PART, steps=500, tokens=10**6, micro_usd=10**9)).bounds
    assert (most.steps, most.tokens, most.micro_usd) == (15, 6_000, 600)
    less = divide(parent(), spent, SubTaskCall(PART, steps=2, tokens=50, micro_usd=7)).bounds
    assert (less.steps, less.tokens, less.micro_usd) == (2, 50, 7)


@pytest.mark.parametrize(
    ("more", "spent", "told"),
    [
        ({"depth": 2}, AgentSpent(0, 0), "2 levels deep"),
        ({"children": 5}, AgentSpent(0, 0), "has 5 sub-tasks, and at most 5"),
        ({"steps": 18}, AgentSpent(0, 0), "0 steps left"),
        ({}, AgentSpent(9_999, 0), "1 tokens left"),
        ({}, AgentSpent(0, 1_001), "0 micro_usd left"),
    ],
)
def test_where_nothing_is_left_it_says_what(more: dict[str, Any], spent: AgentSpent, told: str) -> None:
    with pytest.raises(BoundReached, match=told):
        divide(parent(**more), spent, SubTaskCall(PART))


def test_it_has_no_tool_that_its_parent_does_not_have() -> None:
    with pytest.raises(Forbidden, match="propose_tag"):
        divide(parent(), AgentSpent(0, 0), SubTaskCall(PART, tools=["search_adrs", "propose_tag"]))
    assert divide(parent(), AgentSpent(0, 0), SubTaskCall(PART, tools=["search_adrs"])).tools == ["search_adrs"]


# --- at work --------------------------------------------------------------------------------------------------------


@pytest.mark.stack
async def test_what_a_sub_task_finds_is_the_result_of_its_step(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, [[start()], f"So it is: {ANSWER}"]) as made:
        made.fake.by_goal = {
            PART: [[SEARCH, start(DEEPER, tools=["read_adr", "propose_tag"])], ANSWER],
            DEEPER: [[TAG], "Read."],
        }
        task = await made.run(tools=TOOLS, micro_usd=1_000_000)
        assert task["state"] == "succeeded", task["last_error"]
        (step,) = await sub_steps(made, task["task_id"])
        result = step["output"]["result"]
        assert (result["task_id"], result["state"], result["text"].strip()) == (step["step_id"], "succeeded", ANSWER)
        # Model, search, sub-task, model; and below it model, tag, model.
        assert result["steps"] == 7
        child = await made.read(result["task_id"])
        assert (child["parent_id"], child["goal"], child["steps"]) == (task["task_id"], PART, 4)
        (deeper,) = await sub_steps(made, result["task_id"])
        grandchild = await made.read(deeper["step_id"])
        assert grandchild["tools"] == ["read_adr", "propose_tag"]
        assert grandchild["bounds"]["steps"] <= child["bounds"]["steps"] - 4
        # What was read and proposed below is told above, and what was spent is counted there.
        (proposal,) = await made.proposals()
        assert task["result"]["proposals"] == [proposal["proposal_id"]]
        assert task["result"]["consulted"][0] == "adr://main/1"
        rows = await made.rows("select session_id, cost_micro_usd as cost from app.usage_events")
        assert {str(row["session_id"]) for row in rows} == {task["task_id"], child["task_id"], grandchild["task_id"]}
        assert task["spent"]["micro_usd"] == sum(row["cost"] for row in rows) > child["spent"]["micro_usd"]
        listed = (await made.caller.get("/v1/agents/tasks")).json()["items"]
        assert [each["task_id"] for each in listed] == [task["task_id"]], "what a person asked for"
        assert (await made.world.caller(made.caller.tenant_id, "grace").get(f"/v1/agents/tasks/{child['task_id']}")
                ).status_code == 404  # fmt: skip


@pytest.mark.stack
async def test_the_bounds_of_depth_and_number_are_told_to_the_model(
    fresh_database: Settings, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sub_tasks, "SUB_TASKS_MAX", 1)
    async with agency(fresh_database, corpus, [[start(), start("Again.")], "Done."]) as made:
        made.fake.by_goal = {PART: [[start(DEEPER)], "Done."], DEEPER: [[start("Further.")], "Done."]}
        task = await made.run(tools=TOOLS)
        assert task["state"] == "succeeded", task["last_error"]
        first, second = await sub_steps(made, task["task_id"])
        assert second["output"]["error"]["code"] == "bound-reached"
        assert "has 1 sub-tasks, and at most 1" in second["output"]["error"]["detail"]
        (below,) = await sub_steps(made, first["step_id"])
        (refused,) = await sub_steps(made, below["step_id"])
        assert "2 levels deep, and this is the last" in refused["output"]["error"]["detail"]
        assert len(await made.rows("select from app.agent_tasks")) == 3


@pytest.mark.stack
async def test_one_that_takes_all_steps_fails_and_its_parent_goes_on(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, [[start(steps=3)], "It did not find out."]) as made:
        made.fake.by_goal = {PART: [[SEARCH, SEARCH, SEARCH]]}
        task = await made.run(tools=TOOLS, steps=12)
        assert task["state"] == "succeeded", task["last_error"]
        (step,) = await sub_steps(made, task["task_id"])
        result = step["output"]["result"]
        assert (result["state"], result["steps"], result["text"]) == ("failed", 3, "")
        assert "at most 3 may be taken" in result["detail"]


@pytest.mark.stack
async def test_steps_of_sub_tasks_count_for_their_parent(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, [[start(steps=6)], "Done."]) as made:
        made.fake.by_goal = {PART: [[SEARCH, SEARCH, SEARCH, SEARCH], "Done."]}
        task = await made.run(tools=TOOLS, steps=9)
        # One, the sub-task with six, and then the last one, in which it has to answer.
        assert task["state"] == "succeeded", task["last_error"]
        assert task["steps"] == 3
        assert made.fake.bodies[-1]["tool_choice"] == "none"


@pytest.mark.stack
async def test_cancelled_it_ends_with_all_that_it_started(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, [[start()], "Never."]) as made:
        made.fake.by_goal = {PART: [[start(DEEPER)], "Never."]}
        made.fake.hangs_for = {DEEPER}
        task_id = await made.submit(tools=TOOLS)
        await made.soon(
            "select from app.agent_tasks t join app.attempts a on a.session_id = t.task_id where t.depth = 2"
        )
        answer = await made.caller.post(f"/v1/agents/tasks/{task_id}/cancel", None)
        assert answer.status_code == 200
        wanted = await made.rows(
            "select from app.jobs where kind = 'agent_task' and cancel_requested_at is null and finished_at is null"
        )
        assert wanted == [], "all are cancelled when the answer is there"
        await made.soon("select from app.jobs where kind = 'agent_task' having count(*) = count(finished_at)")
        jobs = await made.rows(
            "select state, extract(epoch from finished_at - cancel_requested_at)::float8 as took from app.jobs "
            "where kind = 'agent_task'"
        )
        assert [row["state"] for row in jobs] == ["cancelled"] * 3
        # A second where the machine has nothing else to do.
        assert max(row["took"] for row in jobs) < 5, jobs
        await made.soon("select from app.usage_events where outcome = 'cancelled'")
        assert len(await made.rows("select from app.outbox where topic = 'agent.task.completed'")) == 3


@pytest.mark.stack
async def test_its_time_ends_it_with_what_it_started_and_deleting_it_deletes_all(
    fresh_database: Settings, corpus: Corpus
) -> None:
    async with agency(fresh_database, corpus, [[start()], "Never."]) as made:
        made.fake.hangs_for = {PART}
        task = await made.run(tools=TOOLS, seconds=4)
        assert (task["state"], "longer than 4 s" in task["last_error"]["detail"]) == ("failed", True)
        await made.soon("select from app.jobs where kind = 'agent_task' having count(*) = count(finished_at)")
        states = await made.rows("select state from app.jobs where kind = 'agent_task' order by created_at")
        assert states[0]["state"] == "failed"
        assert states[1]["state"] in ("failed", "cancelled")
        assert (await made.caller.delete(f"/v1/agents/tasks/{task['task_id']}")).status_code == 204
        assert await made.rows("select from app.agent_tasks") == []


@pytest.mark.stack
@pytest.mark.crash
async def test_killed_around_its_start_there_is_one(fresh_database: Settings, corpus: Corpus) -> None:
    boundaries: Sequence[Boundary] = ("before", "begun", "acted", "over")
    turns: list[Turn] = [[start()], "Done."]
    async with agency(fresh_database, corpus, turns, works=False) as made:
        made.fake.by_goal = {PART: [ANSWER]}
        task_id = await made.submit(tools=TOOLS)
        assert await asyncio.to_thread(work_until, made.world.settings, task_id, "over") == -9
        for boundary in boundaries:
            await made.rows("update app.jobs set lease_until = now() where lease_until is not null")
            assert await asyncio.to_thread(work_until, made.world.settings, task_id, boundary) == -9
            assert len(await made.rows("select from app.agent_tasks")) <= 2
        await made.rows("update app.jobs set lease_until = now() where lease_until is not null")
        assert await asyncio.to_thread(work_until, made.world.settings, task_id, None) == 0
        task = await made.read(task_id)
        assert task["state"] == "succeeded", task["last_error"]
        (step,) = await sub_steps(made, task_id)
        assert step["output"]["result"]["text"].strip() == ANSWER
        children = await made.rows("select task_id::text from app.agent_tasks where parent_id is not null")
        assert [row["task_id"] for row in children] == [step["step_id"]]
        submitted = await made.rows("select from app.outbox where topic = 'agent.task.submitted'")
        assert len(submitted) == 2


async def sub_steps(made: Agency, task_id: str) -> list[dict[str, Any]]:
    return [step for step in await made.steps(task_id) if step["name"] == "sub_task"]
