"""Time budgets and pauses."""

from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from runtime.clock import ManualClock
from runtime.deadline import BACKOFF_FIRST_S, BACKOFF_MAX_S, Deadline, backoff_s


def test_a_deadline_runs_out_and_never_below_zero() -> None:
    clock = ManualClock()
    deadline = Deadline.after(2.0, clock)
    assert (deadline.left_s, deadline.passed) == (2.0, False)
    clock.sleep(1.5)
    assert (deadline.left_s, deadline.passed) == (0.5, False)
    clock.sleep(5.0)
    assert (deadline.left_s, deadline.passed) == (0.0, True)


def test_a_deadline_of_nothing_has_passed() -> None:
    assert Deadline.after(0.0, ManualClock()).passed


@given(first=st.floats(0.001, 1.0), longest=st.floats(1.0, 60.0))
def test_pauses_grow_to_the_longest_and_are_never_hammering(first: float, longest: float) -> None:
    pauses = list(islice(backoff_s(first, longest), 30))
    assert all(first * 0.75 <= pause <= longest for pause in pauses)
    assert pauses[-1] >= longest * 0.75


def test_pauses_start_short_and_spread() -> None:
    starts = {next(backoff_s()) for _ in range(50)}
    assert all(BACKOFF_FIRST_S * 0.75 <= start <= BACKOFF_FIRST_S for start in starts)
    assert len(starts) > 1
    assert max(islice(backoff_s(), 100)) <= BACKOFF_MAX_S
