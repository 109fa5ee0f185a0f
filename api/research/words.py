"""The words of a question and of a text that is to answer it, as they are compared. Pure.

Owns which words count (small words and what only asks count for nothing), and their stems, which are crude on purpose:
the search ranks by the dictionary of Postgres, and here it is only asked whether a text speaks of the same thing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from connectors.reading.words import fold

WORD: Final = re.compile(r"[^\W_]+(?:['’.+#-][^\W_]+)*[+#]*")
_SMALL: Final = frozenset(
    """
    a about after all also an and any are as at be been before being between both but by can could did do does done for
    from had has have he her his how i if in into is it its just let like may me might more most must my of on once one
    only or other our out over own same shall she should so some such than that the their them then there these they
    this those to under up us use used using very via was we were what when where which while who whom whose why will
    with within without would you your yes no not nor never none neither cannot can't don't doesn't isn't aren't wasn't
    weren't won't didn't hasn't haven't shouldn't wouldn't tell explain describe show give list compare comparison
    versus vs difference differences differ relate relation relates related
    der die das den dem des ein eine einer einem einen und oder aber nicht kein keine keiner keinem keinen ist sind war
    waren wird werden wurde wurden hat haben hatte als auch auf aus bei bis durch für gegen im in mit nach noch nur ob
    ohne sich über um unter von vor wie wir zu zum zur was wann wo warum wieso welche welcher welches wer
    le la les un une des du de et ou mais pas ne est sont était été a ont avec dans par pour sur sans que qui quoi quand
    comment pourquoi quel quelle quels quelles ce cette ces il elle nous vous ils elles au aux en
    """.split()  # noqa: SIM905 - a list of these would take three pages
)
_ENDINGS: Final = re.compile(
    r"(?:ations|ation|ments|ment|ings|ing|ness|ies|ied|edly|ers|er|ed|es|ly|s|ung|ungen|en|em)$"
)
STEM_CHARS_MIN: Final = 4
"""A stem that is shorter says nothing any more: what would leave less keeps its ending."""


class CountedWord(NamedTuple):
    """A word that counts, as it stands in the text, and what it is compared by."""

    start: int
    end: int
    stem: str


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """What a word is compared by: folded, and without the ending that its form has."""
    folded = fold(word).strip("'’.-")
    shorter = _ENDINGS.sub("", folded)
    shorter = shorter if len(shorter) >= STEM_CHARS_MIN and folded.isalpha() else folded
    if len(shorter) > STEM_CHARS_MIN and shorter[-1] == "e":
        return shorter[:-1]
    return shorter[:-1] if len(shorter) > STEM_CHARS_MIN and shorter[-1:] == shorter[-2:-1] else shorter


def find_words(text: str) -> Iterator[CountedWord]:
    """The words that count, in order. Numbers are words."""
    for match in WORD.finditer(text):
        if match[0].lower() not in _SMALL:
            yield CountedWord(match.start(), match.end(), stem(match[0]))


def stems_of(text: str) -> frozenset[str]:
    """What a text speaks of."""
    return frozenset(word.stem for word in find_words(text))


def coverage(wanted: frozenset[str], text: str) -> float:
    """The share of the wanted stems that a text has; 1 where none is wanted."""
    return len(wanted & stems_of(text)) / len(wanted) if wanted else 1.0
