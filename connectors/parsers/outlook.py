"""The text of a mail as Outlook keeps it in a file (MSG), and of the mails in it.

Owns which of its properties a reader sees: the head, the page or else the text, attached mails below their own heads,
attached files as a gap. What is written in rich text alone is a gap too. Refuses to open what is attached.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import olefile

from connectors.parsers import Refusal
from connectors.parsers.charset import decode_page
from connectors.parsers.embedded import PICTURE_BYTES_MIN
from connectors.parsers.inventory import Inventory
from connectors.parsers.mail import HEADINGS_MAX, MAILS_DEEP_MAX
from connectors.parsers.markdown import Writer
from connectors.parsers.web import read_page
from runtime.decoding import decode

FACTS: Final = "__properties_version1.0"
"""The stream of a mail in which its numbers and times are."""
ATTACHED: Final = "__attach_version1.0_"
_MAIL_WITHIN: Final = "__substg1.0_3701000D"
SUBJECT, BODY, PAGE, RICH = 0x0037, 0x1000, 0x1013, 0x1009
SENDER, SENDER_ADDRESSES = 0x0C1A, (0x5D01, 0x0C1F)
TO, CC = 0x0E04, 0x0E03
SENT, RECEIVED = 0x0039, 0x0E06
PAGES_OF_CODE = (0x3FDE, 0x3FFD)
"""They say in what encoding texts of a byte a letter are."""
MIME_TAG, CONTENT_ID, DATA = 0x370E, 0x3712, 0x3701
_BEGAN = datetime(1601, 1, 1, tzinfo=UTC)
_HEAD_BYTES, _HEAD_BYTES_WITHIN, _FACT_BYTES = 32, 24, 16
_UNICODE = 65_001


def read_outlook(path: Path, inventory: Inventory) -> tuple[str, str]:
    """Subject and text. Raises `Refusal`, and what the library raises for a container that is damaged."""
    with closing(olefile.OleFileIO(str(path))) as container:
        return _Mail(container, (), inventory).read()


class _Mail:
    """One mail of the container: the outermost, or one in the storage `within`."""

    def __init__(self, container: Any, within: Sequence[str], inventory: Inventory, depth: int = 0) -> None:
        self._container = container
        self._within = list(within)
        self._inventory = inventory
        self._depth = depth
        self._facts = self._read_facts()

    def read(self) -> tuple[str, str]:
        subject = " ".join(self._text(SUBJECT).split())
        head = [f"{'#' * min(self._depth + 1, HEADINGS_MAX)} {subject}"] if subject else []
        fields = [f"{name}: {text}" for name, text in self._read_fields().items() if text]
        for each in (subject, *fields):
            self._inventory.hold("text", each)
            self._inventory.keep("text", each)
        attached = [text for each in self._find_attached() if (text := self._read_attached(each))]
        parts = [*head, "  \n".join(fields), self._read_body(), *attached]
        return subject, "\n\n".join(filter(None, parts))

    def _read_fields(self) -> Mapping[str, str]:
        address = next(filter(None, map(self._text, SENDER_ADDRESSES)), "")
        sender = self._text(SENDER)
        shown = f"{sender} <{address}>" if sender and address and sender != address else sender or address
        fields = {"From": shown, "To": self._text(TO), "Cc": self._text(CC), "Date": self._read_date()}
        return {name: " ".join(text.split()) for name, text in fields.items()}

    def _read_date(self) -> str:
        ticks = self._facts.get(SENT) or self._facts.get(RECEIVED) or 0
        try:
            return (_BEGAN + timedelta(microseconds=ticks // 10)).isoformat(" ", "minutes") if ticks else ""
        except OverflowError:
            return ""

    def _read_body(self) -> str:
        page = decode_page(content) if (content := self._bytes(PAGE)) else self._text(PAGE)
        if page.strip():
            writer, own = Writer(), Inventory()
            read_page(page, own, writer)
            if text := writer.finish().strip():
                self._inventory.add(own)
                return text
        text = self._text(BODY).replace("\r\n", "\n").replace("\r", "\n").strip()
        if not text and self._bytes(RICH):
            self._inventory.miss("unread-parts", "part in a format that is not read")
        self._inventory.hold("text", text)
        self._inventory.keep("text", text)
        return text

    # --- what is attached -------------------------------------------------------------------------------------------

    def _find_attached(self) -> list[str]:
        """The storages of what is attached, by their numbers."""
        at = len(self._within)
        listed = self._container.listdir(streams=False, storages=True)
        return sorted(
            each[at] for each in listed if len(each) == at + 1 and each[:at] == self._within and _is_attached(each[at])
        )

    def _read_attached(self, name: str) -> str:
        place = [*self._within, name]
        if self._container.exists([*place, _MAIL_WITHIN, FACTS]):
            if self._depth >= MAILS_DEEP_MAX:
                self._inventory.miss("embedded-files", f"mail within more than {MAILS_DEEP_MAX} others")
                return ""
            return _Mail(self._container, [*place, _MAIL_WITHIN], self._inventory, self._depth + 1).read()[1]
        if not self._is_ornament(place):
            self._inventory.miss("embedded-files", "attached file")
        return ""

    def _is_ornament(self, place: list[str]) -> bool:
        """A small picture within the page of the mail, such as a logo."""
        if not self._text(CONTENT_ID, place) or not self._text(MIME_TAG, place).lower().startswith("image/"):
            return False
        data = [*place, f"__substg1.0_{DATA:04X}0102"]
        return bool(self._container.exists(data)) and self._container.get_size(data) < PICTURE_BYTES_MIN

    # --- properties -------------------------------------------------------------------------------------------------

    def _read_facts(self) -> Mapping[int, int]:
        """Properties of a fixed size, by their ids."""
        place = [*self._within, FACTS]
        if not self._container.exists(place):
            raise Refusal("broken", "it is a container of Outlook without a mail in it")
        content = self._container.openstream(place).read()
        facts = {}
        for at in range(_HEAD_BYTES_WITHIN if self._within else _HEAD_BYTES, len(content) - 15, _FACT_BYTES):
            _, own_id, _, number = struct.unpack_from("<HHIQ", content, at)
            facts[own_id] = number
        return facts

    def _stream(self, own_id: int, kind: str, place: Sequence[str] | None = None) -> bytes:
        name = [*(self._within if place is None else place), f"__substg1.0_{own_id:04X}{kind}"]
        if self._container.exists(name) and self._container.get_type(name) == olefile.STGTY_STREAM:
            return bytes(self._container.openstream(name).read())
        return b""

    def _bytes(self, own_id: int) -> bytes:
        return self._stream(own_id, "0102")

    def _text(self, own_id: int, place: Sequence[str] | None = None) -> str:
        if wide := self._stream(own_id, "001F", place):
            return wide.decode("utf-16-le", "replace").rstrip("\0")
        narrow = self._stream(own_id, "001E", place).rstrip(b"\0")
        for page in filter(None, (self._facts.get(each, 0) & 0xFFFFFFFF for each in PAGES_OF_CODE)):
            try:
                return narrow.decode(codecs.lookup("utf-8" if page == _UNICODE else f"cp{page}").name)
            except (LookupError, UnicodeDecodeError):
                continue
        return decode(narrow).text


def _is_attached(name: str) -> bool:
    return name.lower().startswith(ATTACHED)
