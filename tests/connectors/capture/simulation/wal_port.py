"""The simulated walsender, as `ports.Wal` wants it.

Owns what a server sends and in which order, its keepalives, its patience, and a slot that is one connection's at a
time. Keepalives come when the server is idle, and in storms: between any two messages, in the middle of transactions,
with the question whether anybody is there. A status message reaches the server a little later, also when its sender is
dead by then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING

from connectors.capture.pgoutput import Tuple
from connectors.capture.ports import Data, Keepalive, Meanwhile, Snapshot
from connectors.capture.publication import Published
from connectors.postgres.lsn import show
from runtime.errors import DependencyUnavailable, Halted
from tests.connectors.capture.simulation.clockwork import NEVER_S
from tests.connectors.capture.simulation.database import Database, Row, Slot
from tests.connectors.capture.simulation.wal import (
    ITEMS,
    RELATION_ITEM,
    RELATION_OUTBOX,
    RELATION_OUTBOX_DAY,
    Committed,
    event_cells,
    item_cells,
    relation_message,
)

if TYPE_CHECKING:
    from tests.connectors.capture.simulation.capture import Running

SENDER_TIMEOUT_S = 60.0
STATUS_EVERY_S = 10.0
STATUS_LATENCY_S = 0.002
CLOSE_S = 0.008
"""Ending a connection takes longer than a producer waits for company."""
STEP_S, STEP_S_MAX = 0.01, 0.25
"""The shortest nap of a process that waits while nothing is due, and the longest. Naps grow while nothing happens, so
that a long silence costs few of them."""
RELATIONS = (RELATION_ITEM, RELATION_OUTBOX)
_PIDS = count(100)


class SimulatedWal:
    def __init__(self, running: Running) -> None:
        self._running = running

    def open(self) -> SimulatedWalSession:
        return SimulatedWalSession(self._running)

    def rows(self, snapshot: Snapshot) -> SimulatedRows:
        return SimulatedRows(self._running, snapshot)


class SimulatedWalSession:
    """One replication connection."""

    def __init__(self, running: Running) -> None:
        running.call()
        self._running = running
        self._world = running.world
        self._database = running.database()
        self.sender_timeout_s = SENDER_TIMEOUT_S
        self.backend_pid = next(_PIDS)
        self._closed = False
        self._cut = False
        self.gone_at_s = NEVER_S
        """When the server notices that the process of this connection is dead."""
        self._heard_at_s = self._world.clockwork.now_s
        self._status_at_s = 0.0
        self._slot: Slot | None = None
        self._temporary: str | None = None
        self._inbox: deque[Data | Keepalive] = deque()
        self._at = 0
        self._sent = self._asked = 0
        self._known: set[int] = set()
        self._flushed = 0
        self._naps = 0
        running.connections.append(self)

    # --- the server's side ------------------------------------------------------------------------------------------

    def is_live(self) -> bool:
        """Whether the server still keeps this connection. It gives up on a client that is silent for too long."""
        if self._cut or self._closed or not self._database.up or self._world.database is not self._database:
            return False
        now_s = self._world.clockwork.now_s
        return now_s < self.gone_at_s and (self._slot is None or now_s - self._heard_at_s < SENDER_TIMEOUT_S)

    def cut(self) -> None:
        """The server ends the connection."""
        self._cut = True

    def _require_live(self) -> None:
        self._running.call()
        if not self.is_live():
            raise DependencyUnavailable("the replication connection is gone")

    def _hear(self, flushed: int) -> None:
        """A status message arrives."""
        if self.is_live() and self._slot is not None and self._slot.holder is self:
            self._heard_at_s = self._world.clockwork.now_s
            self._slot.confirmed = max(self._slot.confirmed, flushed)

    # --- commands ---------------------------------------------------------------------------------------------------

    def create_slot(self, name: str, meanwhile: Meanwhile) -> int:
        self._require_live()
        meanwhile()
        if name in self._database.slots:
            raise DependencyUnavailable(f"slot {name} exists")
        point = self._database.end
        self._database.slots[name] = Slot(point, point)
        self._running.nap(0.005)
        self._require_live()
        return point

    def export_snapshot(self, name: str, meanwhile: Meanwhile) -> Snapshot:
        self._require_live()
        meanwhile()
        database = self._database
        point = database.end
        exported = f"{name}-{self.backend_pid}"
        database.snapshots[exported] = (dict(database.rows), dict(database.events), self._world.clockwork.now_us)
        self._running.nap(0.005)
        self._require_live()
        return Snapshot(point, exported)

    def start(self, slot: str, publication: str) -> None:
        self._require_live()
        found = self._database.slots.get(slot)
        if found is None:
            raise DependencyUnavailable(f"there is no slot {slot}")
        if found.lost:
            raise Halted(f"slot {slot} is lost")
        holder = found.holder
        if isinstance(holder, SimulatedWalSession) and holder is not self and holder.is_live():
            raise DependencyUnavailable(f"slot {slot} is active for {holder.backend_pid}")
        found.holder, self._slot = self, found
        self._inbox.clear()
        self._known.clear()
        self._begin = found.confirmed
        self._at = self._database.position_of(found.confirmed)
        self._sent = self._asked = found.confirmed
        self._heard_at_s = self._world.clockwork.now_s
        self._status_at_s = self._world.clockwork.now_s + STATUS_EVERY_S

    # --- the stream -------------------------------------------------------------------------------------------------

    def receive(self) -> Sequence[Data | Keepalive]:
        self._require_live()
        got: list[Data | Keepalive] = []
        most = self._world.weather.receive_max
        while len(got) < most and (self._inbox or self._decode_next()):
            message = self._inbox.popleft()
            if isinstance(message, Keepalive) and self._world.weather.keepalives_ask:
                self._send_status()
            got.append(message)
        if got:
            self._naps = 0
        return got

    def _decode_next(self) -> bool:
        """Put what the server sends next into the inbox; whether there was anything."""
        database, storm = self._database, self._world.weather.keepalive_storm
        if self._at >= len(database.entries):
            if database.end > self._asked or storm:
                self._asked = self._sent = database.end
                self._inbox.append(Keepalive(database.end, self._world.clockwork.now_us))
                self._world.weather.keepalive_storm = max(0, storm - 1)
                return True
            return False
        entry = database.entries[self._at]
        self._at += 1
        if isinstance(entry, Committed):
            self._send_transaction(entry)
            self._sent = entry.end
        else:
            self._inbox.append(Data(entry.lsn, entry.message))
            self._sent = entry.lsn
        if storm:
            self._keepalive(self._sent)
        return True

    def _send_transaction(self, committed: Committed) -> None:
        for number, (start, payload) in enumerate(committed.messages):
            for relation in RELATIONS:
                needed = payload[:1] in b"IUD" and payload[1:5] == relation.relation_id.to_bytes(4, "big")
                if needed and relation.relation_id not in self._known:
                    self._known.add(relation.relation_id)
                    if relation is RELATION_OUTBOX:
                        self._inbox.append(Data(0, relation_message(RELATION_OUTBOX_DAY)))
                    self._inbox.append(Data(0, relation_message(relation)))
            self._inbox.append(Data(start, payload))
            if self._world.weather.keepalive_storm and number + 1 < len(committed.messages):
                # The server has sent everything that was committed before this commit; it may say so.
                self._keepalive(committed.commit if number % 2 else self._sent)

    def _keepalive(self, end: int) -> None:
        self._world.weather.keepalive_storm -= 1
        self._inbox.append(Keepalive(end, self._world.clockwork.now_us))

    def wait(self, timeout_s: float) -> None:
        """A client that waits while nothing is due may as well sleep longer, up to a bound: time is cheap that way."""
        self._require_live()
        if self._inbox or self._at < len(self._database.entries):
            self._naps = 0
            self._running.nap(min(timeout_s, 0.001))
            return
        self._naps += 1
        self._running.nap(max(timeout_s, min(STEP_S * self._naps, STEP_S_MAX)), until_due=True)

    def keep_alive(self) -> None:
        self._running.call()
        if self._world.clockwork.now_s >= self._status_at_s:
            self._require_live()
            self._send_status()

    def acknowledge(self, flushed: int) -> None:
        self._require_live()
        self._world.oracle.acknowledged(self._database, flushed)
        if flushed > self._flushed:
            self._flushed = flushed
            self._send_status()

    def _send_status(self) -> None:
        self._status_at_s = self._world.clockwork.now_s + STATUS_EVERY_S
        flushed = self._flushed
        if not self._world.weather.statuses_lost:
            self._world.clockwork.after(STATUS_LATENCY_S, lambda: self._hear(flushed))
        else:
            self._heard_at_s = self._world.clockwork.now_s

    def close(self) -> None:
        self._running.call()
        self._closed = True
        if self._slot is not None and self._slot.holder is self:
            self._slot.holder = None
        self._running.nap(CLOSE_S)


class SimulatedRows:
    """The rows of a snapshot."""

    def __init__(self, running: Running, snapshot: Snapshot) -> None:
        running.call()
        self._running = running
        self._database: Database = running.database()
        found = self._database.snapshots.get(snapshot.name)
        if found is None:
            raise DependencyUnavailable(f"there is no snapshot {snapshot.name} at {show(snapshot.point)}")
        self._items, self._events, self.taken_at_us = found

    def read(self, table: Published) -> Iterator[Tuple]:
        is_items = table.name == ITEMS
        rows: dict[Row, str] = self._items if is_items else self._events
        for tenant, number in sorted(rows):
            self._running.call()
            text = rows[tenant, number]
            yield item_cells(tenant, number, text) if is_items else event_cells(tenant, number, text)

    def close(self) -> None:
        self._running.call()
