"""What the ring of a partition keeps, and what it knows of what it has dropped."""

from __future__ import annotations

import random
import uuid

from api.live.join import PgSnapshot
from api.live.ring import Ring, RowChange
from connectors.kafka.records import Record

A, B = uuid.UUID(int=1), uuid.UUID(int=2)


def record(offset: int, tenant_id: uuid.UUID, xid: int, *, value: bytes = b"") -> Record:
    """`xid` is the position of its commit, too."""
    headers = (
        ("adriatic.tenant", str(tenant_id).encode()),
        ("adriatic.pos", b"%016X/%08d" % (xid, offset)),
        ("adriatic.xid", b"%d" % xid),
    )
    return Record("t", 0, offset, 0, b"k", value, headers)


def seen(xmax: int, *running: int) -> PgSnapshot:
    return PgSnapshot(min((*running, xmax)), xmax, frozenset(running), xmax)


def test_a_reader_gets_its_own_changes_from_its_place_on() -> None:
    ring = Ring(10)
    assert ring.extend([record(10, A, 1), record(11, B, 2), record(13, A, 3)], 14) == {A, B}
    assert [change.record.offset for change in ring.since(A, 0, 9)] == [10, 13]
    assert [change.record.offset for change in ring.since(A, 11, 9)] == [13]
    assert [change.record.offset for change in ring.since(A, 0, 1)] == [10]
    assert ring.since(uuid.UUID(int=3), 0, 9) == []
    assert (ring.first, ring.next) == (10, 14)
    assert ring.extend([], 20) == set()
    assert ring.next == 20


def test_tombstones_are_left_out() -> None:
    ring = Ring(0)
    tombstone = Record("t", 0, 1, 0, b"k", None, (("adriatic.tenant", str(A).encode()),))
    assert ring.extend([record(0, A, 1), tombstone], 2) == {A}
    assert len(ring) == 1
    assert ring.next == 2


def test_it_is_bounded_by_count_and_by_bytes_and_knows_whose_changes_fell_out() -> None:
    ring = Ring(0, records_max=3)
    ring.watch(A)
    ring.extend([record(offset, A if offset == 1 else B, offset) for offset in range(6)], 6)
    assert (len(ring), ring.first) == (3, 3)
    assert ring.has_lost(A, 1)
    assert not ring.has_lost(A, 2)
    assert not ring.has_lost(B, 0), "nobody reads it"
    ring.unwatch(A)
    assert not ring.has_lost(A, 1)
    small = Ring(0, bytes_max=10)
    small.extend([record(0, A, 1, value=b"1" * 8), record(1, A, 2, value=b"2" * 8)], 2)
    assert [change.record.offset for change in small.since(A, 0, 9)] == [1]


def test_a_snapshot_is_joined_at_the_first_change_that_it_does_not_see() -> None:
    ring = Ring(0)
    ring.extend([record(0, A, 5), record(1, B, 9), record(2, A, 7), record(3, A, 6)], 4)
    assert ring.find_start(A, seen(8)) == 4, "it has all of them"
    assert ring.find_start(A, seen(8, 7)) == 2
    assert ring.find_start(A, seen(5)) == 0
    assert ring.find_start(B, seen(8)) == 1


def test_what_falls_out_unseen_keeps_readers_from_beginning_until_a_snapshot_sees_it() -> None:
    ring = Ring(0, records_max=1)
    ring.extend([record(0, A, 5), record(1, A, 6)], 2)
    assert ring.find_start(A, seen(8, 5)) is None
    assert ring.find_start(A, seen(8)) == 2
    ring.dropped.note_snapshot(seen(8))
    ring.extend([record(2, A, 7)], 3)  # drops 6, which that snapshot saw
    assert ring.find_start(A, seen(8)) == 3


def test_what_falls_out_while_a_snapshot_is_taken_is_compared_with_that_snapshot() -> None:
    ring = Ring(0, records_max=1)
    ring.extend([record(0, A, 5)], 1)
    ring.dropped.begin_join()
    older = seen(8, 5)
    ring.dropped.note_snapshot(seen(9))  # a younger one has it already
    ring.extend([record(1, A, 8)], 2)
    assert ring.find_start(A, older) is None
    ring.dropped.end_join()
    ring.dropped.note_snapshot(seen(9))
    assert ring.find_start(A, seen(9)) == 2


def test_the_headers_say_which_transaction_made_a_change_and_a_copy_has_none() -> None:
    undecodable = record(0, A, (3 << 32) + 5, value=b"?")
    assert RowChange.of(undecodable).xid == 5
    copy = Record("t", 0, 1, 0, b"k", b"?", undecodable.headers[:2])
    assert RowChange.of(copy).xid is None
    ring = Ring(0, records_max=1)
    ring.extend([copy, record(2, A, 6)], 3)
    late = PgSnapshot(7, 7, frozenset(), lsn=9 << 32, since=(3 << 32) + 6)
    assert ring.find_start(A, seen(7)) is None, "nobody knows whether it has the copy"
    assert ring.find_start(A, late) == 3


def test_any_join_is_whole_or_refused() -> None:
    """Commits that become visible late, a ring that is too small, snapshots at any time: rows and changes together are
    always everything, once."""
    for seed in range(300):
        chance = random.Random(seed)
        ring = Ring(0, records_max=chance.randrange(1, 6))
        logged: list[int] = []
        visible: set[int] = set()
        joins: list[tuple[PgSnapshot, int]] = []
        for xid in range(3, 40):
            ring.extend([record(len(logged), A, xid)], len(logged) + 1)
            logged.append(xid)
            hidden = [each for each in logged if each not in visible]
            visible |= {each for each in hidden if chance.random() < 0.5}
            snapshot = seen(xid + 1, *(each for each in logged if each not in visible))
            if chance.random() < 0.3:
                ring.dropped.note_snapshot(snapshot)
            if chance.random() < 0.3:
                place = ring.find_start(A, snapshot)
                if place is not None:
                    joins.append((snapshot, place))
        for snapshot, place in joins:
            rows = {xid for xid in logged if snapshot.has(xid, 0)}
            changes = [xid for xid in logged[place:] if not snapshot.has(xid, 0)]
            assert rows | set(changes) == set(logged), seed
            assert len(rows) + len(changes) == len(logged), seed
