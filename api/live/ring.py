"""The newest records of one partition, kept once for all readers of it. Pure.

Owns the bound on them, and what falls out: of each watched tenant how far, and (`DroppedCommits`) whether a snapshot
could miss it. Refuses to decode records: what it needs to know of one is in its headers.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from api.live.join import PgSnapshot
from connectors.kafka.records import Record
from connectors.postgres.beats import Beat
from connectors.postgres.xid import XID_MASK

RECORDS_MAX = 10_000
"""Most records of one partition: a reader that is further behind is cut, and so far back a reconnect is free."""
BYTES_MAX = 4_194_304
"""Most bytes of the same. A change of a view has some hundred bytes."""


@dataclass(slots=True)
class RowChange:
    """One record. What it decodes to, and its bytes as an event, are kept: readers of one tenant share them."""

    record: Record
    tenant_id: UUID | None
    lsn: int
    xid: int | None
    """The transaction that made it, in 32 bits; None: it is a copy, that no transaction made."""
    beat: Beat | None = None
    """The session of change capture that produced it, and how far that was."""
    decoded: Any = None
    data: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, record: Record) -> RowChange:
        xid = record.xid
        xid32 = None if xid is None else xid & XID_MASK
        return cls(record, record.tenant_id, record.lsn or 0, xid32, record.beat)


class DroppedCommits:
    """The commits that fell out of a ring, as long as a snapshot could miss them."""

    def __init__(self) -> None:
        self._newest: PgSnapshot | None = None
        self._unseen: dict[int, int | None] = {}
        self._joining = 0

    def drop(self, change: RowChange) -> None:
        """Note a change that is in the ring no more."""
        if self._joining or self._newest is None or not self._newest.has(change.xid, change.lsn):
            self._unseen[change.lsn] = change.xid

    def note_snapshot(self, seen: PgSnapshot) -> None:
        """A snapshot that was just taken: what it sees, later ones see too."""
        self._newest = seen
        if not self._joining:
            self._unseen = {lsn: xid for lsn, xid in self._unseen.items() if not seen.has(xid, lsn)}

    def begin_join(self) -> None:
        """Call before a snapshot is taken, and `end_join` when `are_in` was asked: what falls out meanwhile is kept in
        mind."""
        self._joining += 1

    def end_join(self) -> None:
        self._joining -= 1

    def are_in(self, seen: PgSnapshot) -> bool:
        """Whether a snapshot certainly has all of them."""
        return all(seen.has(xid, lsn) for lsn, xid in self._unseen.items())


class Ring:
    """Records from `first` on; reading goes on at `next`."""

    def __init__(self, start: int, records_max: int = RECORDS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self.first = self.next = start
        self.dropped = DroppedCommits()
        self._bounds = (records_max, bytes_max)
        self._bytes = 0
        self._all: deque[RowChange] = deque()
        self._of_tenant: dict[UUID, deque[RowChange]] = {}
        self._watched: Counter[UUID] = Counter()
        self._lost: dict[UUID, int] = {}

    def __len__(self) -> int:
        return len(self._all)

    def extend(self, records: Sequence[Record], position: int) -> set[UUID]:
        """Take what was read; returns whose changes are among it."""
        news: set[UUID] = set()
        for record in records:
            if record.value is None:
                continue  # a tombstone says again what the delete before it said
            change = RowChange.of(record)
            self._all.append(change)
            self._bytes += record.size_bytes
            if change.tenant_id is not None:
                self._of_tenant.setdefault(change.tenant_id, deque()).append(change)
                news.add(change.tenant_id)
        self.next = max(self.next, position)
        records_max, bytes_max = self._bounds
        while self._all and (len(self._all) > records_max or self._bytes > bytes_max):
            self._drop()
        return news

    def _drop(self) -> None:
        change = self._all.popleft()
        self._bytes -= change.record.size_bytes
        self.first = self._all[0].record.offset if self._all else self.next
        if change.tenant_id is not None:
            kept = self._of_tenant[change.tenant_id]
            kept.popleft()
            if not kept:
                del self._of_tenant[change.tenant_id]
            if change.tenant_id in self._watched:
                self._lost[change.tenant_id] = change.record.offset
        self.dropped.drop(change)

    def find_start(self, tenant_id: UUID, seen: PgSnapshot) -> int | None:
        """The first offset with a change of the tenant that `seen` does not see; None when one such may be missing
        here."""
        if not self.dropped.are_in(seen):
            return None
        for change in self._of_tenant.get(tenant_id, ()):
            if not seen.has(change.xid, change.lsn):
                return change.record.offset
        return self.next

    def watch(self, tenant_id: UUID) -> None:
        self._watched[tenant_id] += 1

    def unwatch(self, tenant_id: UUID) -> None:
        self._watched[tenant_id] -= 1
        if self._watched[tenant_id] <= 0:
            del self._watched[tenant_id]
            self._lost.pop(tenant_id, None)

    def has_lost(self, tenant_id: UUID, offset: int) -> bool:
        """Whether a change of a watched tenant at or after `offset` fell out."""
        return self._lost.get(tenant_id, -1) >= offset

    def since(self, tenant_id: UUID, offset: int, changes_max: int) -> list[RowChange]:
        """The tenant's first changes at and after `offset`, oldest first."""
        found: list[RowChange] = []
        for change in reversed(self._of_tenant.get(tenant_id, ())):
            if change.record.offset < offset:
                break
            found.append(change)
        found.reverse()
        return found[:changes_max]
