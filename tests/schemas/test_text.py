"""Which characters a text of one line may have: every character there is, asked of the rule and of the table."""

from __future__ import annotations

import re
import unicodedata

import psycopg
import pytest

from runtime.settings import Settings
from schemas import text

CHARACTERS = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code <= 0xDFFF]
LINE_ENDS = {"\u2028", "\u2029"}


def fits(pattern: str, value: str) -> bool:
    return re.search(pattern, value) is not None


@pytest.mark.parametrize("pattern", [text.LINE, text.NAME, text.TAG])
def test_a_line_holds_every_character_but_those_that_control_or_end_it(pattern: str) -> None:
    refused = {each for each in CHARACTERS if not fits(pattern, f"a{each}b")}
    controls = {each for each in CHARACTERS if unicodedata.category(each) == "Cc"} | LINE_ENDS
    assert refused == controls | ({","} if pattern == text.TAG else set())


@pytest.mark.parametrize("pattern", [text.NAME, text.TAG, text.BODY])
@pytest.mark.parametrize("blank", ["", " ", "\u00a0\u3000", "\u200b\ufeff", "\u202e \u2060", "\u00ad"])
def test_what_nobody_sees_is_no_text(pattern: str, blank: str) -> None:
    assert not fits(pattern, blank)
    assert fits(pattern, f"{blank}é{blank}")


def test_a_line_feed_at_the_end_is_one_too_many() -> None:
    for pattern in (text.LINE, text.NAME, text.TAG, text.SLUG):
        assert fits(pattern, "main")
        assert not fits(pattern, "main\n")


def test_a_body_has_lines_and_no_nul() -> None:
    assert fits(text.BODY, "\n\n\t# One\r\nTwo\x0cThree\n")
    assert not fits(text.BODY, "one\x00two")


def test_no_text_takes_longer_than_its_length() -> None:
    """A pattern that tries anew from each character would need hours for these."""
    for value in ("a" * 1_000_000 + "\x00", " " * 1_000_000 + "\x00", "a " * 500_000 + "\x01"):
        for pattern in (text.LINE, text.NAME, text.TAG, text.BODY):
            fits(pattern, value)


@pytest.mark.stack
def test_the_table_takes_every_tag_that_the_rule_takes(fresh_database: Settings) -> None:
    """So that none of them is an error of the database, whatever its locale calls a control character."""
    tags = [f"a{each}b" for each in CHARACTERS if fits(text.TAG, f"a{each}b")]
    with psycopg.connect(fresh_database.postgres.dsn("admin")) as connection:
        (rule,) = connection.execute(
            "select pg_get_constraintdef(oid) from pg_constraint where conname = 'adr_tags_tag_check'"
        ).fetchone() or ("",)
        pattern = re.search(r"'(.*)'::text", rule)
        assert pattern is not None, rule
        refused = connection.execute(
            "select tag from unnest(%s::text[]) as t (tag) where not tag ~ %s", (tags, pattern[1])
        ).fetchall()
    assert refused == []
