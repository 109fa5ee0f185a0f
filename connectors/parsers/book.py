"""The text of an e-book (EPUB): its pages in the order in which they are turned.

Owns where the list of pages is, and which of them are there. Each page is one of HTML, and `web` reads it. Refuses
books whose pages are encrypted, and addresses that leave the file.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from lxml import etree

from connectors.parsers import Limits, Refusal
from connectors.parsers.charset import decode_page
from connectors.parsers.inventory import Inventory
from connectors.parsers.markdown import Writer
from connectors.parsers.package import Package
from connectors.parsers.web import read_page

CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_PAGES = ("application/xhtml+xml", "text/html", "text/x-oeb1-document", "image/svg+xml")


def read_book(package: Package, inventory: Inventory, limits: Limits) -> tuple[str, str]:
    """Title and text. Raises `Refusal`."""
    try:
        root = _find_root(package)
        book = package.tree(root)
        locked = set(_find_locked(package))
    except (etree.XMLSyntaxError, KeyError):
        raise Refusal("broken", "its list of pages cannot be read") from None
    texts: list[str] = []
    size = 0
    for number, name in enumerate(_find_pages(book, posixpath.dirname(root), inventory)):
        if name in locked:
            raise Refusal("encrypted", "its pages are encrypted")
        if not package.has(name):
            inventory.miss("damaged-parts", "page that is not in the file")
            continue
        own, writer = Inventory(), Writer()
        read_page(decode_page(package.read(name)), own, writer)
        text = writer.finish()
        if number or text.strip():  # a book may begin with a picture of its cover
            inventory.add(own)
        size += len(text)
        if size > limits.text_bytes_max:
            raise Refusal("too-much-text", f"its text has more than {limits.text_bytes_max} bytes")
        texts.append(text.strip("\n"))
    return _find_title(book), "\n\n".join(filter(None, texts))


def _local(element: Any) -> str:
    return str(etree.QName(element).localname)


def _find_root(package: Package) -> str:
    for each in package.tree(CONTAINER).iter(etree.Element):
        if _local(each) == "rootfile" and (name := _inside("", each.get("full-path") or "")):
            return name
    raise Refusal("unsupported-type", "it is a ZIP archive that names no book")


def _inside(folder: str, address: str) -> str:
    """The name of a part; empty for an address that is none of the file's."""
    name = posixpath.normpath(posixpath.join(folder, unquote(address.partition("#")[0]).replace("\\", "/")))
    return "" if ":" in name or name.startswith(("/", "..")) or name == "." else name


def _find_pages(book: Any, folder: str, inventory: Inventory) -> Iterator[str]:
    """Names of the pages, in order, each once."""
    elements = list(book.iter(etree.Element))
    listed = {each.get("id"): each for each in elements if _local(each) == "item"}
    seen: set[str] = set()
    for each in elements:
        item = listed.get(each.get("idref")) if _local(each) == "itemref" else None
        if item is None:
            continue
        name = _inside(folder, item.get("href") or "")
        if (item.get("media-type") or "") not in _PAGES or not name:
            inventory.miss("unread-parts", "page in a format that is not read")
        elif name not in seen:
            seen.add(name)
            yield name


def _find_locked(package: Package) -> Iterator[str]:
    """Parts that only a key opens. Fonts may be among them, which nobody reads."""
    if package.has(_ENCRYPTION):
        for each in package.tree(_ENCRYPTION).iter(etree.Element):
            if _local(each) == "CipherReference":
                yield _inside("", each.get("URI") or "")


def _find_title(book: Any) -> str:
    for each in book.iter(etree.Element):
        if _local(each) == "title" and (each.text or "").strip():
            return str(each.text)
    return ""
