"""The drill of spending, as an operator runs it, on a real server: two API processes, and nothing is left of it."""

from __future__ import annotations

import json

import psycopg
import pytest
from click.testing import CliRunner, Result

from adriatic.cli import spend_drill
from runtime.settings import Settings
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.stack


def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, *words: str) -> Result:
    monkeypatch.setattr(spend_drill, "load", lambda: settings)
    return CliRunner().invoke(spend_drill.drill, [*words], catch_exceptions=False)


def scratch_databases(settings: Settings) -> list[str]:
    with psycopg.connect(settings.postgres.dsn("admin", "postgres")) as admin:
        rows = admin.execute("select datname from pg_database where datname like 'adriatic_drill_%'").fetchall()
    return [name for (name,) in rows]


def test_each_step_finds_what_it_must_and_nothing_is_left(stack: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(stack, monkeypatch, "--within", str(PATIENCE_S), "--json")
    told = json.loads(done.stdout)
    assert [step["name"] for step in told["steps"] if not step["passed"]] == [], told
    assert (done.exit_code, told["passed"], len(told["steps"])) == (0, True, 10)
    assert scratch_databases(stack) == []


def test_what_takes_too_long_fails_says_so_and_leaves_nothing(stack: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(stack, monkeypatch, "--within", "0.000001")
    assert done.exit_code == 1
    *passed, failed = done.stdout.splitlines()
    assert [line[:2] for line in passed] == ["ok"]
    assert failed.startswith("FAILED")
    assert "stop by hand" in failed
    assert "more than 1e-06 s" in failed
    assert scratch_databases(stack) == []
