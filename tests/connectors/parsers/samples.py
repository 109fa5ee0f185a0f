"""Documents of every type, made here: good ones, and each way in which they are not."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence

import docx


def pdf(pages: Sequence[str], *, title: str = "", encrypted: bool = False) -> bytes:
    """A PDF with the lines of each page. `encrypted` names a handler with keys that no password fits."""
    objects: list[bytes] = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for number, text in enumerate(pages):
        escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
        shown = " T* ".join(f"({line}) Tj" for line in escaped.split("\n"))
        content = zlib.compress(f"BT /F1 12 Tf 14 TL 72 720 Td {shown} ET".encode("latin-1") if text else b"")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R "
            f"/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        objects.append(b"<< /Length %d /Filter /FlateDecode >>\nstream\n%b\nendstream" % (len(content), content))
    objects.append(f"<< /Title ({title}) >>".encode())
    trailer = f"/Info {len(objects)} 0 R"
    if encrypted:
        keys = f"/O <{'41' * 32}> /U <{'42' * 32}>"
        objects.append(f"<< /Filter /Standard /V 1 /R 2 /P -4 {keys} >>".encode())
        trailer += f" /Encrypt {len(objects)} 0 R /ID [<{'43' * 16}> <{'43' * 16}>]"
    out = io.BytesIO()
    out.write(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%b\nendobj\n" % (number, body))
    table = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.writelines(b"%010d 00000 n \n" % place for place in places)
    out.write(f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{table}\n%%EOF".encode())
    return out.getvalue()


def word(title: str, paragraphs: Sequence[str]) -> bytes:
    """A DOCX with a heading, paragraphs, a list and a table."""
    document = docx.Document()
    document.add_heading(title, 1)
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    document.add_paragraph("first item", style="List Bullet")
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "left cell", "right cell"
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def without_properties(document: bytes) -> bytes:
    """The same DOCX as a program writes it that says nothing about its files."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(document)) as before, zipfile.ZipFile(out, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            if name == "_rels/.rels":
                content = re.sub(rb"<Relationship [^>]*core-properties[^>]*/>", b"", content)
            if name != "docProps/core.xml":
                after.writestr(name, content)
    return out.getvalue()


def page(title: str, paragraphs: Sequence[str]) -> bytes:
    body = "".join(f"<p>{text}</p>" for text in paragraphs)
    return (
        f"<!doctype html><html><head><title>{title}</title><script>track()</script></head>"
        f"<body><h1>{title}</h1>{body}<ul><li>first item</li></ul></body></html>"
    ).encode()


def packed(parts: Mapping[str, bytes]) -> bytes:
    """A ZIP archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def bomb(size: int) -> bytes:
    """A DOCX by its parts, of a few kilobytes, whose text unpacks to `size` bytes."""
    return packed({"[Content_Types].xml": b"<Types/>", "word/document.xml": b"\0" * size})


def many_paragraphs(number: int) -> bytes:
    """A DOCX that is small, also unpacked, and whose tree is not."""
    name = b"http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    body = b"<w:p/>" * number
    return packed({"word/document.xml": b'<w:document xmlns:w="%s"><w:body>%s</w:body></w:document>' % (name, body)})


def locked_word() -> bytes:
    """What Word writes when a document has a password: the old container, with one stream that says so."""
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504 + "EncryptedPackage".encode("utf-16-le") + b"\0" * 512
