"""The text of a mail, or of a page that a browser saved in the form of one.

Owns which of its parts are shown: of alternatives one, mails within it below their own heads, attached files as a gap.
The body is put into
Markdown by `elements`, as long as that has the same words as the parts; where it has not, the parts are read by our own
readers. A mailbox is the mails in it, one below the other. Refuses to open what is attached.
"""

from __future__ import annotations

import base64
import binascii
import email
import email.policy
import quopri
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import webencodings

from connectors.parsers import UNSEEN, Kind, Refusal
from connectors.parsers.charset import decode_by, decode_page
from connectors.parsers.elements import make_mail
from connectors.parsers.embedded import PICTURE_BYTES_MIN
from connectors.parsers.flowed import unflow
from connectors.parsers.inventory import Inventory
from connectors.parsers.markdown import Writer
from connectors.parsers.pieces import same_words
from connectors.parsers.web import read_page
from runtime.decoding import decode

DEPTH_MAX = 20
"""Parts within parts. Writers of mail make four."""
MAILS_DEEP_MAX = 8
"""Mails within mails. People pass one on a few times."""
HEADINGS_MAX = 6
"""Levels of headings that Markdown has."""
_REPORT = "message/delivery-status"
_MAILS = ("message/rfc822", "message/global")
_UNPACK: Mapping[str, Callable[[bytes], bytes]] = {"base64": base64.b64decode, "quoted-printable": quopri.decodestring}
_SHOWN_FIELDS = ("From", "To", "Cc", "Date")


_NEXT_MAIL = re.compile(rb"\r?\n(?=From \S+ [^\r\n]*\d{4}[^\r\n]*\r?\n[A-Za-z][A-Za-z0-9-]*:)")
"""Where in a mailbox one mail ends and the next begins."""
_NO_CHARSETS = frozenset(("us-ascii", "ascii"))
"""What programs write that say nothing: bytes beyond it are of some other encoding."""


class _Leaf(NamedTuple):
    """A part that is no container. `within`: it belongs to a page beside it."""

    part: Any
    kind: Kind
    within: bool


def read_mail(content: bytes, inventory: Inventory) -> tuple[str, str]:
    """Subject and text; of a mailbox the first subject, and the texts of all mails in it."""
    mails = _NEXT_MAIL.split(content) if content.startswith(b"From ") else [content]
    found = [_read_one(each, inventory) for each in mails]
    return found[0][0], "\n\n".join(text for _, text in found)


def _read_one(content: bytes, inventory: Inventory) -> tuple[str, str]:
    message: Any = email.message_from_bytes(content, policy=email.policy.default)
    return _read_message(message, inventory, content)


def _read_message(message: Any, inventory: Inventory, content: bytes = b"", depth: int = 0) -> tuple[str, str]:
    """Subject and text of one mail, and below it of those that are in it. `content` is that of the outermost."""
    subject = " ".join(_field(message, "Subject").split())
    parts = sorted(_leaves(message, "text", 0), key=_is_mail)
    sheets = dict(_style_sheets(parts))
    head = [f"{'#' * min(depth + 1, HEADINGS_MAX)} {subject}"] if subject else []
    fields = [f"{name}: {' '.join(text.split())}" for name in _SHOWN_FIELDS if (text := _field(message, name))]
    head += ["  \n".join(fields)] if fields else []
    for each in (subject, *fields):
        inventory.hold("text", each)
        inventory.keep("text", each)
    texts = [text for leaf in parts if (text := _read(leaf, inventory, sheets, depth))]
    body = "\n\n".join(texts)
    is_plain = len(texts) == 1 and not any(_is_flowed(each) or _is_mail(each) for each in parts)
    if content and is_plain and same_words(body, made := make_mail(content)):
        body = made
    return subject, "\n\n".join(filter(None, (*head, body)))


def _is_mail(leaf: _Leaf) -> bool:
    """Whether a part is a mail that somebody passed on as it came: programs show it below the other."""
    part = leaf.part
    return part.get_content_type() in _MAILS and part.is_multipart()


def _read_within(leaf: _Leaf, inventory: Inventory, depth: int) -> str:
    """The text of a mail within a mail, with its own head."""
    if depth >= MAILS_DEEP_MAX:
        inventory.miss("embedded-files", f"mail within more than {MAILS_DEEP_MAX} others")
        return ""
    own = Inventory() if leaf.kind in UNSEEN else inventory
    text = "\n\n".join(_read_message(each, own, depth=depth + 1)[1] for each in _unpack_mails(leaf.part))
    if leaf.kind in UNSEEN:
        inventory.hold(leaf.kind, text)
        return ""
    return text


def _unpack_mails(part: Any) -> list[Any]:
    """The mails that a part holds. No rule lets one be encoded, and some programs do it: then the library finds a mail
    whose head, if it has one, and whose text are still packed. One with parts was not packed, whatever is said."""
    mails = list(part.get_payload())
    encoding = _field(part, "Content-Transfer-Encoding").strip().lower()
    if encoding not in _UNPACK or any(each.is_multipart() for each in mails):
        return mails
    try:
        content = _UNPACK[encoding](b"".join(each.as_bytes(policy=email.policy.compat32) for each in mails).lstrip())
    except binascii.Error:
        content = b""
    return [email.message_from_bytes(content, policy=email.policy.default)]


