"""What is typed, and how it is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.search.query import CLAUSES_MAX, QUERY_CHARS_MAX, parse
from runtime.errors import InvalidInput


@pytest.mark.parametrize(
    ("raw", "text", "required", "excluded"),
    [
        ("why no dual write", "why no dual write", (), ()),
        ('kafka "dual write"', "kafka dual write", ('"dual write"',), ()),
        ('"a b" or "c d" kafka', "a b c d kafka", ('"a b" or "c d"',), ()),
        ('"a b" OR "c d" or "e"', "a b c d e", ('"a b" or "c d" or "e"',), ()),
        ('"a b" "c d"', "a b c d", ('"a b"', '"c d"'), ()),
        ('"a b" or kafka "c d"', "a b kafka c d", ('"a b"', '"c d"'), ()),
        ('or "a b"', "a b", ('"a b"',), ()),
        ("kafka -redis", "kafka", (), ('"redis"',)),
        ('kafka -"dual write"', "kafka", (), ('"dual write"',)),
        ("write-ahead log", "write-ahead log", (), ()),
        ("a - b -1 --flag", "a - b -1 --flag", (), ()),
        ('unclosed "phrase here', "unclosed phrase here", (), ()),
        ('empty ""', "empty", (), ()),
        ("nul\0byte", "nul byte", (), ()),
    ],
)
def test_syntax(raw: str, text: str, required: tuple[str, ...], excluded: tuple[str, ...]) -> None:
    query = parse(raw)
    assert (query.text, query.required, query.excluded) == (text, required, excluded)


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        ("ADR-12", 12),
        ("adr 0012", 12),
        ("ADR0012", 12),
        ("#7", 7),
        ("0012", 12),
        ("ADR-0", None),
        ("ADR-9999999999", None),
        ("ADR-12 kafka", None),
        ("adriatic", None),
    ],
)
def test_a_name_of_an_adr(raw: str, number: int | None) -> None:
    assert parse(raw).number == number


@pytest.mark.parametrize("raw", ["", "  ", "-kafka", '-"dual write"', '""', "?!", "or", "-"])
def test_nothing_to_search_for(raw: str) -> None:
    with pytest.raises(InvalidInput):
        parse(raw)


def test_bounds() -> None:
    parse("x" * QUERY_CHARS_MAX)
    parse("x " + "-y " * CLAUSES_MAX)
    with pytest.raises(InvalidInput, match="1001 characters"):
        parse("x" * (QUERY_CHARS_MAX + 1))
    with pytest.raises(InvalidInput, match="too many"):
        parse("x " + "-y " * (CLAUSES_MAX + 1))
    with pytest.raises(InvalidInput, match="too many"):
        parse('"x" ' * (CLAUSES_MAX + 1))


@given(st.text(max_size=200))
def test_anything_is_read_or_refused_for_having_no_words(raw: str) -> None:
    try:
        query = parse(raw)
    except InvalidInput:
        return
    assert query.text.strip()
    assert "\0" not in query.text
    for clause in (*query.required, *query.excluded):
        assert clause.startswith('"')
        assert clause.endswith('"')
        assert clause.count('"') % 2 == 0
