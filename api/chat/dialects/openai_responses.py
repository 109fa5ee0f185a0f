"""An answer as OpenAI's Responses API has it: events of items, or one response. Pure.

Owns the shape of both, and which item is open. `sources` and `citations` are ours beside it. An answer that broke ends
with the event `error`, at which the SDKs raise, and has no `response.completed`. A thought carries its signature as its
`encrypted_content`, which clients give back as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from api.chat.dialects.failures import to_openai
from api.chat.dialects.whole import Draft, Said, WholeAnswer, note, put_together
from api.chat.schemas import (
    ChatEvent,
    Citations,
    DoneEvent,
    ReasoningDelta,
    Reset,
    Source,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)
from api.problems import Problem
from connectors.llm import Finish, Tokens
from connectors.llm.prompts import Text, ToolCall
from runtime.ids import read_time_s

ItemStatus = Literal["in_progress", "completed"]
ResponseStatus = Literal["in_progress", "completed", "incomplete", "failed", "cancelled"]
_STATUS: dict[Finish, ResponseStatus] = {"length": "incomplete", "refused": "incomplete"}
_REASONS: dict[Finish, Literal["max_output_tokens", "content_filter"]] = {
    "length": "max_output_tokens",
    "refused": "content_filter",
}
_PARTS = {"text": "output_text", "thought": "reasoning_text"}
_PREFIXES = {"text": "msg", "thought": "rs", "call": "fc"}
_ENCODER = msgspec.json.Encoder()


class ReadTokensDetails(msgspec.Struct, frozen=True):
    """Tokens that the provider had read before; they are counted in `input_tokens` too."""

    cached_tokens: int


class WrittenTokensDetails(msgspec.Struct, frozen=True):
    """Tokens that were thought and not said; they are counted in `output_tokens` too."""

    reasoning_tokens: int


class ResponseUsage(msgspec.Struct, frozen=True):
    """Tokens, as OpenAI counts them: parts are inside of their sums."""

    input_tokens: int
    input_tokens_details: ReadTokensDetails
    output_tokens: int
    output_tokens_details: WrittenTokensDetails
    total_tokens: int


class SaidText(msgspec.Struct, frozen=True, tag="output_text"):
    """Words."""

    text: str
    annotations: list[None] = []
    logprobs: list[None] = []


class ThoughtPart(msgspec.Struct, frozen=True, tag="reasoning_text"):
    """Words that were thought."""

    text: str


class MessageItem(msgspec.Struct, frozen=True, tag="message"):
    """What the model says."""

    id: str
    content: list[SaidText]
    status: ItemStatus
    role: Literal["assistant"] = "assistant"


class ThoughtItem(msgspec.Struct, frozen=True, tag="reasoning"):
    """What the model thinks."""

    id: str
    content: list[ThoughtPart]
    status: ItemStatus
    encrypted_content: str | None = None
    summary: list[None] = []


class CallItem(msgspec.Struct, frozen=True, tag="function_call"):
    """What the model wants called. `arguments`: JSON, as text."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus


OutputItem = MessageItem | ThoughtItem | CallItem


class IncompleteDetails(msgspec.Struct, frozen=True):
    """Why an answer is shorter than it should be."""

    reason: Literal["max_output_tokens", "content_filter"]


class ResponseFault(msgspec.Struct, frozen=True):
    """Why there is no more of an answer."""

    code: str
    message: str


class ResponseObject(msgspec.Struct, frozen=True):
    """An answer, as far as it is."""

    id: str
    created_at: int
    model: str
    status: ResponseStatus
    output: list[OutputItem]
    usage: ResponseUsage | None = None
    incomplete_details: IncompleteDetails | None = None
    error: ResponseFault | None = None
    instructions: None = None
    metadata: dict[str, str] = {}
    parallel_tool_calls: bool = True
    previous_response_id: None = None
    store: bool = False
    temperature: None = None
    tool_choice: str = "auto"
    tools: list[None] = []
    top_p: None = None
    object: Literal["response"] = "response"
    sources: list[Source] | UnsetType = UNSET
    citations: Citations | UnsetType = UNSET


class ResponseEvent(msgspec.Struct, frozen=True):
    """What an event of any type has; the rest is as OpenAI documents it."""

    type: str
    sequence_number: int


