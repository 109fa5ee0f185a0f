"""The order in which people read the lines of a page, when each line is known by its place alone.

Owns columns, rows, paragraphs and words that were broken at the end of a line. Pure. Refuses to know where lines come
from.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

COLUMN_LINES_MIN = 3
"""Lines of a column. Fewer side by side are a heading and its date."""
COLUMN_LETTERS_MIN = 15
"""Characters in the middle line of a column of text. Cells of a table are shorter, and are read row by row."""
COLUMN_GAP = 0.8
"""Width of the white between two columns, in heights of a line."""
BLOCK_GAP = 0.3
"""Height of the white between two blocks, in heights of a line: less is between lines."""
PARAGRAPH_GAP = 0.9
"""Height of the white between two paragraphs, in heights of a line."""
SAME_ROW = 0.5
"""Part of a line's height that it shares with another one of its row."""
LONG = 5.0
"""Length of a line, in its heights, from which on its slant says how the page lies."""

_BROKEN = re.compile(r"(?<=[^\W\d_])-\n(?=[^\W\d_])")

Corner = tuple[float, float]


class PlacedLine(NamedTuple):
    """A line of text and its rectangle on the upright page."""

    left: float
    top: float
    right: float
    bottom: float
    text: str

    @property
    def height(self) -> float:
        return self.bottom - self.top


Cut = tuple[list[PlacedLine], list[PlacedLine]]
"""What is read first, and what after it."""
AcceptCut = Callable[[Sequence[PlacedLine], Sequence[PlacedLine]], bool]


class Layout(NamedTuple):
    """Blocks of one column each, in the order in which they are read, and the cuts between columns."""

    blocks: list[list[PlacedLine]]
    cuts: list[Cut]


def place_lines(boxes: Sequence[Sequence[Corner]], texts: Sequence[str]) -> list[PlacedLine]:
    """Each text in its rectangle, when the page is turned so that its lines lie level. A box has four corners, from the
    beginning of the line clockwise."""
    slant = _find_slant(boxes)
    cos, sin = math.cos(slant), math.sin(slant)
    placed: list[PlacedLine] = []
    for box, text in zip(boxes, texts, strict=True):
        x = sum(corner[0] for corner in box) / 4
        y = sum(corner[1] for corner in box) / 4
        width, height = math.dist(box[0], box[1]) / 2, math.dist(box[0], box[3]) / 2
        x, y = x * cos + y * sin, y * cos - x * sin
        placed.append(PlacedLine(x - width, y - height, x + width, y + height, text))
    return placed


def _find_slant(boxes: Sequence[Sequence[Corner]]) -> float:
    """The angle of most long lines, in radians."""
    slants = [
        math.atan2(box[1][1] - box[0][1], box[1][0] - box[0][0])
        for box in boxes
        if math.dist(box[0], box[1]) >= LONG * math.dist(box[0], box[3])
    ]
    return statistics.median(slants) if slants else 0.0


def arrange(lines: Sequence[PlacedLine]) -> str:
    """The text of a page: blocks parted by blank lines."""
    height = height_of(lines)
    return "\n\n".join(join_rows(block, height) for block in lay_out(lines).blocks)


def height_of(lines: Sequence[PlacedLine]) -> float:
    """The height of most lines."""
    return max(statistics.median(line.height for line in lines), 1.0) if lines else 1.0


def are_columns(left: Sequence[PlacedLine], right: Sequence[PlacedLine]) -> bool:
    """Whether both are columns of text, and no cells of a table."""
    return _is_column(left) and _is_column(right)


def lay_out(lines: Sequence[PlacedLine], accepts: AcceptCut = are_columns, *, from_right: bool = False) -> Layout:
    """Find the blocks of a page: columns first, then what stands above each other. `accepts` says which cuts part
    columns, and the right one comes first where `from_right`. Iterative, because a page of specks has a thousand of
    them."""
    blocks: list[list[PlacedLine]] = []
    cuts: list[Cut] = []
    height = height_of(lines)
    open_ = [_from_above(lines)] if lines else []
    while open_:
        block = open_.pop()
        columns = _cut_columns(block, height, accepts)
        if columns:
            columns = columns[::-1] if from_right else columns
            cuts.append(columns)
        parts = columns or _cut_below(block, height, accepts)
        if parts is None:
            blocks.append(block)
        else:
            open_ += reversed(parts)
    return Layout(blocks, cuts)


def _cut_columns(lines: list[PlacedLine], height: float, accepts: AcceptCut) -> Cut | None:
    """Left and right of the widest white strip from top to bottom, where both sides are columns of text."""
    by_left = sorted(lines, key=lambda line: line.left)
    best, cut, reach = COLUMN_GAP * height, 0, by_left[0].right
    for at, line in enumerate(by_left[1:], 1):
        if line.left - reach > best and accepts(by_left[:at], by_left[at:]):
            best, cut = line.left - reach, at
        reach = max(reach, line.right)
    if not cut:
        return None
    return _from_above(by_left[:cut]), _from_above(by_left[cut:])


def _is_column(lines: Sequence[PlacedLine]) -> bool:
    if len(lines) < COLUMN_LINES_MIN:
        return False
    return statistics.median(len(line.text) for line in lines) >= COLUMN_LETTERS_MIN


def _cut_below(lines: list[PlacedLine], height: float, accepts: AcceptCut) -> Cut | None:
    """Above and below the highest white strip from left to right. `lines` come from above."""
    best, cut, reach = BLOCK_GAP * height, 0, lines[0].bottom
    for at, line in enumerate(lines[1:], 1):
        if line.top - reach > best:
            best, cut = line.top - reach, at
        reach = max(reach, line.bottom)
    wide = best >= PARAGRAPH_GAP * height
    # A cut between two lines of one paragraph is for the sake of columns below it alone.
    if not cut or not (wide or _cut_columns(lines[cut:], height, accepts)):
        return None
    return lines[:cut], lines[cut:]


def _from_above(lines: Iterable[PlacedLine]) -> list[PlacedLine]:
    return sorted(lines, key=lambda line: (line.top, line.left))


def join_rows(lines: Sequence[PlacedLine], height: float, *, from_right: bool = False) -> str:
    """Rows from above, each from its left, or from its right; a paragraph begins where there is white above it."""
    rows: list[list[PlacedLine]] = []
    for line in lines:
        if rows and _shares_row(rows[-1][0], line):
            rows[-1].append(line)
        else:
            rows.append([line])
    said: list[str] = []
    bottom = lines[0].top
    for row in rows:
        if said:
            said.append("\n\n" if min(each.top for each in row) - bottom >= PARAGRAPH_GAP * height else "\n")
        said.append(
            " ".join(each.text for each in sorted(row, key=lambda each: -each.right if from_right else each.left))
        )
        bottom = max(each.bottom for each in row)
    return _BROKEN.sub("", "".join(said))


def _shares_row(line: PlacedLine, other: PlacedLine) -> bool:
    shared = min(line.bottom, other.bottom) - max(line.top, other.top)
    return shared >= SAME_ROW * min(line.height, other.height)
