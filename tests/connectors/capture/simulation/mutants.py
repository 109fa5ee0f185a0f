"""Cores that break a law on purpose: each must be caught, or the simulation is too weak.

Owns the patches, each as small as the mistake that somebody could make, and the search for the schedule that shows it.
A patch names what it replaces, so that it fails when the core has no such thing any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch
from uuid import UUID

from connectors.capture import checks, identity
from connectors.capture.checks import Progress
from connectors.capture.ends import Ends
from connectors.capture.ledger import Ledger, Run
from connectors.capture.ports import Keepalive
from connectors.capture.session import CaptureSession
from connectors.capture.stream import Stream
from connectors.capture.tracker import Confirmed, Tracker
from connectors.capture.translator import OpenTransaction, Translator
from connectors.kafka.producer import EncodedRecord
from connectors.kafka.records import TopicPartition
from connectors.postgres.lsn import Pos
from tests.connectors.capture.simulation.schedule import Step, generate
from tests.connectors.capture.simulation.shrink import shrink
from tests.connectors.capture.simulation.state_port import SimulatedState
from tests.connectors.capture.simulation.world import run

SEEDS_MAX = 3_000
"""Seeds that a mutant may survive."""

Patch = Callable[[], Any]


def _do_nothing(*_: Any, **__: Any) -> None:
    """What should have been looked at is not."""


def acknowledge_the_maximum() -> Any:
    """The newest transaction whose records are all in the log speaks for those before it."""
    advance = Tracker.advance

    def newest(self: Tracker) -> Confirmed:
        done = [transaction for transaction in self._pending if transaction.done]
        while done and self._pending[0] is not done[-1]:
            self._pending.popleft()
        return advance(self)

    return patch.object(Tracker, "advance", newest)


def skip_by_row() -> Any:
    """What is at or below the last position of its partition is skipped."""
    compare = Ledger.has

    def has(self: Ledger, source: TopicPartition, pos: Pos) -> bool:
        present, found = compare(self, source, pos), self._runs.get(source)
        is_below = found is not None and len(found) > 0 and pos <= (found._commits[0], found._ordinals[0])
        return present or is_below

    return patch.object(Ledger, "has", has)


@contextmanager
def believe_a_header() -> Iterator[None]:
    """A position above the end of the WAL is taken for one that was reached."""
    with (
        patch.object(identity, "require_reached", _do_nothing),
        patch.object(CaptureSession, "_rehearse", _do_nothing),
        patch.object(Ledger, "pass_by", _do_nothing),
        patch.object(Ledger, "_require_passed_over", _do_nothing),
        skip_by_row(),
    ):
        yield


def no_nonce() -> Any:
    """Sessions and beats are not looked up."""
    return patch.object(identity, "require_known", _do_nothing)


def snapshot_of_anybody() -> Any:
    """Any snapshot in the log is the one that is wanted."""

    def found(wanted: UUID, snapshots: Mapping[UUID, int], since: int) -> int | None:
        return max(snapshots.values(), default=None)

    return patch.object(checks, "snapshot_found", found)


def acknowledge_before_progress() -> Any:
    """Postgres is told before progress is written down."""
    beat = Stream._beat

    def early(self: Stream, now_s: float) -> None:
        self._parts.wal.acknowledge(self._tracker.advance().lsn)
        beat(self, now_s)

    return patch.object(Stream, "_beat", early)


def no_hole_check() -> Any:
    """A record that is present is skipped, whatever is missing before it."""

    def take(self: Run, pos: Pos) -> bool:
        if pos != self.next:
            return False
        self._left -= 1
        return True

    return patch.object(Run, "take", take)


def keepalive_acknowledges_open_transaction() -> Any:
    """The position of a keepalive is progress at once, whatever is open or on its way."""

    def keepalive(self: Stream, message: Keepalive) -> None:
        self._tracker._confirmed = Confirmed(max(message.end, self._tracker._confirmed.lsn), 0)

    return patch.object(Stream, "_keepalive", keepalive)


def ends_not_checked() -> Any:
    """A log that is shorter than what was acknowledged is taken as it is."""
    return patch.object(identity, "require_ends", _do_nothing)


def no_rehearsal() -> Any:
    """Producing begins before the whole tail of the log was compared with the WAL."""
    return patch.object(CaptureSession, "_rehearse", _do_nothing)


def transactions_not_compared() -> Any:
    """A transaction is known by its position alone."""
    begin = Ledger.begin

    def blind(self: Ledger, commit: int, xid: int | None, committed_at_us: int) -> None:
        known = self._identities.get(commit, (xid, committed_at_us))
        begin(self, commit, *known)

    return patch.object(Ledger, "begin", blind)


def moved_slot_not_seen() -> Any:
    """Streaming goes on from wherever the slot is."""

    def resume(name: str, slot: Any, progress: Any, server: Any) -> Any:
        return progress

    return patch.object(checks, "resume", resume)


def ordinals_of_records_only() -> Any:
    """What is no record takes no position."""
    logical = Translator._logical

    def uncounted(self: Translator, message: Any, *rest: Any) -> None:
        with patch.object(OpenTransaction, "next_ordinal", lambda _: 0):
            logical(self, message, *rest)

    return patch.object(Translator, "_logical", uncounted)


def backwards_not_noticed() -> Any:
    """An acknowledgement at an offset that was filled before counts like any other."""
    return patch.object(Ends, "reach", lambda self, *_: True)


def beat_before_it_is_written() -> Any:
    """Records carry the beat that is next."""
    stamp = Translator.stamp

    def early(self: Translator, header: bytes) -> None:
        session, number = header.split(b"/")
        stamp(self, b"%s/%d" % (session, int(number) + 1))

    return patch.object(Translator, "stamp", early)


def everything_again() -> Any:
    """A restart produces whatever the server says again."""
    compare = Ledger.has

    def has(self: Ledger, source: TopicPartition, pos: Pos) -> bool:
        compare(self, source, pos)
        return False

    return patch.object(Ledger, "has", has)


def found_not_counted() -> Any:
    """What a session finds in the log, and did not bring there, may be lost without notice."""
    return patch.object(Ends, "find", _do_nothing)


def snapshot_older_than_its_slot() -> Any:
    """A new slot goes with whatever snapshot was wanted before."""
    return patch.object(SimulatedState, "renew_snapshot", _do_nothing)


def last_record_not_compared() -> Any:
    """A log that is as long as it was is the one that it was."""
    return patch("connectors.capture.session.require_lasts", _do_nothing)


def snapshot_before_the_slot() -> Any:
    """The snapshot that is wanted is believed wherever the slot is by now."""
    return patch.object(checks, "snapshot_found", lambda wanted, snapshots, since: snapshots.get(wanted))


def ends_after_the_snapshot() -> Any:
    """The account speaks for a snapshot before it says how far the log goes then."""

    def note(self: CaptureSession, progress: Progress, at: int, committed_at_us: int) -> Progress:
        self._begin()
        self._state.snapshot_done(progress, at, committed_at_us)
        return replace(progress, snapshot_lsn=at, committed_at_us=committed_at_us)

    return patch.object(CaptureSession, "_note_snapshot", note)


def no_wait_for_the_predecessor() -> Any:
    """Whoever gets the lock produces at once, though the process before may have records on their way."""
    return patch.object(CaptureSession, "_outwait_predecessor", _do_nothing)


def no_look_before_a_record() -> Any:
    """A process that stood still hands over what it had in its hands before it looks whether it has its place."""
    send = Stream.send

    def blind(self: Stream, record: EncodedRecord, transaction: OpenTransaction) -> None:
        due_s, self._service_at = self._service_at, math.inf
        send(self, record, transaction)
        self._service_at = min(due_s, self._service_at)

    return patch.object(Stream, "send", blind)


MUTANTS: dict[str, Patch] = {
    "acknowledge-the-maximum": acknowledge_the_maximum,
    "skip-by-row": skip_by_row,
    "believe-a-header": believe_a_header,
    "no-nonce": no_nonce,
    "snapshot-of-anybody": snapshot_of_anybody,
    "acknowledge-before-progress": acknowledge_before_progress,
    "no-hole-check": no_hole_check,
    "keepalive-acknowledges-open-transaction": keepalive_acknowledges_open_transaction,
    "ends-not-checked": ends_not_checked,
    "beat-before-it-is-written": beat_before_it_is_written,
    "everything-again": everything_again,
    "no-rehearsal": no_rehearsal,
    "transactions-not-compared": transactions_not_compared,
    "moved-slot-not-seen": moved_slot_not_seen,
    "ordinals-of-records-only": ordinals_of_records_only,
    "backwards-not-noticed": backwards_not_noticed,
    "last-record-not-compared": last_record_not_compared,
    "found-not-counted": found_not_counted,
    "snapshot-older-than-its-slot": snapshot_older_than_its_slot,
    "snapshot-before-the-slot": snapshot_before_the_slot,
    "ends-after-the-snapshot": ends_after_the_snapshot,
    "no-wait-for-the-predecessor": no_wait_for_the_predecessor,
    "no-look-before-a-record": no_look_before_a_record,
}


def run_mutant(name: str, steps: Sequence[Step]) -> str | None:
    with MUTANTS[name]():
        return run(steps)


def hunt(name: str, seeds: Sequence[int]) -> tuple[int, list[Step], str] | None:
    """The first seed that catches a mutant, its smallest schedule, and what is wrong then; None when none does. A
    schedule that the core itself fails proves nothing."""

    def catch(steps: Sequence[Step]) -> str | None:
        fault = run_mutant(name, steps)
        return fault if fault is not None and run(steps) is None else None

    for seed in seeds:
        steps = generate(seed)
        if catch(steps) is not None:
            small = shrink(steps, catch)
            return seed, small, catch(small) or ""
    return None
