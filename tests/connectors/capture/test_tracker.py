"""What may be acknowledged (R1), whatever the order in which Kafka answers."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from connectors.capture.tracker import Confirmed, Tracker, Transaction


def test_the_prefix_waits_for_its_slowest_record() -> None:
    tracker = Tracker(Confirmed(0, 0))
    first = tracker.begin()
    first.count_sent()
    first.count_sent()
    tracker.commit(first, Confirmed(10, 1))
    second = tracker.begin()
    second.count_sent()
    tracker.commit(second, Confirmed(20, 2))
    second.count_acked()
    first.count_acked()
    assert tracker.advance() == Confirmed(0, 0)
    first.count_acked()
    assert tracker.advance() == Confirmed(20, 2)


def test_a_record_that_is_acknowledged_before_its_commit_is_seen_acknowledges_nothing() -> None:
    tracker = Tracker(Confirmed(0, 0))
    transaction = tracker.begin()
    transaction.count_sent()
    transaction.count_acked()
    assert tracker.advance().lsn == 0
    tracker.commit(transaction, Confirmed(10, 1))
    assert tracker.advance().lsn == 10


def test_a_mark_inside_a_transaction_is_none() -> None:
    tracker = Tracker(Confirmed(0, 0))
    tracker.begin()
    tracker.mark(Confirmed(50, 5))
    assert tracker.advance().lsn == 0


def test_marks_do_not_pile_up_while_kafka_is_away() -> None:
    tracker = Tracker(Confirmed(0, 0))
    transaction = tracker.begin()
    transaction.count_sent()
    tracker.commit(transaction, Confirmed(10, 1))
    for lsn in range(20, 1_000):
        tracker.mark(Confirmed(lsn, 0))
    assert len(tracker._pending) == 2
    transaction.count_acked()
    assert tracker.advance() == Confirmed(999, 1)


def test_transactions_in_progress_hold_nobody_back_and_take_their_place_when_they_commit() -> None:
    tracker = Tracker(Confirmed(0, 0))
    long, other = tracker.begin(whole=False), tracker.begin(whole=False)
    long.count_sent()
    short = tracker.begin()
    tracker.commit(short, Confirmed(10, 1))
    tracker.mark(Confirmed(15, 1))
    assert tracker.advance().lsn == 15
    tracker.commit(long, Confirmed(20, 2))
    tracker.abort(other)
    tracker.mark(Confirmed(30, 3))
    assert tracker.advance().lsn == 15
    long.count_acked()
    assert tracker.advance() == Confirmed(30, 3)


class Tracking(RuleBasedStateMachine):
    """Transactions, marks and acknowledgements in any order, against a plain model."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = Tracker(Confirmed(0, 0))
        self.lsn = 0
        self.ends: list[tuple[int, Transaction | None, list[bool]]] = []
        self.open: tuple[Transaction, list[bool]] | None = None
        self.highest = 0

    @precondition(lambda self: self.open is None)
    @rule()
    def begin(self) -> None:
        self.open = (self.tracker.begin(), [])

    @precondition(lambda self: self.open is not None)
    @rule()
    def send(self) -> None:
        assert self.open is not None
        self.open[0].count_sent()
        self.open[1].append(False)

    @precondition(lambda self: self.open is not None)
    @rule(by=st.integers(1, 50))
    def commit(self, by: int) -> None:
        assert self.open is not None
        self.lsn += by
        self.tracker.commit(self.open[0], Confirmed(self.lsn, self.lsn))
        self.ends.append((self.lsn, *self.open))
        self.open = None

    @rule(by=st.integers(0, 50))
    def mark(self, by: int) -> None:
        if self.open is None:
            self.lsn += by
            self.ends.append((self.lsn, None, []))
        self.tracker.mark(Confirmed(self.lsn, self.lsn))

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        known = [(one, acked) for _, one, acked in self.ends if one] + ([self.open] if self.open else [])
        waiting = [(one, acked) for one, acked in known if not all(acked)]
        if waiting:
            transaction, acked = data.draw(st.sampled_from(waiting))
            acked[acked.index(False)] = True
            transaction.count_acked()

    @invariant()
    def confirms_the_contiguous_prefix_and_never_moves_back(self) -> None:
        expected = 0
        for lsn, _, acked in self.ends:
            if not all(acked):
                break
            expected = lsn
        confirmed = self.tracker.advance().lsn
        assert confirmed == expected
        assert confirmed >= self.highest
        self.highest = confirmed


TestTracking = Tracking.TestCase
TestTracking.settings = settings(max_examples=60, stateful_step_count=40)
