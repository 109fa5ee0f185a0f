"""Records of the partitions that the broker assigns to this member of a consumer group, from the offsets of our own
ledger.

Owns one consumer per process, its membership, its bounds, and what its errors mean. Refuses to decode, and to decide
where to start: `ops.consumer_offsets` does, asked at each assignment. Who reads what is the group's business (classic
protocol, cooperative, static members); that nobody writes twice is not: the compare-and-set of the sink is the fence.
`auto.offset.reset` is `error`: an offset that the log no longer has would otherwise be skipped in silence.

Topics may wait for others (`connectors/kafka/lanes.py`). Offsets are committed to the broker afterwards and
asynchronously, for the eyes of operators' tools only. Read next: `connectors/consumer/core.py`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPosition

from connectors.kafka.clients import fetch, make_consumer
from connectors.kafka.errors import is_lost
from connectors.kafka.lanes import Lanes
from connectors.kafka.records import Batch, Record, TopicPartition, positions_of, record_of, source_of
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import Fenced, Halted, OperatingError
from runtime.lifecycle import Lifecycle, StopRequested
from runtime.logs import get_logger
from runtime.settings import KafkaSettings

log = get_logger("kafka")

IDLE_WAIT_S = 0.025
"""How long the consumer may wait for a first record when every partition is empty. All partitions share the wait, so
eight of them stay under a quarter of an epoch; a record that arrives ends it at once."""
FETCH_RECORDS_MAX = 1_000
"""Records taken from librdkafka at once."""
BUFFERED_BYTES_MAX = 8_388_608
"""Records taken from librdkafka and not yet handed out, of topics that wait for no other. Above it nothing is taken."""
SESSION_S = 10.0
"""A member's partitions go to the others after so long without a heartbeat. Longer than its supervisor takes to start
it again after kill -9 (2 to 5 s), when it gets them back by its name without a rebalance; as short as a machine that is
lost may cost freshness. Heartbeats come from a thread of librdkafka's: only a frozen process misses them."""
HEARTBEAT_S = 0.5
"""A member hears of a rebalance by its heartbeat, and a join takes two of them."""
METADATA_S = 10.0
"""How often the broker is asked whether topics have more partitions."""
ASSIGNMENT_WAIT_S = 0.1
"""Longest wait before a member without partitions sees a stop request."""
LEAVE_S_MAX, LEAVE_POLL_S = 2.0, 0.02
"""Longest wait for the group's answer to a farewell, and the pause within it."""
CLOSE_S_MAX = 5.0
"""Longest end of a member, the offsets that it still tells the broker included. If the broker is away, the time-out of
its session says that it has left."""
BROKER_COMMIT_S = 1.0
"""How often offsets are told to the broker."""

LOST_CONNECTION = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE})
"""News after which another broker may answer at the same address."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much one batch may hold. At least one record always fits."""

    records_max: int = 500
    bytes_max: int = 4_194_304


@dataclass(slots=True)
class _Partition:
    """What the consumer knows of one partition: buffered records, and how far they were handed out and committed."""

    next_offset: int
    committed: int
    buffered: deque[Record] = field(default_factory=deque)
    end_seen: int = -1
    fetched: int = -1
    newest: Record | None = None
    in_flight: deque[tuple[int, int | None]] = field(default_factory=deque)
    """Next offset and first timestamp of each batch."""


