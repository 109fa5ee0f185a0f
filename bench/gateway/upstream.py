"""A model's server that says nothing, as fast or as slowly as it is told: the far end of every measurement.

It speaks OpenAI's Chat Completions. What it is to do stands in the last message, as
`ttft_ms=50 gap_ms=500 chunks=10 id=7`. Each piece holds the time at which it was written, `t=<nanoseconds>`, which no
gateway changes; so whoever reads it knows how long it was on its way. `GET /state` has how many answers are open, and
when each was left by its reader.

Owns as little work as can be: it shares the machine with what is measured. Run it as `python -m bench.gateway.upstream
PORT`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import Any

import uvloop

PLAN = re.compile(rb"ttft_ms=(\d+) gap_ms=(\d+) chunks=(\d+) id=(\d+)")
AT_ONCE = 50
"""Pieces of one write where there is no gap between them."""
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\n%s\r\n"
_PIECE = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"fake-model","choices":'
    b'[{"index":0,"delta":{"content":"t=%d "},"finish_reason":null}]}\n\n'
)
_FIRST = _PIECE.replace(b'{"content":"t=%d "}', b'{"role":"assistant","content":""}')
_LAST = (
    _PIECE.replace(b'{"content":"t=%d "}', b"{}").replace(b"null", b'"stop"')
    + b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"fake-model","choices":[],'
    b'"usage":{"prompt_tokens":50,"completion_tokens":%d,"total_tokens":%d}}\n\ndata: [DONE]\n\n'
)
_WHOLE = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"fake-model","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"t=%d "},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":50,"completion_tokens":1,"total_tokens":51}}'
)


class State:
    """What is open, and who left when (seconds of the monotonic clock, by the id of the answer)."""

    def __init__(self) -> None:
        self.open = 0
        self.left: dict[int, float] = {}


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Answering(asyncio.Protocol):
    """One connection: one request after the other."""

    def __init__(self, state: State, loop: asyncio.AbstractEventLoop) -> None:
        self._state = state
        self._loop = loop
        self._read = b""
        self._timer: asyncio.Handle | None = None
        self._id: int | None = None
        self._paused = False
        self._left = self._gap_s = self._said = 0.0
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        if self._id is not None:
            self._state.left[self._id] = time.monotonic()
            self._state.open -= 1
            self._id = None

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._id is not None and not self._gap_s:
            self._loop.call_soon(self._say)

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if not found:
            return
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if len(body) < (int(length[1]) if length else 0):
            return
        self._read = b""
        if head.startswith(b"GET /state"):
            told = json.dumps({"open": self._state.open, "left": self._state.left}).encode()
            self._state.left.clear()
            self._answer(told)
        else:
            self._begin(body)

    def _begin(self, body: bytes) -> None:
        ttft_ms, gap_ms, chunks, number = map(int, PLAN.findall(body)[-1])
        if not re.search(rb'"stream": ?true', body):
            self._timer = self._loop.call_later(ttft_ms / 1000, lambda: self._answer(_WHOLE % time.time_ns()))
            return
        self._id, self._left, self._gap_s, self._said = number, chunks, gap_ms / 1000, 0
        self._state.open += 1
        self._transport.write(HEAD % (b"text/event-stream", b"transfer-encoding: chunked\r\n") + _chunk(_FIRST))
        self._timer = self._loop.call_later(ttft_ms / 1000, self._say)

    def _answer(self, body: bytes) -> None:
        self._transport.write(HEAD % (b"application/json", b"content-length: %d\r\n" % len(body)) + body)

    def _say(self) -> None:
        """The next pieces: one, or as many as are taken where there is no gap."""
        if self._id is None:
            return
        while self._left and not self._paused:
            count = 1 if self._gap_s else int(min(AT_ONCE, self._left))
            self._transport.write(b"".join(_chunk(_PIECE % time.time_ns()) for _ in range(count)))
            self._left -= count
            self._said += count
            if self._gap_s:
                self._timer = self._loop.call_later(self._gap_s, self._say)
                return
        if not self._left:
            self._transport.write(_chunk(_LAST % (self._said, 50 + self._said)) + b"0\r\n\r\n")
            self._id = None
            self._state.open -= 1


async def serve(port: int) -> None:
    state, loop = State(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answering(state, loop), "127.0.0.1", port, backlog=16_384)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
