"""The text of a workbook, sheet by sheet.

Owns what a cell shows, in hidden rows, columns and sheets nothing; `cell_formats.py` says how its number looks. Which
cells make a table and which are a heading, `elements` says: it gets a plain copy with the same cells as text, so that
no number is rounded and no word is taken for a missing value on the way. Remarks, text boxes and charts are added.
"""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from connectors.parsers import UNSEEN, Kind, Limits, Refusal
from connectors.parsers.cell_formats import FIRST_DAY, read_formats, show_number, show_text
from connectors.parsers.drawing import find_pieces, measure
from connectors.parsers.elements import make_sheets
from connectors.parsers.inventory import Inventory
from connectors.parsers.markdown import Writer
from connectors.parsers.names import name_of, number_of, value
from connectors.parsers.package import Package, Relationship, relation_of
from connectors.parsers.pieces import Piece, complete, count_pieces
from connectors.parsers.word_kinds import PICTURE_EMU2_MIN

CELLS_MAX = 50_000
"""Most cells in which the library looks for tables, in a third of the time that a document has."""
AS_TEXT = "\u2060"
"""Stands before the text of each cell of the copy: it keeps libraries from making numbers of words."""
_CELL = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
FIRST_DAY_1904 = datetime.datetime(1904, 1, 1, tzinfo=datetime.UTC)
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
"""How characters are written that XML does not hold, and an underscore before such a text."""
_DRAWN = ("chart", "chartEx", "diagramData", "chartUserShapes")
_MARGIN_CODES = re.compile(r'&(?:"[^"]*"|K[0-9A-F]{6}|[0-9]+|[A-Z])')


@dataclass(slots=True)
class ReadSheet:
    """What was read of one sheet."""

    name: str
    kind: Kind
    cells: dict[tuple[int, int], str] = field(default_factory=dict)
    hidden_rows: set[int] = field(default_factory=set)
    hidden_columns: set[int] = field(default_factory=set)
    pieces: list[Piece] = field(default_factory=list)


def read_sheets(package: Package, inventory: Inventory, limits: Limits) -> str:
    """Raises `Refusal`, and what lxml raises when the main part is no XML."""
    main = package.main_part("spreadsheetml")
    if main is None:
        raise Refusal("unsupported-type", "it is no workbook")
    return write_sheets(_Book(package, inventory, main).read(), inventory, limits)


def write_sheets(sheets: list[ReadSheet], inventory: Inventory, limits: Limits) -> str:
    """The text of what was read. Raises `Refusal`."""
    if sum(len(piece.text) for sheet in sheets for piece in sheet.pieces) > limits.text_bytes_max:
        raise Refusal("too-much-text", f"its text has more than {limits.text_bytes_max} characters")
    shown = [sheet for sheet in sheets if any(piece.kind not in UNSEEN for piece in sheet.pieces)]
    cells = sum(len(sheet.cells) for sheet in shown)
    made = make_sheets(_copy(shown)) if 0 < cells <= CELLS_MAX else {}
    blocks: list[str] = []
    for number, sheet in enumerate(shown, 1):
        text = made[number].replace(AS_TEXT, "") if number in made else _make_table(sheet)
        blocks.append(f"# {sheet.name}\n\n{complete(text, sheet.pieces)}")
        sheet.pieces.insert(0, Piece("text", sheet.name))
    text = "\n\n".join(blocks)
    count_pieces([piece for sheet in sheets for piece in sheet.pieces], text, inventory)
    return text


def _copy(sheets: list[ReadSheet]) -> bytes:
    """A workbook with the cells as text, and of empty rows and columns one in the place of many."""
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    for number, sheet in enumerate(sheets, 1):
        page = book.create_sheet(str(number))
        rows = _squeeze({row for row, _ in sheet.cells}, sheet.hidden_rows)
        columns = _squeeze({column for _, column in sheet.cells}, sheet.hidden_columns)
        for row in rows:
            page.append([_mark(sheet.cells.get((row, column), "")) for column in columns])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _make_table(sheet: ReadSheet) -> str:
    """All of a sheet as one table: for what the library stops at, and what would take it too long."""
    columns = _squeeze({column for _, column in sheet.cells}, sheet.hidden_columns)
    writer = Writer()
    writer.open_table()
    for row in _squeeze({row for row, _ in sheet.cells}, sheet.hidden_rows):
        writer.open_row()
        for column in columns:
            writer.open_cell()
            writer.text(sheet.cells.get((row, column), ""))
            writer.close_cell()
    return writer.finish()


def _mark(text: str) -> str | None:
    return AS_TEXT + " ".join(text.split()) if text else None


def _squeeze(numbers: set[int], hidden: set[int]) -> list[int]:
    """The numbers in their order, with one that is not among them (0) where some that are shown are left out."""
    found: list[int] = []
    for number in sorted(numbers):
        gap = range(found[-1] + 1, number) if found else ()
        found += [number] if all(each in hidden for each in gap) else [0, number]
    return found


