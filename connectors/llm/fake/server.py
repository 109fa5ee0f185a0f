"""The HTTP server of the fake provider, on asyncio alone.

Owns connections: reading requests within bounds, playing the steps of a reply, and seeing at once that a client is
gone. What a reply is comes from outside (`scripts` for the command, anything for a test). `GET /bills` and `GET /stats`
show the books.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from connectors.llm.fake.bills import Bill, Bills, Outcome
from connectors.llm.fake.frames import write_refusal
from connectors.llm.fake.requests import FakeQuestion, ReceivedRequest, name_dialect
from connectors.llm.fake.scripts import Cut, FakePace, Pause, Reply, reply
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import CallerError, InvalidInput, NotFound

HEAD_BYTES_MAX = 65_536
BODY_BYTES_MAX = 67_108_864
"""Largest request, in bytes: a long conversation with some pictures."""
CONNECTIONS_WAITING_MAX = 4_096
"""Connections that the machine holds until they are accepted: a load may open thousands at once."""

_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_ENCODER = msgspec.json.Encoder()


class FakeLlm:
    """One fake provider: its books, and what it does with each request. Its `url` is known when it listens."""

    def __init__(self, script: str, pace: FakePace, clock: Clock = SYSTEM_CLOCK) -> None:
        self.url = ""
        self.bills = Bills()
        self.clock = clock
        self._script = script
        self._pace = pace

    def answer(self, request: ReceivedRequest) -> tuple[FakeQuestion, Reply]:
        """What is done with a request. Raises `NotFound` and `InvalidInput` for one that no provider would take."""
        return reply(request, self._script, self._pace, self.clock.now())

    def end(self, bill: Bill, outcome: Outcome) -> None:
        """A request has ended."""
        self.bills.close(bill, outcome, self.clock.now())


class _Connection(asyncio.Protocol):
    """One connection: requests one after the other, each answered by a task that ends with the connection."""

    def __init__(self, fake: FakeLlm, connections: set[_Connection]) -> None:
        self.task: asyncio.Task[None] | None = None
        """Answers the request that was taken."""
        self._fake = fake
        self._connections = connections
        self._received = bytearray()
        self._bill: Bill | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    # --- what asyncio calls ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self.task is None:
            self._go_on()
        elif len(self._received) > HEAD_BYTES_MAX + BODY_BYTES_MAX:
            self._transport.abort()

    def eof_received(self) -> None:
        self._leave()

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        self._leave()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def abort(self) -> None:
        """Close it now, whatever is being sent."""
        self._transport.abort()

    # --- requests -------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Take the requests that are there, until one of them is being answered."""
        try:
            while self.task is None and (taken := self._take_request()) is not None:
                method, target, received = taken
                if method == "GET":
                    self._show(target)
                else:
                    self._begin(received)
        except InvalidInput as error:
            self._send_whole(error.status, _ENCODER.encode({"error": error.detail}), {"connection": "close"})
            self._transport.close()

    def _take_request(self) -> tuple[str, str, ReceivedRequest] | None:
        """Method, target and request. None while it is not there in full. Raises `InvalidInput` beyond the bounds."""
        end = self._received.find(b"\r\n\r\n")
        if max(end, 0 if end >= 0 else len(self._received)) > HEAD_BYTES_MAX:
            raise InvalidInput(f"the head of the request is longer than {HEAD_BYTES_MAX} bytes")
        if end < 0:
            return None
        first, *lines = self._received[:end].decode("latin-1").split("\r\n")
        method, target, *_ = [*first.split(" "), ""]
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > BODY_BYTES_MAX or "transfer-encoding" in headers:
            raise InvalidInput(f"the request does not say how long it is, or is longer than {BODY_BYTES_MAX} bytes")
        begins, ends = end + len(b"\r\n\r\n"), end + len(b"\r\n\r\n") + int(length)
        if len(self._received) < ends:
            return None
        body = bytes(self._received[begins:ends])
        del self._received[:ends]
        return method, target, ReceivedRequest(unquote(urlsplit(target).path), headers, body)

    def _show(self, target: str) -> None:
        parts = urlsplit(target)
        if parts.path == "/stats":
            self._send_whole(200, _ENCODER.encode(self._fake.bills.stats))
        elif parts.path == "/bills":
            since = parse_qs(parts.query).get("since", ["0"])[0]
            self._send_whole(200, _ENCODER.encode(self._fake.bills.since(int(since) if since.isdigit() else 0)))
        else:
            self._send_whole(404, b'{"error":"what can be read here is /bills and /stats"}')

    def _begin(self, received: ReceivedRequest) -> None:
        try:
            question, found = self._fake.answer(received)
        except CallerError as error:
            self._refuse(received, error)
            return
        bill = self._fake.bills.open(
            question.dialect, question.model, found.script, found.status, self._fake.clock.now()
        )
        if found.status == 200:
            bill.input_tokens = question.input_tokens
        self._bill = bill
        self.task = asyncio.create_task(self._play(found, bill))
        # Not the task's own `finally`: a task that is cancelled before it runs has none.
        self.task.add_done_callback(self._conclude)

    def _refuse(self, received: ReceivedRequest, error: CallerError) -> None:
        """A request that the fake does not understand. Whoever writes a client sees why."""
        try:
            dialect = name_dialect(received.path)
        except NotFound:
            dialect = "openai"
        message = f"{error.detail}; {error.hint}" if error.hint else error.detail
        self._send_whole(error.status, write_refusal(dialect, error.status, message))

    def _send_whole(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        named = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = f"HTTP/1.1 {status} Fake\r\ncontent-type: application/json\r\n{named}content-length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode("latin-1") + body)

    # --- one answer -----------------------------------------------------------------------------------------------

    async def _play(self, found: Reply, bill: Bill) -> None:
        if found.status not in (0, 200):
            self._send_whole(found.status, found.body, {**found.headers})
            self._fake.end(bill, "refused")
            return
        streams = found.status == 200
        if streams:
            self._transport.write(_STREAM)
        for step in found.steps:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Cut):
                self._fake.end(bill, "cut")
                self._transport.close()  # what was written still goes out
                return
            elif step.data:
                self._transport.write(f"{len(step.data):x}\r\n".encode() + step.data + b"\r\n")
                bill.output_tokens += step.tokens
                await self._may_write.wait()
        if streams:
            self._transport.write(_LAST_CHUNK)
        self._fake.end(bill, "sent")

    def _conclude(self, task: asyncio.Task[None]) -> None:
        self.task = self._bill = None
        if not task.cancelled() and (error := task.exception()):
            self._transport.abort()
            raise error  # a script is wrong: the loop says so
        if not self._transport.is_closing():
            self._go_on()

    def _leave(self) -> None:
        """The client is gone, or we have closed."""
        if self._bill is not None:
            self._fake.end(self._bill, "client-gone")
        if self.task is not None:
            self.task.cancel()


@asynccontextmanager
async def listen(fake: FakeLlm, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[FakeLlm]:
    """Serve until the end of the block. Port 0 is one that is free; `OSError` when it cannot be had."""
    loop = asyncio.get_running_loop()
    connections: set[_Connection] = set()
    server = await loop.create_server(
        lambda: _Connection(fake, connections), host, port, backlog=CONNECTIONS_WAITING_MAX
    )
    fake.url = f"http://{host}:{server.sockets[0].getsockname()[1]}"
    try:
        yield fake
    finally:
        server.close()
        open_now = [*connections]
        answering = [connection.task for connection in open_now if connection.task]
        for connection in open_now:
            connection.abort()
        await asyncio.gather(*answering, return_exceptions=True)
        await server.wait_closed()
