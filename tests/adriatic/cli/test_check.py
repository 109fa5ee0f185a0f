"""`adriatic check` as people and machines see it: forms, exit codes, and where a change comes from."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import pytest
from click.testing import CliRunner, Result

from adriatic.cli.check import CHANGE_CHARS_MAX, check, run_git
from adriatic.cli.check_forms import RULES, show_github, show_sarif, show_text
from api.guard import schemas
from api.guard.schemas import ChangePlace, CheckResult, CitedDecision, GoverningDecision, NamedDecision
from runtime.settings import Settings
from tests.api.search.corpus import Corpus, writing
from tests.api.test_server import serving
from tests.api.world import running

OLD = NamedDecision(UUID(int=1), "adr://main/1", "ADR-1", "main", "Write to both, at once", "superseded")
NEW = NamedDecision(UUID(int=2), "adr://main/2", "ADR-2", "main", "Events leave: by the log", "accepted")
RESULT = CheckResult(
    cited=[
        CitedDecision(
            OLD, "number", ChangePlace("src/a,b.py", 9, "# see ADR-1"), [NEW], "ADR-1 is superseded; see ADR-2\n100%"
        )
    ],
    governing=[GoverningDecision(NEW, "Decision", "Nobody writes\ntwice.", 0.03, ["src/a,b.py"], "both", "shares log")],
    lines=3,
    files=1,
    topics=1,
    degraded=[],
    as_of=None,
)
NOTHING = CheckResult([], [], 3, 0, 0, [], None)


def test_people_see_the_line_and_what_stands_in_its_place() -> None:
    shown = show_text(RESULT)
    assert "src/a,b.py:9: ADR-1 is superseded; see ADR-2" in shown
    assert "ADR-2 Events leave: by the log  (adr://main/2)" in shown
    assert "Nobody writes twice." in shown
    assert show_text(NOTHING) == "nothing in 3 lines cites a decision that does not hold"


def test_github_gets_one_command_a_finding() -> None:
    assert show_github(RESULT).splitlines() == [
        "::warning file=src/a%2Cb.py,line=9,title=Decision that does not hold::ADR-1 is superseded; see ADR-2%0A100%25",
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
    corpus.adr(tenant_id, "Events leave by the log", "# Events leave by the log\n\nThe log.\n", number=2, log="main")


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
    (folder / "large.md").write_text("x" * (CHANGE_CHARS_MAX + 1))
    assert "at most 262144 are checked" in str(invoke("large.md", *remote).exception)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(check, list(arguments))
