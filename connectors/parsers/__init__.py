"""Parsers: from the bytes that somebody uploaded to text, or to the reason why not.

`sniff` tells what bytes are, `formats` makes text of them, `child` is the process in which both run, `pool` starts it,
gives it work and ends it at its bounds. Here is what they say to each other. Refuses databases and object storage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

Code = Literal[
    "empty", "encrypted", "broken", "unsupported-type", "invalid-encoding", "no-text", "too-large", "too-many-pages",
    "too-much-text", "zip-bomb", "timeout", "memory", "crashed",
]  # fmt: skip

HINTS: Mapping[Code, str] = {
    "empty": "upload a file that has something in it",
    "encrypted": "remove the password and upload it again",
    "broken": "does it open in another program? Export it anew and upload that",
    "unsupported-type": "Markdown, HTML, plain text, DOCX and PDF can be read; export it as one of these",
    "invalid-encoding": "save it as UTF-8",
    "no-text": "its pages are pictures: make the text readable (OCR) and upload that",
    "too-large": "split it, or remove what is not text",
    "too-many-pages": "split it",
    "too-much-text": "split it",
    "zip-bomb": "its parts are far larger unpacked than any document; export it anew",
    "timeout": "split it, or export it as plain text",
    "memory": "split it, or export it as plain text",
    "crashed": "the parser cannot read it; export it anew, or as plain text",
}
"""What to do, for every reason that there is."""

TITLE_CHARS_MAX = 300
"""The longest title that a list can show."""


class Limits(msgspec.Struct, frozen=True):
    """Limits of one document. The parser process is ended at the first three, and refuses at the others."""

    seconds_max: float = 60.0
    """Time from the request to the answer. Real documents of a thousand pages take a few seconds."""
    cpu_s_max: int = 60
    memory_bytes_max: int = 2_147_483_648
    """Address space. The libraries and their language model take 0.6 GB of it."""
    pages_max: int = 2_000
    text_bytes_max: int = 1_048_576
    """What a version of a document holds (`app.document_versions`)."""
    unpacked_bytes_max: int = 268_435_456
    """Size of a DOCX, all parts together."""


class Parsed(msgspec.Struct, frozen=True, tag="parsed"):
    """Text as Markdown. `pages` of a PDF."""

    media_type: str
    title: str
    text: str
    pages: int | None = None


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """`detail` says what is wrong, and never quotes the document."""

    code: Code
    detail: str
    media_type: str = ""

    def reason(self) -> dict[str, str]:
        return {"code": self.code, "detail": self.detail, "hint": HINTS[self.code]}


class ParseRequest(msgspec.Struct, frozen=True):
    """What the parser process is asked. `file_name` is a hint for the title and between kinds of text."""

    path: str
    file_name: str
    limits: Limits


class Refusal(Exception):
    """Raised while parsing; becomes a `Refused`."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code: Code = code
        self.detail = detail
