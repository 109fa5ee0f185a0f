"""The streaming loop: WAL in, records out, acknowledgements back.

Owns the order of things in one thread of short steps: what has arrived is translated, and handed to the producer;
between steps delivery reports are taken, the server gets its status in time (R2), progress is written down, and only
then acknowledged (R1, R4). A full queue, a slow broker or a big transaction stretch a step by milliseconds, never by
the server's patience. Refuses to connect, to repair and to retry: whatever goes wrong ends the session, and
`source.py` starts another one, which the ledger makes exact (R8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from connectors.capture import outbox
from connectors.capture.config import CaptureConfig
from connectors.capture.ends import Ends
from connectors.capture.ledger import Ledger
from connectors.capture.loop import drive
from connectors.capture.ports import CaptureState, Data, Keepalive, Producer, Stopping, Tell, Told, WalSession, Written
from connectors.capture.tables import Tables
from connectors.capture.tracker import Confirmed, Tracker
from connectors.capture.translator import OpenTransaction, Translator
from connectors.kafka.errors import KAFKA
from connectors.kafka.producer import DELIVERY_TIMEOUT_S, EncodedRecord
from connectors.kafka.records import TopicPartition
from connectors.postgres.beats import Beat
from connectors.postgres.lsn import Pos
from runtime import metrics
from runtime.clock import Clock
from runtime.errors import AdriaticError, DataError, DependencyUnavailable
from runtime.logs import get_logger

log = get_logger("cdc")

PROGRESS_S = 1.0
"""Progress is written down, and then acknowledged, at most this often: what a crash makes the server send again."""
SERVICE_S = 0.02
"""Time between two looks at the duties beside encoding. Far below every time-out, far above the cost of a look."""
WAIT_S = 0.25
"""The longest wait for the WAL when nothing is owed."""
ACK_WAIT_S = 0.005
"""The longest wait for the WAL while records are on their way: acknowledgements are taken in between."""
FULL_WAIT_S = 0.02
"""Pause between two attempts to hand over a record while the producer's queue is full."""
IDLE_WAL_BYTES = 1_048_576
"""A keepalive alone moves our progress only when this much WAL has passed. Writing progress makes WAL, and must not
be its own reason to be written again."""
SILENCE_MAX_S = DELIVERY_TIMEOUT_S - 10
"""However long a silent broker may be borne, it ends before the first record comes near its time-out: from then on
younger records of the same partition could overtake it."""
FINISH_MAX_S = 5.0
"""Limit for bringing what was read to Kafka when asked to stop. What is left is read again by the next start."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a stream works with. `more_partitions` is only shown."""

    wal: WalSession
    producer: Producer
    state: CaptureState
    tables: Tables
    events: outbox.EventEncoder
    ledger: Ledger
    ends: Ends = field(default_factory=Ends)
    more_partitions: Iterable[str] = ()


@dataclass(frozen=True, slots=True)
class StreamStart:
    """Where a stream begins. `beat`: the last one that was written. `xid_near`: the whole id of a transaction of
    now."""

    confirmed: Confirmed
    beat: Beat
    snapshot_lsn: int = 0
    xid_near: int = 0


