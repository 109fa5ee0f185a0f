"""DOCX files of which every word is known: put together from constructs, each of which says what a reader sees of it.

Knows the format from its side, that of somebody who writes it, and nothing of how it is read. A word is new each
time, so that what is kept, left out or kept twice can be told for each.
"""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.connectors.parsers.known import Known

MAIN = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006"
TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
LINKS = "http://schemas.openxmlformats.org/package/2006/relationships"
NAMESPACES = (
    f'xmlns:w="{MAIN}" xmlns:r="{OFFICE}/relationships" xmlns:m="{OFFICE}/math" '
    'xmlns:v="urn:schemas-microsoft-com:vml" xmlns:o="urn:schemas-microsoft-com:office:office" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing" '
    'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart" '
    'xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram" '
    'xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture" xmlns:x="urn:example:unheard-of"'
)
BY = 'w:id="7" w:author="A" w:date="2026-01-01T00:00:00Z"'
STRICT = (
    (MAIN, "http://purl.oclc.org/ooxml/wordprocessingml/main"),
    (f"{OFFICE}/relationships", "http://purl.oclc.org/ooxml/officeDocument/relationships"),
    (f"{OFFICE}/math", "http://purl.oclc.org/ooxml/officeDocument/math"),
    (
        "http://schemas.openxmlformats.org/drawingml/2006/main",
        "http://purl.oclc.org/ooxml/drawingml/main",
    ),
)


@dataclass
class Written(Known):
    """A document while it is written."""

    form = "qu{}{}x"
    parts: dict[str, str | bytes] = field(default_factory=dict)
    links: list[tuple[str, str, str]] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def link(self, kind: str, target: str) -> str:
        self.links.append((f"rId{len(self.links) + 100}", kind, target))
        return self.links[-1][0]


Construct = Callable[[Written], str]


def start(seed: int) -> Written:
    return Written(random.Random(seed))


def run(text: str, properties: str = "") -> str:
    return f'<w:r>{properties}<w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(inner: str, properties: str = "") -> str:
    return f"<w:p>{properties}{inner}</w:p>"


def field_of(instruction: str, result: str) -> str:
    def mark(kind: str) -> str:
        return f'<w:r><w:fldChar w:fldCharType="{kind}"/></w:r>'

    return mark("begin") + instruction + mark("separate") + result + mark("end")


def table(*rows: str) -> str:
    return f"<w:tbl><w:tblPr/><w:tblGrid><w:gridCol/></w:tblGrid>{''.join(rows)}</w:tbl>"


def row(*cells: str, properties: str = "") -> str:
    return f"<w:tr>{properties}{''.join(f'<w:tc><w:tcPr/>{cell}</w:tc>' for cell in cells)}</w:tr>"


# --- within a paragraph: each gives runs ----------------------------------------------------------------------------


def plain(d: Written) -> str:
    return run(f" {d.word()} ")


def split(d: Written) -> str:
    word = d.word()
    return run(" " + word[:2]) + run(word[2:4], "<w:rPr><w:b/></w:rPr>") + run(word[4:] + " ")


def soft_hyphen(d: Written) -> str:
    word = d.word()
    return f"<w:r><w:t>{word[:3]}</w:t><w:softHyphen/><w:t>{word[3:]}</w:t></w:r>" + run(" ")


def inserted(d: Written) -> str:
    return f"<w:ins {BY}>{inline(d)}</w:ins>"


def moved(d: Written) -> str:
    word = d.hidden(d.word)
    return f"<w:moveFrom {BY}>{run(word)}</w:moveFrom>" + f"<w:moveTo {BY}>{inline(d)}</w:moveTo>"


def deleted(d: Written) -> str:
    return f"<w:del {BY}><w:r><w:delText> {d.hidden(d.word)} </w:delText></w:r></w:del>"


def deleted_insertion(d: Written) -> str:
    return f"<w:ins {BY}><w:del {BY}><w:r><w:delText> {d.hidden(d.word)} </w:delText></w:r></w:del></w:ins>"


