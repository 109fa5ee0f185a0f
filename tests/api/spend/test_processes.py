"""Alerts, the switch and overrides over eight real processes, and a process that stands still beyond its lease:
what `test_switch.py` and `test_purse.py` show of the books, of the whole that runs in production."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from adriatic.drill.scratch import AlertReceiver
from connectors.llm.fake.scripts import FakePace
from connectors.llm.sse import SseDecoder
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import AlertSettings, Settings
from streams.alerts import AlertCourier
from tests.api.chat.test_connections import furnished
from tests.api.chat.test_kept import answer_of, listen
from tests.api.chat.test_killed import reaping
from tests.api.search.corpus import Corpus
from tests.api.spend.fleet import Fleet, completion, fleet, read_stream
from tests.api.world import Caller
from tests.databases import ask
from tests.patience import PATIENCE_S, soon

pytestmark = pytest.mark.stack

WORKERS = 8
PATH = "/v1/chat/completions"
ANSWERS = 48
STREAMS = 24
TOKENS = 30
COURIERS = 2
EXPIRES_S = 8
"""Long enough to ask something under an override, on any machine."""


class Office:
    """One tenant, whose questions any of the processes may get."""

    def __init__(self, world: Fleet, caller: Caller) -> None:
        self.world = world
        self.caller = caller
        self.budget_id = ""

    async def ask(self, count: int = 1) -> list[int]:
        """The statuses of short answers, all at once."""
        body = completion("whole", "office", max_tokens=TOKENS)
        return [
            status for status, _ in await asyncio.gather(*(read_stream(self.caller, PATH, body) for _ in range(count)))
        ]

    async def limit(self, micro_usd: int) -> None:
        wanted = {"level": "org", "period": "month", "limit_micro_usd": micro_usd}
        self.budget_id = (await self.caller.put("/v1/budgets", wanted)).raise_for_status().json()["budget_id"]

    async def spent(self) -> int:
        """When nothing is in flight."""
        dsn = self.world.settings.postgres.dsn("admin")
        await soon(lambda: ask(dsn, "select count(*) from app.attempts") == [(0,)], "everything is settled")
        ((spent,),) = ask(dsn, "select coalesce(sum(cost_micro_usd), 0)::bigint from app.usage_events")
        return int(spent)

    async def alerts(self) -> list[int]:
        return [each["percent"] for each in (await self.caller.get("/v1/spend/alerts")).json()["items"]]


async def test_eight_processes_alert_once_stop_together_and_hold_an_override_to_its_end(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    tenant = await furnished(fresh_database, corpus)
    workers = {"ADRIATIC_API__WORKERS": str(WORKERS)}
    async with fleet(
        fresh_database, tmp_path, FakePace(gap_s=0.01, chunks=TOKENS), ("whole", "endless"), 1, None, **workers
    ) as world:
        office = Office(world, world.caller(world.servers[0], tenant.tenant_id))
        await alert_once(office)
        await stop_together(office)
        await hold_override(office)
        assert len(serving_processes(office)) > 1, "one process did all of it"


def serving_processes(office: Office) -> set[str]:
    rows = ask(office.world.settings.postgres.dsn("admin"), "select process_id from ops.api_processes")
    return {str(process_id) for (process_id,) in rows}


async def alert_once(office: Office) -> None:
    assert await office.ask() == [200]
    cost = await office.spent()
    await office.limit((ANSWERS + 1) * cost * 100 // 96)
    assert await office.ask(ANSWERS) == [200] * ANSWERS
    assert await office.spent() == (ANSWERS + 1) * cost
    assert sorted(await office.alerts()) == [70, 85, 95]
    dsn = office.world.settings.postgres.dsn("admin")
    assert ask(dsn, "select count(*) from app.outbox where topic = 'spend.alert'") == [(3,)]
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(AlertReceiver().listen())
        alerts = AlertSettings(webhook_url=SecretStr(receiver.url))
        lives = [Lifecycle(Health()) for _ in range(COURIERS)]
        couriers = [AlertCourier(office.world.settings.model_copy(update={"alerts": alerts}), life) for life in lives]
        for courier in couriers:
            courier.start()
        delivered = "select count(*) from app.alert_deliveries where state = 'delivered' and channel = 'webhook'"
        await soon(lambda: ask(dsn, delivered) == [(3,)], "deliveries")
        for life, courier in zip(lives, couriers, strict=True):
            life.stop()
            await asyncio.to_thread(courier.join, PATIENCE_S)
    assert sorted(each["percent"] for each in receiver.received) == [70, 85, 95], "each once"


async def stop_together(office: Office) -> None:
    await office.limit(1_000_000_000)
    begun: set[int] = set()
    body = completion("endless", "office")

    def stream(number: int) -> Coroutine[Any, Any, tuple[int, bytes]]:
        return read_stream(office.caller, PATH, body, lambda _: begun.add(number))

    streams = [asyncio.create_task(stream(number)) for number in range(STREAMS)]
    await soon(lambda: len(begun) == STREAMS, "answers")
    began_s = time.monotonic()
    order = {"state": "stopped", "reason": "a rehearsal"}
    (await office.caller.put("/v1/spend/switch", order)).raise_for_status()
    for status, content in await asyncio.gather(*streams):
        assert (status, b"spend_stopped" in content, b"[DONE]" in content) == (200, True, False)
    await soon(lambda: office.world.fake.bills.stats.open == 0, "the end of what the provider sends")
    print(f"{STREAMS} answers on {WORKERS} processes ended after {(time.monotonic() - began_s) * 1000:.0f} ms")
    assert await office.ask(2 * WORKERS) == [403] * 2 * WORKERS, "whichever process is reached"
    await office.caller.put("/v1/spend/switch", {**order, "state": "running"})
    assert await office.ask(2 * WORKERS) == [200] * 2 * WORKERS


async def hold_override(office: Office) -> None:
    await office.limit(await office.spent() * 100 // 105)  # passed, and not by so much that everything stops
    assert await office.ask(WORKERS) == [429] * WORKERS
    expires_at = datetime.now(UTC) + timedelta(seconds=EXPIRES_S)
    wanted = {"budget_id": office.budget_id, "amount_micro_usd": 10**9, "reason": "a release"}
    made = await office.caller.post("/v1/spend/overrides", {**wanted, "expires_at": expires_at.isoformat()})
    assert made.status_code == 201, made.text
    status, content = await read_stream(office.caller, PATH, completion("endless", "office"))
    assert (status, b'"insufficient_quota"' in content or b"budget" in content) == (200, True), content[-500:]
    assert b"[DONE]" not in content
    assert datetime.now(UTC) >= expires_at, "it was written for as long as the override counted"
    await office.spent()
    assert {*await office.ask(2 * WORKERS)} <= {429, 403}
    (kept,) = (await office.caller.get("/v1/spend/overrides")).json()["items"]
    assert (kept["in_force"], kept["reason"], kept["ended_at"], kept["ended_by"]) == (False, "a release", None, None)
    assert kept["created_by"] is not None


# --- a process that stands still ------------------------------------------------------------------------------------

QUESTION: dict[str, Any] = {"question": "Why no dual write? It is asked by sleeper .", "on_disconnect": "keep"}


async def test_a_process_that_stood_still_for_longer_than_its_lease_spends_nothing_that_is_not_in_the_books(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    """Its attempt is settled by its bound, its answer can be stopped and has an end elsewhere; when it wakes, it goes
    on with neither, and is as good as new."""
    tenant = await furnished(fresh_database, corpus)
    async with fleet(fresh_database, tmp_path, FakePace(gap_s=0.02, chunks=2_000)) as world:
        sleeper, two = (world.caller(server, tenant.tenant_id) for server in world.servers)
        (await two.put("/v1/budgets", {"level": "org", "period": "month", "limit_micro_usd": 10**8})).raise_for_status()
        heard = bytearray()
        reading = asyncio.create_task(
            read_stream(sleeper, "/v1/chat/stream", QUESTION, lambda all_: _keep(heard, all_))
        )
        await soon(lambda: heard.count(b"event: delta") > 3, "an answer")
        answer = f"/v1/chat/answers/{answer_of(next(iter(SseDecoder().feed(bytes(heard)))))}"
        dsn = fresh_database.postgres.dsn("admin")
        world.pause(world.servers[0])
        try:
            assert (await two.post(f"{answer}/stop", None)).status_code == 202
            with reaping(fresh_database, 2):
                await soon(lambda: ask(dsn, "select count(*) from app.attempts") == [(0,)], "it counts as dead")
            *_, end = await asyncio.wait_for(listen(two, f"{answer}/stream"), PATIENCE_S)
            assert (end.name, json.loads(end.data)["code"]) == ("error", "dependency-unavailable")
        finally:
            world.wake(world.servers[0])
        status, content = await asyncio.wait_for(reading, PATIENCE_S)
        assert (status, b"event: done" in content, b"event: error" in content) == (200, False, True)
        await soon(lambda: world.fake.bills.stats.open == 0, "the end of what the provider sends")
        await asyncio.sleep(1.0)  # what it would settle a second time would come now
        ((cost, most),) = ask(
            dsn, "select cost_micro_usd, cost_micro_usd + unseen_cost_max_micro_usd from app.usage_events"
        )
        (bill,) = world.fake.all_bills()
        print(f"billed {bill.cost_micro_usd}, in the ledger {cost}, at most {most} micro-USD")
        assert bill.cost_micro_usd <= most
        (state,) = (await two.get("/v1/budgets")).json()["budgets"]
        assert (state["spent_micro_usd"], state["reserved_micro_usd"]) == (cost, 0)
        assert ask(dsn, "select count(*) from app.leases") == [(0,)]
        again = {"question": "Why no dual write? It is asked by woken .", "cache": False}
        begun = await listen(sleeper, "/v1/chat/stream", again, events_max=3)
        assert [event.name for event in begun] == ["start", "sources", "delta"]


def _keep(heard: bytearray, content: bytes) -> None:
    heard[:] = content
