"""What a draft may stand on: its numbers, and what of a record is quoted; and its text when it becomes an ADR."""

from __future__ import annotations

from itertools import islice
from typing import Any
from uuid import UUID

import msgspec
import pytest

from api.chat.citations import CitationCheck, find_numbers, name_sources
from api.chat.schemas import Source
from api.drafts.accepting import name_each, write_text
from api.drafts.composing import DraftedRecord, choose_numbers, cite, has_model, quote, require_model
from api.drafts.schemas import AdrDraft, DraftAcceptance
from runtime.errors import Conflict
from runtime.settings import LlmSettings

ID, OTHER = UUID(int=1), UUID(int=2)
SENTENCE = "This sentence is here so that the section has something to say at all. "
BODY = f"""# Bound every queue

## Status

Accepted

## Context

{SENTENCE}

```markdown
## Decision of somebody else
```

## Links

{SENTENCE}

## Notes

{SENTENCE}

## Decision

{SENTENCE}
"""
RECORD = DraftedRecord(ID, 3, "ADR-4", "main", "Bound every queue", "accepted", BODY, [])
OWN = cite(RECORD, 1)
NEAR = msgspec.structs.replace(OWN, number=2, source_id=OTHER, label="ADR-2", title="Nobody writes twice")
FAR = msgspec.structs.replace(NEAR, number=3, log="billing", title="Far")
FILE = msgspec.structs.replace(NEAR, number=5, kind="document", label=None, log=None, title="Notes.md")
SOURCES = [OWN, NEAR, FAR, FILE]


def test_numbers_of_sources_are_none_that_the_record_has() -> None:
    assert list(islice(choose_numbers(find_numbers("[1] and [3, 4], [x], [12345]")), 3)) == [2, 5, 6]


def test_numbers_that_the_record_has_are_left_as_they_stand() -> None:
    check = CitationCheck([2], own=[1, 4])
    shown = check.feed("See [1], [4, 1], [2], [1, 2, 9], [9].") + check.finish()
    assert shown == "See [1], [4, 1], [2], [1, 2],."
    assert (check.cited, check.unsupported) == ([2], [9])


def test_what_is_quoted_is_what_says_most_and_headings_in_code_are_none() -> None:
    quoted = quote(RECORD, 7)
    assert [(passage.number, passage.heading) for passage in quoted] == [(7, "Context"), (7, "Links"), (7, "Decision")]
    assert "## Decision of somebody else" in quoted[0].text
    assert quoted[0].title == "ADR-4 Bound every queue"


def test_a_text_without_sections_is_quoted_as_it_stands() -> None:
    (passage,) = quote(msgspec.structs.replace(RECORD, body="Just so.\n"), 1)
    assert passage.text == "Just so.\n"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("It fails [2].", "It fails (ADR-2)."),
        ("It fails [2, 5].", "It fails (ADR-2, “Notes.md”)."),
        ("As it says [1].", "As it says."),
        ("Elsewhere [3][1, 2]", "Elsewhere (“Far”)(ADR-2)"),
        ("A list [8] and [2, 8]", "A list [8] and [2, 8]"),
    ],
)
def test_numbers_become_names(text: str, named: str) -> None:
    assert name_sources(text, name_each(SOURCES, ID, "main")) == named


def drafted(text: str, **more: Any) -> AdrDraft:
    made: dict[str, Any] = {"task": "expand", "adr_id": ID, "version": 3, "state": "completed", "finish": "stop"}
    rest = {"model": "m", "citations": None, "usage": None, "error": None, "accepted": None}
    return AdrDraft(draft_id=OTHER, prompt_version=1, text=text, sources=SOURCES, **(made | rest | more))


def test_a_fence_around_the_whole_is_taken_off_and_one_within_is_not() -> None:
    text = "# T\n\n```sql\nselect 1\n```\n\nEnd [2]."
    named = "# T\n\n```sql\nselect 1\n```\n\nEnd (ADR-2).\n"
    assert write_text(drafted(text), DraftAcceptance()) == named
    assert write_text(drafted(f"````markdown\n{text}\n````\n"), DraftAcceptance()) == named


def test_what_a_person_edited_is_taken_as_it_is() -> None:
    assert write_text(drafted("x"), DraftAcceptance(body="# Mine [2]\n")) == "# Mine [2]\n"


def test_a_new_adr_in_another_log_names_by_title() -> None:
    sources: list[Source] = [NEAR]
    new = msgspec.structs.replace(drafted("So [2].", adr_id=None, version=None), sources=sources)
    assert write_text(new, DraftAcceptance(log="billing")) == "So (“Nobody writes twice”).\n"
    assert write_text(new, DraftAcceptance()) == "So (ADR-2).\n"


def test_whether_there_is_a_model() -> None:
    quoting = LlmSettings()
    target = {"provider": "openai", "model": "m", "base_url": "http://x/v1"}
    routed = LlmSettings.model_validate({"models": [{"name": "a", "targets": [{"provider": "extractive"}, target]}]})
    assert [has_model(each) for each in (quoting, routed)] == [False, True]
    require_model(routed)
    with pytest.raises(Conflict, match="no model is set"):
        require_model(quoting)
