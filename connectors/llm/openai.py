"""OpenAI's Chat Completions API, and every endpoint that speaks it: vLLM, Ollama, LiteLLM.

Owns the request and the decoding of its chunks; time-outs are in `remote`. OpenAI counts cached tokens inside of
`prompt_tokens`, and reasoning inside of `completion_tokens`; it says usage in the last chunk only, so an answer that
was cut short has none. It does not send what it thinks; endpoints of others do, in fields of their own.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
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
from connectors.llm.prompts import Choosing, Form, Image, Prompt, PromptMessage, Text, Tool, ToolCall, ToolResult
from connectors.llm.sse import ServerEvent
from connectors.secrets import Credential
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.settings import LlmSettings

BASE_URL = "https://api.openai.com/v1"
_FINISH: dict[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "refused",
    "tool_calls": "tool-calls",
}


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _CompletionUsage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _FunctionDelta(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _CallDelta(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _FunctionDelta | None = None


class _ChoiceDelta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_CallDelta] | None = None
    # Two names for what a model thinks: vLLM, DeepSeek and LiteLLM say the first; OpenRouter and Ollama the second,
    # which is not text everywhere.
    reasoning_content: str | None = None
    reasoning: Any = None


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
    error: _ErrorMessage | str | None = None  # Ollama has a sentence there


_DECODER = msgspec.json.Decoder(_Chunk)
_WITHOUT_REASON = "the answer ended without a reason to end"
"""A server that breaks off may still close its stream in good order. Only `finish_reason` says that it is whole."""


class OpenAIDecoder:
    """See `remote.AnswerDecoder`."""

    def __init__(self) -> None:
        self._started = False
        self._finish: Finish | None = None
        self._calls = _CallNumbers()

    def decode(self, event: ServerEvent) -> Sequence[Event]:
        if event.data == b"[DONE]":
            return [self._conclude()]
        chunk = _DECODER.decode(event.data)
        if chunk.error:
            return [Failed(_read_error(chunk.error))]
        events: list[Event] = []
        if not self._started:
            self._started = True
            events.append(Started(chunk.model))
        for choice in chunk.choices[:1]:  # one answer was asked for
            if choice.delta:
                events += self._read(choice.delta)
            if choice.finish_reason and self._finish != "refused":
                self._finish = _FINISH.get(choice.finish_reason, "other")
        if chunk.usage and (tokens := tokens_of(chunk.usage)):
            # Some servers say it with each chunk, as it grows.
            events.append(TokenUsage(tokens, complete=self._finish is not None))
        return events

    def end(self) -> Done | Failed:
        return remote.break_off("openai")

    def _conclude(self) -> Done | Failed:
        if not self._finish:
            return remote.break_off("openai", _WITHOUT_REASON)
        # A call that was demanded by its name ends with `stop`, and so do all calls on some servers.
        return Done("tool-calls" if self._finish == "stop" and self._calls.count else self._finish)

    def _read(self, delta: _ChoiceDelta) -> Iterator[Event]:
        thought = delta.reasoning_content or delta.reasoning
        if thought and isinstance(thought, str):
            yield Thought(thought)
        if delta.refusal:
            self._finish = "refused"
        if text := delta.content or delta.refusal:
            yield Delta(text)
        for call in delta.tool_calls or ():
            yield from self._calls.read(call)


class _CallNumbers:
    """The calls of one answer. Servers that send each call whole may leave out `index`, or say 0 for each: then only a
    new id begins a new call."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._ids: list[str] = []

    @property
    def count(self) -> int:
        return len(self._ids)

    def read(self, delta: _CallDelta) -> Iterator[CallBegun | CallPiece]:
        given = delta.index or 0
        number = self._numbers.get(given)
        function = delta.function or _FunctionDelta()
        if number is None or (delta.id and delta.id != self._ids[number]):
            number = self._numbers[given] = self.count
            call_id = delta.id or f"call-{number}"
            self._ids.append(call_id)
            yield CallBegun(number, call_id, function.name or "")
        if function.arguments:
            yield CallPiece(number, function.arguments)


