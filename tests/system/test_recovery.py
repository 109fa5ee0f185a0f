"""Back from the dead: accidents that happen, on a system of its own, with writes before, during and after.

Each is caused for real, then `adriatic recover`. Held to it: it is halted and named before anything is wrong; then
`verify` is clean, no acknowledged write that the database has is missing, nothing is found that it does not have. How
long it took is printed. More accidents are in `test_accidents.py`.
"""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from adriatic.supervisor.supervisor import read_running
from tests.copies import new_home, settings_of
from tests.system.conftest import World, eventually
from tests.system.places import KNOWN, RECOVERED_MAX_S, Place, lines_of, running_place

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with running_place() as made:
        yield made


def test_a_recovery_of_what_is_well_changes_nothing_that_is_seen(place: Place) -> None:
    place.write("a quiet day")
    eventually("all are found", lambda: place.world.run("verify", "--wait", "30", check=False).returncode == 0)
    said = place.world.run("recover").stdout
    assert "wrong" not in said
    with place.writing("a recovery for its own sake"):
        found = place.recover()
    place.hold_to_it("nothing", found)


def test_the_brokers_directory_is_lost(place: Place) -> None:
    place.write("the days before")
    place.down()
    shutil.rmtree(place.world.settings.home / "kafka")
    place.up()
    place.write("the confusion")
    place.hold_halted("cdc")
    assert "is not the one that was filled" in place.find_faults()
    with place.writing("the recovery"):
        found = place.recover()
    place.write("the days after")
    place.hold_to_it("lost broker", found)


def test_the_database_goes_back_and_the_recovery_is_killed(place: Place, tmp_path: Path) -> None:
    place.write("the days before the snapshot")
    kept = dict(place.written)
    place.down()
    data = place.world.settings.stack.postgres_data
    assert data is not None
    _copy(data, tmp_path / "snapshot")
    place.up()
    gone = place.write("the days that the snapshot does not have")
    eventually("they are found", lambda: place.tenant.search(place.written[gone[-1]].split()[-1], mode="words"))
    place.down()
    shutil.rmtree(data)
    _copy(tmp_path / "snapshot", data)
    place.written = kept
    place.up()
    place.write("the confusion after it")
    place.hold_halted("cdc")
    with place.writing("a recovery that is killed"):
        for step in ("topics", "copy", "catch-up"):
            _kill_at(place, step)
        found = place.recover()
    place.hold_to_it("database went back, killed three times", found)
    assert place.world.rows("select count(*) from ops.recovery where finished_at is null") == [(0,)]


