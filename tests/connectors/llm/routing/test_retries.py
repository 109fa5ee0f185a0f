"""The retry budget: load grows by a tenth and a little, whatever fails."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.llm.routing.retries import RETRIES_PER_S, RETRIES_SAVED_MAX, RETRY_SHARE, RetryBudget
from runtime.clock import ManualClock


def test_an_outage_of_everything_does_not_double_the_load() -> None:
    budget, requests = RetryBudget(ManualClock()), 10_000
    retried = 0
    for _ in range(requests):
        budget.earn()
        retried += budget.spend()
    assert requests * RETRY_SHARE <= retried <= requests * RETRY_SHARE + RETRIES_SAVED_MAX


def test_with_few_requests_each_of_them_may_be_asked_again() -> None:
    clock = ManualClock()
    budget = RetryBudget(clock)
    for _ in range(1_000):
        budget.earn()
        assert budget.spend()
        clock.sleep(1.0)


@given(st.lists(st.sampled_from(["earn", "spend", "wait"])))
def test_never_more_than_was_earned(steps: list[str]) -> None:
    clock = ManualClock()
    budget, spent, earned = RetryBudget(clock), 0, RETRIES_SAVED_MAX
    for step in steps:
        if step == "earn":
            budget.earn()
            earned += RETRY_SHARE
        elif step == "wait":
            clock.sleep(0.5)
            earned += 0.5 * RETRIES_PER_S
        else:
            spent += budget.spend()
        assert spent <= earned + 1e-6
