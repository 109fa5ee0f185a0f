"""The first pass over a page of HTML: of what kind the text of each element is, and which tables only place things.

Owns what a browser shows: of several forms of the same there is one, styles and attributes hide, attributes are text.
Refuses to write; `web` does, by what is found here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from connectors.parsers import UNSEEN, Kind
from connectors.parsers.embedded import describe_picture, page_within, shows_other_file
from connectors.parsers.hidden import PageStyles, Style


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SILENT = names("script style template head title base link meta noembed param source track frame")
"""Elements whose text is none of the page's."""
_COPIES = names("noscript noframes video audio canvas progress meter rp annotation annotation-xml iframe embed")
"""What browsers show where they cannot show the other."""
_HIDDEN = names("datalist mphantom metadata")
_KINDS: dict[str, Kind] = {
    "svg": "drawing",
    "math": "equation",
    "button": "form",
    "select": "form",
    "textarea": "form",
}
_LAYOUT = names("h1 h2 h3 h4 h5 h6 ul ol dl table pre blockquote details figure fieldset")
"""A table with one of these in a cell only places its contents, and is read as text."""
_VALUE_HIDDEN = names("hidden password checkbox radio file range color image")
_REFERENCE = re.compile(r"url\(\s*[\"']?#([^\"')]+?)\s*[\"']?\s*\)")
_SECTION = "[CDATA["


@dataclass(slots=True)
class SeenPage:
    """What the first pass knows of a tree."""

    kinds: dict[Any, Kind | None] = field(default_factory=dict)
    displays: dict[Any, str] = field(default_factory=dict)
    layouts: set[Any] = field(default_factory=set)
    bases: dict[Any, Kind | None] = field(default_factory=dict)
    """Kinds without `visibility`: what is within an element that is hidden by it may be seen again."""
    around: dict[Any, tuple[str, str]] = field(default_factory=dict)
    """What styles write before and behind the text of elements."""
    within: dict[Any, str] = field(default_factory=dict)
    """Pages that elements show."""
    scripted: bool = False
    frames: bool = False
    elsewhere: int = 0
    """Frames within the page that show other files."""


def tag_of(element: Any) -> str:
    """Its name without a namespace; nothing for comments and the like."""
    tag = element.tag
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""


def look_around(root: Any, kind: Kind, styles: PageStyles, *, whole: bool) -> SeenPage:
    """The first pass. `whole`: with what browsers show where they cannot show the other."""
    page = SeenPage()
    visible: dict[Any, str] = {}
    tables: dict[Any, Any] = {}
    used = find_used(root)
    for element in root.iter():
        tag = tag_of(element)
        parent = element.getparent() if element is not root else None
        drawn = page.bases.get(parent) == "drawing"
        style = styles.look_at(tag, element, drawn=drawn) if tag else Style()
        within = page_within(tag, element)
        base = _kind(tag, element, page.bases.get(parent, kind), style.display, copied=bool(within), whole=whole)
        if base == "drawing" and element not in used:
            base = "hidden" if tag == "symbol" or (parent is not None and tag_of(parent) == "defs") else base
        visible[element] = style.visibility or visible.get(parent, "")
        if within and visible[element] not in ("hidden", "collapse"):
            page.within[element] = within
        is_faint = base is not None and base not in UNSEEN and visible[element] in ("hidden", "collapse")
        if base == "copy" and page.bases.get(parent, kind) != "copy" and visible[element] not in ("hidden", "collapse"):
            page.elsewhere += shows_other_file(tag, element)
        page.bases[element] = base
        page.kinds[element] = "hidden" if is_faint else base
        page.displays[element] = style.display
        if style.before or style.behind:
            page.around[element] = (style.before, style.behind)
        page.scripted |= tag == "script"
        page.frames |= tag == "frameset"
        around = tables.get(parent)
        tables[element] = element if tag == "table" else around
        while tag in _LAYOUT and around is not None and around not in page.layouts:
            page.layouts.add(around)
            around = tables.get(around.getparent())
    return page


def find_used(root: Any) -> set[Any]:
    """The parts of drawings to which something in a drawing refers by their names, and what is around them."""
    names_used: set[str] = set()
    named: dict[str, Any] = {}
    within: set[Any] = set()
    for element in root.iter("*"):
        tag = tag_of(element)
        if tag != "svg" and element.getparent() not in within:
            continue
        within.add(element)
        for key, value in element.attrib.items():
            if key == "id":
                named.setdefault(value, element)
            elif value.startswith("#") and tag != "a" and key.rpartition("}")[2].rpartition(":")[2] == "href":
                names_used.add(value[1:])
            elif "url(" in value:
                names_used.update(_REFERENCE.findall(value))
    used: set[Any] = set()
    for name in names_used & named.keys():
        element = named[name]
        while element is not None and element not in used:
            used.add(element)
            element = element.getparent()
    return used


def _kind(tag: str, element: Any, above: Kind | None, display: str, *, copied: bool, whole: bool) -> Kind | None:
    if above is None or tag in _SILENT:
        shadow = tag == "template" and element.get("shadowrootmode") is not None
        return above if shadow or (tag == "title" and above == "drawing") else None
    if above in UNSEEN:
        return above
    if display == "none" or tag in _HIDDEN:
        return "hidden"
    if tag == "dialog" and element.get("open") is None:
        return "hidden"
    if tag in _COPIES and not (whole and tag in ("noscript", "noframes")):
        return "copy"
    if tag == "object" and copied:
        return "copy"
    if tag in ("title", "desc") and above == "drawing":
        return "description"
    return _KINDS.get(tag, above) if above == "text" or tag in ("svg", "math") else above


def find_texts(page: SeenPage, element: Any) -> Iterator[tuple[Kind, str]]:
    """All text that hangs on an element, with its kind: its own, its attributes', and what follows it."""
    own = page.kinds[element]
    if own is not None:
        if text := own_text(page, element):
            yield own, text
        for kind, text in find_attributes(element):
            yield own if own in UNSEEN else kind, text
        for text in page.around.get(element, ()):
            yield own, text
    parent = element.getparent()
    around = page.kinds.get(parent) if parent is not None else None
    if around is not None and element.tail:
        yield around, element.tail


def own_text(page: SeenPage, element: Any) -> str:
    """Text at its beginning. What a page in a page says is counted there."""
    text = element.text or ""
    if tag_of(element):
        return "" if tag_of(element) == "noframes" and page.kinds[element] != "copy" else text
    # A section of character data within a drawing, which the parser takes for a comment.
    within = page.kinds.get(element.getparent()) in ("drawing", "equation", "description")
    return text[len(_SECTION) :].removesuffix("]]") if within and text.startswith(_SECTION) else ""


def find_attributes(element: Any) -> Iterator[tuple[Kind, str]]:
    tag = tag_of(element)
    kind = (element.get("type") or "text").lower() if tag == "input" else ""
    if tag == "img":
        yield "description", describe_picture(element)
    elif tag == "area" or kind == "image":
        yield "description", element.get("alt") or ""
    elif kind in ("checkbox", "radio") and element.get("checked") is not None:
        yield "form", "☒"
    elif tag == "input" and kind not in _VALUE_HIDDEN:
        yield "form", element.get("value") or element.get("placeholder") or ""
    elif tag == "textarea" and not (element.text or "").strip():
        yield "form", element.get("placeholder") or ""
    elif tag == "optgroup" or (tag == "option" and not (element.text or "").strip()):
        yield "form", element.get("label") or ""
