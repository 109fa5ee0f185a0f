"""An answer as OpenAI's Chat Completions API has it: chunks, or one completion. Pure.

Owns the shape of both. `sources` and `citations` are ours beside it, and only there when an answer stands on sources;
`reasoning_content` is what other servers of this protocol call a model's thoughts. An answer that broke ends with a
chunk `error`, at which the SDKs raise, and has neither a reason to finish nor `[DONE]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from api.chat.dialects.failures import to_openai
from api.chat.dialects.whole import put_together
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
from connectors.llm.prompts import ToolCall

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
_FINISH: dict[Finish, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool-calls": "tool_calls",
    "refused": "content_filter",
    "other": "stop",
}
DONE = b"data: [DONE]\n\n"
_ENCODER = msgspec.json.Encoder()


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """Tokens that the provider had read before; they are counted in `prompt_tokens` too."""

    cached_tokens: int


class CompletionTokensDetails(msgspec.Struct, frozen=True):
    """Tokens that were thought and not said; they are counted in `completion_tokens` too."""

    reasoning_tokens: int


class TokenCounts(msgspec.Struct, frozen=True):
    """Tokens, as OpenAI counts them: parts are inside of their sums."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class FunctionPiece(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function's name, in the first piece, or more of its arguments."""

    name: str | None = None
    arguments: str | None = None


class CallChunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of call `index`."""

    index: int
    function: FunctionPiece
    id: str | None = None
    type: str | None = None


class CompletionDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is new."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[CallChunk] | None = None


class ChunkChoice(msgspec.Struct, frozen=True):
    """The answer; there is one."""

    index: int
    delta: CompletionDelta
    finish_reason: FinishReason | None = None


class CompletionChunk(msgspec.Struct, frozen=True):
    """A piece of an answer. The one with the tokens, which is only there when it was asked for, has no choices."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: TokenCounts | UnsetType | None = UNSET
    sources: list[Source] | UnsetType = UNSET
    citations: Citations | UnsetType = UNSET


class WholeFunction(msgspec.Struct, frozen=True):
    """A function, and its arguments: JSON, as text."""

    name: str
    arguments: str


class WholeCall(msgspec.Struct, frozen=True):
    """What the model wants called."""

    id: str
    function: WholeFunction
    type: Literal["function"] = "function"


class CompletionMessage(msgspec.Struct, frozen=True):
    """What the model says."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None = None
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[WholeCall] | UnsetType = UNSET


class CompletionChoice(msgspec.Struct, frozen=True):
    """The answer; there is one."""

    index: int
    message: CompletionMessage
    finish_reason: FinishReason
    logprobs: None = None


class ChatCompletion(msgspec.Struct, frozen=True):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: TokenCounts
    sources: list[Source] | UnsetType = UNSET
    citations: Citations | UnsetType = UNSET


class CompletionEncoder:
    """Makes the chunks of one answer for one reader. `created`: seconds since 1970."""

    def __init__(self, answer_id: UUID, created: int, *, include_usage: bool) -> None:
        self._id = _name(answer_id)
        self._created = created
        self._model = ""
        self._tokens = Tokens()
        self._usage: UnsetType | None = None if include_usage else UNSET
        self._text = self._make_text_frame()

    def _make_text_frame(self) -> TextFrame:
        return TextFrame(self._chunk(CompletionDelta(content="")))

    def encode(self, number: int, event: ChatEvent) -> bytes:
        """See `Encode`."""
        if isinstance(event, TextDelta):
            return self._text.encode(event.text)
        return b"".join(self._encode(event))

    def _encode(self, event: ChatEvent) -> Iterator[bytes]:
        if isinstance(event, Start):
            self._model = event.model
            self._text = self._make_text_frame()
            yield self._chunk(CompletionDelta(role="assistant", content=""))
        elif isinstance(event, Sources):
            yield self._chunk(CompletionDelta(), sources=event.sources)
        elif isinstance(event, ReasoningDelta):
            if event.text:
                yield self._chunk(CompletionDelta(reasoning_content=event.text))
        elif isinstance(event, ToolCallStart):
            begun = CallChunk(event.index, FunctionPiece(event.name, ""), event.call_id, "function")
            yield self._chunk(CompletionDelta(tool_calls=[begun]))
        elif isinstance(event, ToolCallDelta):
            piece = CallChunk(event.index, FunctionPiece(arguments=event.arguments))
            yield self._chunk(CompletionDelta(tool_calls=[piece]))
        elif isinstance(event, Citations):
            yield self._chunk(CompletionDelta(), citations=event)
        elif isinstance(event, UsageSpent):
            self._tokens = event.tokens
        elif isinstance(event, DoneEvent):
            yield from self._finish(event.finish)
        elif isinstance(event, Problem):
            yield _frame(to_openai(event))

    def _finish(self, finish: Finish) -> Iterator[bytes]:
        yield self._chunk(CompletionDelta(), finish=_FINISH[finish])
        if self._usage is None:
            yield _frame(self._shape([], usage=count(self._tokens)))
        yield DONE

    def _chunk(
        self,
        delta: CompletionDelta,
        *,
        finish: FinishReason | None = None,
        sources: list[Source] | UnsetType = UNSET,
        citations: Citations | UnsetType = UNSET,
    ) -> bytes:
        choices = [ChunkChoice(0, delta, finish)]
        return _frame(self._shape(choices, usage=self._usage, sources=sources, citations=citations))

    def _shape(
        self,
        choices: list[ChunkChoice],
        *,
        usage: TokenCounts | UnsetType | None,
        sources: list[Source] | UnsetType = UNSET,
        citations: Citations | UnsetType = UNSET,
    ) -> CompletionChunk:
        return CompletionChunk(
            *(self._id, "chat.completion.chunk", self._created, self._model, choices, usage, sources, citations)
        )


def render(events: Sequence[ChatEvent], answer_id: UUID, created: int) -> bytes:
    """The whole answer as one completion."""
    whole = put_together(events)
    message = CompletionMessage(
        "assistant",
        # Clients tell by null that there are only calls.
        whole.text if whole.text or not whole.calls else None,
        reasoning_content=whole.thoughts or UNSET,
        tool_calls=[_shape_call(call) for call in whole.calls] or UNSET,
    )
    return _ENCODER.encode(
        ChatCompletion(
            *(_name(answer_id), "chat.completion", created, whole.start.model),
            choices=[CompletionChoice(0, message, _FINISH[whole.finish])],
            usage=count(whole.tokens),
            sources=UNSET if whole.sources is None else whole.sources,
            citations=whole.citations or UNSET,
        )
    )


def count(tokens: Tokens) -> TokenCounts:
    """Our disjoint buckets, in OpenAI's sums."""
    read = tokens.input_uncached + tokens.cache_read + tokens.cache_write_5m + tokens.cache_write_1h
    return TokenCounts(
        *(read, tokens.output_visible + tokens.reasoning, tokens.total),
        PromptTokensDetails(tokens.cache_read),
        CompletionTokensDetails(tokens.reasoning),
    )


def _name(answer_id: UUID) -> str:
    return f"chatcmpl-{answer_id.hex}"


def _shape_call(call: ToolCall) -> WholeCall:
    return WholeCall(call.call_id, WholeFunction(call.name, call.arguments))


def _frame(data: msgspec.Struct) -> bytes:
    return b"data: " + _ENCODER.encode(data) + b"\n\n"
