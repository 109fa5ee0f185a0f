"""What is in the log already (R8)."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st

from connectors.capture.ledger import Last, Ledger, Tail, read_last, read_since
from connectors.kafka.producer import Deliveries
from connectors.kafka.records import TopicPartition
from connectors.postgres.lsn import Lsn, Pos
from tests.connectors.capture.world import PARTITIONS, World

FIRST, SECOND = TopicPartition("topic", 0), TopicPartition("topic", 1)


def pos(commit: int, ordinal: int = 0) -> Pos:
    return Pos(Lsn(commit), ordinal)


def test_at_or_below_the_last_record_is_there() -> None:
    ledger = Ledger({FIRST: Last(pos(10, 3), None)})
    assert ledger.has(FIRST, pos(10, 3))
    assert ledger.has(FIRST, pos(10, 0))
    assert ledger.has(FIRST, pos(9, 99))
    assert not ledger.has(FIRST, pos(10, 4))
    assert not ledger.has(FIRST, pos(11))


def test_a_partition_without_records_has_nothing() -> None:
    ledger = Ledger({FIRST: Last(pos(10), None)})
    assert not ledger.has(SECOND, pos(1))


def test_it_need_not_be_asked_beyond_the_end_of_every_partition() -> None:
    ledger = Ledger({FIRST: Last(pos(10), None), SECOND: Last(pos(30), None)})
    assert not ledger.has_passed(30)
    assert ledger.has_passed(31)
    assert Ledger({}).has_passed(1)


@given(st.sets(st.tuples(st.integers(1, 9), st.integers(0, 5))), st.integers(0, 60))
def test_a_restart_anywhere_gives_each_record_once_in_order(records: set[tuple[int, int]], kept: int) -> None:
    """The log has a prefix of what was to be sent; sending all of it again adds the rest."""
    sent = [pos(*record) for record in sorted(records)]
    log = sent[:kept]
    ledger = Ledger({FIRST: Last(log[-1], None)} if log else {})
    log += [position for position in sent if not ledger.has(FIRST, position)]
    assert log == sent


def test_a_hole_is_filled_and_what_overtook_it_is_not_doubled() -> None:
    tail = Tail(pos(3), frozenset({pos(4), pos(6)}))
    ledger = Ledger({FIRST: Last(pos(6), None)}, {FIRST: tail})
    there = [ledger.has(FIRST, pos(commit)) for commit in range(1, 8)]
    assert there == [True, True, False, True, False, True, False]


def test_deliveries_notice_what_overtook() -> None:
    deliveries = Deliveries()
    deliveries.ok(FIRST, pos(1))
    deliveries.fail(FIRST, pos(4))
    deliveries.fail(FIRST, pos(3))
    deliveries.ok(FIRST, pos(2))  # was under way before
    assert not deliveries.overtaken
    deliveries.ok(SECOND, pos(9))
    assert not deliveries.overtaken
    deliveries.ok(FIRST, pos(5))
    assert deliveries.overtaken == {FIRST}
    assert deliveries.failed == {FIRST: pos(3)}


@pytest.mark.stack
def test_the_last_record_is_found_wherever_it_is(world: World) -> None:
    """Behind the end of a transaction, behind an aborted one, behind records of others, and not at all."""
    name = world.topic("events.dlq")
    producer = Producer({**world.settings.kafka.client_config(), "transactional.id": world.name})
    producer.init_transactions(30)

    def send(partition: int, commit: int, **headers: str) -> None:
        all_headers: Any = {"adriatic.pos": pos(commit).header(), **headers} if commit else headers
        producer.produce(name, b"v", b"k", partition, headers=all_headers)

    for committed, records in (
        (True, [(0, 1), (1, 5)]),
        (True, [(0, 2), *((2, commit) for commit in range(10, 30))]),
        (False, [(0, 3), (1, 6)]),
        (True, [(2, 0)] * 20),
    ):
        producer.begin_transaction()
        for partition, commit in records:
            send(partition, commit)
        producer.commit_transaction(30) if committed else producer.abort_transaction(30)
    last = read_last(world.settings.kafka, {name: PARTITIONS})
    assert {source.partition: found.pos.commit for source, found in last.items()} == {0: 2, 1: 5, 2: 29}
    third, none = TopicPartition(name, 2), TopicPartition(name, 0)
    present = read_since(world.settings.kafka, {third: pos(25), none: pos(9)})
    assert {one.commit for one in present[third]} == set(range(25, 30))
    assert present[none] == frozenset()
