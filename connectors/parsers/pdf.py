"""The text of a PDF, page by page, with what was typed into its forms and written on its pages.

Owns what counts as a page that was read. Text is pypdfium2's; a page of which it decodes nothing (vertical writing) is
read a second time by pypdf, within a bound. Refuses to recognise letters in pictures: which pages are pictures is said,
and what others recognise on them is taken.
"""

from __future__ import annotations

import ctypes
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pypdfium2
from pypdfium2 import raw

from connectors.parsers import Limits, Refusal, Scans
from connectors.parsers.inventory import Inventory, count
from connectors.parsers.pdf_columns import arrange_columns
from connectors.parsers.pdf_notes import read_notes
from connectors.parsers.pdf_objects import (
    PATHS_OF_DRAWING,
    Drawn,
    count_outlines,
    find_layer,
    find_unseen,
    look_at_objects,
    remove,
)
from connectors.parsers.pieces import Piece, find_missing
from connectors.parsers.scans import take_scans

PASSWORD = 4
"""pdfium's FPDF_ERR_PASSWORD."""
SECOND_READER_S = 10.0
"""Time for the second library, over all pages: it is slow, and does not end on some broken files."""
FORM_WITHOUT_PAGES = 2
"""pdfium's FORMTYPE_XFA_FULL: the pages say "please wait", the form is a program."""
LETTERS_FEW = 20
"""Letters and digits of a page that has a number or a date on it, and no text."""
LETTERS_OF_MARGIN = 100
"""Letters and digits of a header and a footer together."""
LETTERS_STAMPED = 600
"""Letters and digits that programs stamp on a scan, at most: licences and footers of a few lines. A page of text has
two or three thousand."""
SHARE_STAMPED = 0.1
"""Part of a page that such letters cover. Letters of a slide are few and large: two hundred of 20 points cover more, so
that a slide with a text on a picture is no scan."""
OUTLINES_OF_PAGE = 300
"""Curved lines of a page that is drawn: letters of a few lines of text."""
SHARE_SOME = 0.1
SHARE_MOST = 0.5
SHARE_WHOLE = 0.8
"""Part of a page that a picture covers."""
DRAWN_ALONE_SHARE = 0.45
"""Objects among the characters of a page, which a guessed space may follow: with more, letters are drawn one by one."""
WORD_LETTERS = 15
"""Letters to a drawn space, at most, where words are parted by drawn spaces."""
SAME_LINE = 1.0
"""Points between two baselines of one line."""
DAMAGED_SHARE = 0.1
"""Part of a page's characters that are none: beyond it the page is not readable."""

_DAMAGED = re.compile("[\0\x01\x03-\x08\x0b\x0c\x0e-\x1f\ufffd\ue000-\uf8ff]")
_GLYPHS = re.compile(r"(?:/[A-Za-z]{1,8}\d+){3}")
"""Names of glyphs in the place of letters."""
_NO_TITLE = re.compile(
    r"(?:untitled|(?:new )?document|unnamed|title|slide|book|no ?name|(?:power ?point )?presentation|layout)"
    r"[\s\d._-]*|.*\.(?:docx?|pdf|indd|qxd|tex|dvi|rtf|odt|pptx?|xlsx?|pages|html?)|(?:file|https?):.*|[\W\d_]*",
    re.I,
)
_WRITER = re.compile(r"^microsoft (?:office )?(?:word|power ?point|excel|outlook) - ", re.I)


def read_pdf(path: Path, limits: Limits, inventory: Inventory, scans: Scans) -> tuple[str, list[str]]:
    """Title, and the text of each page. Raises `Refusal` and `PagesWanted`."""
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == PASSWORD:
            raise Refusal("encrypted", "it is protected by a password") from None
        raise Refusal("broken", "it is not a PDF that can be read") from None
    with document:
        pages = len(document)
        if pages == 0:
            raise Refusal("broken", "it has no pages")
        if pages > limits.pages_max:
            raise Refusal("too-many-pages", f"it has {pages} pages, at most {limits.pages_max}")
        document.init_forms()
        title = _clean_title(document.get_metadata_dict().get("Title", ""))
        for _ in range(document.count_attachments()):
            inventory.miss("embedded-files", "attached file")
        if raw.FPDF_GetFormType(document.raw) == FORM_WITHOUT_PAGES:
            inventory.miss("dynamic-form", "form that only some programs show")
        return title, _Reader(path, document, limits, inventory).read(scans)


