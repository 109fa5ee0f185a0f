"""From a schedule that fails to a smallest one that still does: delta debugging, then shorter hangs.

Owns the search. It asks `fails` and nothing else, so with a `fails` that is a function of its argument the result is
one too. Refuses to run anything by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.crash.schedule import HANG_S, Fault

Fails = Callable[[Sequence[Fault]], bool]

RUNS_MAX = 40
"""Schedules that are tried. One takes about a minute; a single culprit among a dozen faults takes eight."""


@dataclass
class _Budget:
    """`fails`, asked once for each schedule and so often in all; what is not asked any more counts as not failing."""

    fails: Fails
    left: int
    known: dict[tuple[Fault, ...], bool] = field(default_factory=dict)

    def __call__(self, faults: Sequence[Fault]) -> bool:
        key = tuple(faults)
        if key not in self.known:
            if self.left <= 0:
                return False
            self.left -= 1
            self.known[key] = self.fails(key)
        return self.known[key]


def shrink(faults: Sequence[Fault], fails: Fails, runs_max: int = RUNS_MAX) -> list[Fault]:
    """A part of `faults` of which no single fault can be left out (within `runs_max` runs), its hangs as short as they
    can be. `faults` itself is taken to fail."""
    asked = _Budget(fails, runs_max)
    smallest = _minimal(list(faults), asked)
    return _shorter(smallest, asked)


def _minimal(faults: list[Fault], fails: _Budget) -> list[Fault]:
    """Zeller's ddmin: try each part alone, then everything but a part, then finer parts."""
    parts = 2
    while len(faults) > 1:
        for candidate in _candidates(faults, parts):
            if fails(candidate):
                parts = 2 if len(candidate) <= len(faults) // parts + 1 else max(parts - 1, 2)
                faults = candidate
                break
        else:
            if parts >= len(faults):
                break
            parts = min(len(faults), parts * 2)
    return faults


def _candidates(faults: list[Fault], parts: int) -> Iterator[list[Fault]]:
    bounds = [round(index * len(faults) / parts) for index in range(parts + 1)]
    pieces = [(low, high) for low, high in pairwise(bounds) if low < high]
    yield from (faults[low:high] for low, high in pieces)
    if len(pieces) > 2:  # of two, everything but one is the other
        yield from (faults[:low] + faults[high:] for low, high in pieces)


def _shorter(faults: list[Fault], fails: _Budget) -> list[Fault]:
    for index, fault in enumerate(faults):
        while fault.kind == "hang" and fault.lasts_s / 2 >= HANG_S[0]:
            halved = fault._replace(lasts_s=round(fault.lasts_s / 2, 1))
            candidate = [*faults[:index], halved, *faults[index + 1 :]]
            if not fails(candidate):
                break
            fault, faults = halved, candidate
    return faults
