"""Change capture as a whole: sessions, one after the other, until asked to stop.

Owns the order of a session (lock, checks, snapshot when one is wanted, slot, ledger, stream) and what happens when it
ends: an outage is waited out with back-off (law 7: lag, never loss), a decision that somebody must take is shown and
looked at again every few seconds. Refuses to give up: the process stays, and its health says what it waits for.

    session ──▶ lock ──▶ checks ──▶ [slot] ──▶ [snapshot] ──▶ START ──▶ ledger ──▶ stream ─┐
       ▲                                                                                    │
       └──────────── back-off (outage) or RECHECK_S (halted, misconfigured) ◀───────────────┘

Read next: `stream.py` (the loop), `checks.py` (the decisions), `snapshot.py`, `ledger.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from connectors.capture import checks, ledger, outbox, snapshot
from connectors.capture.checks import Progress, Server
from connectors.capture.encoder import TableEncoder
from connectors.capture.ledger import Last, Ledger, Tail
from connectors.capture.publication import Published
from connectors.capture.store import Store
from connectors.capture.stream import Parts, Stream, TooManyDeadLetters, stop_table
from connectors.capture.tables import ContractMismatch, Contracts, NoContract, Tables
from connectors.capture.tracker import Confirmed
from connectors.capture.transport import Transport
from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.errors import KAFKA
from connectors.kafka.producer import DELIVERY_TIMEOUT_S, IdempotentProducer, TransactionalProducer
from connectors.kafka.records import TopicPartition
from connectors.postgres.lsn import Pos, show
from runtime import metrics
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.deadline import backoff_s
from runtime.errors import AdriaticError, DependencyUnavailable, Unprepared
from runtime.logs import get_logger
from runtime.ops import Health
from runtime.settings import Settings

log = get_logger("cdc")

RECHECK_S = 5.0
"""How often a halted capture looks whether somebody has decided."""
HEALTHY_S = 10.0
"""A session that lasted this long starts the back-off anew."""
RECORD_BYTES_DEFAULT = 1_048_588
"""Kafka's default of max.message.bytes, for a broker that does not tell."""
BLOCKED_S = 2.0
"""How often it is looked up what a new slot waits for."""
FACTS_S = 2.0
"""How often the facts behind `adriatic status` are looked up."""
FRESH_S = 15.0
"""How long a position is good for. Heartbeats move it each second; a database that hangs, hangs the session with it."""

DECISION = "decision"
WAITS = ("postgres", "kafka", "registry", DECISION)


@dataclass(frozen=True, slots=True)
class _SessionParts:
    """What there is at the start of a session. `limits`: the largest record of each topic, in bytes."""

    store: Store
    tables: Tables
    events: outbox.EventEncoder
    encoders: list[tuple[Published, TableEncoder]]
    partitions: Mapping[str, int]
    limits: Mapping[str, int]


