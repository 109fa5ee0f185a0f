"""Columns of a page of a PDF whose file draws them in another order than people read them.

Owns when the order of the file is not followed: where columns of text stand side by side, and the file goes from row to
row through both, or draws the second one first. Everywhere else the order of the file is better than any guess. Refuses
pages whose letters do not stand upright. Which lines make a column, and that they fill it as text does and cells do
not, is said in `connectors/parsers/reading_order.py`.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import pypdfium2
from pypdfium2 import raw

from connectors.parsers.reading_order import (
    COLUMN_LETTERS_MIN,
    SAME_ROW,
    Cut,
    PlacedLine,
    are_filled,
    height_of,
    join_rows,
    lay_out,
)

RECTANGLES_MAX = 1_500
"""Pieces of lines on a page. One with more is a plan or a table, and a layout of it takes seconds."""
RECTANGLES_MIN = 6
"""Two columns of three lines."""
SWITCHES_MIN = 0.5
"""The share of lines after which the file goes to the other column. It is one where rows go through both; boxes beside
each other, each of which is drawn by itself, make a fifth."""
REVERSED_MIN = 0.9
"""The share of pairs of lines in two columns of which the file draws the one that is read later first. A box that was
drawn last makes a few."""
LETTER_HEIGHTS = 0.5
"""Width of a letter, in heights of its line: what a line is taken for before its letters are looked at."""
UPRIGHT_SHARE = 0.9
"""Letters of a page that stand upright, for it to be looked at."""
WORD_GAP = 1.2
"""Width of the white between two pieces of a row, in heights: a word is nearer to the next."""


class _Letter(NamedTuple):
    text: str
    left: float
    top: float
    right: float
    bottom: float
    upright: bool


def arrange_columns(page: pypdfium2.PdfPage, text_page: pypdfium2.PdfTextPage, text: str) -> str | None:
    """The text of a page, column by column. None where the order of the file is to stay."""
    if not _looks_disordered(text_page, from_right=(from_right := _runs_from_right(text))):
        return None
    letters = list(_read_letters(text_page, page.get_height()))
    upright = [each for each in letters if each.upright]
    if len(upright) < UPRIGHT_SHARE * len(letters):
        return None
    lines = list(_join_letters(upright))
    layout = lay_out(lines, are_filled, from_right=from_right)
    if not layout.cuts:
        return None
    height = height_of(lines)
    turned = "".join(each.text for each in letters if not each.upright)
    blocks = [*(join_rows(block, height, from_right=from_right) for block in layout.blocks), turned]
    arranged = "\n\n".join(filter(None, blocks))
    return arranged if _has_the_same(text, arranged) else None


def _runs_from_right(text: str) -> bool:
    directions = Counter(unicodedata.bidirectional(each) for each in text if each.isalpha())
    return directions["R"] + directions["AL"] > directions["L"]


def _looks_disordered(text_page: pypdfium2.PdfTextPage, *, from_right: bool) -> bool:
    """Whether there seem to be columns that the file does not draw one after the other, by the rectangles of lines
    alone: of those there are a hundred times fewer than letters."""
    number = text_page.count_rects()
    if not RECTANGLES_MIN <= number <= RECTANGLES_MAX:
        return False
    lines: list[PlacedLine] = []
    for index in range(number):
        left, bottom, right, top = text_page.get_rect(index)
        if right <= left or top <= bottom:
            continue
        # The page is looked at from above.
        placed = PlacedLine(left, -top, right, -bottom, "")
        if lines and _goes_on(lines[-1], placed, WORD_GAP):
            placed = _unite(lines.pop(), placed)
        lines.append(placed)
    sized = [_fill(each) for each in lines]
    order = {id(each): place for place, each in enumerate(sized)}
    cuts = lay_out(sized, are_filled, from_right=from_right).cuts
    return any(_is_disordered(cut, order) for cut in cuts)


def _fill(line: PlacedLine) -> PlacedLine:
    letters = int((line.right - line.left) / (LETTER_HEIGHTS * line.height))
    return line._replace(text="x" * min(letters, 2 * COLUMN_LETTERS_MIN))


def _is_disordered(cut: Cut, order: dict[int, int]) -> bool:
    """Whether the file goes from row to row through two columns, or draws first what is read last."""
    first, then = (sorted(order[id(line)] for line in lines) for lines in cut)
    sides = [side for _, side in sorted([(place, 0) for place in first] + [(place, 1) for place in then])]
    switches = sum(one != other for one, other in pairwise(sides))
    if switches >= SWITCHES_MIN * (len(sides) - 1):
        return True
    return sum(bisect_left(then, place) for place in first) >= REVERSED_MIN * len(first) * len(then)


def _read_letters(text_page: pypdfium2.PdfTextPage, height: float) -> Iterator[_Letter]:
    """Each letter and blank, in the order of the file. Where a line ends by a hyphen, there is that."""
    box = raw.FS_RECTF()
    handle = text_page.raw
    for index in range(text_page.count_chars()):
        code = raw.FPDFText_GetUnicode(handle, index)
        letter = "-" if code == 2 else chr(code) if code < 0x110000 else "\ufffd"
        raw.FPDFText_GetLooseCharBox(handle, index, box)
        upright = letter.isspace() or abs(raw.FPDFText_GetCharAngle(handle, index)) < 0.1
        yield _Letter(letter, box.left, height - box.top, box.right, height - box.bottom, upright)


def _join_letters(letters: Sequence[_Letter]) -> Iterator[PlacedLine]:
    """Pieces of lines: letters that follow each other in one row with no more than a blank between them."""
    current: PlacedLine | None = None
    blank = False
    for each in letters:
        if each.text.isspace():
            blank = True
            continue
        placed = PlacedLine(each.left, each.top, each.right, each.bottom, each.text)
        if current is None or not _goes_on(current, placed, WORD_GAP):
            if current is not None:
                yield current
            current = placed
        else:
            between = " " if blank else ""
            current = _unite(current, placed)._replace(text=f"{current.text}{between}{each.text}")
        blank = False
    if current is not None:
        yield current


def _goes_on(line: PlacedLine, other: PlacedLine, gap: float) -> bool:
    """Whether both are in one row, and near each other, on whichever side."""
    height = max(line.height, other.height)
    shared = min(line.bottom, other.bottom) - max(line.top, other.top)
    if shared < SAME_ROW * min(line.height, other.height):
        return False
    return max(line.left, other.left) - min(line.right, other.right) <= gap * height


def _unite(line: PlacedLine, other: PlacedLine) -> PlacedLine:
    return PlacedLine(
        min(line.left, other.left),
        min(line.top, other.top),
        max(line.right, other.right),
        max(line.bottom, other.bottom),
        line.text,
    )


def _has_the_same(text: str, arranged: str) -> bool:
    """Whether no letter got lost, and none came."""
    return _count_letters(text) == _count_letters(arranged)


def _count_letters(text: str) -> Counter[str]:
    return Counter(each for each in text if each.isalnum())
