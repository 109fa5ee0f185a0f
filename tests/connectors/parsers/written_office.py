"""Presentations, workbooks and mails of which every word is known: each construct says what somebody sees who opens it.

Knows the formats from the side of those who write them (python-pptx, openpyxl, the standard library, and XML by hand
for what these do not write), and nothing of how they are read.
"""

from __future__ import annotations

import datetime
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

import openpyxl
import pptx
from lxml import etree
from openpyxl.comments import Comment
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.opc.package import Part
from pptx.opc.packuri import PackURI
from pptx.util import Inches

_A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
_P = 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
_MC = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


@dataclass
class Written:
    """A file while it is written."""

    random: random.Random
    seen: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    count: int = 0

    def word(self, *, seen: bool = True) -> str:
        self.count += 1
        word = f"{self.random.choice(('Ku', 'ö', 'za', 'Ни'))}{self.count}q"
        (self.seen if seen else self.unseen).append(word)
        return word

    def words(self, number: int) -> str:
        return " ".join(self.word() for _ in range(number))


def start(seed: int) -> Written:
    return Written(random.Random(seed))


# --- presentations --------------------------------------------------------------------------------------------------

SlideConstruct = Callable[[Written, Any], None]


def _box(shapes: Any, text: str, left: float = 1.0, top: float = 1.0) -> Any:
    shape = shapes.add_textbox(Inches(left), Inches(top), Inches(2), Inches(1))
    shape.text_frame.text = text
    return shape


def _shape(text: str, body: str = "") -> str:
    return (
        f'<p:sp {_P} {_A}><p:nvSpPr><p:cNvPr id="90" name="s"/><p:cNvSpPr/><p:nvPr/></p:nvSpPr><p:spPr/>'
        f"<p:txBody><a:bodyPr/><a:p>{body}<a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
    )


def box(d: Written, slide: Any) -> None:
    _box(slide.shapes, d.words(3), top=d.random.uniform(0, 6))


def sentence(d: Written, slide: Any) -> None:
    _box(slide.shapes, f"The {d.word()} of the {d.word()} was checked by somebody, and it {d.word()} again.")


def paragraphs(d: Written, slide: Any) -> None:
    frame = _box(slide.shapes, d.words(2)).text_frame
    for level in range(3):
        paragraph = frame.add_paragraph()
        paragraph.text, paragraph.level = d.words(2), level


def bullets(d: Written, slide: Any) -> None:
    frame = _box(slide.shapes, d.words(2)).text_frame
    for paragraph in frame.paragraphs:
        properties = paragraph._p.get_or_add_pPr()
        properties.append(etree.fromstring(f'<a:buChar {_A} char="•"/>'))


def broken_line(d: Written, slide: Any) -> None:
    _box(slide.shapes, f"{d.word()}\v{d.word()}")


def split_word(d: Written, slide: Any) -> None:
    word = d.word()
    frame = _box(slide.shapes, word[:2]).text_frame
    frame.paragraphs[0].add_run().text = word[2:]


def group(d: Written, slide: Any) -> None:
    shapes = slide.shapes
    for _ in range(3):
        shapes = shapes.add_group_shape().shapes
        _box(shapes, d.words(2))


def table(d: Written, slide: Any) -> None:
    cells = slide.shapes.add_table(2, 3, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for cell in cells.iter_cells():
        cell.text = f"{d.word()} | {d.word()}"


def notes(d: Written, slide: Any) -> None:
    frame = slide.notes_slide.notes_text_frame
    frame.text = f"{frame.text}\n{d.words(3)}"


def chart(d: Written, slide: Any) -> None:
    data: Any = _untyped(CategoryChartData)()
    data.categories = [d.word(), d.word()]
    data.add_series(d.word(), (1, 2))
    frame = slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, 0, Inches(2), Inches(2), data)
    frame.chart.has_title = True
    frame.chart.chart_title.text_frame.text = d.words(2)


def _untyped(made: Any) -> Any:
    return made


def described_picture(d: Written, slide: Any) -> None:
    picture = slide.shapes.add_picture(io.BytesIO(_PICTURE), 0, 0, Inches(1), Inches(1))
    picture._element.nvPicPr.cNvPr.set("descr", d.words(2))


def newer_form(d: Written, slide: Any) -> None:
    """One shape in the form of newer programs, with a copy for older ones."""
    word, copy = d.word(), d.word(seen=False)
    slide.shapes._spTree.append(
        etree.fromstring(
            f'<mc:AlternateContent {_MC} xmlns:p14="http://schemas.microsoft.com/office/powerpoint/2010/main">'
            f'<mc:Choice Requires="p14">{_shape(word)}</mc:Choice>'
            f"<mc:Fallback>{_shape(copy)}</mc:Fallback></mc:AlternateContent>"
        )
    )


