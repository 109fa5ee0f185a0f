"""Sentences and titles that suggest something, and those that look like it."""

from __future__ import annotations

import pytest

from connectors.reading.outcomes import Decision, DecisionText, read_outcome
from connectors.reading.suggesting import suggest
from schemas.suggestions import suggestion_id
from tests.dataflows.test_related import ADRS

JENKINS = Decision("Use Jenkins for CI builds", [DecisionText("", 0, "One server builds everything.")])


def said(sentence: str, heading: str = "", title: str = "Build elsewhere") -> str | None:
    found = suggest(Decision(title, [DecisionText(heading, 0, sentence)]), JENKINS)
    return found and found.kind


@pytest.mark.parametrize(
    "sentence",
    [
        "This replaces Jenkins for CI builds.",
        "We no longer use Jenkins for CI builds.",
        'This decision supersedes "Use Jenkins for CI builds".',
        "We use runners instead of **Jenkins** for CI builds.",
        "Wir nutzen Runner statt Jenkins für CI builds.",
        "Nous n'utilisons plus Jenkins pour les CI builds.",
    ],
)
def test_words_that_leave_the_older_one(sentence: str) -> None:
    assert said(sentence) == "supersedes"


@pytest.mark.parametrize(
    ("sentence", "heading"),
    [
        ("This does not replace Jenkins for CI builds.", ""),
        ("We would replace Jenkins for CI builds.", ""),
        ("If we replaced Jenkins for CI builds, nobody would miss it.", ""),
        ("The team of the shop replaces Jenkins for CI builds.", ""),
        ("This replaces Jenkins for releases.", ""),
        ("This replaces Jenkins for CI builds.", "Considered options > One"),
        ("We no longer use Jenkins for CI builds in the shop; next to Jenkins for CI builds stands a runner.", ""),
        ("Jenkins for CI builds is patched every month.", ""),
    ],
)
def test_words_that_only_look_like_it(sentence: str, heading: str) -> None:
    assert said(sentence, heading) is None


def test_the_passage_is_where_the_sentence_stands_in_the_text() -> None:
    body = "Runners are rented.\n\nThis replaces Jenkins for CI builds. They are many."
    found = suggest(Decision("Build elsewhere", [DecisionText("Decision", 100, body)]), JENKINS)
    assert found is not None
    assert found.newer[1:] == (121, 157, "This replaces Jenkins for CI builds.")
    assert found.older == ("title", 0, len(JENKINS.title), JENKINS.title)


def test_titles_say_what_is_chosen_left_and_refused() -> None:
    def shown(title: str) -> tuple[str | None, ...]:
        found = read_outcome(Decision(title, []))
        options = (option and option.spelled for option in found[:3])
        return *options, " ".join(sorted(found.about))

    assert shown("Replace Jenkins with Buildkite for CI builds") == ("Buildkite", "Jenkins", None, "build ci")
    assert shown("Kafka für Ereignisse verwenden") == ("Kafka", None, None, "ereignisse")
    assert shown("Ne pas utiliser SOAP") == (None, None, "SOAP", "")
    assert shown("Deploy with Helm") == ("Helm", None, None, "deploy")
    assert shown("Deploy with care") == (None, None, None, "")
    chosen = read_outcome(Decision("Wiki", [DecisionText("", 7, "Chosen option: **Plain files**, because they last.")]))
    assert chosen.chosen is not None
    assert chosen.chosen.passage == ("body", 24, 35, "Plain files")


@pytest.mark.parametrize(
    "text", ["", "a" * 100_000, "use " * 20_000, "Use X for " * 5_000, "\ue001\ue002", "**``**\n\n"]
)
def test_any_text_has_an_answer(text: str) -> None:
    odd = Decision(text, [DecisionText("", 0, text)])
    assert suggest(odd, JENKINS) is None
    assert suggest(JENKINS, odd) is None


def test_ids_are_of_the_pair_in_its_order() -> None:
    assert suggestion_id(*ADRS[:2]) == suggestion_id(*ADRS[:2]) != suggestion_id(*ADRS[1::-1])
