"""An answer as Anthropic's Messages API has it: events of blocks, or one message. Pure.

Owns the shape of both, and which block is open. `sources` and `citations` are ours beside it, and only there when an
answer stands on sources. An answer that broke ends with the event `error`, at which the SDKs raise, and has neither a
reason to stop nor `message_stop`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from api.chat.dialects.conversations import JsonObject
from api.chat.dialects.failures import to_anthropic
from api.chat.dialects.whole import Said, put_together
from api.chat.encoding import TextFrame
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
from connectors.llm import Finish, Tokens
from connectors.llm.prompts import Reasoning, Text

StopReason = Literal["end_turn", "max_tokens", "tool_use", "refusal"]
_STOP: dict[Finish, StopReason] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool-calls": "tool_use",
    "refused": "refusal",
    "other": "end_turn",
}
_ENCODER = msgspec.json.Encoder()


class CacheWrites(msgspec.Struct, frozen=True):
    """Tokens that the provider keeps for later requests."""

    ephemeral_5m_input_tokens: int
    ephemeral_1h_input_tokens: int


class MessageUsage(msgspec.Struct, frozen=True):
    """Tokens, as Anthropic counts them: those of a cache are beside `input_tokens`."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    cache_creation: CacheWrites
    output_tokens: int


class TextBlock(msgspec.Struct, frozen=True, tag="text"):
    """Words."""

    text: str
    citations: None = None


class ThinkingBlock(msgspec.Struct, frozen=True, tag="thinking"):
    """What the model thought. Give it back with its signature, as it stands."""

    thinking: str
    signature: str


class ToolUseBlock(msgspec.Struct, frozen=True, tag="tool_use"):
    """What the model wants called."""

    id: str
    name: str
    input: JsonObject


ContentBlock = TextBlock | ThinkingBlock | ToolUseBlock


class AnthropicMessage(msgspec.Struct, frozen=True):
    """A whole answer; at the beginning of a stream, one without content."""

    id: str
    model: str
    content: list[ContentBlock]
    stop_reason: StopReason | None
    usage: MessageUsage
    stop_sequence: None = None
    role: Literal["assistant"] = "assistant"
    type: Literal["message"] = "message"
    sources: list[Source] | UnsetType = UNSET
    citations: Citations | UnsetType = UNSET


class MessageStart(msgspec.Struct, frozen=True, tag="message_start"):
    """The first event. Tokens are known at the end."""

    message: AnthropicMessage


class ContentBlockStart(msgspec.Struct, frozen=True, tag="content_block_start"):
    """A block begins."""

    index: int
    content_block: ContentBlock


class TextPiece(msgspec.Struct, frozen=True, tag="text_delta"):
    """More words."""

    text: str


class ThinkingPiece(msgspec.Struct, frozen=True, tag="thinking_delta"):
    """More of a thought."""

    thinking: str


class SignaturePiece(msgspec.Struct, frozen=True, tag="signature_delta"):
    """The signature of a thought."""

    signature: str


class InputPiece(msgspec.Struct, frozen=True, tag="input_json_delta"):
    """More of a call's arguments: JSON in pieces."""

    partial_json: str


BlockPiece = TextPiece | ThinkingPiece | SignaturePiece | InputPiece


class ContentBlockDelta(msgspec.Struct, frozen=True, tag="content_block_delta"):
    """More of block `index`."""

    index: int
    delta: BlockPiece


class ContentBlockStop(msgspec.Struct, frozen=True, tag="content_block_stop"):
    """Block `index` is whole."""

    index: int


class MessageEnding(msgspec.Struct, frozen=True):
    """Why the model ended."""

    stop_reason: StopReason
    stop_sequence: None = None


class MessageDelta(msgspec.Struct, frozen=True, tag="message_delta"):
    """The end of the message, and its tokens."""

    delta: MessageEnding
    usage: MessageUsage
    sources: list[Source] | UnsetType = UNSET
    citations: Citations | UnsetType = UNSET


class MessageStop(msgspec.Struct, frozen=True, tag="message_stop"):
    """The last event of an answer that is whole."""


MessageEvent = MessageStart | ContentBlockStart | ContentBlockDelta | ContentBlockStop | MessageDelta | MessageStop


