"""What no SDK reads for us: Gemini's chunks, and servers that speak OpenAI's dialect a little differently."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from connectors.llm import CallBegun, CallPiece, Delta, Done, Event, Failed, Started, Thought, Tokens, TokenUsage
from connectors.llm.anthropic import AnthropicDecoder
from connectors.llm.gemini import GeminiDecoder
from connectors.llm.openai import OpenAIDecoder
from connectors.llm.remote import TOKENS_MAX, AnswerDecoder
from connectors.llm.sse import ServerEvent


def decode(decoder: AnswerDecoder, *chunks: Any) -> list[Event]:
    """The events of these chunks, and of the end when none of them has ended the answer."""
    events: list[Event] = []
    for chunk in chunks:
        data = chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode()
        events += decoder.decode(ServerEvent("message", data))
        if events and isinstance(events[-1], Done | Failed):
            return events
    return [*events, decoder.end()]


# --- endpoints that speak OpenAI's dialect --------------------------------------------------------------------------


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def answer(*deltas: dict[str, Any], finish: str = "stop") -> list[Event]:
    started, *events = decode(OpenAIDecoder(), *map(chunk, deltas), chunk({}, finish), b"[DONE]")
    assert started == Started("m")
    return events


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thoughts_have_two_names(field: str) -> None:
    assert answer({field: "Hm."}, {"content": "So."}) == [Thought("Hm."), Delta("So."), Done("stop")]


def test_what_is_no_text_is_no_thought() -> None:
    assert answer({"reasoning": {"effort": "low"}, "content": "So."}) == [Delta("So."), Done("stop")]


def call(arguments: str, **fields: Any) -> dict[str, Any]:
    return {"tool_calls": [{"type": "function", "function": {"name": "find", "arguments": arguments}, **fields}]}


@pytest.mark.parametrize("fields", [({"id": "a"}, {"id": "b"}), ({"id": "a", "index": 0}, {"id": "b", "index": 0})])
def test_whole_calls_without_numbers_are_told_apart_by_id(fields: tuple[dict[str, Any], dict[str, Any]]) -> None:
    one, two = fields
    assert answer(call('{"a":1}', **one), call('{"b":2}', **two), finish="tool_calls") == [
        CallBegun(0, "a", "find"),
        CallPiece(0, '{"a":1}'),
        CallBegun(1, "b", "find"),
        CallPiece(1, '{"b":2}'),
        Done("tool-calls"),
    ]


def test_pieces_of_two_calls_may_alternate() -> None:
    deltas = [
        call("{", id="a", index=0),
        call("[", id="b", index=1),
        call("}", index=0),
        call("]", index=1, id="b"),
    ]
    events = answer(*deltas)
    assert [event for event in events if isinstance(event, CallBegun)] == [
        CallBegun(0, "a", "find"),
        CallBegun(1, "b", "find"),
    ]
    pieces = [(event.index, event.arguments) for event in events if isinstance(event, CallPiece)]
    assert pieces == [(0, "{"), (1, "["), (0, "}"), (1, "]")]


def test_a_call_that_ends_with_stop_is_a_call_all_the_same() -> None:
    assert answer(call("{}", id="a", index=0))[-1] == Done("tool-calls")
    assert answer(call("{}", id="a", index=0), finish="length")[-1] == Done("length")


def test_a_call_without_an_id_gets_one() -> None:
    begun = answer(call("{}", index=0))[0]
    assert begun == CallBegun(0, "call-0", "find")


def test_usage_that_grows_is_complete_at_the_end() -> None:
    first, last = ({"prompt_tokens": 5, "completion_tokens": count} for count in (1, 2))
    events = decode(
        OpenAIDecoder(), chunk({"content": "x"}, usage=first), chunk({"content": "y"}, "stop", usage=last), b"[DONE]"
    )
    assert [event for event in events if isinstance(event, TokenUsage)] == [
        TokenUsage(Tokens(input_uncached=5, output_visible=1), complete=False),
        TokenUsage(Tokens(input_uncached=5, output_visible=2), complete=True),
    ]


@pytest.mark.parametrize("error", ["out of memory", {"message": "out of memory"}, {"code": 500, "message": "x"}, {}])
def test_an_error_has_many_forms(error: Any) -> None:
    last = decode(OpenAIDecoder(), chunk({"content": "x"}), {"error": error})[-1]
    assert isinstance(last, Failed)
    assert last.failure.kind == "overloaded"


@pytest.mark.parametrize("tokens", [-1, TOKENS_MAX + 1])
def test_what_is_no_number_of_tokens_is_not_counted(tokens: int) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5}
    events = decode(OpenAIDecoder(), chunk({"content": "x"}, "stop", usage=usage), b"[DONE]")
    assert events == [Started("m"), Delta("x"), Done("stop")]


# --- Anthropic ------------------------------------------------------------------------------------------------------


def test_an_end_without_a_reason_is_none() -> None:
    (last,) = decode(AnthropicDecoder(), {"type": "message_stop"})
    assert isinstance(last, Failed)
    assert last.failure.kind == "broken-stream"


def test_blocks_that_we_do_not_know_are_left_out() -> None:
    block = {"type": "server_tool_use", "id": "x", "name": "web_search", "input": {}}
    piece = {"type": "input_json_delta", "partial_json": "{}"}
    events = decode(
        AnthropicDecoder(),
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": piece},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "citations_delta", "citation": {}}},
        {"type": "something_new"},
        {"type": "message_delta", "delta": {"stop_reason": "pause_turn"}},
        {"type": "message_stop"},
    )
    assert events == [Done("other")]


# --- Gemini ---------------------------------------------------------------------------------------------------------


def part(*parts: dict[str, Any], finish: str = "", **usage: int) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [*parts], "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    counted = {"usageMetadata": {f"{name}TokenCount": count for name, count in usage.items()}} if usage else {}
    return {"candidates": [candidate], "modelVersion": "gemini-3-pro", **counted}


def test_usage_is_cumulative_and_said_when_it_changes() -> None:
    events = decode(
        GeminiDecoder(),
        part({"text": "One"}, prompt=30, cachedContent=10, toolUsePrompt=4),
        part({"text": " two"}, prompt=30, cachedContent=10, toolUsePrompt=4),
        part({"text": "."}, prompt=30, cachedContent=10, toolUsePrompt=4, candidates=3, thoughts=7),
        part(finish="STOP", prompt=30, cachedContent=10, toolUsePrompt=4, candidates=4, thoughts=7),
    )
    read = Tokens(input_uncached=24, cache_read=10)
    assert [event for event in events if isinstance(event, TokenUsage)] == [
        TokenUsage(read, complete=False),
        TokenUsage(msgspec.structs.replace(read, output_visible=3, reasoning=7), complete=False),
        TokenUsage(msgspec.structs.replace(read, output_visible=4, reasoning=7), complete=True),
    ]
    assert "".join(event.text for event in events if isinstance(event, Delta)) == "One two."
    assert events[-1] == Done("stop")


def test_thoughts_calls_and_signatures() -> None:
    events = decode(
        GeminiDecoder(),
        part({"text": "Hm.", "thought": True}),
        part({"functionCall": {"name": "find", "args": {"words": "bus"}}, "thoughtSignature": "c2ln"}),
        part({"functionCall": {"id": "given", "name": "read"}}, finish="STOP"),
    )
    assert events == [
        Started("gemini-3-pro"),
        Thought("Hm."),
        Thought("", "c2ln"),
        CallBegun(0, "call-0", "find"),
        CallPiece(0, '{"words": "bus"}'),
        CallBegun(1, "given", "read"),
        CallPiece(1, "{}"),
        Done("tool-calls"),
    ]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "refused"), ("MALFORMED_FUNCTION_CALL", "other")],
)
def test_reasons_to_end(reason: str, finish: str) -> None:
    assert decode(GeminiDecoder(), part({"text": "x"}, finish=reason))[-1] == Done(finish)  # type: ignore[arg-type]


def test_no_reason_is_no_end() -> None:
    for chunks in ([], [part({"text": "x"})], [{"usageMetadata": {"promptTokenCount": 3}}]):
        last = decode(GeminiDecoder(), *chunks)[-1]
        assert isinstance(last, Failed)
        assert last.failure.kind == "broken-stream"


def test_a_question_that_is_blocked_is_refused() -> None:
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 9}}
    _, usage, last = decode(GeminiDecoder(), blocked)
    assert usage == TokenUsage(Tokens(input_uncached=9), complete=False)
    assert isinstance(last, Failed)
    assert (last.failure.kind, last.failure.detail) == ("refused", "PROHIBITED_CONTENT")


def test_an_error_in_the_stream_has_its_wait() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]
    error = {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED", "details": details}
    (last,) = decode(GeminiDecoder(), {"error": error})
    assert isinstance(last, Failed)
    failure = last.failure
    assert (failure.kind, failure.status, failure.retry_after_s) == ("rate-limit", 429, 34.5)


def test_a_key_is_not_repeated() -> None:
    error = {"code": 400, "message": "API key AIza-secret not valid.", "details": [{"reason": "API_KEY_INVALID"}]}
    (last,) = decode(GeminiDecoder(), {"error": error})
    assert isinstance(last, Failed)
    assert (last.failure.kind, last.failure.detail) == ("credential", "")


@pytest.mark.parametrize("tokens", [-1, TOKENS_MAX + 1])
def test_what_is_no_number_of_tokens_is_not_counted_of_gemini(tokens: int) -> None:
    events = decode(GeminiDecoder(), part({"text": "x"}, finish="STOP", prompt=tokens))
    assert events == [Started("gemini-3-pro"), Delta("x"), Done("stop")]
