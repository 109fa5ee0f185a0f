"""OpenAI's Chat Completions API, and every endpoint that speaks it: vLLM, Ollama, LiteLLM.

Owns the request and the decoding of its chunks; time-outs and the end are in `remote`. OpenAI counts cached tokens
inside of `prompt_tokens`, and reasoning inside of `completion_tokens`; it says usage in the last chunk only, so an
answer that was cut short has none.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

import msgspec
import openai

from connectors.http_errors import REASON_CHARS_MAX
from connectors.llm import Delta, Done, Event, Failed, Finish, Started, Tokens, TokenUsage, remote
from connectors.llm.failures import Failure, name_kind
from connectors.llm.prompts import Image, Prompt, PromptMessage, Text, ToolCall, ToolResult
from connectors.llm.sse import ServerEvent
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.settings import LlmSettings

BASE_URL = "https://api.openai.com/v1"
_FINISH: dict[str, Finish] = {"stop": "stop", "length": "length", "content_filter": "refused"}


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _CompletionUsage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _ChoiceDelta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    delta: _ChoiceDelta | None = None
    finish_reason: str | None = None


class _ErrorMessage(msgspec.Struct):
    message: str | None = None
    code: str | int | None = None
    type: str | None = None


class _Chunk(msgspec.Struct):
    model: str = ""
    choices: list[_Choice] = []
    usage: _CompletionUsage | None = None
    error: _ErrorMessage | None = None


_DECODER = msgspec.json.Decoder(_Chunk)
_WITHOUT_REASON = Failure("broken-stream", "openai", "the answer ended without a reason to end")
"""A server that breaks off may still close its stream in good order. Only `finish_reason` says that it is whole."""


class OpenAIDecoder:
    """See `remote.AnswerDecoder`."""

    def __init__(self) -> None:
        self._started = False
        self._finish: Finish | None = None

    def decode(self, event: ServerEvent) -> Sequence[Event]:
        if event.data == b"[DONE]":
            return [Done(self._finish) if self._finish else Failed(_WITHOUT_REASON)]
        chunk = _DECODER.decode(event.data)
        if chunk.error:
            return [Failed(_read_error(chunk.error))]
        events: list[Event] = []
        if not self._started:
            self._started = True
            events.append(Started(chunk.model))
        for choice in chunk.choices[:1]:  # one answer was asked for
            if choice.finish_reason and self._finish != "refused":
                self._finish = _FINISH.get(choice.finish_reason, "other")
            if choice.delta and choice.delta.refusal:
                self._finish = "refused"
            if text := choice.delta and (choice.delta.content or choice.delta.refusal):
                events.append(Delta(text))
        if chunk.usage:
            events.append(TokenUsage(tokens_of(chunk.usage), complete=True))
        return events


def _read_error(error: _ErrorMessage) -> Failure:
    code = error.code if isinstance(error.code, str) else None
    status = error.code if isinstance(error.code, int) else None
    kind = name_kind(status, code, error.type)
    reason = "" if kind == "credential" else (error.message or "no reason given")[:REASON_CHARS_MAX]
    return Failure(kind, "openai", reason, status=status)


def tokens_of(usage: _CompletionUsage) -> Tokens:
    """Parts that are larger than their sum, which some servers send, are bounded by it."""
    details, more = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = min(usage.prompt_tokens, (details and details.cached_tokens) or 0)
    reasoning = min(usage.completion_tokens, (more and more.reasoning_tokens) or 0)
    return Tokens(
        input_uncached=usage.prompt_tokens - cached,
        cache_read=cached,
        output_visible=usage.completion_tokens - reasoning,
        reasoning=reasoning,
    )


def encode_messages(prompt: Prompt) -> list[Any]:
    """The conversation in the form of Chat Completions. A result of a tool is a message of its own there, and comes
    before what the user says beside it; reasoning is not taken back."""
    system: list[Any] = [{"role": "system", "content": prompt.system}] if prompt.system else []
    return system + [encoded for message in prompt.messages for encoded in _encode_message(message)]


def _encode_message(message: PromptMessage) -> Iterator[dict[str, Any]]:
    for part in message.parts:
        if isinstance(part, ToolResult):
            yield {"role": "tool", "tool_call_id": part.call_id, "content": part.text}
    said = [_encode_part(part) for part in message.parts if isinstance(part, Text | Image)]
    calls = [_encode_call(part) for part in message.parts if isinstance(part, ToolCall)]
    if not said and not calls:
        return
    # Servers of other makers take text as a string before they take parts.
    only = len(said) == 1 and said[0]["type"] == "text"
    content: Any = said[0]["text"] if only else said or None
    yield {"role": message.role, "content": content, **({"tool_calls": calls} if calls else {})}


def _encode_part(part: Text | Image) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    address = f"data:{part.media_type};base64,{b64encode(part.content).decode()}"
    return {"type": "image_url", "image_url": {"url": address}}


def _encode_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


class OpenAIProvider(remote.RemoteProvider[openai.AsyncOpenAI]):
    """See `Provider`."""

    name = "openai"

    def __init__(self, settings: LlmSettings, clock: Clock = SYSTEM_CLOCK) -> None:
        client = openai.AsyncOpenAI(
            # The SDK refuses an empty key, servers without keys ignore it.
            api_key=settings.api_key.get_secret_value() or "none",
            base_url=settings.base_url or BASE_URL,
            max_retries=0,
            timeout=openai.Timeout(settings.total_s, connect=settings.connect_s),
        )
        super().__init__(client, openai.APIStatusError, settings, clock)

    def stream(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        opening = self._client.chat.completions.with_streaming_response.create(
            model=self._settings.model,
            max_completion_tokens=prompt.output_tokens_max,
            messages=encode_messages(prompt),
            stream=True,
            stream_options={"include_usage": True},
        )
        return self._answer(opening, OpenAIDecoder())
