"""An HTTP server that speaks the streaming protocols of Anthropic and OpenAI: recorded shapes, in the pieces, with the
pauses and the faults that a test asks for. It knows when its client hung up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

Step = bytes | float
"""Bytes to send, or seconds to pause."""
SILENT_S = 600.0
"""For ever, as far as a test can tell: whoever closes before this did not wait for the end."""


class StandIn:
    """`script` is what is sent after the headers. `status` other than 200 sends `body` as JSON instead."""

    def __init__(self) -> None:
        self.script: Sequence[Step] = ()
        self.status = 200
        self.body: Any = {}
        self.headers: dict[str, str] = {}
        self.requests: list[dict[str, Any]] = []
        self.seen_headers: list[dict[str, str]] = []
        self.asked = asyncio.Event()
        self.closed = asyncio.Event()
        self.open = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        watch: asyncio.Task[None] | None = None
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            request = json.loads(await reader.readexactly(int(headers["content-length"])))
            self.requests.append({"path": head[0].split(" ")[1], **request})
            self.seen_headers.append(headers)
            self.asked.set()
            watch = asyncio.create_task(self._watch(reader))
            await self._answer(writer)
            await watch
        except (ConnectionError, asyncio.IncompleteReadError):
            self._closed()
        finally:
            if watch:
                watch.cancel()
            self.open -= 1
            writer.close()

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        await reader.read(1)
        self._closed()

    def _closed(self) -> None:
        if not self.closed.is_set():
            self.closed.set()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        if self.status != 200:
            body = json.dumps(self.body).encode()
            extra = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            writer.write(
                f"HTTP/1.1 {self.status} No\r\ncontent-type: application/json\r\n{extra}"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for step in self.script:
            if isinstance(step, float):
                await writer.drain()
                await self._pause(step)
                if self.closed.is_set():
                    return
            else:
                writer.write(f"{len(step):x}\r\n".encode() + step + b"\r\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.closed.wait()
        except TimeoutError:
            return


@asynccontextmanager
async def standing_in() -> AsyncIterator[StandIn]:
    stand_in = StandIn()
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(stand_in.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    stand_in.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield stand_in
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


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
