"""Letters of pictures: what is recognised, on which pages, and what is said of those that are not."""

from __future__ import annotations

import difflib
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image

from connectors.parsers import Limits, PageFault, Parsed, ParseRequest, Refused, Scan, Unread, child
from connectors.parsers.pool import Parsers
from connectors.parsers.reading_order import PlacedLine, arrange, place_lines
from connectors.parsers.scanning import find_script
from tests.connectors.parsers import drawn
from tests.connectors.parsers.test_pool import HOSTILE
from tests.connectors.parsers.written_pdf import Written, line, picture

TENANT = uuid4()
LINES = ["The pump is restarted every third morning.", "Nobody reads the gauge twice, said the engineer."]


@pytest.fixture(scope="module")
def parsers() -> Iterator[Parsers]:
    made = Parsers(Limits(pixels_max=3_000_000, scans_max=4, scan_seconds_max=400))
    yield made
    made.close()


def write(folder: Path, content: bytes) -> Path:
    path = folder / uuid4().hex
    path.write_bytes(content)
    return path


def likeness(text: str, expected: str) -> float:
    return difflib.SequenceMatcher(None, " ".join(text.split()), expected, autojunk=False).ratio()


# --- with the engine ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_a_document_whose_letters_are_recognised(parsers: Parsers, tmp_path: Path, form: str) -> None:
    image = drawn.page(LINES, turn=1.5, specks=500, size=(900, 400))
    answer = parsers.read(TENANT, write(tmp_path, drawn.pack(image, form)), "report.docx")
    assert isinstance(answer, Parsed), answer
    assert likeness(answer.text, " ".join(LINES)) > 0.97
    assert (answer.media_type, answer.pages, answer.starts) == (f"image/{form.lower()}", 1, (0,))
    assert answer.counts["scan"].held == answer.counts["scan"].kept > 60
    assert not answer.partial


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_page_that_lies_on_its_side_or_head_is_read_the_right_way_up(
    parsers: Parsers, tmp_path: Path, degrees: int
) -> None:
    lines = [*LINES, "Each reading goes into a journal."]
    image = drawn.page(lines, size=(900, 400)).rotate(degrees, expand=True)
    scan = parsers.recognise(TENANT, write(tmp_path, drawn.pack(image, "PNG")), "image/png", 1)
    assert isinstance(scan, Scan), scan
    assert likeness(scan.text, " ".join(lines)) > 0.95
    assert scan.script == "Latin"
    assert scan.confidence > 0.9


def test_columns_are_read_one_after_the_other(parsers: Parsers, tmp_path: Path) -> None:
    left = [f"left column line number {number} of it" for number in range(4)]
    right = [f"right column line number {number} of it" for number in range(4)]
    scan = parsers.recognise(TENANT, write(tmp_path, drawn.pack(drawn.columns(left, right), "PNG")), "image/png", 1)
    assert isinstance(scan, Scan), scan
    assert (
        likeness(
            scan.text, " ".join(["A heading that goes from one side of the page to the other side", *left, *right])
        )
        > 0.95
    )


def test_pages_of_a_tiff_are_read_one_by_one_and_one_that_is_too_large_is_named(
    parsers: Parsers, tmp_path: Path
) -> None:
    small = [drawn.page([text], size=(800, 260)) for text in LINES]
    huge = Image.new("1", (2_000, 2_000), 1)
    path = write(tmp_path, drawn.pack(small[0], "TIFF", [huge, small[1]]))
    answer = parsers.read(TENANT, path, "scan.tif")
    assert isinstance(answer, Parsed), answer
    assert likeness(answer.text, " ".join(LINES)) > 0.97
    assert answer.pages == 3
    assert answer.starts == (0, len(LINES[0]), answer.text.index(LINES[1][:6]))
    assert [(gap.code, gap.pages) for gap in answer.gaps] == [("unread-pages", ((2, 2),))]
    assert "4000000 pixels" in answer.gaps[0].detail


def test_only_pages_without_a_text_are_recognised_and_a_stamp_is_there_once(parsers: Parsers, tmp_path: Path) -> None:
    scan = drawn.page(["Only a machine can read this sentence."], size=(800, 1_100))
    path = write(tmp_path, drawn.pack(scan, "PDF"))
    known = parsers.parse(TENANT, path, "x.pdf", ())
    assert isinstance(known, Unread)
    assert known.pages == (1,)
    written = Written()
    written.page(line("A page of text that somebody can read."))
    written.page(picture() + line("Received 12 May", y=20))
    path = write(tmp_path, written.pack())
    assert parsers.parse(TENANT, path, "x.pdf", ()) == Unread("application/pdf", (2,))
    done = (Scan(2, "Dear reader,\nReceived 12 May", 2, 0, 0, 0.9, "Latin"),)
    answer = parsers.parse(TENANT, path, "x.pdf", done)
    assert isinstance(answer, Parsed), answer
    assert answer.text == "A page of text that somebody can read.\n\nReceived 12 May\n\nDear reader,"
    assert answer.starts == (0, 40)
    assert not answer.partial


# --- bounds ---------------------------------------------------------------------------------------------------------