class Stream:
    """One session of streaming, from `START_REPLICATION` to its end. The outlet of its own translator."""

    def __init__(
        self, parts: Parts, config: CaptureConfig, start: StreamStart, clock: Clock, tell: Tell = lambda _: None
    ) -> None:
        self._parts = parts
        self._config = config
        self._clock = clock
        self._tell = tell
        self._translator = Translator(
            *(self, parts.tables, parts.events, parts.state.own_heartbeat),
            *(start.snapshot_lsn, start.xid_near, clock),
        )
        self._tracker = Tracker(start.confirmed)
        self._written = start.confirmed
        self._beat_at = start.beat
        self._translator.stamp(start.beat.header())
        self._read_at_us = start.confirmed.committed_at_us
        self._marked = start.confirmed.lsn
        self._delivered: dict[str, int] = {}
        self._asking = True
        """Whether records may be in the log already: true after a start, until we are past its end."""
        self._service_at = 0.0
        self._progress_at = 0.0
        self._heartbeat_at = 0.0

    def run(self, stopping: Stopping) -> None:
        """Stream until asked to stop. Raises what ended it otherwise."""
        drive([self], stopping)
        self.finish()

    @property
    def done(self) -> bool:
        """Never."""
        return False

    def wait(self) -> None:
        """Wait for the WAL, no longer than until a duty is due."""
        self._parts.wal.wait(ACK_WAIT_S if self._parts.producer.unacked else self._wait_s())

    def step(self) -> bool:
        """Everything that has arrived, and every duty that is due. Waits only for room in the producer."""
        for message in self._parts.wal.receive():
            if isinstance(message, Data):
                self._translator.take(message.start, message.payload)
            else:
                self._keepalive(message)
            if self._clock.monotonic() >= self._service_at:
                self._service()
        self._service()
        return False

    # --- duties -----------------------------------------------------------------------------------------------------

    def _service(self) -> None:
        """Everything that must not wait for encoding. Takes microseconds when nothing is due."""
        self._parts.producer.poll(0)
        self._parts.ends.require_growth()
        now_s = self._clock.monotonic()
        self._service_at = now_s + SERVICE_S
        self._parts.wal.keep_alive()
        if now_s >= min(self._progress_at, self._heartbeat_at):
            self._beat(now_s)
        if (silent_s := self._parts.producer.silent_s()) > min(self._config.kafka_down_max_s, SILENCE_MAX_S):
            # R6: Postgres cannot shut down while it waits for us.
            raise DependencyUnavailable(
                f"the broker has acknowledged nothing for {silent_s:.0f} s", hint="is it running?", coordinates=KAFKA
            )

    def _beat(self, now_s: float) -> None:
        """Heartbeat, progress, and the next beat in one transaction; the acknowledgement after it is durable."""
        heartbeat = now_s >= self._heartbeat_at
        if heartbeat:
            self._heartbeat_at = now_s + self._config.heartbeat_s
        self._progress_at = now_s + PROGRESS_S
        confirmed = self._tracker.advance()
        moved = confirmed.lsn > self._written.lsn
        if moved or heartbeat:
            beat = self._beat_at._replace(number=self._beat_at.number + 1)
            self._parts.state.write(
                Written(beat, confirmed if moved else None, heartbeat, self._read_at_us, *self._parts.ends.take_moved())
            )
            self._beat_at = beat
            self._translator.stamp(beat.header())
        if moved:
            self._written = confirmed
            self._parts.wal.acknowledge(confirmed.lsn)
        self._publish()

    def _publish(self) -> None:
        delivered, self._delivered = self._delivered, {}
        stopped: Mapping[str, str] = dict(self._parts.tables.stopped)
        self._tell(Told(self._written, delivered, stopped, self._parts.more_partitions))

    def _wait_s(self) -> float:
        due_s = min(self._progress_at, self._heartbeat_at) - self._clock.monotonic()
        return max(0.001, min(WAIT_S, due_s))

    def _drain(self, for_s: float = float("inf")) -> None:
        """Wait until every record that was handed over is in Kafka."""
        until_s = self._clock.monotonic() + for_s
        while self._parts.producer.unacked and self._clock.monotonic() < until_s:
            self._parts.producer.poll(ACK_WAIT_S)
            self._service()

    def finish(self) -> None:
        """A clean end: what was read is in Kafka, written down, acknowledged. A transaction that was cut short is read
        again, and the ledger knows how much of it is there."""
        self._drain(FINISH_MAX_S)
        self._heartbeat_at = float("inf")
        self._beat(self._clock.monotonic())

    def _keepalive(self, message: Keepalive) -> None:
        """R3: everything up to there was sent, and it is ours to acknowledge once all of it is in Kafka."""
        if message.end - self._marked >= IDLE_WAL_BYTES and not self._translator.in_transaction:
            self.mark(Confirmed(message.end, 0))

    # --- what the translator says -----------------------------------------------------------------------------------

    def begin(self, transaction: OpenTransaction) -> None:
        transaction.mine = self._tracker.begin()
        origin = transaction.origin
        self._asking = not self._parts.ledger.has_passed(origin.commit)
        if self._asking:
            self._parts.ledger.begin(origin.commit, origin.xid, origin.committed_at_us)

    def commit(self, transaction: OpenTransaction, end: Confirmed) -> None:
        self._tracker.commit(transaction.mine, end)
        self._read_at_us = end.committed_at_us
        self._marked = end.lsn

    def mark(self, at: Confirmed) -> None:
        self._read_at_us = at.committed_at_us or self._read_at_us
        self._marked = at.lsn
        self._tracker.mark(at)

    def check(self, record: EncodedRecord) -> None:
        self._parts.producer.check(record)

    def send(self, record: EncodedRecord, transaction: OpenTransaction) -> None:
        source = TopicPartition(record.topic, record.partition)
        if self._asking and self._parts.ledger.has(source, record.pos):
            metrics.CDC_SKIPPED.labels(topic=record.topic).inc()
            return
        while self._clock.monotonic() >= self._service_at:
            # We may have stood still since the last look, or in the middle of it, and another capture may have our
            # place: then this raises.
            self._service()
        producer = self._parts.producer
        acked = partial(self._take_ack, transaction.mine.count_acked, source, record.pos)
        while not producer.send(record, acked):
            producer.poll(FULL_WAIT_S)
            self._service()
        transaction.mine.count_sent()

    def _take_ack(self, count: Callable[[], None], source: TopicPartition, pos: Pos, offset: int) -> None:
        """A record is in Kafka, unless it is in another log than the one that we filled: then nothing may be told."""
        if self._parts.ends.reach(source, offset, pos):
            count()
            self._delivered[source.topic] = self._delivered.get(source.topic, 0) + 1

    def stop(self, name: str, error: AdriaticError) -> None:
        """R11. What came before is brought to Kafka first, so that the status says exactly where the table ends."""
        self._drain()
        stop_table(self._parts.state, self._parts.tables, name, error)

    def dead_letter(self, event: outbox.OutboxEvent | None, pos: Pos, error: DataError) -> None:
        keep_dead_letter(self._parts.state, self._parts.events, event, pos.commit, error)
        self._parts.ledger.pass_over([pos])


def keep_dead_letter(
    state: CaptureState, events: outbox.EventEncoder, event: outbox.OutboxEvent | None, lsn: int, error: DataError
) -> None:
    """Keep an event that cannot be encoded, and tell of it."""
    topic = event.topic if event else ""
    known = topic if events.knows(topic) else "unknown"
    log.error("event not encodable", topic=topic, code=error.code, detail=error.detail, lsn=lsn)
    state.dead_letter(event, lsn, error)
    metrics.CDC_DEAD_LETTERS.labels(topic=known).inc()


def stop_table(state: CaptureState, tables: Tables, name: str, error: AdriaticError) -> None:
    """Stop a table, and write down why (R11)."""
    log.error("table stopped", table=name, code=error.code, detail=error.detail, hint=error.hint)
    state.table_state(name, "stopped", error)
    tables.stop(name, error.code)
    metrics.CDC_TABLE_STOPPED.labels(table=name).set(1)
