"""Anthropic's Messages API. Owns the request and the decoding of its events; time-outs and the end are in `remote`.

Anthropic counts cached tokens beside `input_tokens`, and says the input at the start and the output, cumulatively, at
the end: an answer that was cut short still has its exact input.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import anthropic
import msgspec

from connectors.http_errors import REASON_CHARS_MAX
from connectors.llm import Delta, Done, Event, Failed, Finish, Started, Tokens, TokenUsage, remote
from connectors.llm.failures import Failure, name_kind
from connectors.llm.prompts import Image, Part, Prompt, PromptMessage, Text, ToolCall, ToolResult
from connectors.llm.sse import ServerEvent
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.settings import LlmSettings

BASE_URL = "https://api.anthropic.com"
_FINISH: dict[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refused",
}


class _CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class _MessageUsage(msgspec.Struct):
    input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens: int | None = None


class _Message(msgspec.Struct):
    model: str = ""
    usage: _MessageUsage | None = None


class _BlockDelta(msgspec.Struct):
    type: str = ""
    text: str = ""
    stop_reason: str | None = None


class _ErrorBody(msgspec.Struct):
    type: str = ""
    message: str = ""


class _Event(msgspec.Struct):
    type: str
    message: _Message | None = None
    delta: _BlockDelta | None = None
    usage: _MessageUsage | None = None
    error: _ErrorBody | None = None


_DECODER = msgspec.json.Decoder(_Event)


class AnthropicDecoder:
    """See `remote.AnswerDecoder`."""

    def __init__(self) -> None:
        self._tokens = Tokens()
        self._finish: Finish = "other"

    def decode(self, event: ServerEvent) -> Sequence[Event]:
        read = _DECODER.decode(event.data)
        if read.type == "content_block_delta" and read.delta and read.delta.type == "text_delta":
            return [Delta(read.delta.text)] if read.delta.text else []
        if read.type == "message_start" and read.message:
            usage = self._usage(read.message.usage, complete=False)
            return [Started(read.message.model), *usage]
        if read.type == "message_delta":
            if read.delta and read.delta.stop_reason:
                self._finish = _FINISH.get(read.delta.stop_reason, "other")
            return self._usage(read.usage, complete=True)
        if read.type == "message_stop":
            return [Done(self._finish)]
        if read.type == "error":
            error = read.error or _ErrorBody()
            kind = name_kind(None, error.type)
            reason = error.type if kind == "credential" else f"{error.type}: {error.message}"
            return [Failed(Failure(kind, "anthropic", reason[:REASON_CHARS_MAX]))]
        return []

    def _usage(self, usage: _MessageUsage | None, *, complete: bool) -> list[Event]:
        """Each field is the newest total; one that is left out, or null, has not changed."""
        if usage is None:
            return []
        known = self._tokens
        written_1h = usage.cache_creation.ephemeral_1h_input_tokens if usage.cache_creation else known.cache_write_1h
        written = usage.cache_creation_input_tokens
        self._tokens = Tokens(
            input_uncached=_newer(usage.input_tokens, known.input_uncached),
            cache_read=_newer(usage.cache_read_input_tokens, known.cache_read),
            cache_write_5m=known.cache_write_5m if written is None else max(0, written - written_1h),
            cache_write_1h=written_1h,
            output_visible=_newer(usage.output_tokens, known.output_visible),
        )
        return [TokenUsage(self._tokens, complete)]


def _newer(value: int | None, known: int) -> int:
    return known if value is None else value


def _encode_message(message: PromptMessage) -> Any:
    return {"role": message.role, "content": [_encode_part(part) for part in message.parts]}


def _encode_part(part: Part) -> Any:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        source = {"type": "base64", "media_type": part.media_type, "data": b64encode(part.content).decode()}
        return {"type": "image", "source": source}
    if isinstance(part, ToolCall):
        arguments = msgspec.json.decode(part.arguments or "{}")
        return {"type": "tool_use", "id": part.call_id, "name": part.name, "input": arguments}
    if isinstance(part, ToolResult):
        result = {"type": "tool_result", "tool_use_id": part.call_id, "content": part.text}
        return {**result, **({"is_error": True} if part.failed else {})}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}


class AnthropicProvider(remote.RemoteProvider[anthropic.AsyncAnthropic]):
    """See `Provider`."""

    name = "anthropic"

    def __init__(self, settings: LlmSettings, clock: Clock = SYSTEM_CLOCK) -> None:
        client = anthropic.AsyncAnthropic(
            api_key=settings.api_key.get_secret_value(),
            base_url=settings.base_url or BASE_URL,
            max_retries=0,
            timeout=anthropic.Timeout(settings.total_s, connect=settings.connect_s),
        )
        super().__init__(client, anthropic.APIStatusError, settings, clock)

    def stream(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        opening = self._client.messages.with_streaming_response.create(
            model=self._settings.model,
            max_tokens=prompt.output_tokens_max,
            system=prompt.system,
            messages=[_encode_message(message) for message in prompt.messages],
            stream=True,
        )
        return self._answer(opening, AnthropicDecoder())
