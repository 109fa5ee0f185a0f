"""Where a record says something of itself: front matter, tables, lines like "Status: …", sections.

Owns the order in which places count, and what belongs to a field. Refuses to read values: `status.py`, `dates.py` and
`document.py` do. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from connectors.reading.inline import Inline, flatten
from connectors.reading.references import is_record_target
from connectors.reading.status import Statement
from connectors.reading.structure import Block, Structure
from connectors.reading.words import WORDS, Words

FIELD_BLOCKS_MAX: Final = 12
"""Blocks that may belong to a field whose own line is empty: a list of boxes has fewer."""
SECTION_LINES_MAX: Final = 40
"""Lines of a section that are read for a field."""

_LABEL = re.compile(r"(?:^|[|•·,;\t]|\s\s)\s{0,20}([^\s|:：,;•·][^|:：,;•·\n]{0,59}?)\s{0,20}[:：]+(?!//)")
_DASHED = re.compile(r"([^\s|:：–—=-][^|:：\n–—=-]{0,39}?)\s{1,20}(?:[–—=-]{1,3}|=>|->)\s{1,20}(?=\S)")
_ROW = re.compile(r"([^\s|][^|\n]{0,59}?)\s{0,20}\|\s{0,20}(?=[^|\s])")


class Field(msgspec.Struct, frozen=True):
    """`name` as `words.toml` names it. `statements` are the value, line by line. `rank`: fields of one name
    that stand in one place count in this order ("date" before "created")."""

    name: str
    statements: tuple[Statement, ...]
    rank: int = 0

    @property
    def text(self) -> str:
        return "\n".join(each.inline.text for each in self.statements)

    @property
    def written(self) -> str:
        return "\n".join(each.inline.render() for each in self.statements)


class Fields(msgspec.Struct, frozen=True):
    """What was found, by the place that it was found in."""

    front: tuple[Field, ...]
    sections: tuple[Field, ...]
    lines: tuple[Field, ...]
    inner: tuple[Field, ...] = ()
    """Sections within others, which may be about something else: an amendment, an option."""

    def all(self, name: str) -> list[Field]:
        """The fields of a name, in the order in which places count."""
        places = (self.front, self.sections, self.lines, self.inner)
        return [field for place in places for field in sorted(place, key=lambda each: each.rank) if field.name == name]

    def text(self, name: str) -> str:
        return next((field.text for field in self.all(name) if field.text.strip()), "")


def find_fields(structure: Structure, words: Words = WORDS) -> Fields:
    top = min((block.level for block in structure.headings if block.level > 1), default=0)
    sections = list(_sections(structure, words))
    return Fields(
        tuple(_front(structure, words)),
        tuple(field for level, field in sections if level <= top),
        tuple(_lines(preamble(structure, words), words)),
        tuple(field for level, field in sections if level > top),
    )


def preamble(structure: Structure, words: Words = WORDS) -> list[Block]:
    """Where dialects put single lines: all before the first section of a template or the third heading, and sections
    that hold such lines only."""
    blocks = structure.blocks
    headings = [at for at, block in enumerate(blocks) if block.kind == "heading"]
    end = len(blocks)
    for place, at in enumerate(headings):
        name = blocks[at].text
        opening = place == 0 and blocks[at].level == 1
        if (words.is_section(name) and not (opening or words.is_section(name, "meta"))) or place == 2:
            end = at
            break
    later = [
        at
        for at in headings
        if at >= end and (words.is_section(blocks[at].text, "meta") or words.meaning(blocks[at].text) == "status")
    ]
    return [*blocks[:end], *(block for at in later for block in structure.section_at(at))]


# ------------------------------------------------------------------------------------------------------ front matter


def _front(structure: Structure, words: Words) -> Iterator[Field]:
    front = structure.front
    for key, values in front.values.items():
        name = words.meaning(key.replace("-", " "))
        if name is not None and values:
            line = front.places.get(key, 0)
            statements = [
                Statement(flatten(value.strip())[0], line)
                for held in values
                for value in held.split("\n")
                if value.strip()
            ]
            yield Field(name, tuple(statements), words.rank(key))


# ---------------------------------------------------------------------------------------------------------- sections


def _sections(structure: Structure, words: Words) -> Iterator[tuple[int, Field]]:
    """The fields of sections, each with the level of its heading."""
    blocks = structure.blocks
    for at, block in enumerate(blocks):
        if block.kind != "heading":
            continue
        name = words.meaning(block.text)
        if name is not None and (block.level > 1 or name == "status"):
            held = structure.section_at(at)
            following = at + 1 + len(held)
            if not held and following < len(blocks) and blocks[following].level > block.level:
                held = (blocks[following],)  # the value is a heading of its own
            yield block.level, Field(name, tuple(_statements(held, name, words)))
        elif (inline := _heading_value(block, words)) is not None:
            below = _statements(structure.section_at(at), inline[0], words)
            yield block.level, Field(inline[0], (Statement(inline[1], block.line), *below))


def _heading_value(block: Block, words: Words) -> tuple[str, Inline] | None:
    """The name and the value of a heading like "Status: Accepted", "Status - Accepted", "Status (Accepted)"."""
    match = re.match(r"([^:：(（|–—-]{1,60}?)\s*(?:[:：(（|]|\s[–—-]+\s)\s*(?=\S)", block.text)
    name = words.meaning(match[1]) if match else None
    if match is None or name not in ("status", "date"):
        return None
    return name, block.inline.cut(match.end(), len(block.text.rstrip("）) ")))


def _statements(blocks: Sequence[Block], name: str, words: Words) -> Iterator[Statement]:
    """The lines of some blocks. A table counts by the field's own name in it."""
    count = 0
    for block in blocks:
        if block.kind == "table":
            found = [field for field in _table(block, words) if field.name == name]
            for field in found:
                yield from field.statements
            if not found:
                yield from (Statement(_join_row(row), block.line + at) for at, row in enumerate(block.rows))
            continue
        for at, line in enumerate(block.inline.split_lines()):
            count += 1
            if count > SECTION_LINES_MAX:
                return
            if name == "status" and (inner := _find_labels(line, words)):
                said = next((value for label, value in inner if label == "status"), None)
                if said is not None:
                    yield Statement(said, block.line + at, block.ticked)
                if all(label in ("date", "people", "status", "number", "title") for label, _ in inner):
                    continue
            yield Statement(line, block.line + at, block.ticked if at == 0 else None, opens=at == 0)


