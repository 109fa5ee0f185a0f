"""The one producer (law 1): idempotent, in order, and honest about what happened to each record.

Owns librdkafka's producer, its bounds, and what delivery reports mean. `IdempotentProducer` streams (R8);
`TransactionalProducer` writes a snapshot that readers see whole or not at all. Refuses to block for longer than it is
told and to know what a record means. One thread each.

A record fails only when this producer is at its end: then nothing later in the same partition may overtake it. Yet
librdkafka drops what waits for longer than `delivery.timeout.ms`, even while a younger record of the same partition
still goes out. So the caller gives up on a silent broker well before that time-out, `Deliveries` notes where it
happened all the same, and whoever continues reads the log back and repairs it (`connectors/capture/ledger.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

from confluent_kafka import KafkaError, KafkaException, Message

from connectors.kafka.clients import OnError, make_producer
from connectors.kafka.errors import KAFKA, map_error, translate
from connectors.kafka.records import TopicPartition, source_of
from connectors.postgres.lsn import Pos
from runtime.clock import Clock
from runtime.errors import AdriaticError, DependencyUnavailable, RecordTooLarge
from runtime.logs import get_logger
from runtime.settings import KafkaSettings

log = get_logger("kafka")

DELIVERY_TIMEOUT_S = 30.0
"""librdkafka drops a record after this long, so a producer that was thought dead cannot write later than this.
Must be shorter than the time after which Postgres gives the slot to another (R8)."""
LINGER_MS = 5
"""How long a record waits for company. Costs this much latency, saves most of the requests."""
QUEUE_KIB_MAX = 65_536
"""Records handed over and not yet acknowledged: 64 MiB. Full means that the caller waits."""
BATCH_BYTES_MAX = 1_000_000
"""librdkafka's default; stays under the smallest limit that brokers have for a request by default."""
RECORD_OVERHEAD_BYTES = 512
"""Size of a record and its batch on the wire, beside key, value and headers: 61 for the batch, the rest for varints."""
RETRY_BACKOFF_MS, RETRY_BACKOFF_MAX_MS = 20, 1_000
"""librdkafka's first and longest pause between attempts."""
CLOSE_MAX_S = DELIVERY_TIMEOUT_S + 5
"""Time for requests that are under way to end, one way or the other."""
TRANSACTION_MAX_S = 900
"""The longest that brokers allow by default."""
TRANSACTION_CALL_S = 30.0
COMMIT_WAIT_S = 5.0
"""Time between two looks whether we were asked to stop while a transaction commits."""

Acked = Callable[[int], None]
"""Called with the offset of a record that is in the log; below 0 when the broker has not said where: it had the record
already, from an attempt whose answer was lost."""
Headers = list[tuple[str, bytes]]


class EncodedRecord(NamedTuple):
    """One record, ready to be produced. `pos`: its place in the WAL."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    pos: Pos


class Deliveries:
    """Whether a record failed and a later one of its partition arrived. Pure."""

    def __init__(self) -> None:
        self.failed: dict[TopicPartition, Any] = {}
        """The lowest position that failed, by partition."""
        self.overtaken: set[TopicPartition] = set()
        """Partitions in which a record after a failed one was delivered: their last record hides a hole."""

    def ok(self, source: TopicPartition, pos: Any) -> None:
        if self.failed and (lowest := self.failed.get(source)) is not None and pos > lowest:
            self.overtaken.add(source)

    def fail(self, source: TopicPartition, pos: Any) -> None:
        self.failed[source] = min(pos, self.failed.get(source, pos))


class _Producer:
    """What both producers do. `limits`: the largest record of each topic, in bytes."""

    def __init__(
        self,
        settings: KafkaSettings,
        limits: Mapping[str, int],
        clock: Clock,
        own: dict[str, Any],
        on_error: OnError | None = None,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._producer = make_producer(settings, _bounds(limits) | own, on_error)

    def check(self, record: EncodedRecord) -> None:
        """Raises `RecordTooLarge`. Call it for all the records of a change before the first is sent."""
        size, limit = size_bytes(record), self._limits[record.topic]
        if size > limit:
            raise RecordTooLarge(
                f"a record of {size} bytes, and {record.topic} takes {limit}",
                hint="raise max.message.bytes in the topic's file, and the broker's limits with it",
            )

    def _hand_over(self, record: EncodedRecord, on_delivery: Callable[..., None] | None = None) -> bool:
        """False when the queue is full."""
        topic, headers = record.topic, cast("Any", record.headers)  # the library's stubs want a wider list
        try:
            self._producer.produce(
                *(topic, record.value, record.key, record.partition), on_delivery=on_delivery, headers=headers
            )
        except BufferError:
            return False
        except KafkaException as error:
            raise map_error(error.args[0], f"produce to {topic}") from None
        return True


class IdempotentProducer(_Producer):
    """Records in order, once each."""

    def __init__(self, settings: KafkaSettings, limits: Mapping[str, int], clock: Clock) -> None:
        self._error: AdriaticError | None = None
        self.deliveries = Deliveries()
        self.unacked = 0
        self.answered_at = clock.monotonic()
        """When the broker last acknowledged something, or nothing was waiting (monotonic seconds)."""
        own = {"enable.idempotence": True, "delivery.timeout.ms": int(DELIVERY_TIMEOUT_S * 1000)}
        super().__init__(settings, limits, clock, own, self._on_error)

    def send(self, record: EncodedRecord, acked: Acked) -> bool:
        """Hand over a record; False when the queue is full. `acked` is called from `poll`, when it is in the log."""
        if self.unacked == 0:
            self.answered_at = self._clock.monotonic()
        if not self._hand_over(record, partial(self._on_delivery, acked, record.pos)):
            return False
        self.unacked += 1
        return True

    def poll(self, timeout_s: float) -> None:
        """Take delivery reports. Raises when a record failed: nothing of this producer may be used afterwards."""
        self._producer.poll(timeout_s)
        if self._error is not None:
            raise self._error

    def silent_s(self) -> float:
        """How long the broker has owed us an answer."""
        return self._clock.monotonic() - self.answered_at if self.unacked else 0.0

    def close(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Records that wait are dropped; those under way end first, so that none of them arrives later. When the
        process is `stopping` nobody is there to be surprised, and it does not wait."""
        self._producer.purge(in_queue=True, in_flight=False, blocking=True)
        until_s = self._clock.monotonic() + CLOSE_MAX_S
        while self._producer.flush(0.2) and self._clock.monotonic() < until_s and not stopping():
            pass

    def _on_delivery(self, acked: Acked, pos: Any, error: KafkaError | None, message: Message) -> None:
        self.unacked -= 1
        source = source_of(message)
        topic = source.topic
        if error is None:
            acked(_offset_of(message))
            self.answered_at = self._clock.monotonic()
            self.deliveries.ok(source, pos)
            return
        self.deliveries.fail(source, pos)
        if self._error is None:
            self._error = map_error(error, f"produce to {topic}")

    def _on_error(self, error: KafkaError) -> None:
        """librdkafka reconnects by itself; only a fatal error ends this producer."""
        log.warning("broker error", code=error.name(), detail=error.str())
        if error.fatal() and self._error is None:
            self._error = map_error(error, "produce")


