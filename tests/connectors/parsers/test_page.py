"""What a browser shows of a page beyond the text between its tags, and what styles hide."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from connectors.parsers import Limits, Parsed, ParseRequest, Refused, child


def ask(folder: Path, content: bytes, name: str = "page.html") -> child.Answered:
    path = folder / "upload"
    path.write_bytes(content)
    return child.answer(ParseRequest(str(path), name, Limits()))


def read(folder: Path, body: str, styles: str = "") -> Parsed:
    page = f"<!doctype html><html><head>{styles}</head><body>{body}</body></html>"
    answer = ask(folder, page.encode())
    assert isinstance(answer, Parsed), answer
    return answer


@pytest.mark.parametrize(
    "page",
    [
        "<html><body><p>one</p></body></html><p>two</p>",
        "<html><body><p>one</p></body></html>\n<!-- x -->\n<html><body><p>two</p></body></html>",
        "<html><body><p>one</p></body><body><p>two</p></body></html>",
    ],
)
def test_what_stands_behind_the_end_of_a_page_is_kept(tmp_path: Path, page: str) -> None:
    answer = ask(tmp_path, page.encode())
    assert isinstance(answer, Parsed), answer
    assert answer.text == "one\n\ntwo"


DATA = base64.b64encode("<p>Größe</p>".encode()).decode()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('<iframe src="data:text/html,<p>within</p>">copy</iframe>', "within"),
        (f'<iframe src="data:text/html;charset=utf-8;base64,{DATA}"></iframe>', "Größe"),
        ('<object data="data:text/plain,a <b> c">copy</object>', "```\na <b> c\n```"),
        ('<embed src="data:text/html,%3Cp%3Ewithin%3C/p%3E">', "within"),
        ('<img src="data:image/svg+xml,<svg><text>drawn</text></svg>">', "drawn"),
        ('<img alt="described" src="data:image/svg+xml,<svg><text>drawn</text></svg>">', "described"),
        ('<object data="film.swf">shown instead</object>', "shown instead"),
        ('<iframe src="data:text/html;base64,!">copy</iframe>', ""),
    ],
)
def test_a_page_that_lies_in_an_address_is_read(tmp_path: Path, body: str, text: str) -> None:
    answer = read(tmp_path, f"<p>around</p>{body}")
    assert answer.text == f"around\n\n{text}".strip()
    assert not answer.partial


def test_pages_within_pages_are_read_down_to_a_bound_that_is_named(tmp_path: Path) -> None:
    page = "<p>depth 9"
    for depth in range(8, 0, -1):
        page = f'<p>depth {depth}<iframe src="data:text/html;base64,{base64.b64encode(page.encode()).decode()}">'
    answer = read(tmp_path, page)
    assert "depth 4" in answer.text
    assert [gap.code for gap in answer.gaps] == ["frames"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("<img src=a.png><img src=b.png>", "no-text"),
        (f"<img src=data:image/png;base64,{'A' * 200_000}>", "no-text"),
        ("<iframe src=a.html></iframe>", "empty"),
    ],
)
def test_a_page_that_is_pictures_or_frames_says_so(tmp_path: Path, body: str, code: str) -> None:
    answer = ask(tmp_path, f"<html><body>{body}</body></html>".encode())
    assert isinstance(answer, Refused)
    assert answer.code == code
    assert "picture" in answer.detail or "frames" in answer.detail


@pytest.mark.parametrize(
    ("frame", "number"),
    [
        ("<iframe src=terms.html width=600 height=100%></iframe>", 1),
        ("<iframe src=a.html>copy</iframe><div><iframe style='width:100px' src='//x/b.pdf'></iframe></div>", 2),
        ("<iframe srcdoc='<p>within</p><iframe src=a.html></iframe>'></iframe>", 1),
        ("<iframe srcdoc='<p>within</p>' src=a.html></iframe>", 0),
        ("<iframe></iframe><iframe src=' '></iframe><iframe src=about:blank></iframe>", 0),
        ("<iframe src=a.html width=1 height=1></iframe><iframe src=a.html height=0px></iframe>", 0),
        ("<iframe src=a.html style='border:0;width:1px'></iframe><iframe hidden src=a.html></iframe>", 0),
        ("<iframe src=a.html style='visibility:hidden'></iframe><div hidden><iframe src=a.html></iframe></div>", 0),
        ("<noscript><iframe src=a.html></iframe></noscript><template><iframe src=a.html></iframe></template>", 0),
        ("<iframe src='javascript:void(0)'></iframe><div style='display:none'><iframe src=a.html></iframe></div>", 0),
    ],
)
def test_a_frame_that_shows_another_file_is_named_on_a_page_with_text(tmp_path: Path, frame: str, number: int) -> None:
    answer = read(tmp_path, f"<p>around</p>{frame}")
    assert "around" in answer.text
    assert [(gap.code, gap.detail[0]) for gap in answer.gaps] == [("frames", str(number))] * bool(number)


def test_a_large_picture_in_a_page_is_named(tmp_path: Path) -> None:
    data = f"data:image/jpeg;base64,{'A' * 200_000}"
    answer = read(tmp_path, f"<p>Scan<img src={data}><img alt=plan src={data}><img src=data:image/png,x><img src=x>")
    assert [(gap.code, gap.detail[0]) for gap in answer.gaps] == [("picture", "1")]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<p>a</p><embed src=x type=application/pdf><p>valve</p>tail", "a valve tail"),
        ("<p>a<wbr>b<wbr>c<b>d</b>e</p><p>f", "abcde f"),
        ("<p>a</p><bgsound src=x><p>b</p><keygen><p>c</p><param name=n><p>d</p>", "a b c d"),
        ("<picture><source srcset=x><source srcset=y><img alt=pump src=x></picture>", "pump"),
        ("<p>a<embed src=x>b<track>c<i>d</i>e<source>f<!-- x -->g<p>h", "abcdefg h"),
        ("<image alt=pump src=x>after", "pump after"),
        ("<img title=pump src=x> <img alt=seal title=ring src=x>", "pump seal"),
        ("<svg><image href=x><title>pump</title></image></svg><svg><desc>a<wbr>b</desc></svg>", "pump ab"),
        ("<video><track src=x>shown elsewhere</video><p>a", "a"),
    ],
)
def test_what_follows_an_element_without_content_is_kept(tmp_path: Path, body: str, text: str) -> None:
    answer = read(tmp_path, body)
    assert answer.text.split() == text.split()
    assert not answer.partial


def test_many_elements_without_content_in_one_another_are_read_in_their_order(tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(9_000)]
    lines = [" <wbr>".join(words[start : start + 1_500]) for start in range(0, len(words), 1_500)]
    answer = read(tmp_path, "".join(f"<p>{each}</p>" for each in lines))
    assert answer.text.split() == words
    assert not answer.partial


# --- styles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("styles", "shown"),
    [
        ('.w::before { content: "Beware: " }', "Beware: text"),
        (".w:after{content:' (' attr(data-n) ')'}", "text (five)"),
        ('p::before { content: "\\201C" } p::after { content: "\\201D" }', "“text”"),
        ('.w::before { content: "\\f101" }', "text"),
        ('.w::after { content: "."; visibility: hidden; height: 0 }', "text"),
        ('.w::after { content: "gone"; display: none }', "text"),
        ('.w:hover::after { content: "pointed" }', "text"),
        ('@media print { .w::after { content: "printed" } }', "text"),
        ('.w::before{content:"first"} p.w::before{content:"then "}', "then text"),
        ("script::before, title::before { content: 'unseen' }", "text"),
    ],
)
def test_text_that_styles_add_is_kept(tmp_path: Path, styles: str, shown: str) -> None:
    answer = read(tmp_path, "<p class=w data-n=five>text</p><script></script>", f"<style>{styles}</style>")
    assert answer.text == shown
    assert not answer.partial


@pytest.mark.parametrize(
    ("styles", "shown"),
    [
        ("<style media=print>.x{display:none}</style>", "one two"),
        ('<style media="screen">.x{display:none}</style>', "one"),
        ('<style media="(max-width: 9em)">.x{display:none}</style>', "one two"),
        ("<style>.x{content-visibility:hidden}</style>", "one"),
        ("<style>.x{content-visibility:auto}</style>", "one two"),
        ("<style>.x{display:none}.x::before{display:block;content:'a'}</style>", "one"),
        ("<style>.x::first-line{display:none}</style>", "one two"),
    ],
)
def test_styles_hide_where_they_hold(tmp_path: Path, styles: str, shown: str) -> None:
    assert read(tmp_path, "<p>one <span class=x>two</span></p>", styles).text == shown


def test_what_is_visible_within_something_that_is_not_is_kept(tmp_path: Path) -> None:
    body = (
        "<p>one</p><div style='visibility:hidden'>two<p style='visibility:visible'>three<b>four</b></p>five"
        "<p style='display:none'><i style='visibility:visible'>six</i></p></div>seven"
    )
    answer = read(tmp_path, body)
    assert answer.text.split() == ["one", "threefour", "seven"]
    assert not answer.partial
    assert answer.counts["hidden"].held == len("twofivesix")


def test_attributes_hide_within_a_drawing_and_nowhere_else(tmp_path: Path) -> None:
    drawing = "<svg><text display=none>one</text><text visibility=hidden>two</text><text>three</text></svg>"
    assert read(tmp_path, f"{drawing}<p display=none>four</p>").text.split() == ["three", "four"]
    assert read(tmp_path, "<math><mphantom>gone</mphantom><mfenced><mi>a</mi><mi>b</mi></mfenced></math>").text == (
        "(a,b)"
    )


@pytest.mark.parametrize(
    ("drawing", "text"),
    [
        ("<defs><text id=a>one</text><g><text>two</text></g></defs><text>three</text>", "three"),
        ("<symbol id=a><title>one</title><text>two</text></symbol><text>three</text>", "three"),
        ("<defs><text id=a>one</text><text id=b>two</text></defs><use href='#a'/>", "one"),
        ("<defs><g><text id=a>one</text></g></defs><use xlink:href='#a'/>", "one"),
        ("<defs><symbol id=a><text>one</text></symbol></defs></svg><p>two</p><svg><use href=#a></use>", "one two"),
        ("<defs><pattern id=a><text>one</text></pattern></defs><rect fill='url(#a)'/>", "one"),
        ("<defs><rect id=a></defs><use href='#b'/><a href='#a'><text>two</text></a>", "two"),
        ("<defs><use href='#b'/><text id=b>one</text></defs><text>two</text>", "one two"),
    ],
)
def test_what_a_drawing_keeps_for_use_is_seen_where_it_is_used(tmp_path: Path, drawing: str, text: str) -> None:
    answer = read(tmp_path, f"<svg>{drawing}</svg><p>end</p>")
    assert answer.text.split() == [*text.split(), "end"]
    assert not answer.partial


# --- lists, tables, forms -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listing", "lines"),
    [
        ("<ol type=a start=3><li>x<li>y</ol>", ["- c. x", "- d. y"]),
        ("<ol type=I><li>x<li type=A value=4>y</ol>", ["- I. x", "- D. y"]),
        ("<ol reversed><li>x<li>y</ol>", ["2. x", "1. y"]),
        ("<ol><li>x<ol type=i><li>y</ol><li>z</ol>", ["1. x", "   - i. y", "2. z"]),
    ],
)
def test_numbers_of_lists_are_those_that_a_browser_shows(tmp_path: Path, listing: str, lines: list[str]) -> None:
    assert read(tmp_path, listing).text.splitlines() == lines


def test_cells_over_rows_and_columns_move_no_other(tmp_path: Path) -> None:
    rows = (
        "<tr><th colspan=2>a<th>b<tr><td rowspan=2>c<td>d<td>e<tr><td>f<td>g<tr><td rowspan=0 colspan=2>h<td>i<tr><td>j"
    )
    assert read(tmp_path, f"<table>{rows}</table>").text.splitlines() == [
        "| a |  | b |", "| --- | --- | --- |", "| c | d | e |", "|  | f | g |", "| h |  | i |", "|  |  | j |",
    ]  # fmt: skip
    wide = read(tmp_path, "<table><tr><td colspan=1000>a<td>b<tr><td>c</table>").text
    assert len(wide.splitlines()[0]) < 400


def test_a_tick_is_kept(tmp_path: Path) -> None:
    body = "<label><input type=checkbox checked> agreed</label><label><input type=checkbox> asked</label>"
    assert read(tmp_path, body).text == "☒ agreed asked"


# --- encodings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "declared", "text"),
    [
        ("utf-16-le", "utf-16", "Größe"),
        ("utf-16-be", "", "Größe"),
        ("gb18030", "gb2312", "㐀阀门𠀀检查"),
        ("cp932", "shift_jis", "①弁㈱の点検"),
        ("cp949", "euc-kr", "밸브 똠방각하"),
        ("big5hkscs", "big5", "閥門嘅檢查"),
    ],
)
def test_encodings_are_those_of_browsers(tmp_path: Path, encoding: str, declared: str, text: str) -> None:
    page = f"<html><head><meta charset={declared or 'utf-8'}></head><body><p>{text}</p><p hidden>x</p></body></html>"
    answer = ask(tmp_path, page.encode(encoding))
    assert isinstance(answer, Parsed), answer
    assert answer.text == text
