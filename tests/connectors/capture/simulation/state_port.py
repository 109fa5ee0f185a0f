"""The account of capture in the simulated database, as `ports.State` wants it.

Owns the connection: it ends with its database, when somebody cuts it, and when the server notices that its process is
dead. Each method is what the statements of `connectors/capture/store.py` do. A process can be killed before a
transaction and after it, before it knows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

from connectors.capture.checks import PLUGIN, Progress, Server
from connectors.capture.outbox import OutboxEvent
from connectors.capture.pgoutput import Message
from connectors.capture.ports import FilledTopic, Written
from connectors.capture.publication import Published
from connectors.postgres.beats import Beat
from connectors.postgres.wal import SlotState
from runtime.errors import AdriaticError, DependencyUnavailable
from tests.connectors.capture.simulation.clockwork import NEVER_S
from tests.connectors.capture.simulation.database import DATABASE, SLOT, Account
from tests.connectors.capture.simulation.wal import RELATION_ITEM, RELATION_OUTBOX

if TYPE_CHECKING:
    from tests.connectors.capture.simulation.capture import Running

STATEMENT_S = 0.001
HEARTBEAT_PREFIX = "heartbeat"
PUBLISHED = [Published(relation, None, False, ()) for relation in (RELATION_ITEM, RELATION_OUTBOX)]


class SimulatedDatabase:
    def __init__(self, running: Running) -> None:
        self._running = running

    @contextmanager
    def open(self) -> Iterator[SimulatedState]:
        state = SimulatedState(self._running)
        try:
            yield state
        finally:
            state.close()


class SimulatedState:
    def __init__(self, running: Running) -> None:
        running.call()
        self._running = running
        self._world = running.world
        self._database = running.database()
        self._nonce = f"{running.name}-{self._world.next_number()} ".encode()
        self._cut = self._closed = False
        self.gone_at_s = NEVER_S
        running.connections.append(self)

    def is_live(self) -> bool:
        lives = self._database.up and self._world.database is self._database
        return lives and not (self._cut or self._closed) and self._world.clockwork.now_s < self.gone_at_s

    def cut(self) -> None:
        self._cut = True

    def _begin(self) -> Account:
        self._running.call()
        if not self.is_live():
            raise DependencyUnavailable("the connection to the database is gone")
        return self._database.account

    def _end(self) -> None:
        """The transaction is durable; its maker hears of it a little later, or never."""
        self._running.nap(STATEMENT_S)
        if not self.is_live():
            raise DependencyUnavailable("the connection to the database is gone")

    def _commit(self) -> None:
        self._database.write_account()
        self._end()

    def lock(self) -> None:
        self._begin()
        holder = self._database.locked_by
        if isinstance(holder, SimulatedState) and holder is not self and holder.is_live():
            raise DependencyUnavailable("another capture is running")
        self._database.locked_by = self

    def close(self) -> None:
        self._running.call()
        self._closed = True

    # the catalogue

    def server(self, publication: str) -> Server:
        self._begin()
        return Server("logical", self._database.system_id, DATABASE, "of all tables")

    def slot(self) -> SlotState | None:
        self._begin()
        slot = self._database.slots.get(SLOT)
        if slot is None:
            return None
        live = slot.holder is not None and slot.holder.is_live()  # type: ignore[attr-defined]
        pid = 1 if live else None
        status = "lost" if slot.lost else "reserved"
        return SlotState(PLUGIN, DATABASE, pid, slot.confirmed, status, self._database.end - slot.confirmed)

    def read_published(self, publication: str) -> list[Published]:
        self._begin()
        return list(PUBLISHED)

    def wal_end(self) -> int:
        self._begin()
        return self._database.end

    def newest_xid(self) -> int:
        self._begin()
        return self._database.next_xid

    def find_blocking(self, pid: int) -> list[int]:
        self._begin()
        return []

    # progress

    def progress(self) -> Progress | None:
        return self._begin().progress

    def want_snapshot(self, snapshot_id: UUID) -> UUID:
        account = self._begin()
        wanted = account.snapshot_id or snapshot_id
        self._database.want_snapshot(wanted)
        self._commit()
        return wanted

    def renew_snapshot(self, snapshot_id: UUID) -> None:
        self._begin()
        self._database.want_snapshot(snapshot_id)
        self._commit()

    def snapshot_done(self, progress: Progress, snapshot_lsn: int, committed_at_us: int) -> None:
        account = self._begin()
        if account.progress is None:
            account.progress = replace(progress, committed_at_us=committed_at_us, snapshot_lsn=snapshot_lsn)
        else:
            account.progress = replace(account.progress, snapshot_lsn=snapshot_lsn)
        self._commit()

    def write(self, written: Written) -> None:
        account = self._begin()
        confirmed, beat, progress = written.confirmed, written.beat, account.progress
        if confirmed is not None:
            may = progress is not None and progress.snapshot_lsn is not None and progress.lsn <= confirmed.lsn
            if progress is None or not may:
                raise DependencyUnavailable("change capture was reset")
        if beat is not None and beat.session not in account.sessions:
            raise DependencyUnavailable("change capture was reset")
        if confirmed is not None and progress is not None:
            self._world.oracle.progressed(self._database, confirmed.lsn)
            account.progress = replace(progress, lsn=confirmed.lsn, committed_at_us=confirmed.committed_at_us)
        if beat is not None:
            before, began = account.sessions[beat.session]
            account.sessions[beat.session] = max(before, beat.number), began
        for name, ends in written.ends.items():
            if name in account.topics:
                lasts = tuple(written.lasts.get(name, ()))
                account.topics[name] = replace(account.topics[name], ends=tuple(ends), lasts=lasts)
        if written.heartbeat:
            account.read_at_us = written.read_at_us or account.read_at_us
            at_us = self._world.clockwork.now_us + self._database.clock_skew_us
            self._database.note(HEARTBEAT_PREFIX, self._nonce + b"%d" % at_us)
        self._commit()

    def own_heartbeat(self, message: Message) -> int | None:
        self._running.call()
        if message.prefix != HEARTBEAT_PREFIX or not message.content.startswith(self._nonce):
            return None
        number = message.content[len(self._nonce) :]
        return int(number) if number.isdigit() else None

    # sessions

    def begin_session(self, beat: Beat, process: str) -> None:
        account = self._begin()
        account.sessions[beat.session] = beat.number, self._database.end
        account.unended[beat.session] = process
        self._running.halted = None
        self._commit()

    def end_session(self, session: UUID) -> None:
        self._begin().unended.pop(session, None)
        self._commit()

    def predecessor(self) -> str | None:
        return next(reversed(self._begin().unended.values()), None)

    def read_beats(self, sessions: Collection[UUID]) -> Mapping[UUID, int]:
        known = self._begin().sessions
        return {session: known[session][0] for session in sessions if session in known}

    def first_session_at(self) -> int | None:
        return min((began for _, began in self._begin().sessions.values()), default=None)

    # topics

    def read_topics(self) -> Mapping[str, FilledTopic]:
        return dict(self._begin().topics)

    def fill_topics(self, topics: Mapping[str, FilledTopic]) -> None:
        self._begin().topics.update(topics)
        self._commit()

    # tables and events

    def read_stopped(self) -> dict[str, str]:
        return {name: code for name, (state, code) in self._begin().tables.items() if state == "stopped"}

    def table_state(self, table: str, state: str, error: AdriaticError | None = None) -> None:
        tables = self._begin().tables
        if tables.get(table, ("", ""))[0] != "stopped":
            tables[table] = state, error.code if error else ""
        self._commit()

    def dead_letter(self, event: OutboxEvent | None, lsn: int, error: AdriaticError) -> None:
        self._begin().dead_letters.add(event.event_id if event is not None else lsn)
        self._commit()

    def tend_outbox(self) -> None:
        self._begin()