def _join_row(row: Sequence[Inline]) -> Inline:
    made = Inline()
    for cell in row:
        if cell.text.strip():
            made = made.join(Inline("; " if made.text else "")).join(cell)
    return made


# ------------------------------------------------------------------------------------------------- lines and tables


def _lines(blocks: Sequence[Block], words: Words) -> Iterator[Field]:
    for at, block in enumerate(blocks):
        if block.kind == "table":
            yield from _table(block, words)
        elif block.kind in ("text", "item"):
            yield from _block_fields(blocks, at, words)


def _block_fields(blocks: Sequence[Block], at: int, words: Words) -> Iterator[Field]:
    block = blocks[at]
    lines = list(block.inline.split_lines())
    for place, line in enumerate(lines):
        for name, value in _find_labels(line, words):
            if value.text.strip():
                yield Field(name, (Statement(value.strip(), block.line + place),))
            elif place + 1 < len(lines):
                below = lines[place + 1]
                if not _find_labels(below, words):
                    yield Field(name, (Statement(_drop_mark(below), block.line + place + 1),))
            else:
                yield Field(name, tuple(_find_following(blocks, at, words, name)))


def _drop_mark(line: Inline) -> Inline:
    """A definition's line without its colon."""
    text = line.text
    start = len(text) - len(text.lstrip(" :：\t"))
    return line.cut(start, len(text))


def _find_following(blocks: Sequence[Block], at: int, words: Words, name: str) -> Iterator[Statement]:
    """What belongs to a field with nothing behind it: the items under it, or the next paragraph."""
    block = blocks[at]
    taken: list[Block] = []
    for later in blocks[at + 1 : at + 1 + FIELD_BLOCKS_MAX]:
        deeper = later.depth > block.depth
        if later.kind not in ("text", "item") or (block.kind == "item" and not deeper):
            break
        if any(_find_labels(line, words) for line in later.inline.split_lines()):
            break
        if block.kind == "text" and not deeper and taken:
            break
        taken.append(later)
    yield from _statements(taken, name, words)


