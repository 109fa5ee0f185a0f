"""The numbers that a word processor writes before paragraphs: "1.", "(a)", "Article IV", "2.3.1".

Owns how lists count: where a level starts, what sets it back, and that lists of one definition share their numbers.
Refuses to know which paragraph is in which list; `word_styles.py` says so.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from connectors.parsers.names import flag_of, inner_value, name_of, number_of, value

LEVELS = 9
"""Levels of lists and of outlines in Word."""
NUMBER_MAX = 9_999
"""Larger numbers are shown in digits, whatever the list says: a long file of "z" would be nobody's list."""

_PLACE = re.compile(r"%([1-9])")
_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip


class Level(NamedTuple):
    """`text` has a place for the number of each level above; `after` is the level that sets this one back, 0 is none
    and None is any above."""

    format: str
    text: str
    start: int
    plain: bool
    after: int | None
    style: str


class Numbering:
    """The lists of one document. Numbers are counted as they are asked for."""

    def __init__(self, root: Any) -> None:
        self._levels: dict[str, dict[int, Level]] = {}
        self._kinds: dict[str, str] = {}
        self._starts: dict[str, dict[int, int]] = defaultdict(dict)
        self._counts: dict[str, dict[int, int]] = defaultdict(dict)
        if root is not None:
            self._read(root)

    def level_of(self, own_id: str, style: str) -> int:
        """The level that a style of paragraphs is bound to; the first where it is bound to none."""
        found = (number for number, level in self._levels.get(own_id, {}).items() if style and level.style == style)
        return next(found, 0)

    def count(self, own_id: str, level: int) -> str | None:
        """What stands before the next item of a list. None for a bullet, empty where nothing is shown."""
        levels = self._levels.get(own_id, {})
        own = levels.get(level)
        if own is None:
            return None
        counts = self._counts[self._kinds.get(own_id, own_id)]
        for each, start in self._starts.pop(own_id, {}).items():
            counts[each] = start - 1
        counts[level] = counts.get(level, own.start - 1) + 1
        for deeper in [each for each in counts if each > level]:
            after = levels[deeper].after if deeper in levels else None
            if after is None or level < after:
                del counts[deeper]
        if own.format == "bullet":
            return own.text if len(own.text) > 1 and any(map(str.isalnum, own.text)) else None
        return _PLACE.sub(lambda place: self._number(levels, counts, int(place[1]) - 1, own), own.text).strip()

    @staticmethod
    def _number(levels: Mapping[int, Level], counts: Mapping[int, int], level: int, shown_in: Level) -> str:
        found = levels.get(level)
        if found is None:
            return ""
        return write_number(counts.get(level, found.start), "decimal" if shown_in.plain else found.format)

    def _read(self, root: Any) -> None:
        kinds: dict[str, dict[int, Level]] = {}
        by_style: dict[str, str] = {}
        links: dict[str, str] = {}
        for each in root:
            if name_of(each) == "w:abstractNum":
                own_id = value(each, "abstractNumId") or ""
                kinds[own_id] = {_level(every): _read_level(every) for every in each if name_of(every) == "w:lvl"}
                by_style[inner_value(each, "w:styleLink")] = own_id
                links[own_id] = inner_value(each, "w:numStyleLink")
        for each in root:
            if name_of(each) == "w:num":
                own_id, kind = value(each, "numId") or "", inner_value(each, "w:abstractNumId")
                kind = by_style.get(links.get(kind, ""), kind) if links.get(kind) else kind
                self._kinds[own_id] = kind
                self._levels[own_id] = dict(kinds.get(kind, {}))
                self._read_changes(own_id, each)

    def _read_changes(self, own_id: str, num: Any) -> None:
        for each in num:
            if name_of(each) == "w:lvlOverride":
                if start := inner_value(each, "w:startOverride"):
                    self._starts[own_id][_level(each)] = number_of(start)
                for inner in each:
                    if name_of(inner) == "w:lvl":
                        self._levels[own_id][_level(each)] = _read_level(inner)


def _level(element: Any) -> int:
    return min(LEVELS - 1, number_of(value(element, "ilvl")))


def _read_level(element: Any) -> Level:
    after = inner_value(element, "w:lvlRestart")
    return Level(
        inner_value(element, "w:numFmt") or "decimal",
        inner_value(element, "w:lvlText"),
        number_of(inner_value(element, "w:start")),
        bool(flag_of(element, "w:isLgl")),
        number_of(after) if after else None,
        inner_value(element, "w:pStyle"),
    )


def write_number(number: int, form: str) -> str:
    """A number in one of the forms of lists; in digits where the form is not known here."""
    if form == "none":
        return ""
    if not 0 < number <= NUMBER_MAX:
        return str(number)
    if form in ("upperLetter", "lowerLetter"):
        letter = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
        return letter.upper() if form == "upperLetter" else letter
    if form in ("upperRoman", "lowerRoman"):
        return _roman(number).upper() if form == "upperRoman" else _roman(number)
    if form.startswith("decimalEnclosedCircle") and number <= 20:
        return chr(0x2460 + number - 1)
    if form == "ordinal":
        ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
        return f"{number}{ending}"
    return f"0{number}" if form == "decimalZero" and number < 10 else str(number)


def _roman(number: int) -> str:
    found = ""
    for size, letters in _ROMAN:
        found += letters * (number // size)
        number %= size
    return found
