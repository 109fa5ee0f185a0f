"""Anthropic's Messages API. Owns the request and the decoding of its events; time-outs are in `remote`.

Anthropic counts cached tokens beside `input_tokens`, and says the input at the start and the output, cumulatively, at
the end: an answer that was cut short still has its exact input. What a model thinks is counted with what it says.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from connectors.http_errors import REASON_CHARS_MAX
from connectors.llm import (
    CallBegun,
    CallPiece,
    Delta,
    Done,
    Event,
    Failed,
    Finish,
    Started,
    Thought,
    Tokens,
    TokenUsage,
    remote,
)
from connectors.llm.failures import Failure, name_kind
from connectors.llm.prompts import (
    Choosing,
    Image,
    Part,
    Prompt,
    PromptMessage,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from connectors.llm.sse import ServerEvent
from connectors.secrets import Credential
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.settings import LlmSettings

BASE_URL = "https://api.anthropic.com"
VERSION = "2026-10-21"
"""The version of the API, in a header of each request: the SDK's, which a test compares."""
_FINISH: dict[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refused",
    "tool_use": "tool-calls",
}
JSON_ONLY = "Answer with one JSON object and nothing else."
"""What asks for JSON of any form: this API takes a schema or nothing."""


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


class _Block(msgspec.Struct):
    type: str = ""
    text: str = ""
    id: str = ""
    name: str = ""


class _BlockDelta(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _ErrorBody(msgspec.Struct):
    type: str = ""
    message: str = ""


class _Event(msgspec.Struct):
    type: str
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _BlockDelta | None = None
    usage: _MessageUsage | None = None
    error: _ErrorBody | None = None


_DECODER = msgspec.json.Decoder(_Event)


class AnthropicDecoder:
    """See `remote.AnswerDecoder`."""

    def __init__(self) -> None:
        self._tokens = Tokens()
        self._finish: Finish | None = None
        self._calls: dict[int, int] = {}
        """The number of a call by that of its block."""

    def decode(self, event: ServerEvent) -> Sequence[Event]:
        read = _DECODER.decode(event.data)
        if read.type == "content_block_delta" and read.delta:
            return self._read(read.index, read.delta)
        if read.type == "content_block_start" and read.content_block:
            return self._begin(read.index, read.content_block)
        if read.type == "message_start" and read.message:
            usage = self._usage(read.message.usage, complete=False)
            return [Started(read.message.model), *usage]
        if read.type == "message_delta":
            if read.delta and read.delta.stop_reason:
                self._finish = _FINISH.get(read.delta.stop_reason, "other")
            return self._usage(read.usage, complete=True)
        if read.type == "message_stop":
            return [Done(self._finish) if self._finish else self.end()]
        if read.type == "error":
            error = read.error or _ErrorBody()
            kind = name_kind(None, error.type)
            reason = error.type if kind == "credential" else f"{error.type}: {error.message}"
            return [Failed(Failure(kind, "anthropic", reason[:REASON_CHARS_MAX]))]
        return []

    def end(self) -> Done | Failed:
        return remote.break_off("anthropic")

    def _begin(self, block: int, begun: _Block) -> list[Event]:
        if begun.type == "tool_use":
            number = self._calls[block] = len(self._calls)
            return [CallBegun(number, begun.id, begun.name)]
        return [Delta(begun.text)] if begun.type == "text" and begun.text else []

    def _read(self, block: int, delta: _BlockDelta) -> list[Event]:
        if delta.type == "text_delta" and delta.text:
            return [Delta(delta.text)]
        if delta.type == "thinking_delta" and delta.thinking:
            return [Thought(delta.thinking)]
        if delta.type == "signature_delta" and delta.signature:
            return [Thought("", delta.signature)]
        if delta.type == "input_json_delta" and delta.partial_json and block in self._calls:
            return [CallPiece(self._calls[block], delta.partial_json)]
        return []

    def _usage(self, usage: _MessageUsage | None, *, complete: bool) -> list[Event]:
        """Each field is the newest total; one that is left out, or null, has not changed. What is no number of tokens
        is not taken, and then nobody has counted."""
        if usage is None or not _is_whole(usage):
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


def _is_whole(usage: _MessageUsage) -> bool:
    written = usage.cache_creation or _CacheCreation()
    counts = (
        *(usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens, usage.output_tokens),
        *(written.ephemeral_5m_input_tokens, written.ephemeral_1h_input_tokens),
    )
    return remote.is_count(*(count or 0 for count in counts))


def _newer(value: int | None, known: int) -> int:
    return known if value is None else value


def _encode_message(message: PromptMessage) -> Any:
    # A thought without a signature, which another provider had, is refused.
    parts = [part for part in message.parts if not isinstance(part, Reasoning) or part.signature]
    return {"role": message.role, "content": [_encode_part(part) for part in parts]}


def _encode_part(part: Part) -> Any:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        source = {"type": "base64", "media_type": part.media_type, "data": b64encode(part.content).decode()}
        return {"type": "image", "source": source}
    if isinstance(part, ToolCall):
        return {"type": "tool_use", "id": part.call_id, "name": part.name, "input": part.read_arguments()}
    if isinstance(part, ToolResult):
        result = {"type": "tool_result", "tool_use_id": part.call_id, "content": part.text}
        return {**result, **({"is_error": True} if part.failed else {})}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}


