"""Names, attributes and switches of the elements of an Office document, in either of the two namespaces.

Owns how an element is called here: `w:p` is a paragraph whichever namespace a file uses. Refuses to know what any of
them means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

_NAMESPACES = {
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main": "w",
    "http://purl.oclc.org/ooxml/wordprocessingml/main": "w",
    "http://schemas.openxmlformats.org/officeDocument/2006/math": "m",
    "http://purl.oclc.org/ooxml/officeDocument/math": "m",
    "http://schemas.openxmlformats.org/markup-compatibility/2006": "mc",
    "http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing": "wp",
    "http://purl.oclc.org/ooxml/drawingml/wordprocessingDrawing": "wp",
    "http://schemas.openxmlformats.org/drawingml/2006/main": "a",
    "http://purl.oclc.org/ooxml/drawingml/main": "a",
    "http://schemas.openxmlformats.org/drawingml/2006/chart": "c",
    "http://purl.oclc.org/ooxml/drawingml/chart": "c",
    "http://schemas.microsoft.com/office/drawing/2014/chartex": "cx",
    "http://schemas.openxmlformats.org/drawingml/2006/diagram": "dgm",
    "http://purl.oclc.org/ooxml/drawingml/diagram": "dgm",
    "urn:schemas-microsoft-com:vml": "v",
}
NO = ("0", "false", "off", "none")
_names: dict[Any, str] = {}
_NAMES_MAX = 10_000


def name_of(element: Any) -> str:
    """`w:p` for a paragraph in either namespace; the local name alone in one that is not known."""
    tag = element.tag
    if not isinstance(tag, str):
        return ""
    name = _names.get(tag)
    if name is None:
        namespace, _, local = tag.rpartition("}")
        prefix = _NAMESPACES.get(namespace.lstrip("{"), "")
        name = f"{prefix}:{local}" if prefix else local
        if len(_names) < _NAMES_MAX:
            _names[tag] = name
    return name


def value(element: Any, name: str) -> str | None:
    """An attribute, in whatever namespace."""
    for key, text in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return str(text)
    return None


def flag(element: Any, properties: str, name: str) -> bool | None:
    """Whether a switch in an element's properties is on; None where it is not there."""
    return flag_of(within(element, properties), name)


def within(element: Any, properties: str) -> Iterator[Any]:
    for each in element:
        if name_of(each) == properties:
            yield from each
            return


def flag_of(elements: Iterable[Any], name: str) -> bool | None:
    """Whether a switch among these elements, such as those right below one, is on; None where it is not there."""
    for each in elements:
        if name_of(each) == name:
            return value(each, "val") not in NO
    return None


def inner_value(element: Any, name: str) -> str:
    """The value of an element right below another."""
    return next((value(each, "val") or "" for each in element if name_of(each) == name), "")


def number_of(text: str | None, default: int = 0) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 9 else default
