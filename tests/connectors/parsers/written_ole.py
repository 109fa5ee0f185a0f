"""Files in the container of the old formats of Office (MS-CFB): mails of Outlook and workbooks, written by their own
rules alone."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

SECTOR, SMALL, SMALL_MAX = 512, 64, 4_096
FREE, END, FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
Storage = Mapping[str, Any]
"""Streams and storages by their names."""


def container(root: Storage) -> bytes:
    """A file of these streams and storages."""
    entries: list[list[Any]] = [["Root Entry", 5, FREE, FREE, b""]]
    _list(root, 0, entries)
    small_fat: list[int] = []
    starts: dict[int, int] = {}
    for own, (_, kind, _, _, content) in enumerate(entries):
        if kind == 2 and 0 < len(content) < SMALL_MAX:
            starts[own] = len(small_fat)
            size = -(-len(content) // SMALL)
            small_fat += _chain(len(small_fat), size)
            entries[0][4] += content.ljust(size * SMALL, b"\0")
    packed_small = struct.pack(f"<{len(small_fat)}I", *small_fat)
    of_small = -(-len(packed_small) // SECTOR)
    of_directory = -(-len(entries) * 128 // SECTOR)
    sizes = [0 if own in starts else -(-len(each[4]) // SECTOR) for own, each in enumerate(entries)]
    of_fat = 1
    while of_fat * SECTOR // 4 < of_fat + of_directory + of_small + sum(sizes):
        of_fat += 1
    fat: list[int] = [FAT] * of_fat + _chain(of_fat, of_directory) + _chain(of_fat + of_directory, of_small)
    directory, streams = b"", b""
    for own, (name, kind, sibling, child, content) in enumerate(entries):
        start = starts.get(own, len(fat) if sizes[own] else END)
        fat += _chain(len(fat), sizes[own])
        streams += b"" if own in starts else content.ljust(sizes[own] * SECTOR, b"\0")
        wide = name.encode("utf-16-le") + b"\0\0"
        told = (wide, len(wide), kind, 1, FREE, sibling, child, b"", 0, 0, 0, start, len(content))
        directory += struct.pack("<64sHBBIII16sIQQIQ", *told)
    fat += [FREE] * (of_fat * SECTOR // 4 - len(fat))
    begin = (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"", 62, 3, 0xFFFE, 9, 6, b"", 0, of_fat, of_fat, 0, SMALL_MAX)
    small = (of_fat + of_directory if of_small else END, of_small, END, 0)
    head = struct.pack("<8s16sHHHHH6sIIIIIIIII", *begin, *small)
    head += struct.pack("<109I", *range(of_fat), *[FREE] * (109 - of_fat))
    packed = struct.pack(f"<{len(fat)}I", *fat) + directory.ljust(of_directory * SECTOR, b"\0")
    return head + packed + packed_small.ljust(of_small * SECTOR, b"\xff") + streams


def _list(storage: Storage, parent: int, entries: list[list[Any]]) -> None:
    before = None
    for name, content in storage.items():
        own = len(entries)
        is_storage = isinstance(content, Mapping)
        entries.append([name, 1 if is_storage else 2, FREE, FREE, b"" if is_storage else content])
        entries[parent if before is None else before][3 if before is None else 2] = own
        before = own
        if is_storage:
            _list(content, own, entries)


def _chain(first: int, size: int) -> list[int]:
    return [*range(first + 1, first + size), END] if size else []


# --- mails ----------------------------------------------------------------------------------------------------------


def mail(
    texts: Mapping[int, str | bytes], *attached: Storage, sent: int = 0, within: bool = False, code: int = 1252
) -> Storage:
    """`texts` by the ids of properties: texts of a byte a letter as bytes, but for the page (0x1013)."""
    facts = [(0x0039, 0x0040, sent)] if sent else []
    facts.append((0x3FFD, 0x0003, code))
    head = bytes(24 if within else 32)
    packed = b"".join(struct.pack("<HHIQ", kind, own, 6, number) for own, kind, number in facts)
    made: dict[str, Any] = {"__properties_version1.0": head + packed}
    for own, text in texts.items():
        kind = "001F" if isinstance(text, str) else "0102" if own in (0x1013, 0x1009, 0x3701) else "001E"
        made[f"__substg1.0_{own:04X}{kind}"] = text.encode("utf-16-le") if isinstance(text, str) else text
    for number, each in enumerate(attached):
        made[f"__attach_version1.0_#{number:08X}"] = each
    return made


def attached_mail(inner: Storage) -> Storage:
    return {"__properties_version1.0": bytes(8), "__substg1.0_3701000D": inner}


def attached_file(content: bytes, kind: str = "text/plain", content_id: str = "") -> Storage:
    texts: dict[int, str | bytes] = {0x3701: content, 0x370E: kind}
    return mail(texts | ({0x3712: content_id} if content_id else {}))


# --- workbooks ------------------------------------------------------------------------------------------------------

Cell = str | float | bool
Rows = Sequence[Sequence[Cell]]


def _record(number: int, content: bytes) -> bytes:
    return struct.pack("<HH", number, len(content)) + content


def _short(text: str) -> bytes:
    return struct.pack("<BB", len(text), 1) + text.encode("utf-16-le")


def workbook(sheets: Mapping[str, Rows], hidden: Sequence[str] = (), formats: Mapping[int, str] | None = None) -> bytes:
    """A workbook in records of Excel 97. Dates are numbers whose style is 1; `formats` are those of further styles."""
    begin = _record(0x0809, struct.pack("<HHHHII", 0x0600, 0x0005, 0x0DBB, 0x07CC, 0x41, 6))
    font = _record(0x0031, struct.pack("<HHHHHBBBB", 200, 0, 0x7FFF, 400, 0, 0, 0, 0, 0) + _short("Arial"))
    texts = sorted({cell for rows in sheets.values() for row in rows for cell in row if isinstance(cell, str)})
    codes = {164: "yyyy-mm-dd", **(formats or {})}
    told = b"".join(
        _record(0x041E, struct.pack("<HHB", own, len(code), 1) + code.encode("utf-16-le"))
        for own, code in codes.items()
    )
    styles = b"".join(
        _record(0x00E0, struct.pack("<HHHBBBBIIH", 0, own, 1, 0, 0, 0, 0, 0, 0, 0)) for own in (0, *codes)
    )
    packed = b"".join(struct.pack("<HB", len(each), 1) + each.encode("utf-16-le") for each in texts)
    shared = _record(0x00FC, struct.pack("<II", len(texts), len(texts)) + packed)
    pages = [_sheet(rows, texts) for rows in sheets.values()]
    size = len(begin + font * 5 + told + styles + shared) + 4
    size += sum(len(_record(0x0085, bytes(6) + _short(name))) for name in sheets)
    bounds, at = b"", size
    for name, page in zip(sheets, pages, strict=True):
        bounds += _record(0x0085, struct.pack("<IBB", at, int(name in hidden), 0) + _short(name))
        at += len(page)
    stream = begin + font * 5 + told + styles + bounds + shared + _record(0x000A, b"") + b"".join(pages)
    return container({"Workbook": stream})


def _sheet(rows: Rows, texts: Sequence[str]) -> bytes:
    begin = _record(0x0809, struct.pack("<HHHHII", 0x0600, 0x0010, 0x0DBB, 0x07CC, 0x41, 6))
    cells = b""
    for at, row in enumerate(rows):
        for column, cell in enumerate(row):
            style = 1 if isinstance(cell, float) and cell > 40_000 else 0
            place = struct.pack("<HHH", at, column, style)
            if isinstance(cell, bool):
                cells += _record(0x0205, place + struct.pack("<BB", cell, 0))
            elif isinstance(cell, str):
                cells += _record(0x00FD, place + struct.pack("<I", texts.index(cell))) if cell else b""
            else:
                cells += _record(0x0203, place + struct.pack("<d", cell))
    return begin + cells + _record(0x000A, b"")
