"""`adriatic verify`: is every view what its source says?

Exit codes: 0 clean, 1 differences (printed), 3 cannot tell of everything (a dependency does not answer, or a view is
too far behind; the others were compared).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from adriatic.cli.output import json_option
from adriatic.cli.people import name_actor
from adriatic.cli.waiting import wait_option
from runtime.deadline import Deadline
from runtime.settings import Settings, load

if TYPE_CHECKING:
    from connectors.embedders.spaces import SpaceEmbedders
    from dataflows.comparison import VerifyReport
    from dataflows.repair import Repair


@click.command()
@click.option("--tenant", help="Slug or id of one tenant.  [default: all]")
@click.option("--view", help="Name of one view: what its flow keeps.  [default: all]")
@click.option("--sample", type=click.IntRange(0), help="Recompute at most so many vectors a tenant.  [default: all]")
@click.option(
    "--repair",
    is_flag=True,
    help="Make anew what differs, of one --tenant or one --view: its flow reads the log again. Then compare again.",
)
@wait_option(60.0, "How long the flows may take to reach the present; 0 compares at once.")
@json_option()
def verify(
    tenant: str | None, view: str | None, sample: int | None, repair: bool, wait_s: float, as_json: bool
) -> None:
    """Recompute what the flows keep, and compare. Repairs nothing but with --repair.

    Passages and vectors are made anew from the newest versions; feed, counts and active users from all versions; usage
    from the ledger of attempts; what jobs are at from the jobs. A view that does not reach the present in time is
    named, and all others are compared.
    """
    if repair and tenant is None and view is None:
        raise click.UsageError("--repair is for one --tenant or one --view; `adriatic recover` makes everything anew")
    settings = load()
    with _embedder(settings, sample) as embedder:
        report = compare(settings, embedder, wait_s, tenant, sample, view)
        repairs: Sequence[Repair] = ()
        if repair and report.differences_total:
            from dataflows.repair import repair as begin

            repairs = begin(settings, report, name_actor())
            report = compare(settings, embedder, wait_s, tenant, sample, view)
    if as_json:
        click.echo(json.dumps(to_json(report) | {"repaired": [asdict(one) for one in repairs]}, default=str))
    else:
        for one in repairs:
            click.echo(f"{'refused' if one.refused else 'repaired':12} {one.flow} of {one.tenant_id} {one.refused}")
        print_report(report)
    sys.exit(exit_code(report))


def compare(
    settings: Settings,
    embedder: SpaceEmbedders | None,
    wait_s: float,
    tenant: str | None = None,
    sample: int | None = None,
    view: str | None = None,
) -> VerifyReport:
    """Compare, after the flows had `wait_s` seconds to reach the present; 0 compares at once."""
    from dataflows.oracle import verify as compare_all

    return compare_all(settings, embedder, Deadline.after(wait_s) if wait_s else None, tenant, sample, view=view)


def _embedder(settings: Settings, sample: int | None) -> Any:
    from connectors.embedders.spaces import SpaceEmbedders

    return nullcontext() if sample == 0 else closing(SpaceEmbedders.from_settings(settings.embedder, settings.secrets))


def exit_code(report: VerifyReport) -> int:
    """Differences are known for certain, so they come before what cannot be told."""
    return 1 if report.differences_total else 3 if report.stuck else 0


def to_json(report: VerifyReport) -> dict[str, Any]:
    """What `--json` prints of a report."""
    found = asdict(report)
    for name in ("flow", "flows", "wrong_vectors"):
        del found[name]
    return {**found, "clean": report.clean}


def print_report(report: VerifyReport) -> None:
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
    for stuck in report.stuck:
        click.echo(f"{'stuck':12} view {stuck.view} {stuck.detail}: not compared (`adriatic status` says why)")
    verdict = f"{report.differences_total} differences" if report.differences_total else "clean"
    if report.stuck:
        what = verdict if report.differences_total else "no difference in the rest"
        verdict = f"{len(report.stuck)} views not compared, {what}"
    click.echo(f"{verdict} at {report.lsn}; dead letters: {report.dead_letters}")
