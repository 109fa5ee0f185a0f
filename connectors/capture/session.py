"""One session of change capture, from the lock to its end.

Owns the order of its steps, and what is found on the way: nothing is produced before the log and the database are known
to belong together (R12), and before the session is written down. Refuses to try again (`source.py`), to do I/O but
through the ports, and to decide (`checks.py`, `identity.py`).

    lock ─▶ predecessor ─▶ checks ─▶ topics ─▶ [slot] ─▶ [snapshot]
         ─▶ START ─▶ tails ─▶ [rehearsal, START] ─▶ session ─▶ stream
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from connectors.capture import checks, identity, outbox
from connectors.capture.checks import Progress, Server
from connectors.capture.config import CaptureConfig
from connectors.capture.encoder import TableEncoder, TransactionOrigin
from connectors.capture.ends import Ends
from connectors.capture.ledger import Ledger
from connectors.capture.loop import drive
from connectors.capture.pgoutput import Insert
from connectors.capture.ports import (
    CaptureState,
    FilledTopic,
    Meanwhile,
    Producer,
    RecordLog,
    RecordTransaction,
    Router,
    Snapshot,
    StateDatabase,
    Stopping,
    TopicContracts,
    Wal,
    WalSession,
    Written,
)
from connectors.capture.publication import Published
from connectors.capture.rehearsal import Rehearsal, rehearse
from connectors.capture.shown import Shown
from connectors.capture.snapshot import Copied, MakeRecord, SnapshotCopy
from connectors.capture.stream import PROGRESS_S, Parts, Stream, StreamStart, keep_dead_letter, stop_table
from connectors.capture.tables import ContractMismatch, NoContract, SizedContracts, Tables
from connectors.capture.tails import EVERYTHING, Tails, read_tails, require_lasts
from connectors.capture.tracker import Confirmed
from connectors.capture.translator import Translator, guard
from connectors.kafka.errors import KAFKA
from connectors.kafka.producer import DELIVERY_TIMEOUT_S, EncodedRecord
from connectors.kafka.records import TopicPartition
from connectors.postgres.beats import Beat
from connectors.postgres.lsn import show
from runtime.clock import Clock
from runtime.errors import AdriaticError, DataError, DependencyUnavailable, Unprepared
from runtime.logs import get_logger

log = get_logger("cdc")

BLOCKED_S = 2.0
"""How often it is looked up what a new slot waits for."""
OUTWAIT_SLACK_S = 2.0
"""More than an old capture needs from its last look at the lock to its last record, and a timer to be late."""
OUTWAIT_LOOK_S = 0.25
"""Time between two looks whether the process before has ended."""
SNAPSHOT_NAME_CHARS = 50
"""Slots' names have at most 63 characters."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The world of one capture."""

    wal: Wal
    log: RecordLog
    database: StateDatabase
    contracts: TopicContracts
    router: Router
    process: str
    """The name of this process."""
    has_ended: Callable[[str], bool]
    """Whether the process of this name has certainly ended."""