class ResponseEncoder:
    """Makes the events of one answer for one reader, who has those up to the number `after`. `stores`: whether the
    answer can be read again."""

    def __init__(self, answer_id: UUID, *, stores: bool, after: int = -1) -> None:
        self._answer_id = answer_id
        self._stores = stores
        self._after = after
        self._sent = 0
        self._whole: WholeAnswer | None = None
        self._drafts: list[Draft] = []
        self._open: list[int] = []
        """Items that are not whole yet, by their places."""
        self._calls: dict[int, int] = {}
        """The item of each call."""

    def encode(self, number: int, event: ChatEvent) -> bytes:
        """See `Encode`."""
        return b"".join(map(self._frame, self._encode(event)))

    def _encode(self, event: ChatEvent) -> Iterator[dict[str, Any]]:
        if isinstance(event, TextDelta | ReasoningDelta):
            yield from self._say(event)
        elif isinstance(event, Start):
            self._whole = WholeAnswer(event, [])
            begun = _shape(self._whole, self._answer_id, "in_progress", stores=self._stores)
            yield {"type": "response.created", "response": begun}
            yield {"type": "response.in_progress", "response": begun}
        elif isinstance(event, ToolCallStart):
            # Calls may be written side by side, so one that begins does not end the others.
            if self._open and self._drafts[-1].kind != "call":
                yield from self._leave()
            self._calls[event.index] = len(self._drafts)
            yield from self._begin(Draft("call", event))
        elif isinstance(event, ToolCallDelta):
            at = self._calls[event.index]
            self._drafts[at].pieces.append(event.arguments)
            yield {"type": "response.function_call_arguments.delta", **self._place(at), "delta": event.arguments}
        elif isinstance(event, Problem):
            error = to_openai(event).error
            yield {**msgspec.structs.asdict(error), "type": "error", "error": error}
        elif self._whole:
            note(self._whole, event)
            if isinstance(event, DoneEvent):
                yield from self._finish(self._whole)

    def _say(self, event: TextDelta | ReasoningDelta) -> Iterator[dict[str, Any]]:
        draft = Draft("text" if isinstance(event, TextDelta) else "thought")
        if not (self._open and self._drafts[-1].kind == draft.kind):
            yield from self._leave()
            yield from self._begin(draft)
        at = self._open[-1]
        self._drafts[at].pieces.append(event.text)
        if event.text:
            yield {"type": f"response.{_PARTS[draft.kind]}.delta", **self._place_part(at), "delta": event.text}
        if isinstance(event, ReasoningDelta) and event.signature:
            self._drafts[at].signature = event.signature
            yield from self._leave()

    def _begin(self, draft: Draft) -> Iterator[dict[str, Any]]:
        at = len(self._drafts)
        self._drafts.append(draft)
        self._open.append(at)
        item = _shape_item(draft.finish(), self._answer_id, at, "in_progress")
        yield {"type": "response.output_item.added", "output_index": at, "item": item}
        if draft.kind != "call":
            part = SaidText("") if draft.kind == "text" else ThoughtPart("")
            yield {"type": "response.content_part.added", **self._place_part(at), "part": part}

    def _leave(self) -> Iterator[dict[str, Any]]:
        """End every item that is open."""
        for at in self._open:
            said = self._drafts[at].finish()
            if isinstance(said, ToolCall):
                told = {"arguments": said.arguments, "name": said.name}
                yield {"type": "response.function_call_arguments.done", **self._place(at), **told}
            else:
                name = _PARTS[self._drafts[at].kind]
                part = SaidText(said.text) if isinstance(said, Text) else ThoughtPart(said.text)
                yield {"type": f"response.{name}.done", **self._place_part(at), "text": said.text}
                yield {"type": "response.content_part.done", **self._place_part(at), "part": part}
            item = _shape_item(said, self._answer_id, at, "completed")
            yield {"type": "response.output_item.done", "output_index": at, "item": item}
        self._open = []

    def _finish(self, whole: WholeAnswer) -> Iterator[dict[str, Any]]:
        yield from self._leave()
        whole.said = [draft.finish() for draft in self._drafts]
        status = _STATUS.get(whole.finish, "completed")
        made = _shape(whole, self._answer_id, status, stores=self._stores)
        yield {"type": f"response.{made.status}", "response": made}

    def _place(self, at: int) -> dict[str, Any]:
        return {"item_id": _name_item(self._drafts[at].kind, self._answer_id, at), "output_index": at}

    def _place_part(self, at: int) -> dict[str, Any]:
        """The only part of an item; those of text have a place for log probabilities, which nobody sends."""
        return {**self._place(at), "content_index": 0, **({"logprobs": []} if self._drafts[at].kind == "text" else {})}

    def _frame(self, event: dict[str, Any]) -> bytes:
        if event["type"] == "error":
            # Of an answer whose process died less is left than a reader may have seen: nobody is left without an end.
            self._sent = max(self._sent, self._after + 1)
        event["sequence_number"] = self._sent
        self._sent += 1
        if event["sequence_number"] <= self._after:
            return b""
        return f"event: {event['type']}\ndata: ".encode() + _ENCODER.encode(event) + b"\n\n"


