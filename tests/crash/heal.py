"""`make heal`: every process of a copy of the system is killed and stopped in turn, and status is held to what is so.

    make heal                                         each for a minute: about an hour
    make heal ARGS="--seconds 10 --part cdc"          one part, for ten seconds
    make heal ARGS="--part postgres/walsender"        one process of Postgres
    make heal ARGS="--kind stop --part kafka --part watch"

Ends with 0 when status was never `ok` and no view `fresh` while it was not so, all was `ok` within 30 s afterwards,
every write that was acknowledged can be found, nothing died and `adriatic verify` is clean. The supervisor comes last:
whoever kills it starts another.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import get_args

import click

from tests.copies import Copy, running_copy
from tests.crash import checks
from tests.crash.healing import WELL_S_MAX, Kind, Trial, run
from tests.crash.ring import made_tenant
from tests.crash.running import Hits
from tests.crash.schedule import SUPERVISOR
from tests.system.conftest import World, eventually

SETTINGS = "[api]\nworkers = 2\n"
"""With two, each of them is a process that may be hit alone."""
READY_S_MAX = 120.0
"""Until a new system that is ready has looked at itself often enough to say that it is well."""


def heal(
    copy: Copy,
    trials: Sequence[tuple[str, Kind]],
    seconds: float,
    say: Callable[[Trial], None] = lambda _: None,
    promised_s: float = WELL_S_MAX,
) -> Iterator[str]:
    """Each trial in turn on a copy that runs, and at the end what is wrong, of all of them. All must be well again
    `promised_s` after each."""
    world = World(copy.settings, copy.environment)
    hits = Hits(copy)
    with made_tenant(world) as tenant:
        for part, kind in trials:
            eventually("all is well before", world.is_well, READY_S_MAX)
            trial = run(hits, world, tenant, part, kind, seconds, promised_s)
            say(trial)
            yield from (f"{part} {kind}: {problem}" for problem in trial.problems)
        yield from checks.guarded(checks.healed(world), "health")
        yield from checks.guarded(checks.verified(world, tenant), "verify")
        yield from checks.guarded(checks.topics(world, tenant), "topics")


def all_trials(hits: Hits, seed: int | None = None) -> list[tuple[str, Kind]]:
    """Every process in both ways, in the order of its kinds or in that of a seed. Of the processes of Postgres one is
    killed: they all end with it."""
    found: list[tuple[str, Kind]] = [(part, kind) for part in hits.targets() for kind in get_args(Kind)]
    backends = hits.backends()
    found += [(backend, "stop") for backend in backends]
    found.append((random.Random(seed).choice(backends), "kill"))
    if seed is not None:
        random.Random(seed).shuffle(found)
    return sorted(found, key=lambda trial: trial[0] == SUPERVISOR)


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="How long a process is stopped.")
@click.option("--part", "parts", multiple=True, help="Only this one, such as cdc, api/1 or postgres/walsender.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(get_args(Kind)), help="Only this way.")
@click.option("--seed", type=int, help="In the order of this seed.  [default: as the parts are kept]")
def main(seconds: float, parts: tuple[str, ...], kinds: tuple[Kind, ...], seed: int | None) -> None:
    """Kill and stop every process in turn; status is true throughout, and all is well soon afterwards."""
    done: list[Trial] = []

    def say(trial: Trial) -> None:
        done.append(trial)
        click.echo(_row(trial))
        for problem in trial.problems:
            click.echo(f"    PROBLEM {problem}")

    with running_copy(SETTINGS) as copy:
        hits = Hits(copy)
        named = [(part, kind) for part in parts for kind in get_args(Kind)]
        trials = named or all_trials(hits, seed)
        problems = list(heal(copy, [each for each in trials if not kinds or each[1] in kinds], seconds, say))
    _table(done)
    for problem in problems:
        click.echo(f"PROBLEM {problem}")
    sys.exit(1 if problems else 0)


def _row(trial: Trial) -> str:
    return " ".join(map(str, (trial.part, trial.kind, *_figures(trial))))


def _figures(trial: Trial) -> list[str]:
    times = (trial.away_s, trial.seen_s, trial.well_s)
    return [*("-" if each is None else f"{each:.1f}" for each in times), str(trial.writes), str(len(trial.problems))]


def _table(trials: Sequence[Trial]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("part", "", "away s", "seen s", "ok s", "writes", "problems"):
        table.add_column(column, justify="left" if column in ("part", "") else "right")
    for each in trials:
        table.add_row(each.part, {"kill": "killed", "stop": "stopped"}[each.kind], *_figures(each))
    Console(soft_wrap=True).print(table)


if __name__ == "__main__":
    main()
