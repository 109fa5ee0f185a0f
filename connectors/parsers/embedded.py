"""Pages within a page or a document that lie in its own file: `srcdoc`, addresses that are the content, saved pages.

Owns how such an address is read, and in which types there is text. Refuses every other address.
"""

from __future__ import annotations

import base64
import binascii
import email
import email.policy
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from connectors.parsers import Refusal
from connectors.parsers.charset import decode_page

PICTURE_BYTES_MIN = 100_000
"""A picture of this size may be a scan of a page; icons and logos are far smaller."""

_ADDRESS = re.compile(r"\s*data:([^,;]*)((?:;[^,;]*)*),(.*)", re.I | re.S)
_CHARSET = re.compile(r";\s*charset=[\"']?([\w.:-]+)", re.I)
_ATTRIBUTES = {"iframe": "src", "object": "data", "embed": "src", "img": "src"}
_NOT_ELSEWHERE = re.compile(r"(?:about|data|javascript):|#", re.I)
_NO_SIZE = re.compile(r"\s*[01](?:\.\d*)?\s*(?:px|%)?\s*")
_NO_SIZE_OF_STYLE = re.compile(
    r"(?:^|;)\s*(?:(?:max-)?(?:width|height)\s*:\s*[01](?:\.\d*)?(?:px)?|opacity\s*:\s*0(?:\.0*)?)\s*(?:!|;|$)", re.I
)
_PAGES = ("text/html", "application/xhtml+xml", "image/svg+xml")


def page_within(tag: str, element: Any) -> str:
    """The page, the drawing or the text that an element shows; nothing where its address lies elsewhere."""
    if tag not in _ATTRIBUTES:
        return ""
    if tag == "iframe" and element.get("srcdoc"):
        return str(element.get("srcdoc"))
    kind, content, charset = _read(element.get(_ATTRIBUTES[tag]) or "")
    if not content or (tag == "img") != (kind == "image/svg+xml"):
        return ""
    if kind not in _PAGES and kind not in ("text/plain", ""):
        return ""
    try:
        text = content.decode(charset) if charset else decode_page(content)
    except (Refusal, LookupError, UnicodeDecodeError):
        text = content.decode("utf-8", "replace")
    return text if kind in _PAGES else f"<plaintext>{text}"


def shows_other_file(tag: str, element: Any) -> bool:
    """Whether an element is a frame with an address elsewhere, that is not too small to show anything."""
    address = (element.get("src") or "").strip() if tag == "iframe" and not element.get("srcdoc") else ""
    if not address or _NOT_ELSEWHERE.match(address):
        return False
    sizes = (element.get("width") or "", element.get("height") or "")
    return not any(map(_NO_SIZE.fullmatch, sizes)) and not _NO_SIZE_OF_STYLE.search(element.get("style") or "")


def describe_picture(element: Any) -> str:
    """What is shown in the place of a picture, or beside it."""
    alt = str(element.get("alt") or "")
    return alt if alt.strip() else str(element.get("title") or "")


def is_large_picture(element: Any) -> bool:
    """Whether a picture that lies in the page is as large as a scan, and nobody described it."""
    source = element.get("src") or ""
    is_picture = source[:11].lower() == "data:image/" and not source[11:15].lower().startswith("svg")
    return is_picture and not describe_picture(element).strip() and len(source) * 3 // 4 >= PICTURE_BYTES_MIN


def _read(address: str) -> tuple[str, bytes, str]:
    """Type, content and encoding."""
    found = _ADDRESS.match(address) if address[:16].lstrip()[:5].lower() == "data:" else None
    if found is None:
        return "", b"", ""
    content = unquote_to_bytes(found[3])
    if ";base64" in found[2].lower().replace(" ", ""):
        try:
            content = base64.b64decode(content)
        except (binascii.Error, ValueError):
            return "", b"", ""
    charset = _CHARSET.search(found[2])
    return found[1].strip().lower(), content, charset[1] if charset else ""


def is_word_as_xml(content: bytes) -> bool:
    """A document as one file of XML, with namespaces that no page has."""
    head = content[:4_096]
    return b"schemas.openxmlformats.org/" in head or (b"schemas.microsoft.com/office/" in head and b"<html" not in head)


def page_of_mail(content: bytes) -> bytes:
    """The page in a file as browsers save it whole."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    for each in message.walk():
        if each.get_content_type() in ("text/html", "text/plain"):
            page = each.get_payload(decode=True)
            return page if isinstance(page, bytes) else b""
    return b""