def render(events: Sequence[ChatEvent], answer_id: UUID, *, stores: bool) -> bytes:
    """The whole answer as one response."""
    whole = put_together(events)
    return _ENCODER.encode(_shape(whole, answer_id, _STATUS.get(whole.finish, "completed"), stores=stores))


def show(events: Sequence[ChatEvent], answer_id: UUID, *, ended: bool) -> ResponseObject:
    """A response that is kept, as far as it is. Of one that failed before it began nothing is known but why."""
    resets = [at for at, event in enumerate(events, 1) if isinstance(event, Reset)]
    events = events[resets[-1] :] if resets else events
    problem = events[-1] if events and isinstance(events[-1], Problem) else None
    if not (events and isinstance(events[0], Start)):
        whole = WholeAnswer(Start(answer_id, answer_id, answer_id, "", "", None, []), [])
    else:
        whole = put_together(events)
    status: ResponseStatus = _STATUS.get(whole.finish, "completed") if ended else "in_progress"
    fault = None
    if ended and (problem or not events):
        told = to_openai(problem).error if problem else None
        status = "cancelled" if problem and problem.code == "stopped" else "failed"
        fault = ResponseFault(told.code or told.type, told.message) if told and status == "failed" else None
    return msgspec.structs.replace(_shape(whole, answer_id, status, stores=True), error=fault)


def count(tokens: Tokens) -> ResponseUsage:
    """Our disjoint buckets, in OpenAI's sums."""
    read = tokens.input_uncached + tokens.cache_read + tokens.cache_write_5m + tokens.cache_write_1h
    return ResponseUsage(
        input_tokens=read,
        input_tokens_details=ReadTokensDetails(tokens.cache_read),
        output_tokens=tokens.output_visible + tokens.reasoning,
        output_tokens_details=WrittenTokensDetails(tokens.reasoning),
        total_tokens=tokens.total,
    )


def _shape(whole: WholeAnswer, answer_id: UUID, status: ResponseStatus, *, stores: bool) -> ResponseObject:
    reason = _REASONS.get(whole.finish) if status == "incomplete" else None
    return ResponseObject(
        *(f"resp_{answer_id.hex}", read_time_s(answer_id), whole.start.model, status),
        [_shape_item(said, answer_id, at, "completed") for at, said in enumerate(whole.said)],
        usage=None if status == "in_progress" else count(whole.tokens),
        incomplete_details=IncompleteDetails(reason) if reason else None,
        store=stores,
        sources=UNSET if whole.sources is None else whole.sources,
        citations=whole.citations or UNSET,
    )


def _shape_item(said: Said, answer_id: UUID, at: int, status: ItemStatus) -> OutputItem:
    """An item; one that has just begun has no parts yet."""
    begun = status == "in_progress"
    if isinstance(said, ToolCall):
        return CallItem(_name_item("call", answer_id, at), said.call_id, said.name, said.arguments, status)
    if isinstance(said, Text):
        return MessageItem(_name_item("text", answer_id, at), [] if begun else [SaidText(said.text)], status)
    parts = [] if begun else [ThoughtPart(said.text)]
    return ThoughtItem(_name_item("thought", answer_id, at), parts, status, said.signature or None)


def _name_item(kind: str, answer_id: UUID, at: int) -> str:
    return f"{_PREFIXES[kind]}_{answer_id.hex}_{at}"
