"""Hedging: when a second target is asked because the first has given nothing yet, and whose content counts.

Owns the wait before the second is asked, and the decision which of the two answers. Pure: it has no I/O, and no clock
but the numbers that it is given. Refuses to ask anybody (`router` gives leave, `api/chat/racing.py` asks), and to count
money. After Dean and Barroso, The Tail at Scale (2013): a second request for the slowest few percent.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

SAMPLES_MAX = 100
"""First-token times of an endpoint that are remembered: what it did in the last minutes."""
SAMPLES_MIN = 20
"""Least number of times that are known before a quantile says anything."""

HedgeOutcome = Literal["won", "lost", "failed"]
"""What became of a second target: it had content first, the first one had, or it failed without any."""


class FirstTokenTimes:
    """How long an endpoint took until its first content, of late. In seconds."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=SAMPLES_MAX)

    def note(self, took_s: float) -> None:
        """Remember one. Of an answer that lost before it had any content it is the time that it had: it would have
        taken longer, and leaving it out would make a slow endpoint look like a fast one."""
        self._times_s.append(took_s)

    def find_quantile(self, quantile: float) -> float | None:
        """The time within which this share of them had content; None while too few are known."""
        if len(self._times_s) < SAMPLES_MIN:
            return None
        ordered = sorted(self._times_s)
        return ordered[min(len(ordered) - 1, math.ceil(quantile * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class HedgePolicy:
    """When a model's second target is asked: after `after_s` seconds, and where there is a quantile, not before that
    share of the recent answers of the first would have begun."""

    after_s: float
    quantile: float | None = None

    def find_wait(self, times: FirstTokenTimes) -> float:
        """Seconds without content after which the second is asked."""
        known = times.find_quantile(self.quantile) if self.quantile is not None else None
        return self.after_s if known is None else max(self.after_s, known)


class HedgeRace:
    """Two runners at most, by their numbers: the first is 0, the second 1. Who has content first has won, and nobody
    else can. `may_begin` says whether the second may still begin, which it may once."""

    def __init__(self, wait_s: float, began_s: float) -> None:
        self._due_s = began_s + wait_s
        self._second_began = False
        self._failed: set[int] = set()
        self.winner: int | None = None

    def find_wait(self, now_s: float) -> float:
        """Seconds until the second is due."""
        return max(0.0, self._due_s - now_s)

    def may_begin(self) -> bool:
        """Whether the second is to be asked, now that its wait is over: nobody has won or failed, and it is the only
        one."""
        return self.winner is None and not self._second_began and not self._failed

    def begin_second(self) -> None:
        """The second was asked."""
        self._second_began = True

    def claim(self, runner: int) -> bool:
        """Content came for a runner: whether the answer is its own. Asked again, it says the same."""
        if self.winner is None and runner not in self._failed:
            self.winner = runner
        return self.winner == runner

    def fail(self, runner: int) -> bool:
        """A runner failed without content: whether somebody else is still running, who may answer."""
        self._failed.add(runner)
        running = {0, 1} if self._second_began else {0}
        return bool(running - self._failed)

    @property
    def outcome(self) -> HedgeOutcome | None:
        """What became of the second, when all is over; None where it was not asked, or all were cancelled."""
        if 1 in self._failed:
            return "failed"
        if not self._second_began or self.winner is None:
            return None
        return "won" if self.winner == 1 else "lost"
