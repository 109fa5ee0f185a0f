"""`adriatic migrate`: bring a database to what this release needs."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from adriatic.cli.output import json_option, show
from adriatic.cli.waiting import wait_option
from runtime.deadline import Deadline
from runtime.settings import load


@click.command()
@wait_option(30.0, "How long to wait for the server, and for another migration to end.")
@click.option("--no-bootstrap", is_flag=True, help="Roles, database and extension exist already; only migrate.")
@json_option("Print what was done as JSON.")
def migrate(wait_s: float, no_bootstrap: bool, as_json: bool) -> None:
    """Create the database if it is missing, then apply the migrations that it does not have yet.

    Safe to run again, and by several at once: one works, the others wait. Ends with 0 when the database is up to date.
    """
    from connectors.postgres.positions import forget_foreign
    from connectors.postgres.provision import provision

    settings = load()
    report = provision(
        settings.postgres,
        Deadline.after(wait_s),
        bootstrap=not no_bootstrap,
        progress=lambda text: click.echo(text, err=True),
    )
    done = f"{len(report.applied)} applied" if report.applied else "nothing to do"
    if forget_foreign(settings.postgres, settings.cdc.slot):
        click.echo("another server was captured: no view says how far it is until `adriatic recover`", err=True)
    line = f"database {report.database}: at migration {report.version}, {done}; pgvector {report.pgvector}"
    ahead = f"{report.ahead} of its migrations are newer than this release" if report.ahead else ""
    show(as_json, json.dumps(asdict(report)), [line], ahead)
