"""The piece of a passage that is shown of a hit, and the places in it that the query is about.

Owns where a word is in a text, whatever form it has there: as the analysis reads it (accents, names, their parts, pairs
of characters), by its stem in any language, by its beginning. A snippet is text, never markup: an ADR may hold any
HTML, and whoever shows a snippet decides how a match looks. Refuses to find: the terms are those that the search went
by.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from api.db import Connection
from api.search.identifiers import SIGNS, read_name
from api.search.inflected import find_forms
from api.search.schemas import Snippet
from api.search.spelling import STEMS
from schemas.analysis import UNSPACED, analyse_phrase, analyse_query

WORDS_MAX: Final = 40
"""Three lines of a terminal: enough to tell whether to open it."""
WORDS_BEFORE: Final = 6
"""Words before the first match, which say what it is in."""
CHARS_MAX: Final = 400
"""What has no spaces is cut by characters."""
CHARS_BEFORE: Final = 60

_WORD = re.compile(r"\S+")
_RUN = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


class Spot(NamedTuple):
    """A place in a text, and the forms by which what stands there may be meant. `within`: the places that count when
    the whole does not."""

    start: int
    end: int
    forms: tuple[str, ...]
    within: tuple[Spot, ...] = ()


async def cut(
    connection: Connection, passages: Sequence[tuple[str, Sequence[str]]], terms: Sequence[str]
) -> list[Snippet]:
    """What is shown of each passage, which comes with the words that it was found by. `terms` are those of the query;
    what else a hit was found by begins its words."""
    others = {term for _, own in passages for term in own} - {*terms}
    texts = [" ".join(body.split()) for body, _ in passages]
    stemmed = find_forms(texts, terms)
    heads = {term[:2] for term in (*terms, *others, *stemmed)}
    spots = [list(find_spots(text, heads)) for text in texts]
    forms = {form for each in spots for form in _every_form(each)}
    stems = await connection.fetch(STEMS, list(forms)) if forms else []
    meant = {row["word"]: _find_term(row["word"], row["lexemes"], terms, tuple(others)) for row in stems}
    matched = {**stemmed, **{form: term for form, term in meant.items() if term is not None}}
    return [show(text, mark(each, matched)) for text, each in zip(texts, spots, strict=True)]


def _every_form(spots: Sequence[Spot]) -> Iterator[str]:
    for spot in spots:
        yield from spot.forms
        yield from _every_form(spot.within)


def _find_term(form: str, lexemes: Sequence[str], terms: Sequence[str], others: tuple[str, ...]) -> str | None:
    """The term of the query that a form is, or begins like. A name of several words is meant by all of them."""
    if form in terms:
        return form
    found = [
        lexeme if lexeme in terms else next((other for other in others if lexeme.startswith(other)), None)
        for lexeme in lexemes
    ]
    return found[0] if found and None not in found else None


def find_spots(text: str, heads: set[str]) -> Iterator[Spot]:
    """Where something may be meant that begins with one of these two letters."""
    for word in _WORD.finditer(text):
        token = word[0]
        if token.isascii() and token.isalpha() and token[1:].islower():
            if token[:2].lower() in heads:
                yield Spot(word.start(), word.end(), (token.lower(),))
            continue
        inside = tuple(_find_runs(token, word.start(), heads))
        core = token.strip(SIGNS).rstrip(".")
        name = read_name(core)
        in_one = name and (name.in_one or ("" if " " in name.phrase else name.phrase)).lower()
        if in_one and in_one[:2] in heads:
            start = word.start() + token.index(core)
            yield Spot(start, start + len(core), (in_one,), inside)
        else:
            yield from inside


def _find_runs(token: str, at: int, heads: set[str]) -> Iterator[Spot]:
    """Runs of letters and digits inside of a word, and in these the parts of names and pairs of characters."""
    for run in _RUN.finditer(token):
        start, end = at + run.start(), at + run.end()
        if UNSPACED.search(run[0]):
            yield from _find_pairs(run[0], start, heads)
            continue
        parts = list(_PART.finditer(run[0])) if run[0].isascii() else []
        forms = analyse_phrase(run[0]) if len(parts) > 1 else analyse_query(run[0])
        if not parts:
            forms = forms.replace("'", " ")  # d'équipes
        own = tuple(form for form in forms.lower().split() if form[:2] in heads)
        inside = tuple(
            Spot(start + part.start(), start + part.end(), (part[0].lower(),))
            for part in parts
            if len(parts) > 1 and part[0][:2].lower() in heads
        )
        if own or inside:
            yield Spot(start, end, own, inside)


def _find_pairs(run: str, at: int, heads: set[str]) -> Iterator[Spot]:
    for place in range(len(run)):
        for size in (2, 1):
            form = analyse_phrase(run[place : place + size])
            if form[:2] in heads and place + size <= len(run):
                yield Spot(at + place, at + place + size, (form,))


def mark(spots: Sequence[Spot], matched: Mapping[str, str]) -> list[tuple[int, int, str]]:
    """The places that match, in order and apart, each with its term."""
    found: list[tuple[int, int, str]] = []
    for spot in spots:
        term = next((matched[form] for form in spot.forms if form in matched), None)
        new = mark(spot.within, matched) if term is None else [(spot.start, spot.end, term)]
        for start, end, which in new:
            if found and start < found[-1][1]:
                found[-1] = (found[-1][0], max(end, found[-1][1]), found[-1][2])
            else:
                found.append((start, end, which))
    return found


def show(text: str, marks: Sequence[tuple[int, int, str]]) -> Snippet:
    """The piece of the text that has most different terms, and most of them; the beginning where there is none."""
    words = [word.span() for word in _WORD.finditer(text)]
    if not words:
        return Snippet("", [])
    best, most = (0, words[:WORDS_MAX][-1][1]), (0, 0)
    for mark_start, _, _ in marks:
        at = max(next(n for n, (_, end) in enumerate(words) if end > mark_start) - WORDS_BEFORE, 0)
        piece = (words[at][0], words[at : at + WORDS_MAX][-1][1])
        inside = [term for start, end, term in marks if piece[0] <= start and end <= piece[1]]
        if (len({*inside}), len(inside)) > most:
            best, most = piece, (len({*inside}), len(inside))
    start, end = best
    if end - start > CHARS_MAX:
        first = next((begin for begin, stop, _ in marks if begin >= start and stop <= end), start)
        start = max(start, first - CHARS_BEFORE)
        end = min(end, start + CHARS_MAX)
    return Snippet(
        text[start:end], [(begin - start, stop - start) for begin, stop, _ in marks if begin >= start and stop <= end]
    )