def _read_error(said: _ErrorMessage | str) -> Failure:
    error = _ErrorMessage(said) if isinstance(said, str) else said
    code = error.code if isinstance(error.code, str) else None
    status = error.code if isinstance(error.code, int) else None
    kind = name_kind(status, code, error.type)
    reason = "" if kind == "credential" else (error.message or "no reason given")[:REASON_CHARS_MAX]
    return Failure(kind, "openai", reason, status=status)


def tokens_of(usage: _CompletionUsage) -> Tokens | None:
    """Parts that are larger than their sum, which some servers send, are bounded by it. None for what is no number of
    tokens: then nobody has counted."""
    details, more = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = min(usage.prompt_tokens, (details and details.cached_tokens) or 0)
    reasoning = min(usage.completion_tokens, (more and more.reasoning_tokens) or 0)
    if not remote.is_count(usage.prompt_tokens, usage.completion_tokens, cached, reasoning):
        return None
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


def encode_options(prompt: Prompt) -> dict[str, Any]:
    """What a prompt asks beside its words; what it leaves to the provider is left out. Raises `msgspec.DecodeError` for
    a schema that is no JSON."""
    sampling = prompt.sampling
    options: dict[str, Any] = {}
    if prompt.tools:
        options["tools"] = [_encode_tool(tool) for tool in prompt.tools]
        options["tool_choice"] = _encode_choosing(prompt.choosing)
    if prompt.form:
        options["response_format"] = _encode_form(prompt.form)
    if sampling.temperature is not None:
        options["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        options["top_p"] = sampling.top_p
    if sampling.stop:
        options["stop"] = [*sampling.stop]
    return options


def encode_privacy(prompt: Prompt, settings: LlmSettings) -> dict[str, Any]:
    """Who asks, as a pseudonym, and that nothing is kept. Other servers of the dialect may refuse a field that they do
    not know, so they get the oldest one, and only when that is wished."""
    if settings.asks_maker:
        return {"store": False, **({"safety_identifier": prompt.user} if prompt.user else {})}
    return {"user": prompt.user} if prompt.user and settings.send_user == "always" else {}


def _encode_tool(tool: Tool) -> dict[str, Any]:
    parameters = msgspec.json.decode(tool.parameters)
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def _encode_choosing(choosing: Choosing) -> Any:
    named = choosing.mode == "named"
    return {"type": "function", "function": {"name": choosing.name}} if named else choosing.mode


def _encode_form(form: Form) -> dict[str, Any]:
    if not form.schema:
        return {"type": "json_object"}
    schema = msgspec.json.decode(form.schema)
    return {"type": "json_schema", "json_schema": {"name": form.name, "schema": schema, "strict": is_strict(schema)}}


def is_strict(schema: Any) -> bool:
    """Whether OpenAI can hold a model to this schema: each object in it names all that it has, and demands it. Others
    it refuses when they are to be kept strictly, and takes as a wish otherwise."""
    if isinstance(schema, list):
        return all(is_strict(each) for each in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties):
            return False
        return is_strict([*properties.values()]) and is_strict([*schema.get("$defs", {}).values()])
    return is_strict([*schema.values()])


class OpenAIProvider(remote.RemoteProvider):
    """See `Provider`."""

    name = "openai"

    def __init__(self, settings: LlmSettings, credential: Credential, clock: Clock = SYSTEM_CLOCK) -> None:
        url = f"{(settings.base_url or BASE_URL).rstrip('/')}/chat/completions"
        super().__init__(url, settings, credential, clock)

    def _authenticate(self, key: str) -> Mapping[str, str]:
        return {"authorization": f"Bearer {key}"} if key else {}

    def _encode(self, prompt: Prompt) -> Mapping[str, Any]:
        return {
            "model": self._settings.model,
            "max_completion_tokens": prompt.output_tokens_max,
            "messages": encode_messages(prompt),
            "stream": True,
            "stream_options": {"include_usage": True},
            **encode_options(prompt),
            **encode_privacy(prompt, self._settings),
        }

    def _new_decoder(self) -> OpenAIDecoder:
        return OpenAIDecoder()
