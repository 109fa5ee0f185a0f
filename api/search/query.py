"""What a person typed, read: words, "phrases", -exclusions, the name of an ADR. Pure.

Owns the syntax, which is that of web search: every word helps and none is required; a quoted phrase is required; a word
or phrase after a minus sign is excluded; `or` between two phrases asks for either. Whatever is not this syntax is
words: nothing that is typed is an error but nothing at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from runtime.errors import InvalidInput

QUERY_CHARS_MAX = 1_000
"""A paragraph. The embedder reads 256 word pieces, the search by words 32 different words."""
CLAUSES_MAX = 16
"""Phrases, and exclusions. Each is a look-up in the index."""
NUMBER_MAX = 2**31 - 1
"""Postgres's integer, the type of an ADR's number."""

_TOKEN = re.compile(r'(?P<minus>(?<!\S)-)?"(?P<phrase>[^"]*)"|(?P<word>\S+)')
_NAME = re.compile(r"(?:adr[\s#_-]*|#)0*(?P<number>\d{1,10})|0*(?P<bare>\d{1,10})", re.IGNORECASE)


class Query(msgspec.Struct, frozen=True):
    """`text` is what is ranked by: everything but exclusions and operators. `required` are alternatives of phrases, in
    the form that websearch_to_tsquery reads; `excluded` likewise. `number` is set when the text is nothing but the name
    of an ADR, like ADR-12."""

    text: str
    required: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    number: int | None = None


def parse(raw: str) -> Query:
    """Raises `InvalidInput` for a query that is empty, only excludes, or is larger than the bounds above."""
    if len(raw) > QUERY_CHARS_MAX:
        raise InvalidInput(
            f"the query has {len(raw)} characters", hint=f"at most {QUERY_CHARS_MAX}; search for the gist of it"
        )
    text: list[str] = []
    required: list[str] = []
    excluded: list[str] = []
    either = False
    for kind, value in _tokens(raw.replace("\0", " ")):
        if kind == "or":
            either = True
            continue
        if kind == "excluded":
            excluded.append(_quote(value))
        else:
            text.append(value)
        if kind == "phrase":
            if either and required:
                required[-1] += " or " + _quote(value)
            else:
                required.append(_quote(value))
        either = either and kind == "or"
    if max(len(required), len(excluded)) > CLAUSES_MAX:
        raise InvalidInput("the query has too many phrases or exclusions", hint=f"at most {CLAUSES_MAX} of each")
    if not any(character.isalnum() for part in text for character in part):
        raise InvalidInput(
            "there is nothing to search for", hint="write at least one word that is not excluded by a minus sign"
        )
    joined = " ".join(text)
    return Query(joined, tuple(required), tuple(excluded), _number(joined))


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


def _number(text: str) -> int | None:
    match = _NAME.fullmatch(text.strip())
    if match is None:
        return None
    number = int(match["number"] or match["bare"])
    return number if 0 < number <= NUMBER_MAX else None
