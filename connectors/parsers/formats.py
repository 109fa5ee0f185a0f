"""Text of each type, as Markdown, because headings and lists are where passages begin and end.

Owns which reader a type has, and what holds for all of them: the bound on text, what cannot be shown, the title.
Markdown and plain text stay as they are; the modules beside this one read the others. Runs in the parser process;
raises `Refusal`, `PagesWanted`, and whatever else a library raises on bytes that it cannot read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from lxml import etree

from connectors.parsers import TITLE_CHARS_MAX, Limits, Parsed, ParseRequest, Refusal, Scans
from connectors.parsers.asciidoc import read_asciidoc
from connectors.parsers.book import read_book
from connectors.parsers.charset import decode_page
from connectors.parsers.inventory import Inventory
from connectors.parsers.mail import read_mail
from connectors.parsers.markdown import Writer
from connectors.parsers.package import Package
from connectors.parsers.pdf import read_pdf
from connectors.parsers.sheets import read_sheets
from connectors.parsers.site import read_site_page
from connectors.parsers.slides import read_slides
from connectors.parsers.sniff import (
    ASCIIDOC,
    DOCX,
    EPUB,
    HTML,
    JPEG,
    MAIL,
    MSG,
    PDF,
    PNG,
    PPTX,
    RESTRUCTURED,
    TIFF,
    WEBP,
    XLS,
    XLSX,
    read_bytes,
    read_text,
)
from connectors.parsers.web import read_page
from connectors.parsers.word import read_word

_UNPRINTABLE = re.compile("[\x01-\x08\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_BETWEEN = re.compile("[\0\x0b\x0c]")
"""What stands between two words where a file has no other blank."""
_TERMINAL = re.compile("\x1b(?:\\[[0-9;:?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)|[()][0-9A-B])")
"""Colours and the like in what a terminal showed."""
_OVERSTRUCK = re.compile("[^\n\x08]\x08")
"""What a printer strikes over: manuals write a bold letter twice, and an underlined one after a line."""
_UNSHOWN = re.compile("[\u00ad\u200b\u2060\ufeff]")
"""Where a word may be broken, or may not: within it, the search would not find the word."""
_SHOWN = re.compile("[^\\s\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
"""Neither a blank nor a sign that only says how others are written."""
_FIRST_HEADING = re.compile(r"^ {0,3}# +(.+?)#* *$", re.M)
_NOTE_MARK = re.compile(r"\[\^\d+\]")
_DUBLIN_CORE = "http://purl.org/dc/elements/1.1/"


class _Found(NamedTuple):
    """What a reader found. `parts`: the text of each page, where the type has `pages`; else one."""

    title: str
    parts: Sequence[str]
    pages: int | None = None


def parse(path: Path, media_type: str, request: ParseRequest) -> Parsed:
    """Raises `Refusal`, and `PagesWanted` for pages of which the request's `scans` do not tell."""
    limits = request.limits
    if request.url and media_type == HTML:
        return _parse_site_page(path, request)
    inventory = Inventory()
    if media_type == PDF:
        title, parts = read_pdf(path, limits, inventory, request.scans)
        found = _Found(title, parts, len(parts))
    elif media_type in _PICTURES:
        found = _picture(path, media_type, limits, inventory, request.scans)
    elif media_type in _WITH_PICTURES:
        found = _WITH_PICTURES[media_type](path, limits, inventory, request.scans)
    else:
        found = _READERS.get(media_type, _text)(path, limits, inventory)
    text, starts = _join(found.parts)
    _require_room(text, limits)
    if not _SHOWN.search(text):
        raise _say_why_empty(media_type, inventory)
    return Parsed(
        media_type=media_type,
        title=_title(found.title, text, request.file_name),
        text=text,
        pages=found.pages,
        counts=inventory.counts(),
        gaps=inventory.gaps(),
        starts=() if found.pages is None else starts,
    )


def _parse_site_page(path: Path, request: ParseRequest) -> Parsed:
    """A page that has only links is one, too."""
    found = read_site_page(decode_page(read_bytes(path)), request.url)
    text, _ = _join([_UNSHOWN.sub("", found.text)])
    _require_room(text, request.limits)
    return Parsed(HTML, _title(found.title, text, request.file_name), text, site=found.facts)


def _require_room(text: str, limits: Limits) -> None:
    if (size := len(text.encode())) > limits.text_bytes_max:
        raise Refusal("too-much-text", f"its text has {size} bytes, at most {limits.text_bytes_max}")


def _join(parts: Sequence[str]) -> tuple[str, tuple[int, ...]]:
    """The text, and where each part begins in it, in characters. An empty part begins where the one before ends."""
    texts: list[str] = []
    starts: list[int] = []
    end = 0
    for part in parts:
        part = _BETWEEN.sub(" ", part.replace("\r\n", "\n").replace("\r", "\n"))
        part = _UNPRINTABLE.sub("", part)
        end += 2 if part and texts else 0
        starts.append(end)
        end += len(part)
        texts += [part] if part else []
    return "\n\n".join(texts), tuple(starts)