def bomb(width: int, height: int) -> bytes:
    """A PNG of some bytes that says that it is large."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b"")]
    packed = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def refuse(folder: Path, content: bytes, limits: Limits | None = None) -> Refused:
    answer = child.answer(ParseRequest(str(write(folder, content)), "x", limits or Limits(), ()))
    assert isinstance(answer, Refused), answer
    return answer


def test_a_picture_is_held_against_the_bounds_by_its_header(tmp_path: Path) -> None:
    refused = refuse(tmp_path, bomb(40_000, 40_000))
    assert (refused.code, refused.media_type) == ("too-large", "image/png")
    assert "1600000000 pixels, at most 100000000" in refused.detail
    many = drawn.pack(Image.new("1", (9, 9)), "TIFF", [Image.new("1", (9, 9))] * 5)
    assert refuse(tmp_path, many, Limits(pages_max=5)).code == "too-many-pages"
    assert refuse(tmp_path, b"\x89PNG\r\n\x1a\n" + b"\0" * 64).code == "broken"


def test_pages_beyond_the_bound_and_texts_beyond_the_room_are_named(tmp_path: Path) -> None:
    path = str(write(tmp_path, drawn.pack(Image.new("1", (9, 9)), "TIFF", [Image.new("1", (9, 9))] * 4)))
    limits = Limits(scans_max=3, text_bytes_max=50)
    assert child.answer(ParseRequest(path, "x", limits, ())) == Unread("image/tiff", (1, 2, 3))
    scans = (Scan(1, "a" * 30), Scan(2, "b" * 30), PageFault(3, "timeout", "it took longer than 1 s"))
    answer = child.answer(ParseRequest(path, "x", limits, scans))
    assert isinstance(answer, Parsed), answer
    assert answer.text == "a" * 30
    assert [(gap.code, gap.pages) for gap in answer.gaps] == [
        ("unread-pages", ((3, 3),)),
        ("picture-pages", ((4, 5),)),
        ("picture-pages", ((2, 2),)),
    ]
    assert answer.gaps[0].detail == "timeout: it took longer than 1 s: pages 3"


def test_lines_of_little_confidence_are_counted_and_left_out(tmp_path: Path) -> None:
    path = str(write(tmp_path, drawn.pack(Image.new("1", (9, 9)), "PNG")))
    answer = child.answer(ParseRequest(path, "x", Limits(), (Scan(1, "what is sure", 1, 2, 9, 0.9, "Latin"),)))
    assert isinstance(answer, Parsed), answer
    assert answer.text == "what is sure"
    assert (answer.counts["unsure"].held, answer.counts["unsure"].kept) == (9, 0)
    assert [(gap.code, gap.pages) for gap in answer.gaps] == [("unsure-text", ((1, 1),))]


def test_a_file_without_a_letter_says_so(tmp_path: Path) -> None:
    path = str(write(tmp_path, drawn.pack(Image.new("1", (9, 9)), "PNG")))
    answer = child.answer(ParseRequest(path, "x", Limits(), (Scan(1, ""),)))
    assert isinstance(answer, Refused)
    assert (answer.code, answer.detail) == ("no-text", "there is no text in it")


@pytest.mark.parametrize(("content", "code"), [(b"HANG", "timeout"), (b"DIE", "crashed"), (b"GROW", "memory")])
def test_what_a_page_does_to_its_process_is_its_reason(tmp_path: Path, content: bytes, code: str) -> None:
    parsers = Parsers(Limits(scan_seconds_max=2 if code == "timeout" else 120), HOSTILE)
    try:
        fault = parsers.recognise(TENANT, write(tmp_path, content), "image/png", 7)
        assert isinstance(fault, PageFault)
        assert (fault.page, fault.code) == (7, code)
    finally:
        parsers.close()


def test_a_picture_that_cannot_be_unpacked_is_a_fault_of_its_page(parsers: Parsers, tmp_path: Path) -> None:
    cut = drawn.pack(drawn.page(LINES, size=(900, 400)), "PNG")[:2_000]
    fault = parsers.recognise(TENANT, write(tmp_path, cut), "image/png", 1)
    assert fault == PageFault(1, "broken", "the picture cannot be unpacked")


# --- the order of lines ---------------------------------------------------------------------------------------------


def at(x: float, y: float, text: str, height: float = 20) -> PlacedLine:
    return PlacedLine(x, y, x + 10 * len(text), y + height, text)


def test_cells_of_a_row_are_read_together() -> None:
    rows = [(f"pump {number}", f"{number} bar") for number in range(4)]
    lines = [at(x, 30 * number, text) for number, row in enumerate(rows) for x, text in zip((0, 300), row, strict=True)]
    assert arrange(lines).splitlines() == [f"pump {number} {number} bar" for number in range(4)]


def test_a_word_that_is_broken_at_the_end_of_a_line_is_one_word_and_paragraphs_are_parted() -> None:
    lines = [at(0, 0, "The archi-"), at(0, 25, "tecture stands."), at(0, 90, "1999-"), at(0, 115, "2001")]
    assert arrange(lines) == "The architecture stands.\n\n1999-\n2001"


def test_a_slanted_page_is_laid_level() -> None:
    slope = 0.05
    boxes = [
        [
            (x, y + slope * x),
            (x + 400, y + slope * (x + 400)),
            (x + 400, y + 20 + slope * (x + 400)),
            (x, y + 20 + slope * x),
        ]
        for y in (0.0, 60.0)
        for x in (0.0, 500.0)
    ]
    placed = place_lines(boxes, ["a", "b", "c", "d"])
    assert [round(each.top - placed[0].top) for each in placed] == [0, 0, 60, 60]


@pytest.mark.parametrize(
    ("text", "script"), [("12 + 3", ""), ("the pump", "Latin"), ("насос 2", "Cyrillic"), ("水泵的压力 ok", "Han")]
)
def test_a_script_is_that_of_most_letters(text: str, script: str) -> None:
    assert find_script(text) == script


def test_an_animation_and_a_file_in_disguise_are_read_by_what_they_are(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("1", (9, 9)).save(out, "GIF")
    assert refuse(tmp_path, out.getvalue()).detail == "it is a GIF picture"
