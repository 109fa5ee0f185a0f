"""Reading the log backwards, as far as our progress does not speak for it (R8, R12).

Owns the steps, the bounds, and what is kept of each record. Refuses to judge positions and transactions (`ledger.py`)
and sessions (`identity.py`). A record that is not ours is passed over.

At a bound (records, transactions, seconds) the partitions that are not read as far as that count as empty: everything
since is sent to them again. Doubles have the position of what they double; a gap would have none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from connectors.capture.checks import RECOVER
from connectors.capture.identity import ForeignLog, Label, LogLost, label_of
from connectors.capture.ledger import Identity, Ledger, Run
from connectors.capture.ports import Bounds, Meanwhile, RecordLog
from connectors.kafka.records import TopicPartition
from connectors.postgres.beats import Beat
from connectors.postgres.lsn import Pos, show
from runtime.clock import Clock
from runtime.logs import get_logger

log = get_logger("cdc")

STEP_RECORDS, STEP_GROWTH = 8, 8
"""First step back in each partition, and how much larger each next one is. One step nearly always finds the newest
record: the end of a transaction and compaction leave offsets without one."""
CHUNK_RECORDS_MAX = 50_000
"""Offsets read at once, over all partitions: some 25 MB of headers."""
TAIL_RECORDS_MAX = 4_000_000
"""Records kept, at sixteen bytes: 64 MB. A second of work has 20 000; only a transaction of millions has more."""
TAIL_TRANSACTIONS_MAX = 250_000
"""Transactions kept, at some 200 bytes: 50 MB."""
TAIL_S_MAX = 120.0
"""Time for all of it; a hundred thousand records take about a second."""
EVERYTHING = 2**64
"""A position after all: the newest record of each partition is enough."""


class Found(NamedTuple):
    """A record of ours, and where it lies."""

    source: TopicPartition
    pos: Pos


@dataclass(slots=True)
class Tails:
    """What was found in all partitions. `beats`: the highest of each session. `unsigned`, `highest`: the highest record
    of an earlier release, and of all. `snapshots`: where each was taken. `newest`: offset and position of the last
    record of each partition. `lasts`: the same, as it was written down before."""

    since: int
    lasts: Mapping[TopicPartition, tuple[int, Pos]] = field(default_factory=dict)
    runs: dict[TopicPartition, Run] = field(default_factory=dict)
    identities: dict[int, Identity] = field(default_factory=dict)
    beats: dict[UUID, tuple[Beat, Found]] = field(default_factory=dict)
    unsigned: Found | None = None
    highest: Found | None = None
    snapshots: dict[UUID, int] = field(default_factory=dict)
    newest: dict[TopicPartition, tuple[int, Pos]] = field(default_factory=dict)
    records: int = 0

    def ledger(self) -> Ledger:
        return Ledger(self.since, {source: run for source, run in self.runs.items() if len(run)}, self.identities)

    def take(self, source: TopicPartition, records: Iterable[tuple[int, Label]]) -> bool:
        """Offsets and records of a partition from the newest backwards; whether the one before `since` was among
        them. Raises `ForeignLog`."""
        run = self.runs.setdefault(source, Run())
        for offset, label in records:
            self.records += 1
            self._note(Found(source, label.pos), label)
            if label.pos.commit < self.since:
                self._require_in_time(source, offset, label)
                return True
            run.add_older(label.pos)
            self._identify(Found(source, label.pos), label)
        return False

    def _note(self, found: Found, label: Label) -> None:
        if self.highest is None or found.pos > self.highest.pos:
            self.highest = found
        if label.snapshot_id is not None and label.snapshot_at is not None:
            self.snapshots[label.snapshot_id] = label.snapshot_at
        if label.beat is None:
            if self.unsigned is None or found.pos > self.unsigned.pos:
                self.unsigned = found
        elif (known := self.beats.get(label.beat.session)) is None or label.beat.number > known[0].number:
            self.beats[label.beat.session] = label.beat, found

    def _require_in_time(self, source: TopicPartition, offset: int, label: Label) -> None:
        """Everything before `since` was in the log when that was written down, and so was the last record. What came
        later and is older was written by a capture that had lost its place: it may lie behind a younger record of its
        key. `since` = `EVERYTHING`: nothing is known of what is older."""
        last = self.lasts.get(source)
        if self.since != EVERYTHING and last is not None and offset > last[0]:
            raise ForeignLog(
                f"{source.topic}, partition {source.partition}, has a record at {show(label.pos.commit)} behind "
                f"younger ones, at offset {offset}: a capture that had lost its place wrote it, or somebody else",
                hint=RECOVER,
            )

    def _identify(self, found: Found, label: Label) -> None:
        identity = Identity(label.xid, label.committed_at_us)
        if self.identities.setdefault(found.pos.commit, identity) != identity:
            raise ForeignLog(
                f"two transactions have records at {show(found.pos.commit)}; one of them is in {found.source.topic}, "
                f"partition {found.source.partition}: they are of different databases, or forged",
                hint=RECOVER,
            )


def read_tails(
    log_port: RecordLog,
    bounds: Mapping[TopicPartition, Bounds],
    since: int,
    lasts: Mapping[TopicPartition, tuple[int, Pos]],
    clock: Clock,
    meanwhile: Meanwhile,
) -> Tails:
    """Every record that was committed at or after `since`, and at least the newest one of each partition. `lasts`: the
    last record of each that is written down. Raises `ForeignLog`."""
    tails = Tails(since, dict(lasts))
    until_s = clock.monotonic() + TAIL_S_MAX
    unread = {source: found.committed_end for source, found in bounds.items() if found.committed_end > found.start}
    step = STEP_RECORDS
    strangers: Counter[TopicPartition] = Counter()
    while unread:
        step_now = max(1, min(step, CHUNK_RECORDS_MAX // len(unread)))
        ranges = {source: (max(bounds[source].start, end - step_now), end) for source, end in unread.items()}
        chunk: dict[TopicPartition, list[tuple[int, Label]]] = {source: [] for source in ranges}
        newest: dict[TopicPartition, tuple[int, Pos]] = {}
        for record in log_port.read(ranges, meanwhile):
            if (label := label_of(record)) is None:
                strangers[record.source] += 1
                continue
            chunk[record.source].append((record.offset, label))
            newest[record.source] = record.offset, label.pos
        tails.newest = newest | tails.newest
        for source, records in chunk.items():
            unread[source] = ranges[source][0]
            if tails.take(source, reversed(records)) or unread[source] == bounds[source].start:
                del unread[source]
        if unread and _is_bound_reached(tails) | (clock.monotonic() > until_s):
            _cut(tails, unread)
            break
        step *= STEP_GROWTH
    if strangers:
        log.warning(
            "somebody else writes to the topics of change capture: find out who has the right to, and take it away",
            records={f"{source.topic}/{source.partition}": count for source, count in sorted(strangers.items())},
        )
    return tails


def require_lasts(
    log_port: RecordLog,
    bounds: Mapping[TopicPartition, Bounds],
    lasts: Mapping[TopicPartition, tuple[int, Pos]],
    meanwhile: Meanwhile,
) -> None:
    """The last record that we know of each partition is where it was: a log that went back and grew again has another
    one there. One that has expired, or gave way to a younger one of its key, proves nothing. Raises `LogLost`."""
    ranges = {
        source: (offset, offset + 1)
        for source, (offset, _) in lasts.items()
        if source in bounds and bounds[source].start <= offset < bounds[source].committed_end
    }
    for record in log_port.read(ranges, meanwhile) if ranges else ():
        known, label = lasts[record.source][1], label_of(record)
        if label is None or label.pos != known:
            found = "a stranger's record" if label is None else f"a record of {show(label.pos.commit)}"
            where = f"{record.source.topic}, partition {record.source.partition}"
            raise LogLost(
                f"Kafka lost records: {where}, has {found} at offset {record.offset}, where one of "
                f"{show(known.commit)} was",
                hint=RECOVER,
            )


def _is_bound_reached(tails: Tails) -> bool:
    return tails.records > TAIL_RECORDS_MAX or len(tails.identities) > TAIL_TRANSACTIONS_MAX


def _cut(tails: Tails, unread: Iterable[TopicPartition]) -> None:
    cut = sorted(unread)
    log.warning(
        "too much is in the log since the last progress: it is sent again",
        partitions=[f"{source.topic}/{source.partition}" for source in cut],
        records=tails.records,
    )
    for source in cut:
        tails.runs[source].forget()
