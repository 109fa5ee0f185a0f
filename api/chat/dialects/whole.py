"""An answer in one piece, for clients that do not stream. Pure.

Owns how the pieces of a stream come together. Refuses the forms of dialects, and answers that broke.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

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


class Draft(msgspec.Struct):
    """A part of an answer while it is being said: in pieces, since a text that grows would be copied with each."""

    kind: Literal["text", "thought", "call"]
    call: ToolCallStart | None = None
    pieces: list[str] = msgspec.field(default_factory=list)
    signature: str = ""

    def finish(self) -> Said:
        text = "".join(self.pieces)
        if self.call:
            return ToolCall(self.call.call_id, self.call.name, text)
        return Text(text) if self.kind == "text" else Reasoning(text, self.signature)


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
    drafts: list[Draft] = []
    calls: dict[int, Draft] = {}
    for event in events[1:]:
        if isinstance(event, TextDelta | ReasoningDelta):
            _lengthen(drafts, event)
        elif isinstance(event, ToolCallStart):
            calls[event.index] = Draft("call", event)
            drafts.append(calls[event.index])
        elif isinstance(event, ToolCallDelta):
            calls[event.index].pieces.append(event.arguments)
        else:
            note(whole, event)
    whole.said = [draft.finish() for draft in drafts]
    return whole


def note(whole: WholeAnswer, event: ChatEvent) -> None:
    """Keep what an event says of the answer as a whole."""
    if isinstance(event, Sources):
        whole.sources = event.sources
    elif isinstance(event, Citations):
        whole.citations = event
    elif isinstance(event, UsageSpent):
        whole.tokens = event.tokens
    elif isinstance(event, DoneEvent):
        whole.finish = event.finish


def _lengthen(drafts: list[Draft], event: TextDelta | ReasoningDelta) -> None:
    """Add to what is being said; a signature ends a thought, so that the next piece begins another."""
    kind: Literal["text", "thought"] = "text" if isinstance(event, TextDelta) else "thought"
    if not (drafts and drafts[-1].kind == kind and not drafts[-1].signature):
        drafts.append(Draft(kind))
    drafts[-1].pieces.append(event.text)
    if isinstance(event, ReasoningDelta):
        drafts[-1].signature = event.signature
