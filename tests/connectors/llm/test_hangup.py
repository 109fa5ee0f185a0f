"""Hanging up on a provider: it hears of it in that moment, however long the loop is busy with others."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

import pytest
import uvloop

from connectors.llm import hangup
from connectors.llm.wire import ProviderClient
from tests.patience import PATIENCE_S

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\ndata:\r\n"


class Listening:
    """A provider in a thread of its own, that begins to answer and then waits for its caller to leave."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection:
            connection.settimeout(PATIENCE_S)
            connection.recv(65_536)
            connection.sendall(HEAD)
            while connection.recv(65_536):
                pass
            self.closed.set()

    def end(self) -> None:
        self._thread.join(PATIENCE_S)
        self._server.close()


async def hang_up() -> None:
    provider, client = Listening(), None
    try:
        client = ProviderClient(provider.url, PATIENCE_S)
        reading, ended = asyncio.Event(), asyncio.Event()
        found: list[hangup.HangUp] = []

        async def read() -> None:
            found.append(hangup.listen())
            try:
                async with client.post({}, {}) as response:
                    assert await response.read(PATIENCE_S) == b"data:"
                    reading.set()
                    await response.read(PATIENCE_S)
            finally:
                ended.set()

        task = asyncio.create_task(read())
        await asyncio.wait_for(reading.wait(), PATIENCE_S)
        assert found[0].use()
        task.cancel()
        # Nothing else of this loop has had its turn: it stands still here.
        assert provider.closed.wait(PATIENCE_S)
        assert not ended.is_set()
        with pytest.raises(asyncio.CancelledError):
            await task
        found[0].use()  # a second time changes nothing
    finally:
        if client:
            await client.close()
        provider.end()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_provider_hears_of_it_before_anything_else_has_its_turn(run: object) -> None:
    assert callable(run)
    run(hang_up())


async def test_where_nobody_asks_yet_there_is_nothing_to_close() -> None:
    assert not hangup.listen().use()


async def test_a_connection_that_was_given_back_is_not_cut() -> None:
    """Two answers come over one connection: hanging up on the first afterwards does not touch the second."""
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2)
                asked += 1
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\ndata:")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    client = ProviderClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", PATIENCE_S)
    try:
        first = hangup.listen()
        async with client.post({}, {}) as response:
            assert await response.read(PATIENCE_S) == b"data:"
            await response.read_rest()
        hangup.listen()
        async with client.post({}, {}) as response:
            first.use()
            assert await response.read(PATIENCE_S) == b"data:"
        assert asked == 2
    finally:
        await client.close()
        server.close()
        await server.wait_closed()
