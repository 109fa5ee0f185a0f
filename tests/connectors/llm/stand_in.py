"""The fake provider in a test's hands: its server, with the bytes, the pauses and the faults that a test asks for, and
recorded shapes of the dialects. It knows when its client hung up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from connectors.llm.fake.bills import Bill, Outcome
from connectors.llm.fake.requests import FakeQuestion, ReceivedRequest, name_dialect
from connectors.llm.fake.scripts import FakePace, Pause, Reply, Send
from connectors.llm.fake.scripts import Step as FakeStep
from connectors.llm.fake.server import FakeLlm, listen

Step = bytes | float
"""Bytes to send, or seconds to pause."""
SILENT_S = 600.0
"""For ever, as far as a test can tell: whoever closes before this did not wait for the end."""


class StandIn(FakeLlm):
    """`script` is what is sent after the headers. `status` other than 200 sends `body` as JSON instead."""

    def __init__(self) -> None:
        super().__init__("whole", FakePace())
        self.script: Sequence[Step] = ()
        self.status = 200
        self.body: Any = {}
        self.headers: dict[str, str] = {}
        self.requests: list[dict[str, Any]] = []
        self.seen_headers: list[dict[str, str]] = []
        self.asked = asyncio.Event()
        self.closed = asyncio.Event()

    @property
    def open(self) -> int:
        return self.bills.stats.open

    def answer(self, request: ReceivedRequest) -> tuple[FakeQuestion, Reply]:
        self.requests.append({"path": request.path, **json.loads(request.body)})
        self.seen_headers.append({**request.headers})
        self.asked.set()
        question = FakeQuestion(name_dialect(request.path), "stand-in", 0)
        body = json.dumps(self.body).encode()
        return question, Reply("stand-in", self.status, self.headers, body, self._steps())

    def end(self, bill: Bill, outcome: Outcome) -> None:
        super().end(bill, outcome)
        if outcome == "client-gone":
            self.closed.set()

    def _steps(self) -> Iterator[FakeStep]:
        for step in self.script:
            yield Pause(step) if isinstance(step, float) else Send(step)


@asynccontextmanager
async def standing_in() -> AsyncIterator[StandIn]:
    stand_in = StandIn()
    async with listen(stand_in):
        yield stand_in


# --- recorded shapes ------------------------------------------------------------------------------------------------


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


ANTHROPIC_START = _event(
    "message_start",
    {
        "message": {
            "id": "msg_01",
            "type": "message",
            "role": "assistant",
            "model": "claude-test-1",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 25,
                "cache_creation_input_tokens": 300,
                "cache_read_input_tokens": 1000,
                "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
                "output_tokens": 1,
                "service_tier": "standard",
            },
        }
    },
) + _event("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})
ANTHROPIC_PING = _event("ping", {})
ANTHROPIC_ERROR = _event("error", {"error": {"type": "overloaded_error", "message": "Overloaded"}})
ANTHROPIC_END = (
    _event("content_block_stop", {"index": 0})
    + _event(
        "message_delta",
        {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 15}},
    )
    + _event("message_stop", {})
)


def anthropic_text(text: str) -> bytes:
    return _event("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}})


def anthropic_call(call_id: str, name: str, arguments: str, index: int = 1) -> bytes:
    block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    piece = {"type": "input_json_delta", "partial_json": arguments}
    return (
        _event("content_block_start", {"index": index, "content_block": block})
        + _event("content_block_delta", {"index": index, "delta": piece})
        + _event("content_block_stop", {"index": index})
    )


ANTHROPIC_CALLED = ANTHROPIC_END.replace(b'"end_turn"', b'"tool_use"')


def openai_chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    data = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1764000000,
        "model": "gpt-test-1",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        "usage": None,
    }
    return f"data: {json.dumps(data)}\n\n".encode()


def openai_text(text: str) -> bytes:
    return openai_chunk({"content": text})


OPENAI_START = openai_chunk({"role": "assistant", "content": "", "refusal": None})
OPENAI_ERROR = b'data: {"error": {"message": "The server had an error", "type": "server_error", "code": null}}\n\n'
OPENAI_USAGE = {
    "prompt_tokens": 1325,
    "completion_tokens": 40,
    "total_tokens": 1365,
    "prompt_tokens_details": {"cached_tokens": 1000, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 25, "audio_tokens": 0},
}
OPENAI_END = (
    openai_chunk({}, "stop")
    + b"data: "
    + json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "model": "gpt-test-1",
            "choices": [],
            "usage": OPENAI_USAGE,
        }
    ).encode()
    + b"\n\ndata: [DONE]\n\n"
)


def gemini_chunk(parts: list[dict[str, Any]], finish: str | None = None, usage: dict[str, int] | None = None) -> bytes:
    candidate = {"content": {"parts": parts, "role": "model"}, "index": 0}
    data = {
        "candidates": [candidate | ({"finishReason": finish} if finish else {})],
        "usageMetadata": usage or {"promptTokenCount": 1325, "cachedContentTokenCount": 1000, "totalTokenCount": 1325},
        "modelVersion": "gemini-test-1",
        "responseId": "r-1",
    }
    return f"data: {json.dumps(data)}\r\n\r\n".encode()


def gemini_text(text: str) -> bytes:
    return gemini_chunk([{"text": text}])


GEMINI_ERROR = b'data: {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}\r\n\r\n'
GEMINI_END = gemini_chunk(
    [{"text": ""}],
    "STOP",
    {
        "promptTokenCount": 1325,
        "cachedContentTokenCount": 1000,
        "candidatesTokenCount": 15,
        "thoughtsTokenCount": 25,
        "totalTokenCount": 1365,
    },
)
