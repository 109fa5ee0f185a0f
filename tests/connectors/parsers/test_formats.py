"""What bytes are, and their text: in this process, without the bounds of the parser's."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.parsers import Code, Limits, Parsed, ParseRequest, Refused, child, sniff
from tests.connectors.parsers import samples

LIMITS = Limits(unpacked_bytes_max=1_000_000, pages_max=5)


def ask(folder: Path, content: bytes, name: str = "file") -> child.Answered:
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


@pytest.mark.parametrize("name", ["notes.txt", "notes.md", "notes.html", "notes.eml"])
@pytest.mark.parametrize("text", ["\u200b", "\ufeff\ufeff", " \n\u2060\u200b \t\ufeff\n", "\u200e\u00ad"])
def test_a_text_in_which_nothing_is_shown_is_empty(tmp_path: Path, text: str, name: str) -> None:
    answer = ask(tmp_path, text.encode(), name)
    assert isinstance(answer, Refused), answer
    assert answer.code == "empty"
    assert parsed(tmp_path, f"{text}a".encode(), name).text.endswith("a")


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
        ("invalid-encoding", bytes(range(0x80, 0x100)) * 9),
        ("unsupported-type", samples.packed({"content.xml": b"<x/>"})),
        ("broken", b"\x89PNG\r\n\x1a\n" + b"\0" * 64),
        ("broken", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 1024),
        ("unsupported-type", b"\x01\x02\0\0\x03" * 100),
        ("broken", b"RIFF\x10\0\0\0WEBPVP8 " + bytes(range(256)) * 9),
        ("unsupported-type", b"GIF89a" + bytes(range(256)) * 9),
        ("unsupported-type", b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 9),
        ("unsupported-type", b"\xef\xbb\xbf\r\n{\\rtf1 words}"),
        ("unsupported-type", b"<?xml version='1.0'?><d xmlns='urn:oasis:names:tc:opendocument:xmlns:office:1.0'>x</d>"),
        ("unsupported-type", b"<?xml version='1.0'?><p xmlns='http://schemas.microsoft.com/office/2006/xmlPackage'/>"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(tmp_path: Path, code: Code, content: bytes) -> None:
    answer = ask(tmp_path, content, "upload.pdf")
    assert isinstance(answer, Refused), answer
    assert answer.code == code, answer
    assert answer.detail
    assert answer.reason()["hint"]


def test_text_that_the_database_cannot_hold_is_cleaned(tmp_path: Path) -> None:
    assert parsed(tmp_path, ("x" * 5_000 + "ab\x07c\uffff").encode()).text.endswith("xabc")


def test_words_between_which_there_is_no_other_blank_stay_two(tmp_path: Path) -> None:
    assert parsed(tmp_path, b"one\0two\x0cthree\x0bfour, a text").text == "one two three four, a text"
    assert parsed(tmp_path, b"\x1b[31mred\x1b[0m and \x1b]0;title\x07\x1b(Bplain").text == "red and plain"


def test_what_a_printer_strikes_over_is_written_once(tmp_path: Path) -> None:
    assert parsed(tmp_path, b"N\x08NA\x08AM\x08ME\x08E\n  the _\x08f_\x08i_\x08l_\x08e\n").text == "NAME\n  the file\n"


def test_an_encoding_shows_where_the_first_letters_of_it_stand(tmp_path: Path) -> None:
    plain = b"A line of words that every encoding has.\n" * 1_000
    for text, encoding in (
        ("Größe und Prüfung für alle Straßen", "cp1252"),
        ("Проверка клапанов каждый год", "cp1251"),
    ):
        found = parsed(tmp_path, plain + text.encode(encoding))
        assert found.text.endswith(text)
        assert not found.partial


def test_a_letter_in_another_encoding_is_no_reason_to_refuse_a_short_text(tmp_path: Path) -> None:
    found = parsed(tmp_path, "Größe und Prüfung, ".encode() * 3 + "für".encode("cp1252"))
    assert found.text.endswith("f\ufffdr")
    assert [gap.code for gap in found.gaps] == ["damaged-parts"]
