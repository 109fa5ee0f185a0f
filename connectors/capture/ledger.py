"""Which records are in the log already: Kafka is the ledger (R8), and it is believed record by record.

Owns the decision whether a record is sent (`Ledger.has`), and whether what lies in the log is what the WAL says. Pure:
`tails.py` reads the log. Every record carries its position, its transaction's id and the time of its commit. What was
committed before `since` is in the log, because that is what our progress says; from there on the ledger knows each
record of each partition, and compares it with the WAL, which says all of them again.

**Order beats no-doubles.** A record that is missing where younger ones are present is a hole: a producer dropped it and
put a younger one into the log. From the hole on *everything* of that partition is sent again, so that the last record
of each key is the right one; readers know a double by its position. It is the same when younger records lie before
older ones, as they do when a repair was interrupted: only the records after which nothing older comes count as present
(the minima from the right), and those are in order by themselves.

**What the WAL never says is foreign.** A position in the log that the WAL passes without saying it, or a transaction
that has another id or time there, is of another future of this database, or forged. The ledger raises at the first one;
`rehearsal.py` asks it for all of them before anything is produced.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from connectors.capture.checks import RECOVER
from connectors.capture.identity import ForeignLog
from connectors.kafka.records import TopicPartition
from connectors.postgres.lsn import Lsn, Pos, show


class Identity(NamedTuple):
    """What tells a transaction from another one at the same position. `xid` None: a snapshot, which is none."""

    xid: int | None
    committed_at_us: int


class Run:
    """The records of one partition after which nothing older comes. Added from the end of the log backwards, and asked
    in the order of the WAL, so both ends meet at the end of the arrays. Sixteen bytes a record."""

    def __init__(self) -> None:
        self._commits, self._ordinals = array("Q"), array("Q")
        self._left = 0
        self._holed = False

    def __len__(self) -> int:
        return len(self._commits)

    def add_older(self, pos: Pos) -> None:
        """The record before, in the log; one that is not older than all after it does not count."""
        commits, ordinals = self._commits, self._ordinals
        if not commits or pos < (commits[-1], ordinals[-1]):
            commits.append(pos.commit)
            ordinals.append(pos.ordinal)
            self._left = len(commits)

    def forget(self) -> None:
        """Nothing counts as present."""
        del self._commits[:], self._ordinals[:]
        self._left = 0

    def rewind(self) -> None:
        self._left, self._holed = len(self._commits), False

    @property
    def next(self) -> Pos | None:
        """The oldest record that the WAL has not said yet."""
        if not self._left:
            return None
        return Pos(Lsn(self._commits[self._left - 1]), self._ordinals[self._left - 1])

    def skip(self) -> None:
        self._left -= 1

    def take(self, pos: Pos) -> bool:
        """Whether the record at `pos` is present, and nothing before it was missing. `next` is not before it."""
        if pos == self.next:
            self._left -= 1
            return not self._holed
        self._holed = True
        return False


class Ledger:
    """See the module. `runs`: of each partition that has records from `since` on. `identities`: of their transactions,
    by the position of the commit. Asked in the order of the WAL: `begin` for each transaction, then `has`."""

    def __init__(
        self,
        since: int = 0,
        runs: Mapping[TopicPartition, Run] | None = None,
        identities: Mapping[int, Identity] | None = None,
    ) -> None:
        self._since = since
        self._runs = runs or {}
        self._identities = identities or {}
        self._order = sorted(self._identities, reverse=True)
        self._unsaid = list(self._order)
        self._passed_over: set[Pos] = set()
        self.highest = self._order[0] if self._order else 0
        """The highest position of a commit that the log has from `since` on; 0 for none."""

    def rewind(self) -> None:
        """The WAL is said once more from its beginning."""
        self._unsaid = list(self._order)
        self._passed_over.clear()
        for run in self._runs.values():
            run.rewind()

    def begin(self, commit: int, xid: int | None, committed_at_us: int) -> None:
        """The WAL says a transaction. Raises `ForeignLog` when the log knows it otherwise, or an earlier one that the
        WAL did not say."""
        self.pass_by(commit)
        if not self._unsaid or self._unsaid[-1] != commit:
            return
        known = self._identities[self._unsaid.pop()]
        if known != (xid, committed_at_us):
            raise ForeignLog(
                f"the log has records of transaction {known.xid} at {show(commit)}, and this database has transaction "
                f"{xid} there: the database went back to an earlier state, or somebody else wrote them",
                hint=RECOVER,
            )

    def pass_by(self, position: int) -> None:
        """The WAL has said every transaction that committed before. Raises `ForeignLog`."""
        if self._unsaid and self._unsaid[-1] < position:
            raise ForeignLog(
                f"the log has records of a transaction at {show(self._unsaid[-1])}, and this database has none there: "
                "the database went back to an earlier state, or somebody else wrote them",
                hint=RECOVER,
            )

    def has(self, source: TopicPartition, pos: Pos) -> bool:
        """Whether the record at `pos` is in the log, so that it is not sent. Raises `ForeignLog`."""
        if pos.commit < self._since:
            return True
        run = self._runs.get(source)
        if run is None:
            return False
        while (known := run.next) is not None and known < pos:
            self._require_passed_over(source, known)
            run.skip()
        return run.take(pos)

    def has_passed(self, commit: int) -> bool:
        """Nothing committed at `commit` or later can be in the log: there is no need to ask any more."""
        return commit > self.highest and commit >= self._since

    def pass_over(self, positions: Iterable[Pos]) -> None:
        """No record is made at these positions: what once was one is a dead letter now."""
        self._passed_over.update(positions)

    def require_said(self, stopped: Collection[str]) -> None:
        """The WAL has said everything up to `highest`: nothing may be left, but in topics that are stopped. Raises
        `ForeignLog`."""
        self.pass_by(self.highest + 1)
        for source, run in self._runs.items():
            while source.topic not in stopped and (known := run.next) is not None:
                self._require_passed_over(source, known)
                run.skip()

    def _require_passed_over(self, source: TopicPartition, known: Pos) -> None:
        if known not in self._passed_over:
            raise ForeignLog(
                f"{source.topic}, partition {source.partition}, has a record at {show(known.commit)}, ordinal "
                f"{known.ordinal}, that this database does not make: the database went back to an earlier state, or "
                "somebody else wrote it",
                hint=RECOVER,
            )
