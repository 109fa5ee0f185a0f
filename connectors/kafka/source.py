"""Records of a topic's partitions, from the offsets that our own ledger holds, as a Bytewax source.

Owns one consumer per process, its bounds, and what its errors mean. Refuses to be a member of a consumer group (who
reads what is fixed, and the compare-and-set of the sink is the fence), to decode, and to decide where to start:
`ops.consumer_offsets` does, and whoever builds the source passes it in. `auto.offset.reset` is `error`: an offset that
the log no longer has would otherwise be skipped in silence.

Offsets are committed to the broker afterwards and asynchronously, for the eyes of operators' tools only.
Read next: `connectors/postgres/sink.py`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPosition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from connectors.kafka.records import Batch, Record, TopicPartition
from connectors.replaceable import ReplaceableClient
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import DependencyUnavailable, Fenced, Halted
from runtime.lifecycle import Lifecycle
from runtime.logs import get_logger
from runtime.settings import KafkaSettings

log = get_logger("kafka")

EPOCH = timedelta(seconds=1)
"""Bytewax' unit of progress. Nothing is snapshotted, so it only has to be longer than four idle waits."""
IDLE_WAIT_S = 0.025
"""How long the consumer may wait for a first record when every partition is empty. All partitions share the wait, so
eight of them stay under a quarter of an epoch; a record that arrives ends it at once."""
FETCH_RECORDS_MAX = 1_000
"""Records taken from librdkafka at once."""
QUEUED_KIB_MAX = 8_192
"""What librdkafka may fetch ahead, for the whole consumer. Its default is 64 MiB, more than the rest of the process."""
BUFFERED_BYTES_MAX = 8_388_608
"""Records taken from librdkafka and not yet handed out. Above it nothing is taken."""
BROKER_COMMIT_S = 1.0
"""How often offsets are told to the broker."""
REQUEST_TIMEOUT_S = 5.0
"""Of a metadata or offset request to the broker; so long may a request to stop have to wait."""
ANSWER_S_MAX = 1.0
"""An admin client that takes longer for an answer is replaced: one that lived through an outage may stay slow for ever,
and a new one costs milliseconds."""


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
    buffered: deque[Record]
    end_seen: int = -1
    fetched: int = -1
    newest: Record | None = None
    in_flight: deque[tuple[int, int | None]] = None  # type: ignore[assignment]  # (next_offset, first timestamp)

    def __post_init__(self) -> None:
        self.in_flight = deque()


