"""Stopping before a bad release drains a topic into the dead letters.

Owns the arithmetic of the dead-letter limit. Pure: refuses I/O. Used by whatever consumes: `dataflows/runner.py`,
`streams/agent.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from topics import catalog as topic_catalog

LIMIT_WINDOW = 2_000
"""Offsets of a partition that the share of dead letters is taken over. Its absolute form (5 % are 100 records)
keeps a partition with three records, two of them bad, from stopping a flow."""


@dataclass(frozen=True, slots=True)
class DeadLetterLimit:
    """How many dead letters a partition may have before the flow stops. 0 for both turns a limit off."""

    consecutive_max: int
    ratio_max: float
    window: int = LIMIT_WINDOW

    def breach(self, earlier: Iterable[int], offsets: Sequence[int], dead: frozenset[int] | set[int]) -> str | None:
        """Why the dead letters among `offsets` (a batch, ascending) must not be written, or None.

        `earlier` are the offsets of dead letters already kept, ascending, from at most one window before the batch. A
        run goes on over the batch's start when they end right before it: the count is a property of the log, and
        survives restarts.
        """
        if not dead:
            return None
        recent = deque(earlier)
        run = _run_length(recent, offsets[0])
        for offset in offsets:
            if offset not in dead:
                run = 0
                continue
            run += 1
            recent.append(offset)
            if self.consecutive_max and run > self.consecutive_max:
                return f"more than {self.consecutive_max} records in a row cannot be processed"
            while recent[0] <= offset - self.window:
                recent.popleft()
            if self.ratio_max and len(recent) > self.ratio_max * self.window:
                share = f"{len(recent)} of the last {self.window} records"
                return f"{share} cannot be processed, the limit is {self.ratio_max:.0%}"
        return None


def _run_length(ascending: Sequence[int], end: int) -> int:
    """How many of the last numbers lead up to `end` without a gap."""
    run = 0
    while run < len(ascending) and ascending[-1 - run] == end - 1 - run:
        run += 1
    return run


NO_LIMIT = DeadLetterLimit(0, 0)


def limit_of(topic: str) -> DeadLetterLimit:
    """What the topic's file says, by the name of its contract."""
    dlq = topic_catalog.load()[topic].dlq
    return DeadLetterLimit(dlq.consecutive_max, dlq.ratio_max) if dlq else NO_LIMIT
