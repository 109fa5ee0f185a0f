"""A record as it came from a topic, and what our headers say about it.

Owns the value types that travel from the source through a flow, and the reading of the headers that change capture
writes (`adriatic.pos`, `adriatic.committed_at`, `adriatic.tenant`, `adriatic.xid`, `adriatic.session`, `traceparent`).
Refuses to decode keys and values. Headers of other producers are never an error: what cannot be read is None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from confluent_kafka import Message
from confluent_kafka import TopicPartition as KafkaPosition

from connectors.postgres.beats import Beat
from runtime.errors import Undecodable
from schemas.headers import COMMITTED_AT_HEADER, POSITION_HEADER, SESSION_HEADER, TENANT_HEADER, TRANSACTION_HEADER

T = TypeVar("T")

XID_DIGITS_MAX = 18
"""A billion transactions a second for thirty years; more digits would not fit Postgres' type."""
FINGERPRINT_BYTES = 16
"""Long enough that no two records of a partition ever share one by chance."""
Headers = tuple[tuple[str, bytes | None], ...]


class TopicPartition(NamedTuple):
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


@dataclass(frozen=True, slots=True)
class LastRead:
    """The newest record that was read of a partition: where it is, and what it was."""

    offset: int
    fingerprint: str

    @classmethod
    def of(cls, record: Record) -> LastRead:
        return cls(record.offset, record.fingerprint)


@dataclass(frozen=True, slots=True)
class Record:
    """One record, undecoded. `timestamp_ms` is None when the broker has none."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def size_bytes(self) -> int:
        return len(self.key or b"") + len(self.value or b"")

    @property
    def coordinates(self) -> dict[str, str | int]:
        return {"topic": self.topic, "partition": self.partition, "offset": self.offset}

    def header(self, name: str) -> str | None:
        """The last header of that name, as text; None when there is none or it is no text."""
        for key, value in reversed(self.headers):
            if key == name and value is not None:
                try:
                    return value.decode()
                except UnicodeDecodeError:
                    return None
        return None

    @property
    def lsn(self) -> int | None:
        """LSN of the commit that this record belongs to."""
        return self._read(POSITION_HEADER, lambda text: int(text.split("/", 1)[0], 16))

    @property
    def xid(self) -> int | None:
        """The whole id of the transaction that wrote it. None: it was not captured from a transaction."""
        text = self.header(TRANSACTION_HEADER)
        return int(text) if text and text.isascii() and text.isdigit() and len(text) <= XID_DIGITS_MAX else None

    @property
    def committed_at(self) -> datetime | None:
        """When the source committed it, by the source's clock."""
        return self._read(COMMITTED_AT_HEADER, lambda text: datetime.fromtimestamp(int(text) / 1_000_000, UTC))

    @property
    def tenant_id(self) -> UUID | None:
        return self._read(TENANT_HEADER, UUID)

    @property
    def beat(self) -> Beat | None:
        """The session of change capture that produced it, and the beat. None: it does not say, so others wrote it."""
        try:
            return Beat.parse((self.header(SESSION_HEADER) or "").encode())
        except Undecodable:
            return None

    @property
    def fingerprint(self) -> str:
        """What it is, whoever reads it: equal for the same record, and for no other one at its offset."""
        parts = (self.key, self.value, *(part for name, value in self.headers for part in (name.encode(), value)))
        digest = blake2b(str(self.timestamp_ms).encode(), digest_size=FINGERPRINT_BYTES)
        for part in parts:
            digest.update(b"-" if part is None else b"%d:" % len(part))
            digest.update(part or b"")
        return digest.hexdigest()

    def _read(self, name: str, parse: Callable[[str], T]) -> T | None:
        text = self.header(name)
        try:
            return parse(text) if text else None
        except (ValueError, OverflowError, OSError):
            return None


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one partition in order. `expected_offset` is where the flow stood before it, `next_offset` where it
    stands afterwards: past the last record, or past what the log holds for others (transaction markers, compaction),
    in which case there may be no records at all."""

    topic: str
    partition: int
    expected_offset: int
    next_offset: int
    records: tuple[Record, ...]

    @property
    def source(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


def source_of(message: Message) -> TopicPartition:
    return TopicPartition(message.topic() or "", message.partition() or 0)


def positions_of(offsets: Mapping[TopicPartition, int]) -> list[KafkaPosition]:
    """Offsets by partition, as the library takes them."""
    return [KafkaPosition(*source, offset) for source, offset in offsets.items()]


def record_of(message: Message) -> Record:
    """A message without an error, as a record of ours."""
    kind, timestamp = message.timestamp()
    headers: Any = message.headers() or ()
    return Record(
        *source_of(message),
        offset=message.offset() or 0,
        timestamp_ms=timestamp if kind else None,
        key=message.key(),
        value=message.value(),
        headers=tuple((name, value) for name, value in headers),
    )
