"""The end of topics, as it grows, for many readers in one process: one consumer, whatever partitions are wanted now.

Owns the consumer, its thread, its bounds, and the reading of one partition for a reader that was away
(`PartitionReader`). Refuses to decode, to join a group, to commit, and to remember a record: `deliver` gets each one
once, in the order of its partition, on the consumer's thread, and may block it, which is the back-pressure.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, Message

from connectors.kafka.clients import fetch, make_consumer
from connectors.kafka.errors import KAFKA, is_lost
from connectors.kafka.records import Record, TopicPartition, positions_of, record_of, source_of
from runtime.errors import DependencyUnavailable
from runtime.logs import get_logger
from runtime.settings import KafkaSettings

log = get_logger("kafka")

POLL_S = 0.1
"""How long one call waits for a first record, and so late a new partition is taken up."""
BATCH_RECORDS_MAX = 500
"""Handed over at once."""
STOP_S_MAX = 10.0
PIECE_S_MAX = 5.0
"""Limit for one piece of a partition: a broker that takes longer is away."""


@dataclass(frozen=True, slots=True)
class PartitionBatch:
    """What was read of one partition at once. `position`: where reading goes on; past the last record, or past what is
    there for others (markers of transactions, what compaction left)."""

    source: TopicPartition
    records: Sequence[Record]
    position: int
    lost: bool = False
    """The log does not have the offset any more, or not yet: reading of this partition has ended."""


class TopicTail:
    """`start`, then `follow` and `leave` from any thread, at last `stop`. Outages are waited out by the client; when
    that comes out of one deaf, as it may, `renew` takes another. Only who knows where the log ends can tell."""

    def __init__(self, settings: KafkaSettings, deliver: Callable[[Sequence[PartitionBatch]], None]) -> None:
        self._settings = settings
        self._deliver = deliver
        self._lock = threading.Lock()
        self._asked: dict[TopicPartition, int | None] = {}
        """What the thread has not taken up yet: from which offset on, None to leave."""
        self._wanted: dict[TopicPartition, int] = {}
        """Where each partition goes on. The thread's own."""
        self._changed = threading.Event()
        self._renewing = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-tail", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def follow(self, source: TopicPartition, offset: int) -> None:
        """Read `source` from `offset` on."""
        with self._lock:
            self._asked[source] = offset
        self._changed.set()

    def leave(self, source: TopicPartition) -> None:
        with self._lock:
            self._asked[source] = None
        self._changed.set()

    def renew(self) -> None:
        """Go on with a new client, where each partition stands."""
        self._renewing.set()
        self._changed.set()

    def stop(self) -> None:
        """Blocks until the thread has ended, for a moment at most."""
        self._stopping.set()
        self._changed.set()
        self._thread.join(STOP_S_MAX)

    # --- on the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        consumer: Consumer | None = None
        try:
            while not self._stopping.is_set():
                renewing = self._renewing.is_set()
                if renewing:
                    self._renewing.clear()
                    if consumer is not None:
                        consumer.close()
                        consumer = None
                if self._take_up() or renewing:
                    if consumer is None and self._wanted:
                        consumer = make_consumer(self._settings, "live")
                    if consumer is not None:
                        # Whatever the client has fetched by then is dropped: positions are ours alone.
                        consumer.assign(positions_of(self._wanted))
                if self._wanted and consumer is not None:
                    self._step(consumer)
                else:
                    self._changed.wait()
        except Exception:
            log.exception("live reads have no records any more")
            raise
        finally:
            if consumer is not None:
                consumer.close()

    def _take_up(self) -> bool:
        """Whether there was something to take up."""
        self._changed.clear()
        with self._lock:
            asked, self._asked = self._asked, {}
        for source, offset in asked.items():
            if offset is None:
                self._wanted.pop(source, None)
            else:
                self._wanted[source] = offset
        return bool(asked)

    def _step(self, consumer: Consumer) -> None:
        found = group(fetch(consumer, POLL_S, BATCH_RECORDS_MAX), self._wanted)
        for batch in found:
            self._wanted[batch.source] = batch.position
            if batch.lost:
                self.leave(batch.source)
        if found:
            self._deliver(found)


class PartitionReader:
    """A partition from an offset on, in pieces, for one reader. Close it, from whatever thread."""

    def __init__(self, settings: KafkaSettings, source: TopicPartition, offset: int) -> None:
        self._source = source
        self.position = offset
        self._lock = threading.Lock()
        self._closed = False
        self._consumer = make_consumer(settings, "live")
        self._consumer.assign(positions_of({source: offset}))

    def read(self) -> PartitionBatch:
        """The next piece. Raises `DependencyUnavailable` when the broker does not answer."""
        with self._lock:
            return PartitionBatch(self._source, (), self.position) if self._closed else self._read()

    def _read(self) -> PartitionBatch:
        messages = fetch(self._consumer, PIECE_S_MAX, BATCH_RECORDS_MAX)
        if not messages:
            raise DependencyUnavailable(f"the broker does not send {self._source}", coordinates=KAFKA)
        for batch in group(messages, {self._source: self.position}):
            self.position = batch.position
            return batch
        return PartitionBatch(self._source, (), self.position)

    def close(self) -> None:
        """Waits for a piece that is being read."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._consumer.close()


def group(messages: Sequence[Message], wanted: Mapping[TopicPartition, int]) -> list[PartitionBatch]:
    """Sort by partition, those that are wanted alone. `wanted`: where each of them went on before."""
    records: dict[TopicPartition, list[Record]] = {}
    lost: set[TopicPartition] = set()
    position: dict[TopicPartition, int] = {}
    for message in messages:
        source, offset, error = source_of(message), message.offset() or 0, message.error()
        if error is None:
            records.setdefault(source, []).append(record_of(message))
            position[source] = offset + 1
        elif error.code() == KafkaError._PARTITION_EOF:
            position[source] = max(offset, position.get(source, 0))
        elif is_lost(error):
            lost.add(source)
        else:
            log.info("broker error", code=error.name(), detail=error.str())
    return [
        PartitionBatch(source, records.get(source, ()), max(wanted[source], position.get(source, 0)), source in lost)
        for source in records.keys() | position.keys() | lost
        if source in wanted
    ]
