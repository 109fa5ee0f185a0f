"""What somebody sees who opens a presentation, a workbook or a mail is in its text, once; what nobody sees is not."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import openpyxl
import pptx
import pytest

from connectors.parsers import UNSEEN, Limits, Parsed, ParseRequest, Refused, child, sniff
from connectors.parsers.pool import Parsers
from tests.connectors.parsers import samples, written_office

WORDS = re.compile(r"\w+")


def read(folder: Path, content: bytes, name: str = "file") -> child.Answered:
    path = folder / "upload"
    path.write_bytes(content)
    return child.answer(ParseRequest(str(path), name, Limits()))


def check(folder: Path, content: bytes, seen: Sequence[str], unseen: Sequence[str], gaps: Sequence[str] = ()) -> Parsed:
    """Each word that is seen is there as often as it was written, none of the others is, and the count agrees."""
    answer = read(folder, content)
    assert isinstance(answer, Parsed), answer
    found, wanted = Counter(WORDS.findall(answer.text)), Counter(seen)
    assert {word: found[word] for word in wanted if found[word] != wanted[word]} == {}, answer.text
    assert [word for word in unseen if found[word]] == [], answer.text
    assert [gap.code for gap in answer.gaps] == list(gaps)
    assert {kind: each for kind, each in answer.counts.items() if kind not in UNSEEN and each.held != each.kept} == {}
    return answer


@pytest.mark.parametrize("seed", range(40))
def test_a_presentation_made_at_random_is_kept(tmp_path: Path, seed: int) -> None:
    answer = check(tmp_path, *written_office.write_presentation(seed))
    assert answer.media_type == sniff.PPTX


@pytest.mark.parametrize("construct", written_office.SLIDE_CONSTRUCTS, ids=lambda construct: construct.__name__)
def test_each_construct_of_a_slide_is_kept(tmp_path: Path, construct: written_office.SlideConstruct) -> None:
    d = written_office.start(1)
    answer = check(tmp_path, written_office.presentation(d, [[construct] * 2, [construct]]), d.seen, d.unseen)
    assert answer.pages == 4


@pytest.mark.parametrize("seed", range(40))
def test_a_workbook_made_at_random_is_kept(tmp_path: Path, seed: int) -> None:
    answer = check(tmp_path, *written_office.write_workbook(seed))
    assert answer.media_type == sniff.XLSX


@pytest.mark.parametrize("seed", range(40))
def test_a_mail_made_at_random_is_kept(tmp_path: Path, seed: int) -> None:
    content, seen, unseen, attached = written_office.write_mail(seed)
    answer = check(tmp_path, content, seen, unseen, ["embedded-files"] * attached)
    assert (answer.media_type, answer.title) == (sniff.MAIL, " ".join(seen[:2]))


def _book(rows: Sequence[Sequence[Any]]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_a_cell_shows_what_was_typed_and_no_library_makes_something_else_of_it(tmp_path: Path) -> None:
    typed = ["NA", "null", "None", "nan", "TRUE", "007", "1e5", "1.50", "0x1F", "-", "–", "#N/A", "+49 30", "'quoted"]
    answer = read(tmp_path, _book([["name", "value"], *([f"row{n}", text] for n, text in enumerate(typed))]))
    assert isinstance(answer, Parsed), answer
    for number, text in enumerate(typed):
        assert f"| row{number} | {text} |" in answer.text
    assert not answer.partial


def test_a_workbook_of_very_many_cells_is_one_table_a_sheet(tmp_path: Path) -> None:
    answer = read(
        tmp_path, _book([[f"r{row}" if column else f"row{row}" for column in range(6)] for row in range(9_000)])
    )
    assert isinstance(answer, Parsed), answer
    assert not answer.partial
    assert answer.text.startswith(
        "# Sheet\n\n| row0 | r0 | r0 | r0 | r0 | r0 |\n| --- | --- | --- | --- | --- | --- |\n| row1 |"
    )
    assert answer.text.endswith("\n| row8999 | r8999 | r8999 | r8999 | r8999 | r8999 |")


def test_numbers_are_whole_and_a_formula_without_a_result_is_named(tmp_path: Path) -> None:
    answer = read(
        tmp_path, _book([["a", 8443, 0.1, 1e-7, 123456789012, 0.123456789], ["b", "=A1", True, 3.0, -5, 2.5]])
    )
    assert isinstance(answer, Parsed), answer
    assert "| a | 8443 | 0.1 | 1e-07 | 123456789012 | 0.123456789 |" in answer.text
    assert "| b |  | TRUE | 3 | -5 | 2.5 |" in answer.text
    assert [gap.code for gap in answer.gaps] == ["uncomputed"]


def test_a_conversation_about_a_cell_is_there_once(tmp_path: Path) -> None:
    d = written_office.start(1)
    book = openpyxl.Workbook()
    book.active.cell(1, 1, d.word()).comment = openpyxl.comments.Comment(d.word(seen=False), "nobody")
    out = io.BytesIO()
    book.save(out)
    name = "http://schemas.microsoft.com/office/spreadsheetml/2018/threadedcomments"
    talk = "".join(f'<threadedComment ref="A1"><text>{d.word()}</text></threadedComment>' for _ in range(2))
    content = written_office.add_parts(
        out.getvalue(),
        {"xl/threadedComments/threadedComment1.xml": f'<ThreadedComments xmlns="{name}">{talk}</ThreadedComments>'},
        {
            "xl/worksheets/_rels/sheet1.xml.rels": (
                "</Relationships>",
                '<Relationship Id="t" Type="http://schemas.microsoft.com/office/2017/10/relationships/threadedComment" '
                'Target="../threadedComments/threadedComment1.xml"/></Relationships>',
            )
        },
    )
    assert check(tmp_path, content, d.seen, d.unseen).counts["copy"].held


def test_a_text_box_on_a_sheet_and_a_margin_are_kept(tmp_path: Path) -> None:
    d = written_office.start(1)
    book = openpyxl.Workbook()
    book.active.cell(1, 1, d.word())
    book.active.oddHeader.center.text = f'&"Arial,Bold"{d.word()} &P'
    image = openpyxl.drawing.image.Image(io.BytesIO(written_office._PICTURE))
    book.active.add_image(image, "C3")
    out = io.BytesIO()
    book.save(out)
    text = (
        '<xdr:sp xmlns:xdr="http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing" '
        'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><xdr:nvSpPr><xdr:cNvPr id="9" name="b"/>'
        f"</xdr:nvSpPr><xdr:txBody><a:p><a:r><a:t>{d.word()}</a:t></a:r></a:p></xdr:txBody></xdr:sp>"
    )
    with_box = written_office.add_parts(
        out.getvalue(), {}, {"xl/drawings/drawing1.xml": ("<clientData", f"{text}<clientData")}
    )
    check(tmp_path, with_box, d.seen, d.unseen)


def test_what_is_shown_of_a_mail_and_what_is_none(tmp_path: Path) -> None:
    inner = b"Subject: inner\r\nFrom: c@example.org\r\n\r\npassed on"
    parts = (
        b"--b\r\nContent-Type: text/plain\r\n\r\nfirst part\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" + inner,
        b"\r\n--b\r\nContent-Type: text/plain; charset=koi8-r\r\n\r\n" + "второй".encode("koi8-r"),
        b"\r\n--b\r\nContent-Type: text/plain; charset=no-such\r\n\r\n" + "größer".encode("cp1252"),
        b"\r\n--b\r\nContent-Type: application/octet-stream; name=x\r\n\r\nattached\r\n",
    )
    head = b"Received: from x\r\nSubject: =?utf-8?q?Pr=C3=BCfung?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    answer = read(tmp_path, head + b"".join(parts))
    assert isinstance(answer, Parsed), answer
    for shown in ("# Prüfung", "first part", "второй", "größer"):
        assert shown in answer.text
    assert answer.text.index("größer") < answer.text.index("## inner") < answer.text.index("passed on")
    assert [gap.detail for gap in answer.gaps] == ["1 attached file"]


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"Subject: a note\n\nI write to you.", sniff.PLAIN),
        (b"From: me\nTo: you\n\nA note.", sniff.PLAIN),
        (b"Message-ID: <1@x>\nSubject: a mail\n\nI write to you.", sniff.MAIL),
        (b"From x Mon Jan  1\nReceived: from x\n  by y\nSubject: z\n\nwords", sniff.MAIL),
    ],
)
def test_a_mail_is_known_by_what_only_programs_write(tmp_path: Path, content: bytes, media_type: str) -> None:
    answer = read(tmp_path, content)
    assert isinstance(answer, Parsed), answer
    assert answer.media_type == media_type


def test_a_slide_that_is_a_picture_is_named(tmp_path: Path) -> None:
    def picture(d: written_office.Written, slide: Any) -> None:
        slide.shapes.add_picture(io.BytesIO(written_office._PICTURE), 0, 0, 9_144_000, 6_858_000)

    answer = read(tmp_path, written_office.presentation(written_office.start(1), [[written_office.box], [picture]]))
    assert isinstance(answer, Parsed), answer
    assert [(gap.code, gap.pages) for gap in answer.gaps] == [("picture-pages", ((3, 3),))]


def test_a_presentation_of_pictures_alone_says_so(tmp_path: Path) -> None:
    deck = pptx.Presentation()
    picture = io.BytesIO(written_office._PICTURE)
    deck.slides.add_slide(deck.slide_layouts[6]).shapes.add_picture(picture, 0, 0, 90, 90)._element.nvPicPr.cNvPr.set(
        "descr", ""
    )
    out = io.BytesIO()
    deck.save(out)
    answer = read(tmp_path, out.getvalue())
    assert isinstance(answer, Refused)
    assert answer.code == "no-text"
    assert "pages 1" in answer.detail


def test_the_library_has_room_within_the_bounds_of_the_process(tmp_path: Path) -> None:
    """In the process that has them, also behind a document that is large."""
    parsers = Parsers()
    try:
        for number, content in enumerate(
            (
                written_office.presentation(written_office.start(1), [[written_office.box] * 20] * 20),
                _book([[f"cell {row} {column}" for column in range(9)] for row in range(3_000)]),
                written_office.write_mail(1)[0],
            )
        ):
            path = tmp_path / str(number)
            path.write_bytes(content)
            assert isinstance(parsers.parse(uuid4(), path, "file"), Parsed), number
    finally:
        parsers.close()


def test_a_show_that_the_library_refuses_is_read_from_its_tree(tmp_path: Path) -> None:
    d = written_office.start(1)
    content = written_office.presentation(d, [[written_office.box, written_office.table]])
    old, new = "presentation.main+xml", "slideshow.main+xml"
    check(tmp_path, written_office.add_parts(content, {}, {"[Content_Types].xml": (old, new)}), d.seen, d.unseen)


def test_what_is_damaged_within_is_named(tmp_path: Path) -> None:
    d = written_office.start(1)
    content = written_office.presentation(d, [[written_office.box], [written_office.box]])
    answer = read(tmp_path, written_office.add_parts(content, {"ppt/slides/slide3.xml": "<cut"}))
    assert isinstance(answer, Parsed), answer
    assert "damaged-parts" in [gap.code for gap in answer.gaps]
    assert d.seen[0] in answer.text


@pytest.mark.parametrize("name", ["xl/workbook.xml", "ppt/presentation.xml"])
def test_a_package_without_anything_in_it_is_empty(tmp_path: Path, name: str) -> None:
    answer = read(tmp_path, samples.packed({name: b"<x/>"}))
    assert isinstance(answer, Refused)
    assert answer.code == "empty"


def test_other_formats_do_not_pay_for_the_library() -> None:
    code = (
        "import sys; from pathlib import Path; from connectors.parsers import Limits, ParseRequest, child\n"
        "child.answer(ParseRequest(sys.argv[1], 'x.md', Limits()))\n"
        "print([name for name in ('unstructured', 'spacy', 'pandas', 'openpyxl', 'pptx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, __file__], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("shown", [True, False])
def test_what_the_master_shows_is_seen_where_a_slide_lets_it(tmp_path: Path, shown: bool) -> None:
    d = written_office.start(1)

    def behind(d: written_office.Written, slide: Any) -> None:
        deck = slide.part.package.presentation_part.presentation
        shape = written_office._box(slide.shapes, d.word(seen=shown))._element
        deck.slide_master.shapes._spTree.append(shape)
        if not shown:
            for each in deck.slides:
                each._element.set("showMasterSp", "0")

    content = written_office.presentation(d, [[written_office.box, behind]])
    check(tmp_path, content, d.seen, d.unseen)


def test_labels_of_a_chart_on_a_slide_are_kept(tmp_path: Path) -> None:
    def labelled(d: written_office.Written, slide: Any) -> None:
        written_office.chart(d, slide)
        plot = slide.shapes[-1].chart.plots[0]
        plot.has_data_labels = True
        plot.data_labels.show_value = True

    d = written_office.start(1)
    d.seen += ["1", "2"]
    check(tmp_path, written_office.presentation(d, [[labelled]]), d.seen, d.unseen)
