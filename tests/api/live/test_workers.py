"""Several processes that serve one port: what they share, what each has for itself, and what the death of one costs."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.settings import Settings
from tests.api.live import world as worlds
from tests.api.live.test_stream import COUNTS, SEED, Client, logged, shown, tenant, variables, writers
from tests.api.live.world import World
from tests.api.test_server import Server, answers, free_port, serving

pytestmark = [pytest.mark.timeout(300)]

WORKERS = 2
PATIENCE_S = 240.0
KILLS = 4


class Served:
    """Two workers, and what their keeper says of them on the operators' port."""

    def __init__(self, server: Server, ops_port: int) -> None:
        self.server = server
        self.ops = f"http://127.0.0.1:{ops_port}"

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.ops}/health/ready", timeout=PATIENCE_S).json()
        return found

    def worker(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.report()["facts"][f"worker-{number}"]
        return found

    def until_ready(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while self.report()["status"] != "ready":
            assert time.monotonic() < end, self.report()
            time.sleep(0.1)

    def answering(self, wanted: int) -> set[int]:
        """The workers that answered one of many new connections, until so many did."""
        found: set[int] = set()
        end = time.monotonic() + PATIENCE_S
        while len(found) < wanted and time.monotonic() < end:
            with suppress(httpx.HTTPError):  # of a worker that was just killed
                found.add(httpx.get(f"{self.server.url}/health/ready", timeout=PATIENCE_S).json()["facts"]["worker"])
        return found

    def figure(self, name: str, url: str = "") -> float:
        text = httpx.get(f"{url or self.ops}/metrics", timeout=PATIENCE_S).text
        return sum(float(each) for each in re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+]+)$", text, re.MULTILINE))


@pytest.fixture
def served(world: World, tmp_path: Path) -> Iterator[Served]:
    ops_port = free_port()
    more = {"ADRIATIC_API__WORKERS": str(WORKERS), "ADRIATIC_TELEMETRY__OPS_PORT": str(ops_port)}
    with serving(world.settings, tmp_path, **variables(world), **more) as server:
        served = Served(server, ops_port)
        served.until_ready()
        yield served


@pytest.mark.stack
def test_both_serve_their_figures_are_one_sum_and_they_end_together(world: World, served: Served) -> None:
    assert served.answering(WORKERS) == {1, 2}
    before = served.figure("adriatic_http_requests_total")
    for _ in range(20):
        httpx.get(f"{served.server.url}/health/live")
    assert served.figure("adriatic_http_requests_total") == before + 20
    client = Client(world, served.server, tenant(world), COUNTS)
    with client.stream() as response:
        parts = response.iter_raw()
        next(parts)
        for url in (served.server.url, served.server.url, served.ops):
            assert served.figure("adriatic_live_readers", url) == 1, "whoever is asked"
    client.close()
    assert served.server.stop() == 0
    lines = served.server.lines()
    assert {line.get("worker") for line in lines if line["message"] == "stopped"} == {None, 1, 2}


@pytest.mark.stack
def test_a_killed_worker_is_started_again_while_the_other_serves_and_readers_lose_nothing(
    world: World, served: Served
) -> None:
    print(f"seed {SEED}")
    chance, stop, own = random.Random(SEED), threading.Event(), tenant(world)
    client = Client(world, served.server, own, COUNTS)
    threads = writers(world, [own, tenant(world)], stop)
    for thread in threads:
        thread.start()
    try:
        until_cut(client, lambda: client.picture.whole)
        requests = served.figure("adriatic_http_requests_total")
        for _ in range(KILLS):
            number = chance.randrange(1, WORKERS + 1)
            pid = served.worker(number)["pid"]
            seen = len(client.picture.deltas)
            reading = threading.Thread(target=until_cut, args=(client, lambda seen=seen: moved(client, seen + 40)))
            reading.start()
            os.kill(pid, signal.SIGKILL)
            assert served.answering(1) or pytest.fail("the other worker does not serve")
            reading.join(PATIENCE_S)
            assert not reading.is_alive()
            served.until_ready()
            assert served.worker(number)["pid"] != pid
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert sum(served.worker(number)["restarts"] for number in (1, 2)) == KILLS
    assert "SIGKILL" in str(served.report()["facts"])
    assert served.figure("adriatic_http_requests_total") > requests, "counters go on where they were"
    rows = worlds.table(world, COUNTS, own)
    until_cut(client, lambda: worlds.same(client.picture.rows, rows) and client.picture.watermarks)
    world.caught_up()
    assert client.picture.resets == []
    assert client.picture.snapshots == 1
    assert shown(client.picture) == logged(world, own, client.picture.joined_id)
    end = time.monotonic() + PATIENCE_S
    while served.figure("adriatic_live_readers") and time.monotonic() < end:
        time.sleep(0.2)
    assert served.figure("adriatic_live_readers") == 0, "a dead worker's streams are not counted"
    client.close()


def moved(client: Client, deltas: int) -> bool:
    return len(client.picture.deltas) >= deltas


def until_cut(client: Client, until: Any) -> None:
    """Read over as many connections as it takes."""
    end = time.monotonic() + PATIENCE_S
    while not until():
        assert time.monotonic() < end, "it did not happen in time"
        with suppress(httpx.HTTPError):
            client.read(lambda _: until())


def test_a_worker_that_outlives_its_keeper_ends_and_another_keeper_takes_the_port(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / ".adriatic")
    settings = settings.model_copy(update={"postgres": settings.postgres.model_copy(update={"port": 1})})
    ops_port = free_port()
    more = {"ADRIATIC_API__WORKERS": "2", "ADRIATIC_TELEMETRY__OPS_PORT": str(ops_port)}
    (tmp_path / "first").mkdir()
    with serving(settings, tmp_path / "first", **more) as server:
        end = time.monotonic() + PATIENCE_S
        while "database" not in str(
            (report := httpx.get(f"http://127.0.0.1:{ops_port}/health/ready").json())["reasons"]
        ):
            assert time.monotonic() < end, f"they do not say what they wait for: {report}"
            time.sleep(0.1)
        assert report["status"] == "waiting"
        server.process.kill()
        server.process.wait(PATIENCE_S)
        end = time.monotonic() + PATIENCE_S
        while answers(f"{server.url}/health/live"):
            assert time.monotonic() < end, "workers that nobody keeps"
            time.sleep(0.1)
    (tmp_path / "second").mkdir()
    with serving(settings, tmp_path / "second", **more) as server:
        assert server.stop() == 0
