"""The rounds of an answer without a model: what is given back to whom, and how large it can get."""

from __future__ import annotations

import json
from uuid import UUID

import msgspec
import pytest

from api.chat.rounds import CALLS_MAX, RESULT_BYTES_MAX, SOURCES_FOUND_MAX, ToolRounds
from api.chat.schemas import Source, ToolRun
from api.chat.tools import RECORD_CHARS_MAX, Toolbox, ToolFinding
from connectors.llm import CallBegun, CallPiece, Delta, Done, Thought
from connectors.llm.prompts import Passage, Prompt, Reasoning, Text, ToolCall, ToolResult
from connectors.llm.routing.routes import EndpointKey


class Shelf(Toolbox):
    """A tool that always finds the same long text."""

    def __init__(self, text: str, count: int) -> None:
        self._found = (text, count)

    async def run(self, name: str, arguments: str) -> ToolFinding:
        text, count = self._found
        sources = [msgspec.structs.replace(SOURCE, version=number, char_end=len(text)) for number in range(count)]
        return ToolFinding(sources, tuple(Passage(0, "A title", "", text) for _ in range(count)))


SOURCE = Source(
    number=0,
    kind="adr",
    source_id=UUID(int=1),
    version=1,
    title="A title",
    label="ADR-1",
    log="default",
    path=None,
    document=None,
    heading="",
    char_start=0,
    char_end=1,
)
ENDPOINT, OTHER = EndpointKey("openai", "", "m", ""), EndpointKey("gemini", "", "m", "")


@pytest.mark.parametrize("text", ["word " * 10_000, '"\x01' * 30_000, "é" * RECORD_CHARS_MAX, "x"])
async def test_a_result_is_bounded_whatever_is_in_it(text: str) -> None:
    round_ = ToolRounds(Shelf(text, 5), [])
    round_.hear(CallBegun(0, "call", "search_adrs"))
    round_.hear(Done("tool-calls"))
    async for _ in round_.run(ENDPOINT):
        pass
    extended = round_.extend(Prompt("", (), (), 10))
    (result,) = extended.messages[-1].parts
    assert isinstance(result, ToolResult)
    assert len(result.text.encode()) <= RESULT_BYTES_MAX
    told = json.loads(result.text)
    assert [each["source"] for each in told] == [1, 2, 3, 4, 5]
    assert all(text.startswith(each["text"]) and each["text"] for each in told)
    assert {each["cut"] for each in told} == {len(text) > 1}


async def test_sources_of_an_answer_are_bounded() -> None:
    round_ = ToolRounds(Shelf("x", 1_000), [])
    round_.hear(CallBegun(0, "call", "search_adrs"))
    round_.hear(Done("tool-calls"))
    async for _ in round_.run(ENDPOINT):
        pass
    assert [source.number for source in round_.sources] == [*range(1, SOURCES_FOUND_MAX + 1)]


def test_calls_of_all_rounds_are_numbered_on_and_named_apart() -> None:
    round_ = ToolRounds(Shelf("x", 1), [])
    assert round_.hear(CallBegun(0, "call_0", "read_adr")) == CallBegun(0, "call_0", "read_adr")
    round_.hear(CallBegun(1, "call_1", "read_adr"))
    round_.begin_turn()
    again = round_.hear(CallBegun(0, "call_0", "read_adr"))
    assert isinstance(again, CallBegun)
    assert again.index == 2
    assert again.call_id not in ("call_0", "call_1")
    assert round_.hear(CallPiece(0, "{}")) == CallPiece(2, "{}")


async def test_thoughts_go_back_to_whoever_had_them_alone() -> None:
    round_ = ToolRounds(Shelf("x", 1), [])
    for event in (
        *(Thought("They ", ""), Thought("ask.", ""), Thought("", "signed"), Delta("I "), Delta("look.")),
        *(CallBegun(0, "call", "search_adrs"), Done("tool-calls")),
    ):
        round_.hear(event)
    async for _ in round_.run(ENDPOINT):
        pass
    asked = Prompt("", (), (), 10)
    said = (Text("I look."), ToolCall("call", "search_adrs", "{}"))
    assert round_.extend(asked, ENDPOINT).messages[0].parts == (Reasoning("They ask.", "signed"), *said)
    assert round_.extend(asked, OTHER).messages[0].parts == said


async def test_more_calls_than_are_run_in_one_turn_are_refused() -> None:
    round_ = ToolRounds(Shelf("x", 1), [])
    for number in range(CALLS_MAX + 1):
        round_.hear(CallBegun(number, f"call_{number}", "search_adrs"))
    round_.hear(Done("tool-calls"))
    states = [event.state async for event in round_.run(ENDPOINT) if isinstance(event, ToolRun)]
    assert states == ["begun", "done"] * CALLS_MAX + ["begun", "failed"]


async def test_what_is_void_is_not_given_back_and_its_sources_are_gone() -> None:
    round_ = ToolRounds(Shelf("x", 1), [])
    round_.hear(CallBegun(0, "call", "search_adrs"))
    round_.hear(Done("stop"))  # some endpoints say so behind a call
    assert round_.pending
    async for _ in round_.run(ENDPOINT):
        pass
    assert (round_.goes_on, len(round_.sources)) == (True, 1)
    round_.void()
    assert (round_.goes_on, round_.sources) == (False, [])
    assert round_.extend(Prompt("", (), (), 10), ENDPOINT).messages == ()
