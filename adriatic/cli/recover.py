"""`adriatic recover`: topics and every view made equal to the database.

Exit codes: 0 done and clean (or nothing was asked to be done), 1 differences are left or another one runs, 3 something
does not answer or does not move: run it again, it goes on where it was.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from adriatic.cli.output import json_option
from adriatic.cli.people import name_actor
from adriatic.cli.verify import compare, exit_code, print_report, to_json
from adriatic.cli.waiting import retry_until
from runtime.clock import SYSTEM_CLOCK
from runtime.deadline import Deadline
from runtime.errors import AdriaticError, DependencyUnavailable
from runtime.settings import Settings, load

if TYPE_CHECKING:
    from adriatic.recovery.ledger import RecoveryRow
    from adriatic.recovery.machine import Machine, Show
    from adriatic.recovery.steps import Recovery
    from dataflows.comparison import VerifyReport

PATIENCE_S = 300.0
"""How long a step may stand still: a large tenant's batch of related ADRs takes a minute on a busy machine."""

LEFT = (
    "not recovered: what is named above differs. `adriatic recover --yes` compares again, with --from-start it makes "
    "everything anew, `adriatic verify --repair` mends what it can; until a comparison is clean, status is not ok"
)
DATABASE_S_MAX = 60.0
"""How long it waits for a database that is on its way up, in seconds."""
COMPARED_MAX = 3
"""How often views are compared, at the end, while something differs: users go on writing."""


@click.command()
@click.option("--yes", is_flag=True, help="Do it. Without it nothing is changed.")
@click.option("--dry-run", is_flag=True, help="Only say what is wrong and what would be done, also with --yes.")
@click.option("--from-start", is_flag=True, help="Begin again, where an earlier run has left off in the middle.")
@click.option(
    "--wait",
    "patience_s",
    type=click.FloatRange(1),
    default=PATIENCE_S,
    show_default=True,
    metavar="SECONDS",
    help="How long a step may stand still before this gives up for now.",
)
@click.option("--sample", type=click.IntRange(0), help="Recompute at most so many vectors a tenant.  [default: all]")
@json_option("Print one JSON object at the end.")
def recover(yes: bool, dry_run: bool, from_start: bool, patience_s: float, sample: int | None, as_json: bool) -> None:
    """Make topics and every view equal to the database.

    For a database that was restored, topics that were lost, a slot that is gone: everything that is derived is made
    anew from the rows that users wrote, then compared. Rows, dead letters, vectors, and the account of feeds stay.
    Topics that outsiders write to are read on; from their beginning, where they are not the ones that were read.

    Capture and flows hold meanwhile by themselves, the API goes on: writes are taken, and views say that they do not
    know how far they are. Ended in the middle, however, it goes on where it was when it is run again.
    """
    from adriatic.recovery.ledger import RecoveryRow

    settings = load()
    with retry_until(Deadline.after(DATABASE_S_MAX), lambda: RecoveryRow(settings.postgres)) as ledger:
        if dry_run or not yes:
            _say(settings, ledger, as_json)
            return
        ledger.lock()
        recovery = _begin(settings, ledger, from_start)
        began_s = SYSTEM_CLOCK.monotonic()
        with _progress(as_json) as show:
            machine = _machine(settings, ledger, show, patience_s)
            machine.run(recovery)
            show("verify", 0, None)
            report = _verify(settings, sample, patience_s)
        if report.stuck:
            print_report(report)
            raise DependencyUnavailable("a view does not reach the present", hint="then run it again: it compares anew")
        ledger.finish(recovery, report.differences_total)
    took_s = SYSTEM_CLOCK.monotonic() - began_s
    if as_json:
        steps = [asdict(took) for took in machine.took]
        click.echo(
            json.dumps(
                {"recovery": recovery.number, "seconds": took_s, "steps": steps, "verify": to_json(report)}, default=str
            )
        )
    else:
        print_report(report)
        click.echo(LEFT if report.differences_total else f"recovered in {took_s:.0f} s", err=True)
    sys.exit(exit_code(report))


def _machine(settings: Settings, ledger: RecoveryRow, show: Show, patience_s: float) -> Machine:
    from adriatic.recovery.machine import Machine

    return Machine(settings, ledger, show, lambda line: click.echo(line, err=True), patience_s)


