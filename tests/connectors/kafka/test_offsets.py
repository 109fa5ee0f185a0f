"""What the broker says of offsets, also with a transaction that is still open, and after it was away."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, Producer
from confluent_kafka.admin import AdminClient, ListOffsetsResultInfo, NewTopic  # type: ignore[attr-defined]

from connectors.kafka.offsets import Offsets
from connectors.kafka.records import TopicPartition
from runtime.errors import DependencyUnavailable, Unprepared
from runtime.settings import KafkaSettings, Settings
from tests.patience import PATIENCE_S

AFTER_EVERYTHING_MS = 4_102_444_800_000
"""The year 2100: the marker of a transaction has the broker's time."""


def test_a_broker_that_does_not_answer_is_a_dependency() -> None:
    offsets = Offsets(KafkaSettings(bootstrap_servers="127.0.0.1:1"), timeout_s=0.5)
    with pytest.raises(DependencyUnavailable, match=r"127\.0\.0\.1:1"):
        offsets.partitions(["t"])
    with pytest.raises(DependencyUnavailable):
        offsets.end([TopicPartition("t", 0)])


@pytest.mark.stack
def test_ends_with_and_without_a_transaction_that_is_open(stack: Settings) -> None:
    name = f"offsets-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({**stack.kafka.client_config()})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)
    producer = Producer({**stack.kafka.client_config(), "transactional.id": name})
    producer.init_transactions(30)
    source = TopicPartition(name, 0)
    offsets = Offsets(stack.kafka)
    producer.begin_transaction()
    producer.produce(name, b"one", partition=0, timestamp=1_000)
    producer.flush(30)
    assert (offsets.first([source]), offsets.end([source]), offsets.end_of_committed([source])) == (
        {source: 0},
        {source: 1},
        {source: 0},
    )
    producer.commit_transaction(30)
    deadline = time.monotonic() + PATIENCE_S
    while offsets.end_of_committed([source]) != {source: 2}:  # the broker writes the marker after it has answered
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert offsets.end([source]) == {source: 2}
    assert offsets.at([source], 1_000) == {source: 0}
    assert offsets.at([source], AFTER_EVERYTHING_MS) == {source: -1}
    assert offsets.partitions([name]) == [source]
    admin.delete_topics([name])[name].result(30)


class HalfBack(AdminClient):
    """A client that got no offset and no error, as librdkafka does of a broker that comes back after a hang."""

    lasts = 2

    def list_offsets(self, topic_partition_offsets: Any, **options: Any) -> Any:  # type: ignore[override]
        if HalfBack.lasts == 0:
            return super().list_offsets(topic_partition_offsets, **options)
        HalfBack.lasts -= 1
        answers: dict[Any, Future[ListOffsetsResultInfo]] = {position: Future() for position in topic_partition_offsets}
        for answer in answers.values():
            answer.set_result(ListOffsetsResultInfo(OFFSET_INVALID, -1, -1))
        return answers


@pytest.mark.stack
def test_no_offset_is_no_answer(stack: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken for the end of the log it said that the log had gone back, and the flow stood until somebody came."""
    name = f"offsets-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({**stack.kafka.client_config()})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)
    source = TopicPartition(name, 0)
    monkeypatch.setattr("connectors.kafka.clients.AdminClient", HalfBack)
    for ask in (Offsets.end, Offsets.first, Offsets.end_of_committed):
        HalfBack.lasts = 2
        offsets = Offsets(stack.kafka)
        with pytest.raises(DependencyUnavailable, match="does not say where"):
            ask(offsets, [source])
        HalfBack.lasts = 0
        assert ask(offsets, [source]) == {source: 0}
    HalfBack.lasts = 2
    with pytest.raises(DependencyUnavailable):
        Offsets(stack.kafka).at([source], 1_000)
    admin.delete_topics([name])[name].result(30)


@pytest.mark.stack
def test_a_topic_that_is_not_there_is_for_somebody_to_make(stack: Settings) -> None:
    with pytest.raises(Unprepared) as raised:
        Offsets(stack.kafka).partitions(["nobody.made.this"])
    assert raised.value.hint == "run `adriatic topics apply`"
