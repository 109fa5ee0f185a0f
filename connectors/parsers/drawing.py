"""The pieces of text in parts that are drawn: slides, text boxes of sheets, charts, diagrams, remarks.

Owns what of them a reader sees: shapes that are hidden or lie beyond the edge are none of it, and of several forms of
the same there is one. Refuses to write, and to know in which order people read shapes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from connectors.parsers import UNSEEN, Kind
from connectors.parsers.charts import VALUES, value_of_chart
from connectors.parsers.names import name_of
from connectors.parsers.pieces import Piece
from connectors.parsers.word_kinds import choose

SHAPES = frozenset(("sp", "pic", "graphicFrame", "grpSp", "cxnSp", "contentPart"))
_LEAVES = frozenset(("a:t", "m:t"))
_COMPUTED = ("slidenum", "datetime")
"""Fields that programs fill in anew each time."""


class Page(NamedTuple):
    """Width and height of a slide, in the unit of drawings."""

    width: int
    height: int


def find_pieces(root: Any, kind: Kind, page: Page | None = None) -> Iterator[Piece]:
    """Each paragraph, name in a chart, description and remark of a part."""
    kinds: dict[Any, Kind] = {}
    for element in root.iter():
        name = name_of(element)
        own = _kind(name, element, kinds.get(element.getparent(), kind), page)
        kinds[element] = own
        if name == "a:p":
            yield from _paragraph(element, own, page)
        elif name == "cNvPr":
            yield Piece(own if own in UNSEEN else "description", element.get("descr") or "")
        elif name in VALUES:
            yield Piece(own, value_of_chart(element))
        elif name == "text" and name_of(element.getparent()) == "cm":
            yield Piece("comment", element.text or "", "> ")


def is_seen(shape: Any, page: Page | None) -> bool:
    """Whether a shape is shown, and not beyond the edge of its page."""
    return _kind(name_of(shape), shape, "text", page) not in ("hidden", "outside")


def _kind(name: str, element: Any, above: Kind, page: Page | None) -> Kind:
    if above in UNSEEN:
        return above
    if name in ("mc:Choice", "mc:Fallback") and element is not choose(element.getparent()):
        return "copy"
    if name in SHAPES:
        return "hidden" if _is_hidden(element) else "outside" if page and _is_outside(element, page) else above
    if name == "a:fld" and (element.get("type") or "").startswith(_COMPUTED):
        return "instruction"
    return "equation" if name in ("m:oMath", "m:oMathPara") else above


def _is_hidden(shape: Any) -> bool:
    return any(
        name_of(inner) == "cNvPr" and inner.get("hidden") in ("1", "true") for each in shape[:1] for inner in each
    )


def _is_outside(shape: Any, page: Page) -> bool:
    """A shape in a group has the group's own measure: only the group is looked at."""
    if name_of(shape.getparent()) != "spTree":
        return False
    for each in shape:
        frame = each if name_of(each) == "xfrm" else next((x for x in each if name_of(x) == "a:xfrm"), None)
        if frame is not None:
            x, y, width, height = measure(frame)
            return x + width < 0 or y + height < 0 or x > page.width or y > page.height
    return False


def measure(frame: Any) -> tuple[int, int, int, int]:
    """Left, top, width and height of a frame; zeros where it does not say."""
    given = {name_of(each): each for each in frame}
    place, size = given.get("a:off"), given.get("a:ext")
    numbers = (
        (place.get("x"), place.get("y")) if place is not None else ("0", "0"),
        (size.get("cx"), size.get("cy")) if size is not None else ("0", "0"),
    )
    x, y, width, height = (
        int(text) if text and text.lstrip("-").isdecimal() else 0 for pair in numbers for text in pair
    )
    return x, y, width, height


def _paragraph(paragraph: Any, kind: Kind, page: Page | None) -> Iterator[Piece]:
    kinds: dict[Any, Kind] = {paragraph: kind}
    found: dict[Kind, list[str]] = defaultdict(list)
    for element in paragraph.iter():
        name = name_of(element)
        if element is not paragraph:
            kinds[element] = _kind(name, element, kinds[element.getparent()], page)
        if name in _LEAVES:
            found[kinds[element]].append(element.text or "")
        elif name == "a:br":
            found[kinds[element]].append(" ")
    for own, texts in found.items():
        yield Piece(own, "".join(texts), "> " if own in ("note", "comment") else "")
