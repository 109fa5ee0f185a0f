"""The order in which people read the lines of a page, when each line is known by its place alone.

Owns columns, rows, paragraphs and words that were broken at the end of a line. Pure. Refuses to know where lines come
from.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

COLUMN_LINES_MIN = 3
"""Lines of a column. Fewer side by side are a heading and its date."""
COLUMN_LETTERS_MIN = 15
"""Characters in the middle line of a column of text. Cells of a table are shorter, and are read row by row."""
COLUMN_GAP = 0.8
"""Width of the white between two columns, in heights of a line."""
COLUMN_GAP_FILLED = 0.3
"""The same, where lines fill both: a narrow gutter of a printed page."""
FILLED_LINES_MIN = 4
"""Lines of a column that is known by its filling."""
FULL_SHARE, FULL_LINES = 0.7, 0.5
"""How wide a full line is, as part of its column, and the share of lines that are full: text fills its column,
and cells do not."""
ROW_GAP = 1.35
"""Distance between two rows of a table, in distances of its lines. Where both columns have such gaps at the same
heights, they are cells."""
ROWS_MIN = 3
"""Such gaps, at least; two are the paragraphs of two columns by chance."""
LEADING_MAX = 2.2
"""Distance of the lines of a text, in their heights. What stands further apart is labels."""
BLOCK_GAP = 0.3
"""Height of the white between two blocks, in heights of a line: less is between lines."""
MARGIN_STRIPS = 3
"""White strips from the top and from the bottom of a page, beyond which columns may begin: a heading has a line or
two."""
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
    """Whether both are columns of text, and no cells of a table: cells are further apart, or not full."""
    gap = min(each.left for each in right) - max(each.right for each in left)
    is_wide = gap > COLUMN_GAP * height_of((*left, *right))
    return (is_wide and _is_column(left) and _is_column(right)) or are_filled(left, right)


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
        parts = columns or _cut_below(block, height, accepts, is_most=2 * len(block) > len(lines))
        if parts is None:
            blocks.append(block)
        else:
            open_ += reversed(parts)
    return Layout(blocks, cuts)


def _cut_columns(lines: list[PlacedLine], height: float, accepts: AcceptCut) -> Cut | None:
    """Left and right of the widest white strip from top to bottom, where both sides are columns of text."""
    by_left = sorted(lines, key=lambda line: line.left)
    best, cut, reach = COLUMN_GAP_FILLED * height, 0, by_left[0].right
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


def are_filled(left: Sequence[PlacedLine], right: Sequence[PlacedLine]) -> bool:
    """Whether both are columns of text: of enough lines, which fill it, and no rows with white between them."""
    if min(len(left), len(right)) < FILLED_LINES_MIN:
        return False
    return all(map(_is_filled, chain(_part(left), _part(right)))) and not _have_rows(left, right)


def _part(lines: Sequence[PlacedLine]) -> Iterator[list[PlacedLine]]:
    """Lines that have white from top to bottom on both their sides: one side of a cut may be several columns."""
    ordered = sorted(lines, key=lambda each: each.left)
    gap = COLUMN_GAP_FILLED * height_of(lines)
    part, reach = [ordered[0]], ordered[0].right
    for each in ordered[1:]:
        if each.left - reach > gap:
            yield part
            part = []
        part.append(each)
        reach = max(reach, each.right)
    yield part


def _is_filled(lines: Sequence[PlacedLine]) -> bool:
    if len(lines) < FILLED_LINES_MIN or statistics.median(len(each.text) for each in lines) < COLUMN_LETTERS_MIN:
        return False
    width = max(each.right for each in lines) - min(each.left for each in lines)
    full = sum(each.right - each.left >= FULL_SHARE * width for each in lines)
    return full >= FULL_LINES * len(lines)


def _have_rows(left: Sequence[PlacedLine], right: Sequence[PlacedLine]) -> bool:
    """Whether white goes through both, again and again, or they are far apart."""
    tops = sorted(each.top for each in left)
    steps = [below - above for above, below in pairwise(tops) if below > above]
    if not steps:
        return False
    pitch = statistics.median(steps)
    if pitch > LEADING_MAX * height_of(left):
        return True
    every = sorted((*left, *right), key=lambda each: each.top)
    gaps, bottom = 0, every[0].bottom
    for each in every[1:]:
        gaps += each.top - bottom >= (ROW_GAP - 1) * pitch + max(0.0, pitch - each.height)
        bottom = max(bottom, each.bottom)
    return gaps >= ROWS_MIN


def _cut_below(lines: list[PlacedLine], height: float, accepts: AcceptCut, *, is_most: bool) -> Cut | None:
    """Above and below the highest white strip from left to right. `lines` come from above; `is_most` of the page's."""
    strips = list(_find_strips(lines, height))
    if not strips:
        return None
    best, cut = max(strips)
    # A cut between two lines of one paragraph is for the sake of columns beside it alone.
    if best < PARAGRAPH_GAP * height:
        columns = _cut_columns(lines[cut:], height, accepts)
        cut = cut if columns else _find_margin(lines, strips, height, accepts) if is_most else 0
    return (lines[:cut], lines[cut:]) if cut else None


def _find_strips(lines: Sequence[PlacedLine], height: float) -> Iterator[tuple[float, int]]:
    """The height of each white strip, and the line below it."""
    reach = lines[0].bottom
    for at, line in enumerate(lines[1:], 1):
        if line.top - reach > BLOCK_GAP * height:
            yield line.top - reach, at
        reach = max(reach, line.bottom)


def _find_margin(
    lines: list[PlacedLine], strips: Sequence[tuple[float, int]], height: float, accepts: AcceptCut
) -> int:
    """Where a heading or a footer ends that goes across columns, near to them; 0 without any. A page may have both, and
    neither is beside columns before both are cut off."""
    places = [at for _, at in strips]
    for begin in (0, *places[:MARGIN_STRIPS]):
        for end in (len(lines), *places[: -MARGIN_STRIPS - 1 : -1]):
            is_most = 2 * (end - begin) > len(lines)
            if is_most and (begin or end < len(lines)) and _cut_columns(lines[begin:end], height, accepts):
                return begin or end
    return 0


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
