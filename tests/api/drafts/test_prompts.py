"""What a model is told: word for word, and that no text of the tenant's can be more than a string in it."""

from __future__ import annotations

import json

import pytest

from api.drafts.prompts import QUOTING, RULES
from connectors.llm.extractive import OPENING, events
from connectors.llm.prompts import Passage, Prompt
from tests.api.drafts.golden import FOLDER, HOSTILE, RECORD, contents, prompts, told

PROMPTS = list(prompts().items())


@pytest.mark.parametrize(("file", "content"), list(contents()), ids=lambda value: value.split("\n")[0])
def test_word_for_word(file: str, content: str) -> None:
    assert content == (FOLDER / file).read_text(), "raise PROMPT_VERSION, then write the files anew"


def test_no_file_is_left_behind() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {file for file, _ in contents()}


@pytest.mark.parametrize(("task", "prompt"), PROMPTS)
def test_what_is_quoted_stays_one_string_and_the_rules_say_what_it_is(task: str, prompt: Prompt) -> None:
    said = json.loads(told(prompt))
    assert said["sources"][0]["text"] == HOSTILE
    assert said.get("brief") in (None, HOSTILE)
    assert HOSTILE not in prompt.system
    assert prompt.system.startswith(RULES)
    if task != "write":
        assert said["record"]["text"] == RECORD.text


@pytest.mark.parametrize(("task", "prompt"), PROMPTS)
def test_only_a_summary_may_be_quoted(task: str, prompt: Prompt) -> None:
    assert prompt.needs_model == (task != "summarise")


def test_a_quoted_summary_says_what_it_is() -> None:
    passages = (Passage(1, "ADR-1 Title", "Context", "Because."),)
    said = "".join(getattr(event, "text", "") for event in events(passages, dict(PROMPTS)["summarise"].quoting))
    assert said.startswith(QUOTING)
    assert OPENING not in said
