"""The arithmetic of the dead-letter limit."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.dead_letters import DeadLetterLimit


def breach(limit: DeadLetterLimit, dead: Sequence[int], offsets: Sequence[int], earlier: Sequence[int] = ()) -> bool:
    return limit.breach(earlier, offsets, set(dead)) is not None


def test_a_run_of_dead_letters_stops_at_the_limit_not_before() -> None:
    limit = DeadLetterLimit(consecutive_max=3, ratio_max=0)
    assert not breach(limit, [5, 6, 7], range(10))
    assert breach(limit, [5, 6, 7, 8], range(10))


def test_a_good_record_ends_a_run() -> None:
    limit = DeadLetterLimit(consecutive_max=3, ratio_max=0)
    assert not breach(limit, [0, 1, 2, 4, 5, 6], range(7))


def test_a_run_goes_on_over_batches_and_restarts() -> None:
    limit = DeadLetterLimit(consecutive_max=3, ratio_max=0)
    assert breach(limit, [10, 11], range(10, 20), earlier=[7, 8, 9][1:])
    assert not breach(limit, [10, 11], range(10, 20), earlier=[7, 9])
    assert not breach(limit, [11, 12], range(10, 20), earlier=[8, 9])


def test_the_share_is_taken_over_a_window_of_offsets() -> None:
    limit = DeadLetterLimit(consecutive_max=0, ratio_max=0.1, window=100)
    spread = list(range(0, 100, 10))
    assert not breach(limit, spread, range(100))
    assert breach(limit, [*spread, 95], range(100))
    assert not breach(limit, [100], range(100, 110), earlier=spread), "the first of the window has left it"
    assert breach(limit, [100, 101], range(100, 110), earlier=spread)


def test_few_records_never_breach_a_share() -> None:
    assert not breach(DeadLetterLimit(consecutive_max=100, ratio_max=0.05), [0, 1, 2], [0, 1, 2])


def test_limits_can_be_off() -> None:
    assert not breach(DeadLetterLimit(0, 0), range(5000), range(5000))


@given(st.sets(st.integers(0, 300)), st.integers(1, 20), st.integers(1, 50))
def test_it_agrees_with_counting(dead: set[int], consecutive_max: int, share: int) -> None:
    """However the log is cut into batches, the limit trips in the batch where plain counting says so."""
    limit = DeadLetterLimit(consecutive_max, share / 50, window=50)
    expected = next((offset for offset in range(301) if _counted(dead, offset, consecutive_max, share)), None)
    for start in range(0, 301, 43):
        offsets = range(start, min(301, start + 43))
        earlier = sorted(other for other in dead if start - limit.window <= other < start)
        tripped = limit.breach(earlier, offsets, dead & set(offsets)) is not None
        assert tripped == (expected is not None and expected in offsets)
        if tripped:
            return


def _counted(dead: set[int], offset: int, consecutive_max: int, share: int) -> bool:
    if offset not in dead:
        return False
    run = 0
    while offset - run in dead:
        run += 1
    return run > consecutive_max or len([other for other in dead if offset - 50 < other <= offset]) > share
