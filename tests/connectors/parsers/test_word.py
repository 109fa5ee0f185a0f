"""What a word processor shows of a DOCX that no run of it holds, or that a property of it hides."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.parsers import Limits, Parsed, ParseRequest, child
from tests.connectors.parsers import samples
from tests.connectors.parsers.written_word import (
    LINKS,
    NAMESPACES,
    OFFICE,
    field_of,
    pack,
    paragraph,
    row,
    run,
    start,
    table,
)  # fmt: skip

MARK = '<w:r><w:fldChar w:fldCharType="{}"/></w:r>'
DRAWN = (
    '<w:r><w:drawing><wp:inline><wp:docPr id="1" name="d"/><a:graphic><a:graphicData>{}</a:graphicData></a:graphic>'
    "</wp:inline></w:drawing></w:r>"
)


def read(folder: Path, body: str, parts: dict[str, tuple[str, str | bytes]] | None = None) -> Parsed:
    """`parts`: by path below `word`, with the kind of the relationship. The first is `rId100`."""
    written = start(1)
    for name, (kind, content) in (parts or {}).items():
        written.parts[f"word/{name}"] = content
        if kind:
            written.link(kind, name)
    path = folder / "made.docx"
    path.write_bytes(pack(written, body))
    answer = child.answer(ParseRequest(str(path), "made.docx", Limits()))
    assert isinstance(answer, Parsed), answer
    return answer


def field_without_result(instruction: str) -> str:
    return MARK.format("begin") + f"<w:r><w:instrText>{instruction}</w:instrText></w:r>" + MARK.format("end")


# --- numbers --------------------------------------------------------------------------------------------------------


def level(number: int, form: str, text: str, more: str = "") -> str:
    return (
        f'<w:lvl w:ilvl="{number}"><w:start w:val="1"/><w:numFmt w:val="{form}"/>{more}<w:lvlText w:val="{text}"/>'
        "</w:lvl>"
    )


def numbering(levels: str, more: str = "") -> dict[str, tuple[str, str | bytes]]:
    lists = "".join(f'<w:num w:numId="{own}"><w:abstractNumId w:val="0"/>{more}</w:num>' for own in (1, 2))
    xml = f'<w:numbering {NAMESPACES}><w:abstractNum w:abstractNumId="0">{levels}</w:abstractNum>{lists}</w:numbering>'
    return {"numbering.xml": ("numbering", xml)}


def item(text: str, depth: int = 0, own: int = 1, more: str = "") -> str:
    place = f'<w:numPr><w:ilvl w:val="{depth}"/><w:numId w:val="{own}"/></w:numPr>'
    return paragraph(run(text), f"<w:pPr>{more}{place}</w:pPr>")


def test_the_numbers_of_lists_are_those_that_a_reader_sees(tmp_path: Path) -> None:
    levels = (
        level(0, "upperRoman", "Article %1:") + level(1, "lowerLetter", "(%2)") + level(2, "decimal", "%1.%2.%3",
        "<w:isLgl/>")
    )  # fmt: skip
    items = (("scope", 0), ("parts", 1), ("pumps", 1), ("seals", 2), ("terms", 0), ("again", 1))
    text = read(tmp_path, "".join(item(*each) for each in items), numbering(levels)).text
    assert [line.strip() for line in text.splitlines()] == [
        "- Article I: scope", "- (a) parts", "- (b) pumps", "- 1.2.1 seals", "- Article II: terms", "- (a) again",
    ]  # fmt: skip


def test_lists_of_one_definition_go_on_and_one_that_starts_anew_does(tmp_path: Path) -> None:
    body = item("one") + item("two", own=2) + item("three")
    assert read(tmp_path, body, numbering(level(0, "decimal", "%1."))).text == "1. one\n2. two\n3. three"
    anew = '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="7"/></w:lvlOverride>'
    assert read(tmp_path, body, numbering(level(0, "decimal", "%1."), anew)).text == "7. one\n7. two\n8. three"


def test_a_level_that_goes_on_behind_the_one_above_it_is_not_set_back(tmp_path: Path) -> None:
    levels = level(0, "decimal", "%1.") + level(1, "decimal", "%2)", '<w:lvlRestart w:val="0"/>')
    text = read(tmp_path, item("a") + item("b", 1) + item("c") + item("d", 1), numbering(levels)).text
    assert [line.split()[0] for line in text.splitlines()] == ["1.", "1)", "2.", "2)"]


def test_a_heading_has_its_number_and_a_cell_too(tmp_path: Path) -> None:
    heading = item("Scope", more='<w:pStyle w:val="Heading2"/>')
    body = heading + table(row(item("left"), item("right")))
    text = read(tmp_path, body, numbering(level(0, "decimal", "§ %1"))).text
    assert text == "## § 1 Scope\n\n| § 2 left | § 3 right |\n| --- | --- |"


def test_an_item_whose_end_is_deleted_does_not_count(tmp_path: Path) -> None:
    gone = '<w:rPr><w:del w:id="1" w:author="A"/></w:rPr>'
    place = '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>'
    body = item("one") + paragraph("", f"<w:pPr>{place}{gone}</w:pPr>") + item("two")
    assert read(tmp_path, body, numbering(level(0, "decimal", "%1."))).text == "1. one\n2. two"


# --- fields and equations -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instruction", "shown"),
    [
        (" MACROBUTTON NoMacro [your name] ", "[your name]"),
        (" GOTOBUTTON mark see there ", "see there"),
        (" SYMBOL 169 ", "©"),
        (' SYMBOL 252 \\f "Wingdings" \\s 12 ', "✓"),
        (' EQ \\* jc2 \\* "Font:Some Font" \\* hps10 \\o\\ad(\\s\\up 9(べん),弁)', "弁(べん)"),
        (" EQ \\f(one,two) ", "(one)/(two)"),
        (' XE "term" ', ""),
        (" TC words ", ""),
    ],
)
def test_a_field_without_a_result_shows_what_its_instruction_says(tmp_path: Path, instruction: str, shown: str) -> None:
    body = paragraph(run("before ") + field_without_result(instruction) + run(" after"))
    assert read(tmp_path, body).text == f"before {shown} after".replace("  ", " ")
    nested = field_of(f"<w:r><w:instrText>IF </w:instrText></w:r>{field_without_result(instruction)}", run("result"))
    assert read(tmp_path, paragraph(nested)).text == "result"


def term(text: str) -> str:
    return f"<m:r><m:t>{text}</m:t></m:r>"


@pytest.mark.parametrize(
    ("equation", "text"),
    [
        (f'<m:nary><m:naryPr><m:chr m:val="∑"/></m:naryPr><m:sub>{term("i")}</m:sub><m:e>{term("k")}</m:e></m:nary>',
         "∑_ik"),
        (f"<m:nary><m:e>{term('k')}</m:e></m:nary>", "∫k"),
        (f'<m:d><m:dPr><m:begChr m:val="["/><m:endChr m:val=""/></m:dPr><m:e>{term("k")}</m:e></m:d>', "[k"),
        (f"<m:d><m:e>{term('a')}</m:e><m:e>{term('b')}</m:e></m:d>", "(a|b)"),
        (f"<m:acc><m:e>{term('k')}</m:e></m:acc>", "k\u0302"),
        (f'{term("a")}<m:phant><m:phantPr><m:show m:val="0"/></m:phantPr><m:e>{term("ghost")}</m:e></m:phant>', "a"),
    ],
)  # fmt: skip
def test_the_signs_of_an_equation_are_kept(tmp_path: Path, equation: str, text: str) -> None:
    assert read(tmp_path, paragraph(f"<m:oMath>{equation}</m:oMath>")).text == text


# --- charts, pictures, parts ----------------------------------------------------------------------------------------


def series(inner: str) -> str:
    return f"<c:barChart><c:ser>{inner}</c:ser></c:barChart>"


VALUES = "<c:val><c:numRef><c:numCache><c:pt><c:v>77.5</c:v></c:pt></c:numCache></c:numRef></c:val>"


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        (series("<c:cat><c:numRef><c:numCache><c:pt><c:v>2019</c:v></c:pt></c:numCache></c:numRef></c:cat>" + VALUES),
         "2019"),
        (series("<c:cat><c:multiLvlStrRef><c:multiLvlStrCache><c:lvl><c:pt><c:v>North</c:v></c:pt></c:lvl>"
                "</c:multiLvlStrCache></c:multiLvlStrRef></c:cat>"), "North"),
        (series("<c:tx><c:v>Sales</c:v></c:tx><c:cat><c:strLit><c:pt><c:v>May</c:v></c:pt></c:strLit></c:cat>"),
         "Sales May"),
        (series(f'<c:dLbls><c:showVal val="1"/></c:dLbls>{VALUES}'), "77.5"),
        (series(f'<c:dLbls><c:showVal val="0"/></c:dLbls>{VALUES}'), ""),
        (series(VALUES) + "<c:dTable/>", "77.5"),
    ],
)  # fmt: skip
def test_names_and_labels_of_a_chart_are_kept(tmp_path: Path, inner: str, text: str) -> None:
    chart = f"<c:chartSpace {NAMESPACES}><c:chart><c:plotArea>{inner}</c:plotArea></c:chart></c:chartSpace>"
    body = paragraph(run("Figures") + DRAWN.format('<c:chart r:id="rId100"/>'))
    assert read(tmp_path, body, {"chart.xml": ("chart", chart)}).text == f"Figures\n\n{text}".strip()


def test_a_chart_of_the_newer_form_and_a_box_upon_a_chart_are_read(tmp_path: Path) -> None:
    newer = (
        f'<cx:chartSpace xmlns:cx="http://schemas.microsoft.com/office/drawing/2014/chartex" {NAMESPACES}><cx:strDim>'
        "<cx:lvl><cx:pt>leaf</cx:pt></cx:lvl></cx:strDim><cx:numDim><cx:lvl><cx:pt>8</cx:pt></cx:lvl></cx:numDim>"
        "<cx:tx><cx:txData><cx:f>Sheet1!B1</cx:f><cx:v>Branches</cx:v></cx:txData></cx:tx></cx:chartSpace>"
    )
    older = f'<c:chartSpace {NAMESPACES}><c:userShapes r:id="rId1"/></c:chartSpace>'
    links = (
        f'<Relationships xmlns="{LINKS}"><Relationship Id="rId1" Target="box.xml" '
        f'Type="{OFFICE}/relationships/chartUserShapes"/></Relationships>'
    )
    box = f"<c:userShapes {NAMESPACES}><a:p><a:r><a:t>a peak</a:t></a:r></a:p></c:userShapes>"
    name = 'xmlns:cx="http://schemas.microsoft.com/office/drawing/2014/chartex"'
    drawn = DRAWN.format(f'<cx:chart {name} r:id="rId100"/>') + DRAWN.format('<c:chart r:id="rId101"/>')
    answer = read(
        tmp_path,
        paragraph(run("Figures") + drawn),
        {
            "newer.xml": ("chartEx", newer),
            "older.xml": ("chart", older),
            "_rels/older.xml.rels": ("", links),
            "box.xml": ("", box),
        },
    )
    assert answer.text == "Figures\n\nleaf Branches\n\na peak"
    assert not answer.partial


def test_pictures_in_a_drawing_are_described_once(tmp_path: Path) -> None:
    def drawing(around: str, within: str) -> str:
        return (
            f'<w:r><w:drawing><wp:inline><wp:docPr id="1" name="p" descr="{around}"/><a:graphic><a:graphicData>'
            f'<pic:pic><pic:nvPicPr><pic:cNvPr id="0" name="i" descr="{within}"/></pic:nvPicPr><a:blip/></pic:pic>'
            "</a:graphicData></a:graphic></wp:inline></w:drawing></w:r>"
        )

    text = read(tmp_path, paragraph(drawing("a pump", "a pump") + drawing("both", "the seal"))).text
    assert text.split() == ["a", "pump", "both", "the", "seal"]


def test_a_large_picture_of_older_programs_is_named(tmp_path: Path) -> None:
    def shape(style: str, more: str = "") -> str:
        return f'<w:r><w:pict><v:shape style="{style}" {more}><v:imagedata/></v:shape></w:pict></w:r>'

    large = "position:absolute;width:500pt;height:26cm"
    body = paragraph(run("Scan") + shape(large) + shape("width:50pt;height:50pt") + shape(large, 'alt="plan"'))
    answer = read(tmp_path, body)
    assert [(gap.code, gap.detail[0]) for gap in answer.gaps] == [("picture", "1")]
    assert "plan" in answer.text


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"PK\x03\x04 cut off", "damaged-parts"),
        (samples.packed({"xl/workbook.xml": b"<x/>"}), "unread-parts"),
        (samples.packed({"word/document.xml": b"<cut"}), "damaged-parts"),
        (f"<w:document {NAMESPACES}><w:p/></w:document>".encode(), "unread-parts"),
    ],
)
def test_a_part_that_cannot_be_read_is_no_reason_to_refuse_the_rest(tmp_path: Path, content: bytes, code: str) -> None:
    body = paragraph(run("around it")) + '<w:altChunk r:id="rId100"/>'
    answer = read(tmp_path, body, {"chunk.bin": ("aFChunk", content)})
    assert answer.text == "around it"
    assert [gap.code for gap in answer.gaps] == [code]


# --- what is hidden -------------------------------------------------------------------------------------------------


def style(kind: str, own: str, more: str) -> str:
    return f'<w:style w:type="{kind}" w:styleId="{own}"{more}</w:style>'


HIDE = "<w:rPr><w:vanish/></w:rPr>"


@pytest.mark.parametrize(
    ("styles", "shown"),
    [
        ("", ["plain", "child", "secret", "both", "open"]),
        (style("paragraph", "Base", f">{HIDE}") + style("paragraph", "Child", '><w:basedOn w:val="Base"/>'),
         ["plain", "secret", "open"]),
        (style("character", "Secret", f">{HIDE}"), ["plain", "child", "open"]),
        (style("character", "Secret", f">{HIDE}") + style("paragraph", "Child", f">{HIDE}"), ["plain", "both", "open"]),
        (style("paragraph", "Normal", f' w:default="1">{HIDE}'), ["child", "both", "open"]),
        (f"<w:docDefaults><w:rPrDefault>{HIDE}</w:rPrDefault></w:docDefaults>", ["open"]),
    ],
)  # fmt: skip
def test_styles_hide_text_and_two_of_them_show_it_again(tmp_path: Path, styles: str, shown: list[str]) -> None:
    child_style = '<w:pPr><w:pStyle w:val="Child"/></w:pPr>'
    secret = '<w:rPr><w:rStyle w:val="Secret"/></w:rPr>'
    body = (
        paragraph(run("plain"))
        + paragraph(run("child"), child_style)
        + paragraph(run("secret", secret))
        + paragraph(run("both", secret), child_style)
        + paragraph(run("open", '<w:rPr><w:vanish w:val="0"/></w:rPr>'))
    )
    written = start(1)
    path = tmp_path / "made.docx"
    # The writer's own styles come behind these, and the first ones count.
    written.parts["word/own.xml"] = f"<w:styles {NAMESPACES}>{styles}</w:styles>"
    written.link("styles", "own.xml")
    path.write_bytes(pack(written, body))
    answer = child.answer(ParseRequest(str(path), "made.docx", Limits()))
    assert isinstance(answer, Parsed), answer
    assert answer.text.split() == shown


def test_margins_of_first_and_even_pages_are_seen_where_they_are_switched_on(tmp_path: Path) -> None:
    uses = ("first", "even", "default")
    parts: dict[str, tuple[str, str | bytes]] = {
        f"{use}.xml": ("header", f"<w:hdr {NAMESPACES}>{paragraph(run(use))}</w:hdr>") for use in uses
    }
    parts["unused.xml"] = ("footer", f"<w:ftr {NAMESPACES}>{paragraph(run('unused'))}</w:ftr>")
    named = "".join(f'<w:headerReference w:type="{use}" r:id="rId{100 + n}"/>' for n, use in enumerate(uses))
    off = read(tmp_path, paragraph(run("body")) + f'<w:sectPr>{named}<w:titlePg w:val="0"/></w:sectPr>', parts)
    assert off.text.split() == ["body", "default"]
    assert off.counts["hidden"].held == len("firstevenunused")
    parts["settings.xml"] = ("settings", f"<w:settings {NAMESPACES}><w:evenAndOddHeaders/></w:settings>")
    on = read(tmp_path, paragraph(run("body")) + f"<w:sectPr>{named}<w:titlePg/></w:sectPr>", parts)
    assert on.text.split() == ["body", "first", "even", "default"]


# --- blanks and tables ----------------------------------------------------------------------------------------------


def test_blanks_and_breaks_keep_words_apart(tmp_path: Path) -> None:
    kept = '<w:p xml:space="preserve"><w:r><w:t>one </w:t></w:r><w:r><w:t>two</w:t></w:r></w:p>'
    broken = '<w:r><w:t>three</w:t><w:br w:type="page"/><w:t>four</w:t></w:r>'
    assert read(tmp_path, kept + paragraph(broken)).text.split() == ["one", "two", "three", "four"]


def test_a_cell_over_two_columns_moves_no_other(tmp_path: Path) -> None:
    wide = f'<w:tc><w:tcPr><w:gridSpan w:val="2"/></w:tcPr>{paragraph(run("wide"))}</w:tc>'
    right = f"<w:tc>{paragraph(run('right'))}</w:tc>"
    body = table(f"<w:tr>{wide}{right}</w:tr>", row(*(paragraph(run(text)) for text in "abc")))
    assert read(tmp_path, body).text == "| wide |  | right |\n| --- | --- | --- |\n| a | b | c |"


@pytest.mark.parametrize(
    ("path", "kind", "shown"),
    [
        ("/q:form[1]/q:name[1]", "<w:text/>", "fresh"),
        ("/q:form[1]/@by", "<w:text/>", "Ada"),
        ("/q:form[1]/q:none[1]", "<w:text/>", "stale"),
        ("//*//*//*", "<w:text/>", "stale"),
        ("/q:form[1]/q:name[1]", "<w:date/>", "stale"),
    ],
)
def test_a_control_shows_the_value_that_it_is_bound_to(tmp_path: Path, path: str, kind: str, shown: str) -> None:
    binding = f'<w:dataBinding w:prefixMappings="xmlns:q=\'urn:q\'" w:xpath="{path}" w:storeItemID="{{aB}}"/>'
    control = f"<w:sdt><w:sdtPr>{binding}{kind}</w:sdtPr><w:sdtContent>{run('sta')}{run('le')}</w:sdtContent></w:sdt>"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/customXml"
    links = (
        f'<Relationships xmlns="{LINKS}"><Relationship Id="r" Target="about.xml" '
        f'Type="{OFFICE}/relationships/customXmlProps"/></Relationships>'
    )
    parts: dict[str, tuple[str, str | bytes]] = {
        "item.xml": ("customXml", '<form xmlns="urn:q" by="Ada"><name>fresh</name></form>'),
        "_rels/item.xml.rels": ("", links),
        "about.xml": ("", f'<ds:datastoreItem xmlns:ds="{office}" ds:itemID="{{AB}}"/>'),
    }
    assert read(tmp_path, paragraph(run("Name: ") + control), parts).text == f"Name: {shown}"


@pytest.mark.parametrize(
    ("names", "requires", "text"),
    [
        ("", "wps", "chosen"),
        ("", "wps a", "chosen"),
        ('xmlns:x="http://schemas.microsoft.com/office/drawing/2010/x"', "x", "chosen"),
        ('xmlns:x="urn:schemas-microsoft-com:vml"', "x", "chosen"),
        ('xmlns:x="http://example.org/drawing"', "x", "fallback"),
        ('xmlns:wps="http://example.org/drawing"', "wps", "fallback"),
        ('xmlns:x="http://example.org/drawing"', "wps x", "fallback"),
        ("", "nobody", "fallback"),
    ],
)
def test_of_several_forms_one_is_read_that_word_knows(tmp_path: Path, names: str, requires: str, text: str) -> None:
    forms = (
        f'<mc:AlternateContent {names}><mc:Choice Requires="{requires}">{run("chosen")}</mc:Choice>'
        f"<mc:Fallback>{run('fallback')}</mc:Fallback></mc:AlternateContent>"
    )
    answer = read(tmp_path, paragraph(forms))
    assert answer.text == text
    assert not answer.partial


# --- the order of what stands beside, changes, other directions -----------------------------------------------------


def box(inner: str) -> str:
    return (
        '<w:r><w:pict><v:shape style="width:50pt;height:50pt"><v:textbox><w:txbxContent>'
        f"{inner}</w:txbxContent></v:textbox></v:shape></w:pict></w:r>"
    )


def test_a_box_that_is_alone_in_its_paragraph_stands_before_the_next_one(tmp_path: Path) -> None:
    body = paragraph(run("before")) + paragraph(box(paragraph(run("within")))) + paragraph(run("behind"))
    assert read(tmp_path, body).text.split() == ["before", "within", "behind"]


def test_boxes_within_boxes_follow_what_they_stand_beside(tmp_path: Path) -> None:
    innermost = box(paragraph(run("innermost")))
    inner = box(paragraph(run("inner") + innermost) + paragraph(run("inner too")))
    body = paragraph(run("outer") + inner) + table(
        row(paragraph(run("a") + box(paragraph(run("b")))), paragraph(run("c")))
    )
    answer = read(tmp_path, body + paragraph(run("last")))
    words = answer.text.replace("|", " ").replace("---", " ").split()
    assert words.index("outer") < words.index("inner") < words.index("innermost") < words.index("too")
    assert sorted(words) == sorted(["outer", "inner", "innermost", "inner", "too", "a", "b", "c", "last"])
    assert words[-2:] == ["b", "last"], "behind its table, since a cell has no room for it"
    assert all(each.kept == each.held for each in answer.counts.values())


BUILT, NOBODY = "As built.", "Nobody reads this."


def test_changes_are_accepted_in_notes_and_a_note_of_deleted_text_is_gone(tmp_path: Path) -> None:
    by = 'w:id="7" w:author="A" w:date="2026-01-01T00:00:00Z"'
    removed = f"<w:del {by}><w:r><w:delText>twelve</w:delText></w:r></w:del>"
    changed = run("It has ") + removed + f"<w:ins {by}>{run('nine')}</w:ins>" + run(" valves.")
    notes = (
        f'<w:footnotes {NAMESPACES}><w:footnote w:id="2">{paragraph(changed)}</w:footnote>'
        f'<w:footnote w:id="3">{paragraph(run(NOBODY))}</w:footnote></w:footnotes>'
    )
    ends = f'<w:endnotes {NAMESPACES}><w:endnote w:id="2">{paragraph(run(BUILT))}</w:endnote></w:endnotes>'
    kept = '<w:r><w:footnoteReference w:id="2"/></w:r><w:r><w:endnoteReference w:id="2"/></w:r>'
    gone = f'<w:del {by}><w:r><w:delText>old</w:delText><w:footnoteReference w:id="3"/></w:r></w:del>'
    parts: dict[str, tuple[str, str | bytes]] = {
        "footnotes.xml": ("footnotes", notes),
        "endnotes.xml": ("endnotes", ends),
    }
    text = read(tmp_path, paragraph(run("The pump") + kept + gone), parts).text
    assert " ".join(text.split()) == "The pump[^1][^2] [^1]: It has nine valves. [^2]: As built."


def test_text_from_right_to_left_is_in_the_order_in_which_it_is_read(tmp_path: Path) -> None:
    properties = "<w:rPr><w:rtl/></w:rPr>"
    words = "".join(run(each, properties) for each in ("השסתום ", "נפתח ב־", "12", " בלילה"))
    body = paragraph(words, "<w:pPr><w:bidi/></w:pPr>") + table(row(paragraph(run("مضخة")), paragraph(run("صمام 3"))))
    text = read(tmp_path, body).text
    assert "השסתום נפתח ב־12 בלילה" in text
    assert "| مضخة | صمام 3 |" in text
