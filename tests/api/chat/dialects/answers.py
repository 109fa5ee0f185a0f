"""Answers as the supervisor writes them, for the tests of encoders: grounded, with tools and thoughts, broken."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from api.chat.schemas import (
    ChatEvent,
    Citations,
    DoneEvent,
    ReasoningDelta,
    Source,
    Sources,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    ToolRun,
    UsageSpent,
)
from api.problems import Problem
from api.search.schemas import SearchFreshness
from api.watermarks import UNKNOWN
from connectors.llm import Finish, Tokens

ID = UUID("0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f")
CREATED = 1_768_467_600
USAGE = UsageSpent(Tokens(25, 1000, 200, 100, 15, 5), "provider", 0, None, 7)


def start(*, grounded: bool) -> Start:
    return Start(ID, ID, ID, "openai", "gpt-test-1", SearchFreshness(UNKNOWN) if grounded else None, [])


def done(finish: Finish) -> DoneEvent:
    return DoneEvent(finish, datetime(2026, 1, 15, 9, tzinfo=UTC))


TWICE = Source(1, "adr", ID, 3, "Nobody writes twice", "ADR-2", "main", f"/v1/adrs/{ID}", None, "Context", 0, 9)
GROUNDED: list[ChatEvent] = [
    start(grounded=True),
    Sources([TWICE]),
    TextDelta("It fails\nin the middle"),
    TextDelta(" [1]. “é”"),
    Citations([1], [9]),
    USAGE,
    done("stop"),
]
TOOLS: list[ChatEvent] = [
    start(grounded=False),
    ReasoningDelta("They want "),
    ReasoningDelta("the weather."),
    ReasoningDelta("", "c2lnbmVk"),
    ReasoningDelta("Twice."),
    TextDelta("I look."),
    ToolCallStart(0, "call_a", "get_weather"),
    ToolCallDelta(0, '{"city":'),
    ToolCallStart(1, "call_b", "get_time"),
    ToolCallDelta(0, '"Split"}'),
    ToolCallDelta(1, "{}"),
    USAGE,
    done("tool-calls"),
]
BROKEN: list[ChatEvent] = [
    start(grounded=False),
    TextDelta("Half of"),
    USAGE,
    Problem(
        *("urn:adriatic:problem:dependency-unavailable", "Service Unavailable", 503, "dependency-unavailable"),
        *("openai broke off", "/v1/chat/completions", "r-1"),
        hint="ask again",
    ),
]
LOOKED_UP: list[ChatEvent] = [
    start(grounded=True),
    Sources([TWICE]),
    TextDelta("I look."),
    ToolCallStart(0, "call_a", "read_adr"),
    ToolCallDelta(0, '{"number":7}'),
    ToolCallStart(1, "call_b", "read_adr"),
    ToolCallDelta(1, '{"number":8}'),
    ToolRun("call_a", "read_adr", "begun", '{"number":7}'),
    ToolRun("call_a", "read_adr", "done", '{"number":7}', [2]),
    ToolRun("call_b", "read_adr", "begun", '{"number":8}'),
    ToolRun("call_b", "read_adr", "failed", '{"number":8}', error="there is no ADR 8 here"),
    Sources([TWICE, Source(2, "adr", ID, 1, "Test against a fake", "ADR-7", "main", None, None, "", 0, 9)]),
    TextDelta("A fake [2]."),
    Citations([2], []),
    USAGE,
    done("stop"),
]
"""An answer for which the gateway ran tools: of the protocols of others, only the AI SDK's is told one."""
ANSWERS = {"grounded": GROUNDED, "tools": TOOLS, "broken": BROKEN}
