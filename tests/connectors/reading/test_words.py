"""Many phrases in one expression: each is found where it stands as a word; what may stand beside is asked once."""

from __future__ import annotations

import re

import pytest

from connectors.reading.words import WORDS, in_one

PHRASES = ["not accepted", "accept*", "n/a", "已接受", "*gesetzt", "superseded … by this", "ad hoc."]


def found(text: str, *, open_end: bool = False) -> list[str]:
    expression, _ = in_one(PHRASES, open_end=open_end)
    return [match[0] for match in re.finditer(expression, text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it is not accepted, accepted", ["not accepted", "accepted"]),
        ("unaccepted n/ab xn/a", []),
        ("我们已接受了", ["已接受"]),
        ("ausgesetzt", ["ausgesetzt"]),
        ("superseded in may by this", ["superseded in may by this"]),
        ("superseded. by this", []),
        ("ad hoc.ly", ["ad hoc."]),
    ],
)
def test_a_phrase_is_found_as_a_word(text: str, expected: list[str]) -> None:
    assert found(text) == expected


def test_letters_may_follow_where_that_is_asked_for() -> None:
    assert found("n/ab", open_end=True) == ["n/a"]


def test_the_phrases_come_in_the_order_of_their_groups() -> None:
    expression, ordered = in_one(PHRASES, captured=True)
    assert sorted(ordered) == sorted(PHRASES)
    for text, phrase in (("accepted", "accept*"), ("n/a", "n/a"), ("已接受", "已接受"), ("aufgesetzt", "*gesetzt")):
        match = re.match(expression, text)
        assert match
        assert ordered[(match.lastindex or 0) - 1] == phrase


@pytest.mark.parametrize(("subject", "name"), [("link", "superseded-by"), ("status", "accepted"), ("clause", "not")])
def test_what_stands_beside_is_asked_once_for_all(subject: str, name: str) -> None:
    """Each such question is a table of 64 K characters: once for each phrase, they took the first reader 10 s."""
    pattern = WORDS.expression(subject, name).pattern
    assert pattern.count("|") > 10
    assert pattern.count("(?<!") + pattern.count("(?!") <= 8


def test_no_phrases_are_found_nowhere() -> None:
    assert re.search(in_one([])[0], "anything") is None
