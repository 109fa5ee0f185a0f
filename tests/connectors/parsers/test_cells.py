"""What the cells of a workbook show by their formats, and what else is on its sheets."""

from __future__ import annotations

import datetime
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from connectors.parsers import Limits, Parsed, ParseRequest, child
from connectors.parsers.cell_formats import FIRST_DAY, is_date, show_number, show_text
from tests.connectors.parsers import written_office


@pytest.mark.parametrize(
    ("stored", "code", "shown"),
    [
        ("1234.5", "General", "1234.5"),
        ("1234.5678", "#,##0.00", "1234.5678"),
        ("0.125", "0.0%", "12.5%"),
        ("0.07", "0%", "7%"),
        ("7.5", '0.0 "kg"', "7.5 kg"),
        ("7.5", '"about "General', "about 7.5"),
        ("5", "[$€-407] #,##0.00", "€ 5"),
        ("-5", "$#,##0", "-$5"),
        ("-5", '#,##0_);[Red]\\(#,##0\\)', "(5)"),
        ("123", "00000", "00123"),
        ("1500000", '0.0,,"M"', "1.5M"),
        ("1", '"Yes";"No";"None"', "Yes"),
        ("-1", '"Yes";"No";"None"', "No"),
        ("0", '"Yes";"No";"None"', "None"),
        ("4711", ";;;", ""),
        ("5", '[>9]"many";0', "5"),
        ("0.5", "# ?/?", "0.5"),
        ("1e300", "0", "1e+300"),
        ("NaN", "0", "NaN"),
        ("words", "0", "words"),
        ("45000", "dd/mm/yyyy", "2023-03-15"),
        ("45000.5", "[$-F800]dddd", "2023-03-15 12:00:00"),
        ("0.25", "h:mm", "06:00:00"),
        ("1.5", "[h]:mm", "36:00"),
        ("0.50001157", "[h]:mm:ss", "12:00:01"),
        ("-1", "yyyy", "-1"),
        ("9999999", "yyyy", "9999999"),
    ],
)  # fmt: skip
def test_a_number_looks_as_its_format_says(stored: str, code: str, shown: str) -> None:
    assert show_number(stored, code, FIRST_DAY) == shown


def test_a_text_looks_as_its_format_says() -> None:
    assert show_text("Smith", '"Dr. "@') == "Dr. Smith"
    assert show_text("Smith", '0;0;0;"Dr. "@') == "Dr. Smith"
    assert show_text("Smith", "0.00") == "Smith"
    assert show_text("Smith", ";;;") == ""


@pytest.mark.parametrize(
    ("code", "dated"),
    [("yyyy", True), ("[h]", True), ("General", False), ('0 "days"', False), ("[Red]0", False), ("0\\d", False)],
)
def test_a_date_is_known_by_its_format(code: str, dated: bool) -> None:
    assert is_date(code) is dated


def read(folder: Path, make: Callable[[Any], None], change: Callable[[bytes], bytes] = bytes) -> Parsed:
    book = openpyxl.Workbook()
    book.active["A1"], book.active["B1"] = "first", "second"
    make(book.active)
    out = io.BytesIO()
    book.save(out)
    path = folder / "made.xlsx"
    path.write_bytes(change(out.getvalue()))
    answer = child.answer(ParseRequest(str(path), "made.xlsx", Limits()))
    assert isinstance(answer, Parsed), answer
    return answer


def test_a_number_that_its_format_hides_is_counted_as_hidden(tmp_path: Path) -> None:
    def make(sheet: Any) -> None:
        sheet["A2"], sheet["B2"] = 471100000, 0.5
        sheet["A2"].number_format, sheet["B2"].number_format = ";;;", "0%"
        sheet["B3"], sheet["B3"].number_format = datetime.datetime(2024, 5, 6, tzinfo=None), "d. mmm"  # noqa: DTZ001

    answer = read(tmp_path, make)
    assert "471100000" not in answer.text
    assert "50%" in answer.text
    assert "2024-05-06" in answer.text
    assert answer.counts["hidden"].held == 9
    assert not answer.partial


def test_characters_that_xml_does_not_hold_are_read(tmp_path: Path) -> None:
    def make(sheet: Any) -> None:
        sheet["A2"] = "one_x000D_two_x005F_x0041_"

    assert "one two_x0041_" in read(tmp_path, make).text


def test_columns_and_rows_without_room_are_hidden(tmp_path: Path) -> None:
    def make(sheet: Any) -> None:
        sheet["D1"], sheet["A4"], sheet["A5"] = "narrow", "flat", "seen"
        sheet.column_dimensions["D"].width = 7.75
        sheet.row_dimensions[4].height = 9.25

    def narrow(content: bytes) -> bytes:
        for change in (('width="7.75"', 'width="0"'), ('ht="9.25"', 'ht="0.0"')):
            content = written_office.add_parts(content, {}, {"xl/worksheets/sheet1.xml": change})
        return content

    text = read(tmp_path, make, narrow).text
    assert "narrow" not in text
    assert "flat" not in text
    assert "seen" in text


def test_margins_of_even_pages_are_seen_where_they_are_switched_on(tmp_path: Path) -> None:
    def make(sheet: Any) -> None:
        sheet.evenHeader.center.text, sheet.firstFooter.center.text = "even", "beginning"
        sheet.HeaderFooter.differentOddEven = True

    text = read(tmp_path, make).text
    assert "even" in text
    assert "beginning" not in text


def test_the_words_on_a_button_are_kept_once(tmp_path: Path) -> None:
    button = (
        '<xml xmlns:v="urn:schemas-microsoft-com:vml" xmlns:x="urn:schemas-microsoft-com:office:excel"><v:shape>'
        '<v:textbox><div><font face="Arial">Press <br>here</font></div></v:textbox>'
        '<x:ClientData ObjectType="Button"/></v:shape><v:shape><v:textbox><div>remark</div></v:textbox>'
        '<x:ClientData ObjectType="Note"/></v:shape></xml>'
    )
    links = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="b" '
        'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/vmlDrawing" '
        'Target="../drawings/controls.vml"/></Relationships>'
    )
    answer = read(
        tmp_path,
        lambda sheet: None,
        lambda content: written_office.add_parts(
            content, {"xl/drawings/controls.vml": button, "xl/worksheets/_rels/sheet1.xml.rels": links}
        ),
    )
    assert answer.text.endswith("Press here")
    assert answer.counts["form"].kept == len("Presshere")
    assert not answer.partial


def test_a_large_picture_on_a_sheet_is_named(tmp_path: Path) -> None:
    def make(sheet: Any) -> None:
        image = openpyxl.drawing.image.Image(io.BytesIO(written_office._PICTURE))
        image.width, image.height = 900, 900
        sheet.add_image(image, "C3")

    def undescribe(content: bytes) -> bytes:
        return written_office.add_parts(content, {}, {"xl/drawings/drawing1.xml": ('descr="Picture"', "")})

    assert not read(tmp_path, make).partial
    answer = read(tmp_path, make, undescribe)
    assert [gap.code for gap in answer.gaps] == ["picture"]
