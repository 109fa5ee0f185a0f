"""Events: what the JSON of a message means, and what is refused."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import pytest

from connectors.capture import outbox
from connectors.kafka.partitioner import partition_for
from connectors.postgres.lsn import Lsn, Pos
from runtime.errors import DataError, Undecodable, Unencodable
from schemas.codec import Decoder, Encoder
from tests.connectors.capture.world import EVENT_KEY, EVENT_VALUE
from topics.catalog import Dlq, Kind, Topic

TENANT = str(uuid.UUID(int=5))
POS = Pos(Lsn(77), 3)


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
    lookup = Lookup()
    pair = (Encoder(lookup, "events-key", EVENT_KEY), Encoder(lookup, "events-value", EVENT_VALUE))
    topics = [topic("events", "event"), topic("events.dlq", "dlq", 1), topic("feed", "feed"), topic("table", "capture")]
    return outbox.EventEncoder({one.name: one for one in topics}, {"events": pair})


def message(**changes: Any) -> bytes:
    content = {
        "topic": "events",
        "tenant_id": TENANT,
        "key": {"tenant_id": TENANT, "id": 1},
        "value": {"id": 1, "text": "ü", "at": 1},
        "headers": {"traceparent": "00-a"},
    }
    return json.dumps(content | changes).encode()


def test_an_event_is_encoded_by_its_contract(encoder: outbox.EventEncoder) -> None:
    record = encoder.record(outbox.parse(message()), POS, 99, 5)
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
    "content",
    [
        message(value={"id": "one"}),
        message(value=None),
        message(key={}),
        message(tenant_id=None),
        message(tenant_id="nobody"),
        message(topic="unheard"),
        message(topic="feed"),
        message(topic="table"),
        message(topic="events.dlq"),  # has no contract: bytes only
        b"[]",
        b"{}",
        b"\xff",
        b'{"topic": 1}',
        message(key_b64="!", value_b64="a"),
    ],
)
def test_what_is_wrong_is_the_messages_fault(encoder: outbox.EventEncoder, content: bytes) -> None:
    with pytest.raises(DataError) as caught:
        encoder.record(outbox.parse(content), POS, 99, 5)
    assert isinstance(caught.value, Undecodable | Unencodable)


@pytest.mark.parametrize(("key", "value"), [(b"\x00\xffk", b"v" * 500), (None, None)])
def test_bytes_pass_as_they_are(encoder: outbox.EventEncoder, key: bytes | None, value: bytes | None) -> None:
    def encoded(data: bytes | None) -> str | None:
        return None if data is None else base64.encodebytes(data).decode()  # with line breaks, as Postgres has them

    content = json.dumps({"topic": "events.dlq", "key_b64": encoded(key), "value_b64": encoded(value)}).encode()
    record = encoder.record(outbox.parse(content), POS, 99, 5)
    assert (record.key, record.value, record.partition) == (key, value, 0)


def test_our_headers_cannot_be_forged(encoder: outbox.EventEncoder) -> None:
    record = encoder.record(outbox.parse(message(headers={"adriatic.pos": "F/1", "n": 1})), POS, 99, 5)
    assert [value for name, value in record.headers if name == "adriatic.pos"] == [POS.header()]
    assert dict(record.headers)["original.adriatic.pos"] == b"F/1"
    assert dict(record.headers)["n"] == b"1"
