"""Marks become places."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.search.snippet import START, STOP, snippet


def test_places_are_those_of_the_matches() -> None:
    text, places = snippet(f"No {START}dual{STOP}\n\n  {START}write{STOP}, <b>ever</b>")
    assert text == "No dual write, <b>ever</b>"
    assert [text[start:end] for start, end in places] == ["dual", "write"]


def test_no_marks() -> None:
    assert snippet("plain") == ("plain", [])
    assert snippet("") == ("", [])


@given(st.text(alphabet=[START, STOP, "a", " ", "\n", "é"], max_size=40))
def test_no_mark_survives_and_places_are_in_the_text(headline: str) -> None:
    text, places = snippet(headline)
    assert START not in text
    assert STOP not in text
    for start, end in places:
        assert 0 <= start < end <= len(text)