class PartitionedConsumer:
    """One librdkafka consumer over fixed partitions. Used from one thread, but for `oldest_ms` and `fetched`."""

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        start: Mapping[TopicPartition, int],
        life: Lifecycle,
        limits: BatchLimits,
    ) -> None:
        self._life = life
        self._limits = limits
        self._lock = threading.Lock()
        self._partitions = {source: _Partition(offset, offset, deque()) for source, offset in start.items()}
        self._buffered_bytes = 0
        self._empty_takes = 0
        self._to_commit: dict[TopicPartition, int] = {}
        self._commit_at_s = 0.0
        self._consumer = Consumer(_config(settings, group, self._on_error), logger=librdkafka_log())
        self._consumer.assign([KafkaPosition(source.topic, source.partition, at) for source, at in start.items()])

    @property
    def partitions(self) -> Sequence[TopicPartition]:
        return tuple(self._partitions)

    def take(self, source: TopicPartition) -> Batch | None:
        """The next batch of one partition, or None when there is nothing yet. Waits, briefly, only when no partition
        had anything for a whole round."""
        state = self._partitions[source]
        if not state.buffered:
            self._fetch(wait=self._empty_takes >= len(self._partitions))
        records = self._unbuffer(state)
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
        return batch

    def committed(self, source: TopicPartition, next_offset: int) -> None:
        """The sink's transaction moved the flow to `next_offset`."""
        state = self._partitions[source]
        with self._lock:
            state.committed = next_offset
            while state.in_flight and state.in_flight[0][0] <= next_offset:
                state.in_flight.popleft()
        self._to_commit[source] = next_offset

    def oldest_ms(self, source: TopicPartition) -> int | None:
        """Timestamp of the oldest record that was fetched and is not committed. Callable from any thread."""
        state = self._partitions[source]
        with self._lock:
            if state.in_flight:
                return state.in_flight[0][1]
            try:
                return state.buffered[0].timestamp_ms
            except IndexError:
                return None

    def fetched(self, source: TopicPartition) -> tuple[int, Record | None]:
        """Up to which offset everything was fetched, committed or not, and the newest record of it. From any thread."""
        state = self._partitions[source]
        return max(state.next_offset, state.fetched, state.end_seen), state.newest

    def close(self) -> None:
        self._commit_to_broker(now_s=float("inf"), asynchronous=False)
        self._consumer.close()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _unbuffer(self, state: _Partition) -> tuple[Record, ...]:
        records: list[Record] = []
        size = 0
        with self._lock:
            while state.buffered and len(records) < self._limits.records_max:
                size += state.buffered[0].size_bytes
                if records and size > self._limits.bytes_max:
                    break
                records.append(state.buffered.popleft())
        self._buffered_bytes -= sum(record.size_bytes for record in records)
        return tuple(records)

    def _fetch(self, wait: bool) -> None:
        self._commit_to_broker(time.monotonic(), asynchronous=True)
        if self._buffered_bytes > BUFFERED_BYTES_MAX:
            return
        # `consume` waits until it has as many as it was asked for, so the wait is for the first one alone.
        first = self._consumer.poll(IDLE_WAIT_S if wait and not self._buffered_bytes else 0)
        if first is None:
            return
        for message in (first, *self._consumer.consume(FETCH_RECORDS_MAX - 1, 0)):
            self._accept(message)

    def _accept(self, message: Message) -> None:
        source = TopicPartition(message.topic() or "", message.partition() or 0)
        if (error := message.error()) is not None:
            self._on_message_error(source, error, message.offset())
            return
        record = record_of(message)
        state = self._partitions[source]
        state.buffered.append(record)
        state.newest, state.fetched = record, record.offset + 1
        self._buffered_bytes += record.size_bytes

    def _on_message_error(self, source: TopicPartition, error: KafkaError, offset: int | None) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            self._partitions[source].end_seen = offset if offset is not None else -1
        elif code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            self._life.fail(self._lost(source, error))
        else:
            self._on_error(error)

    def _lost(self, source: TopicPartition, error: KafkaError) -> Halted:
        state = self._partitions.get(source)
        at = state.next_offset if state else -1
        return Halted(
            f"{source} has no record at offset {at} any more, or not yet: {error.str()}",
            hint="the records expired before they were processed, or the topic was made anew. Decide: restore the "
            "topic, or set next_offset in ops.consumer_offsets to where reading goes on, then start again and verify",
            coordinates={"topic": source.topic, "partition": source.partition, "offset": at},
        )

    def _on_error(self, error: KafkaError) -> None:
        """librdkafka reconnects by itself: an outage becomes lag, and the sampler says so. Lesser errors are news."""
        if error.fatal():
            self._life.fail(Fenced(f"the consumer cannot go on: {error.str()}"))
        log.warning("broker error", code=error.name(), detail=error.str())

    def _commit_to_broker(self, now_s: float, *, asynchronous: bool) -> None:
        if not self._to_commit or now_s < self._commit_at_s:
            return
        offsets = [KafkaPosition(source.topic, source.partition, at) for source, at in self._to_commit.items()]
        self._to_commit.clear()
        self._commit_at_s = now_s + BROKER_COMMIT_S
        try:
            self._consumer.commit(offsets=offsets, asynchronous=asynchronous)  # type: ignore[call-overload]
        except KafkaException as error:  # the truth is in Postgres; tools see these offsets a little later
            log.info("offsets not told to the broker", detail=str(error))


class KafkaSource(FixedPartitionedSource[Batch, None]):
    """Batches of every partition of `consumer`. Ends, after the batch in hand, when the process is asked to stop."""

    def __init__(self, consumer: PartitionedConsumer, life: Lifecycle) -> None:
        self._consumer = consumer
        self._life = life

    def list_parts(self) -> list[str]:
        return [part_name(source) for source in self._consumer.partitions]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _SourcePartition:
        del step_id, resume_state  # Bytewax' own recovery is off; see DESIGN of the sink
        return _SourcePartition(self._consumer, part_source(for_part), self._life)


