"""A simulated broker: topics, partitions, offsets, transactions, and what comes in by the network.

Owns what is durable in the log, who wrote it, and the state by which it takes each batch of an idempotent producer
once. Refuses to know producers' queues (`log_port.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from connectors.kafka.producer import Headers
from connectors.kafka.records import TopicPartition
from schemas.headers import COMMITTED_AT_HEADER, POSITION_HEADER, SNAPSHOT_ID_HEADER, TRANSACTION_HEADER
from tests.connectors.capture.simulation.wal import PARTITIONS, TOPICS, Identified

RECORD_BYTES_MAX = 1_048_588


class Logged(NamedTuple):
    """A record as it lies in the log. `writer`: who brought it there; empty for somebody else than capture. `says`:
    what its headers say it is; None for nothing that can be understood, or for a record of a snapshot."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    writer: str
    says: Identified | None = None
    snapshot_id: bytes | None = None
    transaction: BrokerTransaction | None = None
    obvious: bool = False
    """Somebody else wrote it, and it shows by itself."""


def logged(source: TopicPartition, key: bytes | None, value: bytes | None, headers: Headers, writer: str) -> Logged:
    by_name = dict(headers)
    snapshot_id = by_name.get(SNAPSHOT_ID_HEADER)
    says = None
    if snapshot_id is None:
        try:
            commit, ordinal = by_name[POSITION_HEADER].split(b"/")
            xid, at_us = int(by_name[TRANSACTION_HEADER]), int(by_name[COMMITTED_AT_HEADER])
            says = Identified(source, int(commit, 16), int(ordinal), xid, at_us)
        except (KeyError, ValueError):
            pass
    return Logged(key, value, tuple(headers), writer, says, snapshot_id)


@dataclass
class BrokerTransaction:
    """Records that are seen together, or never. `state`: open, committed, aborted."""

    name: str
    state: str = "open"
    touched: set[TopicPartition] = field(default_factory=set)


class Batch(NamedTuple):
    """What a producer sends at once to one partition. `epoch` grows when the producer gave up on a batch: older ones
    are refused from then on."""

    producer: int
    epoch: int
    first: int
    records: tuple[Logged, ...]


class Partition:
    """`records`: by offset; None for a marker."""

    def __init__(self) -> None:
        self.records: list[Logged | None] = []
        self.taken: dict[int, tuple[int, int, dict[int, int]]] = {}
        """Of each producer its epoch, the number that it must send next, and the offsets of its batches."""

    def copy(self) -> Partition:
        """What is of an open transaction will be aborted: nobody can end it there."""
        twin = Partition()
        twin.records = [
            record._replace(transaction=BrokerTransaction(record.transaction.name, "aborted"))
            if record is not None and record.transaction is not None and record.transaction.state == "open"
            else record
            for record in self.records
        ]
        twin.taken = {producer: (epoch, expected, dict(of)) for producer, (epoch, expected, of) in self.taken.items()}
        return twin

    @property
    def committed_end(self) -> int:
        for offset, record in enumerate(self.records):
            if record is not None and record.transaction is not None and record.transaction.state == "open":
                return offset
        return len(self.records)

    def visible(self, begin: int = 0, end: int | None = None) -> list[tuple[int, Logged]]:
        """The committed records."""
        last = self.committed_end if end is None else min(end, self.committed_end)
        return [
            (offset, record)
            for offset in range(begin, last)
            if (record := self.records[offset]) is not None
            and (record.transaction is None or record.transaction.state == "committed")
        ]

    def append(self, batch: Batch) -> int | None:
        """The offset of its first record, also when it is there already; None when it is refused."""
        epoch, expected, offsets = self.taken.get(batch.producer, (batch.epoch, batch.first, {}))
        if batch.epoch < epoch:
            return None
        if batch.epoch > epoch:
            expected, offsets = batch.first, {}
        if batch.first < expected:
            return offsets.get(batch.first)
        if batch.first > expected:
            return None
        offset = len(self.records)
        self.records.extend(batch.records)
        offsets[batch.first] = offset
        self.taken[batch.producer] = batch.epoch, batch.first + len(batch.records), offsets
        return offset


@dataclass
class BrokerTopic:
    topic_id: str
    partitions: list[Partition]


class Broker:
    """`down_until_s`: refuses connections. `frozen_until_s`: takes them and does not answer."""

    def __init__(self, partitions: int = PARTITIONS) -> None:
        self._ids = 0
        self.topics: dict[str, BrokerTopic] = {}
        self.open: dict[str, BrokerTransaction] = {}
        self.down_until_s = self.frozen_until_s = 0.0
        self.lives = 1
        """How often it was started: connections are of one life."""
        self.create(TOPICS, partitions)

    def create(self, names: Collection[str], partitions: int) -> None:
        for name in names:
            self._ids += 1
            self.topics[name] = BrokerTopic(f"id-{self._ids}", [Partition() for _ in range(partitions)])

    def copy_topics(self) -> dict[str, BrokerTopic]:
        return {
            name: BrokerTopic(topic.topic_id, [partition.copy() for partition in topic.partitions])
            for name, topic in self.topics.items()
        }

    def go_back(self, topics: dict[str, BrokerTopic]) -> None:
        """An older copy of its directory."""
        self.topics = {
            name: BrokerTopic(topic.topic_id, [partition.copy() for partition in topic.partitions])
            for name, topic in topics.items()
        }
        for transaction in self.open.values():
            transaction.state = "aborted"
        self.open = {}

    def partition(self, source: TopicPartition) -> Partition | None:
        topic = self.topics.get(source.topic)
        if topic is None or source.partition >= len(topic.partitions):
            return None
        return topic.partitions[source.partition]

    def begin(self, name: str) -> BrokerTransaction:
        self.end(name, "aborted")
        transaction = self.open[name] = BrokerTransaction(name)
        return transaction

    def end(self, name: str, state: str) -> None:
        transaction = self.open.pop(name, None)
        if transaction is None:
            return
        transaction.state = state
        for source in transaction.touched:
            if (partition := self.partition(source)) is not None:
                partition.records.append(None)
