"""`adriatic migrate`: bring a database to what this release needs."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from runtime.deadline import Deadline
from runtime.settings import load


@click.command()
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the server, and for another migration to end.",
)
@click.option("--no-bootstrap", is_flag=True, help="Roles, database and extension exist already; only migrate.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def migrate(wait_s: float, no_bootstrap: bool, as_json: bool) -> None:
    """Create the database if it is missing, then apply the migrations that it does not have yet.

    Safe to run again, and by several at once: one works, the others wait. Ends with 0 when the database is up to date.
    """
    from connectors.postgres.provision import provision

    report = provision(
        load().postgres,
        Deadline.after(wait_s),
        bootstrap=not no_bootstrap,
        progress=lambda text: click.echo(text, err=True),
    )
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    done = f"{len(report.applied)} applied" if report.applied else "nothing to do"
    click.echo(f"database {report.database}: at migration {report.version}, {done}; pgvector {report.pgvector}")
    if report.ahead:
        click.echo(f"{report.ahead} of its migrations are newer than this release", err=True)