def computed_field(d: Written, slide: Any) -> None:
    """The number of a slide, which a program may show or not."""
    slide.shapes._spTree.append(
        etree.fromstring(_shape(d.word(), '<a:fld id="{1}" type="slidenum"><a:t>3</a:t></a:fld>'))
    )


def hidden_shape(d: Written, slide: Any) -> None:
    _box(slide.shapes, d.word(seen=False))._element.nvSpPr.cNvPr.set("hidden", "1")


def hidden_group(d: Written, slide: Any) -> None:
    shape = slide.shapes.add_group_shape()
    _box(shape.shapes, d.word(seen=False))
    shape._element.nvGrpSpPr.cNvPr.set("hidden", "true")


def beyond_the_edge(d: Written, slide: Any) -> None:
    _box(slide.shapes, d.word(seen=False), left=d.random.choice((-9, 30)))


def half_beyond_the_edge(d: Written, slide: Any) -> None:
    _box(slide.shapes, d.word(), left=-0.5, top=-0.5)


def _hang(slide: Any, name: str, kind: str, content: str) -> None:
    package = slide.part.package
    number = sum(1 for _ in package.iter_parts())
    part = Part(PackURI(f"/ppt/{name}{number}.xml"), "application/xml", package, content.encode())
    slide.part.relate_to(part, f"{_OFFICE}/{kind}")


def remark(d: Written, slide: Any) -> None:
    text = f'<p:cmLst {_P}><p:cm authorId="0"><p:pos x="1" y="1"/><p:text>{d.words(2)}</p:text></p:cm></p:cmLst>'
    _hang(slide, "comments/comment", "comments", text)


def conversation(d: Written, slide: Any) -> None:
    text = (
        f'<p188:cmLst xmlns:p188="http://schemas.microsoft.com/office/powerpoint/2018/8/main" {_A}><p188:cm>'
        f"<p188:replyLst><p188:reply><p188:txBody><a:p><a:r><a:t>{d.word()}</a:t></a:r></a:p></p188:txBody>"
        f"</p188:reply></p188:replyLst><p188:txBody><a:p><a:r><a:t>{d.word()}</a:t></a:r></a:p></p188:txBody>"
        "</p188:cm></p188:cmLst>"
    )
    _hang(slide, "comments/modernComment_", "comments", text)


def diagram(d: Written, slide: Any) -> None:
    points = "".join(
        f"<dgm:pt><dgm:t><a:bodyPr/><a:p><a:r><a:t>{d.word()}</a:t></a:r></a:p></dgm:t></dgm:pt>" for _ in range(3)
    )
    name = 'xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram"'
    _hang(
        slide,
        "diagrams/data",
        "diagramData",
        f"<dgm:dataModel {name} {_A}><dgm:ptLst>{points}</dgm:ptLst></dgm:dataModel>",
    )


SLIDE_CONSTRUCTS: tuple[SlideConstruct, ...] = (
    box, sentence, paragraphs, bullets, broken_line, split_word, group, table, notes, chart, described_picture,
    newer_form, computed_field, hidden_shape, hidden_group, beyond_the_edge, half_beyond_the_edge, remark, conversation,
    diagram,
)  # fmt: skip


def presentation(d: Written, slides: list[list[SlideConstruct]]) -> bytes:
    """Each slide has a title and these constructs; after each comes one that is hidden."""
    deck = pptx.Presentation()
    for constructs in slides:
        slide = deck.slides.add_slide(deck.slide_layouts[5])
        slide.shapes.title.text = d.words(2)
        for construct in constructs:
            construct(d, slide)
        hidden = deck.slides.add_slide(deck.slide_layouts[6])
        hidden._element.set("show", "0")
        _box(hidden.shapes, d.word(seen=False))
        hidden.notes_slide.notes_text_frame.text = d.word(seen=False)
    out = io.BytesIO()
    deck.save(out)
    return out.getvalue()


def write_presentation(seed: int) -> tuple[bytes, list[str], list[str]]:
    d = start(seed)
    slides = [d.random.choices(SLIDE_CONSTRUCTS, k=d.random.randint(0, 6)) for _ in range(d.random.randint(1, 4))]
    return presentation(d, slides), d.seen, d.unseen


# --- workbooks ------------------------------------------------------------------------------------------------------


