"""`adriatic draft` against a running API and a provider that says what the test wants."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from adriatic.cli.draft import draft, suggestion_lines
from api.auth.issuer import LocalIssuer
from api.drafts.schemas import SuggestedMetadata
from runtime.errors import Conflict
from runtime.settings import Settings
from tests import databases
from tests.api.search.corpus import writing
from tests.api.test_server import serving
from tests.browser.conftest import standing_in_thread
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import StandIn

pytestmark = pytest.mark.stack

OLD = "# Nobody writes twice\n\n## Context\n\nA dual write fails in the middle.\n"
TEXT = "# Cache it\n\n## Context\n\nIt is slow [1].\n"


class Terminal:
    """Commands of one tenant, and the provider that answers them."""

    def __init__(self, url: str, token: str, provider: StandIn) -> None:
        self._where = ["--url", url, "--token", token]
        self.provider = provider

    def run(self, *words: str, given: str | None = None) -> Result:
        return CliRunner().invoke(draft, [*words, *self._where], input=given)

    def done(self, *words: str, given: str | None = None) -> Result:
        result = self.run(*words, given=given)
        assert result.exit_code == 0, (result.output, result.exception)
        return result

    def say(self, text: str) -> None:
        self.provider.script = [recorded.OPENAI_START, recorded.openai_text(text), recorded.OPENAI_END]


@pytest.fixture(scope="module")
def terminal(stack: Settings, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    with (
        databases.fresh(stack, template_database, "drafts") as settings,
        writing(settings) as corpus,
        standing_in_thread() as provider,
    ):
        tenant_id = corpus.tenant(f"drafts-{uuid.uuid4().hex[:8]}")
        corpus.watermark(datetime.now(UTC))
        corpus.adr(tenant_id, "Nobody writes twice", OLD, number=2, tags=["kafka"])
        corpus.adr(tenant_id, "Write dual once", OLD.replace("Nobody", "Somebody"), number=3)
        variables = {
            "ADRIATIC_LLM__PROVIDER": "openai",
            "ADRIATIC_LLM__MODEL": "gpt-test-1",
            "ADRIATIC_LLM__BASE_URL": f"{provider.url}/v1",
            "ADRIATIC_LIMITS__NEW_USER_REQUESTS": "0",
        }
        with serving(settings, tmp_path_factory.mktemp("api"), **variables) as server:
            token = LocalIssuer.open(settings.home, settings.auth).mint(tenant_id, subject="ada", ttl_s=600)
            yield Terminal(server.url, token.text, provider)


def draft_id_in(result: Result) -> str:
    return result.stderr.split("accept ")[1].split("`")[0]


def test_a_draft_is_shown_with_its_sources_and_is_in_no_adr(terminal: Terminal) -> None:
    terminal.say(TEXT)
    result = terminal.done("write", "nobody", "writes twice?")
    assert click.unstyle(result.stdout).startswith(TEXT)
    assert "[1] ADR-2  Nobody writes twice" in click.unstyle(result.stdout)
    assert "it is in no ADR yet" in result.stderr
    accepted = terminal.done("accept", draft_id_in(result), "--json")
    adr = json.loads(accepted.stdout)
    assert (adr["title"], adr["log"], adr["version"]) == ("Cache it", "main", 1)
    again = terminal.done("accept", draft_id_in(result))
    assert again.stdout == f"{adr['label']}  Cache it  version 1 in main\n"


def test_a_brief_comes_from_standard_input_and_is_accepted_at_once(terminal: Terminal) -> None:
    terminal.say(TEXT)
    result = terminal.done("write", "--accept", "--tag", "search", "-", given="Cache it,\nor not?\n")
    assert "Cache it  version 1 in main" in result.stdout
    said = json.loads(terminal.provider.requests[-1]["messages"][1]["content"])
    assert said["brief"] == "Cache it,\nor not?\n"


def test_an_edited_text_is_what_is_accepted(terminal: Terminal, tmp_path: Path) -> None:
    terminal.say(TEXT)
    result = terminal.done("write", "something")
    file = tmp_path / "edited.md"
    file.write_text("# Mine\n\nEdited.\n")
    adr = json.loads(terminal.done("accept", draft_id_in(result), "--file", str(file), "--json").stdout)
    assert (adr["title"], adr["body"]) == ("Mine", "# Mine\n\nEdited.\n")


def test_json_is_a_line_for_each_event_and_what_became_of_it(terminal: Terminal) -> None:
    terminal.say(OLD + "\n## Consequences\n\nNone.\n")
    result = terminal.done("expand", "ADR-3", "--accept", "--json", "--brief", "say what follows")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["event"] for line in lines][-3:] == ["usage", "done", "accepted"]
    assert lines[-1]["data"]["version"] == 2


@pytest.mark.parametrize("task", ["summarise", "review"])
def test_what_is_for_reading_says_nothing_of_accepting(terminal: Terminal, task: str) -> None:
    terminal.say("It says so [1].")
    result = terminal.done(task, "ADR-2")
    assert result.stdout.startswith("It says so [1].")
    assert "accept" not in result.stderr


def test_suggestions_are_shown_and_set_when_told(terminal: Terminal) -> None:
    claims: dict[str, Any] = {"title": "Never write twice", "tags": ["kafka", "writes"], "related": []}
    terminal.say(json.dumps(claims))
    shown = click.unstyle(terminal.done("suggest", "ADR-2").stdout)
    assert "title    Never write twice" in shown
    assert "tags     writes (new)" in shown, "it has the other one"
    assert "suggested by gpt-test-1" in shown
    set_ = terminal.done("suggest", "ADR-2", "--accept", "--json")
    assert json.loads(set_.stdout)["title"] == "Never write twice"
    assert "version 2" in set_.stderr
    assert "tagged writes" in set_.stderr
    again = json.loads(terminal.done("suggest", "ADR-2", "--json").stdout)
    assert (again["title"], again["tags"]) == (None, [])


def test_a_draft_that_is_for_reading_cannot_be_accepted(terminal: Terminal) -> None:
    terminal.say("Fine.")
    lines = terminal.done("review", "ADR-2", "--json").stdout.splitlines()
    draft_id = json.loads(lines[0])["data"]["answer_id"]
    result = terminal.run("accept", draft_id)
    assert isinstance(result.exception, Conflict)
    assert "for reading" in str(result.exception)


def test_nothing_to_suggest_is_said() -> None:
    nothing = SuggestedMetadata(uuid.uuid4(), 1, None, [], [], None, None)
    assert [click.unstyle(line) for line in suggestion_lines(nothing)] == [
        "title    its own; no better one is known",
        "tags     none",
        "related  none",
        "no model was asked: this is what near records have",
    ]
