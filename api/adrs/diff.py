"""The difference between two texts, line by line. Pure.

Owns the bound on the work: comparing two texts can take time that grows with the square of their length, and a caller
chooses the texts. Refuses to look inside lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from msgspec.structs import replace

from api.adrs.schemas import DiffLine, Hunk

CONTEXT_LINES = 3
HUNK_LINES_MAX = 5_000
"""Lines in all hunks of one answer."""
PAIRS_MAX = 100_000
"""Pairs of equal lines that the matcher may look at; its work grows with them. A few hundred milliseconds at worst."""
POPULAR_FROM_LINES = 200
POPULAR_SHARE = 100
"""The matcher leaves out lines that make up more than 1 % of a text of at least 200 lines (blank ones, mostly)."""

_Opcode = tuple[Literal["replace", "delete", "insert", "equal"], int, int, int, int]


class _Matched(SequenceMatcher[str]):
    """A matcher that knows the opcodes already, and groups them."""

    def __init__(self, opcodes: list[_Opcode]) -> None:
        super().__init__()
        self._opcodes = opcodes

    def get_opcodes(self) -> list[_Opcode]:
        return self._opcodes


class TextDiff(NamedTuple):
    unified: str
    hunks: list[Hunk]
    coarse: bool
    truncated: bool


def difference(old: str, new: str, old_name: str, new_name: str) -> TextDiff:
    """What `new` has that `old` has not, and the other way round. Lines end with LF; a CR is part of its line."""
    before, after = _lines(old), _lines(new)
    opcodes, coarse = _opcodes(before, after)
    # Changes that are near each other, with the lines around them.
    hunks = [_hunk(group, before, after) for group in _Matched(opcodes).get_grouped_opcodes(CONTEXT_LINES)]
    unified = "".join(_render_unified(hunks, old_name, new_name))
    kept, truncated = _cut(hunks)
    shown = [
        replace(hunk, lines=[DiffLine(line.op, line.text.removesuffix("\n")) for line in hunk.lines]) for hunk in kept
    ]
    return TextDiff(unified, shown, coarse, truncated)


def _lines(text: str) -> list[str]:
    """The lines with their LF. Not `splitlines`: that also breaks at form feeds and other characters within lines."""
    pieces = text.split("\n")
    return [f"{piece}\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])


def _opcodes(before: list[str], after: list[str]) -> tuple[list[_Opcode], bool]:
    """How to get from one to the other, and whether that is the coarse way."""
    head = _common(before, after)
    tail = _common(before[head:][::-1], after[head:][::-1])
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    coarse = _pairs(old, new) > PAIRS_MAX
    middle: Sequence[_Opcode] = (
        [("replace", 0, len(old), 0, len(new))] if coarse else SequenceMatcher(None, old, new).get_opcodes()
    )
    opcodes: list[_Opcode] = [("equal", 0, head, 0, head)] if head else []
    opcodes += [(tag, a0 + head, a1 + head, b0 + head, b1 + head) for tag, a0, a1, b0, b1 in middle]
    if tail:
        opcodes.append(("equal", len(before) - tail, len(before), len(after) - tail, len(after)))
    return opcodes, coarse


def _common(before: list[str], after: list[str]) -> int:
    for index, (old, new) in enumerate(zip(before, after, strict=False)):
        if old != new:
            return index
    return min(len(before), len(after))


def _pairs(old: list[str], new: list[str]) -> int:
    counts = Counter(new)
    if len(new) >= POPULAR_FROM_LINES:
        popular_from = len(new) // POPULAR_SHARE + 1
        counts = Counter({line: count for line, count in counts.items() if count <= popular_from})
    return sum(count * counts[line] for line, count in Counter(old).items())


def _hunk(group: Sequence[tuple[str, int, int, int, int]], before: list[str], after: list[str]) -> Hunk:
    lines: list[DiffLine] = []
    for tag, a0, a1, b0, b1 in group:
        if tag == "equal":
            lines += [DiffLine(" ", line) for line in before[a0:a1]]
            continue
        lines += [DiffLine("-", line) for line in before[a0:a1]]
        lines += [DiffLine("+", line) for line in after[b0:b1]]
    (_, a0, _, b0, _), (_, _, a1, _, b1) = group[0], group[-1]
    # As in the unified format: an empty side names the line before it.
    return Hunk(a0 + (a1 > a0), a1 - a0, b0 + (b1 > b0), b1 - b0, lines)


def _render_unified(hunks: list[Hunk], old_name: str, new_name: str) -> Iterator[str]:
    if hunks:
        yield f"--- {old_name}\n+++ {new_name}\n"
    for hunk in hunks:
        yield f"@@ -{_span(hunk.old_start, hunk.old_lines)} +{_span(hunk.new_start, hunk.new_lines)} @@\n"
        for line in hunk.lines:
            yield line.op + line.text
            if not line.text.endswith("\n"):
                yield "\n\\ No newline at end of file\n"


def _span(start: int, lines: int) -> str:
    return str(start) if lines == 1 else f"{start},{lines}"


def _cut(hunks: list[Hunk]) -> tuple[list[Hunk], bool]:
    """The first hunks, up to the bound; the one that crosses it is cut."""
    kept: list[Hunk] = []
    room = HUNK_LINES_MAX
    for hunk in hunks:
        if len(hunk.lines) > room:
            if room:
                lines = hunk.lines[:room]
                old_lines = sum(line.op != "+" for line in lines)
                new_lines = sum(line.op != "-" for line in lines)
                kept.append(replace(hunk, old_lines=old_lines, new_lines=new_lines, lines=lines))
            return kept, True
        kept.append(hunk)
        room -= len(hunk.lines)
    return kept, False
