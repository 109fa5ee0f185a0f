"""`adriatic status` on the running system: a broken path is seen while processes are up, and silence is no health."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest

from dataflows.catalog import flows, views
from tests.system.conftest import Tenant, World, eventually

pytestmark = [pytest.mark.stack, pytest.mark.crash, pytest.mark.timeout(600)]

WELL_MAX_S = 120.0
"""For everything to come back; a process that hung is started again by then."""
SEEN_MAX_S = 120.0
"""Far above the ten seconds after which silence counts."""


@contextmanager
def frozen(world: World, part: str) -> Iterator[None]:
    pid = world.pid(part)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # its supervisor did not want to wait any longer
            os.kill(pid, signal.SIGCONT)


def look(world: World) -> dict[str, Any]:
    return world.status()[1]


def group(shown: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in shown["pipeline"]["groups"] if each["group"] == name)


def view(shown: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in shown["pipeline"]["views"] if each["view"] == name)


def seen(world: World, what: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    def once() -> dict[str, Any] | None:
        shown = look(world)
        return shown if holds(shown) else None

    found: dict[str, Any] = eventually(what, once, SEEN_MAX_S)
    return found


@pytest.fixture(autouse=True)
def well(world: World) -> Iterator[None]:
    def is_well() -> bool:
        return bool(look(world)["verdict"] == "ok")

    eventually("all is well before", is_well, WELL_MAX_S)
    yield
    eventually("all is well again", is_well, WELL_MAX_S)


def test_everything_that_is_registered_is_on_the_screen(world: World, tenant: Tenant) -> None:
    done = world.run("status", "--json", check=False)
    shown: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == {"ok": 0, "degraded": 1, "unknown": 3}[shown["verdict"]]
    assert {f"adriatic.{name}" for name in flows()} <= {each["group"] for each in shown["pipeline"]["groups"]}
    assert {view.name for view in views()} <= {each["view"] for each in shown["pipeline"]["views"]}
    assert {check["name"] for check in shown["checks"]} == {
        "database",
        "broker",
        "registry",
        "disk",
        "meaning",
        "words",
        "spaces",
        "browser",
    }
    answer = tenant.http.get("/v1/pipeline").json()
    assert {each["view"] for each in answer["views"]} == {each["view"] for each in shown["pipeline"]["views"]}
    lag = world.run("lag", "index", "--json")
    assert [each["group"] for each in json.loads(lag.stdout)] == ["adriatic.index"]


def test_a_flow_that_hangs_is_stalled_and_its_view_held_up_at_the_topic(world: World, tenant: Tenant) -> None:
    with frozen(world, "index"):
        made = [tenant.create(f"# Decision {number}\n\nThe otter is {number}.\n")["adr_id"] for number in range(20)]

        def stalled(shown: dict[str, Any]) -> bool:
            late = view(shown, "search.words")
            return (
                group(shown, "adriatic.index")["status"] == "stalled"
                and (late["state"], late["slowest"]) == ("stale", "topic")
                and group(shown, "adriatic.activity")["status"] in ("ok", "catching-up")
            )

        shown = seen(world, "it is stalled", stalled)
        assert group(shown, "adriatic.index")["lag_records"] > 0
        assert view(shown, "activity")["state"] == "fresh"
        assert world.run("lag", "index", check=False).returncode == 1
    eventually("found", lambda: set(tenant.search("otter", "words", limit=50)) == set(made))
    seen(world, "it has caught up", lambda shown: group(shown, "adriatic.index")["status"] == "ok")


def test_capture_that_hangs_is_seen_in_every_view(world: World) -> None:
    with frozen(world, "cdc"):

        def held(shown: dict[str, Any]) -> bool:
            return all(each["slowest"] == "wal" for each in shown["pipeline"]["views"])

        shown = seen(world, "every view is held up at the WAL", held)
        assert shown["verdict"] == "degraded"
        assert all(each["status"] == "ok" for each in shown["pipeline"]["groups"] if each["ours"])


def test_without_the_watcher_nothing_is_known(world: World, tenant: Tenant) -> None:
    with frozen(world, "watch"):

        def unknown(shown: dict[str, Any]) -> bool:
            return all(each["status"] == "unknown" for each in shown["pipeline"]["groups"])

        shown = seen(world, "groups are unknown", unknown)
        assert {each["state"] for each in shown["pipeline"]["views"]} == {"unknown"}
        assert shown["verdict"] != "ok"
        assert shown["pipeline"]["slot"]["status"] == "reserved", "seen without it"
        assert {each["status"] for each in tenant.http.get("/v1/pipeline").json()["groups"]} == {"unknown"}


def test_a_broker_that_hangs_is_unknown_and_makes_nobody_hang(world: World) -> None:
    with frozen(world, "kafka"):

        def unknown(shown: dict[str, Any]) -> bool:
            return all(each["status"] == "unknown" for each in shown["pipeline"]["groups"])

        shown = seen(world, "groups are unknown", unknown)
        broker = next(check for check in shown["checks"] if check["name"] == "broker")
        assert broker["verdict"] == "unknown"
        assert shown["verdict"] != "ok"
        assert shown["pipeline"]["reason"]


def test_a_dead_letter_needs_somebody_until_it_is_decided(world: World) -> None:
    at = "index/adriatic.app.adr_versions/0/999999999"
    with psycopg.connect(world.settings.postgres.dsn("flows")) as connection:
        connection.execute(
            "insert into ops.dlq (flow, topic, partition, record_offset, stage, code, detail) "
            "values ('index', 'adriatic.app.adr_versions', 0, 999999999, 'decode', 'undecodable', 'made by a test')"
        )
    shown = look(world)
    assert shown["verdict"] == "degraded"
    assert {"flow": "index", "topic": "adriatic.app.adr_versions", "code": "undecodable"}.items() <= next(
        each for each in shown["pipeline"]["dead_letters"] if each["open"]
    ).items()
    assert "dead letters" in world.run("status", check=False).stdout
    world.run("dlq", "drop", at, "--reason", "made by a test", "--yes")
