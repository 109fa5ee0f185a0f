"""The how-to for producers: its programs bring documents in as they are printed there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.markdown import ROOT, parse
from tests.system.conftest import Tenant, World, eventually

pytestmark = pytest.mark.stack

PAGE = "docs/how-to/produce-to-a-feed.md"
PROGRAM_S_MAX = 120
"""For a program that sends two records; a new process on a busy machine takes some seconds."""


def block(kind: str) -> str:
    page = parse(PAGE, (ROOT / PAGE).read_text(encoding="utf-8"))
    (content,) = [token.content for token in page.tokens if token.type == "fence" and token.info == kind]
    return content


@pytest.fixture
def key_file(world: World, tenant: Tenant, tmp_path: Path) -> Path:
    file = tmp_path / "wiki.key"
    file.write_text(world.run("feed", "create", "wiki", "--tenant", tenant.slug).stdout)
    return file


def feed(tenant: Tenant) -> dict[str, Any]:
    shown: dict[str, Any] = tenant.http.get("/v1/feeds/wiki").raise_for_status().json()["feed"]
    return shown


def accepted(tenant: Tenant, count: int) -> None:
    eventually("the items are counted", lambda: feed(tenant)["received"] >= count)
    shown = feed(tenant)
    assert (shown["accepted"], shown["rejected"]) == (count, {})


def lines(tmp_path: Path, items: list[dict[str, Any]]) -> Path:
    file = tmp_path / "items.jsonl"
    file.write_text("".join(json.dumps(item) + "\n" for item in items))
    return file


def run(command: list[str | Path]) -> None:
    with subprocess.Popen(command) as program:
        try:
            assert program.wait(PROGRAM_S_MAX) == 0
        except subprocess.TimeoutExpired:
            program.send_signal(signal.SIGABRT)  # it prints what each of its threads is at
            raise


def test_the_program_in_python(world: World, tenant: Tenant, key_file: Path, tmp_path: Path) -> None:
    program = tmp_path / "produce.py"
    program.write_text(block("python"))
    items = [
        {"document_id": "page-1", "source_version": 1, "title": "Moving house", "text": "The okapi moves on Monday."},
        {"document_id": "page-2", "source_version": 4, "deleted": True},
    ]
    addresses = (world.settings.kafka.bootstrap_servers, world.settings.registry.url)
    run([sys.executable, "-X", "faulthandler", program, *addresses, "wiki", key_file, lines(tmp_path, items)])
    accepted(tenant, 2)
    assert feed(tenant)["deleted"] == 1
    eventually("the document is found", lambda: len(tenant.search("okapi", "words")) == 1)


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
def test_the_lines_with_kcat(world: World, tenant: Tenant, key_file: Path, tmp_path: Path) -> None:
    items = [{"id": f"page-{number}", "version": 1, "text": f"Text {number}."} for number in range(2)]
    lines(tmp_path, items).rename(tmp_path / "pages.jsonl")
    command = f'adriatic() {{ "{sys.executable}" -m adriatic "$@"; }}\n' + block("sh")
    environment = world.environment | {
        "BROKERS": world.settings.kafka.bootstrap_servers,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run(["sh", "-eu", "-c", command], check=True, cwd=tmp_path, env=environment, timeout=PROGRAM_S_MAX)
    assert key_file.exists()
    accepted(tenant, 2)


def test_a_file_over_http_with_its_bad_lines_named(
    world: World, tenant: Tenant, key_file: Path, tmp_path: Path
) -> None:
    good = [{"id": f"page-{number}", "version": number % 3 + 1, "text": "Text."} for number in range(700)]
    file = lines(tmp_path, [*good, {"id": "page-1", "version": 1}, {"id": "x"}])
    sent = world.run("feed", "send", "wiki", str(file), "--key-file", str(key_file), check=False)
    assert (sent.returncode, sent.stdout.strip()) == (1, "sent 700 items")
    assert "line 701: an item that is not deleted has a text" in sent.stderr
    assert "line 702: " in sent.stderr
    accepted(tenant, 700)
    again = world.run("feed", "send", "wiki", str(file), "--key-file", str(key_file), check=False)
    assert again.returncode == 1
    eventually("the same items are duplicates", lambda: feed(tenant)["duplicates"] == 700)
    assert feed(tenant)["accepted"] == 700
    shown = world.run("feed", "show", "wiki", "--tenant", tenant.slug).stdout
    assert "received 1400, accepted 700 (of these 0 deleted), duplicates 700" in shown
    assert "wiki" in world.run("feed", "list", "--tenant", tenant.slug).stdout


def test_a_feed_is_changed_and_its_keys_are_rotated(world: World, tenant: Tenant, key_file: Path) -> None:
    as_tenant = ("--tenant", tenant.slug)
    assert "paused" in world.run("feed", "set", "wiki", "--paused", "--items-per-day", "7", *as_tenant).stdout
    assert "of 7 items" in world.run("feed", "show", "wiki", *as_tenant).stdout
    second = world.run("feed", "key", "create", "wiki", *as_tenant).stdout.strip()
    first = key_file.read_text().strip()
    assert second.startswith("adf_")
    world.run("feed", "key", "revoke", "wiki", first.split("_")[1], *as_tenant)
    keys = json.loads(world.run("feed", "show", "wiki", "--json", *as_tenant).stdout)["keys"]
    assert {key["key_id"]: key["revoked_at"] is None for key in keys} == {
        second.split("_")[1]: True,
        first.split("_")[1]: False,
    }
    assert world.run("feed", "delete", "wiki", *as_tenant, check=False).returncode == 1
    world.run("feed", "delete", "wiki", "--yes", *as_tenant)
    assert json.loads(world.run("feed", "list", "--json", *as_tenant).stdout)["items"] == []
