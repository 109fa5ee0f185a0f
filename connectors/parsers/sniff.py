"""What the bytes of a file are, whatever its name says.

Owns the signatures of what is read and of what often comes instead. Refuses to parse: a ZIP archive's list of parts is
all that it opens. A name decides between kinds of text alone, where bytes cannot.
"""

from __future__ import annotations

import codecs
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from connectors.parsers import Limits, Refusal

PDF: Final = "application/pdf"
DOCX: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
HTML: Final = "text/html"
MARKDOWN: Final = "text/markdown"
PLAIN: Final = "text/plain"

HEAD_BYTES = 4_096
PDF_HEAD_BYTES = 1_024
"""Readers of PDF accept their mark anywhere in here."""
ZIP_PARTS_MAX = 10_000
"""A long document with a picture on each page has a thousand."""
PLAIN_TEXT_BYTES_MAX = 33_554_432
"""Largest text file that is read whole: thirty times the text that a version may have."""

_OTHERS: Sequence[tuple[bytes, str]] = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"{\\rtf", "an RTF document"),
    (b"%!PS", "a PostScript document"),
    (b"SQLite format 3", "a database"),
)
_PACKED: Sequence[tuple[str, str]] = (
    ("xl/workbook.xml", "an Excel workbook"),
    ("ppt/presentation.xml", "a PowerPoint presentation"),
    ("content.xml", "an OpenDocument file"),
    ("META-INF/container.xml", "an e-book"),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_HTML = re.compile(r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.I | re.S)
_TAG = re.compile(r"<(p|div|h[1-6]|ul|ol|table|br|span|article|section)\b[^>]*>", re.I)
_HEADING = re.compile(r"^ {0,3}#{1,6} \S", re.M)


def media_type(path: Path, file_name: str, limits: Limits) -> str:
    """Raises `Refusal` for whatever is none of the five types, encrypted, empty or a trap."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.strip():
        raise Refusal("empty", "the file is empty")
    if b"%PDF-" in head[:PDF_HEAD_BYTES]:
        return PDF
    if head.startswith(b"PK"):
        return _kind_of_archive(path, limits)
    if head.startswith(_OLE):
        raise _of_ole(path)
    for mark, what in _OTHERS:
        if head.startswith(mark):
            raise Refusal("unsupported-type", f"it is {what}")
    return _kind_of_text(read_text(path), file_name)


def read_text(path: Path) -> str:
    """The text of a file without its byte order mark. Raises `Refusal`."""
    if path.stat().st_size > PLAIN_TEXT_BYTES_MAX:
        raise Refusal("too-much-text", f"the text has more than {PLAIN_TEXT_BYTES_MAX} bytes")
    content = path.read_bytes()
    mark, encoding = next(((mark, name) for mark, name in _BOMS if content.startswith(mark)), (b"", "utf-8"))
    if encoding == "utf-8" and b"\0" in content[:HEAD_BYTES]:
        raise Refusal("unsupported-type", "it is neither a document that can be read nor text")
    try:
        return content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise Refusal("invalid-encoding", f"it is not {encoding.upper()}: byte {error.start}") from None


def _kind_of_archive(path: Path, limits: Limits) -> str:
    """Tell DOCX from other ZIP archives. The sizes in its list are held against the bound; one that lies is stopped
    by the parser's memory and time."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise Refusal("broken", "it begins like a ZIP archive, and is none") from None
    names = {part.filename for part in parts}
    if "word/document.xml" not in names:
        what = next((what for name, what in _PACKED if name in names), "a ZIP archive")
        raise Refusal("unsupported-type", f"it is {what}")
    if any(part.flag_bits & 1 for part in parts):
        raise Refusal("encrypted", "its parts are encrypted")
    if len(parts) > ZIP_PARTS_MAX:
        raise Refusal("zip-bomb", f"it has {len(parts)} parts, at most {ZIP_PARTS_MAX}")
    if (unpacked := sum(part.file_size for part in parts)) > limits.unpacked_bytes_max:
        raise Refusal("zip-bomb", f"it has {unpacked} bytes unpacked, at most {limits.unpacked_bytes_max}")
    return DOCX


def _of_ole(path: Path) -> Refusal:
    """A DOCX with a password is packed into the container of the old formats."""
    if _ENCRYPTED_PACKAGE in path.read_bytes():
        return Refusal("encrypted", "it is protected by a password")
    return Refusal("unsupported-type", "it is an Office document of before 2007")


def _kind_of_text(text: str, file_name: str) -> str:
    suffix = Path(file_name).suffix.lower()
    head = text[:HEAD_BYTES]
    if _HTML.match(head) or (suffix in (".html", ".htm", ".xhtml") and _TAG.search(head)):
        return HTML
    if suffix in (".md", ".markdown") or _HEADING.search(head):
        return MARKDOWN
    return PLAIN
