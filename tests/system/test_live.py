"""Live reads on the whole system: from a write over HTTP, through WAL, flow and topic, to a client that is cut."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import psutil
import pytest

from connectors.llm.sse import SseDecoder
from tests.api.live.world import Picture, view_named
from tests.system.conftest import Tenant, World, eventually

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

SEED = int(os.environ.get("ADRIATIC_TEST_SEED", "20261124"))
CUTS = 50
OUTAGE_S = 10.0
ACTIVITY = view_named("activity")


def follow(tenant: Tenant, picture: Picture, until: Callable[[], Any], bytes_max: int = 1 << 40) -> None:
    """One connection. Ends when it is as wanted, after so many bytes, or with the server."""
    decoder, size = SseDecoder(), 0
    headers = {"last-event-id": picture.last_id} if picture.last_id else {}
    with tenant.http.stream("GET", "/v1/live/activity", headers=headers) as response:
        assert response.status_code == 200, response.read()
        for part in response.iter_raw():
            part = part[: bytes_max - size]
            size += len(part)
            for event in decoder.feed(part):
                picture.take(ACTIVITY, event)
                if until():
                    return
            if size >= bytes_max:
                return


def rows(world: World, tenant: Tenant) -> set[tuple[str, int, str]]:
    found = world.rows("select adr_id::text, version, title from mv.activity where tenant_id = %s", tenant.tenant_id)
    return {(adr_id, version, title) for adr_id, version, title in found}


def shown(picture: Picture) -> set[tuple[str, int, str]]:
    return {(row["adr_id"], row["version"], row["title"]) for row in picture.rows.values()}


def write_until(stop: threading.Event, tenant: Tenant, pause_s: float) -> None:
    number = 0
    while not stop.is_set():
        tenant.create(f"# Decision {number}\n\nBecause.\n")
        number += 1
        time.sleep(pause_s)


def test_fifty_cuts_while_people_write_lose_nothing_and_repeat_nothing(
    world: World, tenant: Tenant, new_tenant: Callable[[], Tenant]
) -> None:
    print(f"seed {SEED}")
    chance, stop, picture = random.Random(SEED), threading.Event(), Picture()
    threads = [threading.Thread(target=write_until, args=(stop, each, 0.02)) for each in (tenant, new_tenant())]
    for thread in threads:
        thread.start()
    try:
        follow(tenant, picture, lambda: picture.whole)
        for _ in range(CUTS):
            follow(tenant, picture, lambda: False, bytes_max=chance.randrange(1, 6_000))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    made = tenant.http.get("/v1/adrs", params={"limit": 1}).json()
    assert made["items"]
    eventually("the view has every version", lambda: versions(world, tenant) == len(ledger(world, tenant)))
    last = rows(world, tenant)
    follow(tenant, picture, lambda: shown(picture) == last)
    assert picture.resets == []
    created = [each["key"]["adr_id"] for each in picture.deltas if each["op"] == "upsert"]
    assert len(created) == len(set(created)), "each version came once"
    assert len(created) > 20


def versions(world: World, tenant: Tenant) -> int:
    return int(world.rows("select count(*) from app.adr_versions where tenant_id = %s", tenant.tenant_id)[0][0])


def ledger(world: World, tenant: Tenant) -> list[Any]:
    return world.rows("select 1 from mv.activity_ledger where tenant_id = %s", tenant.tenant_id)


def test_the_command_shows_what_happens(world: World, tenant: Tenant) -> None:
    tenant.create("# The first\n")
    done = world.run("live", "activity", "--tenant", tenant.slug, "--for", "8", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0]["event"] == "snapshot"
    assert any("The first" in json.dumps(line["data"]) for line in lines)
    assert lines[-1]["event"] == "watermark"
    assert "activity" in world.run("live", "activity", "--tenant", tenant.slug, "--for", "2").stdout
    missing = world.run("live", "nothing", "--tenant", tenant.slug, check=False)
    assert missing.returncode == 1
    assert "there are: activity" in missing.stderr


@pytest.mark.crash
@pytest.mark.parametrize(("part", "name"), [("kafka", "kafka"), ("postgres", "database")])
def test_a_dependency_that_hangs_is_named_and_nothing_is_lost(
    world: World, tenant: Tenant, part: str, name: str
) -> None:
    tenant.create("# Before\n")
    picture = Picture()
    # Through: a broker that another test has stopped may not have settled who leads a partition.
    follow_through(tenant, picture, lambda: "Before" in str(picture.rows))
    root = psutil.Process(world.pid(part))
    processes = [root, *root.children(recursive=True)]

    def hangs_and_is_named() -> bool:
        """Stops it in the middle of an open read."""
        if not picture.watermarks:
            return False
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        return name in picture.watermarks[-1]["waits_for"]

    picture.watermarks.clear()
    try:
        follow(tenant, picture, hangs_and_is_named)
        assert name in picture.watermarks[-1]["waits_for"]
        time.sleep(OUTAGE_S)
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
    eventually("writes are taken again", lambda: written(tenant, "# After\n"))
    follow_through(tenant, picture, lambda: "After" in str(picture.rows) and picture.watermarks[-1]["waits_for"] == [])
    assert picture.resets == []


def written(tenant: Tenant, body: str) -> bool:
    try:
        return tenant.http.post("/v1/adrs", json={"body": body}, timeout=10).status_code == 201
    except httpx.HTTPError:
        return False


def follow_through(tenant: Tenant, picture: Picture, until: Callable[[], Any]) -> None:
    """Over any number of connections: while a dependency is away a new one may be refused, and says why."""
    end = time.monotonic() + 120
    while not until():
        assert time.monotonic() < end, picture.watermarks[-3:]
        try:
            follow(tenant, picture, until)
        except (AssertionError, httpx.HTTPError):
            time.sleep(0.5)
