"""`adriatic usage`: what was asked of language models, and what that cost.

Owns how tokens and money look in a terminal. Refuses to add up by itself: what it shows is what any client of the API
gets.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
import msgspec

from adriatic.cli.output import json_option
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options

if TYPE_CHECKING:
    from api.usage.service import By, UsageReport, UsageRow, UsageTotals

MICRO_USD = 1_000_000


@click.command("usage")
@click.option(
    "--by",
    type=click.Choice(["hour", "day", "model", "user", "key"]),
    default="day",
    show_default=True,
    help="What a row is of. A key is the credential that a request came with.",
)
@click.option("--from", "first", metavar="TIME", help="Hours or days that begin then or later (2026-01-15, in UTC).")
@click.option("--to", "end", metavar="TIME", help="Hours or days that begin before.")
@click.option("--limit", type=click.IntRange(1, 1000), default=31, show_default=True, help="Rows at most.")
@where_options
@json_option("Print the answer of the API as JSON.")
def usage(by: By, first: str | None, end: str | None, limit: int, where: Where, as_json: bool) -> None:
    """Tokens and money of a tenant's chats, as the ledger adds up.

    Money is in US dollars. `at least` stands before a sum that lacks attempts whose price is not known; a sum of which
    no price is known is `unknown`, and never $0.

    \b
    adriatic usage                                   by day, the newest first
    adriatic usage --by model --from 2026-01-01      by model, the dearest first
    """
    from api.usage.service import UsageReport

    query = {"by": by, "from": _time(first), "to": _time(end), "limit": limit}
    with where.connect(PATIENCE_S_MAX) as remote:
        found = remote.request("GET", "/v1/usage", UsageReport, **query)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    _print(found)


def _time(text: str | None) -> str | None:
    """Read a time, as UTC where no zone is named: the buckets are in UTC."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a time; write it like 2026-01-15 or 2026-01-15T09:00Z") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()


def _print(found: UsageReport) -> None:
    from adriatic.cli.search import up_to
    from adriatic.cli.tables import begin_table

    if not found.rows:
        click.echo("nothing was asked", err=True)
    else:
        columns = ("attempts", "failed", "cancelled", "in", "cached", "out", "cost")
        console, table = begin_table(found.by, *columns)
        for row in found.rows:
            table.add_row(name_row(row, found.by), *cells(row.spent))
        table.add_row("all" if found.more else "total", *cells(found.totals), style="bold")
        console.print(table)
    if found.more:
        click.echo("there are more rows: narrow --from and --to, or raise --limit", err=True)
    click.echo(f"complete {up_to(found.as_of)}", err=True)


def name_row(row: UsageRow, by: By) -> str:
    """What a row is of, in one cell."""
    if row.begins is not None:
        return f"{row.begins:%Y-%m-%d %H:%MZ}" if by == "hour" else f"{row.begins:%Y-%m-%d}"
    if row.model is not None:
        return f"{row.provider} {row.model}"
    if row.user_id is not None:
        return row.user or str(row.user_id)
    return row.key_id or "not known"


def cells(spent: UsageTotals) -> list[str]:
    tokens = spent.tokens
    cached = tokens.cache_read + tokens.cache_write_5m + tokens.cache_write_1h
    counts = (spent.attempts, spent.failed, spent.cancelled, tokens.input_uncached, cached)
    return [*(f"{count:,}" for count in (*counts, tokens.output_visible + tokens.reasoning)), money(spent)]


def money(spent: UsageTotals) -> str:
    """What attempts cost, and whether some are missing in it."""
    if spent.cost_micro_usd is None:
        return "unknown" if spent.attempts else "-"
    return ("at least " if spent.unpriced else "") + dollars(spent.cost_micro_usd)


def dollars(micro_usd: int) -> str:
    """US dollars to the millionth, exactly: no binary fraction is in between."""
    whole, micro = divmod(micro_usd, MICRO_USD)
    return f"${whole:,}.{micro:06d}"
