"""The producer without a broker: bounds, failures, and an end that leaves nothing behind."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import pytest

from connectors.kafka.producer import RECORD_OVERHEAD_BYTES, IdempotentProducer, size_bytes
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import RecordTooLarge
from runtime.settings import KafkaSettings

NOBODY = KafkaSettings(bootstrap_servers="127.0.0.1:1")


class Record(NamedTuple):
    value: bytes
    pos: int = 1
    topic: str = "t"
    partition: int = 0
    key: bytes = b"k"
    headers: Any = (("h", b"v"),)


@pytest.fixture
def producer() -> IdempotentProducer:
    return IdempotentProducer(NOBODY, {"t": 10_000_000}, SYSTEM_CLOCK)


def sendable(record: Record) -> Any:
    return record._replace(headers=list(record.headers))


def test_a_full_queue_says_so(producer: IdempotentProducer) -> None:
    record, sent = sendable(Record(b"x" * 5_000_000)), 0
    while producer.send(record, lambda _: None):
        sent += 1
        assert sent < 100
    assert sent == producer.unacked
    producer.close()


def test_silence_is_measured_from_the_first_record_that_waits(producer: IdempotentProducer) -> None:
    time.sleep(0.05)
    assert producer.silent_s() == 0
    producer.send(sendable(Record(b"x")), lambda _: None)
    time.sleep(0.05)
    assert producer.silent_s() >= 0.05
    producer.close()


def test_closing_drops_what_waits_at_once_and_acknowledges_nothing(producer: IdempotentProducer) -> None:
    acked: list[int] = []
    for pos in range(3):
        producer.send(sendable(Record(b"x", pos + 1)), acked.append)
    producer.close()
    assert (acked, producer.unacked) == ([], 0)
    assert producer.deliveries.failed == {("t", 0): 1}
    assert not producer.deliveries.overtaken


def test_a_record_that_the_broker_would_refuse_is_refused_before() -> None:
    producer = IdempotentProducer(NOBODY, {"t": 2_000}, SYSTEM_CLOCK)
    fits = 2_000 - size_bytes(sendable(Record(b"")))
    producer.check(sendable(Record(b"x" * fits)))
    with pytest.raises(RecordTooLarge, match="t takes 2000"):
        producer.check(sendable(Record(b"x" * (fits + 1))))
    assert size_bytes(sendable(Record(b""))) > RECORD_OVERHEAD_BYTES
    producer.close()