def _find_labels(line: Inline, words: Words) -> list[tuple[str, Inline]]:
    """The fields of one line and their values."""
    text = line.text
    found: list[tuple[int, int, str]] = []
    for match in _LABEL.finditer(text[:2_000]):
        name = words.meaning(match[1])
        if name is not None and (not found or match.start() >= found[-1][1]):
            found.append((match.start(), match.end(), name))
    if found and text[: found[0][0]].strip():
        found = []  # words before it: a sentence, and no field
    if found:
        ends = [*(start for start, _, _ in found[1:]), len(text)]
        return [(name, _value(line, start, end)) for (_, start, name), end in zip(found, ends, strict=True)]
    return _find_bare_label(line, words)


def _find_bare_label(line: Inline, words: Words) -> list[tuple[str, Inline]]:
    """A field without a colon: its name is strong, or a dash or a bar stands behind it."""
    text = line.text
    for low, high in line.strong[:1]:
        name = words.meaning(text[low:high]) if low <= 2 else None
        alone = not text[high:].strip(" :：")
        if name is not None and (name == "status" or not alone or (name == "date" and low == 0)):
            return [(name, _value(line, high, len(text)))]
    low = len(text) - len(text.lstrip(" |\t"))
    for expression in (_ROW, _DASHED):
        if match := expression.match(text, low, low + 200):
            name = words.meaning(match[1])
            if name is not None and (expression is _ROW or name in ("status", "date")):
                return [(name, _value(line, match.end(), len(text)))]
    return []


def _value(line: Inline, start: int, end: int) -> Inline:
    value = line.cut(start, end).strip()
    text = value.text
    low = len(text) - len(text.lstrip(" :：=|–—-\t"))
    return value.cut(low, max(low, len(text.rstrip(" |,;•·\t"))))


def _table(block: Block, words: Words) -> Iterator[Field]:
    """Names in the first row with values below, or names and values side by side."""
    rows = [row for row in block.rows if any(cell.text.strip() for cell in row)]
    if not rows:
        return
    names = [words.meaning(cell.text) if cell.text.strip() else None for cell in rows[0]]
    pairs = [
        (name, row[at + 1], block.line + place)
        for place, row in enumerate(rows)
        for at in range(0, len(row) - 1, 2)
        if (name := words.meaning(row[at].text) if row[at].text.strip() else None)
    ]
    heads = sum(name is not None for name in names)
    if (
        len(rows) > 1
        and heads
        and (heads >= 2 or len(rows[0]) == 1 or not pairs)
        and heads >= _first_cells(rows, words)
    ):
        yield from _columns(block, rows, names)
        return
    for name, value, line in pairs:
        yield Field(name, tuple(Statement(each, line) for each in value.split_lines()))


def _first_cells(rows: Sequence[Sequence[Inline]], words: Words) -> int:
    """How many rows below the first begin with the name of a field."""
    return sum(words.meaning(row[0].text) is not None for row in rows[1:] if row[0].text.strip())


def _is_listing(rows: Sequence[Sequence[Inline]], names: Sequence[str | None]) -> bool:
    """Whether a table lists other records: its rows lead to them, and not from a column that says how they relate."""
    own = [at for at, name in enumerate(names) if name in (None, "title", "number")]
    return any(
        is_record_target(link.target, row[at].text[link.start : link.end])
        for row in rows[1:]
        for at in own
        if at < len(row)
        for link in row[at].links
    )


def _columns(block: Block, rows: Sequence[Sequence[Inline]], names: Sequence[str | None]) -> Iterator[Field]:
    if _is_listing(rows, names):
        return
    dates = next((at for at, name in enumerate(names) if name == "date"), None)
    for at, name in enumerate(names):
        if name is None:
            continue
        statements: list[Statement] = []
        for place, row in enumerate(rows[1:], 1):
            cell = row[at] if at < len(row) else Inline()
            if name == "status" and len(rows) > 2 and dates is not None and dates < len(row):
                cell = cell.join(Inline(f" ({row[dates].text})"))
            statements.append(Statement(cell, block.line + place))
        yield Field(name, tuple(statements))