def _clean_title(title: str) -> str:
    """Nothing where it is what programs put there by themselves."""
    title = _WRITER.sub("", title.strip())
    return "" if _NO_TITLE.fullmatch(title) else title


def _join_letters(page: pypdfium2.PdfPage, text_page: pypdfium2.PdfTextPage) -> str:
    """The text of a page whose letters are drawn one by one, and its spaces too: pdfium drops those, and guesses others
    from the gaps between letters. Empty where spaces are not drawn, or lines do not run from left to right."""
    found: list[str] = []
    spaces, line = 0, None
    for each in page.get_objects(filter=(raw.FPDF_PAGEOBJ_TEXT,)):
        _, turned, _, _, _, baseline = each.get_matrix().get()
        if turned:
            return ""
        letters = _read_object(each.raw, text_page).strip() or " "
        spaces += letters == " "
        if line is not None and abs(baseline - line) > SAME_LINE:
            found.append("\n")
        found.append(letters)
        line = baseline
    text = "".join(found)
    return text if spaces * WORD_LETTERS >= count(text) else ""


def _read_object(each: Any, text_page: pypdfium2.PdfTextPage) -> str:
    size = raw.FPDFTextObj_GetText(each, text_page.raw, None, 0)
    buffer = ctypes.create_string_buffer(size)
    raw.FPDFTextObj_GetText(each, text_page.raw, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    return buffer.raw.decode("utf-16-le", "replace").rstrip("\0")


class _Reader:
    def __init__(self, path: Path, document: pypdfium2.PdfDocument, limits: Limits, inventory: Inventory) -> None:
        self._path = path
        self._document = document
        self._limits = limits
        self._inventory = inventory
        self._pictures: list[int] = []
        self._undecoded: dict[int, int] = {}
        self._damaged: list[int] = []
        self._unnamed: list[int] = []
        self._layers: frozenset[str] | None = None

    def read(self, scans: Scans) -> list[str]:
        texts: list[str] = []
        notes: list[list[str]] = []
        size = 0
        for number in range(1, len(self._document) + 1):
            text, own = self._page_with_notes(number)
            texts.append(text)
            notes.append(own)
            size += len(text) + sum(map(len, own))
            if size > self._limits.text_bytes_max:
                raise Refusal("too-much-text", f"its text has more than {self._limits.text_bytes_max} bytes")
        for number, text in self._read_again():
            if count(text) > count(texts[number - 1]):
                texts[number - 1] = text.strip()
                self._undecoded.pop(number)
        if len(self._damaged) == len(texts):
            raise Refusal("broken", "none of its pages can be read")
        decoded = list(texts)
        room = self._limits.text_bytes_max - sum(len(text.encode()) + 2 for text in texts)
        replaced = self._take_scans(texts, scans, room)
        for number, text in enumerate(decoded, 1):
            if number not in replaced:
                self._inventory.hold("text", text)
                self._inventory.keep("text", text)
        self._inventory.miss_pages(
            "undecoded-text", "text whose letters are not known", {*self._undecoded, *self._unnamed}
        )
        self._inventory.miss_pages("damaged-parts", "content that cannot be read", self._damaged)
        return ["\n\n".join(filter(None, (text, *own))) for text, own in zip(texts, notes, strict=True)]

    def _take_scans(self, texts: list[str], scans: Scans, room: int) -> set[int]:
        """Put what was recognised in the place of text that has no letters, and below text that was stamped on a
        picture, where it says something else. Returns the pages whose text was replaced."""
        replaced: set[int] = set()
        wanted = self._pictures if scans is None else sorted({*self._pictures, *self._undecoded})
        for number, scan in take_scans(wanted, self._limits, self._inventory, scans, room).items():
            text = texts[number - 1]
            if number in self._undecoded and scan:
                self._undecoded.pop(number)
                replaced.add(number)
                text = ""
            if text:
                lines = find_missing(text, (Piece("scan", line) for line in scan.splitlines()))
                scan = "\n".join(piece.text for piece in lines)
            texts[number - 1] = "\n\n".join(filter(None, (text, scan)))
        return replaced

    def _page_with_notes(self, number: int) -> tuple[str, list[str]]:
        try:
            page = self._document[number - 1]
            text = self._page(number, page)
        except pypdfium2.PdfiumError:
            self._damaged.append(number)
            return "", []
        notes = read_notes(self._document, page, self._inventory)
        page.close()
        drawn = self._read_drawn_notes(number, [text, *notes.texts]) if notes.drawn else []
        return text, [*notes.texts, *drawn]

    def _read_drawn_notes(self, number: int, known: list[str]) -> list[str]:
        """Lines that stand on a page when what was drawn upon it becomes a part of it."""
        page = self._document[number - 1]
        is_flat = raw.FPDFPage_Flatten(page.raw, raw.FLAT_NORMALDISPLAY) == raw.FLATTEN_SUCCESS
        page.close()
        if not is_flat:
            return []
        page = self._document[number - 1]
        remove(page, find_unseen(page, look_at_objects(page), self._find_layers))
        text_page = page.get_textpage()
        lines = [line.strip() for line in text_page.get_text_bounded().splitlines()]
        text_page.close()
        page.close()
        pieces = (Piece("note", line) for line in lines if any(map(str.isalnum, line)))
        found = [piece.text for piece in find_missing("\n".join(known), pieces)]
        for each in found:
            self._inventory.hold("note", each)
            self._inventory.keep("note", each)
        return found

    def _remove_unseen(self, page: pypdfium2.PdfPage, drawn: Drawn) -> Drawn:
        unseen = find_unseen(page, drawn, self._find_layers)
        if not unseen:
            return drawn
        before = _count_text(page)
        remove(page, unseen)
        self._inventory.hold("hidden", "x" * max(0, before - _count_text(page)))
        return look_at_objects(page)

    def _find_layers(self) -> frozenset[str]:
        """Names of the layers that are switched off, by the second library; of several of one name all have to be."""
        if self._layers is None:
            self._layers = frozenset()
            try:
                with _limit_time(SECOND_READER_S):
                    self._layers = _layers_off(self._path)
            except Exception:  # whatever it raises: what might be seen counts as seen
                return self._layers
        return self._layers

    def _page(self, number: int, page: pypdfium2.PdfPage) -> str:
        """The text on a page, between its edges. Raises `PdfiumError`."""
        drawn = self._remove_unseen(page, look_at_objects(page))
        text_page = page.get_textpage()
        text: str = text_page.get_text_bounded()
        decoded = text_page.count_chars()
        beyond = count(text_page.get_text_range()) - count(text) if len(text) < decoded else 0
        if beyond > 0:
            self._inventory.hold("outside", "x" * beyond)
        elif drawn.texts > DRAWN_ALONE_SHARE * decoded:
            text = _join_letters(page, text_page) or text
        else:
            text = arrange_columns(page, text_page, text) or text
        unnamed = sum(raw.FPDFText_HasUnicodeMapError(text_page.raw, index) == 1 for index in range(decoded))
        if unnamed >= LETTERS_FEW or unnamed > DAMAGED_SHARE * max(1, count(text)):
            self._unnamed.append(number)
        self._judge(number, drawn, text, decoded)
        if number not in self._pictures and _is_stamped(page, text_page, drawn, text):
            self._pictures.append(number)
        text_page.close()
        return text.strip()

    def _judge(self, number: int, drawn: Drawn, text: str, decoded: int) -> None:
        """Whether a reader sees more than the text."""
        letters = sum(map(str.isalnum, text))
        damaged = len(_DAMAGED.findall(text)) > DAMAGED_SHARE * max(1, count(text))
        if damaged or drawn.flat_texts or (drawn.texts and not decoded):
            self._undecoded[number] = drawn.texts
        covered = (letters < LETTERS_FEW and drawn.share >= SHARE_SOME) or (
            letters < LETTERS_OF_MARGIN and drawn.share >= SHARE_MOST
        )
        bare = not letters and not drawn.texts and (drawn.pictures or drawn.paths >= PATHS_OF_DRAWING)
        if covered or bare:
            self._pictures.append(number)

    def _read_again(self) -> Iterator[tuple[int, str]]:
        """What the second library makes of pages of which the first decodes nothing, as far as time allows. A page of
        spaces is empty, and needs none."""
        if not self._undecoded:
            return
        import pypdf

        found: dict[int, str] = {}
        # Whatever it raises, also before it has opened the file: pages that it has not read stay named.
        with suppress(Exception), _limit_time(SECOND_READER_S):
            reader = pypdf.PdfReader(self._path)
            for number in self._undecoded:
                found[number] = reader.pages[number - 1].extract_text()
        for number, text in found.items():
            if text and not text.strip():
                self._undecoded.pop(number)
            elif not _DAMAGED.search(text) and not _GLYPHS.search(text):
                yield number, text


def _is_stamped(page: pypdfium2.PdfPage, text_page: pypdfium2.PdfTextPage, drawn: Drawn, text: str) -> bool:
    """Whether a page is a picture, or letters drawn as lines, upon which there is some text all the same. What a
    machine has read in the picture is its text."""
    letters = sum(map(str.isalnum, text))
    if letters >= LETTERS_STAMPED or (drawn.share < SHARE_WHOLE and drawn.paths == 0):
        return False
    is_small = _share_of_text(page, text_page) < SHARE_STAMPED
    if drawn.share < SHARE_WHOLE or not is_small:
        outlines = count_outlines(page, OUTLINES_OF_PAGE)
        is_drawn = letters < LETTERS_OF_MARGIN and outlines >= PATHS_OF_DRAWING
        if not is_drawn and not (is_small and outlines >= OUTLINES_OF_PAGE):
            return False
    layer = sum(sum(map(str.isalnum, _read_object(each, text_page))) for each in find_layer(page))
    return layer < LETTERS_FEW


def _share_of_text(page: pypdfium2.PdfPage, text_page: pypdfium2.PdfTextPage) -> float:
    """Part of a page that its letters cover, each as high as its line."""
    left, bottom, right, top = page.get_bbox()
    covered = 0.0
    for index in range(text_page.count_chars()):
        x0, y0, x1, y1 = text_page.get_charbox(index, loose=True)
        covered += max(0.0, x1 - x0) * max(0.0, y1 - y0)
    area = (right - left) * (top - bottom)
    return covered / area if area > 0 else 0.0


def _count_text(page: pypdfium2.PdfPage) -> int:
    text_page = page.get_textpage()
    number = count(text_page.get_text_bounded())
    text_page.close()
    return number


def _layers_off(path: Path) -> frozenset[str]:
    import pypdf

    properties: Any = pypdf.PdfReader(path).root_object["/OCProperties"].get_object()
    settings: Any = properties["/D"].get_object()
    names = {each.idnum: str(each.get_object().get("/Name", "")) for each in properties["/OCGs"].get_object()}
    shown = {each.idnum for each in settings.get("/ON", pypdf.generic.ArrayObject()).get_object()}
    off = {each.idnum for each in settings.get("/OFF", pypdf.generic.ArrayObject()).get_object()}
    if settings.get("/BaseState") == "/OFF":
        off |= names.keys() - shown
    return frozenset(names[each] for each in off & names.keys()) - {names[each] for each in names.keys() - off}


@contextmanager
def _limit_time(seconds: float) -> Iterator[None]:
    """Raises `TimeoutError` within. Only a main thread can be told so: the parser process reads in its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