class TransactionalProducer(_Producer):
    """Records that become visible together. Making one ends whatever an earlier one of the same name left open."""

    def __init__(self, settings: KafkaSettings, limits: Mapping[str, int], name: str, clock: Clock) -> None:
        own = {"transactional.id": name, "transaction.timeout.ms": TRANSACTION_MAX_S * 1000}
        super().__init__(settings, limits, clock, own)
        with translate("fence earlier snapshots"):
            self._producer.init_transactions(TRANSACTION_CALL_S)

    def begin(self) -> None:
        with translate("begin a transaction"):
            self._producer.begin_transaction()

    def send(self, record: EncodedRecord, acked: Acked, stopping: Callable[[], bool]) -> None:
        """Blocks while the queue is full, and at most `TRANSACTION_CALL_S`. What failed shows when it commits."""
        until_s = self._clock.monotonic() + TRANSACTION_CALL_S
        while not self._hand_over(record, partial(_on_written, acked)):
            self._producer.poll(0.1)
            if stopping() or self._clock.monotonic() > until_s:
                raise DependencyUnavailable("the broker does not take the snapshot's records", coordinates=KAFKA)
        self._producer.poll(0)

    def commit(self, stopping: Callable[[], bool]) -> None:
        """Blocks for as long as a transaction may last."""
        until_s = self._clock.monotonic() + TRANSACTION_MAX_S
        while True:
            try:
                self._producer.commit_transaction(COMMIT_WAIT_S)
            except KafkaException as error:
                cause: KafkaError = error.args[0]
                # A call that timed out goes on when it is made again.
                if not cause.retriable() or stopping() or self._clock.monotonic() > until_s:
                    raise map_error(cause, "commit the snapshot") from None
            else:
                return

    def abort(self) -> None:
        """Abort as far as possible: the next producer of this name does it otherwise."""
        try:
            self._producer.abort_transaction(COMMIT_WAIT_S)
        except KafkaException as error:
            log.warning("transaction left open", detail=str(error))


def _on_written(acked: Acked, error: KafkaError | None, message: Message) -> None:
    if error is None:
        acked(_offset_of(message))


def _offset_of(message: Message) -> int:
    offset = message.offset()
    return -1 if offset is None else offset


def size_bytes(record: EncodedRecord) -> int:
    """How large the broker will find it, never less than it will."""
    headers = sum(len(name) + len(value) + 8 for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers + RECORD_OVERHEAD_BYTES


def _bounds(limits: Mapping[str, int]) -> dict[str, Any]:
    smallest, largest = min(limits.values()), max(limits.values())
    return {
        "acks": "all",
        "linger.ms": LINGER_MS,
        "queue.buffering.max.kbytes": max(QUEUE_KIB_MAX, 2 * largest // 1024),
        "queue.buffering.max.messages": 0,
        "message.max.bytes": max(largest + RECORD_OVERHEAD_BYTES, BATCH_BYTES_MAX),
        "batch.size": min(BATCH_BYTES_MAX, max(smallest - RECORD_OVERHEAD_BYTES, 1)),
        "socket.nagle.disable": True,
        "retry.backoff.ms": RETRY_BACKOFF_MS,
        "retry.backoff.max.ms": RETRY_BACKOFF_MAX_MS,
    }
