"""What the styles of a DOCX say of a paragraph or a run: is it a heading, an item of a list, hidden.

Owns how a style inherits, and where a paragraph says which list it is in; how lists count, `word_numbers.py` says.
Refuses to write text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from connectors.parsers.names import NO, flag, inner_value, name_of, number_of, value, within
from connectors.parsers.word_numbers import LEVELS, Numbering

INHERITANCE_MAX = 12
"""Styles above a style. Word itself allows ten or so; a circle has no end."""

_HEADING = re.compile(r"heading ?([1-9])", re.I)
_NUMBERED = re.compile(r"[0-9]{1,9}[.)]")
"""What Markdown takes for the mark of an item."""


class Item(NamedTuple):
    """`marker` is Markdown's; `shown` is what stands before the text where Markdown has no mark for it."""

    marker: str
    shown: str
    indent: int

    @property
    def number(self) -> str:
        """What a reader sees before the text, where there can be no item."""
        return self.shown or ("" if self.marker == "-" else self.marker)


class _Style(NamedTuple):
    base: str
    level: int | None
    numbering: tuple[str, int | None] | None
    hidden: bool | None


class WordStyles:
    """The styles of one document; either tree may be missing. Items of lists are counted as they are asked for."""

    def __init__(self, styles: Any, numbering: Any) -> None:
        self._styles: dict[str, _Style] = {}
        self._default = ""
        self._all_hidden = False
        self._numbering = Numbering(numbering)
        if styles is not None:
            self._read_styles(styles)

    def level(self, paragraph: Any) -> int:
        """1 for a heading of the first level; 0 for what is none."""
        own = _outline(paragraph)
        if own is not None:
            return own
        style = _style_of(paragraph, "w:pPr", "w:pStyle") or self._default
        if style not in self._styles:
            found = _HEADING.fullmatch(style)
            return int(found[1]) if found else 0
        return next((each.level for each in self._chain(style) if each.level is not None), 0)

    def item(self, paragraph: Any) -> Item | None:
        """How an item of a list is marked; None for what is none. Each is to be asked for once, in order."""
        if _is_joined(paragraph):
            return None
        style = _style_of(paragraph, "w:pPr", "w:pStyle") or self._default
        numbering = _find_numbering(paragraph)
        if numbering is None or not numbering[0]:
            inherited = (each.numbering for each in self._chain(style) if each.numbering and each.numbering[0])
            numbering = next(inherited, None)
        if numbering is None or numbering[0] == "0":
            return None
        own_id, level = numbering
        level = self._numbering.level_of(own_id, style) if level is None else level
        number = self._numbering.count(own_id, level)
        marker = number if number and _NUMBERED.fullmatch(number) else "-"
        shown = "" if number is None or number == marker else number
        return Item(marker, shown, level * (2 if number is None else 3))

    def is_hidden(self, run: Any) -> bool:
        """What the run says of itself holds. Else the style of its characters switches what the paragraph's says."""
        own = flag(run, "w:rPr", "w:vanish")
        if own is not None:
            return own
        styles = [_style_of(run, "w:rPr", "w:rStyle")]
        paragraph = next((each for each in run.iterancestors() if name_of(each) == "w:p"), None)
        if paragraph is not None:
            styles.append(_style_of(paragraph, "w:pPr", "w:pStyle") or self._default)
        said = [next((each.hidden for each in self._chain(style) if each.hidden is not None), None) for style in styles]
        return sum(map(bool, said)) == 1 if any(each is not None for each in said) else self._all_hidden

    def _chain(self, style: str) -> Iterator[_Style]:
        for _ in range(INHERITANCE_MAX):
            found = self._styles.get(style)
            if found is None:
                return
            yield found
            style = found.base

    def _read_styles(self, root: Any) -> None:
        for each in root:
            if name_of(each) == "w:docDefaults":
                runs = (inner for inner in each if name_of(inner) == "w:rPrDefault")
                self._all_hidden = any(flag(inner, "w:rPr", "w:vanish") for inner in runs)
            if name_of(each) != "w:style":
                continue
            named = inner_value(each, "w:name")
            heading = _HEADING.fullmatch(named)
            level = int(heading[1]) if heading else 1 if named.lower() == "title" else _outline(each)
            own_id = value(each, "styleId") or ""
            hidden = flag(each, "w:rPr", "w:vanish")
            self._styles[own_id] = _Style(inner_value(each, "w:basedOn"), level, _find_numbering(each), hidden)
            if value(each, "type") == "paragraph" and value(each, "default") not in (None, *NO):
                self._default = own_id


def _style_of(element: Any, properties: str, name: str) -> str:
    return next((value(each, "val") or "" for each in within(element, properties) if name_of(each) == name), "")


def _is_joined(paragraph: Any) -> bool:
    """Whether the end of a paragraph is deleted: with all changes accepted, the next one has its text."""
    marks = (each for each in within(paragraph, "w:pPr") if name_of(each) == "w:rPr")
    return any(name_of(inner) in ("w:del", "w:moveFrom") for each in marks for inner in each)


def _outline(element: Any) -> int | None:
    for each in within(element, "w:pPr"):
        if name_of(each) == "w:outlineLvl":
            level = number_of(value(each, "val"), LEVELS)
            return level + 1 if level < LEVELS else 0
    return None


def _find_numbering(element: Any) -> tuple[str, int | None] | None:
    """The list and the level that an element names; None for a level that it leaves to its style."""
    for each in within(element, "w:pPr"):
        if name_of(each) == "w:numPr":
            level = inner_value(each, "w:ilvl")
            return inner_value(each, "w:numId"), min(LEVELS - 1, number_of(level)) if level else None
    return None
