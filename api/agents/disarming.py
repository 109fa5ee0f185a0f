"""The text of a result, without what would send something away when it is shown.

Owns one rule: a model that was led astray by a document can write a picture or a link whose address carries what it has
read; whoever shows the text would ask for that address. So a picture becomes its words, a link becomes its words and
the host that it leads to, and a bare address keeps its host alone. Addresses of records stay. Pure.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

_IMAGE: Final = re.compile(r"!\[([^\]]{0,1000})\](?:\([^)]{0,4000}\)|\[[^\]]{0,1000}\])")
_LINK: Final = re.compile(r"\[([^\]]{1,1000})\]\(\s*+<?([^)\s>]{1,4000}+)(?:[\s>][^)]{0,1000})?\)")
"""The address ends where it must, and not earlier: else each of many brackets would be tried in a million ways."""
_REFERENCE: Final = re.compile(r"^ {0,3}\[[^\]]{1,1000}\]:[^\n]*$", re.MULTILINE)
_TAG: Final = re.compile(r"</?[a-zA-Z][^>]{0,4000}>")
_ADDRESS: Final = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,20}:/{1,2}[^\s<>)\]\"'`]{1,4000}|(?<!:)//[^\s<>)\]\"'`]{3,4000}",
    re.IGNORECASE,
)
_OWN: Final = "adr"


def disarm(text: str) -> str:
    """The text, of which nothing is fetched when it is shown."""
    text = _IMAGE.sub(lambda match: f"{match[1]} (picture left out)".strip(), text)
    text = _REFERENCE.sub("", text)
    text = _LINK.sub(_tell_link, text)
    text = _TAG.sub("", text)
    return _ADDRESS.sub(lambda match: _name_host(match[0]), text)


def _tell_link(match: re.Match[str]) -> str:
    """The words of a link, and where it led."""
    if "//" not in match[2] and ":" not in match[2]:  # a path, which leads nowhere from here
        return match[1]
    host = _name_host(match[2])
    return match[1] if host in match[1] else f"{match[1]} ({host})"


def _name_host(address: str) -> str:
    """The host of an address; that of a record as it stands."""
    try:
        parts = urlsplit(address)
        return address if parts.scheme == _OWN else parts.hostname or "address left out"
    except ValueError:
        return "address left out"
