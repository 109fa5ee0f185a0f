"""Google's Gemini API, in its own dialect: `streamGenerateContent`.

Owns the request and the decoding of its chunks. Its dialect of OpenAI's loses the signatures of thoughts. Time-outs are
in `remote`.

Gemini counts cached tokens inside of the prompt and thoughts beside the answer, cumulatively, in each chunk: an answer
that was cut short is counted nearly to its end. No event ends an answer: it has ended where a reason was given and
nothing more comes.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

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
from connectors.llm.failures import Failure, codes_of, name_kind, read_delay
from connectors.llm.prompts import Choosing, Image, Prompt, PromptMessage, Reasoning, Text, Tool, ToolCall, ToolResult
from connectors.llm.sse import ServerEvent
from connectors.secrets import Credential
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.settings import LlmSettings

BASE_URL = "https://generativelanguage.googleapis.com"

_FINISH: dict[str, Finish] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "refused",
    "RECITATION": "refused",
    "BLOCKLIST": "refused",
    "PROHIBITED_CONTENT": "refused",
    "SPII": "refused",
    "LANGUAGE": "refused",
    "IMAGE_SAFETY": "refused",
}
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}


class _FunctionCall(msgspec.Struct):
    name: str = ""
    id: str = ""
    args: msgspec.Raw = msgspec.Raw(b"{}")


class _GeminiPart(msgspec.Struct, rename="camel"):
    text: str = ""
    thought: bool = False
    thought_signature: str = ""
    function_call: _FunctionCall | None = None


class _GeminiContent(msgspec.Struct):
    parts: list[_GeminiPart] = []


class _Candidate(msgspec.Struct, rename="camel"):
    content: _GeminiContent | None = None
    finish_reason: str | None = None


class _UsageMetadata(msgspec.Struct, rename="camel"):
    prompt_token_count: int = 0
    cached_content_token_count: int = 0
    tool_use_prompt_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0


class _PromptFeedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _GeminiChunk(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] = []
    usage_metadata: _UsageMetadata | None = None
    prompt_feedback: _PromptFeedback | None = None
    model_version: str = ""
    error: dict[str, Any] | None = None


_DECODER = msgspec.json.Decoder(_GeminiChunk)


class GeminiDecoder:
    """See `remote.AnswerDecoder`."""

    def __init__(self) -> None:
        self._started = False
        self._finish: Finish | None = None
        self._calls = 0
        self._counted: TokenUsage | None = None

    def decode(self, event: ServerEvent) -> Sequence[Event]:
        chunk = _DECODER.decode(event.data)
        if chunk.error is not None:
            return [Failed(_read_error(chunk.error))]
        events: list[Event] = []
        if not self._started:
            self._started = True
            events.append(Started(chunk.model_version))
        for candidate in chunk.candidates[:1]:  # one answer was asked for
            for part in candidate.content.parts if candidate.content else ():
                events += self._read(part)
            if candidate.finish_reason:
                self._finish = _FINISH.get(candidate.finish_reason, "other")
        if chunk.usage_metadata and (tokens := tokens_of(chunk.usage_metadata)):
            counted = TokenUsage(tokens, complete=self._finish is not None)
            if counted != self._counted:
                self._counted = counted
                events.append(counted)
        blocked = chunk.prompt_feedback and chunk.prompt_feedback.block_reason
        if blocked:
            events.append(Failed(Failure("refused", "gemini", blocked[:REASON_CHARS_MAX], "ask otherwise")))
        return events

    def end(self) -> Done | Failed:
        if self._finish is None:
            return remote.break_off("gemini")
        return Done("tool-calls" if self._finish == "stop" and self._calls else self._finish)

    def _read(self, part: _GeminiPart) -> Iterator[Event]:
        """A signature stands at the part that it is of; here it comes before it, as a thought without words."""
        if part.thought and (part.text or part.thought_signature):
            yield Thought(part.text, part.thought_signature)
            return
        if part.thought_signature:
            yield Thought("", part.thought_signature)
        if part.text:
            yield Delta(part.text)
        if call := part.function_call:
            yield CallBegun(self._calls, call.id or f"call-{self._calls}", call.name)
            yield CallPiece(self._calls, bytes(call.args).decode())
            self._calls += 1


def _read_error(error: Mapping[str, Any]) -> Failure:
    status = error.get("code") if isinstance(error.get("code"), int) else None
    kind = name_kind(status, *codes_of(error))
    reason = "" if kind == "credential" else str(error.get("message") or "no reason given")[:REASON_CHARS_MAX]
    return Failure(kind, "gemini", reason, status=status, retry_after_s=read_delay(error))


def tokens_of(usage: _UsageMetadata) -> Tokens | None:
    """The buckets of a count. What tools of Google's own read for the model is counted beside the prompt. None for what
    is no number of tokens: then nobody has counted."""
    counts = msgspec.structs.astuple(usage)
    if not remote.is_count(*counts):
        return None
    cached = min(usage.prompt_token_count, usage.cached_content_token_count)
    return Tokens(
        input_uncached=usage.prompt_token_count - cached + usage.tool_use_prompt_token_count,
        cache_read=cached,
        output_visible=usage.candidates_token_count,
        reasoning=usage.thoughts_token_count,
    )


def encode_request(prompt: Prompt) -> dict[str, Any]:
    """The body of a request; what a prompt leaves to the provider is left out. Raises `msgspec.DecodeError` for a
    schema that is no JSON."""
    names = {
        part.call_id: part.name for message in prompt.messages for part in message.parts if isinstance(part, ToolCall)
    }
    contents = [_encode_message(message, names) for message in prompt.messages]
    request: dict[str, Any] = {"contents": contents, "generationConfig": _encode_config(prompt)}
    if prompt.system:
        request["systemInstruction"] = {"parts": [{"text": prompt.system}]}
    if prompt.tools:
        request["tools"] = [{"functionDeclarations": [_encode_tool(tool) for tool in prompt.tools]}]
        request["toolConfig"] = {"functionCallingConfig": _encode_choosing(prompt.choosing)}
    return request


def _encode_config(prompt: Prompt) -> dict[str, Any]:
    sampling, config = prompt.sampling, {"maxOutputTokens": prompt.output_tokens_max}
    chosen: dict[str, Any] = {"temperature": sampling.temperature, "topP": sampling.top_p}
    if sampling.stop:
        chosen["stopSequences"] = [*sampling.stop]
    if prompt.form:
        chosen["responseMimeType"] = "application/json"
        chosen["responseJsonSchema"] = msgspec.json.decode(prompt.form.schema) if prompt.form.schema else None
    return config | {name: value for name, value in chosen.items() if value is not None}


def _encode_tool(tool: Tool) -> dict[str, Any]:
    schema = msgspec.json.decode(tool.parameters)
    return {"name": tool.name, "description": tool.description, "parametersJsonSchema": schema}


def _encode_choosing(choosing: Choosing) -> dict[str, Any]:
    named = {"allowedFunctionNames": [choosing.name]} if choosing.mode == "named" else {}
    return {"mode": _MODES[choosing.mode], **named}


def _encode_message(message: PromptMessage, names: Mapping[str, str]) -> dict[str, Any]:
    """A turn. Thoughts are not taken back, but their signatures are, at the part that came after."""
    parts, signature = [], ""
    for part in message.parts:
        if isinstance(part, Reasoning):
            signature = part.signature
        else:
            parts.append({**_encode_part(part, names), **({"thoughtSignature": signature} if signature else {})})
            signature = ""
    return {"role": "model" if message.role == "assistant" else "user", "parts": parts}


def _encode_part(part: Text | Image | ToolCall | ToolResult, names: Mapping[str, str]) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"text": part.text}
    if isinstance(part, Image):
        return {"inlineData": {"mimeType": part.media_type, "data": b64encode(part.content).decode()}}
    if isinstance(part, ToolCall):
        return {"functionCall": {"id": part.call_id, "name": part.name, "args": part.read_arguments()}}
    said = {"error" if part.failed else "output": part.text}
    return {"functionResponse": {"id": part.call_id, "name": names.get(part.call_id, ""), "response": said}}


class GeminiProvider(remote.RemoteProvider):
    """See `Provider`."""

    name = "gemini"

    def __init__(self, settings: LlmSettings, credential: Credential, clock: Clock = SYSTEM_CLOCK) -> None:
        base = (settings.base_url or BASE_URL).rstrip("/")
        url = f"{base}/v1beta/models/{quote(settings.model, safe='')}:streamGenerateContent?alt=sse"
        super().__init__(url, settings, credential, clock)

    def _authenticate(self, key: str) -> Mapping[str, str]:
        return {"x-goog-api-key": key} if key else {}

    def _encode(self, prompt: Prompt) -> Mapping[str, Any]:
        # New projects of paying customers keep what is asked, unless each request says no. Google's own servers take
        # the field; those of Vertex do not.
        kept: dict[str, Any] = {"store": False} if self._settings.asks_maker else {}
        return {**encode_request(prompt), **kept}

    def _new_decoder(self) -> GeminiDecoder:
        return GeminiDecoder()
