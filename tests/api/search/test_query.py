"""What is typed, and how it is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.search.query import CLAUSES_MAX, NAMES_MAX, QUERY_CHARS_MAX, analyse_clause, parse
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
    ("raw", "numbers"),
    [
        ("ADR-12", (12,)),
        ("adr 0012", (12,)),
        ("ADR0012", (12,)),
        ("#7", (7,)),
        ("0012", (12,)),
        ("12.", (12,)),
        ("ADR-12: who owns keys", (12,)),
        ("what did ADR 12 say of kafka", (12,)),
        ("ADR-12 or ADR-7", (12, 7)),
        ("docs/adr/0012-who-owns-keys.md", (12,)),
        ("0012-who-owns-keys", (12,)),
        ("adr/12-keys.adoc", (12,)),
        ("ＡＤＲ－１２", (12,)),
        ("ADR-0", ()),
        ("ADR-9999999999", ()),
        ("ADR-12.1", ()),
        ("2-phase commit", ()),
        ("404-errors", ()),
        ("2024-05-01", ()),
        ("12 factors", ()),
        ("quadr-12", ()),
        ("adriatic", ()),
    ],
)
def test_names_of_adrs(raw: str, numbers: tuple[int, ...]) -> None:
    assert parse(raw).numbers == numbers


def test_more_names_than_anybody_asks_for_are_words() -> None:
    assert len(parse(" ".join(f"ADR-{n}" for n in range(1, 100))).numbers) == NAMES_MAX


@pytest.mark.parametrize(
    ("clause", "analysed"),
    [
        ('"dual write"', '"dual write"'),
        ('"Café menu" or "消息队列"', '"Cafe menu" or "消息 息队 队列"'),
        ('"back-off"', '"back off"'),
        ('"!!!"', '""'),
    ],
)
def test_a_phrase_as_the_index_has_it(clause: str, analysed: str) -> None:
    assert analyse_clause(clause).casefold() == analysed.casefold()


@pytest.mark.parametrize("raw", ["", "  ", "-kafka", '-"dual write"', '""', "?!", "or", "-"])
def test_what_holds_no_word_is_no_error(raw: str) -> None:
    query = parse(raw)
    assert not query.required
    assert query.text == ("" if query.excluded else raw.strip())


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
def test_anything_is_read(raw: str) -> None:
    try:
        query = parse(raw)
    except InvalidInput:
        return
    assert query.text.strip() or query.excluded or not raw.replace("\0", " ").strip()
    assert "\0" not in query.text
    for clause in (*query.required, *query.excluded):
        assert clause.startswith('"')
        assert clause.endswith('"')
        assert clause.count('"') % 2 == 0
