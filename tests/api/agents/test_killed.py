"""A task whose worker is killed at every boundary of every step ends as one that nobody killed, and the books close."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from runtime.settings import Settings
from tests.api.agents.dying import BOUNDARIES, work_until
from tests.api.agents.world import Agency, Turn, agency
from tests.api.search.corpus import Corpus

pytestmark = [pytest.mark.stack, pytest.mark.crash]

STEPS = 20
TURNS: list[Turn] = [
    [("search_adrs", {"query": "dual write"})],
    [("read_adr", {"adr": "ADR-1"}), ("adr_history", {"adr": "ADR-1"})],
    [("propose_tag", {"adr": "ADR-1", "tag": "writes", "reason": "It is about writes."})],
    [("related_adrs", {"adr": "ADR-7"})],
    [("propose_link", {"adr": "ADR-7", "kind": "relates-to", "target": "ADR-1", "reason": "Both are about logs."})],
    [("list_adrs", {"limit": 5})],
    [("propose_adr", {"title": "One log", "body": "# One log\n\n## Decision\n\nOne.\n", "reason": "Nobody says so."})],
    [("read_adr", {"adr": "ADR-99"})],
    [("diff_adr", {"adr": "ADR-7"})],
    "Three things are proposed; see ADR-1 (adr://main/1).",
]
VARYING = ("as_of", "bytes", "tokens", "micro_usd")
TOOLS = [
    *("search_adrs", "read_adr", "adr_history", "related_adrs", "list_adrs", "diff_adr"),
    *("propose_adr", "propose_link", "propose_tag"),
]


async def test_killed_at_every_boundary_it_ends_as_if_nobody_had(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, TURNS, works=False) as made:
        settings = made.world.settings
        unbroken = await made.submit("Propose what is missing.", tools=TOOLS)
        assert await asyncio.to_thread(work_until, settings, unbroken, None) == 0
        whole = await _told(made, unbroken)
        asked = made.fake.bills.stats.requests
        assert len(whole["steps"]) == STEPS

        broken = await made.submit("Propose what is missing.", tools=TOOLS)
        deaths = 0
        while (await made.read(broken))["finished_at"] is None:
            # Step after step: before it is written down, behind that, and behind what it came to.
            code = await asyncio.to_thread(work_until, settings, broken, BOUNDARIES[deaths % 3])
            deaths += code == -9
            assert code in (0, -9)
            # Instead of waiting for it.
            await made.rows("update app.jobs set lease_until = now() where lease_until is not null")
        assert deaths == STEPS * len(BOUNDARIES)
        assert await _told(made, broken) == whole
        # Each side effect is there once, under the id of its step.
        for task_id in (unbroken, broken):
            proposals = await made.proposals(task_id=task_id)
            assert sorted(each["kind"] for each in proposals) == ["adr", "link", "tag"]
            made_by = {step["step_id"] for step in await made.steps(task_id)}
            assert {each["proposal_id"] for each in proposals} <= made_by
        # What was answered was not asked again, and the ledger has what the provider billed.
        assert made.fake.bills.stats.requests == 2 * asked
        await _require_closed_books(made)


async def test_killed_while_a_model_writes_it_is_asked_once_more(fresh_database: Settings, corpus: Corpus) -> None:
    async with agency(fresh_database, corpus, TURNS[:1] + TURNS[-1:], hangs_at=1, works=False) as made:
        settings = made.world.settings
        task_id = await made.submit(tools=TOOLS)
        working = asyncio.create_task(asyncio.to_thread(work_until, settings, task_id, "written"))
        assert await working == -9
        made.fake.hangs_at = None
        await made.rows("update app.jobs set lease_until = now()")
        assert await asyncio.to_thread(work_until, settings, task_id, None) == 0
        task = await made.read(task_id)
        assert task["state"] == "succeeded"
        assert [step["state"] for step in await made.steps(task_id)] == ["done"] * 3
        assert made.fake.bills.stats.requests == 3
        # The call that was lost is in the books with the most that it can have cost, until it is settled by that.
        (lost,) = await made.rows("select cost_max_micro_usd as most from app.attempts")
        settled = await made.rows("select sum(cost_micro_usd)::bigint as cost from app.usage_events")
        assert task["spent"]["micro_usd"] == lost["most"] + settled[0]["cost"]


async def _told(made: Agency, task_id: str) -> dict[str, Any]:
    """What a task came to, without ids and times."""
    task = await made.read(task_id)
    assert task["state"] == "succeeded", task["last_error"]
    mine = {step["step_id"] for step in await made.steps(task_id)}
    kept = ("number", "kind", "name", "state", "input", "output")
    steps = [_without({name: step[name] for name in kept}, mine) for step in await made.steps(task_id)]
    result = {name: value for name, value in task["result"].items() if name != "proposals"}
    return {"result": result, "steps": steps, "proposals": len(task["result"]["proposals"])}


def _without(value: Any, ids: set[str]) -> Any:
    """A step without what differs from run to run: ids of steps, the time as of which something was read, and the size
    of what has that in it."""
    if isinstance(value, dict):
        return {name: _without(each, ids) for name, each in value.items() if name not in VARYING}
    if isinstance(value, list):
        return [_without(each, ids) for each in value]
    return "a step" if isinstance(value, str) and value in ids else value


async def _require_closed_books(made: Agency) -> None:
    """Every call is settled, and the ledger has as many of them, and as many tokens, as the provider billed."""
    stats = made.fake.bills.stats
    assert await made.rows("select from app.attempts") == []
    (row,) = await made.rows(
        "select count(*) as calls, sum(input_uncached + cache_read)::bigint as read, "
        "sum(output_visible + reasoning)::bigint as written from app.usage_events where tenant_id = $1",
        UUID(str(made.caller.tenant_id)),
    )
    assert (row["calls"], row["read"], row["written"]) == (stats.requests, stats.input_tokens, stats.output_tokens)
