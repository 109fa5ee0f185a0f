"""An outage makes lag and then none, and never a dead letter (law 7); a killed process heals without a hand."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from dataflows.catalog import flows
from runtime.deadline import Deadline
from streams.catalog import agents
from tests.system.conftest import Tenant, World, eventually

pytestmark = [pytest.mark.stack, pytest.mark.crash, pytest.mark.timeout(600)]

OUTAGE_S = 30.0
HEALED_MAX_S = 120.0
TEXT = "# Decision {n}\n\n## Context\n\nThe zebra numbered {n} is striped.\n\n## Decision\n\nCount zebra{n}.\n"
SERVICES = ("cdc", *flows(), *agents(), "watch", "api", "registry", "kafka", "postgres")


def _create_until(stop: threading.Event, tenant: Tenant, made: dict[str, int]) -> None:
    """Keep writing. Where the API is away or says 503, the writer tries the same again, under the same key."""
    number = 0
    while not stop.is_set():
        body = TEXT.format(n=number)
        try:
            answer = tenant.http.post(
                "/v1/adrs", json={"body": body}, headers={"Idempotency-Key": f"{tenant.slug}-{number}"}, timeout=5
            )
        except httpx.HTTPError:
            time.sleep(0.2)
            continue
        if answer.status_code in (200, 201):
            made[answer.json()["adr_id"]] = number
            number += 1
            time.sleep(0.05)
        else:
            assert answer.status_code in (429, 503), answer.text
            time.sleep(0.2)


def _all_searchable(world: World, tenant: Tenant, made: dict[str, int]) -> bool:
    rows = world.rows(
        "select count(*) filter (where meaning_version = words_version), count(*) from mv.search_state "
        "where tenant_id = %s",
        tenant.tenant_id,
    )
    return rows == [(len(made), len(made))]


def _is_seen(world: World, part: str) -> bool:
    """Nothing is shown as health, and no lag that nobody can know is shown as a number."""
    code, shown = world.status()
    lags = {row["name"]: row["lag"] for row in shown["parts"]}
    blind = () if part == "registry" else ("index", "embed")
    if part == "postgres" and lags and lags["cdc"] != "unknown" and float(lags["cdc"].split()[0]) < OUTAGE_S / 2:
        return False
    return code != 0 and bool(lags) and all(lags[flow] == "unknown" for flow in blind)


def _settle(world: World, tenant: Tenant, made: dict[str, int], letters: int) -> None:
    eventually("everything written is searchable", lambda: _all_searchable(world, tenant, made), HEALED_MAX_S)
    assert world.dead_letters() == letters, "an outage made dead letters"
    verified = world.run("verify", "--tenant", tenant.slug, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    eventually("all parts are well", world.is_well, HEALED_MAX_S)


@pytest.mark.parametrize("part", ["kafka", "postgres", "registry"])
def test_a_dependency_that_hangs_for_half_a_minute_leaves_lag_and_then_none(
    world: World, tenant: Tenant, part: str
) -> None:
    letters, made, stop = world.dead_letters(), dict[str, int](), threading.Event()
    writer = threading.Thread(target=_create_until, args=(stop, tenant, made))
    writer.start()
    try:
        eventually("some are written", lambda: len(made) > 5)
        processes = _family(world.pid(part))
        ends = Deadline.after(OUTAGE_S)
        for pid in processes:
            _signal(pid, signal.SIGSTOP)
        try:
            eventually("the outage is seen", lambda: _is_seen(world, part), HEALED_MAX_S)
            time.sleep(ends.left_s)  # the outage itself is half a minute
        finally:
            for pid in processes:
                _signal(pid, signal.SIGCONT)
        before = len(made)
        eventually("writing goes on", lambda: len(made) > before + 5, HEALED_MAX_S)
    finally:
        stop.set()
        writer.join(60)
    _settle(world, tenant, made, letters)


def test_kill_9_of_every_process_during_an_import_loses_and_doubles_nothing(
    world: World, tenant: Tenant, tmp_path: Path
) -> None:
    seed = int(os.environ.get("ADRIATIC_CRASH_SEED", random.randrange(2**32)))
    print(f"ADRIATIC_CRASH_SEED={seed}")
    dice = random.Random(seed)
    history = _history(tmp_path)
    letters = world.dead_letters()
    victims = dice.sample(SERVICES, len(SERVICES))
    importing = _start_import(world, tenant, history)
    try:
        for victim in victims:
            time.sleep(dice.uniform(0.2, 3.0))
            before = eventually(f"{victim} runs", lambda v=victim: _pid(world, v), HEALED_MAX_S)  # type: ignore[misc]
            _signal(before, signal.SIGKILL)
            eventually(
                f"{victim} is back",
                lambda v=victim, b=before: (_pid(world, v) or b) != b,  # type: ignore[misc]
                HEALED_MAX_S,
            )
            if importing.poll() is not None:
                importing = _start_import(world, tenant, history)  # it says how far it came, and goes on from there
        importing.wait(HEALED_MAX_S)
    finally:
        importing.kill()
    eventually("the import can be finished", lambda: _import_again(world, tenant, history), HEALED_MAX_S)

    expected = [(HISTORY_ADRS, HISTORY_ADRS * HISTORY_EDITS)]
    assert expected == world.rows(
        "select count(distinct adr_id), count(*) from app.adr_versions where tenant_id = %s", tenant.tenant_id
    )
    made = dict.fromkeys(map(str, range(HISTORY_ADRS)), 0)
    _settle(world, tenant, made, letters)


HISTORY_ADRS = 25
HISTORY_EDITS = 8


def _history(folder: Path) -> Path:
    """A history of our own making: each record is written and then edited."""
    file = folder / "history.jsonl"
    lines = []
    for edit in range(HISTORY_EDITS):
        for number in range(HISTORY_ADRS):
            text = TEXT.format(n=number) + "".join(f"\n## Note {i}\n\nSeen again, time {i}.\n" for i in range(edit))
            lines.append(
                {
                    "repo": "made/up",
                    "commit": f"{edit:020x}{number:020x}",
                    "committed_at": f"2026-01-{edit + 1:02}T10:00:{number:02}+00:00",
                    "subject": f"Edit {edit}",
                    "change": "M" if edit else "A",
                    "path": f"adr/{number:04}-zebra.md",
                    "old_path": None,
                    "content": text,
                }
            )
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def _start_import(world: World, tenant: Tenant, source: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "adriatic", "import", str(source), "--tenant", tenant.slug, "--no-wait"],
        env=world.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _import_again(world: World, tenant: Tenant, source: Path) -> bool:
    return world.run("import", str(source), "--tenant", tenant.slug, "--no-wait", check=False).returncode == 0


def _pid(world: World, part: str) -> int | None:
    try:
        return world.pid(part)
    except AssertionError:
        return None


def _family(pid: int) -> list[int]:
    """A process and those that it started: Postgres serves every connection with a child."""
    import psutil

    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def _signal(pid: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, what)
