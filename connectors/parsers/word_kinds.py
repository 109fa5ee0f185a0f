"""The first pass over a part of a DOCX: of what kind the text of each element is, and which tables only place things.

Owns what a reader sees: changes are accepted, fields show their results, of several forms of the same there is one.
Refuses to write; `word` does, by what is found here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from connectors.parsers import UNSEEN, GapCode, Kind
from connectors.parsers.charts import VALUES, value_of_chart
from connectors.parsers.names import flag, name_of, number_of, value
from connectors.parsers.package import Relationship
from connectors.parsers.symbols import symbol
from connectors.parsers.word_signs import is_phantom, show_field
from connectors.parsers.word_styles import WordStyles

PICTURE_EMU2_MIN = 311 * 360_000**2
"""Area of a picture that stands for a page: half of an A4 sheet, in squares of Word's unit."""

_PLAIN: tuple[Kind, ...] = ("text", "inserted")
_UNSEEN_ELEMENTS: Mapping[str, Kind] = {
    "w:del": "deleted",
    "w:moveFrom": "deleted",
    "w:delText": "deleted",
    "w:instrText": "instruction",
    "w:delInstrText": "instruction",
}
_KINDS: Mapping[str, Kind] = {
    "w:ins": "inserted",
    "w:moveTo": "inserted",
    "w:txbxContent": "box",
    "m:oMath": "equation",
    "m:oMathPara": "equation",
    "a:t": "drawing",
    "wp:docPr": "description",
    "cNvPr": "description",
    "w:ffData": "form",
}
LEAVES = frozenset(("w:t", "w:delText", "w:instrText", "w:delInstrText", "m:t", "a:t"))
_SAY = LEAVES | VALUES | {"w:altChunk", "c:chart", "cx:chart", "dgm:relIds", "v:textpath"}
_GUESSED = ("automatically generated", "automatisch generiert", "générée automatiquement", "generado automáticamente")
"""What Word writes behind a description of its own."""
_SIZE = re.compile(r"(?:^|;)\s*(width|height)\s*:\s*([\d.]+)\s*(pt|in|cm|mm|px|pc)?", re.I)
_UNITS_EMU = {"pt": 12_700, "in": 914_400, "cm": 360_000, "mm": 36_000, "px": 9_525, "pc": 152_400, "": 9_525}
NOTES = {"w:footnoteReference": "footnotes", "w:endnoteReference": "endnotes", "w:commentReference": "comments"}


@dataclass(slots=True)
class _Field:
    """A field that has begun: the pieces of its instruction, until its result begins."""

    kind: Kind
    pieces: list[Any] = field(default_factory=list)
    instructs: bool = True


@dataclass(slots=True)
class WordPart:
    """What the first pass knows of a part."""

    name: str
    root: Any
    relations: Mapping[str, Relationship]
    kinds: dict[Any, Kind | None] = field(default_factory=dict)
    layouts: set[Any] = field(default_factory=set)
    notes: dict[tuple[str, str], bool] = field(default_factory=dict)
    """Notes that are referred to, by kind and id, and whether a reader sees that they are."""
    gone: frozenset[Any] = frozenset()
    """Notes to which only deleted text refers."""
    shown: dict[Any, str] = field(default_factory=dict)
    """What fields show that have no result, by the first piece of their instruction."""
    unread: list[tuple[GapCode, str]] = field(default_factory=list)
    pictures: int = 0
    large: list[Any] = field(default_factory=list)
    """Where pictures begin that stand for a page, and that nobody described."""


def look_around(part: WordPart, kind: Kind, styles: WordStyles) -> None:
    """The first pass. Instructions of fields count as such only where every field that begins ends, too: else what
    follows one would be none of the text."""
    if not _find_kinds(part, kind, styles, fields=True):
        _find_kinds(part, kind, styles, fields=False)


