"""Events: what a row of the outbox means, and what is refused."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.capture import outbox
from connectors.capture.encoder import TransactionOrigin
from connectors.capture.pgoutput import UNCHANGED, Relation, RelationColumn, Tuple
from connectors.kafka.partitioner import partition_for
from connectors.postgres.lsn import Lsn, Pos
from runtime.errors import DataError, Undecodable, Unencodable
from schemas.codec import Decoder, Encoder
from tests.connectors.capture.world import EVENT_KEY, EVENT_VALUE
from topics.catalog import Dlq, Kind, Topic

TENANT = str(uuid.UUID(int=5))
POS = Pos(Lsn(77), 3)
ORIGIN = TransactionOrigin(Lsn(77), 99, 5)
COLUMNS = ("event_id", "topic", "tenant_id", "key", "value", "key_bytes", "value_bytes", "headers")


class Lookup:
    """A registry of two schemas."""

    def id_of(self, subject: str, schema: Any) -> int:
        return 1 if subject.endswith("-key") else 2

    def schema(self, schema_id: int) -> Any:
        return {1: EVENT_KEY, 2: EVENT_VALUE}[schema_id]


def topic(name: str, kind: Kind, partitions: int = 8) -> Topic:
    return Topic(
        name=name, kind=kind, description="", owner="tests", partitions=partitions, key=("tenant_id", "id"),
        partition_by="tenant_id", cleanup="delete", retention_ms=-1, producers=(), pii=(),
        freshness_target_s=None, dlq=Dlq(""), extra={},
    )  # fmt: skip


@pytest.fixture
def encoder() -> outbox.EventEncoder:
    return events()


def events() -> outbox.EventEncoder:
    lookup = Lookup()
    pair = (Encoder(lookup, "events-key", EVENT_KEY), Encoder(lookup, "events-value", EVENT_VALUE))
    topics = [topic("events", "event"), topic("events.dlq", "dlq", 1), topic("feed", "feed"), topic("table", "capture")]
    return outbox.EventEncoder({one.name: one for one in topics}, {"events": pair})


def row(**changes: bytes | None) -> Tuple:
    """The cells of a row as the WAL has them. JSON and bytes are text there."""
    cells = {
        "event_id": b"7",
        "topic": b"events",
        "tenant_id": TENANT.encode(),
        "key": json.dumps({"tenant_id": TENANT, "id": 1}).encode(),
        "value": json.dumps({"id": 1, "text": "ü", "at": 1}).encode(),
        "key_bytes": None,
        "value_bytes": None,
        "headers": b'{"traceparent": "00-a"}',
    }
    return tuple((cells | changes)[name] for name in COLUMNS)


def read(cells: Tuple) -> outbox.OutboxEvent:
    columns = tuple(RelationColumn(name, 25, -1, name == "event_id") for name in COLUMNS)
    return outbox.OutboxRelation(Relation(1, "app", "outbox", "d", columns)).event(cells)


def test_an_event_is_encoded_by_its_contract(encoder: outbox.EventEncoder) -> None:
    record = encoder.record(read(row()), ORIGIN, 3)
    decoder = Decoder(Lookup())
    assert record.key is not None
    assert record.value is not None
    assert decoder.decode(record.key) == {"tenant_id": uuid.UUID(TENANT), "id": 1}
    assert decoder.decode(record.value)["text"] == "ü"
    assert record.partition == partition_for(TENANT, 8)
    assert record.pos == POS
    assert dict(record.headers) == {
        "adriatic.pos": POS.header(),
        "adriatic.committed_at": b"99",
        "adriatic.xid": b"5",
        "adriatic.tenant": TENANT.encode(),
        "traceparent": b"00-a",
    }


@pytest.mark.parametrize(
    "cells",
    [
        row(value=b'{"id": "one"}'),
        row(value=None),
        row(key=b"{}"),
        row(key=None),
        row(tenant_id=None),
        row(topic=b"unheard"),
        row(topic=b"feed"),
        row(topic=b"table"),
        row(topic=b"events.dlq"),  # has no contract: bytes only
        row(value=b"[]"),
        row(headers=b"not json"),
        row(event_id=b"x"),
        row(key=None, value=None, value_bytes=b"\\xzz"),
        row(topic=b"\xff"),
    ],
)
def test_what_is_wrong_is_the_rows_fault(encoder: outbox.EventEncoder, cells: Tuple) -> None:
    with pytest.raises(DataError) as caught:
        encoder.record(read(cells), ORIGIN, 3)
    assert isinstance(caught.value, Undecodable | Unencodable)


@pytest.mark.parametrize(("key", "value"), [(b"\x00\xffk", b"v" * 500), (None, None)])
def test_bytes_pass_as_they_are(encoder: outbox.EventEncoder, key: bytes | None, value: bytes | None) -> None:
    def shown(data: bytes | None) -> bytes | None:
        return None if data is None else b"\\x" + data.hex().encode()

    raw = {"key": None, "value": None, "key_bytes": shown(key), "value_bytes": shown(value)}
    cells = row(topic=b"events.dlq", tenant_id=None, **raw)
    record = encoder.record(read(cells), ORIGIN, 3)
    assert (record.key, record.value, record.partition) == (key, value, 0)


CELLS = (
    st.none()
    | st.just(UNCHANGED)
    | st.binary(max_size=40)
    | st.sampled_from(
        [
            b"1" * 5_000,
            b"[" * 100_000,
            b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
            b'{"\\u0000": 1}',
            b'{"n": {"deep": [1e999]}}',
            b"[1]",
            b"1e400",
            b"\\x0g",
            b"\\xff",
            b'"\\ud800"',
            b"events",
            TENANT.encode(),
        ]
    )
)


@settings(max_examples=300)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, CELLS)))
def test_whatever_a_row_holds_is_an_event_or_the_rows_fault(changes: dict[str, Any]) -> None:
    """Nothing else is raised, also where nobody guards."""
    with suppress(DataError):
        event = read(row(**changes))
        record = events().record(event, ORIGIN, 3)
        assert all(isinstance(name, str) and isinstance(value, bytes) for name, value in record.headers)
        assert event.content() is not None


def test_a_row_of_a_hundred_megabytes_is_not_taken_apart() -> None:
    with pytest.raises(Undecodable, match="bytes in one column"):
        read(row(value=b"[" + b"1," * 50_000_000 + b"1]"))


def test_an_event_of_a_snapshot_says_so(encoder: outbox.EventEncoder) -> None:
    record = encoder.record(read(row()), TransactionOrigin(Lsn(77), 99, None, snapshot_at=78), 3)
    assert dict(record.headers)["adriatic.snapshot"] == b"%016X" % 78
    assert "adriatic.xid" not in dict(record.headers)


def test_our_headers_cannot_be_forged(encoder: outbox.EventEncoder) -> None:
    record = encoder.record(read(row(headers=b'{"adriatic.pos": "F/1", "adriatic.snapshot": "1", "n": 1}')), ORIGIN, 3)
    assert [value for name, value in record.headers if name == "adriatic.pos"] == [POS.header()]
    assert "adriatic.snapshot" not in dict(record.headers)
    assert dict(record.headers)["original.adriatic.pos"] == b"F/1"
    assert dict(record.headers)["n"] == b"1"