def _say_why_empty(media_type: str, inventory: Inventory) -> Refusal:
    unseen = sum(each.held for kind, each in inventory.counts().items() if kind in ("hidden", "outside"))
    details = [gap.detail for gap in inventory.gaps()]
    said = "; ".join([*details, f"{unseen} characters that nobody sees"] if unseen else details)
    if (
        media_type == PDF
        or media_type in _PICTURES
        or any(gap.code in ("picture-pages", "picture") for gap in inventory.gaps())
    ):
        return Refusal("no-text", f"there is no text in it: {said}" if said else "there is no text in it")
    return Refusal("empty", f"it has no text: {said}" if said else "it has no text")


def _title(found: str, text: str, file_name: str) -> str:
    """What the document calls itself, else its first heading, else its file's name."""
    heading = _FIRST_HEADING.search(text[:65_536])
    candidates = (found, _NOTE_MARK.sub("", heading[1]) if heading else "", Path(file_name).stem, file_name)
    shown = (" ".join(_UNPRINTABLE.sub("", each).split())[:TITLE_CHARS_MAX] for each in candidates)
    return next(filter(None, shown), "document")


def _text(path: Path, limits: Limits, inventory: Inventory) -> _Found:
    del limits
    found = read_text(path)
    text = _OVERSTRUCK.sub("", _TERMINAL.sub("", found.text))
    inventory.hold("text", text)
    inventory.keep("text", text)
    if not found.exact:
        for _ in range(text.count("\ufffd")):
            inventory.miss("damaged-parts", "bytes that are no text")
    return _Found("", [text])


def _docx(path: Path, limits: Limits, inventory: Inventory, scans: Scans) -> _Found:
    writer = Writer()
    with closing(Package(path, limits)) as package:
        read_word(package, inventory, writer, limits, scans=scans)
        return _Found(_core_title(package), [_UNSHOWN.sub("", writer.finish())])


def _pptx(path: Path, limits: Limits, inventory: Inventory, scans: Scans) -> _Found:
    with closing(Package(path, limits)) as package:
        slides = read_slides(package, inventory, limits, scans)
        return _Found(_core_title(package), [_UNSHOWN.sub("", text) for text in slides], len(slides))


def _xlsx(path: Path, limits: Limits, inventory: Inventory) -> _Found:
    with closing(Package(path, limits)) as package:
        return _Found(_core_title(package), [_UNSHOWN.sub("", read_sheets(package, inventory, limits))])


def _core_title(package: Package) -> str:
    """What the properties of a document call it. Damaged properties are none."""
    for each in package.relationships("").values():
        if each.kind == "core-properties" and package.has(each.target):
            with suppress(etree.XMLSyntaxError):
                found = package.tree(each.target).find(f"{{{_DUBLIN_CORE}}}title")
                return (found.text or "") if found is not None else ""
    return ""


def _rst(path: Path, limits: Limits, inventory: Inventory) -> _Found:
    # It comes with a second of imports, which few documents need.
    from connectors.parsers.restructured import read_restructured

    del limits
    title, text = read_restructured(read_text(path).text, inventory)
    return _Found(title, [_UNSHOWN.sub("", text)])


def _asciidoc(path: Path, limits: Limits, inventory: Inventory) -> _Found:
    del limits
    return _Found("", [read_asciidoc(read_text(path).text, inventory)])


def _epub(path: Path, limits: Limits, inventory: Inventory) -> _Found:
    with closing(Package(path, limits)) as package:
        title, text = read_book(package, inventory, limits)
        return _Found(title, [_UNSHOWN.sub("", text)])


def _html(path: Path, limits: Limits, inventory: Inventory) -> _Found:
    del limits
    writer = Writer()
    title = read_page(decode_page(read_bytes(path)), inventory, writer)
    return _Found(title, [_UNSHOWN.sub("", writer.finish())])


def _mail(path: Path, limits: Limits, inventory: Inventory) -> _Found:
    del limits
    subject, text = read_mail(read_bytes(path), inventory)
    return _Found(subject, [_UNSHOWN.sub("", text)])


def _msg(path: Path, limits: Limits, inventory: Inventory) -> _Found:
    # Few documents need these two, and each brings a library.
    from connectors.parsers.outlook import read_outlook

    del limits
    subject, text = read_outlook(path, inventory)
    return _Found(subject, [_UNSHOWN.sub("", text)])


def _xls(path: Path, limits: Limits, inventory: Inventory) -> _Found:
    from connectors.parsers.old_sheets import read_old_sheets

    return _Found("", [_UNSHOWN.sub("", read_old_sheets(path, inventory, limits))])


def _picture(path: Path, media_type: str, limits: Limits, inventory: Inventory, scans: Scans) -> _Found:
    from connectors.parsers.pictures import read_pictures

    pages = read_pictures(path, media_type, limits, inventory, scans)
    return _Found("", pages, len(pages))


_PICTURES = (PNG, JPEG, TIFF, WEBP)
_WITH_PICTURES: Mapping[str, Callable[[Path, Limits, Inventory, Scans], _Found]] = {DOCX: _docx, PPTX: _pptx}
_READERS: Mapping[str, Callable[[Path, Limits, Inventory], _Found]] = {
    XLSX: _xlsx,
    EPUB: _epub,
    RESTRUCTURED: _rst,
    ASCIIDOC: _asciidoc,
    HTML: _html,
    MAIL: _mail,
    MSG: _msg,
    XLS: _xls,
}
