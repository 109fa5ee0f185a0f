"""`adriatic verify`: is every view what its source says?

Exit codes: 0 clean, 1 differences (printed), 3 cannot tell (a dependency does not answer, the flows are too far
behind).
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from adriatic.cli.output import json_option
from adriatic.cli.waiting import wait_option
from runtime.deadline import Deadline
from runtime.settings import load

if TYPE_CHECKING:
    from dataflows.comparison import VerifyReport


@click.command()
@click.option("--tenant", help="Slug or id of one tenant.  [default: all]")
@click.option("--sample", type=click.IntRange(0), help="Recompute at most so many vectors a tenant.  [default: all]")
@wait_option(60.0, "How long the flows may take to reach the present; 0 compares at once.")
@json_option()
def verify(tenant: str | None, sample: int | None, wait_s: float, as_json: bool) -> None:
    """Recompute what the flows keep, and compare. Repairs nothing.

    Passages and vectors are made anew from the newest versions; feed, counts and active users from all versions; usage
    from the ledger of attempts; what jobs are at from the jobs.
    """
    from connectors.embedders import build
    from dataflows.oracle import verify as compare

    settings = load()
    embedder = None if sample == 0 else build(settings.embedder)
    try:
        report = compare(settings, embedder, Deadline.after(wait_s) if wait_s else None, tenant, sample)
    finally:
        if embedder is not None:
            embedder.close()
    if as_json:
        click.echo(json.dumps({**asdict(report), "clean": report.clean}, default=str))
    else:
        _print(report)
    sys.exit(0 if report.clean else 1)


def _print(report: VerifyReport) -> None:
    from adriatic.cli.tables import begin_table
    from schemas.sources import KINDS

    columns = (
        *("tenant", *KINDS, "deleted"),
        *("passages", "with vector", "vectors recomputed", "differences"),
    )
    console, table = begin_table(*columns)
    for row in report.tenants:
        counts = (
            *(*(row.sources.get(kind, 0) for kind in KINDS), row.deleted),
            *(row.chunks, row.vectors, row.vectors_recomputed, row.differences),
        )
        table.add_row(row.slug, *map(str, counts))
    console.print(table)
    for difference in report.differences:
        click.echo(f"{difference.kind:12} {difference.where}: {difference.detail}")
    if (unsaid := report.differences_total - len(report.differences)) > 0:
        click.echo(f"… and {unsaid} more")
    verdict = "clean" if report.clean else f"{report.differences_total} differences"
    click.echo(f"{verdict} at {report.lsn}; dead letters: {report.dead_letters}")
