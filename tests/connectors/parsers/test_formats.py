"""What bytes are, and their text: in this process, without the bounds of the parser's."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.parsers import Code, Limits, Parsed, ParseRequest, Refused, child, sniff
from tests.connectors.parsers import samples

LIMITS = Limits(unpacked_bytes_max=1_000_000, pages_max=5)


def ask(folder: Path, content: bytes, name: str = "file") -> Parsed | Refused:
    path = folder / "upload"
    path.write_bytes(content)
    return child.answer(ParseRequest(str(path), name, LIMITS))


def parsed(folder: Path, content: bytes, name: str = "file") -> Parsed:
    answer = ask(folder, content, name)
    assert isinstance(answer, Parsed), answer
    return answer


def test_markdown_and_text_stay_as_they_are(tmp_path: Path) -> None:
    text = "# Runbook\r\n\r\n- look\n"
    found = parsed(tmp_path, text.encode(), "runbook.md")
    assert (found.media_type, found.title, found.text) == (sniff.MARKDOWN, "Runbook", text.replace("\r\n", "\n"))
    found = parsed(tmp_path, "Just words.".encode("utf-8-sig"), "notes.txt")
    assert (found.media_type, found.title, found.text) == (sniff.PLAIN, "notes", "Just words.")
    assert parsed(tmp_path, b"\xff\xfe" + "Ümlaut".encode("utf-16-le")).text == "Ümlaut"


def test_html_becomes_its_headings_paragraphs_and_lists(tmp_path: Path) -> None:
    found = parsed(tmp_path, samples.page("Release &amp; rollback", ["Ship on a Tuesday, never on a Friday."]))
    assert (found.media_type, found.title) == (sniff.HTML, "Release & rollback")
    assert found.text.startswith("# Release & rollback\n\nShip on a Tuesday, never on a Friday.")
    assert "- first item" in found.text
    assert "track()" not in found.text


def test_a_docx_that_says_nothing_of_itself_is_called_by_its_heading(tmp_path: Path) -> None:
    document = samples.without_properties(samples.word("On call", ["Somebody answers."]))
    assert parsed(tmp_path, document, "on-call.docx").title == "On call"


def test_a_docx_becomes_its_headings_paragraphs_lists_and_tables(tmp_path: Path) -> None:
    found = parsed(tmp_path, samples.word("On call", ["Somebody answers within five minutes."]), "on-call.docx")
    assert (found.media_type, found.title) == (sniff.DOCX, "On call")
    for part in ("# On call", "Somebody answers within five minutes.", "- first item", "left cell"):
        assert part in found.text


def test_a_pdf_becomes_its_pages(tmp_path: Path) -> None:
    found = parsed(tmp_path, samples.pdf(["The first page.", "The (second) page."], title="Handbook"))
    assert (found.media_type, found.title, found.pages) == (sniff.PDF, "Handbook", 2)
    assert found.text == "The first page.\n\nThe (second) page."


@pytest.mark.parametrize(
    ("name", "content", "media_type"),
    [
        ("report.docx", samples.pdf(["Text."]), sniff.PDF),
        ("report.pdf", samples.word("Title", ["Text that is long enough."]), sniff.DOCX),
        ("report.txt", samples.page("Title", ["Text."]), sniff.HTML),
        ("report.pdf", b"plain words", sniff.PLAIN),
        ("report", b"# A heading\n\nWords.", sniff.MARKDOWN),
        ("part.html", b"<p>No page around it.</p>", sniff.HTML),
        ("report.txt", b"\n\n%PDF-1.4 is how it begins".replace(b"%PDF", b"PDF"), sniff.PLAIN),
    ],
)
def test_bytes_decide_what_a_file_is(tmp_path: Path, name: str, content: bytes, media_type: str) -> None:
    assert parsed(tmp_path, content, name).media_type == media_type


@pytest.mark.parametrize(
    ("code", "content"),
    [
        ("empty", b""),
        ("empty", b" \n\t "),
        ("empty", samples.page("", [])[:40] + b"</html>"),
        ("encrypted", samples.pdf(["Secret."], encrypted=True)),
        ("encrypted", samples.locked_word()),
        ("broken", samples.pdf(["Text."])[:60]),
        ("broken", samples.word("Title", ["Text."])[:200]),
        ("broken", samples.packed({"word/document.xml": b"<not", "[Content_Types].xml": b"<Types/>"})),
        ("no-text", samples.pdf(["", ""])),
        ("too-many-pages", samples.pdf(["x"] * 6)),
        ("too-much-text", b"word " * 250_000),
        ("zip-bomb", samples.bomb(2_000_000)),
        ("invalid-encoding", b"caf\xe9 in latin-1"),
        ("unsupported-type", samples.packed({"xl/workbook.xml": b"<x/>"})),
        ("unsupported-type", b"\x89PNG\r\n\x1a\n" + b"\0" * 64),
        ("unsupported-type", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 1024),
        ("unsupported-type", b"\x01\x02\0\0\x03" * 100),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(tmp_path: Path, code: Code, content: bytes) -> None:
    answer = ask(tmp_path, content, "upload.pdf")
    assert isinstance(answer, Refused), answer
    assert answer.code == code, answer
    assert answer.detail
    assert answer.reason()["hint"]


def test_text_that_the_database_cannot_hold_is_cleaned(tmp_path: Path) -> None:
    assert parsed(tmp_path, ("x" * 5_000 + "a\0b\x07c\uffff").encode()).text.endswith("xabc")
