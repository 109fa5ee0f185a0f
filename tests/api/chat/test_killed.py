"""A process that is killed with hundreds of answers in flight: each is in the books once, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import httpx
import pytest

from connectors.llm.fake.scripts import FakePace
from connectors.llm.sse import ServerEvent, SseDecoder
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import Settings
from streams.lost_attempts import LostAttempts
from tests.api.chat.test_connections import furnished
from tests.api.chat.test_kept import answer_of, listen
from tests.api.search.corpus import Corpus
from tests.api.spend.fleet import fleet
from tests.api.world import Caller
from tests.patience import PATIENCE_S, soon

pytestmark = pytest.mark.stack

STREAMS = 500
AT_ONCE = 16
"""Answers that begin at a time: each is searched for."""
BUDGET = {"level": "org", "period": "month", "limit_micro_usd": 100_000_000}


@contextmanager
def reaping(settings: Settings, count: int = 1) -> Iterator[None]:
    """What settles in production what processes left, with the lease that it has there; `count` of them."""
    lives = [Lifecycle(Health()) for _ in range(count)]
    watches = [LostAttempts(settings, life) for life in lives]
    for watch in watches:
        watch.start()
    try:
        yield
    finally:
        for life, watch in zip(lives, watches, strict=True):
            life.stop()
            watch.join(PATIENCE_S)


class Reader:
    """One client: what it heard until its process was killed, and then through the other one."""

    def __init__(self, caller: Caller, other: Caller, number: int) -> None:
        self.heard: list[ServerEvent] = []
        self.is_read_elsewhere = number % 10 == 0
        self._caller = caller
        self._other = other
        self._body = {"question": f"Why no dual write? This is asked by {number} .", "on_disconnect": "keep"}

    @property
    def deltas(self) -> int:
        return sum(event.name == "delta" for event in self.heard)

    async def begin(self, turns: asyncio.Semaphore) -> asyncio.Task[None]:
        """Ask, and hear the first words. The task ends when the connection does."""
        async with turns:
            asking = asyncio.create_task(self._ask())
            await soon(lambda: asking.done() or self.deltas, "the first words")
            assert not asking.done(), asking.result()
            return asking

    async def _ask(self) -> None:
        decoder = SseDecoder()
        headers = {"authorization": f"Bearer {self._caller.token}"}
        with suppress(httpx.TransportError):
            async with self._caller.http.stream(
                "POST", "/v1/chat/stream", json=self._body, headers=headers
            ) as response:
                assert response.status_code == 200, await response.aread()
                async for part in response.aiter_raw():
                    self.heard += decoder.feed(part)

    async def look(self) -> None:
        """A second reader through the other process makes the first write down what it has."""
        await listen(self._other, self._path, events_max=4)

    async def come_back(self) -> None:
        """As a client does that is told to come later: hundreds come at once."""
        decoder, last = SseDecoder(), self.heard[-1].id
        headers = {"authorization": f"Bearer {self._other.token}", "last-event-id": last}
        while True:
            async with self._other.http.stream("GET", self._path, headers=headers) as response:
                if response.status_code == 200:
                    async for part in response.aiter_raw():
                        self.heard += decoder.feed(part)
                    return
                assert response.status_code == 503, await response.aread()
                await asyncio.sleep(int(response.headers["retry-after"]))

    @property
    def _path(self) -> str:
        return f"/v1/chat/answers/{answer_of(self.heard[0])}/stream"


async def test_a_kill_with_500_answers_in_flight_loses_no_row_bills_nothing_twice_and_leaves_nobody_waiting(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    tenant = await furnished(fresh_database, corpus)
    async with fleet(fresh_database, tmp_path, FakePace(gap_s=1.0, chunks=3_000)) as world:
        one, two = (world.caller(server, tenant.tenant_id) for server in world.servers)
        budget = (await two.put("/v1/budgets", BUDGET)).json()
        readers = [Reader(one, two, number) for number in range(STREAMS)]
        turns = asyncio.Semaphore(AT_ONCE)
        asking = await asyncio.gather(*(reader.begin(turns) for reader in readers))
        await asyncio.gather(*(reader.look() for reader in readers if reader.is_read_elsewhere))
        with reaping(fresh_database, 2):
            world.kill(world.servers[0])
            await asyncio.gather(*asking)
            await asyncio.wait_for(asyncio.gather(*(reader.come_back() for reader in readers)), PATIENCE_S)
            await soon(lambda: world.fake.bills.stats.open == 0, "the end of what the provider sends")
            rows = await settled(fresh_database, STREAMS)
        for reader in readers:
            numbers = [int(event.id.rpartition(".")[2]) for event in reader.heard]
            assert numbers == sorted(set(numbers)), "each event once and in order"
            last = reader.heard[-1]
            assert (last.name, json.loads(last.data)["code"]) == ("error", "dependency-unavailable")
            assert not any(event.name == "done" for event in reader.heard)
        assert len(world.fake.costs_by_asker()) == world.fake.bills.stats.requests == STREAMS, "each was asked once"
        billed = world.fake.bills.stats.cost_micro_usd
        assert Counter((row["outcome"], row["code"]) for row in rows) == {("failed", "lost"): STREAMS}
        assert {row["usage_source"] for row in rows} == {"estimated"}
        most = sum(row["cost_micro_usd"] + row["unseen_cost_max_micro_usd"] for row in rows)
        assert billed <= most
        spent = sum(row["cost_micro_usd"] for row in rows)
        print(f"billed {billed}, in the ledger {spent}, at most {most} micro-USD")
        (state,) = (await two.get("/v1/budgets")).json()["budgets"]
        assert state["budget_id"] == budget["budget_id"]
        assert (state["spent_micro_usd"], state["reserved_micro_usd"]) == (spent, 0)


async def settled(settings: Settings, count: int) -> list[asyncpg.Record]:
    """The ledger, when nothing is in flight any more."""
    connection = await asyncpg.connect(settings.postgres.dsn("admin"))
    try:
        for _ in range(round(PATIENCE_S / 0.1)):
            if not await connection.fetchval("select count(*) from app.attempts"):
                break
            await asyncio.sleep(0.1)
        rows: list[asyncpg.Record] = await connection.fetch("select * from app.usage_events")
        assert len(rows) == count
        return rows
    finally:
        await connection.close()
