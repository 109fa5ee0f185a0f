"""The bytes of an answer in each dialect, as its provider sends them. Pure.

Owns the shapes of events, and of refusals. One object writes one answer, since some dialects number its parts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec

from connectors.llm.fake.requests import DialectName, FakeQuestion

Reason = Literal["stop", "length", "tool-calls", "refused"]
SIGNATURE = "ZmFrZQ=="
"""What signs a thought of a provider that signs them."""

_ENCODER = msgspec.json.Encoder()
_OPENAI_REASONS = {"stop": "stop", "length": "length", "tool-calls": "tool_calls", "refused": "content_filter"}
_ANTHROPIC_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool-calls": "tool_use", "refused": "refusal"}
_GEMINI_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool-calls": "STOP", "refused": "SAFETY"}
_ANTHROPIC_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OPENAI_ERRORS = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
_GEMINI_ERRORS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class FakeUsage(msgspec.Struct, frozen=True):
    """What is said of usage, in tokens: `cached` is a part of the input, `reasoning` of the output."""

    input_tokens: int
    output_tokens: int
    cached: int = 0
    reasoning: int = 0


class AnswerFrames(Protocol):
    """Writes one answer. Each method is the bytes of whole events."""

    def start(self, usage: FakeUsage | None) -> bytes: ...

    def text(self, text: str) -> bytes: ...

    def think(self, text: str) -> bytes: ...

    def call(self, name: str, arguments: str) -> bytes: ...

    def finish(self, reason: Reason, usage: FakeUsage | None) -> bytes:
        """The reason to end, and what was used, where that is said."""

    def end(self) -> bytes:
        """The event that ends every whole answer; empty in a dialect that has none."""

    def error(self) -> bytes:
        """An error that is found when the answer has begun."""


def write_frames(question: FakeQuestion) -> AnswerFrames:
    """The dialect's own, for one answer."""
    kinds: dict[DialectName, Callable[[str], AnswerFrames]] = {
        "openai": OpenAIFrames,
        "anthropic": AnthropicFrames,
        "gemini": GeminiFrames,
    }
    return kinds[question.dialect](question.model)


def _data(event: Any) -> bytes:
    return b"data: " + _ENCODER.encode(event) + b"\n\n"


