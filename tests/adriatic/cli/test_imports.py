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


def test_two_services_of_one_repository_have_a_log_each_and_go_on_with_it(system: Settings, tmp_path: Path) -> None:
    made = Repository(tmp_path / "mono")
    for service in ("cart", "billing"):
        folder = f"services/{service}/docs/adr"
        made.write(f"{folder}/0001-first.md", f"# 1. First of {service}\n\n## Status\n\nAccepted\n")
        made.write(
            f"{folder}/0002-second.md", f"# 2. Second of {service}\n\n## Status\n\nAccepted\n\nSupersedes ADR-1\n"
        )
    made.write("services/cart/docs/adr/sketch.html", "<p>no Markdown</p>")
    made.commit("Add")
    words = ("import", str(made.root), "--tenant", "cli-mono", "--create-tenant", "--json")
    done = adriatic(system, *words)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert {each["report"]["log"] for each in outcomes} == {"cart", "billing"}
    assert [(each["totals"]["numbered"], each["totals"]["links_resolved"]) for each in outcomes] == [(2, 1), (2, 1)]

    made.write("services/cart/docs/adr/0003-third.md", "# 3. Third\n\n## Status\n\nAccepted\n")
    made.commit("More")
    shown = adriatic(system, "import", str(made.root / "services/cart"), "--tenant", "cli-mono")
    assert shown.returncode == 0, shown.stderr
    assert "log cart" in shown.stdout, "one folder alone goes on with the log that has it"
    assert "1 applied, 2 skipped" in shown.stdout
    assert "sketch.html" in shown.stdout

    together = adriatic(system, *words[:2], "--tenant", "cli-mono", "--log", "all", "--json")
    assert [each["report"]["log"] for each in json.loads(together.stdout)] == ["all"]


def test_what_is_here_is_read_again_and_the_summary_says_what_changed(system: Settings, tmp_path: Path) -> None:
    made = Repository(tmp_path / "again")
    made.write("docs/adr/0001-a.md", "# 1. Weigh parcels\n\n## Status\n\nGreen light\n")
    made.commit("Add")
    tenant = ("--tenant", "cli-reread")
    assert adriatic(system, "import", str(made.root), *tenant, "--create-tenant").returncode == 0
    assert "nothing changed" in adriatic(system, "import", "--reread", *tenant).stdout
    added = adriatic(system, "words", "add", "status", "accepted", "green light", *tenant)
    assert added.returncode == 0, added.stderr
    assert "green light" in adriatic(system, "words", "list", *tenant).stdout
    again = adriatic(system, "import", "--reread", *tenant)
    assert again.returncode == 0, again.stderr
    assert "1 ADRs in 1 versions read by reader" in again.stdout
    assert "docs/adr/0001-a.md v1: unknown → accepted" in again.stdout
    assert "nothing changed" in adriatic(system, "import", "--reread", *tenant).stdout
    found = json.loads(adriatic(system, "search", "weigh parcels", *tenant, "--json").stdout)
    assert [hit["status"] for hit in found["hits"]] == ["accepted"]
    refused = adriatic(system, "words", "add", "status", "accepted", "rejected", *tenant)
    assert (refused.returncode, "means rejected already" in refused.stderr) == (1, True)
    removed = adriatic(system, "words", "remove", "status", "accepted", "green light", *tenant)
    assert removed.returncode == 0
    assert adriatic(system, "import", "--reread", "--log", "x").returncode == 2
    assert adriatic(system, "import").returncode == 2