class GroupConsumer:
    """One member of the consumer group `group`, static under the name `instance`. Used from one thread, but for
    `assignment`, `oldest_ms` and `last_fetched`.

    The broker says which partitions are this member's; `begin` says where each one is to be read on, and is called
    whenever some are assigned. `check` is asked after a connection was lost, with the newest record that was taken of
    each partition, before anything that came afterwards is taken: whoever answers at the address may be another one.
    Both may block, and raise `StopRequested` and `OperatingError`. `behind` are the topics that wait for the others.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        instance: str,
        begin: Callable[[Sequence[TopicPartition]], Mapping[TopicPartition, int]],
        life: Lifecycle,
        limits: BatchLimits,
        check: Callable[[Mapping[TopicPartition, Record | None]], None] | None = None,
        behind: Collection[str] = (),
    ) -> None:
        self.group = group
        self.instance = instance
        self.generation = 0
        """Counts changes of the assignment."""
        self._begin = begin
        self._check = check
        self._in_doubt = False
        """A connection was lost, and nothing has come since."""
        self._life = life
        self._limits = limits
        self._lock = threading.Lock()
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._lanes = Lanes(behind)
        self._buffered_bytes = 0
        self._behind_bytes = 0
        """The part of them that is of topics that wait."""
        self._empty_takes = 0
        self._to_commit: dict[TopicPartition, int] = {}
        self._commit_at_s = 0.0
        self._consumer = make_consumer(
            settings, "flow", group=group, on_error=self._on_error, extra=_membership(instance)
        )

    def subscribe(self, topics: Sequence[str]) -> None:
        """Join the group. Partitions come while this consumer is asked for records."""
        self._consumer.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    @property
    def assignment(self) -> tuple[TopicPartition, ...]:
        with self._lock:
            return tuple(sorted(self._partitions))

    def wait_for_change(self, generation: int) -> None:
        """Wait until the assignment is another than that of `generation`, or the process stops."""
        while not self._life.stopping and self.generation == generation:
            self._fetch(ASSIGNMENT_WAIT_S)

    def take(self, source: TopicPartition) -> Batch | None:
        """The next batch of one partition, or None when there is nothing yet or it is not ours any more. Waits,
        briefly, only when no partition had anything for a whole round."""
        state = self._partitions.get(source)
        if state is not None and not state.buffered:
            self._fetch(IDLE_WAIT_S if self._empty_takes >= len(self._partitions) else 0)
            state = self._partitions.get(source)  # a fetch is when partitions come and go
        if self._lanes.is_behind(source) and state is not None and state.buffered:
            if not self._is_its_turn(source):
                return None
            state = self._partitions.get(source)
        if state is None:
            return None
        records = self._unbuffer(source, state)
        past = records[-1].offset + 1 if records else state.next_offset
        next_offset = max(past, state.end_seen) if not state.buffered else past
        if next_offset == state.next_offset:
            self._empty_takes += 1
            return None
        self._empty_takes = 0
        batch = Batch(source.topic, source.partition, state.next_offset, next_offset, records)
        with self._lock:
            state.next_offset = next_offset
            state.in_flight.append((next_offset, records[0].timestamp_ms if records else None))
        if records:
            self._lanes.note_taken(source)
        return batch

    def _is_its_turn(self, source: TopicPartition) -> bool:
        """Whether a partition of a topic that waits has its turn. Looks for what may have come for the others since:
        what is in the buffers is as old as the batch that was written last."""
        self._fetch(0)
        have_some = [each for each, state in self._partitions.items() if state.buffered]
        under_way = any(state.in_flight for each, state in self._partitions.items() if self._lanes.is_behind(each))
        return self._lanes.may_take(source, have_some, under_way=under_way)

    def stands_at(self, source: TopicPartition) -> int | None:
        """Say up to which offset everything was committed; None when the partition is not ours. A batch that does not
        begin there was taken under an earlier assignment, and must not be written."""
        state = self._partitions.get(source)
        return None if state is None else state.committed

    def note_commit(self, source: TopicPartition, next_offset: int) -> None:
        """The sink's transaction moved the flow to `next_offset`."""
        state = self._partitions.get(source)
        if state is None:
            return
        with self._lock:
            state.committed = next_offset
            while state.in_flight and state.in_flight[0][0] <= next_offset:
                state.in_flight.popleft()
        self._to_commit[source] = next_offset

    def rewind(self, source: TopicPartition) -> None:
        """Read a partition on from where the ledger says, because it is not where this member believed. What was taken
        and not committed is void."""
        if source not in self._partitions:
            return
        at = self._begin([source])[source]
        try:
            self._consumer.seek(KafkaPosition(*source, at))
        except KafkaException as error:  # it was taken away meanwhile: the next fetch hears of it
            log.info("not rewound", source=str(source), detail=str(error))
            return
        self._forget([source])
        self._remember({source: at})

    def oldest_ms(self, source: TopicPartition) -> int | None:
        """Timestamp of the oldest record that was fetched and is not committed. Callable from any thread."""
        state = self._partitions.get(source)
        if state is None:
            return None
        with self._lock:
            if state.in_flight:
                return state.in_flight[0][1]
            try:
                return state.buffered[0].timestamp_ms
            except IndexError:
                return None

    def last_fetched(self, source: TopicPartition) -> tuple[int, Record | None]:
        """Say up to which offset everything was fetched, committed or not, and its newest record. From any thread."""
        state = self._partitions.get(source)
        if state is None:
            return -1, None
        return max(state.next_offset, state.fetched, state.end_seen), state.newest

    def close(self) -> None:
        """Leave the group, so that the others have the partitions at once. Takes `CLOSE_S_MAX` at most: the library
        waits a minute for each thing that it would still tell a coordinator that is away, or that it lost sight of."""
        farewell = threading.Thread(target=self._leave, name="leave", daemon=True)
        farewell.start()
        farewell.join(CLOSE_S_MAX)
        if farewell.is_alive():
            log.warning("left without a farewell", group=self.group)

    def _leave(self) -> None:
        """A static member that only closes is waited for until its session is over; one that unsubscribes has left."""
        self._commit_to_broker(now_s=float("inf"), asynchronous=False)
        with suppress(KafkaException, RuntimeError):
            self._consumer.unsubscribe()
            until_s = SYSTEM_CLOCK.monotonic() + LEAVE_S_MAX
            while (self._partitions or self._consumer.memberid()) and SYSTEM_CLOCK.monotonic() < until_s:
                self._consumer.poll(LEAVE_POLL_S)
        self._consumer.close()

    # --- the assignment ---------------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, positions: list[KafkaPosition]) -> None:
        sources = [TopicPartition(each.topic, each.partition) for each in positions]
        try:
            at = self._begin(sources) if sources else {}
        except StopRequested:
            return  # nothing is read any more, from wherever
        except OperatingError as error:
            self._life.fail(error)
            return
        consumer.incremental_assign(positions_of(at))
        self._remember(at)
        self.generation += 1
        log.info("assigned", group=self.group, partitions={str(source): offset for source, offset in at.items()})

    def _on_revoke(self, consumer: Consumer, positions: list[KafkaPosition]) -> None:
        """What was taken and not committed is dropped: whoever has the partition next reads it again."""
        self._forget(TopicPartition(each.topic, each.partition) for each in positions)
        self._lanes.forget(TopicPartition(each.topic, each.partition) for each in positions)
        consumer.incremental_unassign(positions)
        self.generation += 1
        log.info("revoked", group=self.group, partitions=[f"{each.topic}/{each.partition}" for each in positions])

    def _remember(self, at: Mapping[TopicPartition, int]) -> None:
        with self._lock:
            self._partitions |= {source: _Partition(offset, offset) for source, offset in at.items()}

    def _forget(self, sources: Iterable[TopicPartition]) -> None:
        with self._lock:
            for source in sources:
                if (state := self._partitions.pop(source, None)) is not None:
                    self._count(source, -sum(record.size_bytes for record in state.buffered))
                self._to_commit.pop(source, None)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _unbuffer(self, source: TopicPartition, state: _Partition) -> tuple[Record, ...]:
        records: list[Record] = []
        size = 0
        with self._lock:
            while state.buffered and len(records) < self._limits.records_max:
                size += state.buffered[0].size_bytes
                if records and size > self._limits.bytes_max:
                    break
                records.append(state.buffered.popleft())
        self._count(source, -sum(record.size_bytes for record in records))
        return tuple(records)

    def _count(self, source: TopicPartition, size_bytes: int) -> None:
        self._buffered_bytes += size_bytes
        if self._lanes.is_behind(source):
            self._behind_bytes += size_bytes

    def _fetch(self, wait_s: float) -> None:
        """Take what is there. Also when partitions come and go, in the callbacks."""
        self._commit_to_broker(SYSTEM_CLOCK.monotonic(), asynchronous=True)
        if self._buffered_bytes - self._behind_bytes > BUFFERED_BYTES_MAX:
            return
        self._hold()
        messages = fetch(self._consumer, 0 if self._buffered_bytes else wait_s, FETCH_RECORDS_MAX)
        if messages and self._in_doubt and not self._is_same_log():
            return
        for message in messages:
            self._accept(message)

    def _hold(self) -> None:
        """Ask for no more of topics that wait while there is enough of them. The client drops what it has of those, and
        fetches it again when they are let go."""
        more, again = self._lanes.hold(self._partitions, self._behind_bytes)
        for sources, act in ((more, self._consumer.pause), (again, self._consumer.resume)):
            try:
                if sources:
                    act([KafkaPosition(*source) for source in sources])
            except KafkaException as error:  # one was taken away meanwhile: the next fetch hears of it
                log.info("not held or let go", sources=sorted(map(str, sources)), detail=str(error))

    def _is_same_log(self) -> bool:
        """Whether what follows may be taken. Ends the process when it may not."""
        self._in_doubt = False
        if self._check is None or not self._partitions:
            return True
        try:
            self._check({source: state.newest for source, state in self._partitions.items()})
        except StopRequested:
            return False
        except OperatingError as error:
            self._life.fail(error)
            return False
        return True

    def _accept(self, message: Message) -> None:
        source = source_of(message)
        if (error := message.error()) is not None:
            self._on_message_error(source, error, message.offset())
            return
        record = record_of(message)
        state = self._partitions.get(source)
        if state is None:
            return  # it was taken away while this record was on its way to us
        state.buffered.append(record)
        state.newest, state.fetched = record, record.offset + 1
        self._count(source, record.size_bytes)

    def _on_message_error(self, source: TopicPartition, error: KafkaError, offset: int | None) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            if (state := self._partitions.get(source)) is not None:
                state.end_seen = offset if offset is not None else -1
        elif is_lost(error):
            if source in self._partitions:
                self._life.fail(self._loss(source, error))
        else:
            self._on_error(error)

    def _loss(self, source: TopicPartition, error: KafkaError) -> Halted:
        state = self._partitions.get(source)
        at = state.next_offset if state else -1
        return Halted(
            f"{source} has no record at offset {at} any more, or not yet: {error.str()}",
            hint="the records expired before they were processed, or the log went back: `adriatic recover` makes the "
            "topics and everything that is derived from them anew",
            coordinates={"topic": source.topic, "partition": source.partition, "offset": at},
        )

    def _on_error(self, error: KafkaError) -> None:
        """librdkafka reconnects by itself: an outage becomes lag, and the sampler says so. Lesser errors are news.

        Not so once it says `_FATAL`, which its callback does not mark as fatal: such a client does nothing any more. A
        broker that hung, and then heard two joins of this very member, brings it there. A new process joins anew.
        """
        if error.code() in LOST_CONNECTION:
            self._in_doubt = True
        if error.fatal() or error.code() == KafkaError._FATAL:
            self._life.fail(Fenced(f"the consumer cannot go on: {error.str()}"))
        log.warning("broker error", code=error.name(), detail=error.str())

    def _commit_to_broker(self, now_s: float, *, asynchronous: bool) -> None:
        if not self._to_commit or now_s < self._commit_at_s:
            return
        offsets = positions_of(self._to_commit)
        self._to_commit.clear()
        self._commit_at_s = now_s + BROKER_COMMIT_S
        try:
            self._consumer.commit(offsets=offsets, asynchronous=asynchronous)  # type: ignore[call-overload]
        except KafkaException as error:  # the truth is in Postgres; tools see these offsets a little later
            log.info("offsets not told to the broker", detail=str(error))


def _membership(instance: str) -> dict[str, Any]:
    return {
        "group.instance.id": instance,
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": round(SESSION_S * 1000),
        "heartbeat.interval.ms": round(HEARTBEAT_S * 1000),
        "topic.metadata.refresh.interval.ms": round(METADATA_S * 1000),
    }


def age_s(timestamp_ms: int | None) -> float | None:
    """How long ago, by the wall clock; for the lag gauges."""
    return None if timestamp_ms is None else max(0.0, SYSTEM_CLOCK.now().timestamp() - timestamp_ms / 1000)
