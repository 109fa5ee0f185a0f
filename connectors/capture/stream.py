"""The streaming loop: WAL in, records out, acknowledgements back.

Owns the order of things in one thread of short steps: what has arrived is decoded, encoded and handed to the producer;
between steps delivery reports are taken, the server gets its status in time (R2), progress is written down, and only
then acknowledged (R1, R4). A full queue, a slow broker or a big transaction stretch a step by milliseconds, never by
the server's patience. Refuses to connect, to repair and to retry: whatever goes wrong ends the session, and
`source.py` starts another one, which the ledger makes exact (R8).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from connectors.capture import outbox, pgoutput
from connectors.capture.checks import RESET
from connectors.capture.encoder import ORDINALS_PER_CHANGE, TransactionOrigin
from connectors.capture.ledger import Ledger
from connectors.capture.pgoutput import Begin, Commit, Delete, Insert, Message, Relation, Truncate, Update
from connectors.capture.store import HEARTBEAT_PREFIX, Store
from connectors.capture.tables import ContractMismatch, NoContract, Tables, Truncated
from connectors.capture.tracker import Confirmed, Tracker, Transaction
from connectors.capture.transport import Data, Keepalive, Transport
from connectors.kafka.errors import KAFKA
from connectors.kafka.producer import DELIVERY_TIMEOUT_S, EncodedRecord, IdempotentProducer
from connectors.kafka.records import TopicPartition
from connectors.postgres.lsn import Lsn, Pos
from connectors.postgres.xid import whole_xid
from runtime import metrics
from runtime.clock import Clock
from runtime.errors import AdriaticError, DataError, DependencyUnavailable, Halted
from runtime.logs import get_logger
from runtime.settings import CdcSettings

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
DEAD_LETTERS_IN_A_ROW_MAX = 1_000
"""Events of one topic that cannot be encoded, one after the other: a bad release, not bad records (law 7)."""


class TooManyDeadLetters(Halted):
    """Going on would drain a topic into the dead letters. Only a new start of the process goes on."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a stream works with."""

    transport: Transport
    producer: IdempotentProducer
    store: Store
    tables: Tables
    events: outbox.EventEncoder
    ledger: Ledger


