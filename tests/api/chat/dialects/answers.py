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


GROUNDED: list[ChatEvent] = [
    start(grounded=True),
    Sources([Source(1, "adr", ID, 3, "Nobody writes twice", "ADR-2", "main", f"/v1/adrs/{ID}", None, "Context", 0, 9)]),
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
ANSWERS = {"grounded": GROUNDED, "tools": TOOLS, "broken": BROKEN}