@dataclass(frozen=True, slots=True)
class Around:
    """What a session shares with those before it: who is told, the time, ids, and whether to stop."""

    shown: Shown
    clock: Clock
    new_id: Callable[[], UUID]
    stopping: Stopping


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics that we write: of tables, of events, of dead letters. `limits`: the largest record of each, in bytes.
    `more`: those with more partitions than are used."""

    contracts: SizedContracts
    limits: dict[str, int]
    filled: dict[str, FilledTopic]
    learnt: dict[str, FilledTopic]
    more: tuple[str, ...]

    @property
    def sources(self) -> list[TopicPartition]:
        return [
            TopicPartition(name, number)
            for name in self.limits
            for number in range(self.contracts.topics[name].partitions)
        ]


class CaptureSession:
    """See the module. `run` once."""

    def __init__(self, config: CaptureConfig, ports: Ports, state: CaptureState, around: Around) -> None:
        self._config = config
        self._ports = ports
        self._state = state
        self._shown = around.shown
        self._clock = around.clock
        self._around = around
        self._beat: Beat | None = None
        self._beat_due_s = 0.0
        self._server: Server
        self._topics: Topics
        self._tables: Tables
        self._events: outbox.EventEncoder
        self._ends: Ends

    def run(self) -> None:
        """Returns when asked to stop. Raises what ended it otherwise."""
        config, state = self._config, self._state
        state.lock()
        log.info("session starts", slot=config.slot)
        self._outwait_predecessor()
        self._server = state.server(config.publication)
        checks.require_server(self._server, config.publication)
        progress = checks.resume(config.slot, state.slot(), state.progress(), self._server)
        self._topics = self._find_topics()
        self._events = self._make_events()
        published = state.read_published(config.publication)
        if progress is None:
            progress = self._create_slot()
        self._tables = self._make_tables()
        encoders = self._learn(published)
        self._shown.tend(self._tend)
        if progress.snapshot_lsn is None:
            progress = self._snapshot(progress, published, encoders)
        for table, _ in encoders:
            if table.name not in self._tables.stopped:
                state.table_state(table.name, "streaming")
        self._stream(progress)

    def _outwait_predecessor(self) -> None:
        """A capture whose connections were cut, and that stood still at that instant, may go on with records that it
        handed over before. Whoever may still run is waited out until the last of them is too old to be sent (R8). It
        hands over nothing new: each beat asks whether the lock is still its own."""
        process, ports, clock = self._state.predecessor(), self._ports, self._clock
        if process is None or process == ports.process or ports.has_ended(process):
            return
        wait_s = self._config.heartbeat_s + DELIVERY_TIMEOUT_S + OUTWAIT_SLACK_S
        log.info("waiting until nothing of the capture before can arrive any more", process=process, seconds=wait_s)
        self._shown.wait_for(
            "predecessor", f"records of the capture before, process {process}, may arrive for {wait_s:.0f} s"
        )
        until_s = clock.monotonic() + wait_s
        while clock.monotonic() < until_s and not ports.has_ended(process):
            self._require_running()
            clock.sleep(OUTWAIT_LOOK_S)
        self._shown.clear("predecessor")

    # --- what there is ----------------------------------------------------------------------------------------------

    def _find_topics(self) -> Topics:
        """The topics, as many partitions of each as keys are spread over, and how far they are filled."""
        contracts = self._ports.contracts
        ours = [name for name, topic in contracts.topics.items() if topic.kind != "feed"]
        found = self._ports.log.topics(ours)
        filled = {name: topic for name, topic in self._state.read_topics().items() if name in set(ours)}
        if missing := [name for name in ours if name not in found]:
            identity.require_topics(filled, missing)
            raise Unprepared(f"no topic {', '.join(missing)}", hint="run `adriatic topics apply`", coordinates=KAFKA)
        used = identity.compare_topics(filled, found)
        if used.more:
            log.warning("topics have more partitions than are used: keys stay where they are", topics=used.more)
        sized = {
            name: msgspec.structs.replace(topic, partitions=used.partitions.get(name, topic.partitions))
            for name, topic in contracts.topics.items()
        }
        limits = {name: found[name].record_bytes_max for name in ours}
        self._ends = Ends({**filled, **used.learnt})
        return Topics(SizedContracts(sized, contracts), limits, {**filled, **used.learnt}, used.learnt, used.more)

    def _make_events(self) -> outbox.EventEncoder:
        """Every id is asked for now, so that an outage of the registry later on stops nothing."""
        topics, contracts = self._topics.contracts.topics, self._topics.contracts
        encoders = {name: contracts.encoders(name) for name, topic in topics.items() if topic.kind == "event"}
        return outbox.EventEncoder(topics, encoders, self._ports.router)

    def _make_tables(self) -> Tables:
        return Tables(self._topics.contracts, self._ports.router, self._server.database, self._state.read_stopped())

    def _learn(self, published: list[Published]) -> list[tuple[Published, TableEncoder]]:
        """The encoders of the tables that are not stopped; tables that do not fit are stopped now."""
        encoders = []
        self._shown.show_stopped(self._tables.stopped)
        for table in published:
            try:
                encoder = guard(self._tables.learn, table.relation)
            except (NoContract, ContractMismatch, DataError) as error:
                stop_table(self._state, self._tables, table.name, error)
                continue
            if encoder is not None:
                self._shown.show_started(table.name)
                encoders.append((table, encoder))
        return encoders

    def _tend(self) -> None:
        """When it cannot be done the next time is good enough: a day that nobody made has its place."""
        try:
            self._state.tend_outbox()
        except AdriaticError as error:
            log.warning("outbox not tended", code=error.code, detail=error.detail)

    # --- whose log it is --------------------------------------------------------------------------------------------

    def _compare(self, since: int, meanwhile: Meanwhile) -> Tails:
        """What the log has from `since` on, all of it from sessions and positions that this database knows. Raises
        `ForeignLog` and `LogLost`."""
        state, clock = self._state, self._clock
        bounds = self._ports.log.bounds(self._topics.sources, meanwhile)
        identity.require_ends(self._topics.filled, bounds)
        require_lasts(self._ports.log, bounds, self._ends.lasts, meanwhile)
        tails = read_tails(self._ports.log, bounds, since, self._ends.lasts, clock, meanwhile)
        known = state.read_beats(set(tails.beats))
        for beat, at in tails.beats.values():
            identity.require_known(beat, known, at.source, at.pos)
        if tails.unsigned is not None:
            identity.require_earlier_release(tails.unsigned.pos, tails.unsigned.source, state.first_session_at())
        if tails.highest is not None:
            identity.require_reached(tails.highest.pos, tails.highest.source, state.wal_end())
        self._ends.find(bounds, tails.newest)
        return tails

    def _begin(self) -> Beat:
        """Write down the session, and the topics that it will fill: from here on it may produce."""
        if self._beat is None:
            self._state.fill_topics(self._topics.learnt)
            self._beat = Beat(self._around.new_id(), 1)
            self._state.begin_session(self._beat, self._ports.process)
            self._beat_due_s = self._clock.monotonic() + PROGRESS_S
        return self._beat

    def _next_beat(self) -> bytes:
        """The header of the beat that records of a snapshot carry now."""
        beat = self._begin()
        if self._clock.monotonic() >= self._beat_due_s:
            beat = self._write_beat()
        return beat.header()

    def _write_beat(self) -> Beat:
        """Write down the next beat, and how far the topics are filled."""
        beat = self._begin()
        self._beat_due_s = self._clock.monotonic() + PROGRESS_S
        self._beat = beat._replace(number=beat.number + 1)
        self._state.write(Written(self._beat, None, False, 0, *self._ends.take_moved()))
        return self._beat

    # --- the slot and the snapshot ----------------------------------------------------------------------------------

    def _open_wal(self) -> WalSession:
        session = self._ports.wal.open()
        try:
            checks.require_delivery_time(session.sender_timeout_s, DELIVERY_TIMEOUT_S)
        except AdriaticError:
            session.close()
            raise
        return session

    def _create_slot(self) -> Progress:
        name = self._config.slot
        # First: a snapshot that is older than its slot would leave a gap between the two, wherever this process ends.
        self._state.renew_snapshot(self._around.new_id())
        with closing(self._open_wal()) as session:
            point = session.create_slot(name, self._show_blocking(session))
        log.info("slot created", slot=name, at=show(point))
        return Progress(self._server.system_id, point, 0, point - 1, None)

    def _show_blocking(self, session: WalSession) -> Meanwhile:
        """A slot waits for the transactions that run: show which, or nobody would know why nothing happens."""
        next_s = self._clock.monotonic() + BLOCKED_S

        def show_blocking() -> None:
            nonlocal next_s
            if self._around.stopping():
                raise DependencyUnavailable("asked to stop while making a slot")
            if self._clock.monotonic() < next_s:
                return
            next_s = self._clock.monotonic() + BLOCKED_S
            pids = self._state.find_blocking(session.backend_pid)
            log.info("a slot waits for transactions", pids=pids)
            self._shown.wait_for("postgres", f"a slot can be made when the transactions of {pids} have ended")

        return show_blocking

    def _snapshot(
        self, progress: Progress, published: list[Published], encoders: list[tuple[Published, TableEncoder]]
    ) -> Progress:
        """Make sure that the snapshot that is wanted is in Kafka, and written down."""
        self._shown.wait_for("snapshot", "copying all tables")
        wanted = self._state.want_snapshot(self._around.new_id())
        # Ends what an earlier attempt left open, so that what is read next is final.
        transaction = self._ports.log.transaction(f"adriatic.cdc.{self._config.slot}", self._topics.limits)
        try:
            tails = self._compare(EVERYTHING, self._require_running)
            at = checks.snapshot_found(wanted, tails.snapshots, progress.lsn)
            if at is not None:
                log.info("the snapshot was there", at=show(at))
                transaction.abort()
                return self._note_snapshot(progress, at, progress.committed_at_us)
            if wanted in tails.snapshots:
                wanted = self._around.new_id()
                self._state.renew_snapshot(wanted)
            copies = self._copies(published, encoders)
            with closing(self._open_wal()) as session:
                name = f"{self._config.slot[:SNAPSHOT_NAME_CHARS]}_snapshot"
                exported = session.export_snapshot(name, self._show_blocking(session))
                taken_at_us = self._copy(exported, wanted, copies, transaction)
        except BaseException:
            transaction.abort()
            raise
        return self._note_snapshot(progress, exported.point, taken_at_us)

    def _note_snapshot(self, progress: Progress, at: int, committed_at_us: int) -> Progress:
        # First: from then on our account speaks for the snapshot, so that a log without it must be known by its ends.
        self._write_beat()
        self._state.snapshot_done(progress, at, committed_at_us)
        self._shown.clear("snapshot")
        return replace(progress, snapshot_lsn=at, committed_at_us=committed_at_us)

    def _copies(
        self, published: list[Published], encoders: list[tuple[Published, TableEncoder]]
    ) -> list[tuple[Published, MakeRecord]]:
        copies: list[tuple[Published, MakeRecord]] = [(table, encoder.make_copy) for table, encoder in encoders]
        for table in published:
            if table.name == outbox.TABLE:
                copies.append((table, partial(self._copy_event, outbox.OutboxRelation(table.relation))))
        return copies

    def _copy(
        self,
        exported: Snapshot,
        wanted: UUID,
        copies: list[tuple[Published, MakeRecord]],
        transaction: RecordTransaction,
    ) -> int:
        """Copy, commit, and stop the tables that have a row without a record. Returns when the snapshot was taken."""
        with closing(self._ports.wal.rows(exported)) as rows:
            self._begin()
            for table, _ in copies:
                if table.name != outbox.TABLE:
                    self._state.table_state(table.name, "snapshot")
            log.info("snapshot starts", at=show(exported.point), tables=len(copies))
            copied = Copied(rows, exported, wanted, copies, transaction, self._ends, self._next_beat)
            copy = SnapshotCopy(copied, self._clock, self._around.stopping)
            drive([copy], self._around.stopping)
            if not copy.done:
                raise DependencyUnavailable("asked to stop in the middle of the snapshot")
            transaction.commit(self._around.stopping)
        self._ends.require_growth()
        for name, fault in copy.faults.items():
            stop_table(self._state, self._tables, name, fault)
        log.info("snapshot done", at=show(exported.point), rows=copy.count)
        return rows.taken_at_us

    def _copy_event(
        self, relation: outbox.OutboxRelation, row: Insert, origin: TransactionOrigin, *at: int
    ) -> EncodedRecord | None:
        """An event that the outbox still has, to its topic once more. One that cannot be encoded is a dead letter."""
        event = None
        try:
            event = guard(relation.event, row.new)
            _, ordinal, _ = at
            if event.topic in self._tables.stopped:
                return None
            return guard(self._events.record, event, origin, ordinal)
        except DataError as error:
            keep_dead_letter(self._state, self._events, event, origin.commit, error)
            return None

    def _require_running(self) -> None:
        if self._around.stopping():
            raise DependencyUnavailable("asked to stop")

    # --- the stream -------------------------------------------------------------------------------------------------

    def _stream(self, progress: Progress) -> None:
        assert progress.snapshot_lsn is not None
        with closing(self._open_wal()) as wal:
            wal.start(self._config.slot, self._config.publication)
            self._require_unmoved(progress)

            def meanwhile() -> None:
                self._require_running()
                wal.keep_alive()

            # Only now: while another reader held the slot it could still write.
            tails = self._compare(max(progress.lsn, progress.snapshot_lsn), meanwhile)
            ledger = tails.ledger()
            producer = self._ports.log.producer(self._topics.limits)
            try:
                if ledger.highest:
                    self._rehearse(wal, ledger, producer, progress.snapshot_lsn)
                self._run(wal, ledger, producer, progress)
                if self._beat is not None and not producer.unacked:
                    self._state.end_session(self._beat.session)
            finally:
                wal.close()  # first: Postgres must not wait for us while Kafka keeps us waiting (R6)
                producer.close(self._around.stopping)

    def _rehearse(self, wal: WalSession, ledger: Ledger, producer: Producer, snapshot_lsn: int) -> None:
        """Compare the log with the WAL, and go back to where the WAL began."""
        log.info("comparing the log with the WAL", up_to=show(ledger.highest))
        self._shown.wait_for("ledger", "comparing the log with the WAL")
        tables = self._make_tables()
        rehearsal = Rehearsal(ledger, tables, producer.check)
        translator = Translator(
            *(rehearsal, tables, self._events, self._state.own_heartbeat),
            *(snapshot_lsn, self._state.newest_xid(), self._clock),
        )
        beat: Callable[[], Any] = partial(self._state.write, Written(None, None, True, 0, {}))
        rehearse(wal, rehearsal, translator, ledger.highest, beat, self._clock, self._around.stopping)
        wal.start(self._config.slot, self._config.publication)
        ledger.rewind()

    def _run(self, wal: WalSession, ledger: Ledger, producer: Producer, progress: Progress) -> None:
        assert progress.snapshot_lsn is not None
        parts = Parts(*(wal, producer, self._state, self._tables, self._events, ledger, self._ends), self._topics.more)
        confirmed = Confirmed(progress.lsn, progress.committed_at_us)
        start = StreamStart(confirmed, self._begin(), progress.snapshot_lsn, self._state.newest_xid())
        stream = Stream(parts, self._config, start, self._clock, self._tell)
        log.info("streaming", slot=self._config.slot, since=show(progress.lsn))
        self._shown.show_streaming(confirmed)
        stream.run(self._around.stopping)

    def _tell(self, told: Any) -> None:
        self._shown.hear(told)
        self._shown.tend(self._tend)

    def _require_unmoved(self, progress: Progress) -> None:
        """Check that nobody moved the slot between the check and START: now that it is ours nobody can."""
        slot = self._state.slot()
        if slot is None or slot.confirmed > progress.lsn:
            raise DependencyUnavailable("the slot was changed while capture started")
