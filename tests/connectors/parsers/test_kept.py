"""What a reader of a file sees is in its text, once; what none sees is not; and the count says so."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from connectors.parsers import GAP_HINTS, UNSEEN, Limits, Parsed, ParseRequest, Refused, child
from tests.connectors.parsers import written_page, written_pdf, written_word
from tests.connectors.parsers.written_pdf import line, note, picture

WORDS = re.compile(r"\w+")


def read(folder: Path, content: bytes, name: str) -> child.Answered:
    path = folder / "upload"
    path.write_bytes(content)
    return child.answer(ParseRequest(str(path), name, Limits()))


def check(folder: Path, content: bytes, name: str, seen: list[str], unseen: list[str]) -> Parsed:
    """Each word that is seen is there once, none of the others is, and nothing is missing by the count."""
    answer = read(folder, content, name)
    assert isinstance(answer, Parsed), answer
    found = Counter(WORDS.findall(answer.text))
    assert [word for word in seen if found[word] != 1] == [], answer.text
    assert [word for word in unseen if found[word]] == [], answer.text
    assert answer.gaps == ()
    assert {kind: each for kind, each in answer.counts.items() if kind not in UNSEEN and each.held != each.kept} == {}
    return answer


@pytest.mark.parametrize("seed", range(100))
def test_a_docx_made_at_random_is_kept(tmp_path: Path, seed: int) -> None:
    content, seen, unseen = written_word.write(seed)
    assert seen
    check(tmp_path, content, "made.docx", seen, unseen)


@pytest.mark.parametrize("make", [*written_word.LEAVES, *written_word.WRAPPERS], ids=lambda make: make.__name__)
@pytest.mark.parametrize("strict", [False, True], ids=["transitional", "strict"])
def test_each_construct_within_a_paragraph_is_kept(tmp_path: Path, make: written_word.Construct, strict: bool) -> None:
    written = written_word.start(1)
    body = written_word.paragraph(make(written) + written_word.run(" ") + make(written)) + written_word.paragraph(
        written_word.plain(written)
    )
    content = written_word.pack(written, body, strict=strict)
    check(tmp_path, content, "made.docx", written.seen, written.unseen)


@pytest.mark.parametrize("make", dict.fromkeys(written_word.BLOCKS), ids=lambda make: make.__name__)
def test_each_construct_around_paragraphs_is_kept(tmp_path: Path, make: written_word.Construct) -> None:
    written = written_word.start(2)
    body = make(written) + make(written) + written_word.paragraph(written_word.plain(written))
    check(tmp_path, written_word.pack(written, body), "made.docx", written.seen, written.unseen)


def test_what_nobody_sees_is_counted_by_its_kind(tmp_path: Path) -> None:
    written = written_word.start(3)
    makers = (written_word.deleted, written_word.vanished, written_word.complex_field, written_word.box_twice)
    body = written_word.paragraph("".join(make(written) for make in makers))
    counts = check(tmp_path, written_word.pack(written, body), "made.docx", written.seen, written.unseen).counts
    assert {kind for kind, each in counts.items() if each.held and not each.kept} == UNSEEN - {"outside", "unsure"}


# --- pages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(100))
def test_a_page_made_at_random_is_kept(tmp_path: Path, seed: int) -> None:
    content, seen, unseen = written_page.write(seed)
    assert seen
    check(tmp_path, content, "made.html", seen, unseen)


CONSTRUCTS = dict.fromkeys((*written_page.LEAVES, *written_page.WRAPPERS, *written_page.BLOCKS))


@pytest.mark.parametrize("make", CONSTRUCTS, ids=lambda make: make.__name__)
def test_each_construct_of_a_page_is_kept(tmp_path: Path, make: written_page.Construct) -> None:
    written = written_page.start(1)
    body = f"<p>{written.word()}</p>" + " ".join(make(written) for _ in range(20))
    check(tmp_path, written_page.pack(written, body), "made", written.seen, written.unseen)


@pytest.mark.parametrize(
    ("encoding", "declared", "text"),
    [
        ("utf-8", "utf-8", "Größe Ventilprüfung"),
        ("utf-8", "", "Größe Ventilprüfung"),
        ("utf-8", "iso-8859-1", "Größe Ventilprüfung"),
        ("utf-8-sig", "", "Größe Ventilprüfung"),
        ("utf-16", "", "Größe Ventilprüfung"),
        ("cp1252", "windows-1252", "Größe – “Prüfung”"),
        ("cp1252", "iso-8859-1", "Größe – “Prüfung”"),
        ("latin-1", "ISO_8859-1", "Größe Prüfung"),
        ("iso8859-15", "latin9", "Größe für 5 €"),
        ("cp1250", "windows-1250", "Příliš žluťoučký kůň"),
        ("iso8859-2", "l2", "Zażółć gęślą jaźń"),
        ("cp1251", "windows-1251", "Проверка клапанов каждый год"),
        ("koi8-r", "koi8-r", "Проверка клапанов каждый год"),
        ("iso8859-7", "greek", "Έλεγχος βαλβίδων"),
        ("cp1254", "iso-8859-9", "Vana kontrolü yılda bir"),
        ("shift_jis", "Shift_JIS", "弁の点検は毎年行う"),
        ("euc-jp", "EUC-JP", "弁の点検は毎年行う"),
        ("iso2022_jp", "ISO-2022-JP", "弁の点検は毎年行う"),
        ("gbk", "gb2312", "阀门检查每年一次"),
        ("gb18030", "gb18030", "阀门检查每年一次"),
        ("big5", "big5", "閥門檢查每年一次"),
        ("euc-kr", "euc-kr", "밸브 점검은 매년"),
    ],
)
@pytest.mark.parametrize(
    "form", ["<meta charset='{}'>", '<meta http-equiv=content-type content="text/html; charset={}">']
)
def test_a_page_is_read_in_its_encoding(tmp_path: Path, encoding: str, declared: str, text: str, form: str) -> None:
    head = form.format(declared) if declared else ""
    content = written_page.pack(written_page.start(1), f"<p>{text}</p>", encoding=encoding, head=head)
    answer = read(tmp_path, content, "page.html")
    assert isinstance(answer, Parsed), answer
    assert answer.text == text


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1251", "Проверка клапанов проводится каждый год, и о ней пишут отчёт для завода."),
        ("shift_jis", "弁の点検は毎年行う。その結果は工場の記録に残す。"),
        ("cp1252", "Die Größe der Ventile wird jährlich geprüft, und das Ergebnis für das Werk aufgeschrieben."),
    ],
)
def test_a_page_that_names_no_encoding_is_read_by_what_it_looks_like(tmp_path: Path, encoding: str, text: str) -> None:
    answer = read(tmp_path, f"<html><body><p>{text}</p></body></html>".encode(encoding), "page.html")
    assert isinstance(answer, Parsed), answer
    assert answer.text == text


def test_a_page_is_known_after_a_long_comment_and_in_strict_form(tmp_path: Path) -> None:
    comment = f"<!-- {'x' * 9_000} -->\n<?xml version='1.0'?><!-- y --><html><body>shown</body></html>"
    strict = (
        '<?xml version="1.0" encoding="iso-8859-1"?><html xmlns="http://www.w3.org/1999/xhtml"><body>'
        "<p>Gr\u00f6\u00dfe <![CDATA[& shown]]></p></body></html>"
    )
    for content, text in ((comment.encode(), "shown"), (strict.encode("latin-1"), "Größe & shown")):
        answer = read(tmp_path, content, "page")
        assert isinstance(answer, Parsed), answer
        assert answer.text == text


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ("<div id=app></div><noscript>Needs scripts.</noscript><script>a()</script>", "scripted", "Needs scripts."),
        ("<frameset><frame src=a><noframes><p>See a.</p></noframes></frameset>", "frames", "See a."),
    ],
)
def test_a_page_that_is_made_elsewhere_says_so(tmp_path: Path, body: str, code: str, text: str) -> None:
    answer = read(tmp_path, f"<html>{body}</html>".encode(), "page.html")
    assert isinstance(answer, Parsed), answer
    assert [gap.code for gap in answer.gaps] == [code]
    assert answer.text == text


def test_a_page_of_scripts_alone_is_refused_with_that_reason(tmp_path: Path) -> None:
    answer = read(tmp_path, b"<html><body><div id=app></div><script src=a.js></script></body></html>", "page.html")
    assert isinstance(answer, Refused)
    assert "scripts" in answer.detail


@pytest.mark.parametrize("depth", [200, 1_000, 20_000])
def test_nesting_costs_no_text_without_a_word(tmp_path: Path, depth: int) -> None:
    answer = read(tmp_path, f"<html><body><p>begin</p>{'<div>' * depth}within".encode(), "page.html")
    assert isinstance(answer, Parsed), answer
    assert "begin" in answer.text
    assert "within" in answer.text or answer.partial


# --- PDF ------------------------------------------------------------------------------------------------------------


def test_what_was_typed_into_a_pdf_and_written_on_it_is_kept(tmp_path: Path) -> None:
    written = written_pdf.Written()
    written.page(
        line("printed"),
        [
            written_pdf.text_field("a", "typed"),
            written_pdf.text_field("b", "secret", "/Ff 8192"),
            written_pdf.text_field("c", "unseen", "/F 2"),
            written_pdf.choice_field("d", ["left", "chosen"], ["chosen"], listed=False),
            written_pdf.choice_field("e", ["one", "two", "three"], ["one", "three"], listed=True),
            written_pdf.tick("ticked", on=True),
            written_pdf.tick("unticked", on=False),
            note("Text", "remarked"),
            note("FreeText", "scribbled"),
            note("Highlight", "stressed"),
            note("Stamp", "stamped"),
            note("Text", "gone", "/F 2"),
            note("Link", "tooltip"),
            note("Popup", "doubled"),
        ],
    )
    seen = ["printed", "typed", "chosen", "one", "three", "ticked", "remarked", "scribbled", "stressed", "stamped"]
    unseen = ["secret", "unseen", "left", "two", "unticked", "gone", "tooltip", "doubled", "internal"]
    answer = check(tmp_path, written.pack(), "made.pdf", seen, unseen)
    assert {"text", "form", "note", "hidden"} == set(answer.counts)


def test_words_whose_letters_are_drawn_one_by_one_stay_words(tmp_path: Path) -> None:
    lines = ("illicit flails lie still", "a mild whim")
    written = written_pdf.Written()
    written.page(
        b"".join(
            line(character, 72 + 9 * at, 700 - 20 * row)
            for row, text in enumerate(lines)
            for at, character in enumerate(text)
        )
    )
    answer = check(tmp_path, written.pack(), "letters.pdf", ["illicit", "flails", "whim"], [])
    assert answer.text.split("\n") == list(lines)


def test_pages_that_are_pictures_are_named(tmp_path: Path) -> None:
    written = written_pdf.Written()
    written.page(line("A page of text that somebody can read, with a small picture.") + picture(60, 60))
    written.page(picture())
    written.page(picture() + line("Page 3 of 9", y=20))
    written.page(b"")
    written.page(picture(500, 200) + line("5", y=20))
    written.page(line("The last page is read."))
    written.page(b" ".join(f"{x} 10 m {x} 90 l S".encode() for x in range(10, 90)))
    written.page(b"10 10 m 90 90 l S")
    answer = read(tmp_path, written.pack(), "scan.pdf")
    assert isinstance(answer, Parsed), answer
    assert [(gap.code, gap.pages) for gap in answer.gaps] == [("picture-pages", ((2, 3), (5, 5), (7, 7)))]
    assert "2–3, 5, 7" in answer.gaps[0].detail
    assert answer.pages == 8


def test_a_scan_with_its_letters_is_no_picture(tmp_path: Path) -> None:
    written = written_pdf.Written()
    lines = (f"Line {number} of a letter that a machine has read." for number in range(12))
    written.page(picture() + b"3 Tr\n" + b"".join(line(text, y=800 - 20 * n) for n, text in enumerate(lines)))
    answer = read(tmp_path, written.pack(), "scan.pdf")
    assert isinstance(answer, Parsed), answer
    assert not answer.partial


def test_vertical_writing_is_read_beside_other(tmp_path: Path) -> None:
    written = written_pdf.Written()
    written.page(written_pdf.vertical_line("縦書きの点検記録") + written_pdf.vertical_line("二行目の弁", 270))
    written.page(line("Across") + written_pdf.vertical_line("縦書き"))
    written.page(line("Across alone"))
    answer = read(tmp_path, written.pack(), "vertical.pdf")
    assert isinstance(answer, Parsed), answer
    assert not answer.partial
    for text in ("縦書きの点検記録", "二行目の弁", "Across", "Across alone"):
        assert text in answer.text


def test_what_lies_beyond_the_edge_is_counted_and_left_out(tmp_path: Path) -> None:
    written = written_pdf.Written()
    written.page(line("inside") + line("outside", -900, -900))
    answer = check(tmp_path, written.pack(), "made.pdf", ["inside"], ["outside"])
    assert answer.counts["outside"].held == len("outside")


def test_a_page_whose_text_all_lies_beyond_its_edge_has_none(tmp_path: Path) -> None:
    written = written_pdf.Written()
    written.page(line("outside", -900, -900))
    answer = read(tmp_path, written.pack(), "made.pdf")
    assert isinstance(answer, Refused)
    assert answer.code == "no-text"


def test_attached_files_and_forms_that_are_programs_are_named(tmp_path: Path) -> None:
    written = written_pdf.Written()
    written.page(line("Please wait"))
    written.attach(b"table.xlsx", b"PK")
    answer = read(tmp_path, written.pack(form=b"/XFA [(template) 7 0 R]"), "made.pdf")
    assert isinstance(answer, Parsed), answer
    assert {gap.code for gap in answer.gaps} >= {"embedded-files"}


@pytest.mark.parametrize(
    ("given", "title"),
    [
        ("Handbook of valves", "Handbook of valves"),
        ("untitled", "handbook"),
        ("Untitled-1", "handbook"),
        ("Microsoft Word - draft3 FINAL.docx", "handbook"),
        ("Microsoft Word - Valves and seals", "Valves and seals"),
        ("papers/report.doc", "handbook"),
        ("PowerPoint Presentation", "handbook"),
        ("Document1", "handbook"),
        ("---", "handbook"),
        ("Title IX", "Title IX"),
        ("Untitled works of the studio", "Untitled works of the studio"),
    ],
)
def test_a_title_that_a_program_made_up_is_none(tmp_path: Path, given: str, title: str) -> None:
    written = written_pdf.Written()
    written.page(line("Text."))
    answer = read(tmp_path, written.pack(given.encode()), "handbook.pdf")
    assert isinstance(answer, Parsed), answer
    assert answer.title == title


# --- gaps of a DOCX -------------------------------------------------------------------------------------------------


def test_what_a_docx_holds_and_no_text_has_is_named(tmp_path: Path) -> None:
    written = written_word.start(1)
    written.parts["word/chunk.rtf"] = r"{\rtf1 some text}"
    chunk = f'<w:altChunk r:id="{written.link("aFChunk", "chunk.rtf")}"/>'
    picture_of_a_page = (
        '<w:r><w:drawing><wp:inline><wp:extent cx="6000000" cy="8000000"/><wp:docPr id="1" name="p"/><a:graphic>'
        "<a:graphicData><a:blip/></a:graphicData></a:graphic></wp:inline></w:drawing></w:r>"
    )
    embedded = '<w:r><w:object><o:OLEObject ProgID="Excel.Sheet.12"/></w:object></w:r>'
    unended = '<w:r><w:fldChar w:fldCharType="begin"/></w:r>' + written_word.run("after a field without an end")
    written.parts["word/footnotes.xml"] = "<w:footnotes"
    written.link("footnotes", "footnotes.xml")
    body = written_word.paragraph(written_word.plain(written) + picture_of_a_page + embedded + unended) + chunk
    answer = read(tmp_path, written_word.pack(written, body), "made.docx")
    assert isinstance(answer, Parsed), answer
    assert answer.partial
    assert {gap.code for gap in answer.gaps} == {"embedded-files", "picture", "unread-parts", "damaged-parts"}
    reason = answer.reason()
    assert reason
    assert all(gap.detail in reason["detail"] and GAP_HINTS[gap.code] in reason["hint"] for gap in answer.gaps)
    assert "after a field without an end" in answer.text


def test_a_docx_of_pictures_alone_is_refused_as_such(tmp_path: Path) -> None:
    body = written_word.paragraph("<w:r><w:drawing><wp:inline><a:blip/></wp:inline></w:drawing></w:r>")
    answer = read(tmp_path, written_word.pack(written_word.start(1), body), "scan.docx")
    assert isinstance(answer, Refused)
    assert answer.code == "no-text"


def test_a_document_within_a_document_is_read(tmp_path: Path) -> None:
    inner, outer = written_word.start(1), written_word.start(2)
    inner.count = 100
    packed = written_word.pack(inner, written_word.paragraph(written_word.plain(inner)))
    body = written_word.paragraph(written_word.plain(outer)) + (
        f'<w:altChunk r:id="{outer.link("aFChunk", "inner.docx")}"/>'
    )
    outer.parts["word/inner.docx"] = packed
    check(tmp_path, written_word.pack(outer, body), "made.docx", outer.seen + inner.seen, [])
