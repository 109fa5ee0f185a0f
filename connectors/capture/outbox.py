"""Events out of the WAL: the rows of `app.outbox`, which `app.emit` and `app.emit_raw` insert (law 1).

Owns what such a row means and its encoding by the topic's contract. Refuses topics that are not ours to write (a
table's, or one that others write to: our position could not be read back from it, R8). Whatever is wrong with a row is
a `DataError`; `stream.py` keeps it as a dead letter and goes on. Who may insert which row is the database's affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from connectors.capture.encoder import TransactionOrigin, position_headers
from connectors.capture.pgoutput import Cell, Relation, Tuple
from connectors.capture.ports import Router
from connectors.capture.routing import BY_TENANT
from connectors.kafka.producer import EncodedRecord
from connectors.postgres.lsn import Pos
from runtime.errors import Undecodable, Unencodable
from schemas.codec import Encoder
from schemas.headers import OUR_PREFIX
from topics.catalog import Topic

TABLE = "app.outbox"
WRITABLE = ("event", "dlq")
"""Kinds of topics that events may go to."""
CELL_BYTES_MAX = 16 * 1_048_576
"""No topic takes a record of this size, and JSON needs many times its own size as values."""
ORIGINAL_PREFIX = "original."
"""Given to headers whose names are ours: a dead letter keeps what its record had, and has a position of its own."""


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """A row. Either `key` and `value`, to be encoded, or their bytes."""

    event_id: int
    topic: str
    tenant_id: str | None
    key: Any = None
    value: Any = None
    key_bytes: bytes | None = None
    value_bytes: bytes | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    raw: bool = False
    """Its bytes are produced as they are."""

    def content(self) -> bytes:
        """What there is to keep of it as a dead letter."""
        return self.value_bytes or b"" if self.raw else msgspec.json.encode(self.value)


class OutboxRelation:
    """`app.outbox` as the WAL shows it."""

    def __init__(self, relation: Relation) -> None:
        self._names = [column.name for column in relation.columns]

    def event(self, cells: Tuple) -> OutboxEvent:
        """One inserted row. Raises `Undecodable`."""
        try:
            row = dict(zip(self._names, cells, strict=True))
            if largest := max((len(cell) for cell in cells if isinstance(cell, bytes)), default=0) // CELL_BYTES_MAX:
                raise ValueError(f"more than {largest * CELL_BYTES_MAX} bytes in one column")
            return OutboxEvent(
                event_id=int(_text(row["event_id"]) or 0),
                topic=_text(row["topic"]) or "",
                tenant_id=_text(row["tenant_id"]),
                key=_json(row["key"]),
                value=_json(row["value"]),
                key_bytes=_bytes(row["key_bytes"]),
                value_bytes=_bytes(row["value_bytes"]),
                headers=_headers(_json(row["headers"])),
                raw=row["key"] is None and row["value"] is None,
            )
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise Undecodable(f"a row of {TABLE} that is not one: {error}", hint="run `adriatic migrate`") from None


def _text(cell: Cell) -> str | None:
    return cell.decode() if isinstance(cell, bytes) else None


def _json(cell: Cell) -> Any:
    return msgspec.json.decode(cell) if isinstance(cell, bytes) else None


def _headers(found: Any) -> Mapping[str, Any]:
    """Names are what C can hold."""
    if found is None:
        return {}
    if not isinstance(found, dict) or any("\0" in name for name in found):
        raise ValueError("headers that are none")
    return found


def _bytes(cell: Cell) -> bytes | None:
    return bytes.fromhex(cell[2:].decode("ascii")) if isinstance(cell, bytes) else None


class EventEncoder:
    """All the topics that events go to. `encoders`: key and value of each topic that has a contract."""

    def __init__(
        self,
        topics: Mapping[str, Topic],
        encoders: Mapping[str, tuple[Encoder, Encoder]],
        router: Router = BY_TENANT,
    ) -> None:
        self._router = router
        self._topics = topics
        self._encoders = encoders

    def knows(self, topic: str) -> bool:
        return topic in self._topics

    def record(self, event: OutboxEvent, origin: TransactionOrigin, ordinal: int) -> EncodedRecord:
        """Raises `DataError`."""
        topic = self._topics.get(event.topic)
        if topic is None or topic.kind not in WRITABLE:
            why = "no file in topics/" if topic is None else f"the kind {topic.kind}"
            raise Unencodable(f"events cannot go to {event.topic}: it has {why}", hint="emit to a topic of kind event")
        partition, routed = self._router.route_event(topic, event)
        key, value = (event.key_bytes, event.value_bytes) if event.raw else self._encode(event)
        pos = Pos(origin.commit, ordinal)
        headers = position_headers(pos, origin, routed)
        headers += (_header(name, content) for name, content in event.headers.items())
        return EncodedRecord(topic.name, partition, key, value, headers, pos)

    def _encode(self, event: OutboxEvent) -> tuple[bytes, bytes]:
        found = self._encoders.get(event.topic)
        if found is None:
            raise Unencodable(f"{event.topic} has no contract", hint="use app.emit_raw for bytes as they are")
        if event.tenant_id is None:
            raise Unencodable(f"an event for {event.topic} without a tenant")
        key, value = found
        return key.encode_json(event.key), value.encode_json(event.value)


def _header(name: str, content: Any) -> tuple[str, bytes]:
    body = content.encode() if isinstance(content, str) else msgspec.json.encode(content)
    return (ORIGINAL_PREFIX + name if name.startswith(OUR_PREFIX) else name), body
