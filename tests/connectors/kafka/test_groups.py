"""Looks at a broker that was killed, and at one that hung: the next ones see it again."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import cast

import psutil
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as At
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from adriatic.watch.watcher import BROKER_S_MAX
from connectors.kafka.groups import Broker, BrokerPoll
from connectors.kafka.offsets import LATEST, Offsets
from connectors.kafka.records import TopicPartition
from connectors.kafka.source import CLOSE_S_MAX, BatchLimits, GroupConsumer
from connectors.replaceable import ReplaceableClient
from runtime.deadline import Deadline
from runtime.errors import DependencyUnavailable
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from tests.copies import Copy, running_copy

pytestmark = [pytest.mark.stack, pytest.mark.crash]

HEALED_S_MAX = 120.0
"""A broker that was killed is started again within seconds, on any machine within this."""
STILL_S = 5.0
SOURCES = [TopicPartition("t", number) for number in range(8)]


@pytest.fixture(scope="module")
def copy() -> Iterator[Copy]:
    """A broker of our own, to be hit."""
    with running_copy(only=("kafka",)) as made:
        admin = AdminClient({**made.settings.kafka.client_config()})
        for future in admin.create_topics([NewTopic("t", len(SOURCES), 1)]).values():
            future.result(60)
        yield made


def kill(broker: psutil.Process) -> Callable[[], None]:
    broker.kill()
    return lambda: None


def hang(broker: psutil.Process) -> Callable[[], None]:
    broker.suspend()
    return broker.resume


def test_a_broker_that_stands_still_for_a_moment_leads_on(copy: Copy) -> None:
    """As on a machine that is busy: its controller must not take it for dead, and nobody be without a leader."""
    admin = AdminClient({**copy.settings.kafka.client_config()})

    def epochs() -> list[int | None]:
        """None where nobody leads yet."""
        answers = admin.list_offsets({At(*source): LATEST for source in SOURCES}, request_timeout=30)
        return [None if answer.exception(60) else answer.result().leader_epoch for answer in answers.values()]

    until(lambda: None not in epochs())
    before = epochs()
    go_on = hang(copy.process("kafka"))
    time.sleep(STILL_S)
    go_on()
    time.sleep(STILL_S)  # whoever was taken for dead is led anew within this
    assert epochs() == before


@pytest.mark.parametrize("hit", [kill, hang])
def test_a_broker_that_was_away_is_seen_again(copy: Copy, hit: Callable[[psutil.Process], Callable[[], None]]) -> None:
    name = _group(copy)
    asked = ReplaceableClient(
        "kafka",
        lambda: Broker(copy.settings.kafka),
        BROKER_S_MAX,
        close=Broker.close,
        fit=lambda broker: broker.fit,
    )
    offsets = Offsets(copy.settings.kafka)

    def look() -> BrokerPoll:
        return asked.ask_apart(lambda broker: broker.poll({}))

    def sees() -> bool:
        try:
            groups = {group.name: group.committed for group in look().groups}
            ends = offsets.end(SOURCES)
        except DependencyUnavailable:
            return False
        return groups.get(name) == dict.fromkeys(SOURCES, 0) and len(ends) == len(SOURCES)

    until(sees)
    go_on = hit(copy.process("kafka"))
    try:
        until(lambda: not sees())
    finally:
        go_on()
    until(sees)
    asked.close()


def test_a_reader_that_gives_nothing_any_more_is_replaced(copy: Copy) -> None:
    """As one that lived through a topic that was made anew: other records would have no age for as long as it is
    there."""
    source = SOURCES[3]
    producer = Producer({**copy.settings.kafka.client_config()})
    producer.produce(source.topic, b"waits", partition=source.partition)
    assert producer.flush(HEALED_S_MAX) == 0
    broker = Broker(copy.settings.kafka)
    broker._reader = cast("Consumer", _Deaf())
    assert broker.poll({"x": {source: 0}}).timestamps_s == {}
    until(lambda: broker.poll({"x": {source: 0}}).timestamps_s.get((source, 0)) is not None)
    broker.close()


class _Deaf:
    """A consumer for which nothing comes."""

    def poll(self, wait_s: float) -> None:
        time.sleep(wait_s)

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_: None


def test_a_member_ends_soon_however_long_the_broker_is_silent(copy: Copy) -> None:
    life = Lifecycle(Health())
    consumer = GroupConsumer(
        *(copy.settings.kafka, f"members-{uuid.uuid4().hex[:8]}", "one", lambda sources: dict.fromkeys(sources, 0)),
        *(life, BatchLimits()),
    )
    consumer.subscribe(["t"])
    deadline = Deadline.after(HEALED_S_MAX)
    while len(consumer.assignment) < len(SOURCES):  # partitions come while it is asked for records
        assert not deadline.passed
        consumer.wait_for_change(consumer.generation)
    consumer.note_commit(SOURCES[0], 0)  # which it would tell the broker at its end
    go_on = hang(copy.process("kafka"))
    try:
        began_s = time.monotonic()
        consumer.close()
        assert time.monotonic() - began_s < 6 * CLOSE_S_MAX, "it waits for the broker's own time-outs, a minute each"
    finally:
        go_on()


def _group(copy: Copy) -> str:
    """As somebody outside commits."""
    name = f"analyst-{uuid.uuid4().hex[:8]}"
    consumer = Consumer({**copy.settings.kafka.client_config(), "group.id": name, "enable.auto.commit": False})
    consumer.commit(offsets=[At(*source, 0) for source in SOURCES], asynchronous=False)
    consumer.close()
    return name


def until(holds: Callable[[], bool]) -> None:
    deadline = Deadline.after(HEALED_S_MAX)
    while not holds():
        assert not deadline.passed, f"not within {HEALED_S_MAX:g} s"
        time.sleep(0.1)
