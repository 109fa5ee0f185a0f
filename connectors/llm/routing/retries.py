"""The retry budget: how many attempts beyond the first may be made, as a share of the requests.

Owns one token bucket. Without it an outage of one provider doubles the load of the next, and an outage of all
multiplies it by their number; with it the load grows by a tenth and a little. Pure, on the clock that it is given.
"""

from __future__ import annotations

from runtime.clock import Clock

RETRY_SHARE = 0.1
"""Further attempts for each request."""
RETRIES_PER_S = 1.0
"""Further attempts a second that are free of that: with few requests, a tenth of them is none."""
RETRIES_SAVED_MAX = 50.0
"""Most that can be saved up, and what a process begins with: a breaker has opened long before they are spent."""


class RetryBudget:
    """One per process, over all models: what it bounds is our load on whoever still stands."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._saved = RETRIES_SAVED_MAX
        self._counted_s = clock.monotonic()

    def earn(self) -> None:
        """A request came; its first attempt is always allowed."""
        self._add(RETRY_SHARE)

    def spend(self) -> bool:
        """Whether one more attempt may be made; then it is counted."""
        self._add(0.0)
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True

    def _add(self, earned: float) -> None:
        now_s = self._clock.monotonic()
        grown = (now_s - self._counted_s) * RETRIES_PER_S
        self._counted_s = now_s
        self._saved = min(RETRIES_SAVED_MAX, self._saved + earned + grown)
