"""The whole system under its supervisor, through the commands that people type."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from typing import Any

import pytest

from adriatic.supervisor.part import SystemReport
from adriatic.supervisor.supervisor import Files, read_running
from dataflows.catalog import flows
from runtime.settings import Settings
from streams.catalog import agents

pytestmark = pytest.mark.stack

SERVICES = ("postgres", "kafka", "registry", "cdc", *flows(), *agents(), "watch", "api")
HEAL_MAX_S = 200.0
"""Nine processes that start at once on a machine that may be busy."""


def adriatic(system: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ADRIATIC_")}
    return subprocess.run(
        [sys.executable, "-m", "adriatic", *arguments],
        env=environment | {"ADRIATIC_HOME": str(system.home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def report_of(system: Settings) -> SystemReport:
    report = read_running(Files(system.home))
    assert report is not None
    return report


def status(system: Settings) -> tuple[int, dict[str, Any]]:
    done = adriatic(system, "status", "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found


def status_when_well(system: Settings) -> tuple[int, dict[str, Any]]:
    """The first that says ok: processes are ready a little before the first heartbeat has passed the whole path."""
    until = time.monotonic() + HEAL_MAX_S
    while (found := status(system))[0] != 0 and time.monotonic() < until:
        time.sleep(0.5)
    return found


def test_status_says_ok_and_how_much_memory(system: Settings) -> None:
    code, found = status_when_well(system)
    assert (code, found["verdict"]) == (0, "ok"), found["summary"]
    parts = {part["name"]: part for part in found["parts"]}
    assert set(SERVICES) <= set(parts)
    assert all(parts[name]["resident_bytes"] > 0 for name in SERVICES)
    assert found["resident_bytes"] > 0
    assert "records" in parts["index"]["lag"]
    assert parts["cdc"]["lag"]


def test_status_on_a_screen_names_every_service(system: Settings) -> None:
    status_when_well(system)
    lines = adriatic(system, "status").stdout.splitlines()
    assert lines[0].startswith("ok: everything is ready")
    assert set(SERVICES) <= {line.split()[0] for line in lines if line}


def test_second_up_starts_nothing_and_says_the_same(system: Settings) -> None:
    before = report_of(system)
    done = adriatic(system, "up")
    assert done.returncode == 0, done.stderr
    assert report_of(system).pid == before.pid
    assert [part.pid for part in report_of(system).parts if part.kind == "service"] == [
        part.pid for part in before.parts if part.kind == "service"
    ]
    words = done.stdout.split()
    ready = next(word for word in words if word.endswith("/health/ready"))
    with urllib.request.urlopen(ready) as answer:
        assert answer.status == 200
    token = words[words.index("token") + 1]
    url = f"http://{system.api.host}:{system.api.port}/v1/adrs"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})) as answer:
        assert answer.status == 200


def test_logs_are_where_the_command_looks(system: Settings) -> None:
    assert "Kafka Server started" in adriatic(system, "logs", "kafka", "-n", "1000").stdout
    wrong = adriatic(system, "logs", "nothing")
    assert wrong.returncode == 1
    assert "kafka" in wrong.stderr


def test_start_times_are_recorded(system: Settings) -> None:
    found = json.loads(Files(system.home).start.read_text())
    assert found["ready_s"] > 0
    assert all(found["parts"][name] > 0 for name in SERVICES)


@pytest.mark.crash
def test_heals_when_everything_is_killed_at_once(system: Settings) -> None:
    before = {part.name: part for part in report_of(system).parts}
    for name in SERVICES:
        pid = before[name].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + HEAL_MAX_S
    while time.monotonic() < until:
        after = {part.name: part for part in report_of(system).parts}
        healed = [name for name in SERVICES if after[name].state == "ready" and after[name].pid != before[name].pid]
        if len(healed) == len(SERVICES):
            break
        time.sleep(0.2)
    assert sorted(healed) == sorted(SERVICES)
    assert all(after[name].restarts >= 1 for name in SERVICES)
    code, found = status_when_well(system)
    assert code == 0, found["summary"]