class Stream:
    """One session of streaming, from `START_REPLICATION` to its end."""

    def __init__(
        self,
        parts: Parts,
        settings: CdcSettings,
        start: Confirmed,
        snapshot_lsn: int,
        xid_near: int,
        clock: Clock,
        moved: Callable[[Confirmed], None] = lambda _: None,
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._xid_near = xid_near
        self._clock = clock
        self._moved = moved
        self._snapshot_lsn = snapshot_lsn
        self._tracker = Tracker(start)
        self._written = start
        self._read_at_us = start.committed_at_us
        self._marked = start.lsn
        self._origin: TransactionOrigin | None = None
        self._transaction: Transaction | None = None
        self._ordinal = 0
        self._asking = True
        """Whether records may be in the log already: true after a start, until we are past its end."""
        self._dead_in_a_row: dict[str, int] = {}
        self._service_at = 0.0
        self._progress_at = 0.0
        self._heartbeat_at = 0.0

    def run(self, stopping: Callable[[], bool]) -> None:
        """Stream until asked to stop. Raises what ended it otherwise."""
        transport, producer = self._parts.transport, self._parts.producer
        while not stopping():
            for message in transport.receive():
                if isinstance(message, Data):
                    self._data(message)
                else:
                    self._keepalive(message)
                if self._clock.monotonic() >= self._service_at:
                    self._service()
            self._service()
            transport.wait(ACK_WAIT_S if producer.unacked else self._wait_s())
        self._finish()

    # --- duties -----------------------------------------------------------------------------------------------------

    def _service(self) -> None:
        """Everything that must not wait for encoding. Takes microseconds when nothing is due."""
        self._parts.producer.poll(0)
        now_s = self._clock.monotonic()
        self._service_at = now_s + SERVICE_S
        self._parts.transport.keep_alive()
        if now_s >= min(self._progress_at, self._heartbeat_at):
            self._beat(now_s)
        if (silent_s := self._parts.producer.silent_s()) > min(self._settings.kafka_down_max_s, SILENCE_MAX_S):
            # R6: Postgres cannot shut down while it waits for us.
            raise DependencyUnavailable(
                f"the broker has acknowledged nothing for {silent_s:.0f} s", hint="is it running?", coordinates=KAFKA
            )

    def _beat(self, now_s: float) -> None:
        """Heartbeat and progress in one transaction; the acknowledgement after it is durable."""
        heartbeat = now_s >= self._heartbeat_at
        if heartbeat:
            self._heartbeat_at = now_s + self._settings.heartbeat_s
        self._progress_at = now_s + PROGRESS_S
        confirmed = self._tracker.advance()
        moved = confirmed.lsn > self._written.lsn
        if moved or heartbeat:
            self._parts.store.beat(confirmed if moved else None, heartbeat=heartbeat, read_at_us=self._read_at_us)
        if moved:
            self._written = confirmed
            self._parts.transport.acknowledge(confirmed.lsn)
        self._moved(self._written)

    def _wait_s(self) -> float:
        due_s = min(self._progress_at, self._heartbeat_at) - self._clock.monotonic()
        return max(0.001, min(WAIT_S, due_s))

    def _drain(self, for_s: float = float("inf")) -> None:
        """Wait until every record that was handed over is in Kafka."""
        until_s = self._clock.monotonic() + for_s
        while self._parts.producer.unacked and self._clock.monotonic() < until_s:
            self._parts.producer.poll(ACK_WAIT_S)
            self._service()

    def _finish(self) -> None:
        """A clean end: what was read is in Kafka, written down, acknowledged. A transaction that was cut short is read
        again, and the ledger knows how much of it is there."""
        self._drain(FINISH_MAX_S)
        self._heartbeat_at = float("inf")
        self._beat(self._clock.monotonic())

    # --- messages ---------------------------------------------------------------------------------------------------

    def _keepalive(self, message: Keepalive) -> None:
        """R3: everything up to there was sent, and it is ours to acknowledge once all of it is in Kafka."""
        if message.end - self._marked >= IDLE_WAL_BYTES:
            self._mark(message.end, 0)

    def _mark(self, lsn: int, at_us: int) -> None:
        self._read_at_us = max(self._read_at_us, at_us)
        if not self._tracker.in_transaction:
            self._marked = lsn
            self._tracker.mark(Confirmed(lsn, at_us))

    def _data(self, data: Data) -> None:
        message = pgoutput.decode(data.payload)
        if isinstance(message, Insert | Update | Delete):
            self._change(message, data.start)
        elif isinstance(message, Begin):
            self._origin = TransactionOrigin(
                Lsn(message.commit_lsn), message.committed_at_us, self._whole_xid(message.xid)
            )
            self._transaction = self._tracker.begin()
            self._ordinal = 0
            self._asking = not self._parts.ledger.has_passed(message.commit_lsn)
        elif isinstance(message, Commit):
            self._tracker.commit(Confirmed(message.end_lsn, message.committed_at_us))
            self._read_at_us = max(self._read_at_us, message.committed_at_us)
            self._marked = message.end_lsn
            self._origin = self._transaction = None
        elif isinstance(message, Message):
            self._logical(message)
        elif isinstance(message, Relation):
            self._relation(message)
        elif isinstance(message, Truncate):
            self._truncate(message)
        elif isinstance(message, pgoutput.Origin) and self._origin is not None:
            self._origin = self._origin._replace(origin=message.name)

    def _whole_xid(self, xid: int) -> int:
        """The WAL names a transaction by half of its id. The other half is that of its neighbours."""
        self._xid_near = whole_xid(xid, self._xid_near)
        return self._xid_near

    def _next_ordinal(self) -> int:
        ordinal = self._ordinal
        self._ordinal += ORDINALS_PER_CHANGE
        return ordinal

    def _relation(self, relation: Relation) -> None:
        try:
            self._parts.tables.learn(relation)
        except (NoContract, ContractMismatch) as error:
            self._stop(relation.name, error)

    def _change(self, change: Insert | Update | Delete, lsn: int) -> None:
        origin = self._origin
        assert origin is not None, "a change outside a transaction"
        ordinal = self._next_ordinal()
        encoder = self._parts.tables.encoder(change.relation_id)
        if encoder is None or origin.commit < self._snapshot_lsn:
            return
        try:
            records = encoder.records(change, origin, lsn, ordinal, self._now_us())
            for record in records:
                self._parts.producer.check(record)
        except DataError as error:
            self._stop(encoder.relation.name, error)
            return
        for record in records:
            self._send(record)

    def _truncate(self, message: Truncate) -> None:
        assert self._origin is not None
        self._next_ordinal()
        if self._origin.commit < self._snapshot_lsn:
            return
        for relation_id in message.relation_ids:
            if self._parts.tables.encoder(relation_id) is not None:
                name = self._parts.tables.name(relation_id)
                self._stop(
                    name,
                    Truncated(
                        f"{name} was truncated, which no record of its topic can say",
                        hint=f"erase its topic if readers must not see the old rows; then {RESET}. Delete rows instead",
                    ),
                )

    def _logical(self, message: Message) -> None:
        if not message.transactional:
            if message.prefix == HEARTBEAT_PREFIX and message.content.isdigit():
                self._mark(message.lsn, int(message.content))
            return
        ordinal = self._next_ordinal()
        if message.prefix == outbox.PREFIX:
            self._event(message, ordinal)

    def _event(self, message: Message, ordinal: int) -> None:
        origin = self._origin
        assert origin is not None, "a transactional message outside a transaction"
        event = None
        try:
            event = outbox.parse(message.content)
            record = self._parts.events.record(event, Pos(origin.commit, ordinal), origin.committed_at_us, origin.xid)
            self._parts.producer.check(record)
        except DataError as error:
            self._dead_letter(message, event, error)
            return
        self._dead_in_a_row.pop(record.topic, None)
        self._send(record)

    def _dead_letter(self, message: Message, event: outbox.OutboxEvent | None, error: DataError) -> None:
        topic = event.topic if event else ""
        known = topic if self._parts.events.knows(topic) else "unknown"
        tenant = event.tenant_id if event and outbox.is_uuid(event.tenant_id) else None
        log.error("event not encodable", topic=topic, code=error.code, detail=error.detail, lsn=message.lsn)
        self._parts.store.dead_letter(topic, message.lsn, tenant, error, message.content)
        metrics.CDC_DEAD_LETTERS.labels(topic=known).inc()
        in_a_row = self._dead_in_a_row[known] = self._dead_in_a_row.get(known, 0) + 1
        if in_a_row >= DEAD_LETTERS_IN_A_ROW_MAX:
            raise TooManyDeadLetters(
                f"{in_a_row} events for {known} in a row cannot be encoded, the last: {error.detail}",
                hint="is a release out that emits what its schema does not allow? Fix it, then start capture again",
            )

    def _send(self, record: EncodedRecord) -> None:
        source = TopicPartition(record.topic, record.partition)
        if self._asking and self._parts.ledger.has(source, record.pos):
            metrics.CDC_SKIPPED.labels(topic=record.topic).inc()
            return
        transaction = self._transaction
        assert transaction is not None
        producer = self._parts.producer
        while not producer.send(record, transaction.count_acked):
            producer.poll(FULL_WAIT_S)
            self._service()
        transaction.count_sent()

    def _stop(self, table: str, error: AdriaticError) -> None:
        """R11. What came before is brought to Kafka first, so that the status says exactly where the table ends."""
        self._drain()
        stop_table(self._parts.store, self._parts.tables, table, error)

    def _now_us(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000)


def stop_table(store: Store, tables: Tables, name: str, error: AdriaticError) -> None:
    """Stop a table, and write down why (R11)."""
    log.error("table stopped", table=name, code=error.code, detail=error.detail, hint=error.hint)
    store.table_state(name, "stopped", error)
    tables.stop(name, error.code)
    metrics.CDC_TABLE_STOPPED.labels(table=name).set(1)
