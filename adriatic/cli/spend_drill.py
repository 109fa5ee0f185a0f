"""`adriatic spend drill`: rehearse that spending can be stopped.

Owns how the steps look in a terminal, and the exit code. Refuses the steps (`adriatic/drill/spending.py`).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from adriatic.cli.output import json_option
from runtime import logs
from runtime.settings import Settings, load

if TYPE_CHECKING:
    from adriatic.drill.steps import DrillStep

WITHIN_S = 1.0
"""How long everything may take to stop, unless it is told: what is promised."""


@click.command()
@click.option(
    "--within",
    "within_s",
    type=click.FloatRange(0, min_open=True),
    default=WITHIN_S,
    show_default=True,
    help="Seconds in which everything must have stopped.",
)
@click.option("--verbose", is_flag=True, help="Show the lines of the log too, those of the alerts among them.")
@json_option("Print the steps as JSON, when all are done.")
def drill(within_s: float, verbose: bool, as_json: bool) -> None:
    """Rehearse alerts, the switch, 110 % of a budget, and an override, and see that the books close.

    It makes a scratch database on the configured server, with a tenant, a budget and a made-up price; starts two API
    processes and a provider that is none; does each step as a client would; and takes all of it away again. Nothing of
    the installation is touched, and no model is asked. It needs the administrator's password, as `adriatic migrate`
    does. One that is killed leaves the database `adriatic_drill_…` behind.

    Ends with 0 when each step found what it must, with 1 at the first that did not, and with 3 when Postgres does not
    answer.
    """

    def tell(step: DrillStep) -> None:
        if not as_json:
            click.echo(f"{'ok' if step.passed else 'FAILED':6} {step.took_ms:6} ms  {step.name}: {step.detail}")

    settings = load()
    # The alerts of a drill are made up: whoever reads standard error must not take them for true ones.
    telemetry = settings.telemetry if verbose else settings.telemetry.model_copy(update={"log_level": "ERROR"})
    logs.configure("drill", telemetry)
    steps = asyncio.run(_rehearse(settings, within_s, tell))
    passed = all(step.passed for step in steps)
    if as_json:
        click.echo(msgspec.json.encode({"passed": passed, "steps": steps}))
    sys.exit(0 if passed else 1)


async def _rehearse(settings: Settings, within_s: float, tell: Callable[[DrillStep], None]) -> Sequence[DrillStep]:
    from adriatic.drill.scratch import open_scratch
    from adriatic.drill.spending import SpendDrill

    async with open_scratch(settings) as scratch:
        return await SpendDrill(scratch, within_s, tell).run()
