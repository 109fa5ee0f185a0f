"""How much text a file holds and how much of it was kept, by kind.

Owns the count: whoever reads a file says what is held when it looks around, and what is kept when it writes, in two
passes that share nothing but the kind. What is held, seen and not kept is a gap of its own, so that a mistake of a
reader shows in its result. Refuses to know any type of file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from connectors.parsers import UNSEEN, Amount, Gap, GapCode, Kind

RANGES_MAX = 50
"""Ranges of pages in a gap: beyond it the list is for nobody."""


def count(text: str) -> int:
    """Characters that are no white space: line ends and indents are the reader's."""
    return sum(map(len, text.split()))


class Inventory:
    """The counts of one document."""

    def __init__(self) -> None:
        self._held: Counter[Kind] = Counter()
        self._kept: Counter[Kind] = Counter()
        self._gaps: list[Gap] = []
        self._unread: Counter[tuple[GapCode, str]] = Counter()

    def hold(self, kind: Kind, text: str) -> None:
        self._held[kind] += count(text)

    def keep(self, kind: Kind, text: str) -> None:
        self._kept[kind] += count(text)

    def miss(self, code: GapCode, what: str) -> None:
        """One more thing, named in the plural, that cannot be read."""
        self._unread[code, what] += 1

    def miss_pages(self, code: GapCode, what: str, pages: Iterable[int], unit: str = "pages") -> None:
        """Pages that cannot be read, or pictures by their numbers, where a file has no pages."""
        if ranges := _ranges(pages):
            shown = ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in ranges[:RANGES_MAX])
            more = ", …" if len(ranges) > RANGES_MAX else ""
            told = tuple(ranges[:RANGES_MAX]) if unit == "pages" else ()
            self._gaps.append(Gap(code, f"{what}: {unit} {shown}{more}", told))

    def add(self, other: Inventory) -> None:
        """Take over what was counted in a part."""
        self._held += other._held
        self._kept += other._kept
        self._unread += other._unread
        self._gaps += other._gaps

    def counts(self) -> Mapping[Kind, Amount]:
        return {kind: Amount(held, self._kept[kind]) for kind, held in sorted(self._held.items()) if held}

    def gaps(self) -> tuple[Gap, ...]:
        found = list(self._gaps)
        found += [Gap(code, f"{number} {what}") for (code, what), number in self._unread.items()]
        for kind, each in self.counts().items():
            if kind not in UNSEEN and each.kept < each.held:
                found.append(Gap("lost-text", f"{each.held - each.kept} of {each.held} characters ({kind})"))
        return tuple(found)


def _ranges(pages: Iterable[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for page in sorted(pages):
        if ranges and ranges[-1][1] == page - 1:
            ranges[-1] = (ranges[-1][0], page)
        else:
            ranges.append((page, page))
    return ranges
