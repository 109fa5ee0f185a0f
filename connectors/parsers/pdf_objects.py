"""What is drawn on a page of a PDF, and what of it nobody sees.

Owns the count of texts, lines and pictures, which says whether a page is a picture, and the removal of what is switched
off: layers, and text without ink where there is no picture under it. Refuses to read text.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pypdfium2
from pypdfium2 import raw

FORMS_DEPTH_MAX = 8
"""Drawings within drawings. Writers make two or three."""
PATHS_OF_DRAWING = 20
"""Lines on a page: fewer are a frame."""

SEGMENTS_MAX = 10_000
"""Pieces of lines of one page that are looked at: letters have a dozen each, and plans have hundreds of thousands."""


class Drawn(NamedTuple):
    """What is drawn on a page. `share` is the part of it that pictures cover."""

    texts: int
    flat_texts: int
    paths: int
    pictures: int
    share: float


def look_at_objects(page: pypdfium2.PdfPage) -> Drawn:
    texts = flat = paths = pictures = 0
    covered = 0.0
    left, bottom, right, top = page.get_bbox()
    for index in range(raw.FPDFPage_CountObjects(page.raw)):
        each = raw.FPDFPage_GetObject(page.raw, index)
        kind = raw.FPDFPageObj_GetType(each)
        if kind == raw.FPDF_PAGEOBJ_PATH:
            paths += 1
            continue
        bounds = [ctypes.c_float() for _ in range(4)]
        raw.FPDFPageObj_GetBounds(each, *map(ctypes.byref, bounds))
        x0, y0, x1, y1 = (side.value for side in bounds)
        if kind == raw.FPDF_PAGEOBJ_TEXT:
            texts += 1
            flat += x1 - x0 <= 0 < y1 - y0
        elif kind == raw.FPDF_PAGEOBJ_IMAGE or (kind == raw.FPDF_PAGEOBJ_FORM and _holds_picture(each)):
            pictures += 1
            covered += max(0.0, min(x1, right) - max(x0, left)) * max(0.0, min(y1, top) - max(y0, bottom))
        elif kind == raw.FPDF_PAGEOBJ_FORM:
            paths += raw.FPDFFormObj_CountObjects(each)
    area = (right - left) * (top - bottom)
    return Drawn(texts, flat, paths, pictures, min(1.0, covered / area) if area > 0 else 0.0)


def count_outlines(page: pypdfium2.PdfPage, most: int) -> int:
    """Closed lines with curves on a page, as letters are that somebody turned into drawings; up to `most`."""
    found = looked = 0
    for _, each in _objects(page):
        if raw.FPDFPageObj_GetType(each) != raw.FPDF_PAGEOBJ_PATH:
            continue
        is_curved = False
        for index in range(raw.FPDFPath_CountSegments(each)):
            kind = raw.FPDFPathSegment_GetType(raw.FPDFPath_GetPathSegment(each, index))
            if kind == raw.FPDF_SEGMENT_MOVETO:
                is_curved = False
            elif kind == raw.FPDF_SEGMENT_BEZIERTO and not is_curved:
                is_curved = True
                found += 1
            looked += 1
            if found >= most or looked >= SEGMENTS_MAX:
                return found
    return found


def find_layer(page: pypdfium2.PdfPage) -> Iterator[Any]:
    """Texts that lie upon a picture without ink, or under one: what a machine has read in it."""
    before: list[Any] = []
    for _, each in _objects(page):
        kind = raw.FPDFPageObj_GetType(each)
        if kind == raw.FPDF_PAGEOBJ_TEXT and _is_inkless(each, is_bare=True):
            yield each
        elif kind == raw.FPDF_PAGEOBJ_TEXT:
            before.append(each)
        elif kind == raw.FPDF_PAGEOBJ_IMAGE:
            yield from before
            before.clear()


def _holds_picture(form: Any) -> bool:
    return any(raw.FPDFPageObj_GetType(each) == raw.FPDF_PAGEOBJ_IMAGE for _, each in _within(form, 1))


def find_unseen(page: pypdfium2.PdfPage, drawn: Drawn, find_layers: Callable[[], frozenset[str]]) -> list[Any]:
    """The objects that are not shown, each with the form that it is in. `find_layers` names the layers that are
    switched off; it is asked when there is a layer."""
    # Letters without ink lie upon a scan, or upon letters that are drawn as lines: there, they are what a reader sees.
    is_bare = not drawn.pictures and drawn.paths < PATHS_OF_DRAWING
    is_bare = is_bare and (not drawn.paths or count_outlines(page, PATHS_OF_DRAWING) < PATHS_OF_DRAWING)
    found: list[Any] = []
    gone: set[int] = set()
    for form, each in _objects(page):
        if form is not None and ctypes.addressof(form.contents) in gone:
            gone.add(ctypes.addressof(each.contents))
        elif _is_inkless(each, is_bare=is_bare) or any(name in find_layers() for name in _layers(each)):
            found.append((form, each))
            gone.add(ctypes.addressof(each.contents))
    return found


def remove(page: pypdfium2.PdfPage, unseen: list[Any]) -> None:
    """Take objects off a page. The file stays as it is."""
    for form, each in reversed(unseen):
        if form is None:
            raw.FPDFPage_RemoveObject(page.raw, each)
        else:
            raw.FPDFFormObj_RemoveObject(form, each)
        raw.FPDFPageObj_Destroy(each)


def _objects(page: pypdfium2.PdfPage) -> Iterator[tuple[Any, Any]]:
    for index in range(raw.FPDFPage_CountObjects(page.raw)):
        each = raw.FPDFPage_GetObject(page.raw, index)
        yield None, each
        if raw.FPDFPageObj_GetType(each) == raw.FPDF_PAGEOBJ_FORM:
            yield from _within(each, 1)


def _within(form: Any, depth: int) -> Iterator[tuple[Any, Any]]:
    for index in range(raw.FPDFFormObj_CountObjects(form)):
        each = raw.FPDFFormObj_GetObject(form, index)
        yield form, each
        if depth < FORMS_DEPTH_MAX and raw.FPDFPageObj_GetType(each) == raw.FPDF_PAGEOBJ_FORM:
            yield from _within(each, depth + 1)


def _is_inkless(each: Any, *, is_bare: bool) -> bool:
    is_text = is_bare and raw.FPDFPageObj_GetType(each) == raw.FPDF_PAGEOBJ_TEXT
    return is_text and raw.FPDFTextObj_GetTextRenderMode(each) == raw.FPDF_TEXTRENDERMODE_INVISIBLE


def _layers(each: Any) -> Iterator[str]:
    """The names of the layers on which an object lies."""
    for index in range(raw.FPDFPageObj_CountMarks(each)):
        mark = raw.FPDFPageObj_GetMark(each, index)
        if _name(raw.FPDFPageObjMark_GetName, mark) == "OC":
            yield _name(raw.FPDFPageObjMark_GetParamStringValue, mark, b"Name")


def _name(get: Callable[..., Any], *of: Any) -> str:
    size = ctypes.c_ulong()
    get(*of, None, 0, ctypes.byref(size))
    if size.value <= 2:
        return ""
    buffer = ctypes.create_string_buffer(size.value)
    get(*of, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size.value, ctypes.byref(size))
    return buffer.raw[: size.value - 2].decode("utf-16-le", "replace")