def encode_options(prompt: Prompt) -> dict[str, Any]:
    """What a prompt asks beside its messages; what it leaves to the provider is left out. Raises `msgspec.DecodeError`
    for a schema that is no JSON."""
    sampling, system = prompt.sampling, prompt.system
    options: dict[str, Any] = {}
    if prompt.tools:
        options["tools"] = [_encode_tool(tool) for tool in prompt.tools]
        options["tool_choice"] = _encode_choosing(prompt.choosing)
    if prompt.form and prompt.form.schema:
        schema = msgspec.json.decode(prompt.form.schema)
        options["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    elif prompt.form:
        system = f"{system}\n\n{JSON_ONLY}".strip()
    if sampling.stop:
        options["stop_sequences"] = [*sampling.stop]
    # The newest models take neither.
    chosen = {"temperature": sampling.temperature, "top_p": sampling.top_p}
    options |= {name: value for name, value in chosen.items() if value is not None}
    return {**options, **({"system": system} if system else {})}


def encode_user(prompt: Prompt) -> dict[str, Any]:
    """Who asks, as a pseudonym. This API keeps nothing that could be switched off for one request."""
    return {"metadata": {"user_id": prompt.user}} if prompt.user else {}


def _encode_tool(tool: Tool) -> dict[str, Any]:
    schema = msgspec.json.decode(tool.parameters)
    return {"name": tool.name, "description": tool.description, "input_schema": schema}


def _encode_choosing(choosing: Choosing) -> dict[str, Any]:
    if choosing.mode == "named":
        return {"type": "tool", "name": choosing.name}
    return {"type": "any" if choosing.mode == "required" else choosing.mode}


class AnthropicProvider(remote.RemoteProvider):
    """See `Provider`."""

    name = "anthropic"

    def __init__(self, settings: LlmSettings, credential: Credential, clock: Clock = SYSTEM_CLOCK) -> None:
        url = f"{(settings.base_url or BASE_URL).rstrip('/')}/v1/messages"
        super().__init__(url, settings, credential, clock)

    def _authenticate(self, key: str) -> Mapping[str, str]:
        return {"anthropic-version": VERSION, **({"authorization": f"Bearer {key}"} if key else {})}

    def _encode(self, prompt: Prompt) -> Mapping[str, Any]:
        return {
            "model": self._settings.model,
            "max_tokens": prompt.output_tokens_max,
            "messages": [_encode_message(message) for message in prompt.messages],
            "stream": True,
            **encode_options(prompt),
            **encode_user(prompt),
        }

    def _new_decoder(self) -> AnthropicDecoder:
        return AnthropicDecoder()
