"""The decisions keep the form of MADR 4, have numbers of their own, and are all in the index."""

from __future__ import annotations

import datetime
import re

import pytest

from tests.docs.markdown import ROOT, Page, parse, tracked

FILES = tracked("docs/decisions/*.md")
NAME = re.compile(r"(?P<number>\d{4})-[a-z0-9-]+\.md")
STATUS = re.compile(r"proposed|accepted|rejected|deprecated|superseded by \[\d{4}\]\(\d{4}-[a-z0-9-]+\.md\)")
SECTIONS = [
    "Context and Problem Statement",
    "Decision Drivers",
    "Considered Options",
    "Decision Outcome",
    "Pros and Cons of the Options",
]


def read(name: str) -> tuple[dict[str, str], Page]:
    text = (ROOT / name).read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    return dict(line.split(": ", 1) for line in front.splitlines()), parse(name, body)


def test_there_are_decisions_and_each_number_is_given_once() -> None:
    matches = [NAME.fullmatch(name.rsplit("/", 1)[1]) for name in FILES]
    assert all(matches), "a decision is named 0001-a-slug.md"
    numbers = [match["number"] for match in matches if match]
    assert len(numbers) >= 12
    assert numbers == [f"{number:04d}" for number in range(1, len(numbers) + 1)]


@pytest.mark.parametrize("name", FILES)
def test_front_matter_is_complete(name: str) -> None:
    front, _ = read(name)
    assert list(front)[:3] == ["status", "date", "decision-makers"]
    assert STATUS.fullmatch(front["status"])
    assert datetime.date.fromisoformat(front["date"])
    assert front["decision-makers"] == "maintainers"


@pytest.mark.parametrize("name", FILES)
def test_sections_are_those_of_madr(name: str) -> None:
    _, page = read(name)
    assert [section for section in page.headings(2) if section != "More Information"] == SECTIONS
    inner = page.headings(3)
    assert inner[:2] == ["Consequences", "Confirmation"]
    assert len(inner) >= 4, "pros and cons of at least two options"


@pytest.mark.parametrize("name", FILES)
def test_the_outcome_names_the_chosen_option(name: str) -> None:
    assert "Chosen option: **" in (ROOT / name).read_text(encoding="utf-8")


def test_the_index_lists_every_decision_by_its_title() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    for name in FILES:
        _, page = read(name)
        file = name.rsplit("/", 1)[1]
        assert f"- [{file[:4]} {page.headings(1)[0]}](decisions/{file})" in index