def _find_kinds(part: WordPart, kind: Kind, styles: WordStyles, *, fields: bool) -> bool:
    """False when fields do not end."""
    part.kinds = {}
    part.notes = {}
    part.shown = {}
    part.pictures = 0
    part.large = []
    tables: dict[Any, Any] = {}
    rows: dict[Any, Any] = {}
    cells: Counter[Any] = Counter()
    open_fields: list[_Field] = []
    found: list[tuple[GapCode, str]] = []
    for element in part.root.iter():
        name = name_of(element)
        parent = element.getparent() if element is not part.root else None
        own = "deleted" if element in part.gone else _kind(name, element, part.kinds.get(parent, kind), styles)
        if name == "w:fldChar" and own is not None and own not in UNSEEN:
            _follow_field(open_fields, value(element, "fldCharType") or "", own, part)
        elif name == "w:instrText" and own == "instruction" and open_fields:
            open_fields[-1].pieces.append(element)
        if fields and name in LEAVES and own is not None and own not in UNSEEN and any(map(_INSTRUCTS, open_fields)):
            own = "instruction"
        part.kinds[element] = own
        if name in NOTES:
            key = (NOTES[name], value(element, "id") or "")
            part.notes[key] = part.notes.get(key, False) or own not in UNSEEN
        _look_at_table(name, element, tables, part.layouts, styles)
        rows[element] = element if name == "w:tr" else rows.get(parent)
        cells[rows[element]] += name == "w:tc"
        found += _find_unread(name, element, own, part)
    if fields and open_fields:
        return False
    wide = {tables[row] for row, number in cells.items() if row is not None and number > 1}
    part.layouts |= {table for table in set(tables.values()) if table is not None and table not in wide}
    part.unread = found
    return True


_INSTRUCTS = attrgetter("instructs")


def _follow_field(open_fields: list[_Field], what: str, kind: Kind, part: WordPart) -> None:
    """Where each open field is. One that ends without a result may show something by its instruction."""
    if what == "begin":
        open_fields.append(_Field(kind))
    elif open_fields and what == "separate":
        open_fields[-1].instructs = False
    elif open_fields and what == "end":
        ended = open_fields.pop()
        is_without_result = ended.instructs and ended.pieces and not any(map(_INSTRUCTS, open_fields))
        shown = show_field("".join(each.text or "" for each in ended.pieces)) if is_without_result else ""
        if shown:
            part.kinds[ended.pieces[0]] = ended.kind
            part.shown[ended.pieces[0]] = shown


def _look_at_table(name: str, element: Any, tables: dict[Any, Any], layouts: set[Any], styles: WordStyles) -> None:
    """Which table an element is in, and whether that one only places what is in it: it has one column, or there are
    headings or tables in its cells."""
    around = tables.get(element.getparent())
    tables[element] = element if name == "w:tbl" else around
    if around is None:
        return
    if name == "w:tbl" or (name == "w:p" and styles.level(element)):
        while around is not None and around not in layouts:
            layouts.add(around)
            around = tables.get(around.getparent())


def _find_unread(name: str, element: Any, kind: Kind | None, part: WordPart) -> Iterator[tuple[GapCode, str]]:
    """What stands here and cannot be read."""
    if kind is None or kind in UNSEEN:
        return
    part.pictures += name in ("a:blip", "v:imagedata")
    if name == "w:object":
        yield "embedded-files", "embedded object"
    elif name == "w:subDoc":
        yield "unread-parts", "part outside of the file"
    elif _is_undescribed_picture(name, element):
        part.large.append(element)


def _is_undescribed_picture(name: str, element: Any) -> bool:
    """Whether a picture that stands for a page begins here, in the form of newer or of older programs."""
    if name == "wp:docPr":
        return not _is_described(element.get("descr") or "") and _is_large_picture(element.getparent())
    return name == "v:imagedata" and _is_large_shape(element.getparent())


def _is_described(text: str) -> bool:
    """Whether somebody said what a picture shows. Programs guess it, and say that they did."""
    return bool(text.strip()) and not any(each in text.casefold() for each in _GUESSED)


def _is_large_picture(drawing: Any) -> bool:
    names = {name_of(each): each for each in drawing.iter()}
    extent = names.get("wp:extent")
    if extent is None or "a:blip" not in names:
        return False
    sides = (extent.get("cx") or "0", extent.get("cy") or "0")
    return all(map(str.isdecimal, sides)) and int(sides[0]) * int(sides[1]) >= PICTURE_EMU2_MIN


def _is_large_shape(shape: Any) -> bool:
    """A picture in the form of older programs. That of an embedded object stands for it, and is named with it."""
    if _is_described(shape.get("alt") or "") or any(name_of(each) == "w:object" for each in shape.iterancestors()):
        return False
    area = 1.0
    sides = {each[0].lower(): each for each in _SIZE.findall(shape.get("style") or "")}
    for side in ("width", "height"):
        _, number, unit = sides.get(side, ("", "0", ""))
        area *= float(number) * _UNITS_EMU[unit.lower()] if number.replace(".", "", 1).isdecimal() else 0
    return area >= PICTURE_EMU2_MIN


