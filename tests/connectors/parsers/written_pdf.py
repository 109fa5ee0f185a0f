"""PDFs of which every word is known: pages of text, pictures and nothing, fields, notes and attached files.

Knows the format from its side, that of somebody who writes it: objects with numbers, and a table of where they begin.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

HELVETICA = 3
VERTICAL = 4
PICTURE = 7


@dataclass
class Written:
    """A file while it is written. The first objects are the same in each."""

    objects: list[bytes] = field(default_factory=lambda: [b""] * 7)
    pages: list[int] = field(default_factory=list)
    fields: list[int] = field(default_factory=list)
    names: bytes = b""

    def add(self, body: bytes) -> int:
        self.objects.append(body)
        return len(self.objects)

    def stream(self, content: bytes, entries: bytes = b"") -> int:
        return self.add(b"<< /Length %d %b >>\nstream\n%b\nendstream" % (len(content), entries, content))

    def page(self, content: bytes, annotations: Sequence[bytes] = ()) -> None:
        """A page of A4 size. An annotation that is a field is one of the form's."""
        drawn = self.stream(content)
        numbers = []
        for each in annotations:
            numbers.append(self.add(each))
            if b"/Widget" in each:
                self.fields.append(numbers[-1])
        notes = b" ".join(b"%d 0 R" % number for number in numbers)
        self.pages.append(
            self.add(
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R /Annots [%b] "
                b"/Resources << /Font << /F1 3 0 R /V1 4 0 R >> /XObject << /Im1 7 0 R >> >> >>" % (drawn, notes)
            )
        )

    def attach(self, name: bytes, content: bytes) -> None:
        file = self.stream(content, b"/Type /EmbeddedFile")
        named = self.add(b"<< /Type /Filespec /F (%b) /UF (%b) /EF << /F %d 0 R >> >>" % (name, name, file))
        self.names = b"/Names << /EmbeddedFiles << /Names [(%b) %d 0 R] >> >>" % (name, named)

    def pack(self, title: bytes = b"", form: bytes = b"") -> bytes:
        kids = b" ".join(b"%d 0 R" % number for number in self.pages)
        fields = b" ".join(b"%d 0 R" % number for number in self.fields)
        self.objects[:7] = [
            b"<< /Type /Catalog /Pages 2 0 R %b /AcroForm << /Fields [%b] /DA (/F1 12 Tf) /DR << /Font "
            b"<< /F1 3 0 R >> >> %b >> >>" % (self.names, fields, form),
            b"<< /Type /Pages /Kids [%b] /Count %d >>" % (kids, len(self.pages)),
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
            b"<< /Type /Font /Subtype /Type0 /BaseFont /HeiseiMin-W3 /Encoding /UniJIS-UCS2-V "
            b"/DescendantFonts [5 0 R] >>",
            b"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /HeiseiMin-W3 /CIDSystemInfo << /Registry (Adobe) "
            b"/Ordering (Japan1) /Supplement 2 >> /DW 1000 /FontDescriptor 6 0 R >>",
            b"<< /Type /FontDescriptor /FontName /HeiseiMin-W3 /Flags 6 /FontBBox [-123 -257 1001 910] /ItalicAngle 0 "
            b"/Ascent 723 /Descent -241 /CapHeight 709 /StemV 69 >>",
            b"<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8 "
            b"/Length 1 >>\nstream\nx\nendstream",
        ]
        info = self.add(b"<< /Title (%b) >>" % title)
        out = io.BytesIO()
        out.write(b"%PDF-1.6\n")
        places = []
        for number, body in enumerate(self.objects, 1):
            places.append(out.tell())
            out.write(b"%d 0 obj\n%b\nendobj\n" % (number, body))
        table = out.tell()
        out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(self.objects) + 1))
        out.writelines(b"%010d 00000 n \n" % place for place in places)
        out.write(b"trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\n" % (len(self.objects) + 1, info))
        out.write(b"startxref\n%d\n%%%%EOF" % table)
        return out.getvalue()


def line(text: str, x: int = 72, y: int = 700) -> bytes:
    return f"BT /F1 12 Tf {x} {y} Td ({text}) Tj ET\n".encode("latin-1")


def vertical_line(text: str, x: int = 300) -> bytes:
    return f"BT /V1 14 Tf {x} 700 Td <{text.encode('utf-16-be').hex()}> Tj ET\n".encode()


def picture(width: int = 595, height: int = 842) -> bytes:
    return f"q {width} 0 0 {height} 0 0 cm /Im1 Do Q\n".encode()


def text_field(name: str, value: str, entries: str = "") -> bytes:
    return f"<< {_WIDGET} /FT /Tx /T ({name}) /V ({value}) {entries} >>".encode("latin-1")


def choice_field(name: str, options: Sequence[str], chosen: Sequence[str], *, listed: bool) -> bytes:
    shown = " ".join(f"({each})" for each in options)
    value = f"({chosen[0]})" if len(chosen) == 1 else f"[{' '.join(f'({each})' for each in chosen)}]"
    flags = 1 << 21 if listed else 1 << 17
    return f"<< {_WIDGET} /FT /Ch /T ({name}) /Ff {flags} /Opt [{shown}] /V {value} >>".encode()


def tick(name: str, *, on: bool) -> bytes:
    state = "/Yes" if on else "/Off"
    looks = "/AP << /N << /Yes 7 0 R /Off 7 0 R >> >>"
    return f"<< {_WIDGET} /FT /Btn /T (internal) /TU ({name}) /V {state} /AS {state} {looks} >>".encode()


def note(kind: str, text: str, entries: str = "") -> bytes:
    return (
        f"<< /Type /Annot /Subtype /{kind} /Rect [50 50 90 90] /Contents ({text}) /T (Ada) "
        f"/QuadPoints [50 90 90 90 50 50 90 50] {entries} >>"
    ).encode("latin-1")


_WIDGET = "/Type /Annot /Subtype /Widget /Rect [50 600 200 620] /DA (/F1 12 Tf)"
