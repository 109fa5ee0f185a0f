"""Clients that nobody would wish for, over real sockets on the server that runs in production: each is bounded."""

from __future__ import annotations

import asyncio
import json
import re
import select
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from api.chat.answers import ANSWER_BYTES_MAX
from api.chat.dialects.conversations import CONVERSATION_BYTES_MAX
from connectors.llm.fake.scripts import FakePace
from runtime.settings import Settings
from tests.api.chat.test_connections import furnished
from tests.api.search.corpus import Corpus
from tests.api.spend.fleet import Fleet, completion, fleet, read_stream
from tests.api.test_server import Server
from tests.api.world import Caller
from tests.databases import ask
from tests.patience import PATIENCE_S, soon

pytestmark = pytest.mark.stack

PATH = "/v1/chat/completions"
CHUNKS = 2_000
NEVER_READ = 3
"""Clients that ask and do not read."""
GAP_S = 0.0005
TOTAL_S = 30.0
"""Where an answer ends that does not end by itself, if it has not come to its bound in bytes before."""
GROWTH_BYTES_MAX = NEVER_READ * 16 * ANSWER_BYTES_MAX
"""What a process may take for them: their answers as events, and what is on its way to each."""
BODY_S_MAX = 2.0


@asynccontextmanager
async def one_process(
    settings: Settings, corpus: Corpus, folder: Path, gap_s: float = 0.0
) -> AsyncIterator[tuple[Fleet, Caller]]:
    tenant = await furnished(settings, corpus)
    pace, scripts = FakePace(gap_s=gap_s, chunks=CHUNKS), ("whole", "endless")
    more = {"ADRIATIC_API__BODY_S_MAX": f"{BODY_S_MAX:g}", "ADRIATIC_LLM__TOTAL_S": f"{TOTAL_S:g}"}
    async with fleet(settings, folder, pace, scripts, 1, None, **more) as world:
        yield world, world.caller(world.servers[0], tenant.tenant_id)


def head(caller: Caller, *lines: str) -> bytes:
    common = ("host: api", f"authorization: Bearer {caller.token}", "content-type: application/json")
    return "\r\n".join((f"POST {PATH} HTTP/1.1", *common, *lines, "", "")).encode()


def connect(server: Server, receive_bytes: int = 0) -> socket.socket:
    connection = socket.socket()
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(PATIENCE_S)
    connection.connect(("127.0.0.1", server.port))
    return connection


def ask_and_keep_silent(server: Server, caller: Caller, body: dict[str, Any]) -> socket.socket:
    content = json.dumps(body).encode()
    connection = connect(server, receive_bytes=4_096)
    connection.sendall(head(caller, f"content-length: {len(content)}") + content)
    return connection


async def test_clients_that_never_read_hold_up_nobody_and_their_answers_end(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    async with one_process(fresh_database, corpus, tmp_path, gap_s=GAP_S) as (world, caller):
        (server,) = world.servers
        short = {"max_tokens": 5}
        status, _ = await read_stream(caller, PATH, completion("whole", "first", **short))
        assert status == 200
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        with ExitStack() as stack:
            for number in range(NEVER_READ):
                question = completion("endless", f"silent-{number}")
                connection = await asyncio.to_thread(ask_and_keep_silent, server, caller, question)
                stack.enter_context(connection)
            await soon(lambda: world.fake.bills.stats.requests == 1 + NEVER_READ, "their questions")
            status, content = await read_stream(caller, PATH, completion("whole", "between", **short))
            assert (status, content.endswith(b"data: [DONE]\n\n")) == (200, True), "others are served meanwhile"
            await soon(lambda: world.fake.bills.stats.open == 0, "the end of their answers")
            rows = "select outcome, count(*) from app.usage_events group by outcome order by outcome"
            ended = [("completed", 2), ("failed", NEVER_READ)]
            await soon(lambda: ask(fresh_database.postgres.dsn("admin"), rows) == ended, "their rows")
            grown = process.memory_info().rss - before
            written = sum(bill.output_tokens for bill in world.fake.all_bills())
            print(f"{grown >> 20} MB more for {NEVER_READ} clients that do not read {written} pieces")
            assert grown < GROWTH_BYTES_MAX
        status, _ = await read_stream(caller, PATH, completion("whole", "last", **short))
        assert status == 200


async def test_a_slow_client_gets_all_of_it(fresh_database: Settings, corpus: Corpus, tmp_path: Path) -> None:
    async with one_process(fresh_database, corpus, tmp_path) as (world, caller):
        connection = await asyncio.to_thread(
            ask_and_keep_silent, world.servers[0], caller, completion("whole", "slow", max_tokens=CHUNKS)
        )
        await soon(lambda: world.fake.bills.stats.requests == 1, "the question")
        await soon(lambda: world.fake.bills.stats.open == 0, "what the provider had to say: nobody waits for the slow")

        def read_slowly() -> bytes:
            content = b""
            while not content.endswith(b"0\r\n\r\n"):
                content += connection.recv(4_096)
            return content

        content = await asyncio.to_thread(read_slowly)
        connection.close()
        said = b"".join(re.findall(rb'"content":"([^"]*)"', content))
        assert len(said.split()) == CHUNKS, "a word of each piece, several of which may come in one event"
        assert b"data: [DONE]" in content
        (bill,) = world.fake.all_bills()
        await soon(lambda: ask(fresh_database.postgres.dsn("admin"), _COSTS) == [(bill.cost_micro_usd,)], "its row")


_COSTS = "select cost_micro_usd from app.usage_events"


async def test_bodies_that_are_huge_or_do_not_come_are_refused_and_ask_nobody(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    async with one_process(fresh_database, corpus, tmp_path) as (world, caller):
        (server,) = world.servers

        def send(request: bytes, parts: int, part: bytes, last: bytes, pause_s: float = 0.0) -> bytes:
            """The first bytes of the answer. With a pause they are looked for between two parts."""
            with connect(server) as connection:
                with suppress(ConnectionError):
                    connection.sendall(request)
                    for _ in range(parts):
                        connection.sendall(part)
                        if pause_s and select.select([connection], [], [], pause_s)[0]:
                            break
                    connection.sendall(last)
                return connection.recv(65_536)

        megabyte = b"100000\r\n" + b" " * 1_048_576 + b"\r\n"
        megabytes = CONVERSATION_BYTES_MAX // 1_048_576 + 2
        unannounced = head(caller, "transfer-encoding: chunked")
        assert b" 413 " in await asyncio.to_thread(send, unannounced, megabytes, megabyte, b"0\r\n\r\n")
        announced = head(caller, f"content-length: {CONVERSATION_BYTES_MAX + 1}")
        assert b" 413 " in await asyncio.to_thread(send, announced, 0, b"", b" " * (CONVERSATION_BYTES_MAX + 1))
        for request, part in (
            (head(caller, "content-length: 1000"), b" "),
            (head(caller, "transfer-encoding: chunked"), b"1\r\n \r\n"),
        ):
            told = await asyncio.to_thread(send, request, 1_000, part, b"", 0.2)
            assert b" 408 " in told.partition(b"\r\n")[0], told
        assert world.fake.bills.stats.requests == 0
        assert ask(fresh_database.postgres.dsn("admin"), "select count(*) from app.usage_events") == [(0,)]
        status, _ = await read_stream(caller, PATH, completion("whole", "honest"))
        assert status == 200
