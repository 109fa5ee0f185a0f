"""Citations in a text, or a stream of it: `[2]`, `[1, 3]`. Pure.

Owns the rule that a number stands in the answer only if it points to a source that was found. Others are taken out
before anybody reads them, and counted. A marker can be cut anywhere by the pieces of a stream, so its beginning is held
back until it is whole or turns out to be something else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

MARKER_CHARS_MAX = 48
"""Longest marker: a dozen numbers with commas. What is longer is text."""

_MARKER = re.compile(r"(?P<space>[ \t]?)\[(?P<numbers>\d{1,4}(?:\s*,\s*\d{1,4})*)\]")
_BEGINNING = re.compile(rf"[ \t]?(?:\[[\d\s,]{{0,{MARKER_CHARS_MAX}}})?\Z")


def find_numbers(text: str) -> frozenset[int]:
    """The numbers of all markers in a text."""
    return frozenset(number for match in _MARKER.finditer(text) for number in _numbers(match))


def name_sources(text: str, names: Mapping[int, str]) -> str:
    """The text with names in the place of the numbers of sources, in brackets: what a number points to is lost when the
    text is kept without its sources. A source without a name leaves nothing behind."""

    def write(match: re.Match[str]) -> str:
        numbers = _numbers(match)
        if not names.keys() >= set(numbers):
            return match[0]
        told = [name for number in numbers if (name := names[number])]
        return f"{match['space']}({', '.join(dict.fromkeys(told))})" if told else ""

    return _MARKER.sub(write, text)


def _numbers(match: re.Match[str]) -> list[int]:
    return [int(number) for number in match["numbers"].split(",")]


class CitationCheck:
    """One answer. `cited` and `unsupported` grow, in the order of first use. `own` are numbers that stand in brackets
    in a text which the answer repeats: they are left as they stand, and cite nothing."""

    def __init__(self, valid: Collection[int], own: Collection[int] = ()) -> None:
        self._valid = frozenset(valid)
        self._own = frozenset(own)
        self._held = ""
        self.cited: list[int] = []
        self.unsupported: list[int] = []

    def allow(self, numbers: Iterable[int]) -> None:
        """More sources are there."""
        self._valid |= frozenset(numbers)

    def feed(self, text: str) -> str:
        """What may be shown now."""
        text = self._held + text
        beginning = _BEGINNING.search(text)
        cut = beginning.start() if beginning else len(text)
        self._held = text[cut:]
        return _MARKER.sub(self._check, text[:cut])

    def finish(self) -> str:
        """What was held back. Called before anything that is not the model's own text, and at the end."""
        held, self._held = self._held, ""
        return _MARKER.sub(self._check, held)

    def quote(self, number: int) -> None:
        """The answer stands on this source without a marker of its own."""
        self._count(number)

    def _check(self, match: re.Match[str]) -> str:
        numbers = _numbers(match)
        if self._own.issuperset(numbers):
            return match[0]
        good = [number for number in dict.fromkeys(numbers) if number in self._own or self._count(number)]
        if not good:
            return ""
        return f"{match['space']}[{', '.join(map(str, good))}]"

    def _count(self, number: int) -> bool:
        known = self.cited if number in self._valid else self.unsupported
        if number not in known:
            known.append(number)
        return number in self._valid
