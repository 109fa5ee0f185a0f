"""A reading by hand: where it starts and ends, its bounds, and that the broker never notices."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from connectors.kafka.records import Record
from connectors.kafka.tap import Bound, Reading, Tap, TapSummary, span
from runtime.errors import DependencyUnavailable, InvalidInput, NotFound
from runtime.settings import KafkaSettings, Settings

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
BEGINNING, END = Bound(edge="beginning"), Bound(edge="end")
FIRST_MS = 1_767_225_600_000
"""Timestamp of the first record; each one is a second later."""


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("beginning", BEGINNING),
        ("end", END),
        ("now", Bound(at=NOW)),
        ("0", Bound(offset=0)),
        ("1841", Bound(offset=1841)),
        ("-10m", Bound(at=NOW - timedelta(minutes=10))),
        ("-500ms", Bound(at=NOW - timedelta(milliseconds=500))),
        ("2026-11-24", Bound(at=datetime(2026, 11, 24, tzinfo=UTC))),
        ("2026-11-24T10:00:00+01:00", Bound(at=datetime(2026, 11, 24, 9, tzinfo=UTC))),
    ],
)
def test_a_place_is_an_edge_an_offset_or_a_time(text: str, bound: Bound) -> None:
    assert Bound.parse(text, NOW) == bound


@pytest.mark.parametrize("text", ["", "-", "-10", "-10y", "tomorrow", "-99999999999d", "1.5"])
def test_what_is_no_place_is_said(text: str) -> None:
    with pytest.raises(InvalidInput, match="not a place"):
        Bound.parse(text, NOW)


@pytest.mark.parametrize(
    ("start", "end", "follow", "expected"),
    [
        (0, 100, False, (10, 90)),  # older than what there is; newer than what there is
        (20, 30, False, (20, 30)),
        (500, 600, False, (90, 90)),
        (50, 20, False, (50, 50)),  # nothing, not backwards
        (20, 0, True, (20, None)),
    ],
)
def test_a_span_stays_within_what_there_is(start: int, end: int, follow: bool, expected: tuple[int, Any]) -> None:
    found = span(10, 90, start, end, follow)
    assert (found.first, found.end) == expected


@pytest.fixture
def kafka(stack: Settings) -> KafkaSettings:
    return stack.kafka


@pytest.fixture
def topic(kafka: KafkaSettings) -> Iterator[str]:
    """Two partitions: 100 records a second apart in the first, 10 in the second."""
    name = f"tap-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({**kafka.client_config()})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(30)
    producer = Producer({**kafka.client_config()})
    for partition, count in ((0, 100), (1, 10)):
        for number in range(count):
            producer.produce(name, b"%d" % number, b"k", partition=partition, timestamp=FIRST_MS + number * 1000)
    assert producer.flush(30) == 0
    yield name
    admin.delete_topics([name])[name].result(30)


def read(kafka: KafkaSettings, topic: str, count: int = 0, **more: Any) -> tuple[list[Record], TapSummary]:
    """All records of a reading, or the first `count` of them."""
    reading = Reading(topic, **{"start": BEGINNING, "until": END, "seconds_max": 30.0, **more})
    tapped = Tap(kafka, reading)
    found: list[Record] = []
    with closing(tapped.records()) as records:
        for record in records:
            found.append(record)
            if len(found) == count:
                break
    return found, tapped.account


def offsets(records: list[Record], partition: int = 0) -> list[int]:
    return [record.offset for record in records if record.partition == partition]


def second(number: float) -> Bound:
    return Bound(at=datetime.fromtimestamp(FIRST_MS / 1000 + number, UTC))


@pytest.mark.stack
def test_everything_is_read_in_the_order_of_partitions_and_it_ends(kafka: KafkaSettings, topic: str) -> None:
    records, account = read(kafka, topic)
    assert (offsets(records), offsets(records, 1)) == (list(range(100)), list(range(10)))
    assert account == TapSummary(partitions=2, scanned=110, stopped="end", left={})


@pytest.mark.stack
@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"start": Bound(offset=95)}, range(95, 100)),
        ({"start": Bound(offset=40), "until": Bound(offset=45)}, range(40, 45)),
        ({"start": second(97)}, range(97, 100)),  # at exactly that time
        ({"start": second(96.5)}, range(97, 100)),
        ({"start": second(10), "until": second(13)}, range(10, 13)),  # half open
        ({"start": second(1000)}, range(0)),  # in the future
        ({"until": second(-1)}, range(0)),
        ({"start": END}, range(0)),
    ],
)
def test_a_reading_starts_and_ends_where_it_was_told(
    kafka: KafkaSettings, topic: str, more: dict[str, Any], expected: range
) -> None:
    records, account = read(kafka, topic, partition=0, **more)
    assert offsets(records) == list(expected)
    assert (account.partitions, account.stopped, account.left) == (1, "end", {})


@pytest.mark.stack
def test_records_of_a_slow_clock_are_found_too(kafka: KafkaSettings, topic: str) -> None:
    producer = Producer({**kafka.client_config()})
    producer.produce(topic, b"late", partition=1, timestamp=FIRST_MS + 2500)
    assert producer.flush(30) == 0
    records, _ = read(kafka, topic, partition=1, start=second(2), until=second(3))
    assert offsets(records, 1) == [2, 10]


@pytest.mark.stack
def test_a_bound_on_records_stops_and_says_what_is_left(kafka: KafkaSettings, topic: str) -> None:
    records, account = read(kafka, topic, partition=0, records_max=30)
    assert len(records) == account.scanned == 30
    assert (account.stopped, account.left) == ("records", {0: 70})


@pytest.mark.stack
def test_a_bound_on_time_stops_a_follower(kafka: KafkaSettings, topic: str) -> None:
    records, account = read(kafka, topic, start=END, follow=True, seconds_max=1.0)
    assert (records, account.stopped) == ([], "time")


@pytest.mark.stack
def test_following_goes_on_with_new_records(kafka: KafkaSettings, topic: str) -> None:
    producer = Producer({**kafka.client_config()})
    tapped = Tap(kafka, Reading(topic, Bound(offset=99), END, follow=True, seconds_max=30))
    with closing(tapped.records()) as records:
        assert next(records).offset == 99
        producer.produce(topic, b"new", partition=0)
        assert producer.flush(30) == 0
        assert next(records).value == b"new"


@pytest.mark.stack
def test_an_open_or_aborted_transaction_is_neither_shown_nor_waited_for(kafka: KafkaSettings, topic: str) -> None:
    producer = Producer({**kafka.client_config(), "transactional.id": topic})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"not yet", partition=1)
    assert producer.flush(30) == 0
    records, account = read(kafka, topic, partition=1)
    assert (offsets(records, 1), account.stopped) == (list(range(10)), "end")
    assert account.left == {1: 1}, "it says that something is there and was not looked at"
    producer.abort_transaction(30)
    records, account = read(kafka, topic, partition=1)
    assert (offsets(records, 1), account.stopped, account.left) == (list(range(10)), "end", {})


@pytest.mark.stack
def test_the_broker_knows_no_group_afterwards(kafka: KafkaSettings, topic: str) -> None:
    read(kafka, topic)
    listed = AdminClient({**kafka.client_config()}).list_consumer_groups().result(30)
    assert not [group.group_id for group in listed.valid if "tap" in group.group_id]


@pytest.mark.stack
def test_what_is_not_there_is_said(kafka: KafkaSettings, topic: str) -> None:
    with pytest.raises(NotFound, match="no topic"):
        read(kafka, f"none-{topic}")
    with pytest.raises(NotFound, match="no partition 7"):
        read(kafka, topic, partition=7)


@pytest.mark.stack
def test_a_broker_that_does_not_answer_is_said(topic: str) -> None:
    with pytest.raises(DependencyUnavailable):
        read(KafkaSettings(bootstrap_servers="127.0.0.1:1"), topic)
