"""`make crash`: the crash ring at length, on a copy of the system that it starts and deletes.

    make crash                                        three seeds of one minute each
    make crash ARGS="--seeds 20 --minutes 5"          longer
    make crash ARGS="--seed 7 --schedule '3 kill cdc'"   one run again, with these faults
    make crash ARGS="--processes 2"                   two of each flow and agent
    make crash ARGS="--mutant no-ledger"              break a law on purpose: must fail, and shrink

Ends with 0 when every run was clean. A run that fails is shrunk to a smallest schedule that still fails, which is
printed with the command that runs it again.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from tests.copies import Copy, running_copy
from tests.crash.mutants.sitecustomize import MUTANTS
from tests.crash.ring import DRIVERS, Outcome, run
from tests.crash.schedule import Fault, parse, show
from tests.crash.shrink import RUNS_MAX, shrink


class Ring:
    """Runs on one copy of the system, and on a new one after a failure: what failed may be broken for good."""

    def __init__(self, stack: ExitStack, mutant: str | None, only: Sequence[str], processes: int) -> None:
        self._stack = stack
        self._only = only
        self._processes = processes
        self._extra: dict[str, str] = {}
        if mutant is not None:
            folder = Path(__file__).parent / "mutants"
            self._extra = {"PYTHONPATH": str(folder), "CRASH_MUTANT": mutant}
        self._copy: Copy | None = None

    def run(self, seed: int, duration_s: float, faults: Sequence[Fault] | None = None) -> Outcome:
        if self._copy is None:
            settings = f"[stack]\nprocesses = {self._processes}\n[api]\nworkers = {self._processes}\n"
            self._copy = self._stack.enter_context(running_copy(settings, (), **self._extra))
        outcome = run(self._copy, seed, duration_s, faults, self._only)
        outcome.processes = self._processes
        if outcome.problems:
            self._stack.close()
            self._copy = None
        return outcome


@click.command()
@click.option("--seeds", default=3, show_default=True, help="How many runs, each with the next seed.")
@click.option("--minutes", default=1.0, show_default=True, help="How long faults happen in each run.")
@click.option("--seed", type=int, help="The first seed.  [default: random, and printed]")
@click.option("--schedule", "text", help="One run with these faults, as a run printed them.")
@click.option("--mutant", type=click.Choice(sorted(MUTANTS)), help="Break this law on purpose.")
@click.option(
    "--driver", "only", multiple=True, type=click.Choice([kind.name for kind in DRIVERS]), help="Only this use."
)
@click.option("--processes", default=1, show_default=True, help="So many of each flow and agent, and of the API.")
@click.option("--shrink-runs", default=RUNS_MAX, show_default=True, help="At most so many runs to shrink; 0: do not.")
def main(
    seeds: int,
    minutes: float,
    seed: int | None,
    text: str | None,
    mutant: str | None,
    only: tuple[str, ...],
    processes: int,
    shrink_runs: int,
) -> None:
    """Kill and hang every process in turn under a mixed load; afterwards nothing is lost, doubled or dead."""
    first = random.randrange(2**31) if seed is None else seed
    given = parse(text) if text is not None else None
    outcomes: list[Outcome] = []
    with _ring(mutant, only, processes) as ring:
        for number in range(first, first + (1 if given is not None else seeds)):
            outcome = ring.run(number, minutes * 60, given)
            outcomes.append(outcome)
            click.echo(outcome)
            if outcome.problems and shrink_runs:
                _shrunk(ring, outcome, minutes * 60, shrink_runs)
    _table(outcomes)
    sys.exit(1 if any(outcome.problems for outcome in outcomes) else 0)


@contextmanager
def _ring(mutant: str | None, only: Sequence[str], processes: int) -> Iterator[Ring]:
    with ExitStack() as stack:
        yield Ring(stack, mutant, only, processes)


def _shrunk(ring: Ring, outcome: Outcome, duration_s: float, runs_max: int) -> None:
    def fails(faults: Sequence[Fault]) -> bool:
        tried = ring.run(outcome.seed, duration_s, list(faults))
        click.echo(f"  shrinking: {'fails' if tried.problems else 'clean'} with {show(faults)}", err=True)
        return bool(tried.problems)

    smallest = shrink(outcome.faults, fails, runs_max)
    again = Outcome(outcome.seed, smallest, outcome.processes).command
    click.echo(f"smallest that failed, {len(smallest)} of {len(outcome.faults)} faults: {show(smallest)}\n  {again}")


def _table(outcomes: Sequence[Outcome]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("seed", "faults", "missed", "acknowledged", "took s", "healed s", "problems"):
        table.add_column(column, justify="right")
    for each in outcomes:
        counts = (len(each.hits), len(each.missed), sum(each.acts.values()))
        times = (f"{each.took_s:.0f}", f"{each.healed_s:.0f}", str(len(each.problems)))
        table.add_row(str(each.seed), *map(str, counts), *times)
    Console(soft_wrap=True).print(table)


if __name__ == "__main__":
    main()
