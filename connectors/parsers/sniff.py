"""What the bytes of a file are, whatever its name says.

Owns the signatures of what is read and of what often comes instead. Refuses to parse: of an archive it looks at
the list of parts, and at how they hang together. A name decides between kinds of text alone, where bytes cannot.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from connectors.parsers import Limits, Refusal
from connectors.parsers.asciidoc import looks_like_asciidoc
from connectors.parsers.package import Family, Package
from runtime.decoding import Decoded, decode

PDF: Final = "application/pdf"
DOCX: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX: Final = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
MAIL: Final = "message/rfc822"
PNG: Final = "image/png"
JPEG: Final = "image/jpeg"
TIFF: Final = "image/tiff"
WEBP: Final = "image/webp"
HTML: Final = "text/html"
MARKDOWN: Final = "text/markdown"
RESTRUCTURED: Final = "text/x-rst"
ASCIIDOC: Final = "text/asciidoc"
PLAIN: Final = "text/plain"
EPUB: Final = "application/epub+zip"
MSG: Final = "application/vnd.ms-outlook"
XLS: Final = "application/vnd.ms-excel"

HEAD_BYTES = 4_096
PDF_HEAD_BYTES = 1_024
"""Readers of PDF accept their mark anywhere in here."""
PLAIN_TEXT_BYTES_MAX = 33_554_432
"""Largest text file that is read whole: thirty times the text that a version may have."""

_PICTURES: Sequence[tuple[bytes, str]] = (
    (b"\x89PNG", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
)
_OTHERS: Sequence[tuple[bytes, str]] = (
    (b"GIF8", "a GIF picture"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"%!PS", "a PostScript document"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"OggS", "a sound or a film"),
    (b"ID3", "a sound"),
    (b"fLaC", "a sound"),
    (b"\x1aE\xdf\xa3", "a film"),
    (b"SQLite format 3", "a database"),
)
_LATER: Sequence[tuple[int, bytes, str]] = (
    (8, b"WAVE", "a sound"),
    (8, b"AVI ", "a film"),
    (4, b"ftyp", "a film or a picture"),
    (257, b"ustar", "a tar archive"),
)
"""Marks that stand behind the size of what follows."""
_RTF = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{\\rtf")
_XML_OF_OFFICE: Sequence[tuple[bytes, str]] = (
    (b"urn:oasis:names:tc:opendocument:xmlns:office", "an OpenDocument file as one file of XML"),
    (b"http://schemas.microsoft.com/office/2006/xmlPackage", "an Office document as one file of XML"),
    (b"http://schemas.microsoft.com/office/word/2003/wordml", "a Word document as one file of XML"),
    (b"urn:schemas-microsoft-com:office:spreadsheet", "an Excel workbook as one file of XML"),
)
_PACKED: Sequence[tuple[str, str]] = (
    ("xl/workbook.bin", "an Excel workbook in its binary form"),
    ("content.xml", "an OpenDocument file"),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_OF_OLE: Sequence[tuple[str, str]] = ((MSG, "__properties_version1.0"), (XLS, "workbook"), (XLS, "book"))
_OTHERS_OF_OLE: Sequence[tuple[str, str]] = (
    ("worddocument", "a Word document of before 2007"),
    ("powerpoint document", "a presentation of before 2007"),
    ("visiodocument", "a drawing of Visio"),
)
"""What is in a container, by the names at its top."""
_FAMILIES: Sequence[tuple[Family, str]] = (
    ("wordprocessingml", DOCX),
    ("presentationml", PPTX),
    ("spreadsheetml", XLSX),
)
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HTML = re.compile(rb"\s*<(!doctype\s+html|html|head|body)\b", re.I)
_BEFORE_HTML = re.compile(rb"\s*(<\?xml[^>]*>|<!--)", re.I)
_TAG = re.compile(rb"<[a-z][a-z0-9-]*\b[^<>]*>", re.I)
_HEADING = re.compile(r"^ {0,3}#{1,6} \S", re.M)
_DIRECTIVE = re.compile(r"^ *\.\. (?:[\w-]+(?::[\w-]+)?::(?: |$)|_[^:\n]+:(?: |$)|\[[#\w]+\] )", re.M)
_UNDERLINED = re.compile(r"^\S.*\n([=~^\"'`*+#:.-])\1{2,}[ \t]*$", re.M)
_FIELD = re.compile(rb"([A-Za-z][A-Za-z0-9-]*):")
_FIELDS_OF_MAIL = frozenset((b"mime-version", b"content-transfer-encoding", b"received", b"message-id", b"return-path"))
_CONTROLS = re.compile(r"[\0-\x06\x0e-\x1a\x1c-\x1f]")
CONTROLS_SHARE_MAX = 0.1
"""Part of a text's characters that are none: beyond it, it is no text."""
DAMAGE_FEW = 8
"""Bytes of one or two letters in another encoding. In a short text they are more than a hundredth, and no reason to
refuse the rest."""
DAMAGE_SHARE_OF_FEW = 0.1
DAMAGE_SHARE_MAX = 0.01
"""Part of a text's characters that are not in its encoding: beyond it, the encoding is another."""