class Capture:
    """One slot's capture. `run` blocks; `stop` may come from a signal handler or another thread."""

    def __init__(
        self, settings: Settings, contracts: Contracts, health: Health | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._settings = settings
        self._contracts = contracts
        self._health = health or Health()
        self._clock = clock
        self._stop = threading.Event()
        self._holes: dict[TopicPartition, Pos] = {}
        """Partitions where records were overtaken by later ones, and since where: until all of it is in Kafka."""
        self._holes_end = 0
        self._producer: IdempotentProducer | None = None
        self._records: dict[str, int] = {}
        self._tables: Tables | None = None
        self._facts_at = 0.0
        self._committed_at_us: int | None = None
        metrics.CDC_BEHIND_SECONDS.set_function(self._behind_s)

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Capture until `stop`."""
        pauses, after = backoff_s(), "start"
        while not self._stop.is_set():
            started_s = self._clock.monotonic()
            metrics.CDC_SESSIONS.labels(after=after).inc()
            try:
                self._session()
            except AdriaticError as error:
                after = error.code
                if self._clock.monotonic() - started_s > HEALTHY_S:
                    pauses = backoff_s()
                self._stop.wait(self._show(error, pauses))

    def _show(self, error: AdriaticError, pauses: Iterator[float]) -> float | None:
        """Make an end of a session visible; returns how long to wait, in seconds, None for ever."""
        if isinstance(error, DependencyUnavailable):
            what = str(error.coordinates.get("dependency", "postgres"))
            pause_s: float | None = next(pauses)
        else:
            what, pause_s = DECISION, None if isinstance(error, TooManyDeadLetters) else RECHECK_S
        log.warning("session ended", waits_for=what, code=error.code, detail=error.detail, hint=error.hint)
        for wait in WAITS:
            if wait != what:
                self._health.clear(wait)
        self._health.wait_for(what, str(error))
        self._show_behind()
        return pause_s

    # --- a session --------------------------------------------------------------------------------------------------

    def _session(self) -> None:
        settings = self._settings
        with Store(settings.postgres, settings.cdc.slot) as store:
            store.lock()
            log.info("session starts", slot=settings.cdc.slot)
            server = store.server(settings.cdc.publication)
            checks.require_server(server, settings.cdc.publication)
            progress = checks.resume(settings.cdc.slot, store.slot(), store.progress(), server)
            partitions, limits = self._broker()
            contracts = self._on_broker(partitions)
            events = self._events(contracts)
            published = store.read_published(settings.cdc.publication)
            if progress is None:
                progress = self._create_slot(store, server)
            tables = self._tables = Tables(contracts, settings.cdc.prefix, server.database, store.read_stopped())
            found = _SessionParts(store, tables, events, self._learn(store, tables, published), partitions, limits)
            if progress.snapshot_lsn is None:
                progress = self._snapshot(found, progress)
            for table, _ in found.encoders:
                if table.name not in tables.stopped:
                    store.table_state(table.name, "streaming")
            self._stream(found, progress)

    def _stream(self, found: _SessionParts, progress: Progress) -> None:
        settings, store = self._settings, found.store
        assert progress.snapshot_lsn is not None
        with self._transport() as transport:
            transport.start(settings.cdc.slot, settings.cdc.publication)
            self._require_unmoved(store, progress)
            # Only now: while another reader held the slot it could still write.
            book = self._ledger(found.partitions, transport)
            producer = self._producer = IdempotentProducer(settings.kafka, found.limits, self._clock)
            parts = Parts(transport, producer, store, found.tables, found.events, book)
            start = Confirmed(progress.lsn, progress.committed_at_us)
            stream = Stream(
                *(parts, settings.cdc, start, progress.snapshot_lsn, store.newest_xid(), self._clock),
                lambda to: self._show_progress(store, to),
            )
            log.info("streaming", slot=settings.cdc.slot, since=show(progress.lsn))
            self._committed_at_us = start.committed_at_us or None
            self._ready()
            try:
                stream.run(self._stop.is_set)
            finally:
                transport.close()  # first: Postgres must not wait for us while Kafka keeps us waiting (R6)
                producer.close(self._stop.is_set)
                self._count(producer)
                for place in producer.deliveries.overtaken:
                    failed = producer.deliveries.failed[place]
                    self._holes[place] = min(failed, self._holes.get(place, failed))
                self._producer = None

    def _ledger(self, partitions: Mapping[str, int], transport: Transport) -> Ledger:
        last = ledger.read_last(self._settings.kafka, partitions, transport.keep_alive)
        if not self._holes:
            return Ledger(last)
        # The last record of these partitions would hide what is missing before it.
        log.error("records were overtaken: looking which are missing", partitions=sorted(self._holes))
        self._holes_end = _highest({place: last[place] for place in self._holes if place in last})
        present = ledger.read_since(self._settings.kafka, self._holes, transport.keep_alive)
        return Ledger(last, {place: Tail(self._holes[place], found) for place, found in present.items()})

    def _require_unmoved(self, store: Store, progress: Progress) -> None:
        """Check that nobody moved the slot between the check and START: now that it is ours nobody can."""
        slot = store.slot()
        if slot is None or slot.confirmed > progress.lsn:
            raise DependencyUnavailable("the slot was changed while capture started")

    def _transport(self) -> Transport:
        transport = Transport(self._settings.postgres, self._clock)
        try:
            checks.require_delivery_time(transport.sender_timeout_s, DELIVERY_TIMEOUT_S)
        except AdriaticError:
            transport.close()
            raise
        return transport

    def _create_slot(self, store: Store, server: Server) -> Progress:
        name = self._settings.cdc.slot
        with self._transport() as transport:
            point = transport.create_slot(name, self._show_blocking(store, transport))
        log.info("slot created", slot=name, at=show(point))
        return Progress(server.system_id, point, 0, point - 1, None)

    def _show_blocking(self, store: Store, transport: Transport) -> Callable[[], None]:
        """A slot waits for the transactions that run: show which, or nobody would know why nothing happens."""
        next_s = self._clock.monotonic() + BLOCKED_S

        def show_blocking() -> None:
            nonlocal next_s
            if self._stop.is_set():
                raise DependencyUnavailable("asked to stop while making a slot")
            if self._clock.monotonic() < next_s:
                return
            next_s = self._clock.monotonic() + BLOCKED_S
            pids = store.find_blocking(transport.backend_pid)
            log.info("a slot waits for transactions", pids=pids)
            self._health.wait_for("postgres", f"a slot can be made when the transactions of {pids} have ended")

        return show_blocking

    # --- the snapshot -----------------------------------------------------------------------------------------------

    def _snapshot(self, found: _SessionParts, progress: Progress) -> Progress:
        """Make sure that a snapshot as it is wanted is in Kafka, and written down."""
        settings, store = self._settings, found.store
        self._health.wait_for("snapshot", "copying all tables")
        name = f"adriatic.cdc.{settings.cdc.slot}"
        # Ends what an earlier attempt left open, so that what is read next is final.
        producer = TransactionalProducer(settings.kafka, found.limits, name, self._clock)
        last = ledger.read_last(settings.kafka, found.partitions)
        newest_at = max((each.snapshot_at for each in last.values() if each.snapshot_at), default=None)
        if newest_at is not None and checks.snapshot_found(progress, newest_at):
            log.info("the snapshot was there", at=show(newest_at))
            store.snapshot_done(progress, newest_at, progress.committed_at_us)
            return replace(progress, snapshot_lsn=newest_at)
        with self._transport() as transport:
            exported = transport.export_snapshot(_temporary(settings.cdc.slot), self._show_blocking(store, transport))
            checks.require_same_wal(exported.point, _highest(last))
            for table, _ in found.encoders:
                store.table_state(table.name, "snapshot")
            log.info("snapshot starts", at=show(exported.point), tables=len(found.encoders))
            rows, taken_at_us, faults = snapshot.copy(
                settings.postgres, exported, found.encoders, producer, self._clock, self._stop.is_set
            )
        for table_name, fault in faults.items():
            stop_table(store, found.tables, table_name, fault)
        store.snapshot_done(progress, exported.point, taken_at_us)
        log.info("snapshot done", at=show(exported.point), rows=rows)
        self._health.clear("snapshot")
        return replace(progress, snapshot_lsn=exported.point, committed_at_us=taken_at_us)

    # --- what there is ----------------------------------------------------------------------------------------------

    def _broker(self) -> tuple[dict[str, int], dict[str, int]]:
        """Ask for the partitions of each topic that we write (of tables, of events, of dead letters), and for its
        largest record in bytes."""
        ours = [name for name, topic in self._contracts.topics.items() if topic.kind != "feed"]
        found = KafkaAdmin(self._settings.kafka).topics(ours)
        missing = [name for name in ours if name not in found or found[name].partitions < 1]
        if missing:
            raise Unprepared(f"no topic {', '.join(missing)}", hint="run `adriatic topics apply`", coordinates=KAFKA)
        partitions = {name: found[name].partitions for name in ours}
        limits = {name: int(found[name].config.get("max.message.bytes", RECORD_BYTES_DEFAULT)) for name in ours}
        return partitions, limits

    def _on_broker(self, partitions: Mapping[str, int]) -> Contracts:
        """The contracts, with as many partitions as the broker has: more than the file says is fine, and then that
        many are used."""
        topics = {
            name: msgspec.structs.replace(topic, partitions=partitions.get(name, topic.partitions))
            for name, topic in self._contracts.topics.items()
        }
        return replace(self._contracts, topics=topics)

    def _events(self, contracts: Contracts) -> outbox.EventEncoder:
        """Every id is asked for now, so that an outage of the registry later on stops nothing."""
        encoders = {name: contracts.encoders(name) for name, topic in contracts.topics.items() if topic.kind == "event"}
        return outbox.EventEncoder(contracts.topics, encoders)

    def _learn(self, store: Store, tables: Tables, published: list[Published]) -> list[tuple[Published, TableEncoder]]:
        """The encoders of the tables that are not stopped; tables that do not fit are stopped now."""
        encoders = []
        for name in tables.stopped:
            metrics.CDC_TABLE_STOPPED.labels(table=name).set(1)
        for table in published:
            try:
                encoder = tables.learn(table.relation)
            except (NoContract, ContractMismatch) as error:
                stop_table(store, tables, table.name, error)
                continue
            if encoder is not None:
                metrics.CDC_TABLE_STOPPED.labels(table=table.name).set(0)
                encoders.append((table, encoder))
        return encoders

    # --- what is shown ----------------------------------------------------------------------------------------------

    def _ready(self) -> None:
        for wait in (*WAITS, "snapshot"):
            self._health.clear(wait)
        self._health.ready()

    def _show_progress(self, store: Store, to: Confirmed) -> None:
        """About once a second: metrics and facts."""
        producer, tables = self._producer, self._tables
        assert producer is not None
        assert tables is not None
        self._count(producer)
        if to.lsn > self._holes_end:
            self._holes.clear()
        self._committed_at_us = to.committed_at_us or self._committed_at_us
        facts: dict[str, Any] = {"slot": self._settings.cdc.slot, "lsn": show(to.lsn)}
        if self._clock.monotonic() >= self._facts_at:
            self._facts_at = self._clock.monotonic() + FACTS_S
            slot = store.slot()
            if slot is not None:
                metrics.CDC_SLOT_WAL_BYTES.set(slot.wal_bytes or 0)
                facts["slot_wal_bytes"] = slot.wal_bytes
        facts["tables"] = {"stopped": dict(tables.stopped)}
        facts["records"] = sum(self._records.values())
        for name, value in facts.items():
            self._health.set_fact(name, value, FRESH_S if name == "lsn" else None)
        self._show_behind()

    def _behind_s(self) -> float:
        """Age of the newest commit that is known to be in Kafka; not a number while that is not known."""
        if self._committed_at_us is None:
            return float("nan")
        return max(0.0, self._clock.now().timestamp() - self._committed_at_us / 1_000_000)

    def _show_behind(self) -> None:
        """Set the gauge to a function: it grows by itself while a session hangs."""
        self._health.set_fact("behind_s", self._behind_shown)

    def _behind_shown(self) -> float | str:
        return "unknown" if self._committed_at_us is None else round(self._behind_s(), 3)

    def _count(self, producer: IdempotentProducer) -> None:
        for topic, count in producer.delivered.items():
            metrics.CDC_EVENTS.labels(topic=topic).inc(count)
            self._records[topic] = self._records.get(topic, 0) + count
        producer.delivered.clear()


def _highest(last: Mapping[TopicPartition, Last]) -> int:
    return max((found.pos.commit for found in last.values()), default=0)


def _temporary(slot: str) -> str:
    """Slots' names have at most 63 characters."""
    return f"{slot[:50]}_snapshot"
