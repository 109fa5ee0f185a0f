"""What a suggestion may be: tags that fit, the tenant's own first; ADRs that exist; a title of one line."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest

from api.chat.grounding import Grounding
from api.drafts.prompts import write_suggesting_prompt
from api.drafts.schemas import SuggestedAdr
from api.drafts.suggesting import (
    RELATED_MAX,
    TAGS_MAX,
    WHY_CHARS_MAX,
    NearAdr,
    SuggestionBasis,
    read_claims,
    suggest_by_statistics,
    write_question,
)
from connectors.llm.prompts import Passage
from runtime.errors import DependencyUnavailable
from tests.api.drafts.golden import RECORD as RECORD_TEXT
from tests.api.drafts.test_composing import RECORD

TAGGED = msgspec.structs.replace(RECORD, tags=["Queues"])


def near(number: int, *tags: str) -> NearAdr:
    return NearAdr(
        number, SuggestedAdr(UUID(int=number), f"ADR-{number}", "main", f"T{number}", "accepted", None), [*tags]
    )


def basis(*others: NearAdr, known: tuple[str, ...] = (), body: str = RECORD.body) -> SuggestionBasis:
    passages = tuple(Passage(each.number, each.suggested.title, "", "…") for each in others)
    file = Passage(99, "A file", "", "…")
    return SuggestionBasis(
        msgspec.structs.replace(TAGGED, body=body), Grounding("", [], (*passages, file), None, []), [*others], [*known]
    )


def claim(**claims: Any) -> str:
    return msgspec.json.encode({"title": "", "tags": [], "related": []} | claims).decode()


def test_without_a_model_tags_are_those_of_what_is_near_and_of_what_the_text_speaks_of() -> None:
    found = suggest_by_statistics(
        basis(
            near(2, "kafka", "queues"),
            near(3, "bounds"),
            near(4, "bounds", "rare"),
            known=("kafka", "every queue", "eve", "bounds"),
        )
    )
    # 1 for the first; 1/2 + 1/3 for the second; 1/2 since the title says it; 1/3. "eve" is no word of the text.
    assert [each.tag for each in found.tags] == ["kafka", "bounds", "every queue", "rare"]
    assert all(each.known for each in found.tags)
    assert [each.label for each in found.related] == ["ADR-2", "ADR-3", "ADR-4"]
    assert (found.title, found.model, found.usage, found.version) == (None, None, None, 3)


def test_nothing_is_suggested_where_there_is_nothing() -> None:
    found = suggest_by_statistics(basis())
    assert (found.title, found.tags, found.related) == (None, [], [])


def test_claims_that_do_not_hold_are_left_out() -> None:
    said = claim(
        title=" Bound  queues\n by default ",
        tags=["new one", "KAFKA", "kafka", "queues", "a,b", "", "x" * 100],
        related=[
            {"source": 3, "why": " It is\nnear. "},
            {"source": 99, "why": "a document"},
            {"source": 1, "why": "x"},
        ],
    )
    found = read_claims(basis(near(2), near(3), known=("Kafka",)), said, "m", None)
    assert found.title == "Bound queues by default"
    assert [(each.tag, each.known) for each in found.tags] == [("Kafka", True), ("new one", False)]
    assert [(each.label, each.why) for each in found.related] == [("ADR-3", "It is near.")]
    assert found.model == "m"


def test_suggestions_are_bounded() -> None:
    others = [near(number) for number in range(2, 2 + 2 * RELATED_MAX)]
    said = claim(
        title="x" * 5_000,
        tags=[f"t{number}" for number in range(3 * TAGS_MAX)],
        related=[{"source": each.number, "why": "y" * 5_000} for each in others],
    )
    found = read_claims(basis(*others), said, "m", None)
    assert (found.title, len(found.tags), len(found.related)) == (None, TAGS_MAX, RELATED_MAX)
    assert len(found.related[0].why or "") == WHY_CHARS_MAX


@pytest.mark.parametrize("title", ["", "Bound every queue", " Bound every  queue "])
def test_its_own_title_is_no_suggestion(title: str) -> None:
    assert read_claims(basis(), claim(title=title), "m", None).title is None


@pytest.mark.parametrize("said", ["", "Sure! Here it is.", "{}", '{"title": 1, "tags": [], "related": []}', "[1]"])
def test_another_form_than_was_asked_for_is_said(said: str) -> None:
    with pytest.raises(DependencyUnavailable, match="another form"):
        read_claims(basis(near(2)), said, "m", None)


def test_a_model_is_told_of_adrs_only_and_by_numbers_that_the_record_has_not() -> None:
    question = write_question(basis(near(2), near(5), body="# Q\n\nSee [1].\n"), 2_048)
    assert question.prompt.form
    schema = msgspec.json.decode(question.prompt.form.schema)
    assert schema["properties"]["related"]["items"]["properties"]["source"]["enum"] == [2, 5]
    assert not question.has_nothing_to_ask


def test_where_nothing_is_near_the_form_has_no_number() -> None:
    prompt = write_suggesting_prompt(RECORD_TEXT, [], [], (), 2_048)
    assert prompt.form
    assert msgspec.json.decode(prompt.form.schema)["properties"]["related"]["items"] == {"type": "null"}
