"""What must be true, said from the laws and from what happened, never from how capture does it.

Owns the verdict. All the time: nothing is told to Postgres that is not in the log and in the account; nobody produces
into a log that is of another history; nobody halts while nothing was done to database or log. At the end: halted for a
cause, or each partition is what the WAL says, in order, a record twice only from a hole on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.kafka.producer import EncodedRecord
from connectors.kafka.records import TopicPartition
from connectors.postgres.lsn import show
from runtime.errors import AdriaticError
from tests.connectors.capture.simulation.broker import Batch, Logged
from tests.connectors.capture.simulation.database import Database
from tests.connectors.capture.simulation.wal import PARTITIONS, TOPICS, Committed, Expected, Identified

if TYPE_CHECKING:
    from tests.connectors.capture.simulation.capture import Running
    from tests.connectors.capture.simulation.world import World


SOURCES = [TopicPartition(topic, number) for topic in TOPICS for number in range(PARTITIONS)]
"""Where records belong. A partition that was added is nobody's."""


class Oracle:
    """Sees everything. `fault`: the first thing that was wrong."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.fault: str | None = None
        self.tampered: list[str] = []
        """What was done to database or log from outside, so that capture may halt."""
        self.landed_ever: set[Identified] = set()
        self._taints: dict[Running, str | None] = {}
        self._known: dict[Database, tuple[int, set[Identified]]] = {}
        self._keys: dict[tuple[str, bytes | None], tuple[int, int]] = {}

    def blame(self, what: str) -> None:
        if self.fault is None:
            self.fault = f"{what} (at {self._world.clockwork.now_s:.3f} s)"

    # --- all the time -----------------------------------------------------------------------------------------------

    def acknowledged(self, database: Database, flushed: int) -> None:
        progress = database.account.progress
        if progress is None or flushed > progress.lsn:
            written = "nothing" if progress is None else show(progress.lsn)
            self.blame(f"{show(flushed)} was acknowledged, and {written} is written down")

    def progressed(self, database: Database, lsn: int) -> None:
        progress = database.account.progress
        since = max(progress.snapshot_lsn or 0, progress.lsn) if progress is not None else 0
        for entry in database.entries[database.position_of(since) :]:
            if isinstance(entry, Committed):
                if entry.commit >= lsn:
                    break
                for one in entry.identities:
                    if one not in self.landed_ever:
                        self.blame(f"{show(lsn)} is progress, and the record {describe(one)} is not in the log")
                        return

    def landed(self, source: TopicPartition, batch: Batch) -> None:
        for record in batch.records:
            if record.says is not None:
                self.landed_ever.add(record.says)

    def looked(self, running: Running) -> None:
        """A session has read where the log ends: what is wrong in it by now must not be built upon."""
        self._taints[running] = self._find_taint()

    def sent(self, running: Running, producer: object, source: TopicPartition, record: EncodedRecord) -> None:
        if (taint := self._taints.get(running)) is not None:
            self.blame(f"{running.name} produces to {source} although {taint}")

    def halted(self, running: Running, error: AdriaticError) -> None:
        if not self.tampered:
            self.blame(f"a false alarm: {running.name} halts with {error.code}: {error.detail}")

    # --- whose log it is --------------------------------------------------------------------------------------------

    def known(self, database: Database) -> set[Identified]:
        """Every record that this database makes."""
        seen, known = self._known.get(database, (0, set()))
        for entry in database.entries[seen:]:
            if isinstance(entry, Committed):
                known.update(entry.identities)
        self._known[database] = len(database.entries), known
        return known

    def _find_taint(self) -> str | None:
        """Why the log and the database are not of one history; None when they are, as far as a look can tell that goes
        back to what is progress."""
        if not self.tampered:
            return None
        database, progress = self._world.database, self._world.database.account.progress
        known = self.known(database)
        streams = progress is not None and progress.snapshot_lsn is not None
        since = max(progress.lsn, progress.snapshot_lsn or 0) if progress is not None and streams else 2**64
        for source in SOURCES:
            partition = self._world.broker.partition(source)
            assert partition is not None
            in_sight = True
            for offset, record in reversed(partition.visible()):
                if (in_sight and self._is_forged(record, since)) or self._is_of_another_future(record, known, database):
                    whose = "forged" if not record.writer else "of another future"
                    return f"the record at offset {offset} of {source} is {whose}"
                if record.says is not None and record.says.commit < since:
                    in_sight = False
                if record.snapshot_id is not None:
                    in_sight = False
        return self._find_loss(database)

    def _is_forged(self, record: Logged, since: int) -> bool:
        """A forgery with everything right but its position can only be seen where the WAL says what should be there.
        Below that it does no harm, nor does a record that does not say that it is ours."""
        return not record.writer and record.says is not None and (record.obvious or record.says.commit >= since)

    def _is_of_another_future(self, record: Logged, known: set[Identified], database: Database) -> bool:
        if record.snapshot_id is not None:
            return record.snapshot_id.decode() not in database.snapshot_ids
        return bool(record.writer) and record.says not in known

    def _find_loss(self, database: Database) -> str | None:
        """A record that progress speaks for, and that the log does not have any more."""
        progress = database.account.progress
        if progress is None or progress.snapshot_lsn is None:
            return None
        there = {
            record.says
            for source in SOURCES
            if (partition := self._world.broker.partition(source)) is not None
            for _, record in partition.visible()
        }
        for entry in database.entries[database.position_of(progress.snapshot_lsn) :]:
            if isinstance(entry, Committed) and entry.commit < progress.lsn:
                for one in entry.identities:
                    if one not in there:
                        return f"the log does not have the record {describe(one)}, which is progress"
        return None

    # --- at the end -------------------------------------------------------------------------------------------------

    def is_complete(self) -> bool:
        """Everything that was committed is progress, and acknowledged."""
        database = self._world.database
        progress, slot = database.account.progress, next(iter(database.slots.values()), None)
        if progress is None or progress.snapshot_lsn is None or slot is None:
            return False
        last = next((one.end for one in reversed(database.entries) if isinstance(one, Committed)), 0)
        return min(progress.lsn, slot.confirmed) >= last

    def judge(self, running: Running) -> None:
        """Capture has come to rest."""
        if self.fault is not None:
            return
        if running.process.crash is not None:
            self.blame(f"a bug: {running.process.crash!r}")
        elif running.halted is not None:
            return
        elif not self.is_complete():
            self.blame(f"no progress; the last session ended with {running.ended}")
        elif (taint := self._taints.get(running)) is not None:
            self.blame(f"capture goes on although {taint}")
        else:
            self._compare()

    def _compare(self) -> None:
        database = self._world.database
        progress = database.account.progress
        assert progress is not None
        assert progress.snapshot_lsn is not None
        point = progress.snapshot_lsn
        wanted: dict[TopicPartition, list[Expected]] = {source: [] for source in SOURCES}
        for entry in database.entries[database.position_of(point) :]:
            if isinstance(entry, Committed):
                for one in entry.expected:
                    wanted[one.source].append(one)
        for source, expected in wanted.items():
            partition = self._world.broker.partition(source)
            assert partition is not None
            copied = str(database.account.snapshot_id).encode()
            ours = [record for _, record in partition.visible() if record.writer]
            fault = self._compare_partition(source, expected, [one for one in ours if is_since(one, point)])
            fault = fault or self._compare_snapshot(source, point, [one for one in ours if one.snapshot_id == copied])
            if fault is None and any(
                one.snapshot_id == copied and any(is_since(before, point) for before in ours[:at])
                for at, one in enumerate(ours)
            ):
                fault = f"{source} has records before those of the snapshot that they follow"
            if fault is not None:
                self.blame(fault)
                return
        if stopped := [name for name, (state, _) in database.account.tables.items() if state == "stopped"]:
            self.blame(f"{', '.join(stopped)} stopped, and nothing is wrong with it")

    def _compare_partition(self, source: TopicPartition, expected: list[Expected], log: list[Logged]) -> str | None:
        """`run`: the records after which nothing older came. One of them that comes again is a double without need;
        one that is older than the last one repairs a hole, and all that is younger must come again."""
        numbers = {one.pos: number for number, one in enumerate(expected)}
        run: list[int] = []
        for record in log:
            assert record.says is not None
            number = numbers.get((record.says.commit, record.says.ordinal))
            if number is None or record.says != identified(expected[number]):
                return f"{source} has the record {describe(record.says)}, which the WAL does not have"
            if fault := self._compare_content(record, expected[number]):
                return f"{source}: {fault}"
            while run and run[-1] > number:
                run.pop()
            if run and run[-1] == number:
                return f"{source} has the record {describe(record.says)} twice, and nothing was missing before it"
            run.append(number)
        for number, one in enumerate(expected):
            if number >= len(run) or run[number] != number:
                return f"{source} lacks the record {describe(identified(one))}, or has it before older ones"
        return None

    def _compare_content(self, record: Logged, one: Expected) -> str | None:
        told = describe(identified(one))
        if (record.value is None) != one.is_tombstone:
            return f"the record {told} should {'be' if one.is_tombstone else 'not be'} a tombstone"
        if one.text is not None and one.text.encode() not in (record.value or b""):
            return f"the record {told} does not hold {one.text}"
        known = self._keys.setdefault((one.source.topic, record.key), one.key)
        return None if known == one.key else f"the record {told} has the key of {known}, not of {one.key}"

    def _compare_snapshot(self, source: TopicPartition, point: int, found: list[Logged]) -> str | None:
        """Every row of the snapshot once."""
        wanted = sorted(text for at, text in self._world.database.rows_at(point) if at == source)
        texts = sorted(text for text in wanted for record in found if text.encode() in (record.value or b""))
        if texts != wanted or len(found) != len(wanted):
            return f"{source} has {len(found)} rows of the snapshot, and the database had {wanted}"
        return None


def is_since(record: Logged, point: int) -> bool:
    """Whether it is of the stream, from the snapshot at `point` on."""
    return record.says is not None and record.says.commit >= point


def identified(one: Expected) -> Identified:
    return Identified(one.source, one.commit, one.ordinal, one.xid, one.at_us)


def describe(one: Identified) -> str:
    return f"{show(one.commit)}#{one.ordinal} (xid {one.xid}, {one.source})"
