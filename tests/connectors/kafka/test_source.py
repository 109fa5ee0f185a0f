"""The source: where it starts, how much it holds, and that it never skips in silence."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime

import pytest
from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka import TopicPartition as KafkaPosition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from connectors.kafka.lanes import HELD_BYTES_MAX
from connectors.kafka.offsets import Offsets
from connectors.kafka.records import Batch, Record, TopicPartition
from connectors.kafka.source import FETCH_RECORDS_MAX, BatchLimits, GroupConsumer, age_s
from runtime.errors import Fenced, Halted
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import KafkaSettings, Settings
from tests.patience import PATIENCE_S


def record(*headers: tuple[str, bytes | None]) -> Record:
    return Record("t", 0, 0, None, None, None, headers)


def test_headers_of_capture_are_read() -> None:
    tenant = uuid.uuid4()
    read = record(
        ("adriatic.pos", b"00000000000003E8/00000001"),
        ("adriatic.committed_at", b"1767225600000001"),
        ("adriatic.tenant", str(tenant).encode()),
    )
    assert read.lsn == 1000
    assert read.committed_at == datetime(2026, 1, 1, 0, 0, 0, 1, UTC)
    assert read.tenant_id == tenant


@pytest.mark.parametrize("value", [b"", b"\xff", b"x/y", b"99999999999999999999999999", None])
def test_what_cannot_be_read_is_unknown(value: bytes | None) -> None:
    read = record(("adriatic.committed_at", value), ("adriatic.tenant", value), ("adriatic.pos", value))
    assert (read.committed_at, read.tenant_id) == (None, None)
    assert read.lsn is None or value is not None


def test_the_last_header_of_a_name_counts() -> None:
    assert record(("h", b"old"), ("h", b"new")).header("h") == "new"


def test_age_of_an_unknown_time_is_unknown() -> None:
    assert age_s(None) is None
    assert age_s(int(time.time() * 1000) + 60_000) == 0.0


# --- on a broker ----------------------------------------------------------------------------------------------------


@pytest.fixture
def kafka(stack: Settings) -> KafkaSettings:
    return stack.kafka


@pytest.fixture
def topic(kafka: KafkaSettings) -> Iterator[str]:
    name = f"source-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({**kafka.client_config()})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(30)
    yield name
    admin.delete_topics([name])[name].result(30)


def fill(kafka: KafkaSettings, topic: str, values: list[bytes | None], partition: int = 0) -> None:
    producer = Producer({**kafka.client_config()})
    for value in values:
        producer.produce(topic, value, partition=partition)
    assert producer.flush(30) == 0


Check = Callable[[Mapping[TopicPartition, Record | None]], None]


def consumer(
    kafka: KafkaSettings,
    start: dict[TopicPartition, int],
    life: Lifecycle | None = None,
    limits: BatchLimits | None = None,
    group: str = "",
    check: Check | None = None,
    behind: Sequence[str] = (),
) -> closing[GroupConsumer]:
    """The only member of a group, over all partitions of the topic; those that are not in `start` begin at 0."""

    def begin(sources: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {source: start.get(source, 0) for source in sources}

    life = life or Lifecycle(Health())
    group = group or f"source-{uuid.uuid4().hex[:8]}"
    made = GroupConsumer(kafka, group, uuid.uuid4().hex, begin, life, limits or BatchLimits(), check, behind)
    made.subscribe(sorted({source.topic for source in start}))
    made.wait_for_change(0)
    return closing(made)


def read(taken: GroupConsumer, end: int, wait_s: float = PATIENCE_S) -> list[Batch]:
    """Batches of the first partition until it has been read up to `end`."""
    batches: list[Batch] = []
    deadline = time.monotonic() + wait_s
    while not batches or batches[-1].next_offset < end:
        assert time.monotonic() < deadline, batches
        for source in taken.assignment:
            if (batch := taken.take(source)) is not None and source == taken.assignment[0]:
                batches.append(batch)
    return batches


@pytest.mark.stack
def test_it_reads_from_the_given_offset_in_order_without_gaps(kafka: KafkaSettings, topic: str) -> None:
    fill(kafka, topic, [str(number).encode() for number in range(1000)])
    fill(kafka, topic, [b"other"] * 50, partition=1)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    with consumer(kafka, {first: 100, second: 0}, limits=BatchLimits(records_max=70)) as taken:
        batches = read(taken, 1000)
    assert [record.value for batch in batches for record in batch.records] == [b"%d" % n for n in range(100, 1000)]
    assert [batch.expected_offset for batch in batches] == [100, *(batch.next_offset for batch in batches[:-1])]
    assert max(len(batch.records) for batch in batches) == 70


@pytest.fixture
def overtaking(kafka: KafkaSettings, topic: str) -> Iterator[str]:
    """A topic that overtakes `topic`."""
    name = f"{topic}-fast"
    admin = AdminClient({**kafka.client_config()})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(30)
    yield name
    admin.delete_topics([name])[name].result(30)


def take_round(taken: GroupConsumer) -> list[Batch]:
    """What a driver takes before it writes: at most one batch of each partition."""
    return [batch for source in taken.assignment if (batch := taken.take(source)) is not None and batch.records]


@pytest.mark.stack
def test_a_record_overtakes_megabytes_that_wait_and_none_of_them_is_lost(
    kafka: KafkaSettings, topic: str, overtaking: str
) -> None:
    """More waits, in two partitions, than the reader and its client hold. While a batch of it is under way nothing else
    of it is handed out, so what is counted does not depend on how fast the broker is."""
    count, end = 8_000, 2 * 8_000
    for partition in (0, 1):
        fill(kafka, topic, [b"%d" % number + b"." * 1_500 for number in range(count)], partition)
    seen: dict[TopicPartition, list[int]] = {TopicPartition(topic, each): [] for each in (0, 1)}
    sources = {TopicPartition(name, each): 0 for name in (topic, overtaking) for each in (0, 1)}
    deadline, rounds = time.monotonic() + PATIENCE_S, 0
    with consumer(kafka, sources, limits=BatchLimits(records_max=100), behind=[topic]) as taken:
        while sum(map(len, seen.values())) < end:
            assert time.monotonic() < deadline, {str(source): len(seen[source]) for source in seen}
            batches = take_round(taken)
            assert {batch.topic for batch in batches} <= {topic}
            assert len(batches) <= 1, "one batch of what waits at a time"
            at_hand = sum(taken.last_fetched(source)[0] - (taken.stands_at(source) or 0) for source in seen)
            assert at_hand <= HELD_BYTES_MAX // 1_500 + FETCH_RECORDS_MAX + 100, "more than can be used soon"
            if batches and (rounds := rounds + 1) % 8 == 0:
                fill(kafka, overtaking, [b"now"], partition=rounds // 8 % 2)
                while not (overtook := take_round(taken)):
                    assert time.monotonic() < deadline, "it stands behind what waits"
                assert [(batch.topic, len(batch.records)) for batch in overtook] == [(overtaking, 1)]
                batches += overtook
            for batch in batches:
                taken.note_commit(batch.source, batch.next_offset)
                if batch.topic == topic:
                    seen[batch.source] += [record.offset for record in batch.records]
    assert list(seen.values()) == [list(range(count))] * 2


@pytest.mark.stack
def test_batches_are_bounded_in_bytes_and_one_record_always_fits(kafka: KafkaSettings, topic: str) -> None:
    fill(kafka, topic, [b"x" * size for size in (400, 400, 400, 5000, 10, 10)])
    source = TopicPartition(topic, 0)
    with consumer(kafka, {source: 0}, limits=BatchLimits(bytes_max=1000)) as taken:
        time.sleep(0.5)
        batches = read(taken, 6)
    assert [record.offset for batch in batches for record in batch.records] == list(range(6))
    assert all(len(batch.records) == 1 or sum(r.size_bytes for r in batch.records) <= 1000 for batch in batches)


@pytest.mark.stack
def test_records_without_a_value_count(kafka: KafkaSettings, topic: str) -> None:
    fill(kafka, topic, [b"a", None, None])
    with consumer(kafka, {TopicPartition(topic, 0): 0}) as taken:
        batches = read(taken, 3)
    assert [record.value for batch in batches for record in batch.records] == [b"a", None, None]


@pytest.mark.stack
def test_an_expired_offset_halts_instead_of_skipping(kafka: KafkaSettings, topic: str) -> None:
    fill(kafka, topic, [b"v"] * 20)
    admin = AdminClient({**kafka.client_config()})
    (done,) = admin.delete_records([KafkaPosition(topic, 0, 10)]).values()
    done.result(30)
    source = TopicPartition(topic, 0)
    assert Offsets(kafka).first([source]) == {source: 10}
    life = Lifecycle(Health())
    with consumer(kafka, {source: 3}, life) as taken:
        deadline = time.monotonic() + PATIENCE_S
        while life.failure is None:
            assert time.monotonic() < deadline
            assert taken.take(source) is None
    assert isinstance(life.failure, Halted)
    assert life.failure.coordinates == {"topic": topic, "partition": 0, "offset": 3}
    assert "expired" in life.failure.hint


@pytest.mark.stack
def test_an_offset_past_the_end_halts(kafka: KafkaSettings, topic: str) -> None:
    """The topic was made anew: going on at its end would skip what it has."""
    fill(kafka, topic, [b"v"])
    source = TopicPartition(topic, 0)
    life = Lifecycle(Health())
    with consumer(kafka, {source: 1000}, life) as taken:
        deadline = time.monotonic() + PATIENCE_S
        while life.failure is None:
            assert time.monotonic() < deadline
            taken.take(source)
    assert isinstance(life.failure, Halted)


@pytest.mark.stack
def test_the_end_of_a_log_with_transactions_is_reached(kafka: KafkaSettings, topic: str) -> None:
    """Markers have offsets and are no records: without them a reader would stay one behind for ever."""
    producer = Producer({**kafka.client_config(), "transactional.id": topic})
    producer.init_transactions(30)
    for commit in (True, False):
        producer.begin_transaction()
        producer.produce(topic, b"committed" if commit else b"aborted", partition=0)
        producer.flush(30)
        producer.commit_transaction(30) if commit else producer.abort_transaction(30)
    source = TopicPartition(topic, 0)
    offsets = Offsets(kafka)
    deadline = time.monotonic() + PATIENCE_S
    while offsets.end([source])[source] < 4:  # the broker writes a marker after it has answered
        assert time.monotonic() < deadline
    with consumer(kafka, {source: 0}) as taken:
        batches = read(taken, 4)
    assert [record.value for batch in batches for record in batch.records] == [b"committed"]


@pytest.mark.stack
def test_the_broker_is_told_what_was_committed(kafka: KafkaSettings, topic: str) -> None:
    fill(kafka, topic, [b"v"] * 10)
    source = TopicPartition(topic, 0)
    group = f"source-{uuid.uuid4().hex[:8]}"
    life = Lifecycle(Health())
    with consumer(kafka, {source: 0}, life, group=group) as taken:
        read(taken, 10)
        assert taken.oldest_ms(source) is not None
        taken.note_commit(source, 10)
        assert taken.oldest_ms(source) is None
    with closing(Consumer({**kafka.client_config(), "group.id": group})) as asked:
        (position,) = asked.committed([KafkaPosition(topic, 0)], timeout=30)
    assert position.offset == 10


def test_a_client_that_does_nothing_any_more_ends_its_process() -> None:
    life = Lifecycle(Health())
    nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    with closing(GroupConsumer(nowhere, "g", "i", lambda _: {}, life, BatchLimits())) as taken:
        taken._on_error(KafkaError(KafkaError._TRANSPORT))
        assert life.failure is None
        taken._on_error(KafkaError(KafkaError._FATAL))  # as its callback has it: not marked as fatal
    assert isinstance(life.failure, Fenced)


@pytest.mark.stack
def test_after_a_lost_connection_nothing_is_taken_before_the_log_was_checked(kafka: KafkaSettings, topic: str) -> None:
    fill(kafka, topic, [b"one", b"two"])
    source, life = TopicPartition(topic, 0), Lifecycle(Health())
    asked: list[dict[TopicPartition, bytes | None]] = []

    def check(newest: Mapping[TopicPartition, Record | None]) -> None:
        asked.append({at: record.value if record else None for at, record in newest.items()})
        if len(asked) == 2:
            raise Halted("another log")

    with consumer(kafka, {source: 0}, life, check=check) as taken:
        read(taken, 2)
        assert asked == []
        taken._on_error(KafkaError(KafkaError._TRANSPORT))
        fill(kafka, topic, [b"three"])
        assert [record.value for batch in read(taken, 3) for record in batch.records] == [b"three"]
        assert asked == [{source: b"two", TopicPartition(topic, 1): None}]
        fill(kafka, topic, [b"four"])
        read(taken, 4)
        assert len(asked) == 1, "once for each time"
        taken._on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        fill(kafka, topic, [b"five"])
        deadline = time.monotonic() + PATIENCE_S
        while life.failure is None:
            assert taken.take(source) is None, "it was taken"
            assert time.monotonic() < deadline
    assert isinstance(life.failure, Halted)
