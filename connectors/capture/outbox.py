"""Events out of the WAL: the logical messages that `app.emit` and `app.emit_raw` write (law 1).

Owns the JSON inside such a message and its encoding by the topic's contract. Refuses topics that are not ours to write
(a table's, or one that others write to: our position could not be read back from it, R8). Whatever is wrong with a
message is a `DataError`; `stream.py` keeps it as a dead letter and goes on.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from connectors.capture.encoder import position_headers
from connectors.kafka.partitioner import partition_for
from connectors.kafka.producer import EncodedRecord
from connectors.postgres.lsn import Pos
from runtime.errors import Undecodable, Unencodable
from schemas.codec import Encoder
from schemas.headers import COMMITTED_AT_HEADER, POSITION_HEADER, TENANT_HEADER, TRANSACTION_HEADER
from topics.catalog import Topic

PREFIX = "outbox"
WRITABLE = ("event", "dlq")
"""Kinds of topics that messages may go to."""
OURS = frozenset({POSITION_HEADER, COMMITTED_AT_HEADER, TENANT_HEADER, TRANSACTION_HEADER})
ORIGINAL_PREFIX = "original."
"""Given to headers whose names are ours: a dead letter keeps what its record had, and has a position of its own."""


class OutboxEvent(msgspec.Struct, frozen=True):
    """The payload of one message. Either `key` and `value`, to be encoded, or their bytes as base64."""

    topic: str
    tenant_id: str | None = None
    key: Any = None
    value: Any = None
    key_b64: str | msgspec.UnsetType | None = msgspec.UNSET
    value_b64: str | msgspec.UnsetType | None = msgspec.UNSET
    headers: dict[str, Any] = {}

    @property
    def raw(self) -> bool:
        return self.value_b64 is not msgspec.UNSET


_decoder = msgspec.json.Decoder(OutboxEvent)


def parse(content: bytes) -> OutboxEvent:
    """Raises `Undecodable`."""
    try:
        return _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Undecodable(f"an outbox message that is not one: {error}", hint="use app.emit or app.emit_raw") from None


class EventEncoder:
    """All the topics that events go to. `encoders`: key and value of each topic that has a contract."""

    def __init__(self, topics: Mapping[str, Topic], encoders: Mapping[str, tuple[Encoder, Encoder]]) -> None:
        self._topics = topics
        self._encoders = encoders

    def knows(self, topic: str) -> bool:
        return topic in self._topics

    def record(self, event: OutboxEvent, pos: Pos, committed_at_us: int, xid: int | None) -> EncodedRecord:
        """Raises `DataError`."""
        topic = self._topics.get(event.topic)
        if topic is None or topic.kind not in WRITABLE:
            why = "no file in topics/" if topic is None else f"the kind {topic.kind}"
            raise Unencodable(f"events cannot go to {event.topic}: it has {why}", hint="emit to a topic of kind event")
        tenant = _tenant(event)
        key, value = (_bytes(event.key_b64), _bytes(event.value_b64)) if event.raw else self._encode(event)
        headers = position_headers(pos, committed_at_us, xid, tenant)
        headers += (_header(name, content) for name, content in event.headers.items())
        return EncodedRecord(topic.name, partition_for(tenant or "", topic.partitions), key, value, headers, pos)

    def _encode(self, event: OutboxEvent) -> tuple[bytes, bytes]:
        found = self._encoders.get(event.topic)
        if found is None:
            raise Unencodable(f"{event.topic} has no contract", hint="use app.emit_raw for bytes as they are")
        if event.tenant_id is None:
            raise Unencodable(f"an event for {event.topic} without a tenant")
        key, value = found
        return key.encode_json(event.key), value.encode_json(event.value)


def _tenant(event: OutboxEvent) -> str | None:
    if event.tenant_id is None:
        return None
    try:
        return str(UUID(event.tenant_id))
    except ValueError:
        raise Unencodable("tenant_id is not a uuid") from None


def _bytes(text: str | msgspec.UnsetType | None) -> bytes | None:
    if text is None or text is msgspec.UNSET:
        return None
    try:
        return base64.b64decode(text)  # Postgres breaks the lines
    except (binascii.Error, ValueError):
        raise Undecodable("an outbox message whose bytes are not base64", hint="use app.emit_raw") from None


def _header(name: str, content: Any) -> tuple[str, bytes]:
    body = content.encode() if isinstance(content, str) else msgspec.json.encode(content)
    return (ORIGINAL_PREFIX + name if name in OURS else name), body


def is_uuid(text: str | None) -> bool:
    try:
        return text is not None and bool(UUID(text))
    except ValueError:
        return False
