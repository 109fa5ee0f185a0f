"""Columns of a PDF are read one after the other, in whichever order the file draws them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import pytest

from connectors.parsers import Limits, Parsed, ParseRequest, child
from connectors.parsers.reading_order import PlacedLine, arrange
from tests.connectors.parsers.written_pdf import Written, line

HEADING = "A heading that goes from one side of the page to the other side"
FOOTER = "page 7 of 9"
ALEF = 0x5D0


def column(name: str, lines: int) -> list[str]:
    return [f"{name} {number:02} goes on with some words" for number in range(lines)]


def read(folder: Path, written: Written) -> Parsed:
    path = folder / "upload"
    path.write_bytes(written.pack())
    answer = child.answer(ParseRequest(str(path), "made.pdf", Limits()))
    assert isinstance(answer, Parsed), answer
    return answer


def page_of(content: bytes) -> Written:
    written = Written()
    written.page(content)
    return written


def by_rows(columns: Sequence[Sequence[str]], lefts: Sequence[int], top: int = 700) -> bytes:
    drawn = b""
    for row, texts in enumerate(zip_longest(*columns)):
        for text, left in zip(texts, lefts, strict=True):
            drawn += line(text, left, top - 14 * row) if text else b""
    return drawn


def by_columns(columns: Sequence[Sequence[str]], lefts: Sequence[int], top: int = 700) -> bytes:
    return b"".join(by_rows([each], [left], top) for each, left in zip(columns, lefts, strict=True))


@pytest.mark.parametrize("names", [("left", "right"), ("one", "two", "three")])
@pytest.mark.parametrize("drawn", ["by rows", "last first", "as read"])
def test_columns_follow_each_other_below_what_goes_across_and_above_the_footer(
    tmp_path: Path, names: tuple[str, ...], drawn: str
) -> None:
    columns = [column(name, 20 - number) for number, name in enumerate(names)]
    width = 480 // len(names)
    size = 12 if len(names) == 2 else 8
    lefts = [60 + width * number for number in range(len(names))]
    if drawn == "last first":
        content = line(FOOTER, 280, 40) + by_columns(columns[::-1], lefts[::-1]) + line(HEADING, 60, 750)
    else:
        body = by_rows(columns, lefts) if drawn == "by rows" else by_columns(columns, lefts)
        content = line(HEADING, 60, 750) + body + line(FOOTER, 280, 40)
    written = page_of(content.replace(b"/F1 12 Tf", b"/F1 %d Tf" % size))
    said = read(tmp_path, written).text.split("\n")
    assert [each for each in said if each.strip()] == [HEADING, *(each for one in columns for each in one), FOOTER]


def test_a_word_that_a_line_ends_in_is_whole_again(tmp_path: Path) -> None:
    left, right = column("left", 6), column("right", 6)
    left[2], left[3] = "left 02 speaks of one decen-", "tralised service and no more words"
    text = read(tmp_path, page_of(by_rows([left, right], [60, 320]))).text
    assert "decentralised service" in text.replace("\n", " ")
    assert text.index("decentralised") < text.index("right 00")


def test_cells_of_a_table_are_read_row_by_row(tmp_path: Path) -> None:
    named = [f"requirement {number}" for number in range(8)]
    told = [f"what is asked for by the requirement {number}" for number in range(8)]
    said = read(tmp_path, page_of(by_rows([named, told], [60, 200]))).text.splitlines()
    assert [" ".join(each.split()) for each in said] == [
        f"{one} {other}" for one, other in zip(named, told, strict=True)
    ]


def test_cells_of_several_lines_stay_in_their_rows(tmp_path: Path) -> None:
    content, tops = b"", [700, 656, 612, 568, 524]
    for row, top in enumerate(tops):
        for name, left in (("asked", 60), ("given", 320)):
            content += line(f"{name} {row} begins with these words", left, top)
            content += line(f"{name} {row} ends with those words", left, top - 14)
    text = read(tmp_path, page_of(content)).text
    assert text.index("given 0 ends") < text.index("asked 1 begins")


def test_a_stamp_along_the_edge_and_its_letters_are_kept(tmp_path: Path) -> None:
    stamp = b"BT /F1 12 Tf 0 1 -1 0 30 300 Tm (arXiv stamp 42) Tj ET\n"
    said = read(tmp_path, page_of(by_rows([column("left", 20), column("right", 20)], [60, 320]) + stamp)).text
    assert said.index("left 19") < said.index("right 00")
    assert "arXiv" in said


def test_the_right_column_comes_first_where_letters_run_from_the_right(tmp_path: Path) -> None:
    """Letters of Hebrew, drawn as files have them: from the left, so that the last one of a line comes first."""
    chance = random.Random(7)
    lines = [
        " ".join("".join(chance.choice("abcdefghijklmnopqrstuv") for _ in range(5)) for _ in range(5))
        for _ in range(20)
    ]
    written = Written()
    shown = b"\n".join(b"<%02x> <%04x>" % (ord("a") + at, ALEF + at) for at in range(22))
    named = written.stream(
        b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /A def /CMapType 2 def\n"
        b"1 begincodespacerange <00> <ff> endcodespacerange 1 beginbfchar <20> <0020> endbfchar\n"
        b"22 beginbfchar\n" + shown + b"\nendbfchar endcmap end end"
    )
    font = written.add(b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier /ToUnicode %d 0 R >>" % named)
    drawn = written.stream(
        by_rows([[each[::-1] for each in lines[10:]], [each[::-1] for each in lines[:10]]], [60, 320])
    )
    written.pages.append(
        written.add(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
            b"/Resources << /Font << /F1 %d 0 R >> >> >>" % (drawn, font)
        )
    )
    said = read(tmp_path, written).text.splitlines()
    assert [each for each in said if each] == ["".join(map(_hebrew, each)) for each in lines]


def _hebrew(letter: str) -> str:
    return letter if letter == " " else chr(ALEF + ord(letter) - ord("a"))


def test_pages_of_any_form_keep_every_letter(tmp_path: Path) -> None:
    """Words anywhere on a page: whatever is made of them, nothing is lost and nothing comes twice."""
    for seed in range(30):
        chance = random.Random(seed)
        places = [(left, top) for left in (20, 210, 400) for top in range(20, 820, 20)]
        chance.shuffle(places)
        words = [f"word{number}" * chance.randint(1, 4) for number in range(chance.randint(1, 120))]
        content = b"".join(line(each, *place) for each, place in zip(words, places, strict=False))
        found = read(tmp_path, page_of(content)).text
        assert sorted("".join(found.split())) == sorted("".join(words)), seed


def test_a_plan_of_ten_thousand_words_is_left_as_it_is(tmp_path: Path) -> None:
    content = b"".join(
        f"BT /F1 1 Tf {20 + 5 * (at % 100)} {20 + 8 * (at // 100)} Td (w{at}) Tj ET\n".encode() for at in range(10_000)
    )
    assert read(tmp_path, page_of(content)).text.split()[0] == "w0"


def test_columns_with_a_narrow_gutter_are_parted_when_their_margins_are_near() -> None:
    """As an engine finds them on a scan, with the padding of its boxes: a header and a footer less than a paragraph's
    white away, and a gutter of less than a letter."""
    body = [
        PlacedLine(left, 100 + 19 * row, left + 350 - 60 * (row % 7 == 6), 122 + 19 * row, text)
        for name, left in (("left", 264), ("right", 628))
        for row, text in enumerate(column(name, 40))
    ]
    lines = [PlacedLine(500, 60, 700, 82, "A running head"), *body, PlacedLine(610, 880, 640, 902, "17")]
    said = [each for each in arrange(lines).splitlines() if each]
    assert said == ["A running head", *column("left", 40), *column("right", 40), "17"]


def test_cells_that_are_near_to_each_other_are_read_row_by_row() -> None:
    cells = [
        PlacedLine(left, 100 + 60 * row, left + width, 122 + 60 * row, f"{name} of item {row} in the list")
        for name, left, width in (("name", 100, 340), ("price", 452, 330))
        for row in range(12)
    ]
    assert arrange(cells).splitlines()[0] == "name of item 0 in the list price of item 0 in the list"
