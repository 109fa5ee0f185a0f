"""A simulated Postgres: a WAL, rows, slots, and the tables in which capture keeps its account.

Owns what is durable, and what a copy of it is. A database that is restored is another `Database` whose past is the
copy's, with the account in it as it was then; it goes on at the same positions with other transactions. Refuses to know
processes: connections (`wal_port.py`, `state_port.py`) are bound to one database and end with it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from uuid import UUID

from connectors.capture.checks import Progress
from connectors.capture.ports import FilledTopic
from connectors.kafka.records import TopicPartition
from tests.connectors.capture.simulation.wal import (
    EVENTS_TOPIC,
    ITEMS_TOPIC,
    Change,
    Committed,
    Entry,
    Note,
    partition_of,
)

SLOT, PUBLICATION, DATABASE = "adriatic", "adriatic", "db"
SYSTEM_ID = "7000000000000000001"
FIRST_LSN = 0x1_0000
COMMIT_BYTES, CHANGE_BYTES, ACCOUNT_BYTES, NOTE_BYTES = 16, 16, 48, 24
"""How much WAL things make. Small and round numbers: another future soon has the same positions."""

Row = tuple[int, int]
"""Tenant and id."""


@dataclass
class Slot:
    """`saved`: the position that is on disk, to which a server that crashed goes back."""

    confirmed: int
    saved: int
    holder: object | None = None
    """The connection that streams from it."""
    lost: bool = False


@dataclass
class Account:
    """The tables `ops.cdc_*`."""

    progress: Progress | None = None
    read_at_us: int = 0
    sessions: dict[UUID, tuple[int, int]] = field(default_factory=dict)
    unended: dict[UUID, str] = field(default_factory=dict)
    """The process of each session that has not ended."""
    """The beat of each session, and where the WAL ended when it began."""
    topics: dict[str, FilledTopic] = field(default_factory=dict)
    snapshot_id: UUID | None = None
    tables: dict[str, tuple[str, str]] = field(default_factory=dict)
    dead_letters: set[int] = field(default_factory=set)

    def copy(self) -> Account:
        return replace(
            self,
            sessions=dict(self.sessions),
            unended=dict(self.unended),
            topics=dict(self.topics),
            tables=dict(self.tables),
            dead_letters=set(self.dead_letters),
        )


class Database:
    """One cluster. `end`: where its WAL ends."""

    def __init__(self) -> None:
        self.system_id = SYSTEM_ID
        self.end = FIRST_LSN
        self.entries: list[Entry] = []
        self.rows: dict[Row, str] = {}
        self.events: dict[Row, str] = {}
        self.next_xid = 700
        self.next_event = 1
        self.account = Account()
        self.snapshot_ids: set[str] = set()
        """Of all the snapshots that were ever wanted."""
        self.slots: dict[str, Slot] = {}
        self.up = True
        self.locked_by: object | None = None
        self.clock_skew_us = 0
        self.snapshots: dict[str, tuple[dict[Row, str], dict[Row, str], int]] = {}

    def copy(self) -> Database:
        """Its files, while nothing is open."""
        twin = copy.copy(self)
        twin.entries = list(self.entries)
        twin.rows, twin.events = dict(self.rows), dict(self.events)
        twin.account = self.account.copy()
        twin.snapshot_ids = set(self.snapshot_ids)
        twin.slots = {name: Slot(slot.saved, slot.saved, None, slot.lost) for name, slot in self.slots.items()}
        twin.snapshots = {}
        twin.locked_by = None
        return twin

    def commit(self, changes: list[Change], now_us: int, *, touching: bool = False, lags: int = 8) -> Committed:
        """A transaction. `touching`: its commit follows the one before at once, so that the end of one is the position
        of the other."""
        at = self.end if touching else self.end + CHANGE_BYTES * len(changes)
        self.end = at + COMMIT_BYTES
        done = Committed(self.next_xid, at, self.end, now_us + self.clock_skew_us, tuple(changes), lags)
        self.next_xid += 1
        self.entries.append(done)
        for kind, tenant, row, text, new_row in changes:
            if kind == "event":
                self.events[tenant, row] = text
            elif kind == "delete":
                del self.rows[tenant, row]
            elif kind == "rekey":
                del self.rows[tenant, row]
                self.rows[tenant, new_row] = text
            elif kind != "note":
                self.rows[tenant, row] = text
        return done

    def load(self, now_us: int) -> None:
        """Its rows are from elsewhere: one transaction, and no past."""
        items = [Change("insert", tenant, row, text) for (tenant, row), text in self.rows.items()]
        events = [Change("event", tenant, row, text) for (tenant, row), text in self.events.items()]
        self.entries, self.rows, self.events = [], {}, {}
        self.commit([*items, *events], now_us)

    def note(self, prefix: str, content: bytes) -> None:
        self.entries.append(Note(self.end, prefix, content))
        self.end += NOTE_BYTES

    def want_snapshot(self, snapshot_id: UUID) -> None:
        self.account.snapshot_id = snapshot_id
        self.snapshot_ids.add(str(snapshot_id))

    def reset(self, snapshot_id: UUID, *, keep_slot: bool) -> None:
        """What `adriatic cdc reset` writes."""
        account = self.account
        account.tables.clear()
        self.want_snapshot(snapshot_id)
        account.topics = {
            name: replace(topic, may_differ=True, ends=(), lasts=()) for name, topic in account.topics.items()
        }
        if account.progress is not None and keep_slot:
            account.progress = replace(account.progress, snapshot_after=self.end, snapshot_lsn=None)
        elif not keep_slot:
            account.progress = None
        self.write_account()

    def write_account(self) -> None:
        """Tables that are not published make WAL, and nothing that a slot shows. They take an xid too."""
        self.end += ACCOUNT_BYTES
        self.next_xid += 1

    def transactions(self) -> list[Committed]:
        return [entry for entry in self.entries if isinstance(entry, Committed)]

    def rows_at(self, point: int) -> list[tuple[TopicPartition, str]]:
        """The rows as of a position, and where each belongs."""
        items: dict[Row, str] = {}
        found: list[tuple[TopicPartition, str]] = []
        for done in self.transactions():
            if done.commit >= point:
                break
            for kind, tenant, row, text, new_row in done.changes:
                if kind == "event":
                    found.append((TopicPartition(EVENTS_TOPIC, partition_of(tenant)), text))
                elif kind in ("delete", "rekey"):
                    del items[tenant, row]
                    if kind == "rekey":
                        items[tenant, new_row] = text
                elif kind != "note":
                    items[tenant, row] = text
        found += ((TopicPartition(ITEMS_TOPIC, partition_of(tenant)), text) for (tenant, _), text in items.items())
        return found

    def position_of(self, lsn: int) -> int:
        """The index of the first entry at or after `lsn`."""
        entries, low, high = self.entries, 0, len(self.entries)
        while low < high:
            middle = (low + high) // 2
            entry = entries[middle]
            if (entry.commit if isinstance(entry, Committed) else entry.lsn) < lsn:
                low = middle + 1
            else:
                high = middle
        return low