def _kind(name: str, element: Any, above: Kind | None, styles: WordStyles) -> Kind | None:
    """None for properties, in which there is no text."""
    if above is None or (name.startswith("w:") and name.endswith(("Pr", "PrChange", "PrEx"))):
        return None
    if above in UNSEEN:
        return above
    if name in _UNSEEN_ELEMENTS:
        return _UNSEEN_ELEMENTS[name]
    if name in ("mc:Choice", "mc:Fallback") and element is not choose(element.getparent()):
        return "copy"
    if name in ("w:tr", "w:tc") and _is_deleted(element):
        return "deleted"
    if name == "m:phant" and is_phantom(element):
        return "hidden"
    if (name == "w:r" and styles.is_hidden(element)) or (name == "w:tr" and flag(element, "w:trPr", "w:hidden")):
        return "hidden"
    return _KINDS.get(name, above) if above in _PLAIN or name == "w:ffData" else above


def _is_deleted(element: Any) -> bool:
    """A row or cell whose deletion is tracked."""
    for properties in element:
        if name_of(properties) in ("w:trPr", "w:tcPr"):
            return any(name_of(each) in ("w:del", "w:cellDel") for each in properties)
    return False


_KNOWN_NAMESPACES = (
    "http://schemas.microsoft.com/office/",
    "http://schemas.openxmlformats.org/",
    "http://purl.oclc.org/ooxml/",
    "urn:schemas-microsoft-com:",
)
"""How the names of what Office knows begin. Whatever else a form requires is an extension of another program."""


def choose(alternatives: Any) -> Any:
    """Which of several forms of the same is read: the first that says something, else the first, of those for which
    programs know all that they require."""
    forms = [each for each in alternatives if name_of(each) == "mc:Fallback" or _is_known(each)]
    for each in forms:
        if any(name_of(inner) in _SAY or inner.get("descr") for inner in each.iter()):
            return each
    return forms[0] if forms else None


def _is_known(choice: Any) -> bool:
    if name_of(choice) != "mc:Choice":
        return False
    required = (choice.get("Requires") or "").split()
    return all((choice.nsmap.get(prefix) or "").startswith(_KNOWN_NAMESPACES) for prefix in required)


def find_texts(part: WordPart, element: Any) -> Iterator[tuple[Kind, str]]:
    """Text that hangs on an element, with its kind."""
    own = part.kinds[element]
    if own is None:
        return
    name = name_of(element)
    if element in part.shown:
        yield own, part.shown[element]
    elif name in LEAVES:
        text = element.text or ""
        yield own, text if not name.startswith("w:") or _keeps_space(element, text) else text.strip()
    elif name in VALUES:
        yield own, value_of_chart(element)
    elif name == "w:fldSimple" and not len(element):
        yield own, show_field(value(element, "instr") or "")
    elif name == "w:noBreakHyphen":
        yield own, "-"
    elif name == "w:sym":
        yield own, symbol(value(element, "font") or "", value(element, "char") or "")
    elif name == "wp:docPr" or (name == "cNvPr" and element.get("descr") != _description_around(element)):
        yield own, element.get("descr") or ""
    elif name == "v:textpath":
        yield own, element.get("string") or ""
    elif name in ("v:shape", "v:rect", "v:oval", "v:roundrect"):
        yield "description" if own in _PLAIN else own, element.get("alt") or ""
    elif name == "w:ffData":
        yield own, _form_value(element)


_SPACE = "{http://www.w3.org/XML/1998/namespace}space"


def _keeps_space(element: Any, text: str) -> bool:
    """Whether blanks at both ends are shown: an element says so, or one around it does."""
    if element.get(_SPACE) == "preserve" or text == text.strip():
        return True
    return any(each.get(_SPACE) == "preserve" for each in element.iterancestors())


def _description_around(element: Any) -> str | None:
    """How the whole drawing is described; programs write it at the one picture in it once more."""
    for each in element.iterancestors():
        if name_of(each) in ("wp:inline", "wp:anchor"):
            return next((inner.get("descr") for inner in each if name_of(inner) == "wp:docPr"), None)
    return None


def _form_value(data: Any) -> str:
    """What a field of a form from before there were controls shows. The text of one is in its runs."""
    for each in data:
        name = name_of(each)
        inner = {name_of(every): every for every in each}
        if name == "w:checkBox":
            state = inner.get("w:checked", inner.get("w:default"))
            return "☒" if state is not None and value(state, "val") not in ("0", "false", "off") else "☐"
        if name == "w:ddList":
            entries = [value(every, "val") or "" for every in each if name_of(every) == "w:listEntry"]
            result = value(inner["w:result"], "val") if "w:result" in inner else "0"
            index = number_of(result)
            return entries[index] if index < len(entries) else ""
    return ""
