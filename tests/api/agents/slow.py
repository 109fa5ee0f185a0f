"""A task with two levels of tasks below it, whose last one is at a slow tool or a slow model, and its cancel."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Literal

from api.agents.toolset import AgentTools, ToolCaller, ToolReading
from api.db import tenant_transaction
from tests.api.agents.world import Agency, Turn

Slow = Literal["tool", "model"]
TOOLS = ["search_adrs", "read_adr", "list_adrs", "sub_task"]
PART, DEEPER = "What forbids a dual write?", "Read ADR-1."
TURNS: list[Turn] = [[("sub_task", {"goal": PART})], "Never."]
SLEEPS = "select pg_sleep(600)"
_SLEEPERS = "select from pg_stat_activity where datname = current_database() and query = $1 and state = 'active'"
_ASKED = "select from app.agent_tasks t join app.attempts a on a.session_id = t.task_id where t.depth = 2"
_TOOK = """
  select state, extract(epoch from finished_at - cancel_requested_at)::float8 as took
  from app.jobs
  where kind = 'agent_task' and tenant_id = $1
"""
_OVER = "select from app.jobs where kind = 'agent_task' and tenant_id = $1 having count(*) = count(finished_at)"


@contextmanager
def sleeping_tool(sleeping: str) -> Iterator[None]:
    """A tool whose statement takes ten minutes."""
    run = AgentTools.run

    async def run_slowly(
        self: AgentTools, caller: ToolCaller, name: str, arguments: str, allowed: Collection[str]
    ) -> ToolReading | None:
        if name == sleeping:
            async with tenant_transaction(self.database, caller.tenant_id, read_only=True) as connection:
                await connection.execute("set local statement_timeout = 0")
                await connection.execute(SLEEPS)
        return await run(self, caller, name, arguments, allowed)

    AgentTools.run = run_slowly  # type: ignore[method-assign]
    try:
        yield
    finally:
        AgentTools.run = run  # type: ignore[method-assign]


async def cancel_while(made: Agency, slow: Slow) -> list[float]:
    """Cancel a task whose sub-task of a sub-task is at something slow. Of each of the three, seconds from the cancel to
    its end."""
    made.fake.by_goal = {PART: [[("sub_task", {"goal": DEEPER})], "Never."], DEEPER: [[("list_adrs", {})], "Never."]}
    made.fake.hangs_for = {DEEPER} if slow == "model" else set()
    task_id = await made.submit(tools=TOOLS)
    await (made.soon(_ASKED) if slow == "model" else made.soon(_SLEEPERS, SLEEPS))
    answer = await made.caller.post(f"/v1/agents/tasks/{task_id}/cancel", None)
    assert answer.status_code == 200, answer.text
    tenant_id = made.caller.tenant_id
    await made.soon(_OVER, tenant_id)
    jobs = await made.rows(_TOOK, tenant_id)
    assert [row["state"] for row in jobs] == ["cancelled"] * 3, jobs
    # Nothing of it goes on: neither the statement nor the answer.
    await made.soon(f"select where not exists ({_SLEEPERS})", SLEEPS)
    await made.soon(f"select where not exists ({_ASKED})")
    return [row["took"] for row in jobs]