def _field(message: Any, name: str) -> str:
    """A field of the head; one that no library understands is none."""
    try:
        text = str(message.get(name) or "")
        if "\ufffd" not in text:
            return text
        # Bytes as they are, without the form that there is for them.
        raw = next(str(value) for key, value in message.raw_items() if key.lower() == name.lower())
        return decode(raw.encode("ascii", "surrogateescape")).text
    except Exception:  # the standard library raises whatever it stumbles over
        return ""


def _style_sheets(parts: list[_Leaf]) -> Iterator[tuple[str, str]]:
    """Style sheets that lie beside a page, by the addresses that it has for them."""
    for part, _, _ in parts:
        if part.get_content_type() == "text/css":
            content = part.get_payload(decode=True)
            text = content.decode("utf-8", "replace") if isinstance(content, bytes) else ""
            yield _field(part, "Content-Location").strip(), text
            yield f"cid:{_field(part, 'Content-ID').strip().strip('<>')}", text


def _leaves(part: Any, kind: Kind, depth: int, *, within: bool = False) -> Iterator[_Leaf]:
    """The parts that are no containers. Of alternatives the page is shown, and the others are copies."""
    if part.get_content_maintype() != "multipart" or not part.is_multipart() or depth > DEPTH_MAX:
        yield _Leaf(part, kind, within)
        return
    parts = list(part.iter_parts())
    shown = None
    if part.get_content_subtype() == "alternative":
        shown = max(parts, key=_rank, default=None)
    for each in parts:
        own: Kind = kind if shown in (None, each) else "copy"
        yield from _leaves(each, own, depth + 1, within=part.get_content_subtype() == "related")


def _rank(part: Any) -> int:
    """Which of several forms is shown: a page, or a text. One with nothing in it is there for its pictures."""
    found = 0
    for each in part.walk():
        rank = {"text/html": 2, "text/plain": 1}.get(each.get_content_type(), 0)
        if rank > found and _read(_Leaf(each, "text", within=False), Inventory(), {}).strip():
            found = rank
    return found


def _is_file(leaf: _Leaf) -> bool:
    """Whether a part is a file of its own. A small picture within a page is none."""
    part = leaf.part
    if part.get_content_disposition() == "attachment":
        return True
    if part.get_content_maintype() == "image":
        content = part.get_payload(decode=True)
        return not leaf.within or (isinstance(content, bytes) and len(content) >= PICTURE_BYTES_MIN)
    return part.get_content_maintype() not in ("text", "multipart") and part.get_content_type() != _REPORT


def _read(leaf: _Leaf, inventory: Inventory, sheets: Mapping[str, str], depth: int = 0) -> str:
    """The text of a part that is shown; nothing for one that is not, which is counted."""
    part, kind, _ = leaf
    if _is_mail(leaf):
        return _read_within(leaf, inventory, depth)
    if _is_file(leaf):
        inventory.miss("embedded-files", "attached file")
        return ""
    if part.get_content_maintype() == "image":
        return ""
    if part.get_content_subtype() in ("css", "javascript"):
        return ""
    is_page = part.get_content_subtype() in ("html", "xhtml")
    text = _text_of(part, inventory, is_page=is_page)
    if kind in UNSEEN:
        inventory.hold(kind, text)
        return ""
    if is_page:
        writer = Writer()
        read_page(text, inventory, writer, kind, sheets=sheets)
        return writer.finish()
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    if _is_flowed(leaf):
        text = unflow(text, delete_space=_parameter(part, "delsp") == "yes")
    inventory.hold(kind, text)
    inventory.keep(kind, text)
    return text


def _is_flowed(leaf: _Leaf) -> bool:
    return leaf.part.get_content_type() == "text/plain" and _parameter(leaf.part, "format") == "flowed"


def _parameter(part: Any, name: str) -> str:
    """What the type of a part says of it, in small letters."""
    return str(part.get_param(name) or "").strip().lower()


def _text_of(part: Any, inventory: Inventory, *, is_page: bool) -> str:
    if part.get_content_type() == _REPORT and part.is_multipart():
        return "\n".join(str(each) for each in part.get_payload())
    content = part.get_payload(decode=True)
    content = content if isinstance(content, bytes) else b""
    try:
        return _decode(content, (part.get_content_charset() or "").lower(), is_page=is_page)
    except Refusal:
        inventory.miss("damaged-parts", "part in no encoding that could be found")
        return ""


def _decode(content: bytes, charset: str, *, is_page: bool) -> str:
    """The text by what the part says where its bytes agree, else by what they are. Raises `Refusal`."""
    if charset == "utf-7":  # browsers refuse it, and mails are written in it
        return content.decode("utf-7", "replace")
    says_nothing = charset in _NO_CHARSETS and not content.isascii()
    encoding = webencodings.lookup(charset) if charset and not says_nothing else None
    if encoding is not None:
        text = decode_by(encoding, content)
        if "\ufffd" not in text:
            return text
    if is_page:
        return decode_page(content)
    found = decode(content)
    if not found.exact:
        raise Refusal("invalid-encoding", "it is in no encoding that could be found")
    return found.text
