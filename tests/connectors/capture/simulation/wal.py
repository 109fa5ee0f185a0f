"""What a simulated database commits: transactions, as bytes of pgoutput and as the records that the laws ask for.

Owns the encoding of messages (the other direction of `connectors/capture/pgoutput.py`, written from PostgreSQL's
documentation) and `Expected`, which says what a transaction is in the log. Nothing here looks at how capture does it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from connectors.capture.pgoutput import POSTGRES_EPOCH_US, Relation, RelationColumn
from connectors.kafka.records import TopicPartition

PREFIX = "p"
ITEMS, OUTBOX = "app.item", "app.outbox"
ITEMS_TOPIC, EVENTS_TOPIC = f"{PREFIX}.{ITEMS}", "events"
TOPICS = (ITEMS_TOPIC, EVENTS_TOPIC)
PARTITIONS = 2
TENANTS = 4
ORDINALS_PER_CHANGE = 3
"""Each change takes three positions whatever it is: delete, tombstone, create."""

UUID_OID, INT_OID, TEXT_OID, BIGINT_OID, JSONB_OID, BYTEA_OID = 2950, 23, 25, 20, 3802, 17

RELATION_ITEM = Relation(
    *(9, "app", "item", "d"),
    (
        RelationColumn("tenant_id", UUID_OID, -1, True),
        RelationColumn("id", INT_OID, -1, True),
        RelationColumn("title", TEXT_OID, -1, False),
    ),
)
RELATION_OUTBOX = Relation(
    *(10, "app", "outbox", "d"),
    (
        RelationColumn("event_id", BIGINT_OID, -1, True),
        RelationColumn("topic", TEXT_OID, -1, False),
        RelationColumn("tenant_id", UUID_OID, -1, False),
        RelationColumn("key", JSONB_OID, -1, False),
        RelationColumn("value", JSONB_OID, -1, False),
        RelationColumn("key_bytes", BYTEA_OID, -1, False),
        RelationColumn("value_bytes", BYTEA_OID, -1, False),
        RelationColumn("headers", JSONB_OID, -1, False),
    ),
)

RELATION_OUTBOX_DAY = RELATION_OUTBOX._replace(relation_id=11, table="outbox_20260101")
"""The outbox is partitioned: the server shows the partition too, and rows come under the root."""

Kind = Literal["insert", "update", "delete", "rekey", "event", "note"]
"""`rekey`: an update of the primary key. `note`: a logical message in the transaction, which is no record."""


class Change(NamedTuple):
    """One change of a row. `text` is of this change alone: what is in a record says which change made it."""

    kind: Kind
    tenant: int
    row: int
    text: str = ""
    new_row: int = 0


class Expected(NamedTuple):
    """A record that the log must have. `text` None: it has no new row (a delete, a tombstone)."""

    source: TopicPartition
    commit: int
    ordinal: int
    xid: int
    at_us: int
    key: tuple[int, int]
    text: str | None
    is_tombstone: bool

    @property
    def pos(self) -> tuple[int, int]:
        return self.commit, self.ordinal


class Identified(NamedTuple):
    """What tells a record from every other one that any database ever made."""

    source: TopicPartition
    commit: int
    ordinal: int
    xid: int
    at_us: int


@dataclass(frozen=True, eq=False)
class Committed:
    """A transaction. `lags`: how far before its commit its rows are in the WAL; other transactions may have committed
    in between."""

    xid: int
    commit: int
    end: int
    at_us: int
    changes: tuple[Change, ...]
    lags: int = 8

    @cached_property
    def messages(self) -> list[tuple[int, bytes]]:
        """Positions and bytes, without the relations, which a walsender shows when it first needs them."""
        start = max(1, self.commit - self.lags * len(self.changes))
        at = self.at_us - POSTGRES_EPOCH_US
        shown = [(start, b"B" + struct.pack(">QqI", self.commit, at, self.xid & 0xFFFFFFFF))]
        for number, change in enumerate(self.changes):
            row_at = max(1, self.commit - self.lags * (len(self.changes) - number))
            shown.append((row_at, encode(change, row_at)))
        shown.append((self.commit, b"C" + struct.pack(">BQQq", 0, self.commit, self.end, at)))
        return shown

    @cached_property
    def expected(self) -> list[Expected]:
        return [one for number, change in enumerate(self.changes) for one in self._records(number, change)]

    def _records(self, number: int, change: Change) -> list[Expected]:
        first = number * ORDINALS_PER_CHANGE
        kind, tenant, row, text, new_row = change
        topic = EVENTS_TOPIC if kind == "event" else ITEMS_TOPIC
        source = TopicPartition(topic, partition_of(tenant))

        def make(place: int, key: int, text: str | None, is_tombstone: bool = False) -> Expected:
            at = (first + place, self.xid, self.at_us)
            return Expected(source, self.commit, *at, (tenant, key), text, is_tombstone)

        if kind == "event":
            return [make(0, row, text)]
        if kind in ("insert", "update"):
            return [make(2, row, text)]
        gone = [make(0, row, None), make(1, row, None, True)]
        if kind == "delete":
            return gone
        return [*gone, make(2, new_row, text)] if kind == "rekey" else []

    @cached_property
    def identities(self) -> list[Identified]:
        return [Identified(one.source, one.commit, one.ordinal, one.xid, one.at_us) for one in self.expected]


@dataclass(frozen=True)
class Note:
    """A logical message outside of any transaction: heartbeats, and what strangers say."""

    lsn: int
    prefix: str
    content: bytes

    @property
    def message(self) -> bytes:
        return _logical(False, self.lsn, self.prefix, self.content)


Entry = Committed | Note


def tenant_text(tenant: int) -> str:
    return f"00000000-0000-0000-0000-{tenant:012d}"


def partition_of(tenant: int) -> int:
    return tenant % PARTITIONS


def encode(change: Change, lsn: int) -> bytes:
    """The message of one change."""
    kind, tenant, row, text, new_row = change
    if kind == "note":
        return _logical(True, lsn, "anything", text.encode())
    if kind == "event":
        return b"I" + _ID.pack(RELATION_OUTBOX.relation_id) + b"N" + tuple_data(*event_cells(tenant, row, text))
    relation = _ID.pack(RELATION_ITEM.relation_id)
    old = tuple_data(tenant_text(tenant).encode(), b"%d" % row, None)
    if kind == "delete":
        return b"D" + relation + b"K" + old
    new = tuple_data(*item_cells(tenant, new_row if kind == "rekey" else row, text))
    if kind == "rekey":
        return b"U" + relation + b"K" + old + b"N" + new
    return (b"I" if kind == "insert" else b"U") + relation + b"N" + new


def item_cells(tenant: int, row: int, text: str) -> tuple[bytes, ...]:
    return tenant_text(tenant).encode(), b"%d" % row, text.encode()


def event_cells(tenant: int, row: int, text: str) -> tuple[bytes | None, ...]:
    hexadecimal = b"\\x" + text.encode().hex().encode()
    key = b"\\x" + f"{tenant}/{row}".encode().hex().encode()
    return b"%d" % row, EVENTS_TOPIC.encode(), tenant_text(tenant).encode(), None, None, key, hexadecimal, None


def relation_message(relation: Relation) -> bytes:
    columns = b"".join(
        bytes([column.is_key]) + column.name.encode() + b"\0" + struct.pack(">Ii", column.type_oid, -1)
        for column in relation.columns
    )
    names = relation.schema.encode() + b"\0" + relation.table.encode() + b"\0d"
    return b"R" + _ID.pack(relation.relation_id) + names + struct.pack(">h", len(relation.columns)) + columns


def tuple_data(*cells: bytes | None) -> bytes:
    parts = [struct.pack(">h", len(cells))]
    for cell in cells:
        parts.append(b"n" if cell is None else b"t" + struct.pack(">i", len(cell)) + cell)
    return b"".join(parts)


def _logical(transactional: bool, lsn: int, prefix: str, content: bytes) -> bytes:
    return b"M" + struct.pack(">BQ", transactional, lsn) + prefix.encode() + b"\0" + _ID.pack(len(content)) + content


_ID = struct.Struct(">I")