def control(d: Written) -> str:
    return f'<w:sdt><w:sdtPr><w:alias w:val="notatext"/></w:sdtPr><w:sdtContent>{inline(d)}</w:sdtContent></w:sdt>'


def wrapped(d: Written) -> str:
    before, after = d.random.choice(
        (
            ('<w:smartTag w:uri="u" w:element="City">', "</w:smartTag>"),
            ('<w:customXml w:element="e">', "</w:customXml>"),
            ('<w:hyperlink w:anchor="a">', "</w:hyperlink>"),
            ('<w:fldSimple w:instr="REF a">', "</w:fldSimple>"),
            ('<w:bdo w:val="rtl">', "</w:bdo>"),
            ("<x:wrapper>", "</x:wrapper>"),
        )
    )
    return before + inline(d) + after


def complex_field(d: Written) -> str:
    instruction = f"<w:r><w:instrText> REF {d.hidden(d.word)} </w:instrText></w:r>"
    if d.random.random() < 0.4:
        inner = field_of("<w:r><w:instrText>PAGE</w:instrText></w:r>", run(d.hidden(d.word)))
        instruction += inner
    return field_of(instruction, inline(d))


def vanished(d: Written) -> str:
    properties = d.random.choice(
        (
            "<w:rPr><w:vanish/></w:rPr>",
            '<w:rPr><w:vanish w:val="1"/></w:rPr>',
            '<w:rPr><w:rStyle w:val="Secret"/></w:rPr>',
        )
    )
    return run(f" {d.hidden(d.word)} ", properties)


def not_vanished(d: Written) -> str:
    properties = d.random.choice(
        (
            '<w:rPr><w:vanish w:val="0"/></w:rPr>',
            '<w:rPr><w:vanish w:val="false"/></w:rPr>',
            "<w:rPr><w:webHidden/></w:rPr>",
            '<w:rPr><w:rStyle w:val="Secret"/><w:vanish w:val="0"/></w:rPr>',
        )
    )
    return run(f" {d.word()} ", properties)


def box_twice(d: Written) -> str:
    """A shape for new programs, and the same for old ones."""
    made = blocks(d, 1)
    again = f"<w:p><w:r><w:t>{d.hidden(d.word)}</w:t></w:r></w:p>"
    return (
        '<w:r><mc:AlternateContent><mc:Choice Requires="wps"><w:drawing><wp:anchor><wp:docPr id="1"'
        ' name="b"/><a:graphic>'
        f"<a:graphicData><wps:wsp><wps:txbx><w:txbxContent>{made}</w:txbxContent></wps:txbx></wps:wsp></a:graphicData>"
        "</a:graphic></wp:anchor></w:drawing></mc:Choice><mc:Fallback><w:pict><v:shape><v:textbox><w:txbxContent>"
        f"{again}</w:txbxContent></v:textbox></v:shape></w:pict></mc:Fallback></mc:AlternateContent></w:r>"
    )


def box_once(d: Written) -> str:
    return (
        "<w:r><w:pict><v:shape><v:textbox><w:txbxContent>"
        f"{blocks(d, 1)}</w:txbxContent></v:textbox></v:shape></w:pict></w:r>"
    )


def only_fallback(d: Written) -> str:
    """A picture for new programs which says nothing, and words for old ones."""
    return (
        '<w:r><mc:AlternateContent><mc:Choice Requires="zz"><w:drawing><wp:inline><wp:docPr id="1"'
        ' name="n"/></wp:inline>'
        f"</w:drawing></mc:Choice><mc:Fallback><w:t>{d.word()}</w:t></mc:Fallback></mc:AlternateContent></w:r>"
    )


def note(d: Written) -> str:
    kind = d.random.choice(("footnote", "endnote"))
    notes = d.notes.setdefault(kind, [])
    own_id = len(notes) + 2
    notes.append("")
    notes[own_id - 2] = f'<w:{kind} w:id="{own_id}">{paragraph(inline(d))}{paragraph(inline(d))}</w:{kind}>'
    return f'<w:r><w:{kind}Reference w:id="{own_id}"/></w:r>'


