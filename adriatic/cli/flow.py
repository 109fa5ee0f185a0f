"""`adriatic flow`: the dataflows as processes."""

from __future__ import annotations

import json
import sys

import click

from adriatic.cli import process
from adriatic.cli.output import json_option, show
from runtime.errors import Fenced
from runtime.settings import load


@click.group()
def flow() -> None:
    """The dataflows: topics to tables."""


@flow.command("list")
@json_option()
def list_(as_json: bool) -> None:
    """Which flows there are, and what each of them does."""
    from dataflows.catalog import flows

    found = [{"name": name, "does": flow.about} for name, flow in flows().items()]
    show(as_json, json.dumps(found, ensure_ascii=False), (f"{each['name']:10} {each['does']}" for each in found))


@flow.command()
@click.argument("name")
@process.dead_letter_option
def run(name: str, dead_letter_limit: bool) -> None:
    """Run one flow until SIGTERM.

    Starts without its dependencies and says at /health/ready what it waits for. A flow that must not go on (offsets
    that expired, too many dead letters) stays up, not ready, with the reason: starting it again would not help.
    """
    from adriatic.recovery.hold import hold_flow
    from dataflows.catalog import build
    from dataflows.runner import Runner

    settings = load()
    life = process.start(f"flow-{name}", settings)
    try:
        with hold_flow(settings, f"flow-{name}", life) as free, process.stay_when_halted(life):
            if free:
                Runner(build(name, settings), settings, life, dead_letter_limit=dead_letter_limit).run()
    except Fenced:
        sys.exit(1)  # said why already; a fresh start reads where the flow stands now
