"""Dates as people write them, in the languages of `words.toml`.

Owns what counts as a date and which day it means. A date that two countries read differently has no day, unless the
log's other dates say which order its authors use (`day_order`). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Final

import msgspec

from connectors.reading.words import DATE, WORDS, Words, fold

YEARS: Final = (1970, 2100)
"""Years that a decision can have been made in. Four digits outside of them are something else."""

_YEAR_FIRST = re.compile(r"(?<![\w.])(\d{4})([-/._]|\s?年\s?)(\d{1,2})(?:[-/._]|\s?月\s?)(\d{1,2})(?:\s?日)?(?!\d)")
_YEAR_LAST = re.compile(r"(?<![\w.])(\d{1,2})([-/.])\s?(\d{1,2})[-/.]\s?(\d{4})(?!\d)")
_DAY_MONTH = re.compile(
    r"(?<!\w)(\d{1,2})(?:st|nd|rd|th|er|\.|o|a|°)?[\s-]+(?:of |de |d')?"
    r"([^\W\d_]{3,12})\.?,?[\s-]+(?:de |del )?(\d{4})(?!\d)"
)
_MONTH_DAY = re.compile(r"(?<!\w)([^\W\d_]{3,12})\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})(?!\d)")
_COMPACT = re.compile(r"(?<!\w)((?:19|20)\d{2})(\d{2})(\d{2})(?!\w)")


class WrittenDate(msgspec.Struct, frozen=True):
    """A date and where it stands. `day` is None when two orders are possible; then `ambiguous` holds both."""

    start: int
    end: int
    day: date | None
    ambiguous: tuple[date, date] | None = None


def find_dates(text: str, *, day_first: bool | None = None, words: Words = WORDS) -> list[WrittenDate]:
    """All dates of a text, in their order."""
    folded = fold(text)
    found: list[WrittenDate] = []
    for each in sorted(_matches(folded, day_first, words), key=lambda each: (each.start, -each.end)):
        if not found or each.start >= found[-1].end:
            found.append(each)
    return found


def mask_dates(folded: str, text: str, words: Words = WORDS) -> str:
    """The text with a mark for each character of a date: their names and numbers are no words of a sentence."""
    parts: list[str] = []
    at = 0
    for found in find_dates(text, words=words):
        parts += folded[at : found.start], DATE * (found.end - found.start)
        at = found.end
    return "".join([*parts, folded[at:]])


def _matches(text: str, day_first: bool | None, words: Words) -> Iterator[WrittenDate]:
    for match in _YEAR_FIRST.finditer(text):
        if day := _day(match[1], match[3], match[4]):
            yield WrittenDate(*match.span(), day)
    for match in _YEAR_LAST.finditer(text):
        yield from _year_last(match, day_first)
    for match in _DAY_MONTH.finditer(text):
        if day := _day(match[3], words.months.get(match[2], 0), match[1]):
            yield WrittenDate(*match.span(), day)
    for match in _MONTH_DAY.finditer(text):
        if day := _day(match[3], words.months.get(match[1], 0), match[2]):
            yield WrittenDate(*match.span(), day)
    for match in _COMPACT.finditer(text):
        if day := _day(match[1], match[2], match[3]):
            yield WrittenDate(*match.span(), day)


def _year_last(match: re.Match[str], day_first: bool | None) -> Iterator[WrittenDate]:
    """Who writes dots writes the day first; slashes and strokes are written in both orders."""
    first, second, year = match[1], match[3], match[4]
    european, american = _day(year, second, first), _day(year, first, second)
    if match[2] == ".":
        american = None
    if european and american and european != american:
        day = None if day_first is None else european if day_first else american
        yield WrittenDate(*match.span(), day, (european, american))
    elif day := european or american:
        yield WrittenDate(*match.span(), day)


def day_order(texts: Iterable[str]) -> bool | None:
    """Whether a log writes the day before the month, by its dates that can be read in one way only. None without such
    dates, or when they contradict each other."""
    first = second = False
    for text in texts:
        for match in _YEAR_LAST.finditer(fold(text)):
            if match[2] != ".":
                first |= int(match[1]) > 12 >= int(match[3])
                second |= int(match[3]) > 12 >= int(match[1])
    return None if first == second else first


def _day(year: str, month: str | int, day: str) -> date | None:
    if not YEARS[0] <= int(year) < YEARS[1]:
        return None
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None
