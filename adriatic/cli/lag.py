"""`adriatic lag`: how far behind consumer groups are, and one of them by partition."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click
import msgspec

from adriatic.cli.output import json_option, show
from adriatic.cli.status_view import count, groups
from adriatic.watch import overview
from runtime.errors import NotFound
from runtime.settings import load
from schemas.pipeline import GroupLag, mask_stale


@click.command()
@click.argument("group", required=False)
@json_option()
def lag(group: str | None, as_json: bool) -> None:
    """Lag of every consumer group, or of the partitions of GROUP. Worst first.

    Ours are adriatic.NAME (NAME alone will do); those of others are looked at too. What the words mean and what to do
    is in docs/how-to/operate.md. Ends with 0 when all that is shown is well, 1 when some of it is not, 3 when it cannot
    be told.
    """
    from connectors.postgres.watch import Watch

    with Watch(load(), "adriatic-lag") as watch:
        found = mask_stale(*watch.picture())
    shown = [each for each in found.groups if group in (None, each.group, each.group.removeprefix("adriatic."))]
    if group is not None and not shown:
        known = ", ".join(each.group for each in found.groups) or "none"
        raise NotFound(f"there is no group {group}", hint=f"known are {known}")
    show(as_json, msgspec.json.encode(shown), _lines(shown, partitions=group is not None))
    if found.reason:
        click.echo(found.reason, err=True)
    words = {each.status for each in shown}
    if found.reason or "unknown" in words:
        sys.exit(3)
    sys.exit(0 if words <= overview.WELL else 1)


def _lines(shown: Sequence[GroupLag], *, partitions: bool) -> Iterator[str]:
    yield from groups(shown, lambda text, _: text)
    for each in shown if partitions else ():
        if each.reason:
            yield f"  {each.reason}"
        yield f"{'TOPIC':<34} {'PART':>4} {'STATUS':<12}{'COMMITTED':>10}{'END':>10}{'RECORDS':>9}{'LAG':>10}"
        for at in each.partitions:
            seconds = "-" if at.lag_s is None else f"{at.lag_s:.1f} s"
            place = f"{at.topic:<34} {at.partition:>4} {at.status:<12}"
            yield f"{place}{count(at.committed):>10}{at.end:>10}{count(at.lag_records):>9}{seconds:>10}"
