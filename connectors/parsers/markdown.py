"""Writes Markdown from a stream of what a reader meets: text, and where headings, items, cells and boxes begin and
end.

Owns white space, prefixes of lists and quotes, tables, and the order of what stands beside the text (a box, a note:
after the paragraph in which it hangs). Refuses to know where the text comes from. Nothing that is written gets lost:
text that stands in no block is a block.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

LEVEL_MAX = 6
"""Deepest level of a heading in Markdown."""
NESTING_MAX = 12
"""Deepest list or quote that is shown as one: deeper, prefixes would outgrow the text."""

COLUMNS_MAX = 64
"""Most columns that one cell covers: pages say 1 000 where they mean all."""

_SPACES = re.compile(r"[ \t\u00a0\u202f]+")
_AROUND_BREAK = re.compile(r" ?\n[ \n]*")
_MARKUP = re.compile(r"(?m)^(?=#{1,6}(?:\s|$)|```|~~~|>|=+ *$|-{2,} *$)")
_FENCE = re.compile(r"`{3,}")


@dataclass(slots=True)
class _Container:
    """A list item or a quote: what stands before its first line, and before the others."""

    first: str
    rest: str
    used: bool = False
    item: bool = False


@dataclass(slots=True)
class _Table:
    rows: list[list[str]] = field(default_factory=list)
    cell: list[str] | None = None
    below: dict[int, int] = field(default_factory=dict)
    """Columns into which a cell reaches from above, and the last row that it covers."""


@dataclass(slots=True)
class _Flow:
    """A text of its own: the document, a box, a note."""

    blocks: list[tuple[str, bool]] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)
    containers: list[_Container] = field(default_factory=list)
    tables: list[_Table] = field(default_factory=list)
    aside: list[tuple[str, bool]] = field(default_factory=list)
    heading: int = 0
    pre: int = 0


class Writer:
    """What was opened is closed in turn; `finish` closes the rest."""

    def __init__(self) -> None:
        self._flows = [_Flow()]

    @property
    def _flow(self) -> _Flow:
        return self._flows[-1]

    @property
    def in_table(self) -> bool:
        return bool(self._flow.tables)

    def text(self, text: str) -> None:
        self._flow.inline.append(text)

    def open_heading(self, level: int) -> None:
        self.end_block()
        self._flow.heading = min(LEVEL_MAX, max(1, level))

    def open_pre(self) -> None:
        self.end_block()
        self._flow.pre += 1

    def close_pre(self) -> None:
        self._flush()
        self._flow.pre -= 1

    def open_item(self, marker: str = "-", indent: int = 0) -> None:
        self.end_block()
        first = f"{' ' * indent}{marker} "
        self._flow.containers.append(_Container(first, " " * len(first), item=True))

    def open_quote(self, speaker: str = "") -> None:
        self.end_block()
        self._flow.containers.append(_Container(f"> {speaker}", "> "))

    def close_container(self) -> None:
        self.end_block()
        if self._flow.containers:
            self._flow.containers.pop()

    def open_table(self) -> None:
        self.end_block()
        self._flow.tables.append(_Table())

    def open_row(self) -> None:
        if self._flow.tables:
            self.end_block()
            self._flow.tables[-1].rows.append([])

    def open_cell(self) -> None:
        if self._flow.tables:
            self.end_block()
            self._flow.tables[-1].cell = []

    def close_cell(self, columns: int = 1, rows: int = 1) -> None:
        """End a cell, which may cover several columns and rows: its text is in the first, and the others are empty."""
        if self._flow.tables:
            self.end_block()
            table = self._flow.tables[-1]
            if not table.rows:
                table.rows.append([])
            row, number = table.rows[-1], len(table.rows)
            while table.below.get(len(row), 0) >= number:
                row.append("")
            covered = range(len(row), len(row) + min(max(1, columns), COLUMNS_MAX))
            if rows > 1:
                table.below.update(dict.fromkeys(covered, number + rows - 1))
            row += [" ".join(table.cell or ()), *[""] * (len(covered) - 1)]
            table.cell = None

    def close_table(self) -> None:
        if self._flow.tables:
            self.end_block()
            table = self._flow.tables.pop()
            self._add(_table(table.rows))

    def open_aside(self) -> None:
        """Begin what stands beside the text. It follows the block that is being written."""
        self._flows.append(_Flow())

    def close_aside(self) -> None:
        if len(self._flows) > 1:
            self._close_flow()
            flow = self._flows.pop()
            self._flow.aside += flow.blocks
            if not "".join(self._flow.inline).strip() and not self._flow.tables:
                self._put_asides()  # nothing is being written that it could follow

    def end_block(self) -> None:
        """Begin a new line, a new paragraph: whatever comes is not joined to what was."""
        self._flush()
        self._flow.heading = 0

    def finish(self) -> str:
        while len(self._flows) > 1:
            self.close_aside()
        self._close_flow()
        return _join(self._flow.blocks)

    def _close_flow(self) -> None:
        while self._flow.tables:
            self.close_cell() if self._flow.tables[-1].cell is not None else self.close_table()
        self.end_block()
        self._put_asides()

    def _flush(self) -> None:
        flow = self._flow
        if not flow.inline:
            return
        text = "".join(flow.inline).replace("~~~~", "")
        flow.inline.clear()
        if flow.pre and not flow.tables:
            self._add(_fence(text))
            return
        text = _AROUND_BREAK.sub("\n", _SPACES.sub(" ", text)).strip()
        if flow.heading and text:
            self._add(f"{'#' * flow.heading} {' '.join(text.split())}")
        elif text:
            self._add(_MARKUP.sub(r"\\", text))

    def _add(self, block: str) -> None:
        flow = self._flow
        if not block:
            return
        if flow.tables:
            cell = flow.tables[-1].cell
            line = " ".join(block.split())
            # Text between cells is no cell's: browsers show it before the table.
            cell.append(line) if cell is not None else flow.aside.append((line, False))
            return
        shown = flow.containers[:NESTING_MAX]
        first = "".join(each.rest if each.used else each.first for each in shown)
        rest = "".join(each.rest for each in shown)
        tight = bool(shown) and shown[-1].item
        for each in shown:
            each.used = True
        lines = block.split("\n")
        flow.blocks.append(("\n".join([first + lines[0], *((rest + line).rstrip() for line in lines[1:])]), tight))
        self._put_asides()

    def _put_asides(self) -> None:
        flow = self._flow
        if not flow.tables:
            flow.blocks += flow.aside
            flow.aside = []


def _join(blocks: Sequence[tuple[str, bool]]) -> str:
    """Blocks with an empty line between them, items of a list without."""
    parts: list[str] = []
    before = False
    for block, tight in blocks:
        parts += [] if not parts else ["\n"] if tight and before else ["\n\n"]
        parts.append(block)
        before = tight
    return "".join(parts)


def _fence(text: str) -> str:
    if not text.strip():
        return ""
    longest = max(map(len, _FENCE.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{text.strip(chr(10))}\n{fence}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the head, since Markdown knows no table without. A table of one cell is a paragraph."""
    rows = [row for row in rows if any(row)]
    width = max(map(len, rows), default=0)
    if width <= 1:
        return "\n\n".join(row[0] for row in rows)
    lines = [_row(row, width) for row in rows]
    return "\n".join([lines[0], _row(["---"] * width, width), *lines[1:]])


def _row(cells: Sequence[str], width: int) -> str:
    padded = [*cells, *[""] * (width - len(cells))]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in padded)} |"