class OpenAIFrames:
    """Chat Completions."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._calls = 0

    def start(self, usage: FakeUsage | None) -> bytes:
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def text(self, text: str) -> bytes:
        return self._chunk({"content": text})

    def think(self, text: str) -> bytes:
        return self._chunk({"reasoning_content": text})

    def call(self, name: str, arguments: str) -> bytes:
        number, self._calls = self._calls, self._calls + 1
        begun = {"index": number, "id": f"call_{number}", "type": "function"}
        half = len(arguments) // 2
        return self._chunk({"tool_calls": [{**begun, "function": {"name": name, "arguments": ""}}]}) + b"".join(
            self._chunk({"tool_calls": [{"index": number, "function": {"arguments": piece}}]})
            for piece in (arguments[:half], arguments[half:])
        )

    def finish(self, reason: Reason, usage: FakeUsage | None) -> bytes:
        ended = self._chunk({}, _OPENAI_REASONS[reason])
        if usage is None:
            return ended
        said = {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": 0},
        }
        return ended + _data({**self._head(), "choices": [], "usage": said})

    def end(self) -> bytes:
        return b"data: [DONE]\n\n"

    def error(self) -> bytes:
        return _data({"error": {"message": "The server had an error", "type": "server_error", "code": None}})

    def _head(self) -> dict[str, Any]:
        return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1764000000, "model": self._model}

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _data({**self._head(), "choices": [choice], "usage": None})


class AnthropicFrames:
    """Messages. Text, thoughts and calls are blocks, of which one is open at a time."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._block = -1
        self._open = ""

    def start(self, usage: FakeUsage | None) -> bytes:
        message: dict[str, Any] = {
            "id": "msg_01",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self._usage(usage, 1) if usage else {},
        }
        return self._event("message_start", message=message) + self._event("ping")

    def text(self, text: str) -> bytes:
        opened = self._open_block("text", {"type": "text", "text": ""})
        return opened + self._delta({"type": "text_delta", "text": text})

    def think(self, text: str) -> bytes:
        opened = self._open_block("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        return opened + self._delta({"type": "thinking_delta", "thinking": text})

    def call(self, name: str, arguments: str) -> bytes:
        closed = self._close_block()
        block = {"type": "tool_use", "id": f"toolu_{self._block + 1}", "name": name, "input": {}}
        half = len(arguments) // 2
        return (
            closed
            + self._open_block("tool_use", block)
            + b"".join(
                self._delta({"type": "input_json_delta", "partial_json": piece})
                for piece in ("", arguments[:half], arguments[half:])
            )
        )

    def finish(self, reason: Reason, usage: FakeUsage | None) -> bytes:
        said: dict[str, Any] = {"usage": self._usage(usage, usage.output_tokens)} if usage else {}
        delta = {"stop_reason": _ANTHROPIC_REASONS[reason], "stop_sequence": None}
        return self._close_block() + self._event("message_delta", delta=delta, **said)

    def end(self) -> bytes:
        return self._event("message_stop")

    def error(self) -> bytes:
        return self._event("error", error={"type": "overloaded_error", "message": "Overloaded"})

    def _usage(self, usage: FakeUsage, output_tokens: int) -> dict[str, Any]:
        return {
            "input_tokens": usage.input_tokens - min(usage.cached, max(0, usage.input_tokens)),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": usage.cached,
            "output_tokens": output_tokens,
        }

    def _event(self, name: str, **fields: Any) -> bytes:
        return f"event: {name}\n".encode() + _data({"type": name, **fields})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return self._event("content_block_delta", index=self._block, delta=delta)

    def _open_block(self, kind: str, block: dict[str, Any]) -> bytes:
        if self._open == kind:
            return b""
        closed = self._close_block()
        self._block, self._open = self._block + 1, kind
        return closed + self._event("content_block_start", index=self._block, content_block=block)

    def _close_block(self) -> bytes:
        kind, self._open = self._open, ""
        if not kind:
            return b""
        signed = self._delta({"type": "signature_delta", "signature": SIGNATURE}) if kind == "thinking" else b""
        return signed + self._event("content_block_stop", index=self._block)


class GeminiFrames:
    """`streamGenerateContent`. Usage so far is in each chunk, and no event ends the answer."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._usage: FakeUsage | None = None

    def start(self, usage: FakeUsage | None) -> bytes:
        self._usage = usage
        return b""  # its first event has text already

    def text(self, text: str) -> bytes:
        return self._piece({"text": text})

    def think(self, text: str) -> bytes:
        return self._piece({"text": text, "thought": True})

    def call(self, name: str, arguments: str) -> bytes:
        call = {"name": name, "args": msgspec.Raw(arguments.encode())}
        return self._piece({"functionCall": call, "thoughtSignature": SIGNATURE})

    def finish(self, reason: Reason, usage: FakeUsage | None) -> bytes:
        return self._chunk({"text": ""}, usage, _GEMINI_REASONS[reason])

    def end(self) -> bytes:
        return b""

    def error(self) -> bytes:
        return _data({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}})

    def _piece(self, part: dict[str, Any]) -> bytes:
        if used := self._usage:
            thought = used.reasoning + bool(part.get("thought"))
            self._usage = FakeUsage(used.input_tokens, used.output_tokens + 1, reasoning=thought)
        return self._chunk(part, self._usage)

    def _chunk(self, part: dict[str, Any], usage: FakeUsage | None, reason: str | None = None) -> bytes:
        candidate: dict[str, Any] = {"content": {"parts": [part], "role": "model"}, "index": 0}
        if reason:
            candidate["finishReason"] = reason
        chunk: dict[str, Any] = {"candidates": [candidate], "modelVersion": self._model, "responseId": "r1"}
        if usage:
            chunk["usageMetadata"] = {
                "promptTokenCount": usage.input_tokens,
                "cachedContentTokenCount": usage.cached,
                "candidatesTokenCount": usage.output_tokens - min(usage.reasoning, max(0, usage.output_tokens)),
                "thoughtsTokenCount": usage.reasoning,
                "totalTokenCount": usage.input_tokens + usage.output_tokens,
            }
        return _data(chunk)


def write_refusal(dialect: DialectName, status: int, message: str, delay_s: float | None = None) -> bytes:
    """The body of an answer that is none. `delay_s`, in seconds, is said in the body, in Google's form."""
    details = {}
    if delay_s is not None:
        retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{delay_s:g}s"}
        details = {"details": [retry]}
    if dialect == "anthropic":
        kind = _ANTHROPIC_ERRORS.get(status, "api_error")
        return _ENCODER.encode({"type": "error", "error": {"type": kind, "message": message, **details}})
    if dialect == "openai":
        kind = "server_error" if status >= 500 else "invalid_request_error"
        named = {"message": message, "type": kind, "param": None, "code": _OPENAI_ERRORS.get(status)}
        return _ENCODER.encode({"error": {**named, **details}})
    known = _GEMINI_ERRORS.get(status, "UNKNOWN")
    return _ENCODER.encode({"error": {"code": status, "message": message, "status": known, **details}})
