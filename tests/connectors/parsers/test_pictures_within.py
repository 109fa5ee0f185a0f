"""Pictures in texts and presentations that stand for a page: their letters, in their place, and why one has none."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pptx
import pytest

from connectors.parsers import Limits, Parsed, ParseRequest, Refused, ScanRequest, Unread, child
from connectors.parsers.pool import Parsers
from connectors.parsers.sniff import DOCX, PPTX
from tests.connectors.parsers import drawn
from tests.connectors.parsers.test_scans import bomb
from tests.connectors.parsers.test_word import DRAWN
from tests.connectors.parsers.written_word import BY, pack, paragraph, run, start

TENANT = uuid4()
LARGE = 'cx="7560000" cy="6000000"'
SMALL = 'cx="900000" cy="900000"'
SIZE = (900, 240)


@pytest.fixture(scope="module")
def parsers() -> Iterator[Parsers]:
    made = Parsers(Limits(pixels_max=3_000_000, scan_seconds_max=400))
    yield made
    made.close()


def photograph(words: str) -> bytes:
    return drawn.pack(drawn.page([words], size=SIZE), "PNG")


def picture(own_id: str, extent: str = LARGE, description: str = "", cut: str = "") -> str:
    fill = f'<pic:blipFill><a:blip r:embed="{own_id}"/>{cut}</pic:blipFill>'
    drawing = DRAWN.format(f"<pic:pic>{fill}</pic:pic>")
    placed = f'<wp:extent {extent}/><wp:docPr id="1" name="d" descr="{description}"/>'
    return drawing.replace('<wp:docPr id="1" name="d"/>', placed)


def word(folder: Path, body: str, *pictures: bytes) -> Path:
    """A DOCX whose pictures are `rId100` and so on."""
    written = start(1)
    for number, content in enumerate(pictures):
        written.parts[f"word/media/{number}.png"] = content
        written.link("image", f"media/{number}.png")
    path = folder / "made.docx"
    path.write_bytes(pack(written, body))
    return path


def test_pictures_of_a_text_are_read_in_their_places(parsers: Parsers, tmp_path: Path) -> None:
    guessed = "A screenshot of a bird Description automatically generated"
    cut = '<a:srcRect t="50000"/>'
    two_lines = drawn.page(
        ["The hidden plover sleeps.", "", "", "", "", "", "", "The shown osprey hunts."], size=(900, 600)
    )
    body = "".join(
        (
            paragraph(run("Before the first.")),
            paragraph(picture("rId100")),
            paragraph(run("Between them.")),
            paragraph(f"<w:del {BY}>{picture('rId101')}</w:del>"),
            paragraph(picture("rId101", SMALL)),
            paragraph(picture("rId101", description="a drawing of a curlew")),
            paragraph(picture("rId102", description=guessed)),
            paragraph(picture("rId103", cut=cut)),
            paragraph(run("Behind the last.")),
        )
    )
    content = (
        photograph("The heron fishes at low water."),
        photograph("The curlew sleeps."),
        photograph("A grebe dives."),
    )
    path = word(tmp_path, body, *content, drawn.pack(two_lines, "PNG"))
    answer = parsers.read(TENANT, path, "made.docx")
    assert isinstance(answer, Parsed), answer
    places = ["Before the first.", "Picture 1: The heron fishes", "Between them.", "a drawing of a curlew"]
    places += ["Picture 2: A grebe dives", "Picture 3: The shown osprey hunts", "Behind the last."]
    assert [each for each in places if each not in answer.text] == []
    at = [answer.text.index(each) for each in places]
    assert at == sorted(at)
    assert "curlew sleeps" not in answer.text, "what is deleted, small, or described by somebody is no page"
    assert "plover" not in answer.text, "what is cut off is shown to nobody"
    assert (answer.gaps, answer.pages) == ((), None)
    assert answer.counts["scan"].held == answer.counts["scan"].kept > 50


def test_a_slide_that_is_pictures_is_read_on_its_page(parsers: Parsers, tmp_path: Path) -> None:
    deck = pptx.Presentation()
    first, second, third = (deck.slides.add_slide(deck.slide_layouts[6]) for _ in range(3))
    first.shapes.add_textbox(0, 0, 900_000, 900_000).text_frame.text = "Words of the first slide"
    for top, words in ((3_400_000, "The osprey hunts below."), (0, "The heron fishes above.")):
        second.shapes.add_picture(io.BytesIO(photograph(words)), 0, top, 9_144_000, 3_300_000)
    third.shapes.add_textbox(0, 0, 900_000, 900_000).text_frame.text = "Words of the third slide"
    path = tmp_path / "made.pptx"
    deck.save(str(path))
    answer = parsers.read(TENANT, path, "made.pptx")
    assert isinstance(answer, Parsed), answer
    assert (answer.media_type, answer.pages, answer.gaps) == (PPTX, 3, ())
    pages = [answer.text[a:b] for a, b in zip(answer.starts, (*answer.starts[1:], None), strict=True)]
    assert "Words of the first slide" in pages[0]
    assert pages[1].index("heron fishes above") < pages[1].index("osprey hunts below")
    assert "Words of the third slide" in pages[2]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x89PNG cut off", "broken: it begins like a picture, and is none"),
        (bomb(40_000, 40_000), "too-large: the picture has 1600000000 pixels"),
        (b"\x01\0\0\0" + bytes(36) + b" EMF" + bytes(60), "unsupported-type: the picture is a drawing of lines"),
    ],
)
def test_a_picture_that_cannot_be_read_is_named_and_the_rest_is_kept(
    parsers: Parsers, tmp_path: Path, content: bytes, why: str
) -> None:
    body = paragraph(run("Some words.")) + paragraph(picture("rId100"))
    answer = parsers.read(TENANT, word(tmp_path, body, content), "made.docx")
    assert isinstance(answer, Parsed), answer
    assert answer.text.strip() == "Some words."
    (gap,) = answer.gaps
    assert (gap.code, gap.pages) == ("unread-pages", ())
    assert why in gap.detail
    assert gap.detail.endswith("pictures 1")


def test_a_picture_that_is_nowhere_is_a_gap_and_asks_for_nothing(tmp_path: Path) -> None:
    """Outside of the file, or in a part that is not there; and where nobody recognises letters."""
    body = paragraph(run("Some words.")) + paragraph(picture("rId999"))
    answer = child.answer(ParseRequest(str(word(tmp_path, body)), "made.docx", Limits(), scans=()))
    assert isinstance(answer, Parsed), answer
    assert [gap.code for gap in answer.gaps] == ["picture"]
    body = paragraph(run("Some words.")) + paragraph(picture("rId100"))
    path = word(tmp_path, body, photograph("x"))
    answer = child.answer(ParseRequest(str(path), "made.docx", Limits()))
    assert isinstance(answer, Parsed)
    assert [gap.code for gap in answer.gaps] == ["picture"]
    assert child.answer(ParseRequest(str(path), "made.docx", Limits(), scans=())) == Unread(DOCX, (1,))


def test_a_number_that_no_picture_has_is_refused(tmp_path: Path) -> None:
    path = word(tmp_path, paragraph(run("Some words.")))
    for number in (0, 1, 7):
        answer = child.answer(ScanRequest(str(path), DOCX, number, Limits()))
        assert isinstance(answer, Refused)
        assert answer.code == "broken"
