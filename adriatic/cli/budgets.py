"""`adriatic budgets`: what a tenant may spend on language models, and how far that is.

Owns how budgets look in a terminal, and that a limit is said in dollars. Refuses to reckon: what it shows is what any
client of the API gets.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import click
import msgspec

from adriatic.cli.output import json_option
from adriatic.cli.usage import MICRO_USD, dollars
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options

if TYPE_CHECKING:
    from uuid import UUID

    from api.spend.budgets import BudgetState, Period
    from api.spend.subjects import Level

PATH = "/v1/budgets"


@click.group()
def budgets() -> None:
    """Budgets of money: of the organisation, a user, or a key."""


@budgets.command("list")
@where_options
@json_option("Print the answer of the API as JSON.")
def list_budgets(where: Where, as_json: bool) -> None:
    """List the budgets, and what is spent of each now.

    Reserved is what answers in flight may still spend.
    """
    from api.spend.controller import BudgetList

    with where.connect(PATIENCE_S_MAX) as remote:
        found = remote.request("GET", PATH, BudgetList)
    if as_json:
        click.echo(msgspec.json.encode(found))
    elif found.budgets:
        _print(found.budgets)
    else:
        click.echo("no budgets: nothing is limited", err=True)


@budgets.command("set")
@click.argument("level", type=click.Choice(["org", "user", "key"]))
@click.argument("period", type=click.Choice(["day", "month", "prepaid"]))
@click.argument("limit", metavar="DOLLARS")
@click.option("--of", "subject", default="", metavar="ID", help="The user's id, or the key_id as usage shows it.")
@where_options
@json_option("Print the answer of the API as JSON.")
def set_budget(level: Level, period: Period, limit: str, subject: str, where: Where, as_json: bool) -> None:
    """Make a budget, or change the limit of one. Days and months are in UTC.

    \b
    adriatic budgets set org month 250
    adriatic budgets set key day 1.50 --of web-app
    adriatic budgets set user prepaid 20 --of 0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f
    """
    from api.spend.budgets import BudgetState, NewBudget

    wanted = NewBudget(level, period, read_dollars(limit), subject)
    with where.connect(PATIENCE_S_MAX) as remote:
        made = remote.request("PUT", PATH, BudgetState, body=wanted)
    if as_json:
        click.echo(msgspec.json.encode(made))
    else:
        _print([made])


@budgets.command("remove")
@click.argument("budget_id", type=click.UUID)
@where_options
def remove_budget(budget_id: UUID, where: Where) -> None:
    """Remove a budget; what was spent stays in the ledger."""
    with where.connect(PATIENCE_S_MAX) as remote:
        remote.send("DELETE", f"{PATH}/{budget_id}")


def read_dollars(text: str) -> int:
    """Micro-USD, exactly. Raises `BadParameter` for what is none, or finer than a millionth."""
    try:
        micro = Decimal(text.removeprefix("$").replace(",", "")) * MICRO_USD
        if not micro.is_finite() or micro < 0 or micro != micro.to_integral_value():
            raise InvalidOperation
    except InvalidOperation:
        raise click.BadParameter(f"{text!r} is no amount of dollars; write it like 250 or 1.50") from None
    return int(micro)


def _print(found: list[BudgetState]) -> None:
    from adriatic.cli.tables import begin_table

    console, table = begin_table("budget", "limit", "spent", "reserved", "remaining", "begins anew", "id")
    for budget in found:
        money = (
            *(budget.limit_micro_usd, budget.spent_micro_usd),
            *(budget.reserved_micro_usd, budget.remaining_micro_usd),
        )
        again = f"{budget.resets_at:%Y-%m-%d %H:%MZ}" if budget.resets_at else "never"
        name = " ".join(filter(None, (budget.level, budget.subject, budget.period)))
        table.add_row(name, *map(dollars, money), again, str(budget.budget_id))
    console.print(table)