def media_type(path: Path, file_name: str, limits: Limits) -> str:
    """Raises `Refusal` for whatever is none of the types that are read, encrypted, empty or a trap."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.strip():
        raise Refusal("empty", "the file is empty")
    if b"%PDF-" in head[:PDF_HEAD_BYTES]:
        return PDF
    if head.startswith(b"PK"):
        return _kind_of_archive(path, limits)
    if head.startswith(_OLE):
        return _kind_of_ole(path)
    if (picture := _kind_of_picture(head)) is not None:
        return picture
    if (what := _name_other(head)) is not None:
        raise Refusal("unsupported-type", f"it is {what}")
    if _is_mail(head, file_name):
        return MAIL
    return HTML if _is_page(path, head, file_name) else _kind_of_text(read_text(path).text, file_name)


def _kind_of_picture(head: bytes) -> str | None:
    if head.startswith(b"RIFF") and head.startswith(b"WEBP", 8) and b"\0" in head:
        return WEBP
    return next((kind for mark, kind in _PICTURES if head.startswith(mark)), None)


def _name_other(head: bytes) -> str | None:
    """What it is, of what often comes and cannot be read."""
    for mark, what in _OTHERS:
        if head.startswith(mark):
            return what
    for place, mark, what in _LATER:
        if head.startswith(mark, place) and b"\0" in head:
            return what
    if _RTF.match(head):
        return "an RTF document"
    is_xml = head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"<?xml")
    return next((what for name, what in _XML_OF_OFFICE if is_xml and name in head), None)


def read_bytes(path: Path) -> bytes:
    """The bytes of a file that is text of some kind. Raises `Refusal`."""
    if path.stat().st_size > PLAIN_TEXT_BYTES_MAX:
        raise Refusal("too-much-text", f"the text has more than {PLAIN_TEXT_BYTES_MAX} bytes")
    return path.read_bytes()


def read_text(path: Path) -> Decoded:
    """The text of a file without its byte order mark; not exact when a few bytes are damaged. Raises `Refusal`."""
    found = decode(read_bytes(path))
    text = found.text.removeprefix("\ufeff")
    head = text[:HEAD_BYTES]
    if len(_CONTROLS.findall(head)) > CONTROLS_SHARE_MAX * len(head):
        raise Refusal("unsupported-type", "it is neither a document that can be read nor text")
    bad = 0 if found.exact else text.count("\ufffd")
    most = DAMAGE_SHARE_MAX if bad > DAMAGE_FEW else DAMAGE_SHARE_OF_FEW
    if bad > most * len(text):
        raise Refusal("invalid-encoding", f"in no encoding that is known it is a text: as UTF-8, {bad} bytes are none")
    return Decoded(text, found.encoding, found.exact)


def _kind_of_archive(path: Path, limits: Limits) -> str:
    """Tell documents of Office from other ZIP archives."""
    package = Package(path, limits)
    try:
        if package.encrypted:
            raise Refusal("encrypted", "its parts are encrypted")
        for family, kind in _FAMILIES:
            if package.main_part(family) is not None:
                return kind
        if package.has("META-INF/container.xml"):
            return EPUB
        what = next((what for name, what in _PACKED if package.has(name)), "a ZIP archive")
        raise Refusal("unsupported-type", f"it is {what}")
    finally:
        package.close()


def _kind_of_ole(path: Path) -> str:
    """Tell what is in the container of the old formats. A DOCX with a password is packed into one, too."""
    if _ENCRYPTED_PACKAGE in path.read_bytes():
        raise Refusal("encrypted", "it is protected by a password")
    # It comes with half a second of imports, which few documents need.
    import olefile

    try:
        with olefile.OleFileIO(str(path)) as container:
            names = {each[0].lower() for each in container.listdir(streams=True, storages=True)}
    except Exception:  # whatever the library stumbles over
        raise Refusal("broken", "it begins like an Office document of before 2007, and is none") from None
    for kind, own in _OF_OLE:
        if own in names:
            return kind
    what = next((what for own, what in _OTHERS_OF_OLE if own in names), "an Office document of before 2007")
    raise Refusal("unsupported-type", f"it is {what}")


def _is_mail(head: bytes, file_name: str) -> bool:
    """Whether it begins with the head of a mail: somebody may write "Subject", and only programs write others."""
    names: set[bytes] = set()
    for line in head.lstrip().splitlines():
        found = _FIELD.match(line)
        if found is not None:
            names.add(found[1].lower())
        elif not (line.startswith((b" ", b"\t")) or (not names and line.startswith(b"From "))):
            break
    named = Path(file_name).suffix.lower() in (".eml", ".mht", ".mhtml")
    return bool(names) and (named or bool(names & _FIELDS_OF_MAIL))


def _is_page(path: Path, head: bytes, file_name: str) -> bool:
    """Whether it begins like a page, in whatever encoding; comments before it can be long."""
    content = head if len(head) < HEAD_BYTES else read_bytes(path)
    # A page in UTF-16 is one of every second byte.
    content = content.replace(b"\0", b"") if content.startswith(_UTF_16) else content.removeprefix(codecs.BOM_UTF8)
    content = content[2:] if content.startswith(_UTF_16) else content
    # One without a mark begins with a tag, of which every second byte is zero.
    content = content.replace(b"\0", b"") if b"\0" in content[:4] else content
    position = 0
    while before := _BEFORE_HTML.match(content, position):
        end = content.find(b"-->", before.end()) + 3 if before[1] == b"<!--" else before.end()
        if end <= before.start() + 3:
            return False
        position = end
    if _HTML.match(content, position):
        return True
    suffix = Path(file_name).suffix.lower()
    return suffix in (".html", ".htm", ".xhtml") and _TAG.search(content, position, position + HEAD_BYTES) is not None


def _kind_of_text(text: str, file_name: str) -> str:
    suffix = Path(file_name).suffix.lower()
    head = text[:HEAD_BYTES]
    if suffix in (".md", ".markdown") or _HEADING.search(head):
        return MARKDOWN
    if _DIRECTIVE.search(text) or (suffix in (".rst", ".rest") and _UNDERLINED.search(text)):
        return RESTRUCTURED
    if suffix in (".adoc", ".asciidoc") or looks_like_asciidoc(head):
        return ASCIIDOC
    return PLAIN
