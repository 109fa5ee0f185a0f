"""Outages of what is not ours, the embedder and the language model, and a release that is bad: lag or a clear error,
never a dead letter of an outage, never a topic that is drained, and nobody waits for ever.

The system here is one of its own: its embedder and its model are this test's, and so are its releases.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.copies import running_system
from tests.system.conftest import Tenant, World, clients, eventually
from tests.system.outside import ANSWER, Outside
from topics.catalog import load as topics

pytestmark = [pytest.mark.stack, pytest.mark.crash, pytest.mark.timeout(600)]

OUTAGE_S = 30.0
HEALED_MAX_S = 120.0
ANSWERED_MAX_S = 15.0
"""The client's own patience: a request that hangs longer fails the test by its time-out."""
TEXT = "# Decision {n}\n\n## Context\n\nThe zebra numbered {n} is striped.\n\n## Decision\n\nCount zebra{n}.\n"
VERSIONS = "adriatic.app.adr_versions"


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    made = Outside()
    yield made
    made.close()


@pytest.fixture(scope="module")
def world(outside: Outside) -> Iterator[World]:
    with running_system(outside.settings, PYTHONPATH=str(Path(__file__).parent / "release")) as settings:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ADRIATIC_")}
        yield World(settings, environment | {"ADRIATIC_HOME": str(settings.home)})


@pytest.fixture
def tenant(world: World) -> Iterator[Tenant]:
    with clients(world) as make:
        made = make()
        made.http.timeout = httpx.Timeout(ANSWERED_MAX_S)
        yield made


def _state(world: World, part: str) -> dict[str, Any]:
    """What `adriatic status` says of a part, and of the whole. A busy machine may leave no time to ask all parts."""

    def look() -> dict[str, Any] | None:
        code, shown = world.status()
        return next(({**row, "exit_code": code} for row in shown["parts"] if row["name"] == part), None)

    found: dict[str, Any] = eventually(f"{part} is on the screen", look)
    return found


