"""What a reader of a PDF sees beside its text, and what of its text nobody sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.parsers import Limits, Parsed, ParseRequest, Refused, child, pdf
from connectors.parsers.inventory import Inventory
from tests.connectors.parsers.written_pdf import Written, line, picture

ON_PAGE = b"/Type /XObject /Subtype /Form /BBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >>"


def ask(folder: Path, content: bytes) -> child.Answered:
    path = folder / "upload"
    path.write_bytes(content)
    return child.answer(ParseRequest(str(path), "made.pdf", Limits()))


def read(folder: Path, written: Written) -> Parsed:
    answer = ask(folder, written.pack())
    assert isinstance(answer, Parsed), answer
    return answer


def own_page(written: Written, content: bytes, resources: bytes) -> None:
    drawn = written.stream(content)
    written.pages.append(
        written.add(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R /Resources << %b >> >>"
            % (drawn, resources)
        )
    )


# --- what is drawn upon a page --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "entries", "text"),
    [
        (b"Stamp", b"", "printed\n\nlooks like this"),
        (b"Widget", b"/FT /Tx /T (n)", "printed\n\nlooks like this"),
        (b"Widget", b"/FT /Btn /Ff 65536 /T (n)", "printed\n\nlooks like this"),
        (b"Widget", b"/FT /Sig /T (n)", "printed\n\nlooks like this"),
        (b"FreeText", b"/Contents (looks like this)", "printed\n\nlooks like this"),
        (b"Stamp", b"/F 2", "printed"),
    ],
)
def test_words_that_only_the_looks_of_a_note_have_are_kept_once(
    tmp_path: Path, kind: bytes, entries: bytes, text: str
) -> None:
    written = Written()
    looks = written.stream(b"BT /F1 12 Tf 5 5 Td (looks like this) Tj ET", ON_PAGE)
    note = b"<< /Type /Annot /Subtype /%b %b /Rect [50 50 150 80] /AP << /N %d 0 R >> >>" % (kind, entries, looks)
    written.page(line("printed"), [note])
    answer = read(tmp_path, written)
    assert answer.text == text
    assert not answer.partial


def test_a_note_in_fonts_and_colours_alone_is_kept(tmp_path: Path) -> None:
    written = Written()
    rich = b"<< /Type /Annot /Subtype /FreeText /RC (<body><p>in <b>red</b></p></body>) /Rect [50 50 90 90] >>"
    written.page(line("printed"), [rich])
    assert read(tmp_path, written).text == "printed\n\nin red"


# --- what nobody sees -----------------------------------------------------------------------------------------------


def layered(entries: bytes, names: tuple[bytes, ...] = (b"Layer",)) -> Written:
    written = Written()
    layers = [written.add(b"<< /Type /OCG /Name (%b) >>" % name) for name in names]
    content = line("shown", y=600)
    for number in range(len(layers)):
        content += b"/OC /P%d BDC\n%b EMC\n" % (number, line(f"layer{number}", y=500 - 20 * number))
    properties = b" ".join(b"/P%d %d 0 R" % each for each in enumerate(layers))
    own_page(written, content, b"/Font << /F1 3 0 R >> /Properties << %b >>" % properties)
    groups = b" ".join(b"%d 0 R" % each for each in layers)
    written.names = b"/OCProperties << /OCGs [%b] /D << %b >> >>" % (groups, entries % layers[0])
    return written


@pytest.mark.parametrize(
    ("entries", "names", "text"),
    [
        (b"/ON [%d 0 R]", (b"Layer",), "shown layer0"),
        (b"/OFF [%d 0 R]", (b"Layer",), "shown"),
        (b"/OFF [%d 0 R]", (b"Layer", b"Other"), "shown layer1"),
        (b"/BaseState /OFF /ON [%d 0 R]", (b"Layer", b"Other"), "shown layer0"),
        (b"/OFF [%d 0 R]", (b"Layer", b"Layer"), "shown layer0 layer1"),
    ],
)
def test_a_layer_that_is_switched_off_is_hidden(
    tmp_path: Path, entries: bytes, names: tuple[bytes, ...], text: str
) -> None:
    answer = read(tmp_path, layered(entries, names))
    assert answer.text.split() == text.split()
    assert not answer.partial
    if text == "shown":
        assert answer.counts["hidden"].held == len("layer0")


def test_letters_without_ink_are_hidden_where_nothing_is_under_them(tmp_path: Path) -> None:
    inkless = b"BT 3 Tr /F1 12 Tf 72 600 Td (a line that a machine has read) Tj ET BT 0 Tr ET "
    bare, scan = Written(), Written()
    bare.page(inkless + line("shown"))
    scan.page(picture() + inkless * 5 + line("shown"))
    assert read(tmp_path, bare).text == "shown"
    assert "machine" in read(tmp_path, scan).text


# --- what cannot be read --------------------------------------------------------------------------------------------


def test_letters_that_a_font_does_not_name_are_a_gap(tmp_path: Path) -> None:
    written = Written()
    about = written.add(
        b"<< /Type /FontDescriptor /FontName /ABCDEF+Own /Flags 4 /FontBBox [0 0 1000 1000] /ItalicAngle 0 /Ascent 700 "
        b"/Descent -200 /CapHeight 700 /StemV 80 >>"
    )
    glyphs = written.add(
        b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /ABCDEF+Own /CIDSystemInfo << /Registry (Adobe) /Ordering "
        b"(Identity) /Supplement 0 >> /DW 600 /FontDescriptor %d 0 R >>" % about
    )
    font = written.add(
        b"<< /Type /Font /Subtype /Type0 /BaseFont /ABCDEF+Own /Encoding /Identity-H /DescendantFonts [%d 0 R] >>"
        % glyphs
    )
    unnamed = b"BT /G 12 Tf 72 700 Td <0024002500260027002800290030> Tj ET "
    fonts = b"/Font << /F1 3 0 R /G %d 0 R >>" % font
    own_page(written, unnamed + line("named", y=600), fonts)
    own_page(written, line("a page with one odd sign in all of its many words ") + b"BT /G 9 Tf <0024> Tj ET", fonts)
    answer = read(tmp_path, written)
    assert "named" in answer.text
    assert [(gap.code, gap.pages) for gap in answer.gaps] == [("undecoded-text", ((1, 1),))]


def test_a_file_that_the_second_library_cannot_open_has_what_the_first_one_read(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(b"%PDF-1.7 and no more")
    reader = pdf._Reader(path, None, Limits(), Inventory())
    reader._undecoded = {1: 1}
    assert list(reader._read_again()) == []
    assert reader._undecoded == {1: 1}


def test_a_page_that_cannot_be_opened_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    written = Written()
    written.page(line("first"))
    written.page(line("second"))
    broken = written.pack().replace(b"/Type /Page /Parent", b"/Type /Pxxe /Parent", 1)
    answer = ask(tmp_path, broken)
    assert isinstance(answer, Parsed), answer
    assert answer.text == "second"
    assert [(gap.code, gap.pages) for gap in answer.gaps] == [("damaged-parts", ((1, 1),))]
    answer = ask(tmp_path, broken.replace(b"/Type /Page /Parent", b"/Type /Pxxe /Parent"))
    assert isinstance(answer, Refused)
    assert answer.code == "broken"


def test_a_picture_in_a_drawing_in_a_drawing_is_seen(tmp_path: Path) -> None:
    written = Written()
    form = b"/Type /XObject /Subtype /Form /BBox [0 0 595 842] /Resources << /XObject << /A %d 0 R >> >>"
    inner = written.stream(b"q 595 0 0 842 0 0 cm /A Do Q", form % 7)
    outer = written.stream(b"/A Do", form % inner)
    own_page(written, b"/A Do " + line("7", y=20), b"/Font << /F1 3 0 R >> /XObject << /A %d 0 R >>" % outer)
    answer = read(tmp_path, written)
    assert [(gap.code, gap.pages) for gap in answer.gaps] == [("picture-pages", ((1, 1),))]


# --- pages that are pictures in spite of their text -----------------------------------------------------------------

FOOTER = b"".join(line(f"line {number}: lent to the reader of this copy, not to be passed on", y=20 + 14 * number)
                  for number in range(6))  # fmt: skip
INKLESS = b"BT 3 Tr /F1 12 Tf 72 600 Td (what a machine has read in the picture) Tj ET BT 0 Tr ET "


def slide(lines: int) -> bytes:
    words = "check the valve and the pump"
    return b"".join(f"BT /F1 36 Tf 50 {700 - 50 * each} Td ({words}) Tj ET\n".encode() for each in range(lines))


def glyphs(number: int) -> bytes:
    """Closed lines with curves, many in one path."""
    return b"".join(b"%d %d m %d %d %d %d %d %d c h\n" % (
        (x := 50 + each % 60 * 8), (y := 800 - each // 60 * 20), x + 4, y, x + 4, y + 8, x, y + 8,
    ) for each in range(number)) + b"f\n"  # fmt: skip


@pytest.mark.parametrize(
    ("content", "is_picture"),
    [
        (picture() + FOOTER, True),
        (picture(595, 420) + b"q 1 0 0 1 0 420 cm " + picture(595, 420) + b"Q " + FOOTER, True),
        (picture(595, 420) + FOOTER, False),
        (picture() + INKLESS + FOOTER, False),
        (line("what a machine has read, under the picture", y=400) + picture() + FOOTER, False),
        (picture() + slide(10), False),
        (picture() + b"".join(line("a line of a letter upon its paper", y=60 + 14 * n) for n in range(40)), False),
        (glyphs(40) + line("page 7 of the manual of the pump"), True),
        (glyphs(400) + FOOTER, True),
        (glyphs(400) + INKLESS + FOOTER, False),
        (glyphs(10) + line("page 7 of the manual of the pump"), False),
        (glyphs(100) + FOOTER, False),
        (b"50 50 400 400 re S " * 400 + FOOTER, False),
    ],
)  # fmt: skip
def test_a_page_that_is_a_picture_is_named_whatever_is_stamped_on_it(
    tmp_path: Path, content: bytes, is_picture: bool
) -> None:
    written = Written()
    written.page(content)
    answer = read(tmp_path, written)
    assert answer.text
    assert [(gap.code, gap.pages) for gap in answer.gaps] == [("picture-pages", ((1, 1),))] * is_picture


def test_a_file_whose_text_nobody_sees_is_not_said_to_be_pictures(tmp_path: Path) -> None:
    written = Written()
    written.page(INKLESS)
    answer = ask(tmp_path, written.pack())
    assert isinstance(answer, Refused)
    assert (answer.code, answer.detail) == ("no-text", "there is no text in it: 31 characters that nobody sees")
    assert "its pages are pictures" not in answer.reason()["hint"]
