"""Makes records of a row change: Debezium's envelope, in Avro, by the committed contract.

Owns one `TableEncoder` a relation: which column goes into which field, the envelope, key and headers, what a delete and
a change of key look like. Refuses I/O (schema ids are asked for when it is made) and to decide what happens to a table
that does not fit: it raises `Misfit` when it is made, `DataError` for a row (R11 is `stream.py`'s). The seam for a
generated encoder is `TableEncoder.records`.

Two deliberate differences from Debezium: the `before` of a delete holds what Postgres sent (with the default replica
identity the key) and null elsewhere, where Debezium invents values; and `unchanged` names the columns that an update
left out (R7), where Debezium has a placeholder that could be data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple
from uuid import UUID

from connectors.capture.pgoutput import UNCHANGED, Cell, Delete, Insert, Relation, Tuple, Update
from connectors.capture.ports import Router
from connectors.capture.routing import BY_TENANT
from connectors.capture.values import Convert, Misfit, converter, nullable
from connectors.kafka.producer import EncodedRecord, Headers
from connectors.postgres.lsn import Lsn, Pos
from connectors.postgres.xid import XID_MASK
from runtime import __version__
from runtime.errors import Unencodable
from schemas.codec import Encoder
from schemas.headers import (
    COMMITTED_AT_HEADER,
    NEW_KEY_HEADER,
    OLD_KEY_HEADER,
    POSITION_HEADER,
    SESSION_HEADER,
    SNAPSHOT_HEADER,
    SNAPSHOT_ID_HEADER,
    TRACEPARENT_HEADER,
    TRANSACTION_HEADER,
)
from topics.catalog import Topic

ORDINALS_PER_CHANGE = 3
"""A change is at most three records (delete, tombstone, create). Each change takes three ordinals whatever it is, so
that a record's position depends on the WAL alone (R8)."""

Row = dict[str, Any]


class TransactionOrigin(NamedTuple):
    """What all the changes of one transaction share. A snapshot is one, with the position before its own."""

    commit: Lsn
    committed_at_us: int
    xid: int | None
    """The whole id, with its epoch. None: a snapshot."""
    origin: str | None = None
    snapshot_at: int | None = None
    """The position of the snapshot that the rows are from."""
    snapshot_id: UUID | None = None
    """What that snapshot was asked for by."""
    beat: bytes = b""
    """The header of the beat at which its next record is made: the one thing here that changes on the way."""


class _Moment(NamedTuple):
    """Where and when the records of one change are made. `ordinal`: the first of its own."""

    origin: TransactionOrigin
    lsn: int
    ordinal: int
    now_us: int


def position_headers(pos: Pos, origin: TransactionOrigin, routed: Headers) -> Headers:
    """What every record of a transaction, or of a snapshot, says of where it comes from; `routed`: and of where it
    goes."""
    return [(POSITION_HEADER, pos.header()), *routed, *_make_shared(origin)]


@lru_cache(maxsize=64)
def _make_shared(origin: TransactionOrigin) -> tuple[tuple[str, bytes], ...]:
    """The headers that all records of a transaction have alike, between two beats: made once."""
    headers = [(COMMITTED_AT_HEADER, b"%d" % origin.committed_at_us)]
    if origin.xid is not None:
        headers.append((TRANSACTION_HEADER, b"%d" % origin.xid))
    if origin.beat:
        headers.append((SESSION_HEADER, origin.beat))
    if origin.snapshot_at is not None:
        headers.append((SNAPSHOT_HEADER, b"%016X" % origin.snapshot_at))
    if origin.snapshot_id is not None:
        headers.append((SNAPSHOT_ID_HEADER, str(origin.snapshot_id).encode()))
    return tuple(headers)