class MessageEncoder:
    """Makes the events of one answer for one reader."""

    def __init__(self, answer_id: UUID) -> None:
        self._id = _name(answer_id)
        self._blocks = 0
        self._open: list[int] = []
        self._kind: type[ContentBlock] | None = None
        """What kind of block text or a thought goes on in."""
        self._text: TextFrame | None = None
        """That of the newest block of text."""
        self._calls: dict[int, int] = {}
        """The block of each call."""
        self._usage = count(Tokens())
        self._sources: list[Source] | UnsetType = UNSET
        self._citations: Citations | UnsetType = UNSET

    def encode(self, number: int, event: ChatEvent) -> bytes:
        """See `Encode`."""
        if isinstance(event, TextDelta) and self._text and self._kind is TextBlock:
            return self._text.encode(event.text)
        if isinstance(event, Problem):
            return _frame("error", to_anthropic(event))
        return b"".join(_frame(_tag(made), made) for made in self._encode(event))

    def _encode(self, event: ChatEvent) -> Iterator[MessageEvent]:
        if isinstance(event, TextDelta):
            yield from self._enter(TextBlock(""))
            yield ContentBlockDelta(self._open[-1], TextPiece(event.text))
        elif isinstance(event, Start):
            yield MessageStart(AnthropicMessage(self._id, event.model, [], None, self._usage))
        elif isinstance(event, ReasoningDelta):
            yield from self._think(event)
        elif isinstance(event, ToolCallStart):
            # Calls may be written side by side, so one that begins does not end the others.
            yield from self._leave() if self._kind else ()
            self._calls[event.index] = self._blocks
            yield self._begin(ToolUseBlock(event.call_id, event.name, {}))
        elif isinstance(event, ToolCallDelta):
            yield ContentBlockDelta(self._calls[event.index], InputPiece(event.arguments))
        elif isinstance(event, Sources):
            self._sources = event.sources
        elif isinstance(event, Citations):
            self._citations = event
        elif isinstance(event, UsageSpent):
            self._usage = count(event.tokens)
        elif isinstance(event, DoneEvent):
            yield from self._leave()
            yield MessageDelta(MessageEnding(_STOP[event.finish]), self._usage, self._sources, self._citations)
            yield MessageStop()

    def _think(self, event: ReasoningDelta) -> Iterator[MessageEvent]:
        yield from self._enter(ThinkingBlock("", ""))
        if event.text:
            yield ContentBlockDelta(self._open[-1], ThinkingPiece(event.text))
        if event.signature:
            yield ContentBlockDelta(self._open[-1], SignaturePiece(event.signature))
            yield from self._leave()

    def _enter(self, block: TextBlock | ThinkingBlock) -> Iterator[MessageEvent]:
        """Go on in a block of this kind, or begin one."""
        if self._kind is not type(block):
            yield from self._leave()
            self._kind = type(block)
            yield self._begin(block)
            empty = ContentBlockDelta(self._open[-1], TextPiece(""))
            self._text = TextFrame(_frame(_tag(empty), empty))

    def _begin(self, block: ContentBlock) -> ContentBlockStart:
        self._open.append(self._blocks)
        self._blocks += 1
        return ContentBlockStart(self._open[-1], block)

    def _leave(self) -> Iterator[MessageEvent]:
        """End every block that is open."""
        yield from map(ContentBlockStop, self._open)
        self._open, self._kind = [], None


def render(events: Sequence[ChatEvent], answer_id: UUID) -> bytes:
    """The whole answer as one message."""
    whole = put_together(events)
    return _ENCODER.encode(
        AnthropicMessage(
            *(_name(answer_id), whole.start.model),
            content=[_shape_block(part) for part in whole.said],
            stop_reason=_STOP[whole.finish],
            usage=count(whole.tokens),
            sources=UNSET if whole.sources is None else whole.sources,
            citations=whole.citations or UNSET,
        )
    )


def count(tokens: Tokens) -> MessageUsage:
    """Our disjoint buckets, in Anthropic's sums."""
    return MessageUsage(
        tokens.input_uncached,
        tokens.cache_write_5m + tokens.cache_write_1h,
        tokens.cache_read,
        CacheWrites(tokens.cache_write_5m, tokens.cache_write_1h),
        tokens.output_visible + tokens.reasoning,
    )


def _name(answer_id: UUID) -> str:
    return f"msg_{answer_id.hex}"


def _shape_block(part: Said) -> ContentBlock:
    if isinstance(part, Text):
        return TextBlock(part.text)
    if isinstance(part, Reasoning):
        return ThinkingBlock(part.text, part.signature)
    return ToolUseBlock(part.call_id, part.name, part.read_arguments())


def _tag(event: MessageEvent) -> str:
    return str(event.__struct_config__.tag)


def _frame(name: str, event: msgspec.Struct) -> bytes:
    return f"event: {name}\ndata: ".encode() + _ENCODER.encode(event) + b"\n\n"