class _SourcePartition(StatefulSourcePartition[Batch, None]):
    def __init__(self, consumer: PartitionedConsumer, source: TopicPartition, life: Lifecycle) -> None:
        self._consumer = consumer
        self._source = source
        self._life = life

    def next_batch(self) -> Iterable[Batch]:
        if self._life.stopping:
            raise StopIteration
        batch = self._consumer.take(self._source)
        return () if batch is None else (batch,)

    def next_awake(self) -> datetime | None:
        """At once: the waiting is in the consumer. A source that sleeps past its epoch would stall every other one."""
        return None

    def snapshot(self) -> None:
        return None


def part_name(source: TopicPartition) -> str:
    """Bytewax' name of a partition. Its order as text is the order of the sink's partitions too."""
    return f"{source.topic}/{source.partition:05d}"


def part_source(name: str) -> TopicPartition:
    topic, _, partition = name.rpartition("/")
    return TopicPartition(topic, int(partition))


class Offsets:
    """What the broker says about offsets, asked afresh. Safe for any thread. Raises `DependencyUnavailable`."""

    def __init__(self, settings: KafkaSettings) -> None:
        def admin() -> AdminClient:
            return AdminClient(client_config(settings), logger=librdkafka_log())

        self._admin = ReplaceableClient("kafka", admin, ANSWER_S_MAX)

    def partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        """Every partition of `topics`. A topic that is not there yet is the same as a broker that is not."""
        known = self.topics()
        if missing := sorted(set(topics) - set(known)):
            raise DependencyUnavailable(f"no topic {', '.join(missing)}", hint="run `adriatic topics apply`")
        return [TopicPartition(topic, partition) for topic in topics for partition in known[topic]]

    def topics(self) -> dict[str, list[int]]:
        """Partitions of every topic that the broker has."""
        try:
            known = self._admin.ask(lambda admin: admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics)
        except KafkaException as error:
            raise DependencyUnavailable(f"the broker does not answer: {error.args[0].str()}") from error
        return {topic: sorted(known[topic].partitions) for topic in known}

    def first(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Of the oldest record that each partition still has."""
        return self._ask(sources, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def end(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """One past the newest committed record of each partition."""
        return self._ask(sources, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def at(self, sources: Iterable[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        """Of the first record of each partition that is not older than `timestamp_ms`; -1 where there is none."""
        return self._ask(sources, OffsetSpec.for_timestamp(timestamp_ms))

    def _ask(self, sources: Iterable[TopicPartition], spec: OffsetSpec) -> dict[TopicPartition, int]:
        request = {KafkaPosition(source.topic, source.partition): spec for source in sources}

        def ask(admin: AdminClient) -> dict[TopicPartition, int]:
            answers = admin.list_offsets(request, request_timeout=REQUEST_TIMEOUT_S)
            return {
                TopicPartition(position.topic, position.partition): answer.result(REQUEST_TIMEOUT_S).offset
                for position, answer in answers.items()
            }

        try:
            # A client keeps the leader epoch that it learnt, and asks with it for ever: after the broker was away, that
            # is fenced each time.
            return self._admin.ask(ask)
        except (KafkaException, TimeoutError) as error:
            raise DependencyUnavailable(f"the broker does not tell offsets: {error}") from error


def record_of(message: Message) -> Record:
    """A message without an error, as a record of ours."""
    kind, timestamp = message.timestamp()
    headers: Any = message.headers() or ()
    return Record(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp_ms=timestamp if kind else None,
        key=message.key(),
        value=message.value(),
        headers=tuple((name, value) for name, value in headers),
    )


def _config(settings: KafkaSettings, group: str, on_error: Callable[[KafkaError], None]) -> dict[str, Any]:
    return {
        **client_config(settings),
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,  # says how far a partition is read when its last entries are not records
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "allow.auto.create.topics": False,
        "queued.max.messages.kbytes": QUEUED_KIB_MAX,
        "fetch.wait.max.ms": 500,
        "error_cb": on_error,
    }


def client_config(settings: KafkaSettings) -> dict[str, Any]:
    """What every consumer and admin client of ours is told."""
    return {**settings.client_config(), "socket.keepalive.enable": True, "reconnect.backoff.max.ms": 2_000}


def librdkafka_log() -> Any:
    """Where the library's own log lines go."""
    import logging

    return logging.getLogger("librdkafka")


def age_s(timestamp_ms: int | None) -> float | None:
    """How long ago, by the wall clock; for the lag gauges."""
    return None if timestamp_ms is None else max(0.0, SYSTEM_CLOCK.now().timestamp() - timestamp_ms / 1000)
