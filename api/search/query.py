"""What a person typed, read: words, "phrases", -exclusions, the name of an ADR. Pure.

Owns the syntax, which is that of web search: every word helps and none is required; a quoted phrase is required; a word
or phrase after a minus sign is excluded; `or` between two phrases asks for either. Whatever is not this syntax is
words: nothing that is typed is an error but nothing at all. What holds no word finds what lies near it by meaning, and
a query that only excludes finds nothing. Characters are read in their plain form (NFKC).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import msgspec

from runtime.errors import InvalidInput
from schemas.analysis import analyse_phrase

QUERY_CHARS_MAX = 1_000
"""A paragraph. The embedder reads 256 word pieces, the search by words 32 different words."""
CLAUSES_MAX = 16
"""Phrases, and exclusions. Each is a look-up in the index."""
NUMBER_MAX = 2**31 - 1
"""Postgres's integer, the type of an ADR's number."""

_TOKEN = re.compile(r'(?P<minus>(?<!\S)-)?"(?P<phrase>[^"]*)"|(?P<word>\S+)')
_ALONE = re.compile(r"#?0*(?P<number>\d{1,10})\.?")
_NAME = re.compile(r"(?<![\w/.-])adr[\s#_-]{0,3}0*(?P<number>\d{1,10})(?![\w.]*\w)", re.IGNORECASE)
_FILE = re.compile(
    r"(?:\S*/)?(?:adr[-_])?0(?P<zeros>\d{1,9})[-_][^\s/]*[^\W\d_][^\s/]*"
    r"|(?:\S*/)?(?:adr[-_])?(?P<ended>\d{1,10})[-_][^\s/]+\.(?:md|markdown|adoc|rst|txt)",
    re.IGNORECASE,
)
"""The name of a file in a log: 0007-use-kafka, docs/adr/7-use-kafka.md. "2-phase commit" is none."""
NAMES_MAX = 8
"""ADRs that a query may name."""


class Query(msgspec.Struct, frozen=True):
    """`text` is what is ranked by: everything but exclusions and operators. `required` are alternatives of phrases, in
    the form that websearch_to_tsquery reads; `excluded` likewise. `numbers` are those of the ADRs that it names:
    `ADR-12` anywhere, the name of a file, and a number that stands alone. `plain` are the words outside of phrases and
    exclusions, `unfinished` the one at whose end the writer is: nothing stands behind it, no blank either."""

    text: str
    required: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    plain: tuple[str, ...] = ()
    unfinished: str = ""


def parse(raw: str) -> Query:
    """Raises `InvalidInput` for a query that is larger than the bounds above."""
    if len(raw) > QUERY_CHARS_MAX:
        raise InvalidInput(
            f"the query has {len(raw)} characters", hint=f"at most {QUERY_CHARS_MAX}; search for the gist of it"
        )
    text: list[str] = []
    plain: list[str] = []
    unfinished = ""
    required: list[str] = []
    excluded: list[str] = []
    either = False
    raw = unicodedata.normalize("NFKC", raw.replace("\0", " "))
    for kind, value in _tokens(raw):
        unfinished = value if kind == "word" and raw.endswith(value) else ""
        if kind == "or":
            either = True
            continue
        if kind == "excluded":
            excluded.append(_quote(value))
        else:
            text.append(value)
        if kind == "word":
            plain.append(value)
        elif kind == "phrase":
            if either and required:
                required[-1] += " or " + _quote(value)
            else:
                required.append(_quote(value))
        either = either and kind == "or"
    if max(len(required), len(excluded)) > CLAUSES_MAX:
        raise InvalidInput("the query has too many phrases or exclusions", hint=f"at most {CLAUSES_MAX} of each")
    # An operator with nothing to join is a word: somebody may look for "or".
    joined = " ".join(text) if text or excluded else raw.strip()
    return Query(joined, tuple(required), tuple(excluded), tuple(_numbers(joined)), tuple(plain), unfinished)


def analyse_clause(clause: str) -> str:
    """Phrases of `required` or `excluded` as the index has them."""
    return re.sub(r'"([^"]*)"', lambda phrase: _quote(analyse_phrase(phrase[1])), clause)


def _tokens(raw: str) -> Iterator[tuple[str, str]]:
    """Kind (phrase, excluded, or, word) and text of each token."""
    for match in _TOKEN.finditer(raw):
        phrase, word = match["phrase"], match["word"]
        if phrase is not None:
            if phrase.strip():
                yield "excluded" if match["minus"] else "phrase", phrase.strip()
        elif word.lower() == "or":
            yield "or", word
        elif len(word) > 1 and word[0] == "-" and word[1].isalpha():
            yield "excluded", word[1:].strip('"')
        elif word.strip('"'):
            yield "word", word.replace('"', " ").strip()


def _quote(value: str) -> str:
    return f'"{value}"'


def _numbers(text: str) -> Iterator[int]:
    text = text.strip()
    alone = _ALONE.fullmatch(text)
    found = [alone] if alone else [*_NAME.finditer(text), *filter(None, map(_FILE.fullmatch, text.split()))]
    for match in found[:NAMES_MAX]:
        if 0 < (number := int(match[match.lastindex or 0])) <= NUMBER_MAX:
            yield number
