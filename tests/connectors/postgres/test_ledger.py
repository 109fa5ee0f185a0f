"""What is in the log already (R8)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.producer import Deliveries
from connectors.postgres.ledger import Last, Ledger
from connectors.postgres.lsn import Lsn, Pos

PLACE = ("topic", 0)


def pos(commit: int, ordinal: int = 0) -> Pos:
    return Pos(Lsn(commit), ordinal)


def test_at_or_below_the_last_record_is_there() -> None:
    ledger = Ledger({PLACE: Last(pos(10, 3), None)})
    assert ledger.has(PLACE, pos(10, 3))
    assert ledger.has(PLACE, pos(10, 0))
    assert ledger.has(PLACE, pos(9, 99))
    assert not ledger.has(PLACE, pos(10, 4))
    assert not ledger.has(PLACE, pos(11))


def test_a_partition_without_records_has_nothing() -> None:
    ledger = Ledger({PLACE: Last(pos(10), None)})
    assert not ledger.has(("topic", 1), pos(1))


def test_it_need_not_be_asked_beyond_the_end_of_every_partition() -> None:
    ledger = Ledger({PLACE: Last(pos(10), None), ("topic", 1): Last(pos(30), None)})
    assert not ledger.passed(30)
    assert ledger.passed(31)
    assert Ledger({}).passed(1)


@given(st.sets(st.tuples(st.integers(1, 9), st.integers(0, 5))), st.integers(0, 60))
def test_a_restart_anywhere_gives_each_record_once_in_order(records: set[tuple[int, int]], kept: int) -> None:
    """The log has a prefix of what was to be sent; sending all of it again adds the rest."""
    sent = [pos(*record) for record in sorted(records)]
    log = sent[:kept]
    ledger = Ledger({PLACE: Last(log[-1], None)} if log else {})
    log += [position for position in sent if not ledger.has(PLACE, position)]
    assert log == sent


def test_a_record_that_was_overtaken_is_sent_and_the_others_are_not() -> None:
    deliveries = Deliveries({PLACE: pos(1)})
    deliveries.ok(PLACE, pos(2))
    deliveries.fail(PLACE, "timed out")
    deliveries.ok(PLACE, pos(4))
    ledger = Ledger({PLACE: Last(pos(4), None)}, deliveries)
    assert [ledger.has(PLACE, pos(commit)) for commit in (1, 2, 3, 4, 5)] == [True, True, False, True, False]
    assert not ledger.passed(99)


def test_a_failure_that_nothing_overtook_leaves_the_log_as_it_says() -> None:
    deliveries = Deliveries({})
    deliveries.ok(PLACE, pos(2))
    deliveries.fail(PLACE, "timed out")
    ledger = Ledger({PLACE: Last(pos(3), None)}, deliveries)  # it arrived although nobody heard
    assert ledger.has(PLACE, pos(3))