def deleted_note(d: Written) -> str:
    return f"<w:del {BY}>{d.hidden(lambda: note(d))}</w:del>"


def comment(d: Written) -> str:
    notes = d.notes.setdefault("comment", [])
    own_id = len(notes) + 2
    notes.append("")
    notes[own_id - 2] = f'<w:comment w:id="{own_id}" w:author="Ada">{paragraph(inline(d))}</w:comment>'
    return f'<w:r><w:commentReference w:id="{own_id}"/></w:r>'


def equation(d: Written) -> str:
    def term() -> str:
        return f"<m:r><m:t>{d.word()}</m:t></m:r>"

    shapes = (
        lambda: f"<m:f><m:num>{term()}</m:num><m:den>{term()}</m:den></m:f>",
        lambda: f"<m:sSup><m:e>{term()}</m:e><m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup>",
        lambda: f"<m:rad><m:deg/><m:e>{term()}</m:e></m:rad>",
        lambda: f"<m:d><m:e>{term()}</m:e></m:d>",
        lambda: f"<m:m><m:mr><m:e>{term()}</m:e><m:e>{term()}</m:e></m:mr><m:mr><m:e>{term()}</m:e></m:mr></m:m>",
        term,
    )
    return f"<m:oMathPara><m:oMath>{d.random.choice(shapes)()}</m:oMath></m:oMathPara>"


def described_picture(d: Written) -> str:
    return (
        f'<w:r><w:drawing><wp:inline><wp:docPr id="1" name="p" descr="{d.word()}"/><a:graphic><a:graphicData><pic:pic>'
        "<a:blip/></pic:pic></a:graphicData></a:graphic></wp:inline></w:drawing></w:r>"
    )


def word_art(d: Written) -> str:
    return f'<w:r><w:pict><v:shape><v:textpath string="{d.word()}"/></v:shape></w:pict></w:r>'


def ruby(d: Written) -> str:
    above, base = d.word(), d.word()
    return f"<w:r><w:ruby><w:rubyPr/><w:rt>{run(above)}</w:rt><w:rubyBase>{run(base)}</w:rubyBase></w:ruby></w:r>"


def drop_down(d: Written) -> str:
    other, chosen = d.hidden(d.word), d.word()
    data = (
        f'<w:ffData><w:ddList><w:result w:val="1"/><w:listEntry w:val="{other}"/>'
        f'<w:listEntry w:val="{chosen}"/></w:ddList></w:ffData>'
    )
    return (
        f'<w:r><w:fldChar w:fldCharType="begin">{data}</w:fldChar></w:r><w:r><w:instrText>FORMDROPDOWN'
        "</w:instrText></w:r>"
        '<w:r><w:fldChar w:fldCharType="end"/></w:r>'
    )


def chart(d: Written) -> str:
    name = f"charts/chart{len(d.parts)}.xml"
    words = [d.word(), d.word()]
    d.parts[f"word/{name}"] = (
        f"<c:chartSpace {NAMESPACES}><c:chart><c:title><c:tx><c:rich><a:p><a:r><a:t>{words[0]}</a:t></a:r>"
        "</a:p></c:rich>"
        "</c:tx></c:title><c:plotArea><c:barChart><c:ser><c:tx><c:strRef><c:strCache><c:pt><c:v>"
        f"{words[1]}</c:v></c:pt></c:strCache></c:strRef></c:tx></c:ser></c:barChart></c:plotArea></c:chart>"
        "</c:chartSpace>"
    )
    return (
        '<w:r><w:drawing><wp:inline><wp:docPr id="1" name="c"/><a:graphic><a:graphicData>'
        f'<c:chart r:id="{d.link("chart", name)}"/></a:graphicData></a:graphic></wp:inline></w:drawing></w:r>'
    )


