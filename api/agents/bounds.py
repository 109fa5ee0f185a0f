"""How much a task has taken, and whether what comes next still fits.

Owns the bounds of one task: steps, tokens, money, time. What was spent is asked of the books, not of the task: calls
that were lost with their process count as well, those that are not settled with the most that they can cost. A call is
made only if the most that it may take fits, and what it may write is cut to that. Refuses budgets of tenants, users and
keys, which hold beside these (`api/spend`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from api.agents.schemas import AgentBounds, AgentSpent
from api.db import Connection, Database, tenant_transaction, to_struct
from connectors.llm import BYTES_PER_TOKEN
from connectors.llm.prices import Price
from connectors.llm.prompts import Prompt
from runtime.errors import BoundReached

OUTPUT_TOKENS_MIN: Final = 16
"""Fewest tokens that are worth asking a model for."""
LOOKS: Final = 40
LOOK_S: Final = 0.05
"""How often, and how many seconds apart, it is looked whether this process's own calls are settled: two seconds. Those
that are not by then count with the most that they can cost."""

_SPENT: Final = """
  with recursive tree as (
    select $2::uuid as task_id
    union all
    select s.step_id
    from app.agent_steps s
    join tree on s.task_id = tree.task_id
    where s.tenant_id = $1 and s.kind = 'tool' and s.name = 'sub_task'
  )
  select
    (
      coalesce(
        sum(input_uncached + cache_read + cache_write_5m + cache_write_1h + output_visible + reasoning), 0
      )
    )::bigint as tokens,
    case when count(*) = count(cost_micro_usd) then coalesce(sum(cost_micro_usd), 0)::bigint end as micro_usd
  from (
    select
      input_uncached, cache_read, cache_write_5m, cache_write_1h, output_visible, reasoning, cost_micro_usd
    from app.usage_events
    where tenant_id = $1
      and session_id = any(array(select task_id from tree))
      and started_at >= (select created_at from app.agent_tasks where tenant_id = $1 and task_id = $2)
    union all
    select input_bytes / $3, 0, 0, 0, output_tokens_max, 0, cost_max_micro_usd
    from app.attempts
    where tenant_id = $1 and user_id = $4 and session_id = any(array(select task_id from tree))
  ) both_of_them
"""

_IN_FLIGHT: Final = """
  select exists (
    select
    from app.attempts
    where tenant_id = $1 and user_id = $2 and session_id = $3 and process_id = $4
  )
"""


async def read_spent(connection: Connection, tenant_id: UUID, user_id: UUID, task_id: UUID) -> AgentSpent:
    """What the books have of a task and of those that it started, which have the ids of its steps."""
    row = await connection.fetchrow(_SPENT, tenant_id, task_id, BYTES_PER_TOKEN, user_id)
    return to_struct(row, AgentSpent)


async def wait_until_settled(
    database: Database, tenant_id: UUID, user_id: UUID, task_id: UUID, process_id: UUID
) -> None:
    """Return when this process's own calls for a task are settled, or after a while."""
    for _ in range(LOOKS):
        async with tenant_transaction(database, tenant_id, read_only=True) as connection:
            if not await connection.fetchval(_IN_FLIGHT, tenant_id, user_id, task_id, process_id):
                return
        await asyncio.sleep(LOOK_S)


def require_step(bounds: AgentBounds, steps: int) -> None:
    """Raise `BoundReached` where no step is left. Pure."""
    if steps >= bounds.steps:
        raise BoundReached(
            f"the task took {steps} steps, and at most {bounds.steps} may be taken",
            hint="allow more steps (agents.steps_max), or ask for less; its steps can be read",
        )


def reach_time(bounds: AgentBounds) -> BoundReached:
    """The error of a task whose time is over. Pure."""
    return BoundReached(
        f"the task took longer than {bounds.seconds} s",
        hint="allow more seconds (agents.seconds_max), or ask for less; its steps can be read",
    )


def fit(
    prompt: Prompt, bounds: AgentBounds, spent: AgentSpent, prices: Sequence[Price | None], *, prices_known: bool
) -> Prompt:
    """The prompt, with as much output as the bounds leave. Raises `BoundReached` where they leave too little. `prices`
    are those of whoever may be asked. Pure."""
    read = -(-prompt.size_bytes // BYTES_PER_TOKEN)
    left = bounds.tokens - spent.tokens - read
    if left < OUTPUT_TOKENS_MIN:
        raise BoundReached(
            f"the task took {spent.tokens} tokens, the next call would read some {read}, and at most {bounds.tokens} "
            "may be taken",
            hint="allow more tokens (agents.tokens_max), or ask for less; its steps can be read",
        )
    written = min(prompt.output_tokens_max, left)
    if bounds.micro_usd is not None:
        written = min(written, _afford(prompt, bounds.micro_usd, spent, prices, written, prices_known=prices_known))
    return msgspec.structs.replace(prompt, output_tokens_max=written)


def _afford(
    prompt: Prompt,
    micro_usd: int,
    spent: AgentSpent,
    prices: Sequence[Price | None],
    wanted: int,
    *,
    prices_known: bool,
) -> int:
    """How many tokens may be written for what is left of the money."""
    if spent.micro_usd is None or None in prices:
        if prices_known:
            raise BoundReached(
                "the price of a model that may be asked is not known, so that no bound on money holds",
                hint="an operator adds the price (llm.prices), or the task is asked without micro_usd",
            )
        return wanted
    left = micro_usd - spent.micro_usd
    for tokens in (wanted, wanted // 2, wanted // 4, wanted // 8, OUTPUT_TOKENS_MIN):
        # No token is less than a byte, so that this is the most that it can cost.
        cost = max((price.cost_at_most(prompt.size_bytes, tokens) for price in prices if price), default=0)
        if cost <= left and tokens >= OUTPUT_TOKENS_MIN:
            return tokens
    raise BoundReached(
        f"the task cost {spent.micro_usd} micro-USD, the next call may cost {cost}, and at most {micro_usd} may be "
        "spent",
        hint="allow more micro_usd (agents.micro_usd_max), or ask for less; its steps can be read",
    )
