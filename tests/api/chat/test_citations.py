"""Numbers in an answer: those that point to a source stay, the others go, wherever the stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.chat.citations import MARKER_CHARS_MAX, CitationCheck


def checked(*parts: str) -> tuple[str, list[int], list[int]]:
    check = CitationCheck([1, 2, 3])
    return "".join([*map(check.feed, parts), check.finish()]), check.cited, check.unsupported


@pytest.mark.parametrize(
    ("text", "shown", "cited", "unsupported"),
    [
        ("It is so [2]. And so [1].", "It is so [2]. And so [1].", [2, 1], []),
        ("It is so [9].", "It is so.", [], [9]),
        ("Both [1, 9,3] [2][7]", "Both [1, 3] [2]", [1, 3, 2], [9, 7]),
        ("Again [1] and [1].", "Again [1] and [1].", [1], []),
        ("Zero [0], [a], [1-2], [ ] and [", "Zero, [a], [1-2], [ ] and [", [], [0]),
        ("[12345] is a number", "[12345] is a number", [], []),
        ("ends with a space ", "ends with a space ", [], []),
    ],
)
def test_markers(text: str, shown: str, cited: list[int], unsupported: list[int]) -> None:
    assert checked(text) == (shown, cited, unsupported)


TEXT = "A [1] b [2, 9] [9]\n[3][ 1 ] [x] [4"


@given(st.lists(st.integers(0, len(TEXT)), max_size=6))
def test_where_the_text_is_cut_does_not_matter(cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(TEXT)]
    parts = [TEXT[bounds[n] : bounds[n + 1]] for n in range(len(bounds) - 1)]
    assert checked(*parts) == checked(TEXT)


def test_text_is_held_back_only_while_it_can_become_a_marker() -> None:
    check = CitationCheck([1])
    assert check.feed("word [") == "word"
    assert check.feed("1") == ""
    assert check.feed("]") == " [1]"
    assert len(check.feed("[" + " " * (MARKER_CHARS_MAX + 9))) > MARKER_CHARS_MAX
    assert check.finish() == " "


def test_a_quote_counts_and_is_not_searched() -> None:
    check = CitationCheck([1])
    check.quote(1)
    assert check.cited == [1]
    assert check.unsupported == []