def _value(d: Written) -> Any:
    """What somebody types into a cell, with the words that it shows."""
    return d.random.choice(
        (
            d.word,
            lambda: d.words(3),
            lambda: f"{d.word()}\n{d.word()}",
            lambda: f"- {d.word()}",
            lambda: f"{d.word()} | <b> & {d.word()}",
            lambda: None,
            lambda: _number(d),
            lambda: _date(d),
        )
    )()


def _number(d: Written) -> float:
    d.count += 1
    number = d.random.choice((7_000_000 + d.count, float(f"0.{7_000_000 + d.count}")))
    d.seen.append(str(number).removeprefix("0."))
    return number


def _date(d: Written) -> datetime.datetime:
    """A moment, which is known by its year, that no other cell has."""
    d.count += 1
    d.seen.append(str(3000 + d.count))
    return datetime.datetime(3000 + d.count, 10, 10, 10, 10)  # noqa: DTZ001  as files have them, without a zone


def workbook(d: Written) -> bytes:
    """Sheets with tables at places, rows and columns that are hidden, remarks; one sheet is hidden."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number in range(d.random.randint(1, 3)):
        sheet = book.create_sheet(d.word())
        top = d.random.choice((1, 3, 900_000))
        for row in range(top, top + d.random.randint(1, 8)):
            for column in range(2, 2 + d.random.randint(1, 5)):
                sheet.cell(row, column, d.word() if (row, column) == (top, 2) else _value(d))
        _hide_some(d, sheet, top)
        if number:
            sheet.cell(top + 40, 30, d.word()).comment = Comment(d.words(2), "nobody")
        sheet.merge_cells(start_row=top + 50, end_row=top + 52, start_column=1, end_column=4)
        sheet.cell(top + 50, 1, d.word())
    secret = book.create_sheet("nobody")
    secret.cell(1, 1, d.word(seen=False))
    secret.sheet_state = d.random.choice(("hidden", "veryHidden"))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _hide_some(d: Written, sheet: Any, top: int) -> None:
    sheet.cell(top + 20, 3, d.word(seen=False))
    sheet.row_dimensions[top + 20].hidden = True
    sheet.cell(top, 12, d.word(seen=False))
    sheet.column_dimensions["L"].hidden = True


def write_workbook(seed: int) -> tuple[bytes, list[str], list[str]]:
    d = start(seed)
    return workbook(d), d.seen, d.unseen


def add_parts(content: bytes, parts: dict[str, str], changes: dict[str, tuple[str, str]] | None = None) -> bytes:
    """The same package with more parts, and with one text in the place of another in some."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(out, "w") as after:
        for name in before.namelist():
            text = before.read(name)
            if changes and name in changes:
                old, new = changes[name]
                assert old.encode() in text
                text = text.replace(old.encode(), new.encode())
            if name not in parts:
                after.writestr(name, text)
        for name, added in parts.items():
            after.writestr(name, added)
    return out.getvalue()


# --- mail -----------------------------------------------------------------------------------------------------------


def write_mail(seed: int) -> tuple[bytes, list[str], list[str], bool]:
    """The mail, its words, and whether a file is attached to it."""
    d = start(seed)
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = d.words(2), f"{d.word()} <a@example.org>", "b@example.org"
    mail["Message-ID"] = "<1@example.org>"
    charset = d.random.choice(("utf-8", "utf-16", "utf-8"))
    encoding = d.random.choice(("base64", "quoted-printable")) if charset == "utf-8" else "base64"
    if d.random.random() < 0.5:
        mail.set_content(
            f"Hello {d.word()},\n\n{d.words(5)}\n\n- {d.word()}\n- {d.word()}\n\n> {d.word()}\n", charset, cte=encoding
        )
    else:
        mail.set_content("\n".join(d.word(seen=False) for _ in range(3)))
        page = (
            f"<html><body><h1>{d.word()}</h1><p>{d.words(3)}</p><form><label>{d.word()}</label></form>"
            f"<div style='display:none'>{d.word(seen=False)}</div><img alt='{d.word()}' src='cid:1'>"
            f"<table><tr><td>{d.word()}</td><td>{d.word()}</td></tr></table></body></html>"
        )
        mail.add_alternative(page, subtype="html", charset="utf-8")
    attached = d.random.random() < 0.5
    if attached:
        mail.add_attachment(d.word(seen=False).encode(), maintype="application", subtype="pdf", filename="x.pdf")
    if d.random.random() < 0.3:
        if mail.get_content_type() != "multipart/mixed":
            mail.make_mixed()
        part = EmailMessage()
        part.set_content(d.words(2))
        mail.attach(part)
    return bytes(mail), d.seen, d.unseen, attached


def _make_picture() -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


_PICTURE = _make_picture()
