"""One time budget for a whole operation, passed down, instead of a time-out per step that add up to anything.

Also owns the one back-off rule. Refuses to sleep by itself: the caller does, with its own clock.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from runtime.clock import SYSTEM_CLOCK, Clock

BACKOFF_FIRST_S = 0.1
"""First pause between attempts: long enough that a restart of the other side is not hammered, short enough to be
unnoticed when it was a blip."""
BACKOFF_MAX_S = 5.0
"""Longest pause: a dependency that is back is used at most this much later."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock (seconds)."""

    at_s: float
    clock: Clock

    @classmethod
    def after(cls, seconds: float, clock: Clock = SYSTEM_CLOCK) -> Deadline:
        return cls(clock.monotonic() + seconds, clock)

    @property
    def left_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at_s - self.clock.monotonic())

    @property
    def passed(self) -> bool:
        return self.left_s == 0.0


def backoff_s(first_s: float = BACKOFF_FIRST_S, max_s: float = BACKOFF_MAX_S) -> Iterator[float]:
    """Pauses in seconds: doubling up to `max_s`, each with up to a quarter taken off so that peers spread out."""
    pause = first_s
    while True:
        yield pause * (1 - 0.25 * random.random())  # noqa: S311 - spreads load, protects nothing
        pause = min(max_s, pause * 2)
