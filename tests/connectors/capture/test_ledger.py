"""What is in the log already (R8)."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st

from connectors.capture.identity import ForeignLog
from connectors.capture.ledger import Identity, Ledger, Run
from connectors.capture.log import KafkaLog
from connectors.capture.tails import EVERYTHING, read_tails
from connectors.kafka.producer import Deliveries
from connectors.kafka.records import TopicPartition
from connectors.postgres.lsn import Lsn, Pos
from runtime.clock import SYSTEM_CLOCK
from tests.connectors.capture.world import PARTITIONS, World

FIRST, SECOND = TopicPartition("topic", 0), TopicPartition("topic", 1)


def pos(commit: int, ordinal: int = 0) -> Pos:
    return Pos(Lsn(commit), ordinal)


def made(since: int, logs: dict[TopicPartition, list[Pos]]) -> Ledger:
    """A ledger of partitions that hold these records, in this order. Transaction 10 committed at 10 has id 10."""
    runs = {source: Run() for source in logs}
    for source, log in logs.items():
        for position in reversed(log):
            runs[source].add_older(position)
    commits = {position.commit for log in logs.values() for position in log}
    return Ledger(since, runs, {commit: Identity(commit, commit) for commit in commits})


def said(ledger: Ledger, positions: list[Pos], source: TopicPartition = FIRST) -> list[bool]:
    """The WAL says these records of a partition; which of them are there."""
    there = []
    for position in positions:
        ledger.begin(position.commit, position.commit, position.commit)
        there.append(ledger.has(source, position))
    return there


def test_at_or_below_the_last_record_is_there() -> None:
    ledger = made(9, {FIRST: [pos(10, 0), pos(10, 3)]})
    assert said(ledger, [pos(8, 99), pos(10, 0), pos(10, 3), pos(10, 4), pos(11)]) == [True, True, True, False, False]


def test_a_partition_without_records_has_nothing() -> None:
    ledger = made(1, {FIRST: [pos(10)]})
    assert not ledger.has(SECOND, pos(1))


def test_what_was_acknowledged_is_there_even_in_a_partition_that_has_forgotten_it() -> None:
    assert made(5, {}).has(FIRST, pos(4, 7))
    assert not made(5, {}).has(FIRST, pos(5))


def test_it_need_not_be_asked_beyond_the_end_of_every_partition() -> None:
    ledger = made(1, {FIRST: [pos(10)], SECOND: [pos(30)]})
    assert not ledger.has_passed(30)
    assert ledger.has_passed(31)
    assert Ledger().has_passed(1)
    assert not Ledger(5).has_passed(4)


@given(st.sets(st.tuples(st.integers(1, 9), st.integers(0, 5))), st.integers(0, 60))
def test_a_restart_anywhere_gives_each_record_once_in_order(records: set[tuple[int, int]], kept: int) -> None:
    """The log has a prefix of what was to be sent; sending all of it again adds the rest."""
    sent = [pos(*record) for record in sorted(records)]
    log = sent[:kept]
    there = said(made(1, {FIRST: log}), sent)
    log += [position for position, present in zip(sent, there, strict=True) if not present]
    assert log == sent


def test_from_a_hole_on_everything_is_sent_again() -> None:
    """The last record of a key must be the right one: what overtook the hole comes once more, behind it."""
    ledger = made(3, {FIRST: [pos(3), pos(5), pos(6)], SECOND: [pos(4)]})
    assert said(ledger, [pos(commit) for commit in range(1, 8)]) == [True, True, True, False, False, False, False]


def test_a_repair_that_was_interrupted_goes_on() -> None:
    """3 was missing, and came after 4: 4 is not present, though it is there."""
    ledger = made(1, {FIRST: [pos(1), pos(2), pos(4), pos(3)]})
    assert said(ledger, [pos(commit) for commit in range(1, 6)]) == [True, True, True, False, False]


@given(st.integers(1, 8), st.data())
def test_whatever_was_dropped_doubled_and_killed_the_end_is_in_order(count: int, data: st.DataObject) -> None:
    """Sessions that each begin with what the ledger says, and end anywhere, dropping records where they end; the last
    one ends well. Of each key the last record is the newest."""
    sent = [pos(commit) for commit in range(1, count + 1)]
    log: list[Pos] = []
    for _ in range(data.draw(st.integers(0, 4))):
        there = said(made(1, {FIRST: log}), sent)
        wanted = [position for position, present in zip(sent, there, strict=True) if not present]
        wanted = wanted[: data.draw(st.integers(0, count))]
        log += [position for position in wanted if data.draw(st.booleans())]
    there = said(made(1, {FIRST: log}), sent)
    log += [position for position, present in zip(sent, there, strict=True) if not present]
    last = {position: offset for offset, position in enumerate(log)}
    assert sorted(last, key=last.__getitem__) == sent


@pytest.mark.parametrize(
    ("log", "wal"),
    [
        ([pos(3)], [pos(2), pos(4)]),  # a transaction that there is none of
        ([pos(3, 6)], [pos(3, 0), pos(3, 9)]),  # a record that its transaction does not make
        ([pos(9)], [pos(2)]),  # and one that comes never
    ],
)
def test_what_the_wal_does_not_say_is_foreign(log: list[Pos], wal: list[Pos]) -> None:
    ledger = made(1, {FIRST: log})

    def read_to_the_end() -> None:
        said(ledger, wal)
        ledger.require_said(())

    with pytest.raises(ForeignLog):
        read_to_the_end()


def test_another_transaction_at_the_position_is_foreign() -> None:
    for xid, at in ((4, 3), (3, 4)):
        with pytest.raises(ForeignLog, match="transaction 3"):
            made(1, {FIRST: [pos(3)]}).begin(3, xid, at)


def test_a_table_that_stopped_and_an_event_that_became_a_dead_letter_are_not_foreign() -> None:
    ledger = made(1, {FIRST: [pos(3, 0), pos(3, 6), pos(3, 9)]})
    said(ledger, [pos(3, 0)])
    ledger.pass_over([pos(3, 6)])
    assert ledger.has(FIRST, pos(3, 9))
    ledger.require_said(())
    stopped = made(1, {FIRST: [pos(3)]})
    stopped.begin(3, 3, 3)
    stopped.require_said({FIRST.topic})


def test_it_can_be_asked_once_more() -> None:
    ledger = made(1, {FIRST: [pos(1), pos(3)]})
    first = said(ledger, [pos(1), pos(2), pos(3)])
    ledger.rewind()
    assert said(ledger, [pos(1), pos(2), pos(3)]) == first == [True, False, False]


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
    """Behind the end of a transaction, behind an aborted one, and not at all."""
    name = world.topic("events.dlq")
    producer = Producer({**world.settings.kafka.client_config(), "transactional.id": world.name})
    producer.init_transactions(30)

    def send(partition: int, commit: int) -> None:
        headers: Any = {
            "adriatic.pos": pos(commit).header(),
            "adriatic.xid": b"%d" % commit,
            "adriatic.committed_at": b"%d" % commit,
        }
        producer.produce(name, b"v", b"k", partition, headers=headers)

    for committed, records in (
        (True, [(0, 1), (1, 5)]),
        (True, [(0, 2), *((2, commit) for commit in range(10, 30))]),
        (False, [(0, 3), (1, 6)]),
    ):
        producer.begin_transaction()
        for partition, commit in records:
            send(partition, commit)
        producer.commit_transaction(30) if committed else producer.abort_transaction(30)
    log = KafkaLog(world.settings.kafka, SYSTEM_CLOCK)
    bounds = log.bounds([TopicPartition(name, number) for number in range(PARTITIONS)], lambda: None)
    newest = read_tails(log, bounds, EVERYTHING, {}, SYSTEM_CLOCK, lambda: None)
    assert newest.highest is not None
    assert newest.highest.pos == pos(29)
    tails = read_tails(log, bounds, 5, {}, SYSTEM_CLOCK, lambda: None)
    assert {source.partition: len(run) for source, run in tails.runs.items()} == {0: 0, 1: 1, 2: 20}
    assert set(tails.identities) == {5, *range(10, 30)}