class TableEncoder:
    """The changes of one relation. `topic.partitions` must be what the broker has."""

    def __init__(
        self,
        relation: Relation,
        topic: Topic,
        key: Encoder,
        value: Encoder,
        database: str,
        router: Router = BY_TENANT,
    ) -> None:
        self._router = router
        self.relation = relation
        self.topic = topic
        self._key = key
        self._value = value
        row = _row_schema(value.schema)
        fields = {field["name"]: field["type"] for field in row["fields"]}
        # Naming the branch of the union saves fastavro from trying the whole row on each: a quarter of its time.
        self._row_name = f"{row.get('namespace', value.schema.get('namespace', ''))}.{row['name']}".lstrip(".")
        self._columns = _columns(relation, fields)
        self._key_columns = _key_columns(relation, key.schema)
        self._source = {
            "version": __version__,
            "connector": "postgresql",
            "name": topic.name.removesuffix(f".{relation.schema}.{relation.table}"),
            "db": database,
            "schema": relation.schema,
            "table": relation.table,
        }
        self.extra_columns = tuple(column.name for column in relation.columns if column.name not in fields)
        """Columns that the contract does not have (yet): they are left out."""
        key.fetch_header()
        value.fetch_header()

    def records(
        self, change: Insert | Update | Delete, origin: TransactionOrigin, lsn: int, ordinal: int, now_us: int
    ) -> list[EncodedRecord]:
        """The records of one change, in order. `ordinal`: the first of the three that are its own."""
        make = partial(self._record, _Moment(origin, lsn, ordinal, now_us))
        if isinstance(change, Insert):
            key, row, unchanged = self._row(change.new)
            return [make(key, None, row, "c" if origin.snapshot_at is None else "r", 2, unchanged)]
        if isinstance(change, Delete):
            key, before, _ = self._row(change.old)
            return [make(key, before, None, "d", 0), make(key, None, None, None, 1)]
        return self._update(change, make)

    def make_copy(self, row: Insert, origin: TransactionOrigin, lsn: int, ordinal: int, now_us: int) -> EncodedRecord:
        """The record of a row of a snapshot."""
        (record,) = self.records(row, origin, lsn, ordinal, now_us)
        return record

    def _update(self, change: Update, make: Callable[..., EncodedRecord]) -> list[EncodedRecord]:
        new = change.new if change.old is None or change.old_is_key else _fill(change.new, change.old)
        if change.old is None:
            key, after, unchanged = self._row(new)
            return [make(key, None, after, "u", 2, unchanged)]
        old_key, before, _ = self._row(change.old)
        key, after, unchanged = self._row(new)
        if old_key == key:
            return [make(key, None if change.old_is_key else before, after, "u", 2, unchanged)]
        to = [(NEW_KEY_HEADER, json.dumps(key).encode())]
        back = [(OLD_KEY_HEADER, json.dumps(old_key).encode())]
        return [
            make(old_key, before, None, "d", 0, headers=to),
            make(old_key, None, None, None, 1, headers=to),
            make(key, None, after, "c", 2, unchanged, headers=back),
        ]

    def _row(self, cells: Tuple) -> tuple[Row, Row, list[str]]:
        """Key, fields, and the names of those that the WAL does not hold."""
        row: Row = {}
        unchanged: list[str] = []
        for (name, convert), cell in zip(self._columns, cells, strict=True):
            if cell is None or convert is None:
                continue  # null is every field's default
            if cell is UNCHANGED:
                unchanged.append(name)
                continue
            assert isinstance(cell, bytes)
            try:
                row[name] = convert(cell)
            except Unencodable as error:
                raise Unencodable(f"column {name}: {error.detail}", hint=error.hint) from None
            except (ValueError, ArithmeticError) as error:
                raise Unencodable(f"column {name}: {type(error).__name__}") from None
        try:
            key = {name: row[name] for name in self._key_columns}
        except KeyError as error:
            raise Unencodable(f"column {error.args[0]} of the key is not in the WAL") from None
        return key, row, unchanged

    def _record(
        self,
        at: _Moment,
        key: Row,
        before: Row | None,
        after: Row | None,
        op: str | None,
        place: int,
        unchanged: Sequence[str] = (),
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> EncodedRecord:
        """`place`: which of the change's ordinals is this record's. `op` None: a tombstone."""
        topic, origin = self.topic, at.origin
        pos = Pos(origin.commit, at.ordinal + place)
        partition, routed = self._router.route(topic, key)
        carried = position_headers(pos, origin, routed)
        if after is not None and (traceparent := after.get("traceparent")):
            carried.append((TRACEPARENT_HEADER, traceparent.encode()))
        carried += headers
        value = None if op is None else self._value.encode(self._envelope(at, before, after, op, unchanged))
        return EncodedRecord(topic.name, partition, self._key.encode(key), value, carried, pos)

    def _envelope(self, at: _Moment, before: Row | None, after: Row | None, op: str, unchanged: Sequence[str]) -> Row:
        origin, lsn, _, now_us = at
        at_us = origin.committed_at_us
        source = {
            **self._source,
            "ts_ms": at_us // 1000,
            "ts_us": at_us,
            "ts_ns": at_us * 1000,
            "snapshot": "false" if origin.snapshot_at is None else "true",
            # Debezium has the last commit here, which is not known after a restart; ours is the row's own commit.
            "sequence": f'["{origin.commit}","{lsn}"]',
            "txId": origin.xid and origin.xid & XID_MASK,
            "lsn": lsn,
            "origin": origin.origin,
        }
        return {
            "before": before and (self._row_name, before),
            "after": after and (self._row_name, after),
            "source": source,
            "op": op,
            "ts_ms": now_us // 1000,
            "ts_us": now_us,
            "ts_ns": now_us * 1000,
            "unchanged": list(unchanged),
        }


def _fill(new: Tuple, old: Tuple) -> tuple[Cell, ...]:
    """Fill what the new row left out from the old one: with replica identity FULL it is there."""
    return tuple(before if cell is UNCHANGED else cell for cell, before in zip(new, old, strict=True))


def _row_schema(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record of a row inside an envelope."""
    for field in schema["fields"]:
        if field["name"] == "before":
            row, _ = nullable(field["type"])
            assert isinstance(row, dict)
            return row
    raise Misfit("the contract is not an envelope: it has no field `before`")


def _columns(relation: Relation, fields: Mapping[str, Any]) -> list[tuple[str, Convert | None]]:
    """Find for each column of the relation its field and conversion; None where the contract has no such field."""
    present = {column.name for column in relation.columns}
    if missing := sorted(fields.keys() - present):
        raise Misfit(f"the table has no column {', '.join(missing)}")
    columns: list[tuple[str, Convert | None]] = []
    for column in relation.columns:
        if column.name not in fields:
            columns.append((column.name, None))
            continue
        avro, may_be_null = nullable(fields[column.name])
        if not may_be_null and not column.is_key:
            raise Misfit(f"{column.name} must be nullable: Postgres does not always send it")
        try:
            columns.append((column.name, converter(column.type_oid, avro)))
        except Misfit as misfit:
            raise Misfit(f"column {column.name}: {misfit}") from None
    return columns


def _key_columns(relation: Relation, schema: Mapping[str, Any]) -> tuple[str, ...]:
    keys = {column.name for column in relation.columns if column.is_key}
    wanted = tuple(field["name"] for field in schema["fields"])
    if missing := [name for name in wanted if name not in keys]:
        raise Misfit(
            f"{', '.join(missing)} of the key are not in the table's replica identity: without them a delete cannot "
            "say which row it was"
        )
    return wanted
