"""Parsers: from the bytes that somebody uploaded to text, or to the reason why not.

`sniff` tells what bytes are, `formats` makes text of them (by a module for each type that is no text yet), `scanning`
reads the letters of a page that is a picture, `child` is the process in which all of it runs, `pool` starts it, gives
it work and ends it at its bounds. Here is what they say to each other. Refuses databases and object storage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

VERSION = 2
"""Raised with each release in which any file becomes another text. It stands beside each result; 0 is what was read
before results were counted."""

SCANNER = 1
"""Raised with each release in which letters of pictures are recognised otherwise. It stands beside each page."""

Code = Literal[
    "empty", "encrypted", "broken", "unsupported-type", "invalid-encoding", "no-text", "too-large", "too-many-pages",
    "too-much-text", "zip-bomb", "timeout", "memory", "crashed",
]  # fmt: skip

HINTS: Mapping[Code, str] = {
    "empty": "upload a file that has something in it",
    "encrypted": "remove the password and upload it again",
    "broken": "does it open in another program? Export it anew and upload that",
    "unsupported-type": "Markdown, HTML, text, DOCX, PDF, PPTX, XLSX, XLS, EPUB, mail and pictures can be read; export "
    "it as one of these",
    "invalid-encoding": "save it as UTF-8",
    "no-text": "upload it with a text that can be read and seen; a scan may need more light, or more points an inch",
    "too-large": "split it, or remove what is not text",
    "too-many-pages": "split it",
    "too-much-text": "split it",
    "zip-bomb": "its parts are far larger unpacked than any document; export it anew",
    "timeout": "split it, or export it as plain text",
    "memory": "split it, or export it as plain text",
    "crashed": "the parser cannot read it; export it anew, or as plain text",
}
"""What to do, for every reason that there is."""

Kind = Literal[
    "text", "inserted", "box", "note", "comment", "margin", "equation", "drawing", "chunk", "description", "form",
    "scan", "deleted", "hidden", "copy", "instruction", "outside", "unsure",
]  # fmt: skip
"""Where text stands in a file. A margin is what is repeated on each page; a drawing is a chart, a diagram or a picture
of lines; a description is what is shown in the place of a picture; a copy is the same text once more, for programs that
cannot show the other; an instruction is the source of a field; what is outside lies beyond the edge of its page. A scan
is what was recognised in a picture of a page, and what is unsure was recognised with less confidence than counts."""

UNSEEN: frozenset[Kind] = frozenset(("deleted", "hidden", "copy", "instruction", "outside", "unsure"))
"""What no reader of the file sees, or what nobody can vouch for: counted, and left out."""

GapCode = Literal[
    "picture-pages", "undecoded-text", "embedded-files", "unread-parts", "damaged-parts", "picture", "dynamic-form",
    "scripted", "frames", "uncomputed", "lost-text", "unread-pages", "unsure-text",
]  # fmt: skip

GAP_HINTS: Mapping[GapCode, str] = {
    "picture-pages": "make their text readable (OCR) and upload that",
    "undecoded-text": "its fonts do not say which letters they show; export it anew, or make its text readable (OCR)",
    "embedded-files": "upload them by themselves",
    "unread-parts": "save it anew, so that the parts become its own text",
    "damaged-parts": "does it open in another program? Export it anew and upload that",
    "picture": "make its text readable (OCR), or describe it in words",
    "dynamic-form": "print it to a PDF and upload that",
    "scripted": "print the page as a browser shows it, and upload that",
    "frames": "upload the pages in its frames by themselves",
    "uncomputed": "open it in a spreadsheet program, save it there, and upload that",
    "lost-text": "export it anew, or as plain text",
    "unread-pages": "have these pages read again (retry), or upload them by themselves",
    "unsure-text": "scan these pages anew, with more light or more points an inch",
}
"""What to do about every reason why a text has not all that the file shows."""

TITLE_CHARS_MAX = 300
"""The longest title that a list can show."""


class Limits(msgspec.Struct, frozen=True):
    """Limits of one document. The parser process is ended at the first three, and refuses at the others."""

    seconds_max: float = 60.0
    """Time from the request to the answer. Real documents of a thousand pages take a few seconds."""
    cpu_s_max: int = 60
    memory_bytes_max: int = 2_147_483_648
    """Address space. The libraries take 0.2 GB of it; the tree of a large DOCX takes ten times its XML."""
    pages_max: int = 2_000
    text_bytes_max: int = 1_048_576
    """What a version of a document holds (`app.document_versions`)."""
    unpacked_bytes_max: int = 268_435_456
    """Size of a DOCX, a PPTX, an XLSX or an EPUB, all parts together."""
    scans_max: int = 300
    """Pages of a document whose letters are recognised: about as many as `text_bytes_max` has room for. Each has the
    limits of processor time and memory to itself."""
    scan_seconds_max: float = 120.0
    """Time for one of them. A dense page takes six seconds of a core, and a machine may have other work."""
    pixels_max: int = 100_000_000
    """Size of a picture, as its header says it. A page of A3 at 600 points an inch has 70 million."""


class Amount(msgspec.Struct, frozen=True):
    """Characters that are no white space: what the file holds of a kind, and what is in the text."""

    held: int
    kept: int


class Gap(msgspec.Struct, frozen=True):
    """What a reader of the file sees and the text has not. `detail` says what and where, and never quotes the document;
    `pages` are ranges, the first and the last page of each."""

    code: GapCode
    detail: str
    pages: tuple[tuple[int, int], ...] = ()


class Scan(msgspec.Struct, frozen=True, tag="scan"):
    """What was recognised on a page that is a picture, or in a picture of a text without pages. `left_out`: lines of
    too little confidence, and `unsure` their letters; `confidence` is the mean of the lines that were kept, weighted by
    their letters, and 0 without any. `script` is that of most letters, such as Latin or Han, and empty without any: the
    engine tells no language."""

    page: int
    text: str
    lines: int = 0
    left_out: int = 0
    unsure: int = 0
    confidence: float = 0.0
    script: str = ""


class PageFault(msgspec.Struct, frozen=True, tag="fault"):
    """Why a page that is a picture has no text."""

    page: int
    code: Code
    detail: str


Scans = tuple[Scan | PageFault, ...] | None
"""What is known of pages that are pictures. None: nobody recognises them, and they are gaps."""


class Unread(msgspec.Struct, frozen=True, tag="unread"):
    """Pages whose letters have to be recognised, one by one, before the document can be put together."""

    media_type: str
    pages: tuple[int, ...]


class PageFacts(msgspec.Struct, frozen=True):
    """What a page of a site says beside its text. `links` and `canonical` are whole addresses as they stand there, the
    latter empty where there is none; `follow` and `index` are what it asks of robots; `scripted`: most of what it shows
    seems to be made by its scripts."""

    links: tuple[str, ...]
    canonical: str = ""
    index: bool = True
    follow: bool = True
    scripted: bool = False


class Parsed(msgspec.Struct, frozen=True, tag="parsed"):
    """Text as Markdown. `pages` of a PDF, of a picture, or slides, and `starts` where in the text each of them begins,
    in characters; empty where that is not known. `counts` by kind, in which every character that was found is; with
    `gaps` the result is partial. `site` of a page that was fetched from one: then the text is that of its main part,
    has no counts, and may be empty."""

    media_type: str
    title: str
    text: str
    pages: int | None = None
    counts: Mapping[Kind, Amount] = {}
    gaps: tuple[Gap, ...] = ()
    starts: tuple[int, ...] = ()
    site: PageFacts | None = None

    @property
    def partial(self) -> bool:
        return bool(self.gaps)

    def reason(self) -> dict[str, str] | None:
        """Why it is partial, in the words of a refusal; None when it is whole."""
        if not self.gaps:
            return None
        said = "; ".join(gap.detail for gap in self.gaps)
        return {"code": self.gaps[0].code, "detail": said, "hint": "; ".join(dict.fromkeys(map(_hint, self.gaps)))}


def _hint(gap: Gap) -> str:
    return GAP_HINTS[gap.code]


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """`detail` says what is wrong, and never quotes the document."""

    code: Code
    detail: str
    media_type: str = ""

    def reason(self) -> dict[str, str]:
        return {"code": self.code, "detail": self.detail, "hint": HINTS[self.code]}


class ParseRequest(msgspec.Struct, frozen=True, tag="parse"):
    """What the parser process is asked. `file_name` is a hint for the title and between kinds of text; `url` is where a
    page of a site came from. `scans`: what is known of pages that are pictures; others are asked for by `Unread`. None:
    nobody recognises them, and they are gaps of the result."""

    path: str
    file_name: str
    limits: Limits
    scans: Scans = None
    url: str = ""


class ScanRequest(msgspec.Struct, frozen=True, tag="recognise"):
    """One page of a document that is a picture."""

    path: str
    media_type: str
    page: int
    limits: Limits


class PagesWanted(Exception):
    """Raised while parsing; becomes an `Unread`."""

    def __init__(self, pages: tuple[int, ...]) -> None:
        super().__init__("pages have to be recognised")
        self.pages = pages


class Refusal(Exception):
    """Raised while parsing; becomes a `Refused`."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code: Code = code
        self.detail = detail
