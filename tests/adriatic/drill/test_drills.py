"""The drills on a real server, with two API processes: each step finds what it must, and nothing is left of them."""

from __future__ import annotations

import json
import subprocess
import sys

import psycopg
import pytest

from adriatic.drill import crawling, site
from adriatic.drill.crawling import CrawlShow
from adriatic.drill.gateway import GatewayShow
from adriatic.drill.scratch import open_scratch
from adriatic.drill.steps import DrillStep
from runtime.settings import CrawlerSettings, Settings
from tests.api.test_server import environment
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.stack


def run(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    postgres = settings.postgres
    passwords = {
        f"ADRIATIC_POSTGRES__{role.upper()}_PASSWORD": getattr(postgres, f"{role}_password").get_secret_value()
        for role in ("admin", "owner", "flows", "cdc")
    }
    return subprocess.run(
        [sys.executable, "-m", "adriatic", "spend", "drill", *words],
        env=environment(settings, 1) | passwords | {"ADRIATIC_POSTGRES__ADMIN_USER": postgres.admin_user},
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
    )


def scratch_databases(settings: Settings) -> list[str]:
    with psycopg.connect(settings.postgres.dsn("admin", "postgres")) as admin:
        rows = admin.execute("select datname from pg_database where datname like 'adriatic_drill_%'").fetchall()
    return [name for (name,) in rows]


def test_each_step_finds_what_it_must_and_nothing_is_left(stack: Settings) -> None:
    done = run(stack, "--within", str(PATIENCE_S), "--json")
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    assert [step for step in told["steps"] if not step["passed"]] == [], done.stderr
    assert (done.returncode, told["passed"], len(told["steps"])) == (0, True, 11)
    print("\n".join(f"{step['took_ms']:6} ms  {step['name']}: {step['detail']}" for step in told["steps"]))
    assert done.stderr == "", "alerts that are made up are not told as true ones"
    assert scratch_databases(stack) == []


def test_what_takes_too_long_fails_says_so_and_leaves_nothing(stack: Settings) -> None:
    done = run(stack, "--within", "0.000001", "--verbose")
    assert done.returncode == 1, done.stderr
    assert "a budget crossed a threshold" in done.stderr
    passed, failed = done.stdout.splitlines()
    assert passed.startswith("ok")
    assert failed.startswith("FAILED")
    assert "stop by hand" in failed
    assert "more than 1e-06 s" in failed
    assert scratch_databases(stack) == []


async def test_each_step_of_the_show_finds_what_it_must(stack: Settings) -> None:
    told: list[DrillStep] = []
    async with open_scratch(stack) as scratch:
        steps = await GatewayShow(scratch, PATIENCE_S, told.append).run()
    print("\n".join(f"{step.took_ms:6} ms  {step.name}: {step.detail}" for step in steps))
    assert [step for step in steps if not step.passed] == []
    assert len(steps) == 10
    assert told == list(steps)
    assert scratch_databases(stack) == []


async def test_each_step_of_a_crawl_finds_what_it_must(stack: Settings) -> None:
    told: list[DrillStep] = []
    async with open_scratch(stack) as scratch:
        steps = await CrawlShow(scratch, PATIENCE_S, told.append).run()
    print("\n".join(f"{step.took_ms:6} ms  {step.name}: {step.detail}" for step in steps))
    assert [step for step in steps if not step.passed] == []
    assert len(steps) == 4
    assert told == list(steps)
    assert scratch_databases(stack) == []


async def test_a_site_that_leads_inside_is_noticed(stack: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that may go inside, and that asks for what is forbidden, ends the show with what was wrong."""
    inside = {"allowed_private": (site.HOST, site.INSIDE)}
    monkeypatch.setattr(crawling, "CrawlerSettings", lambda **given: CrawlerSettings(**given | inside))
    async with open_scratch(stack) as scratch:
        steps = await CrawlShow(scratch, PATIENCE_S, lambda _: None).run()
    assert [step.passed for step in steps] == [True, True, False]
    assert "connections were made to what is inside" in steps[-1].detail
