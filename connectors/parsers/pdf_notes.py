"""What was typed into the forms of a PDF and written on its pages.

Owns which annotations a reader sees, and what each of them says. Refuses to draw: where only the looks of one have
words, the caller is told.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pypdfium2
from pypdfium2 import raw

from connectors.parsers import Kind
from connectors.parsers.inventory import Inventory
from connectors.parsers.markdown import Writer
from connectors.parsers.web import read_page

_SEEN_NOTES = frozenset((*range(raw.FPDF_ANNOT_TEXT, raw.FPDF_ANNOT_TEXT + 1), *range(3, 16)))
"""Kinds of annotations whose contents a reader sees: notes, free text, marks, drawings, stamps, and carets."""
_HIDDEN_FLAGS = raw.FPDF_ANNOT_FLAG_HIDDEN | raw.FPDF_ANNOT_FLAG_NOVIEW
_SECRET_FIELD = 1 << 13
"""A field for a password."""
_SHOWS_TEXT = re.compile(r"\b(?:Tj|TJ|Do)\b|[)>\]]\s*['\"]")
"""What draws text, or another drawing in which there may be some."""


@dataclass(slots=True)
class Notes:
    """What notes and fields say, and whether the looks of others may say more."""

    texts: list[str] = field(default_factory=list)
    drawn: bool = False

    def add(self, text: str | None) -> None:
        if text is None:
            self.drawn = True
        elif text:
            self.texts.append(text)


def read_notes(document: pypdfium2.PdfDocument, page: pypdfium2.PdfPage, inventory: Inventory) -> Notes:
    """What was typed into the fields of a page, and written on it."""
    notes = Notes()
    for index in range(raw.FPDFPage_GetAnnotCount(page.raw)):
        annotation = raw.FPDFPage_GetAnnot(page.raw, index)
        if not annotation:
            continue
        try:
            notes.add(_annotation(document, annotation, inventory))
        finally:
            raw.FPDFPage_CloseAnnot(annotation)

    return notes


def _annotation(document: pypdfium2.PdfDocument, annotation: Any, inventory: Inventory) -> str | None:
    """Its text, empty for one that says nothing; None where only its looks may say something."""
    subtype = raw.FPDFAnnot_GetSubtype(annotation)
    hidden = bool(raw.FPDFAnnot_GetFlags(annotation) & _HIDDEN_FLAGS)
    if subtype == raw.FPDF_ANNOT_FILEATTACHMENT and not hidden:
        inventory.miss("embedded-files", "attached file")
    kind: Kind = "form" if subtype == raw.FPDF_ANNOT_WIDGET else "note"
    text = ""
    if subtype == raw.FPDF_ANNOT_WIDGET and document.formenv is not None:
        form = document.formenv.raw
        hidden |= bool(raw.FPDFAnnot_GetFormFieldFlags(form, annotation) & _SECRET_FIELD)
        text = _field_value(form, annotation)
    elif subtype in _SEEN_NOTES:
        text = _entry(annotation, b"Contents").strip() or _plain(_entry(annotation, b"RC"))
    inventory.hold("hidden" if hidden else kind, text)
    if hidden or not text.strip():
        return "" if hidden or subtype == raw.FPDF_ANNOT_POPUP or not _draws_text(annotation) else None
    inventory.keep(kind, text)
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if subtype in (raw.FPDF_ANNOT_WIDGET, raw.FPDF_ANNOT_FREETEXT):
        return text
    author = " ".join(_entry(annotation, b"T").split())
    return "> " + (f"{author}: " if author else "") + text.replace("\n", "\n> ")


def _draws_text(annotation: Any) -> bool:
    looks = _wide(lambda *to: raw.FPDFAnnot_GetAP(annotation, raw.FPDF_ANNOT_APPEARANCEMODE_NORMAL, *to))
    return _SHOWS_TEXT.search(looks) is not None


def _plain(rich: str) -> str:
    """The words of a note with fonts and colours."""
    writer = Writer()
    if rich.strip():
        read_page(rich, Inventory(), writer)
    return writer.finish()


def _field_value(form: Any, annotation: Any) -> str:
    """What a field shows."""
    kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
    if kind in (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON):
        if not raw.FPDFAnnot_IsChecked(form, annotation):
            return ""
        name = _wide(lambda *to: raw.FPDFAnnot_GetFormFieldAlternateName(form, annotation, *to))
        return f"☒ {name or _wide(lambda *to: raw.FPDFAnnot_GetFormFieldName(form, annotation, *to))}"
    if kind == raw.FPDF_FORMFIELD_LISTBOX:
        options = range(max(0, raw.FPDFAnnot_GetOptionCount(form, annotation)))
        chosen = [index for index in options if raw.FPDFAnnot_IsOptionSelected(form, annotation, index)]
        if chosen:
            return ", ".join(_option(form, annotation, index) for index in chosen)
    if kind in (raw.FPDF_FORMFIELD_TEXTFIELD, raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX):
        return _wide(lambda *to: raw.FPDFAnnot_GetFormFieldValue(form, annotation, *to))
    return ""


def _option(form: Any, annotation: Any, index: int) -> str:
    return _wide(lambda *to: raw.FPDFAnnot_GetOptionLabel(form, annotation, index, *to))


def _entry(annotation: Any, key: bytes) -> str:
    return _wide(lambda *to: raw.FPDFAnnot_GetStringValue(annotation, key, *to))


def _wide(get: Callable[..., int]) -> str:
    """A string as pdfium gives it: first its size in bytes, then UTF-16 with two bytes of zero at its end."""
    size = get(None, 0)
    if size <= 2:
        return ""
    buffer = ctypes.create_string_buffer(size)
    get(ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    return buffer.raw[: size - 2].decode("utf-16-le", "replace")