def _begin(settings: Settings, ledger: RecoveryRow, from_start: bool) -> Recovery:
    """The recovery to do. One that was left off goes on, unless what it had done is gone: then it begins again."""
    from adriatic.recovery.machine import find_capture_halt
    from adriatic.recovery.steps import CAPTURE_HOLDS

    recovery = ledger.begin(name_actor())
    if from_start or (recovery.step not in CAPTURE_HOLDS and find_capture_halt(settings)):
        ledger.enter("hold")
    found = ledger.read()
    assert found is not None
    click.echo(f"recovery {found.number}, {found.describe()}", err=True)
    return found


def _verify(settings: Settings, sample: int | None, wait_s: float) -> VerifyReport:
    """Compare; vectors that are wrong are made anew once."""
    from connectors.embedders.spaces import SpaceEmbedders
    from dataflows.repair import repair

    with closing(SpaceEmbedders.from_settings(settings.embedder, settings.secrets)) as embedder:
        chosen = None if sample == 0 else embedder
        report = compare(settings, chosen, wait_s, sample=sample)
        if report.wrong_vectors:
            click.echo(f"{len(report.wrong_vectors)} vectors are not of their texts: made anew", err=True)
            repair(settings, report, name_actor())
            report = compare(settings, chosen, wait_s, sample=sample)
        for _ in range(COMPARED_MAX - 1):
            if report.clean:
                break
            report = _keep_lasting(report, compare(settings, chosen, wait_s, sample=sample))
    return report


def _keep_lasting(before: VerifyReport, after: VerifyReport) -> VerifyReport:
    """What differs twice. What was written while it was compared is under way, and differs once."""
    if after.differences_total == len(after.differences):
        after.differences = [each for each in after.differences if each in before.differences]
        after.differences_total = len(after.differences)
    return after


# --- what it says ---------------------------------------------------------------------------------------------------


def _say(settings: Settings, ledger: RecoveryRow, as_json: bool) -> None:
    """What is wrong, and what would be done. Changes nothing."""
    from adriatic.recovery import steps
    from adriatic.recovery.machine import find_faults, judge_outside
    from topics import catalog

    found = ledger.read()
    faults = find_faults(settings)
    try:
        logs: dict[str, Any] = dict(judge_outside(settings))
    except AdriaticError as error:
        logs = {}
        faults.append(f"what outsiders write cannot be told: {error.detail}")
    topics, tables = steps.list_remade_topics(catalog.load()), steps.list_emptied_tables()
    if as_json:
        under_way = asdict(found) if found else None
        plan = {"dry_run": True, "faults": faults, "under_way": under_way, "topics": topics, "tables": tables}
        click.echo(json.dumps({**plan, "logs": logs}, default=str))
        return
    for fault in faults:
        click.echo(f"wrong     {fault}")
    if found:
        click.echo(f"under way recovery {found.number}, {found.describe()}")
    click.echo(f"topics    {len(topics)} are deleted and made anew: all that change capture fills")
    click.echo(f"tables    {len(tables)} are emptied and made anew: {', '.join(tables)}")
    words = {
        "same": "is read on",
        "unknown": "is read from its beginning",
        "other": "is another one: read from its beginning",
    }
    for topic, log in logs.items():
        click.echo(f"feeds     {topic} {words[log]}")
    click.echo("stays     rows that users wrote, dead letters, vectors, the account of feeds")
    click.echo("nothing was changed: `adriatic recover --yes` does it", err=True)


@contextmanager
def _progress(as_json: bool) -> Iterator[Show]:
    """Shows each step on standard error: a bar on a terminal, a line elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from adriatic.recovery.steps import MEANINGS, Step

    if as_json or not sys.stderr.isatty():
        said: set[str] = set()

        def say(step: Step, done: int, total: int | None) -> None:
            del done, total
            if step not in said:
                said.add(step)
                click.echo(f"{step}: {MEANINGS[step]}", err=True)

        yield say
        return
    from rich.console import Console

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def move(step: Step, done: int, total: int | None) -> None:
            if step not in tasks:
                for task in tasks.values():
                    bars.update(task, total=1, completed=1)
                    bars.stop_task(task)
                tasks[step] = bars.add_task(f"{step}: {MEANINGS[step]}", total=total)
            bars.update(tasks[step], completed=done, total=total)

        yield move