class _Book:
    def __init__(self, package: Package, inventory: Inventory, main: str) -> None:
        self._package = package
        self._inventory = inventory
        self._root = package.tree(main)
        self._relations = package.relationships(main)
        self._words = [_join(each) for each in self._beside("sharedStrings") if name_of(each) == "si"]
        self._formats = _find_formats(self._beside("styles"))
        early = next((each for each in self._root if name_of(each) == "workbookPr"), None)
        is_1904 = early is not None and early.get("date1904") in ("1", "true")
        self._first_day = FIRST_DAY_1904 if is_1904 else FIRST_DAY

    def read(self) -> list[ReadSheet]:
        sheets: list[ReadSheet] = []
        for each in self._root.iter():
            if name_of(each) != "sheet":
                continue
            relation = self._relations.get(relation_of(each))
            hidden = each.get("state") in ("hidden", "veryHidden")
            sheet = ReadSheet(" ".join((each.get("name") or "").split()), "hidden" if hidden else "text")
            sheets.append(sheet)
            root = self._tree(relation) if relation is not None else None
            if relation is not None and root is not None:
                self._read_cells(sheet, root)
                self._look_beside(sheet, relation.target)
        return sheets

    def _beside(self, kind: str) -> Any:
        relation = next((each for each in self._relations.values() if each.kind == kind), None)
        root = self._tree(relation) if relation is not None else None
        return () if root is None else root

    def _tree(self, relation: Relationship) -> Any:
        try:
            return self._package.tree(relation.target)
        except (etree.XMLSyntaxError, KeyError):
            self._inventory.miss("damaged-parts", f"damaged part ({relation.kind})")
            return None

    def _read_cells(self, sheet: ReadSheet, root: Any) -> None:
        sheet.hidden_columns = {
            number
            for each in root.iter()
            if name_of(each) == "col" and _is_closed(each, "width")
            for number in range(int(each.get("min", 1)), min(int(each.get("max", 1)), 16_384) + 1)
        }
        margins = _find_margins(root)
        row, column, hidden_row = 0, 0, False
        for each in root.iter():
            name = name_of(each)
            if name == "row":
                row, column = number_of(each.get("r"), row + 1), 0
                hidden_row = _is_closed(each, "ht")
                sheet.hidden_rows |= {row} if hidden_row else set()
            elif name == "c":
                row, column = _place(each.get("r"), row, column + 1)
                stored, text = self._show(each)
                hidden = hidden_row or column in sheet.hidden_columns
                if stored.strip() and not text.strip():
                    sheet.pieces.append(Piece("hidden", stored))
                kind: Kind = sheet.kind if sheet.kind in UNSEEN else "hidden" if hidden else "text"
                if text.strip():
                    sheet.pieces.append(Piece(kind, text))
                    if kind not in UNSEEN:
                        sheet.cells[row, column] = text
            elif name in margins:
                shown = _MARGIN_CODES.sub(" ", each.text or "")
                sheet.pieces.append(Piece(sheet.kind if sheet.kind in UNSEEN else "margin", shown))

    def _show(self, cell: Any) -> tuple[str, str]:
        """What a cell holds and what it shows, of a number all digits. Only a format makes the one differ."""
        kind = cell.get("t") or "n"
        held = self._read_held(cell, kind)
        style = number_of(cell.get("s"))
        code = self._formats[style] if style < len(self._formats) else "General"
        if kind == "n" and held:
            return held, show_number(held, code, self._first_day)
        return held, held if kind in ("b", "e", "d") else show_text(held, code)

    def _read_held(self, cell: Any, kind: str) -> str:
        if kind == "inlineStr":
            return "".join(_join(each) for each in cell if name_of(each) == "is")
        stored = next((each.text or "" for each in cell if name_of(each) == "v"), "")
        if not stored:
            # The result of a formula may be a text without characters.
            if kind != "str" and any(name_of(each) == "f" for each in cell):
                self._inventory.miss("uncomputed", "formulas whose results are not in the file")
            return ""
        if kind == "s":
            index = number_of(stored, -1)
            return self._words[index] if 0 <= index < len(self._words) else ""
        if kind == "b":
            return "TRUE" if stored == "1" else "FALSE"
        return _ESCAPED.sub(_unescape, stored) if kind == "str" else stored

    def _look_beside(self, sheet: ReadSheet, part: str) -> None:
        """Remarks, text boxes, charts. A conversation is there a second time, for programs that know none."""
        relations = [each for each in self._package.relationships(part).values() if not each.external]
        talked = any(each.kind == "threadedComment" for each in relations)
        for each in relations:
            kind: Kind = "comment" if each.kind in ("comments", "threadedComment") else "box"
            if each.kind == "comments" and talked:
                kind = "copy"
            kind = sheet.kind if sheet.kind in UNSEEN else kind
            if each.kind in ("oleObject", "package") and sheet.kind not in UNSEEN:
                self._inventory.miss("embedded-files", "embedded object")
            elif each.kind in ("comments", "threadedComment") and (root := self._tree(each)) is not None:
                sheet.pieces += _remarks(root, kind)
            elif each.kind == "drawing" and (root := self._tree(each)) is not None:
                sheet.pieces += find_pieces(root, kind)
                sheet.pieces += self._charts(each.target, sheet.kind)
                for _ in filter(_is_large_picture, root.iter() if kind not in UNSEEN else ()):
                    self._inventory.miss("picture", "large picture on a sheet, without a description")
        for each in relations:
            if each.kind == "vmlDrawing":
                sheet.pieces += self._controls(each, sheet)

    def _controls(self, relation: Relationship, sheet: ReadSheet) -> Iterator[Piece]:
        """Words on buttons and the like, in the form of older programs. Newer ones have them in a drawing as well."""
        root = etree.fromstring(self._package.read(relation.target), parser=etree.XMLParser(recover=True))
        known = {" ".join(piece.text.split()) for piece in sheet.pieces if piece.kind in ("box", "hidden")}
        for shape in root if root is not None else ():
            is_remark = any(each.get("ObjectType") == "Note" for each in shape if isinstance(each.tag, str))
            boxes = [each for each in shape if name_of(each) == "v:textbox" and not is_remark]
            text = " ".join(" ".join(word for box in boxes for word in box.itertext()).split())
            if text and text not in known:
                yield Piece(sheet.kind if sheet.kind in UNSEEN else "form", text)

    def _charts(self, part: str, kind: Kind) -> Iterator[Piece]:
        for each in self._package.relationships(part).values():
            if each.kind in _DRAWN and (root := self._tree(each)) is not None:
                yield from find_pieces(root, kind if kind in UNSEEN else "drawing")
                yield from self._charts(each.target, kind)


