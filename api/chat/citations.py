"""Citations in a stream of text: `[2]`, `[1, 3]`. Pure.

Owns the rule that a number stands in the answer only if it points to a source that was found. Others are taken out
before anybody reads them, and counted. A marker can be cut anywhere by the pieces of a stream, so its beginning is held
back until it is whole or turns out to be something else.
"""

from __future__ import annotations

import re
from collections.abc import Collection

MARKER_CHARS_MAX = 48
"""Longest marker: a dozen numbers with commas. What is longer is text."""

_MARKER = re.compile(r"(?P<space>[ \t]?)\[(?P<numbers>\d{1,4}(?:\s*,\s*\d{1,4})*)\]")
_BEGINNING = re.compile(rf"[ \t]?(?:\[[\d\s,]{{0,{MARKER_CHARS_MAX}}})?\Z")


class CitationCheck:
    """One answer. `cited` and `unsupported` grow, in the order of first use."""

    def __init__(self, valid: Collection[int]) -> None:
        self._valid = frozenset(valid)
        self._held = ""
        self.cited: list[int] = []
        self.unsupported: list[int] = []

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
        numbers = [int(number) for number in match["numbers"].split(",")]
        good = [number for number in dict.fromkeys(numbers) if self._count(number)]
        if not good:
            return ""
        return f"{match['space']}[{', '.join(map(str, good))}]"

    def _count(self, number: int) -> bool:
        known = self.cited if number in self._valid else self.unsupported
        if number not in known:
            known.append(number)
        return number in self._valid