def diagram(d: Written) -> str:
    name = f"diagrams/data{len(d.parts)}.xml"
    d.parts[f"word/{name}"] = (
        f"<dgm:dataModel {NAMESPACES}><dgm:ptLst><dgm:pt><dgm:t><a:p><a:r><a:t>{d.word()}</a:t></a:r></a:p>"
        "</dgm:t></dgm:pt>"
        "</dgm:ptLst></dgm:dataModel>"
    )
    return (
        '<w:r><w:drawing><wp:inline><wp:docPr id="1" name="d"/><a:graphic><a:graphicData>'
        f'<dgm:relIds r:dm="{d.link("diagramData", name)}"/></a:graphicData></a:graphic></wp:inline></w:drawing></w:r>'
    )


LEAVES: tuple[Construct, ...] = (
    plain, split, soft_hyphen, deleted, deleted_insertion, vanished, not_vanished, only_fallback, equation,
    described_picture, word_art, ruby, drop_down, chart, diagram,
)  # fmt: skip
WRAPPERS: tuple[Construct, ...] = (
    inserted, moved, control, wrapped, complex_field, box_twice, box_once, note, deleted_note, comment,
)  # fmt: skip
DEPTH_MAX = 5


def inline(d: Written) -> str:
    """Something within a paragraph, around which words may stand."""
    d.depth += 1
    deep = d.depth > DEPTH_MAX
    choices = LEAVES if deep or d.random.random() < 0.6 else WRAPPERS
    made = run(" ") + d.random.choice(choices)(d) + run(" ")
    d.depth -= 1
    return made


# --- around paragraphs: each gives blocks ---------------------------------------------------------------------------


def text_block(d: Written) -> str:
    return paragraph("".join(inline(d) for _ in range(d.random.randint(1, 3))))


def heading(d: Written) -> str:
    properties = d.random.choice(
        (
            '<w:pPr><w:pStyle w:val="Heading2"/></w:pPr>',
            '<w:pPr><w:outlineLvl w:val="2"/></w:pPr>',
            '<w:pPr><w:pStyle w:val="berschrift1"/></w:pPr>',
        )
    )
    return paragraph(inline(d), properties)


def item(d: Written) -> str:
    level = d.random.randint(0, 3)
    return paragraph(inline(d), f'<w:pPr><w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="3"/></w:numPr></w:pPr>')


def block_control(d: Written) -> str:
    return f"<w:sdt><w:sdtPr/><w:sdtContent>{blocks(d, 2)}</w:sdtContent></w:sdt>"


def grid(d: Written) -> str:
    rows = [row(*(blocks(d, 1) for _ in range(d.random.randint(1, 3)))) for _ in range(d.random.randint(1, 3))]
    gone = f"<w:trPr><w:del {BY}/></w:trPr>"
    if d.random.random() < 0.3:
        rows.append(row(d.hidden(lambda: paragraph(run(d.word()))), properties=gone))
    if d.random.random() < 0.3:
        rows.append(f"<w:sdt><w:sdtContent>{row(blocks(d, 1))}</w:sdtContent></w:sdt>")
    return table(*rows)


def page_chunk(d: Written) -> str:
    name = f"chunk{len(d.parts)}.html"
    d.parts[f"word/{name}"] = (
        f"<html><body><p>{d.word()}</p><p style='display:none'>{d.hidden(d.word)}</p></body></html>"
    )
    return f'<w:altChunk r:id="{d.link("aFChunk", name)}"/>'


def text_chunk(d: Written) -> str:
    name = f"chunk{len(d.parts)}.txt"
    d.parts[f"word/{name}"] = f"{d.word()}\r\n{d.word()}\r\n"
    return f'<w:altChunk r:id="{d.link("aFChunk", name)}"/>'


def mail_chunk(d: Written) -> str:
    name = f"chunk{len(d.parts)}.mht"
    d.parts[f"word/{name}"] = (
        'MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary="b"\r\n\r\n--b\r\nContent-Type: text/html; '
        "charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        f"<html><body><p class=3D'a'>{d.word()}</p></body></html>\r\n--b--\r\n"
    )
    return f'<w:altChunk r:id="{d.link("aFChunk", name)}"/>'