def _settle(world: World, tenant: Tenant, letters: int) -> None:
    eventually("all parts are well", world.is_well, HEALED_MAX_S)
    assert world.dead_letters() == letters, "an outage made dead letters"
    verified = world.run("verify", "--tenant", tenant.slug, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_an_embedder_that_hangs_for_half_a_minute_leaves_words_and_then_meaning(
    world: World, tenant: Tenant, outside: Outside
) -> None:
    letters = world.dead_letters()
    first = tenant.create(TEXT.format(n=0))["adr_id"]
    eventually("found by meaning", lambda: tenant.search("zebra0", "meaning") == [first])
    outside.embedder.clear()
    try:
        ends = time.monotonic() + OUTAGE_S
        number = 0
        while time.monotonic() < ends:
            number += 1
            made = tenant.create(TEXT.format(n=number))["adr_id"]
            eventually("words go on", lambda n=number, m=made: tenant.search(f"zebra{n}", "words") == [m])  # type: ignore[misc]
            both = tenant.http.get("/v1/search", params={"q": f"zebra{number}"}).json()
            assert [hit["source_id"] for hit in both["hits"]] == [made]
            assert [degraded["arm"] for degraded in both["degraded"]] == ["meaning"]
            alone = tenant.http.get("/v1/search", params={"q": f"zebra{number}", "mode": "meaning"})
            assert (alone.status_code, alone.json()["code"]) == (503, "dependency-unavailable")
            time.sleep(1)
        embed = _state(world, "embed")
        assert embed["exit_code"] != 0, "an outage is not shown as health"
        assert "embedding endpoint" in embed["detail"]
        waiting = tenant.http.get("/v1/freshness").json()["meaning"]["waiting"]
        assert waiting == number, "meaning lags, and says by how much"
    finally:
        outside.embedder.set()
    eventually(
        "nothing waits for meaning",
        lambda: tenant.http.get("/v1/freshness").json()["meaning"]["waiting"] == 0,
        HEALED_MAX_S,
    )
    found = min(50, number + 1)

    def is_found() -> bool:
        answer = tenant.http.get("/v1/search", params={"q": "zebra", "mode": "meaning", "limit": 50})
        return answer.status_code == 200 and len(answer.json()["hits"]) == found

    eventually("found by meaning again", is_found, HEALED_MAX_S)
    _settle(world, tenant, letters)


def test_a_model_that_hangs_for_half_a_minute_is_an_error_in_time_and_then_answers(
    world: World, tenant: Tenant, outside: Outside
) -> None:
    letters = world.dead_letters()
    made = tenant.create(TEXT.format(n=7))["adr_id"]
    eventually("found", lambda: tenant.search("zebra7", "words") == [made])
    assert ANSWER in _chat(tenant).text
    outside.model.clear()
    failed = 0
    try:
        ends = time.monotonic() + OUTAGE_S
        while time.monotonic() < ends:
            answer = _chat(tenant)
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (503, "dependency-unavailable"), answer.text
            assert "did not begin to answer" in problem["detail"]
            assert problem["hint"]
            failed += 1
            assert tenant.search("zebra7", "words") == [made], "reads go on"
    finally:
        outside.model.set()
    assert ANSWER in _chat(tenant).text
    spent = eventually("every attempt is counted", lambda: _counted(tenant, failed + 2), HEALED_MAX_S)
    assert (spent["completed"], spent["failed"], spent["unpriced"]) == (2, failed, failed + 2)
    _settle(world, tenant, letters)


def _chat(tenant: Tenant) -> httpx.Response:
    return tenant.http.post("/v1/chat/stream", json={"question": "How is zebra7 counted?"})


def _counted(tenant: Tenant, attempts: int) -> Any:
    totals = tenant.http.get("/v1/usage").json()["totals"]
    return totals["attempts"] == attempts and totals


def test_a_release_that_cannot_do_anything_stops_at_the_limit_and_says_what_to_do(world: World, tenant: Tenant) -> None:
    """Deployed as releases are: the process ends, and the supervisor starts the new one."""
    dlq = topics()[VERSIONS].dlq
    assert dlq
    letters = world.dead_letters()
    made = 3 * dlq.consecutive_max
    marker = world.settings.home / "bad-release"
    marker.write_text("activity")
    try:
        _deploy(world)
        for number in range(made):
            tenant.create(TEXT.format(n=number))
        stopped = eventually("it stops", lambda: "stopped at" in (row := _state(world, "activity"))["detail"] and row)
        assert stopped["exit_code"] == 1
        report = _health(world, "activity")
        assert report["status"] == "waiting"
        assert "in a row cannot be processed" in report["reasons"]["operator"]
        for advice in ("adriatic dlq list", "fix the release", "start again"):
            assert advice in report["reasons"]["operator"]
        # The rest goes on, the topic is as it was, and stays so: starting the same release again would not help.
        eventually("search goes on", lambda: _indexed(world, tenant) == made, HEALED_MAX_S)
        drained = world.dead_letters() - letters
        assert 0 <= drained <= dlq.consecutive_max
        assert _offset(world, "activity", tenant) < _offset(world, "index", tenant)
        assert _state(world, "activity")["restarts"] == stopped["restarts"]
    finally:
        marker.unlink()
    _deploy(world)
    eventually("the rest is processed", lambda: _counts(world, tenant) == made - drained, HEALED_MAX_S)
    world.run("dlq", "redrive", "--flow", "activity", "--yes")
    assert _counts(world, tenant) == made
    _settle(world, tenant, letters)


def _deploy(world: World) -> None:
    """Start `activity` anew, as it is now on disk."""
    before = world.pid("activity")
    os.kill(before, signal.SIGKILL)

    def runs() -> bool:
        try:
            return world.pid("activity") != before and "start" not in _health(world, "activity")["reasons"]
        except (AssertionError, httpx.HTTPError):
            return False

    eventually("the new release runs", runs, HEALED_MAX_S)


def _health(world: World, part: str) -> dict[str, Any]:
    port = world.settings.stack.ports[f"{part}_ops"]
    report: dict[str, Any] = httpx.get(f"http://127.0.0.1:{port}/health/ready").json()
    return report


def _indexed(world: World, tenant: Tenant) -> int:
    return int(world.rows("select count(*) from mv.search_state where tenant_id = %s", tenant.tenant_id)[0][0])


def _counts(world: World, tenant: Tenant) -> int:
    query = "select coalesce(sum(count), 0) from mv.entity_counts where tenant_id = %s and kind = 'versions'"
    return int(world.rows(query, tenant.tenant_id)[0][0])


def _offset(world: World, flow: str, tenant: Tenant) -> int:
    """Where a flow stands in the tenant's partition."""
    from connectors.kafka.partitioner import partition_for

    partition = partition_for(tenant.tenant_id, topics()[VERSIONS].partitions)
    query = "select next_offset from ops.consumer_offsets where flow = %s and topic = %s and partition = %s"
    return int(world.rows(query, flow, VERSIONS, partition)[0][0])
