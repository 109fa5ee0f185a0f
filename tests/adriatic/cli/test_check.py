"""`adriatic check` as people and machines see it: forms, exit codes, and where a change comes from."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner, Result

from adriatic.cli.check import CHANGE_CHARS_MAX, check, run_git
from adriatic.cli.check_forms import RULES, show_github, show_sarif, show_text
from api.guard import schemas
from api.guard.schemas import (
    BrokenDecision,
    ChangePlace,
    CheckResult,
    CitedDecision,
    GoverningDecision,
    NamedDecision,
    ProposalFinding,
    VettedProposal,
)
from runtime.settings import Settings
from tests.api.search.corpus import Corpus, writing
from tests.api.test_server import serving
from tests.api.world import running

HOW_TO = Path(__file__).parents[3] / "docs/how-to/check-a-change.md"
OLD = NamedDecision(UUID(int=1), "adr://main/1", "ADR-1", "main", "Write to both, at once", "superseded")
NEW = NamedDecision(UUID(int=2), "adr://main/2", "ADR-2", "main", "Events leave: by the log", "accepted")
RESULT = CheckResult(
    cited=[
        CitedDecision(
            OLD, "number", ChangePlace("src/a,b.py", 9, "# see ADR-1"), [NEW], "ADR-1 is superseded; see ADR-2\n100%"
        )
    ],
    seems_to_break=[
        BrokenDecision(
            *(NEW, "import", "likely", 0.95, ChangePlace("src/b.py", 3, "import celery"), "Considered Options"),
            *("Celery", "imports celery"),
        ),
        BrokenDecision(
            *(NEW, "way", "possible", 0.67, ChangePlace("docs/c.md", 4, "By hand."), "Considered Options"),
            *("By hand", "tells a way"),
        ),
    ],
    proposals=[
        VettedProposal(
            *("Send events, by hand", 2, "proposed", ChangePlace("adr/2-hand.md", 1, "# Send")),
            [
                ProposalFinding(*("number-taken", "certain", 1.0, NEW, "2", NEW.title, "the number 2 is taken")),
                ProposalFinding(*("conflicts", "likely", 0.92, NEW, "hand", "log", "answers otherwise")),
            ],
        )
    ],
    governing=[GoverningDecision(NEW, "Decision", "Nobody writes\ntwice.", 0.03, ["src/a,b.py"], "both", "shares log")],
    lines=3,
    files=1,
    topics=1,
    degraded=[],
    as_of=None,
)
NOTHING = CheckResult([], [], [], [], 3, 0, 0, [], None)


def test_people_see_the_line_and_what_stands_in_its_place() -> None:
    shown = show_text(RESULT)
    assert "src/a,b.py:9: ADR-1 is superseded; see ADR-2" in shown
    assert "ADR-2 Events leave: by the log  (adr://main/2)" in shown
    assert "Nobody writes twice." in shown
    assert "src/b.py:3: seems to break ADR-2 Events leave: by the log (adr://main/2): imports celery" in shown
    assert "(likely, 95% of such were right)\n    import celery\n    Considered Options: Celery" in shown
    assert "(possible, 67% of such were right)" in shown
    assert (
        "adr/2-hand.md:1: Send events, by hand: the number 2 is taken (adr://main/2; certain)\n"
        "adr/2-hand.md:1: Send events, by hand: answers otherwise (adr://main/2; likely, 92% of such were right)\n"
    ) in shown
    assert show_text(NOTHING) == "nothing in 3 lines cites a decision that does not hold"


def test_github_gets_one_command_a_finding() -> None:
    assert show_github(RESULT).splitlines() == [
        "::warning file=src/a%2Cb.py,line=9,title=Decision that does not hold::ADR-1 is superseded; see ADR-2%0A100%25",
        "::warning file=src/b.py,line=3,title=Seems to break a decision::seems to break ADR-2 Events leave: by the log "
        "(adr://main/2): imports celery (likely, 95%25 of such were right)",
        "::notice file=docs/c.md,line=4,title=Seems to break a decision::seems to break ADR-2 Events leave: by the log "
        "(adr://main/2): tells a way (possible, 67%25 of such were right)",
        "::warning file=adr/2-hand.md,line=1,title=Proposed decision::Send events, by hand: the number 2 is taken "
        "(adr://main/2; certain)",
        "::warning file=adr/2-hand.md,line=1,title=Proposed decision::Send events, by hand: answers otherwise "
        "(adr://main/2; likely, 92%25 of such were right)",
        "::notice title=ADR-2 Events leave%3A by the log::adr://main/2: shares log",
    ]
    assert show_github(NOTHING) == ""


def test_sarif_has_what_its_readers_ask_for() -> None:
    told = json.loads(show_sarif(RESULT))
    assert told["version"] == "2.1.0"
    (run,) = told["runs"]
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert rules == set(RULES) == {each["ruleId"] for each in run["results"]}
    first = run["results"][0]
    assert first["level"] == "warning"
    place = first["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("src/a,b.py", 9)
    levels = [(each["ruleId"], each["level"], each.get("rank")) for each in run["results"][1:3]]
    assert levels == [("seems-to-break", "warning", 95.0), ("seems-to-break", "note", 67.0)]
    assert json.loads(show_sarif(NOTHING))["runs"][0]["results"] == []


def test_the_bound_is_that_of_the_api() -> None:
    assert CHANGE_CHARS_MAX == schemas.CHANGE_CHARS_MAX


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name one of FILE, --diff and --staged"),
        (["-", "--staged"], "name one of FILE, --diff and --staged"),
        (["--diff=--output=x"], "No such option: --output"),
    ],
)
def test_a_change_comes_from_one_place(arguments: list[str], said: str) -> None:
    run = CliRunner().invoke(check, arguments)
    assert run.exit_code == 2
    assert said in run.output


def test_an_option_of_git_is_no_range() -> None:
    with pytest.raises(click.BadParameter, match="no range of commits"):
        run_git("--output=x")


@pytest.fixture
async def remote(fresh_database: Settings, tmp_path: Path) -> AsyncIterator[list[str]]:
    """An API with two records, as options of a command."""
    with writing(fresh_database) as corpus:
        async with running(fresh_database) as world:
            caller = await world.tenant()
            furnish(corpus, caller.tenant_id)
            with serving(world.settings, tmp_path) as server:
                yield ["--url", server.url, "--token", caller.token]


def furnish(corpus: Corpus, tenant_id: UUID) -> None:
    corpus.log(tenant_id, "main")
    corpus.adr(tenant_id, "Write to both", "# Write to both\n", number=1, status="superseded", log="main")
    text = "# Events leave by the log\n\n## Considered Options\n\n- The log\n- Celery\n"
    text += "\n## Decision Outcome\n\nChosen option: **the log**.\n"
    corpus.adr(tenant_id, "Events leave by the log", text, number=2, log="main")


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.mark.stack
async def test_a_repository_is_checked_as_a_hook_does(
    remote: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    outside = invoke("--diff", *remote)
    assert outside.exit_code == 1
    assert "git" in str(outside.exception)
    git(folder, "init", "-q")
    git(folder, "config", "diff.mnemonicPrefix", "true")
    (folder / "a.py").write_text("one\n# see ADR-1\n")
    git(folder, "add", "a.py")
    git(folder, "commit", "-qm", "one")
    unchanged = invoke("--diff", *remote)
    assert (unchanged.exit_code, unchanged.stderr) == (0, "nothing has changed\n")
    (folder / "a.py").write_text("one\n# see ADR-1\ntwo\n# see ADR-1 again, and the log of events\n")
    assert invoke("--staged", *remote).exit_code == 0, "nothing is staged"
    found = invoke("--diff", *remote, "--as", "github")
    assert found.exit_code == 1
    assert "::warning file=a.py,line=4," in found.stdout
    assert "line=2," not in found.stdout, "it was there before"
    git(folder, "add", "a.py")
    staged = invoke("--staged", "--json", *remote)
    assert staged.exit_code == 1
    told: dict[str, Any] = json.loads(staged.stdout)
    assert [each["place"]["line"] for each in told["cited"]] == [4]
    assert told["governing"][0]["decision"]["label"] == "ADR-2"
    git(folder, "commit", "-qm", "two")
    assert invoke("--diff", "HEAD~1..HEAD", *remote).exit_code == 1
    (folder / "note.md").write_text("Events leave by the log, as ADR-2 says.\n")
    fine = invoke("note.md", *remote)
    assert fine.exit_code == 0
    assert "nothing in" in fine.stdout
    (folder / "b.py").write_text("import celery\n")
    git(folder, "add", "b.py")
    warned = invoke("--staged", *remote)
    assert (warned.exit_code, invoke("--staged", "--fail-on", "likely", *remote).exit_code) == (0, 1)
    assert "b.py:1: seems to break ADR-2 Events leave by the log" in warned.stdout
    (folder / "large.md").write_text("x" * (CHANGE_CHARS_MAX + 1))
    assert "at most 262144 are checked" in str(invoke("large.md", *remote).exception)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(check, list(arguments))


def run_program(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.stack
async def test_the_recipes_run_in_a_clean_repository(
    remote: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the how-to gives to copy, as it stands there: a hook, an entry of pre-commit, a step of a workflow."""
    recipes = re.findall(r"```(\w+)\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)
    hook = next(text for form, text in recipes if form == "sh")
    entries = yaml.safe_load(next(text for form, text in recipes if "pre-commit" in text or "hooks:" in text))
    steps = yaml.safe_load(next(text for form, text in recipes if "uses:" in text))
    programs, origin, folder = tmp_path / "bin", tmp_path / "origin", tmp_path / "clone"
    programs.mkdir()
    (programs / "adriatic").write_text(f'#!/bin/sh\nexec {sys.executable} -m adriatic "$@" $WHERE\n')
    (programs / "adriatic").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(HOW_TO.parents[2]))
    monkeypatch.setenv("WHERE", " ".join(remote))
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Anybody")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "anybody@example.com")
    origin.mkdir()
    git(origin, "init", "-q", "-b", "main")
    (origin / "a.py").write_text("# as ADR-1 says\n")
    git(origin, "add", "a.py")
    git(origin, "commit", "-qm", "Before anybody checked")
    git(tmp_path, "clone", "-q", str(origin), str(folder))
    (folder / ".git/hooks/pre-commit").write_text(hook)
    (folder / ".git/hooks/pre-commit").chmod(0o755)

    (folder / "b.py").write_text("import celery\n")
    git(folder, "add", "b.py")
    git(folder, "commit", "-qm", "What seems to break a decision is a warning")
    (folder / "c.py").write_text("# as ADR-1 says\n")
    git(folder, "add", "c.py")
    refused = run_program(folder, "git", "commit", "-qm", "no")
    assert refused.returncode == 1
    assert "c.py:1: ADR-1 is superseded" in refused.stdout + refused.stderr
    (entry,) = entries["repos"][0]["hooks"]
    run = run_program(folder, *entry["entry"].split())
    assert (run.returncode, entry["pass_filenames"]) == (1, False), run.stderr

    git(folder, "commit", "--no-verify", "-qm", "past the hook")
    monkeypatch.setenv("WHERE", "")
    monkeypatch.setenv("GITHUB_BASE_REF", "main")
    monkeypatch.setenv("ADR_KEY", remote[3])
    script = next(step["run"] for step in steps if "run" in step).replace("https://adr.example.com", remote[1])
    review = run_program(folder, "sh", "-ec", script)
    assert review.returncode == 1, review.stderr
    shown = review.stdout.splitlines()
    assert shown[0].startswith("::warning file=c.py,line=1,title=Decision that does not hold::ADR-1 is superseded")
    assert shown[1].startswith("::warning file=b.py,line=1,title=Seems to break a decision::seems to break ADR-2")
    assert not any("a.py" in line for line in shown), "it was there before"
