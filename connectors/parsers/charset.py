"""The text of a page's bytes, by what it says of its own encoding and by what it is.

Owns the order of the witnesses: a byte order mark, bytes that are UTF-8 (others hardly ever are by chance), what the
page declares, what `runtime/decoding.py` takes it for. Refuses pages that are not written in any encoding.
"""

from __future__ import annotations

import codecs
import re
from contextlib import suppress

import webencodings

from connectors.parsers import Refusal
from runtime.decoding import decode

DECLARATION_BYTES_MAX = 65_536
"""Where a declaration is looked for. Browsers look at 1 024 bytes, and again when they meet one later."""
ZEROS_BYTES = 256
"""Where pages in UTF-16 without a mark have their first zeros: tags are ASCII."""
_WIDER = {"gbk": "gb18030", "shift_jis": "cp932", "euc-kr": "cp949", "big5": "big5hkscs", "euc-jp": "euc_jisx0213"}
"""What browsers read by these names has more characters than the standards of these names."""
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(
    rb"""<meta[^>]*?\bcharset\s*=\s*["']?\s*([\w:.+-]+)|^\s*<\?xml[^>]*?\bencoding\s*=\s*["']([\w:.+-]+)""", re.I
)
_ESCAPE = b"\x1b"
"""Encodings that switch by escapes are ASCII, and with that UTF-8, by their bytes."""


def decode_page(content: bytes) -> str:
    """Raises `Refusal`."""
    for mark, name in _BOMS:
        if content.startswith(mark):
            return content[len(mark) :].decode(name, "replace")
    if b"\0" in content[:ZEROS_BYTES] and (wide := decode(content)).encoding.startswith(("utf-16", "utf-32")):
        return wide.text
    declared = _find_declaration(content)
    if declared is not None and declared.name == "iso-2022-jp" and _ESCAPE in content:
        return _decode(content, declared) or content.decode("ascii", "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if declared is not None and declared.name != "utf-8" and (text := _decode(content, declared)) is not None:
        return text
    return _guess(content, declared)


def _find_declaration(content: bytes) -> webencodings.Encoding | None:
    found = _DECLARED.search(content[:DECLARATION_BYTES_MAX])
    if found is None:
        return None
    label = (found[1] or found[2]).decode("ascii", "replace")
    encoding = webencodings.lookup(label)
    if encoding is None:
        with suppress(LookupError):  # a name that no browser knows, and others do
            encoding = webencodings.lookup(codecs.lookup(label).name)
    # A page whose declaration can be read as ASCII is not UTF-16, whatever it says.
    return None if encoding is not None and encoding.name.startswith("utf-16") else encoding


def _decode(content: bytes, encoding: webencodings.Encoding) -> str | None:
    """None when bytes are not of this encoding. A few that are not are damage."""
    text = decode_by(encoding, content)
    return text if text.count("\ufffd") * 100 <= len(text) else None


def decode_by(encoding: webencodings.Encoding, content: bytes) -> str:
    """Decode as browsers do, with replacement characters for what is none of it."""
    text: str = encoding.codec_info.decode(content, "replace")[0]
    if "\ufffd" in text and encoding.name in _WIDER:
        wider = content.decode(_WIDER[encoding.name], "replace")
        return wider if wider.count("\ufffd") < text.count("\ufffd") else text
    return text


def _guess(content: bytes, declared: webencodings.Encoding | None) -> str:
    if declared is not None and declared.name == "utf-8":
        text = content.decode("utf-8", "replace")
        if text.count("\ufffd") * 1_000 <= len(text):
            return text
    found = decode(content)
    if not found.exact:
        raise Refusal("invalid-encoding", "it says no encoding in which it can be read")
    return found.text