def _copy(source: Path, target: Path) -> None:
    """With owners, which root's server needs."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def _kill_at(place: Place, step: str) -> None:
    """Begin a recovery, or go on with it, and kill it when it is at this step, or later."""
    running = subprocess.Popen(
        [sys.executable, "-m", "adriatic", "recover", "--yes"],
        env=place.world.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline_s = time.monotonic() + RECOVERED_MAX_S
        while (step,) not in place.world.rows("select step from ops.recovery where finished_at is null"):
            if running.poll() is not None:
                return  # it was faster than we looked
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()


def test_a_backup_is_restored_elsewhere_and_answers_the_same(place: Place, tmp_path: Path) -> None:
    place.write("what is backed up")
    before = set(place.written)
    with place.writing("the hour of the backup"):
        place.world.run("backup", str(tmp_path / "saved.tar"))
    assert place.world.run("backup", str(tmp_path / "saved.tar"), "--check").stdout.startswith("good")
    assert (tmp_path / "saved.tar").stat().st_mode & 0o077 == 0
    again = place.world.run("backup", str(tmp_path / "saved.tar"), check=False)
    assert (again.returncode, "is there already" in again.stderr) == (1, True)
    with _restored(place, tmp_path / "saved.tar") as (world, took_s):
        rows = {str(adr_id) for (adr_id,) in world.rows(KNOWN, place.tenant.tenant_id)}
        assert before <= rows, "all that was acknowledged before the backup began"
        assert rows <= place.written.keys(), "and nothing that nobody wrote"
        sys.stdout.write(f"restored {len(rows)} ADRs and recovered in {took_s:.1f} s\n")
        assert world.run("verify", "--sample", "5").returncode == 0
        # The same token: it is the same issuer, with the same key.
        with httpx.Client(base_url=_api(world), headers=dict(place.tenant.http.headers), timeout=30) as http:
            for adr_id in sorted(rows)[:5]:
                word = place.written[adr_id].split()[-1]
                query = {"q": word, "mode": "words"}
                here = place.tenant.http.get("/v1/search", params=query).json()["hits"]
                there = http.get("/v1/search", params=query).json()["hits"]
                assert [hit["source_id"] for hit in there] == [hit["source_id"] for hit in here] == [adr_id]


@contextmanager
def _restored(place: Place, backup: Path) -> Iterator[tuple[World, float]]:
    with new_home() as home:
        environment = place.world.environment | {"ADRIATIC_HOME": str(home)}
        world = World(place.world.settings, environment)
        began_s = time.monotonic()
        try:
            world.run("restore", str(backup), "--up")
            yield World(settings_of(home), environment), time.monotonic() - began_s
        finally:
            world.run("down", check=False)
            world.run("reset", "--yes", check=False)


def _api(world: World) -> str:
    return f"http://{world.settings.api.host}:{world.settings.api.port}"


def test_a_damaged_backup_is_refused(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    place.world.run("backup", str(folder))
    damages: list[Callable[[], object]] = [
        lambda: (folder / "issuer-key.pem").write_text("another key"),
        lambda: next((folder / "postgres" / "base").rglob("1259")).write_bytes(b"x" * 8192),
        lambda: (folder / "originals" / "stranger").write_text("x"),
    ]
    for number, damage in enumerate(damages, 1):
        damage()
        checked = place.world.run("backup", str(folder), "--check", "--json", check=False)
        assert checked.returncode == 1
        assert len(json.loads(checked.stdout)["faults"]) >= number
    with new_home() as home:
        world = World(place.world.settings, place.world.environment | {"ADRIATIC_HOME": str(home)})
        refused = world.run("restore", str(folder), check=False)
        assert (refused.returncode, "damaged" in refused.stderr, (home / "stack.toml").exists()) == (1, True, False)
    in_use = place.world.run("restore", str(folder), check=False)
    assert (in_use.returncode, "in use" in in_use.stderr) == (1, True)


def test_one_tenant_is_repaired(place: Place) -> None:
    place.world.rows("delete from mv.chunks where tenant_id = %s returning 1", place.tenant.tenant_id)
    place.world.rows("delete from mv.activity where tenant_id = %s returning 1", place.tenant.tenant_id)
    assert place.world.run("verify", "--tenant", place.tenant.slug, "--sample", "0", check=False).returncode == 1
    assert place.world.run("verify", "--repair", check=False).returncode == 2
    repaired = place.world.run("verify", "--repair", "--tenant", place.tenant.slug, "--sample", "5", "--wait", "120")
    assert "repaired     index of" in repaired.stdout
    assert "repaired     activity of" in repaired.stdout


# --- the pages ------------------------------------------------------------------------------------------------------

RAN_ABOVE = {
    "adriatic recover",
    "adriatic recover --yes",
    "adriatic backup monday.tar",
    "adriatic backup monday.tar --check",
    "ADRIATIC_HOME=/tmp/rehearsal adriatic restore monday.tar --up",
    # What `restore --up` runs, one after the other.
    "adriatic restore monday.tar",
    "adriatic up --no-wait",
    "adriatic up",
}
"""Lines of the two pages that the tests above run, with names of their own."""
COORDINATES = ("index", "adriatic.app.adr_versions", 3, 1841)
FLOW_S = 10.0
"""How long the flow of the page runs beside the one that is there."""


def test_every_command_of_the_two_pages_runs(place: Place, tmp_path: Path) -> None:
    lines = [line for page in PAGES for line in lines_of(page)]
    assert set(lines) >= RAN_ABOVE
    for code in ("unprocessable", "undecodable"):
        place.world.rows(LETTER, *COORDINATES[:3], COORDINATES[3] + (code == "undecodable"), code)
    sql = False
    for line in lines:
        if line.partition(" ")[0] in ("select", "update"):
            sql = True
        if line in RAN_ABOVE or sql:
            sql = sql and not line.endswith(";")
            continue
        _run(place, line, tmp_path)
    place.world.rows("update ops.consumer_offsets set next_offset = 0 where flow = 'index' and partition = 3")
    # Both of them: the one that was redriven turned out to be undecodable.
    assert place.world.rows("select count(*) from ops.audit where action = 'dlq.drop'") == [(2,)]
    eventually("everything is well again", place.world.is_well, RECOVERED_MAX_S)


def _run(place: Place, line: str, folder: Path) -> None:
    """Run a line of a page in a shell. A copy of a database has a name of its own here."""
    if line.startswith(("createdb", "pg_restore")):
        line = line.replace("createdb adriatic", "createdb rehearsed").replace(
            "--dbname adriatic", "--dbname rehearsed"
        )
    if line.startswith("adriatic flow run"):
        with subprocess.Popen(shlex.split(line), env=place.make_shell(), cwd=folder) as running:
            time.sleep(FLOW_S)
            running.terminate()
            assert running.wait(60) == 0, line
        return
    # A redrive says by its exit code that letters are what they were.
    place.run_line(line, folder, (0, 1) if "redrive" in line else (0,))


LETTER = """
  insert into ops.dlq (flow, topic, partition, record_offset, stage, code, detail, value)
  values (%s, %s, %s, %s, 'process', %s, '', 'no record')
  returning 1
"""
PAGES = ("docs/how-to/recover.md", "docs/how-to/back-up.md")


def test_nothing_of_it_is_left_running(place: Place) -> None:
    report = read_running(place.copy.files)
    assert report is not None
    assert report.good
