"""An answer in one piece, for clients that do not stream. Pure.

Owns how the pieces of a stream come together. Refuses the forms of dialects, and answers that broke.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

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
from connectors.llm import Finish, Tokens
from connectors.llm.prompts import Reasoning, Text, ToolCall

Said = Text | Reasoning | ToolCall


class WholeAnswer(msgspec.Struct):
    """What was said, in its order; `sources` and `citations` None: it stands on none."""

    start: Start
    said: list[Said]
    tokens: Tokens = Tokens()
    finish: Finish = "other"
    sources: list[Source] | None = None
    citations: Citations | None = None

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.said if isinstance(part, Text))

    @property
    def thoughts(self) -> str:
        return "".join(part.text for part in self.said if isinstance(part, Reasoning))

    @property
    def calls(self) -> list[ToolCall]:
        return [part for part in self.said if isinstance(part, ToolCall)]


def put_together(events: Sequence[ChatEvent]) -> WholeAnswer:
    """The answer of all its events, the first of which is `Start`."""
    start = events[0]
    assert isinstance(start, Start), "an answer begins with its start"
    whole = WholeAnswer(start, [])
    places: dict[int, int] = {}
    for event in events[1:]:
        if isinstance(event, TextDelta | ReasoningDelta):
            _lengthen(whole.said, event)
        elif isinstance(event, ToolCallStart):
            places[event.index] = len(whole.said)
            whole.said.append(ToolCall(event.call_id, event.name, ""))
        elif isinstance(event, ToolCallDelta):
            call = whole.said[places[event.index]]
            assert isinstance(call, ToolCall)
            whole.said[places[event.index]] = ToolCall(call.call_id, call.name, call.arguments + event.arguments)
        elif isinstance(event, Sources):
            whole.sources = event.sources
        elif isinstance(event, Citations):
            whole.citations = event
        elif isinstance(event, UsageSpent):
            whole.tokens = event.tokens
        elif isinstance(event, DoneEvent):
            whole.finish = event.finish
    return whole


def _lengthen(said: list[Said], event: TextDelta | ReasoningDelta) -> None:
    """Add to what is being said; a signature ends a thought, so that the next piece begins another."""
    last = said[-1] if said else None
    if isinstance(event, TextDelta):
        said[-1:] = [Text(last.text + event.text)] if isinstance(last, Text) else [*said[-1:], Text(event.text)]
    elif isinstance(last, Reasoning) and not last.signature:
        said[-1] = Reasoning(last.text + event.text, event.signature)
    else:
        said.append(Reasoning(event.text, event.signature))
