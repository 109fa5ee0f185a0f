"""`adriatic import` against the whole system: from a repository on disk to a search that finds it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.settings import Settings
from tests.connectors.history.repository import Repository

pytestmark = pytest.mark.stack


def adriatic(system: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ADRIATIC_")}
    environment |= {"ADRIATIC_HOME": str(system.home)}
    command = [sys.executable, "-m", "adriatic", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=280)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    made.write("docs/adr/0001-ferry.md", "# 1. Take the ferry\n\n## Status\n\nAccepted\n\n## Context\n\nIslands.\n")
    made.write("docs/adr/0002-latin.md", b"# 2. Caf\xe9\n")
    made.write("docs/adr/0003-huge.md", b"x" * 50_000_000)
    made.commit("Add")
    made.write(
        "docs/adr/0001-ferry.md", "# 1. Take the ferry\n\n## Status\n\nAccepted\n\n## Context\n\nMany islands.\n"
    )
    made.commit("Edit")
    return made


def test_a_history_is_imported_and_found_and_the_summary_is_true(system: Settings, repository: Repository) -> None:
    words = ("import", str(repository.root), "--tenant", "cli-import", "--create-tenant")
    done = adriatic(system, *words, "--json")
    assert done.returncode == 1, done.stderr
    assert "1 change(s) were refused or unreadable" in done.stderr
    (outcome,) = json.loads(done.stdout)
    report: dict[str, Any] = outcome["report"]
    assert (report["events"], report["applied"], report["skipped"]) == (4, 3, 0)
    assert {code: tally["count"] for code, tally in report["refused"].items()} == {"too-large": 1}
    assert report["odd"]["not-text"]["count"] == 1
    assert outcome["totals"]["live"] == 2
    assert outcome["searchable"]["words_s"] is not None
    assert outcome["searchable"]["meaning_s"] is not None
    assert outcome["freshness"]["words"]["counted"] == outcome["freshness"]["meaning"]["counted"] == 2
    assert outcome["freshness"]["words"]["p99_s"] > 0

    again = adriatic(system, *words)
    assert again.returncode == 1, again.stderr
    assert "0 applied, 3 skipped (here already), 1 refused" in again.stdout
    assert "the text has 50000000 bytes" in again.stdout


def test_a_tenant_that_is_not_there_and_a_source_that_is_not_there(system: Settings, repository: Repository) -> None:
    for words, hint in (
        ((str(repository.root), "--tenant", "no-such-tenant"), "adriatic tenant list"),
        ((str(repository.root / "nowhere"),), "git repository"),
    ):
        refused = adriatic(system, "import", *words)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert hint in refused.stderr
