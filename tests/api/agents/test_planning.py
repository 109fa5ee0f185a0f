"""What a task does next, from its steps alone."""

from __future__ import annotations

from typing import Any, get_args
from uuid import uuid4

import pytest

from api.agents import bounds, toolset
from api.agents.planning import CALLS_MAX, Asking, Calling, plan
from api.agents.schemas import AgentBounds, AgentOrder, AgentResult, AgentSpent, ToolName
from api.agents.transcript import StepRow, TaskRow, encode
from connectors.llm.prompts import Prompt, ToolResult
from runtime.errors import BoundReached

BOUNDS = AgentBounds(steps=40, tokens=10_000, micro_usd=1_000, seconds=600)
TASK = TaskRow(uuid4(), None, "Why?", AgentOrder(list(toolset.READS), None, BOUNDS, "model"), 600.0, wanted=True)


def said(number: int, *names: str, text: str = "") -> StepRow:
    calls = [{"call_id": f"{number}-{at}", "name": name, "arguments": "{}"} for at, name in enumerate(names)]
    output: dict[str, Any] = {"text": text, "calls": calls, "model": "m", "finish": "stop"}
    return StepRow(number, uuid4(), "model", "default", {}, output, "done")


def called(number: int, name: str) -> StepRow:
    return StepRow(number, uuid4(), "tool", name, {}, {"result": {"passages": []}}, "done")


def test_the_registry_has_what_a_task_can_name() -> None:
    assert set(get_args(ToolName)) == set(toolset.TOOLS)
    assert all(name.startswith("propose_") == tool.proposes for name, tool in toolset.TOOLS.items())
    assert [tool.name for tool in toolset.offer(["read_adr", "list_adrs"])] == ["read_adr", "list_adrs"]


def test_calls_are_done_one_after_the_other_then_the_model_is_asked_again() -> None:
    steps = [said(1, "search_adrs", "list_adrs")]
    assert plan(TASK, steps, 100) == Calling("search_adrs", "{}", "1-0")
    steps.append(called(2, "search_adrs"))
    assert plan(TASK, steps, 100) == Calling("list_adrs", "{}", "1-1")
    steps.append(called(3, "list_adrs"))
    asked = plan(TASK, steps, 100)
    assert isinstance(asked, Asking)
    assert [message.role for message in asked.prompt.messages] == ["user", "assistant", "user"]
    result = plan(TASK, [*steps, said(4, text="Because.")], 100)
    assert isinstance(result, AgentResult)
    assert result.text == "Because."


def test_too_many_calls_of_one_turn_are_refused_to_the_model() -> None:
    steps = [said(1, *["search_adrs"] * (CALLS_MAX + 2))]
    steps += [called(number, "search_adrs") for number in range(2, CALLS_MAX + 2)]
    asked = plan(TASK, steps, 100)
    assert isinstance(asked, Asking)
    results = [part for part in asked.prompt.messages[-1].parts if isinstance(part, ToolResult)]
    assert [part.failed for part in results] == [False] * CALLS_MAX + [True] * 2
    assert "ask again" in results[-1].text


def test_a_call_that_does_not_fit_is_not_made() -> None:
    prompt = Prompt("x" * 4_000, (), (), 8_000)
    # A thousand tokens are read, so that of ten thousand nine are left.
    free = AgentSpent(0, 0)
    assert bounds.fit(prompt, BOUNDS, free, [], prices_known=False).output_tokens_max == 8_000
    some = AgentSpent(5_000, 0)
    assert bounds.fit(prompt, BOUNDS, some, [], prices_known=False).output_tokens_max == 4_000
    with pytest.raises(BoundReached, match="took 8990 tokens, the next call would read some 1000"):
        bounds.fit(prompt, BOUNDS, AgentSpent(8_990, 0), [], prices_known=False)
    with pytest.raises(BoundReached, match="price of a model that may be asked is not known"):
        bounds.fit(prompt, BOUNDS, free, [None], prices_known=True)
    assert bounds.fit(prompt, BOUNDS, free, [None], prices_known=False).output_tokens_max == 8_000


def test_what_no_text_of_postgres_holds_is_replaced() -> None:
    assert encode({"a\0": ["b\0", r"\u0000"]}) == '{"a\ufffd":["b\ufffd","\\\\u0000"]}'
