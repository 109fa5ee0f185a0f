"""The bytes of each event, as a reader of server-sent events gets them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args
from uuid import UUID

import msgspec
import pytest

from api.chat.encoding import encode
from api.chat.schemas import (
    NAMES,
    ChatEvent,
    Citations,
    DoneEvent,
    ReasoningDelta,
    Reset,
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
from api.sse import KEEP_ALIVE
from api.watermarks import UNKNOWN
from connectors.llm import Tokens
from connectors.llm.sse import SseDecoder

ID = UUID("0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f")
EVENTS: list[ChatEvent] = [
    Start(ID, ID, ID, "extractive", "extractive", SearchFreshness(UNKNOWN), []),
    Sources([Source(1, "adr", ID, 3, "Title", "ADR-12", "default", f"/v1/adrs/{ID}", None, "Context", 0, 9)]),
    TextDelta("line\nbreak, “quotes” and data: [1]\r\n\r\n"),
    ReasoningDelta("They want", "c2ln"),
    ToolCallStart(0, "call_1", "search"),
    ToolCallDelta(0, '{"q":'),
    ToolRun("call_1", "read_adr", "done", '{"number":7}', [2]),
    Reset("overloaded", ID),
    Citations([1], [9]),
    UsageSpent(Tokens(1, 2, 3, 4, 5, 6), "provider", 0, None, 7),
    DoneEvent("stop", datetime(2026, 1, 15, 9, tzinfo=UTC)),
    Problem("urn:x", "X", 503, "dependency-unavailable", "detail", "/v1/chat/stream", "r"),
]


def test_one_byte_for_byte() -> None:
    assert encode(ID, 2, TextDelta("Because [1].")) == (
        b'id: 0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f.2\nevent: delta\ndata: {"text":"Because [1]."}\n\n'
    )


def test_every_event_has_a_name() -> None:
    assert set(NAMES) == set(get_args(ChatEvent)) == {type(event) for event in EVENTS}
    assert len(set(NAMES.values())) == len(NAMES)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_comes_back(event: ChatEvent) -> None:
    (read,) = SseDecoder().feed(KEEP_ALIVE + encode(ID, 5, event))
    assert (read.name, read.id) == (NAMES[type(event)], f"{ID}.5")
    assert msgspec.json.decode(read.data, type=type(event)) == event


def test_a_cost_that_is_not_known_is_null() -> None:
    (spent,) = [event for event in EVENTS if isinstance(event, UsageSpent)]
    assert b'"cost_micro_usd":null' in encode(ID, 0, spent)
