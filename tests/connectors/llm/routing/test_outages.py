"""What an outage costs several processes that each learn of it alone: hours of it, on a clock that does not run.

`python -m tests.connectors.llm.routing.test_outages` prints the table of decision 0052.
"""

from __future__ import annotations

import heapq
import random
from itertools import count

import pytest

from connectors.llm.failures import Failure
from connectors.llm.routing.breaker import CONSECUTIVE_MAX, COOLDOWN_S, COOLDOWN_S_MAX, PROBES_MAX, Breaker, Permit
from runtime.clock import ManualClock

OUTAGE_S = 600.0
DOWN = Failure("timeout", "test")


def simulate(processes: int, answers_per_s: float, fails_after_s: float, seed: int = 0) -> tuple[int, int]:
    """Answers that come during the outage, and those of them that ask the endpoint in vain."""
    clock, draw, order = ManualClock(), random.Random(seed), count()
    breakers = [Breaker(clock, draw.random) for _ in range(processes)]
    failing: list[tuple[float, int, Permit]] = []
    began_s = clock.monotonic()
    came = waited = 0
    next_s = 0.0
    while next_s < OUTAGE_S:
        while failing and failing[0][0] <= next_s:
            at_s, _, failed = heapq.heappop(failing)
            clock.sleep(max(0.0, began_s + at_s - clock.monotonic()))
            failed.fail(DOWN)
        clock.sleep(max(0.0, began_s + next_s - clock.monotonic()))
        came += 1
        if permit := draw.choice(breakers).admit():
            waited += 1
            heapq.heappush(failing, (next_s + fails_after_s, next(order), permit))
        next_s += draw.expovariate(answers_per_s)
    return came, waited


def count_openings() -> int:
    """How often a breaker opens in the outage at most: each time twice as long, less up to a quarter."""
    opened, at_s = 1, 0.0
    while at_s < OUTAGE_S:
        at_s += 0.75 * min(COOLDOWN_S_MAX, COOLDOWN_S * 2.0 ** (opened - 1))
        opened += 1
    return opened


@pytest.mark.parametrize("processes", [1, 4, 16])
@pytest.mark.parametrize("answers_per_s", [0.5, 10.0, 100.0])
@pytest.mark.parametrize("fails_after_s", [0.05, 8.0])
@pytest.mark.parametrize("seed", range(3))
def test_an_outage_costs_each_process_a_few_answers_whatever_the_others_know(
    processes: int, answers_per_s: float, fails_after_s: float, seed: int
) -> None:
    came, waited = simulate(processes, answers_per_s, fails_after_s, seed)
    in_flight = answers_per_s * fails_after_s  # nobody can know anything before the first of them fails
    for_each = CONSECUTIVE_MAX + PROBES_MAX * count_openings()
    assert waited <= min(came, 2 * in_flight + processes * for_each)
    assert waited >= min(came, CONSECUTIVE_MAX)


if __name__ == "__main__":
    for fails_after_s in (8.0, 0.05):
        for answers_per_s in (1.0, 10.0, 50.0):
            cells = []
            for processes in (1, 4, 8):
                runs = [simulate(processes, answers_per_s, fails_after_s, seed) for seed in range(20)]
                cells.append(f"{100 * sum(run[1] for run in runs) / sum(run[0] for run in runs):.2f} %")
            print(f"fails after {fails_after_s:g} s, {answers_per_s:g} answers a second: {' | '.join(cells)}")