def _is_closed(row_or_column: Any, size: str) -> bool:
    """Whether it is hidden, or has no room."""
    if row_or_column.get("hidden") in ("1", "true"):
        return True
    return re.fullmatch(r"0+(?:\.0*)?", row_or_column.get(size) or "") is not None


def _find_margins(root: Any) -> frozenset[str]:
    """Headers and footers of a sheet that are switched on."""
    names = {"oddHeader", "oddFooter"}
    for each in root.iter():
        if name_of(each) == "headerFooter":
            names |= {"evenHeader", "evenFooter"} if each.get("differentOddEven") in ("1", "true") else set()
            names |= {"firstHeader", "firstFooter"} if each.get("differentFirst") in ("1", "true") else set()
    return frozenset(names)


def _is_large_picture(element: Any) -> bool:
    if name_of(element) != "pic" or any(each.get("descr") for each in element.iter() if name_of(each) == "cNvPr"):
        return False
    anchors = (each for each in element.getparent() if name_of(each) == "ext")
    sizes = [(number_of(each.get("cx")), number_of(each.get("cy"))) for each in anchors]
    sizes += [measure(each)[2:] for each in element.iter() if name_of(each) == "a:xfrm"]
    return any(width * height >= PICTURE_EMU2_MIN for width, height in sizes)


def _unescape(escape: re.Match[str]) -> str:
    number = int(escape[1], 16)
    return chr(number) if not 0xD800 <= number <= 0xDFFF else ""


def _remarks(root: Any, kind: Kind) -> Iterator[Piece]:
    for each in root.iter():
        if name_of(each) == "comment":
            yield Piece(kind, _join(each), "> ")
        elif name_of(each) == "threadedComment":
            yield Piece(kind, "".join(inner.text or "" for inner in each if name_of(inner) == "text"), "> ")


def _join(element: Any) -> str:
    """The text of a cell or a remark, without the readings that stand above Japanese."""
    text = "".join(
        each.text or "" for each in element.iter() if name_of(each) == "t" and name_of(each.getparent()) != "rPh"
    )
    return _ESCAPED.sub(_unescape, text)


def _find_formats(styles: Any) -> list[str]:
    """The format of each style of cells."""
    own: dict[int, str] = {}
    formats: list[int] = []
    for each in styles.iter() if not isinstance(styles, tuple) else ():
        name = name_of(each)
        if name == "numFmt":
            own[number_of(value(each, "numFmtId"), -1)] = value(each, "formatCode") or ""
        elif name == "xf" and name_of(each.getparent()) == "cellXfs":
            formats.append(number_of(value(each, "numFmtId"), 0))
    return read_formats(own, formats)


def _place(reference: str | None, row: int, column: int) -> tuple[int, int]:
    """Row and column of a cell; one that does not say follows the one before."""
    found = _CELL.fullmatch(reference or "")
    if found is None:
        return row, column
    number = 0
    for letter in found[1]:
        number = 26 * number + ord(letter) - 64
    return int(found[2]), number
