"""The command: schedules for so many seconds, one seed, or the mutants.

Ends with 0 when everything was as it must be. A fault is printed with its seed and its smallest schedule.
"""

from __future__ import annotations

import sys
from itertools import count

import click

from runtime.clock import SYSTEM_CLOCK
from tests.connectors.capture.simulation.mutants import MUTANTS, SEEDS_MAX, hunt
from tests.connectors.capture.simulation.quiet import quieten
from tests.connectors.capture.simulation.schedule import generate, show
from tests.connectors.capture.simulation.shrink import shrink
from tests.connectors.capture.simulation.world import run

FAULTS_MAX = 5
"""After so many the rest tells nothing new."""


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="How long to go on.")
@click.option("--seed", type=int, help="Only this seed.")
@click.option("--first", default=0, show_default=True, help="The first seed of many.")
@click.option("--mutants", is_flag=True, help="Break each law on purpose: all must be caught.")
def main(seconds: float, seed: int | None, first: int, mutants: bool) -> None:
    """Run schedules through the core of change capture."""
    quieten()
    if mutants:
        sys.exit(_hunt_all())
    if seed is not None:
        print(show(generate(seed)))
        sys.exit(_try(seed))
    sys.exit(_run_many(first, seconds))


def _run_many(first: int, seconds: float) -> int:
    started_s = SYSTEM_CLOCK.monotonic()
    faults = done = 0
    for seed in count(first):
        if SYSTEM_CLOCK.monotonic() - started_s > seconds or faults >= FAULTS_MAX:
            break
        faults += _try(seed)
        done += 1
    took_s = SYSTEM_CLOCK.monotonic() - started_s
    print(f"{done} schedules (seeds {first} to {first + done - 1}), {done / took_s * 60:.0f} a minute, {faults} faults")
    return int(faults > 0)


def _try(seed: int) -> int:
    """1 for a fault."""
    steps = generate(seed)
    fault = run(steps)
    if fault is None:
        return 0
    small = shrink(steps, run)
    print(f"seed {seed}: {fault}\nsmallest schedule, with: {run(small)}\n{show(small)}")
    return 1


def _hunt_all() -> int:
    missed = 0
    for name in MUTANTS:
        found = hunt(name, range(SEEDS_MAX))
        if found is None:
            missed += 1
            print(f"{name}: NOT CAUGHT by {SEEDS_MAX} seeds")
        else:
            seed, small, fault = found
            print(f"{name}: seed {seed}, {fault}\n{show(small)}")
    return int(missed > 0)


if __name__ == "__main__":
    main()
