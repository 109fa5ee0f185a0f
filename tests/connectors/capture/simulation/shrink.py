"""Makes a schedule that fails small.

Owns the search: leave out stretches of steps while it still fails, long ones first; then make what is left plain. Any
fault counts, not only the first one: what matters is a schedule that a person can read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.connectors.capture.simulation.schedule import Step

RUNS_MAX = 600
"""Runs of one search: a few seconds."""

Run = Callable[[Sequence[Step]], str | None]


def shrink(steps: Sequence[Step], run: Run, runs_max: int = RUNS_MAX) -> list[Step]:
    """The smallest schedule found that still fails. `steps` fails."""
    left = runs_max

    def fails(candidate: Sequence[Step]) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and run(candidate) is not None

    small = list(steps)
    while left > 0:
        before = list(small)
        small = _leave_out(small, fails)
        small = _make_plain(small, fails)
        if small == before:
            break
    return small


def _leave_out(steps: list[Step], fails: Callable[[Sequence[Step]], bool]) -> list[Step]:
    length = max(1, len(steps) // 2)
    while length:
        at = 0
        while at < len(steps):
            candidate = steps[:at] + steps[at + length :]
            if fails(candidate):
                steps = candidate
            else:
                at += length
        length //= 2
    return steps


def _make_plain(steps: list[Step], fails: Callable[[Sequence[Step]], bool]) -> list[Step]:
    """Each number that need not be what it is."""
    plain = ({"calls": 0, "pause_s": 0.0}, {"calls": 0, "pause_s": 1.1}, {"lasts_s": 0.05}, {"a": 0}, {"b": 0})
    for at in range(len(steps)):
        for changed in plain:
            plainer = steps[at]._replace(**changed)
            candidate = [*steps[:at], plainer, *steps[at + 1 :]]
            if plainer != steps[at] and fails(candidate):
                steps = candidate
    return steps