BLOCKS: tuple[Construct, ...] = (
    text_block, text_block, text_block, heading, item, block_control, grid, page_chunk, text_chunk, mail_chunk,
)  # fmt: skip


def blocks(d: Written, number: int) -> str:
    d.depth += 1
    choices = BLOCKS[:3] if d.depth > DEPTH_MAX or d.hiding else BLOCKS
    made = "".join(d.random.choice(choices)(d) for _ in range(number))
    d.depth -= 1
    return made


STYLES = (
    f'<w:styles xmlns:w="{MAIN}"><w:style w:type="character" w:styleId="Secret"><w:name w:val="Secret"/>'
    "<w:rPr><w:vanish/>"
    '</w:rPr></w:style><w:style w:type="paragraph" w:styleId="Heading2"><w:name w:val="heading 2"/></w:style>'
    '<w:style w:type="paragraph" w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style></w:styles>'
)


def pack(
    d: Written, body: str, *, strict: bool = False, main: str = "word/document.xml", utf_16: bool = False
) -> bytes:
    """The file."""
    for kind, notes in d.notes.items():
        d.parts[f"word/{kind}s.xml"] = f"<w:{kind}s {NAMESPACES}>{''.join(notes)}</w:{kind}s>"
        d.link(f"{kind}s", f"{kind}s.xml")
    d.parts["word/styles.xml"] = STYLES
    d.link("styles", "styles.xml")
    folder, _, name = main.rpartition("/")
    up = "" if folder == "word" else "/word/"
    links = "".join(
        f'<Relationship Id="{own}" Type="{OFFICE}/relationships/{kind}" Target="{up}{target}"/>'
        for own, kind, target in d.links
    )
    made: dict[str, str | bytes] = {
        "[Content_Types].xml": f'<Types xmlns="{TYPES}"><Default Extension="xml"'
        ' ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{LINKS}"><Relationship Id="rId1"'
        f' Type="{OFFICE}/relationships/officeDocument" '
        f'Target="{main}"/></Relationships>',
        f"{folder}/_rels/{name}.rels": f'<Relationships xmlns="{LINKS}">{links}</Relationships>',
        main: f"<w:document {NAMESPACES}><w:body>{body}<w:sectPr/></w:body></w:document>",
        **d.parts,
    }
    for kind in d.notes:
        made[f"word/_rels/{kind}s.xml.rels"] = f'<Relationships xmlns="{LINKS}">{links}</Relationships>'
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        for path, content in made.items():
            if isinstance(content, bytes):
                package.writestr(path, content)
                continue
            for before, after in STRICT if strict else ():
                content = content.replace(before, after)
            wide = utf_16 and path == main
            head = '<?xml version="1.0" encoding="UTF-16"?>' if wide else ""
            package.writestr(path, (head + content).encode("utf-16" if wide else "utf-8"))
    return out.getvalue()


def write(seed: int) -> tuple[bytes, list[str], list[str]]:
    """A document made at random: its bytes, the words that a reader sees, those that none sees."""
    d = start(seed)
    body = blocks(d, d.random.randint(1, 6)) + paragraph(run(d.word()))
    if d.random.random() < 0.4:
        for kind in ("header", "footer"):
            d.parts[f"word/{kind}1.xml"] = f"<w:hdr {NAMESPACES}>{paragraph(run(d.word()))}</w:hdr>"
            body += f'<w:sectPr><w:{kind}Reference w:type="default" r:id="{d.link(kind, f"{kind}1.xml")}"/></w:sectPr>'
    main = d.random.choice(("word/document.xml", "word/document2.xml", "main/text.xml"))
    made = pack(d, body, strict=d.random.random() < 0.3, main=main, utf_16=d.random.random() < 0.2)
    return made, d.seen, d.unseen
