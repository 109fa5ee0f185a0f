"""The text of a workbook of before 2007 (XLS), sheet by sheet.

Owns what a cell of it shows, by the library that reads its records; what becomes of the cells is as for other workbooks
(`sheets`). Hidden sheets, rows and columns are counted and left out. Text boxes, charts and margins are not read: the
library passes over them.
"""

from __future__ import annotations

import datetime
import io
from pathlib import Path
from typing import Any

import xlrd

from connectors.parsers import Kind, Limits, Refusal
from connectors.parsers.cell_formats import FIRST_DAY, show_number, show_text
from connectors.parsers.inventory import Inventory
from connectors.parsers.pieces import Piece
from connectors.parsers.sheets import FIRST_DAY_1904, ReadSheet, write_sheets

_LOCKED = "encrypted"
_ERRORS = xlrd.error_text_from_code


def read_old_sheets(path: Path, inventory: Inventory, limits: Limits) -> str:
    """Raises `Refusal`, and what the library raises for records that it does not understand."""
    if path.stat().st_size > limits.unpacked_bytes_max:
        raise Refusal("too-large", f"the workbook has more than {limits.unpacked_bytes_max} bytes")
    try:
        # Ragged: a lone cell far below would fill all that is above it with empty ones.
        options = {"formatting_info": True, "on_demand": True, "ragged_rows": True}
        with xlrd.open_workbook(str(path), logfile=io.StringIO(), **options) as book:
            first_day = FIRST_DAY_1904 if book.datemode else FIRST_DAY
            sheets = [_read(book, number, first_day) for number in range(book.nsheets)]
    except xlrd.XLRDError as error:
        if _LOCKED in str(error).lower():
            raise Refusal("encrypted", "it is protected by a password") from None
        raise Refusal("broken", "its records are not those of a workbook") from None
    return write_sheets(sheets, inventory, limits)


def _read(book: Any, number: int, first_day: datetime.datetime) -> ReadSheet:
    page = book.sheet_by_index(number)
    found = ReadSheet(" ".join(page.name.split()), "hidden" if page.visibility else "text")
    found.hidden_rows = {row + 1 for row, facts in page.rowinfo_map.items() if facts.hidden}
    found.hidden_columns = {column + 1 for column, facts in page.colinfo_map.items() if facts.hidden}
    for row in range(page.nrows):
        for column in range(page.row_len(row)):
            stored, text = _show(book, page.cell(row, column), first_day)
            hidden = row + 1 in found.hidden_rows or column + 1 in found.hidden_columns
            kind: Kind = "hidden" if hidden or found.kind == "hidden" else "text"
            if stored.strip() and not text.strip():
                found.pieces.append(Piece("hidden", stored))
            elif text.strip():
                found.pieces.append(Piece(kind, text))
                if kind == "text":
                    found.cells[row + 1, column + 1] = text
    for note in page.cell_note_map.values():
        found.pieces.append(Piece("hidden" if found.kind == "hidden" else "comment", note.text, "> "))
    book.unload_sheet(number)
    return found


def _show(book: Any, cell: Any, first_day: datetime.datetime) -> tuple[str, str]:
    """What a cell holds, and what it shows."""
    if cell.ctype in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK):
        return "", ""
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        shown = "TRUE" if cell.value else "FALSE"
        return shown, shown
    if cell.ctype == xlrd.XL_CELL_ERROR:
        shown = _ERRORS.get(cell.value, "#N/A")
        return shown, shown
    style = book.xf_list[cell.xf_index] if cell.xf_index is not None and cell.xf_index < len(book.xf_list) else None
    known = book.format_map.get(style.format_key) if style is not None else None
    code = known.format_str if known is not None else "General"
    if cell.ctype == xlrd.XL_CELL_TEXT:
        return cell.value, show_text(cell.value, code)
    stored = repr(cell.value)
    return stored, show_number(stored, code, first_day)
