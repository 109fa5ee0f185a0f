"""`adriatic spend`: stop everything, raise a budget for a while, see alerts and flags, and explain what was spent.

Owns how they look in a terminal. Refuses to reckon and to decide: what it shows and does is what any client of the API
can.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any

import click
import msgspec

from adriatic.cli.budgets import read_dollars
from adriatic.cli.output import json_option, show
from adriatic.cli.spend_drill import drill
from adriatic.cli.spend_flags import flags, review
from adriatic.cli.usage import dollars
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options
from runtime.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from uuid import UUID

    from api.spend.alerts import SpendAlert
    from api.spend.explaining import AttemptExplanation, SpendExplanation, SpentSum
    from api.spend.overrides import BudgetOverride
    from api.spend.switch import SpendStop, SwitchState

PATH = "/v1/spend"
HOURS_MAX = 744
"""Longest life of an override that can be asked for, in hours: 31 days, which is what the API takes."""


@click.group()
def spend() -> None:
    """Stop spending, raise a budget for a while, see alerts, explain the books.

    \b
    adriatic spend stop --reason "The batch runs in a circle"      everything stops, in less than a second
    adriatic spend resume --reason "The batch was mended"
    adriatic spend override 0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f 20 --hours 24 --reason "The release is tonight"
    adriatic spend explain --month 2026-01                          counter = ledger = aggregate
    adriatic spend flags                                            use that looks like abuse
    adriatic spend drill                                            rehearse all of it on a scratch database
    """


for command in (drill, flags, review):
    spend.add_command(command)


# --- the switch -----------------------------------------------------------------------------------------------------


def _subject_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--user`, `--key` and `--reason`, and pass on the level and the subject."""

    @click.option("--user", metavar="ID", help="Only the spending of this user.")
    @click.option("--key", metavar="ID", help="Only that of this credential, by its key_id as usage shows it.")
    @click.option("--reason", required=True, help="One line, for whoever asks later why.")
    @wraps(command)
    def with_subject(*args: Any, user: str | None, key: str | None, **others: Any) -> None:
        if user and key:
            raise click.UsageError("--user or --key, not both")
        level = "user" if user else "key" if key else "org"
        command(*args, level=level, subject=user or key or "", **others)

    return with_subject


@spend.command()
@where_options
@json_option("Print the answer of the API as JSON.")
def switch(where: Where, as_json: bool) -> None:
    """Show what is stopped, and what was."""
    from api.spend.switch import SwitchState

    with where.connect(PATIENCE_S_MAX) as remote:
        found = remote.request("GET", f"{PATH}/switch", SwitchState)
    _show_switch(found, as_json)


@spend.command()
@_subject_options
@where_options
@json_option("Print the answer of the API as JSON.")
def stop(level: str, subject: str, reason: str, where: Where, as_json: bool) -> None:
    """Stop spending now: of the whole organisation, of --user or of --key.

    New answers are refused, and those in flight end, on every API process in less than a second. What they used is
    billed once. It stays so until `adriatic spend resume`.
    """
    _turn("stopped", level, subject, reason, where, as_json)


@spend.command()
@_subject_options
@where_options
@json_option("Print the answer of the API as JSON.")
def resume(level: str, subject: str, reason: str, where: Where, as_json: bool) -> None:
    """Resume what was stopped, by hand or by a budget.

    A budget that has spent 110 % of what it allows would stop again at once, so that is refused: raise it first, with
    `adriatic spend override` or `adriatic budgets set`, which resumes what it had stopped.
    """
    _turn("running", level, subject, reason, where, as_json)


def _turn(state: str, level: str, subject: str, reason: str, where: Where, as_json: bool) -> None:
    from api.spend.switch import SwitchState

    wanted = {"state": state, "level": level, "subject": subject, "reason": reason}
    with where.connect(PATIENCE_S_MAX) as remote:
        found = remote.request("PUT", f"{PATH}/switch", SwitchState, body=wanted)
    _show_switch(found, as_json)


def _show_switch(found: SwitchState, as_json: bool) -> None:
    lines = [f"the organisation: {found.state}", *map(_describe_stop, (*found.stops, *found.ended))]
    show(as_json, msgspec.json.encode(found), lines)


def _describe_stop(stop: SpendStop) -> str:
    who = f"by {stop.stopped_by}" if stop.stopped_by else f"by the budget {stop.budget_id}"
    until = f", resumed {_at(stop.resumed_at)} by {stop.resumed_by}: {stop.resume_reason}" if stop.resumed_at else ""
    if not until and stop.ends_at:
        until = f", ends {_at(stop.ends_at)}"
    return f"{_name(stop.level, stop.subject)}: stopped {_at(stop.stopped_at)} {who}: {stop.reason}{until}"


# --- overrides ------------------------------------------------------------------------------------------------------


@spend.command()
@click.argument("budget_id", type=click.UUID)
@click.argument("amount", metavar="DOLLARS")
@click.option("--hours", type=click.IntRange(1, HOURS_MAX), default=24, show_default=True, help="How long it holds.")
@click.option("--reason", required=True, help="One line, for whoever asks later why.")
@where_options
@json_option("Print the answer of the API as JSON.")
def override(budget_id: UUID, amount: str, hours: int, reason: str, where: Where, as_json: bool) -> None:
    """Let a budget allow DOLLARS more for a while. `adriatic budgets list` has the ids.

    Who did it, why, how much and until when stays on record. What the budget had stopped is resumed.
    """
    from api.spend.overrides import BudgetOverride, NewOverride

    expires_at = SYSTEM_CLOCK.now() + timedelta(hours=hours)
    wanted = NewOverride(budget_id, read_dollars(amount), reason, expires_at)
    with where.connect(PATIENCE_S_MAX) as remote:
        made = remote.request("POST", f"{PATH}/overrides", BudgetOverride, body=wanted)
    show(as_json, msgspec.json.encode(made), [_describe_override(made)])


@spend.command()
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="Rows at most.")
@where_options
@json_option("Print the answer of the API as JSON.")
def overrides(limit: int, where: Where, as_json: bool) -> None:
    """List overrides, the newest first: those in force, and those that ended or expired."""
    from api.spend.overrides import OverridePage

    with where.connect(PATIENCE_S_MAX) as remote:
        found = remote.request("GET", f"{PATH}/overrides", OverridePage, limit=limit)
    more = "there are more: raise --limit" if found.next_cursor else ""
    nothing = "" if found.items else "no overrides: every budget is what it says"
    show(as_json, msgspec.json.encode(found), map(_describe_override, found.items), more, nothing)


@spend.command("end-override")
@click.argument("override_id", type=click.UUID)
@where_options
@json_option("Print the answer of the API as JSON.")
def end_override(override_id: UUID, where: Where, as_json: bool) -> None:
    """End an override before it expires. It stays on record."""
    from api.spend.overrides import BudgetOverride

    with where.connect(PATIENCE_S_MAX) as remote:
        found = remote.request("DELETE", f"{PATH}/overrides/{override_id}", BudgetOverride)
    show(as_json, msgspec.json.encode(found), [_describe_override(found)])


def _describe_override(made: BudgetOverride) -> str:
    ended = f", ended {_at(made.ended_at)} by {made.ended_by}" if made.ended_at else ""
    state = "in force" if made.in_force else "over"
    return (
        f"{made.override_id} {state:8} {_name(made.level, made.subject)} {made.period} "
        f"+{dollars(made.amount_micro_usd)} from {_at(made.created_at)} to {_at(made.expires_at)}{ended}, "
        f"by {made.created_by}: {made.reason}"
    )


# --- alerts ---------------------------------------------------------------------------------------------------------


@spend.command()
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="Rows at most.")
@where_options
@json_option("Print the answer of the API as JSON.")
def alerts(limit: int, where: Where, as_json: bool) -> None:
    """List alerts, the newest first, and what became of each on its ways out."""
    from api.spend.alerts import AlertPage

    with where.connect(PATIENCE_S_MAX) as remote:
        found = remote.request("GET", f"{PATH}/alerts", AlertPage, limit=limit)
    more = "there are more: raise --limit" if found.next_cursor else ""
    nothing = "" if found.items else "no alerts: no budget has reached 70 %"
    show(as_json, msgspec.json.encode(found), map(_describe_alert, found.items), more, nothing)


def _describe_alert(alert: SpendAlert) -> str:
    told = ", ".join(
        f"{each.channel} {each.state}" + (f" ({each.last_error})" if each.last_error else "")
        for each in alert.deliveries
    )
    return (
        f"{_at(alert.raised_at)} {alert.percent:3} % of {_name(alert.level, alert.subject)} {alert.period}: "
        f"{dollars(alert.spent_micro_usd)} of {dollars(alert.limit_micro_usd)}; {told or 'not taken up yet'}"
    )


# --- the books ------------------------------------------------------------------------------------------------------


@spend.command()
@click.option("--month", metavar="YYYY-MM", help="A month in UTC.  [default: the one that runs]")
@click.option("--day", metavar="YYYY-MM-DD", help="A day in UTC.")
@click.option("--request", "request_id", type=click.UUID, help="An attempt or a conversation, by its id.")
@where_options
@json_option("Print the answer of the API as JSON.")
def explain(month: str | None, day: str | None, request_id: UUID | None, where: Where, as_json: bool) -> None:
    """Compare the counters of budgets, the ledger, and the aggregates. Ends with 1 when they are apart.

    Counter and ledger may never differ. The aggregates are behind: what they do not have yet is said, and is no drift.
    With --request it shows each attempt: its tokens, its price, and the budgets that it counts in.
    """
    if sum(each is not None for each in (month, day, request_id)) > 1:
        raise click.UsageError("one of --month, --day and --request")
    if request_id is not None:
        _explain_request(request_id, where, as_json)
        return
    from api.spend.explaining import SpendExplanation

    period, on = ("day", _read_day(day)) if day else ("month", _read_day(f"{month}-01") if month else None)
    with where.connect(PATIENCE_S_MAX) as remote:
        found = remote.request("GET", f"{PATH}/explanation", SpendExplanation, period=period, on=on)
    show(as_json, msgspec.json.encode(found), _describe_books(found))
    leases = sum(abs(each.reserved_drift_micro_usd) for each in found.counters)
    sys.exit(1 if found.aggregate_drift_micro_usd or found.counter_drift_micro_usd or leases else 0)


def _explain_request(request_id: UUID, where: Where, as_json: bool) -> None:
    from api.spend.explaining import AttemptExplanations

    with where.connect(PATIENCE_S_MAX) as remote:
        found = remote.request("GET", f"{PATH}/requests/{request_id}", AttemptExplanations)
    show(as_json, msgspec.json.encode(found), (line for each in found.items for line in _describe_attempt(each)))
    sys.exit(1 if any(each.drift_micro_usd for each in found.items) else 0)


def _read_day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise click.BadParameter(f"{text!r} is no day; write it like 2026-01-15, and a month like 2026-01") from None


def _describe_books(found: SpendExplanation) -> list[str]:
    """The three sums one below the other, then each counter."""
    lines = [
        f"{found.begins:%Y-%m-%d} to {found.ends:%Y-%m-%d}, in UTC",
        f"ledger       {_describe_sum(found.ledger)}",
        f"aggregate    {_describe_sum(found.aggregate)}",
        f"not counted  {_describe_sum(found.not_counted)}",
        f"drift of the aggregate  {_write_signed(found.aggregate_drift_micro_usd)}",
    ]
    for each in found.counters:
        name = f"{_name(each.level, each.subject)} {each.period} of {each.begins:%Y-%m-%d}"
        lines.append(
            f"counter {name}: {dollars(each.spent_micro_usd)}, ledger {dollars(each.ledger_micro_usd)}, "
            f"drift {_write_signed(each.drift_micro_usd)}; reserved {dollars(each.reserved_micro_usd)}, "
            f"leases {dollars(each.leases_micro_usd)}, drift {_write_signed(each.reserved_drift_micro_usd)}"
        )
    return lines


def _describe_sum(of: SpentSum) -> str:
    unpriced = f", {of.unpriced} without a known price" if of.unpriced else ""
    return f"{dollars(of.cost_micro_usd):>16}  {of.attempts} attempts{unpriced}"


def _describe_attempt(each: AttemptExplanation) -> list[str]:
    lines = [f"attempt {each.attempt_id}, {each.provider} {each.model}, {each.state}, began {_at(each.started_at)}"]
    if each.tokens is None:
        lines.append(f"  reserved {dollars(each.reserved_micro_usd)}; what it costs is known when it ends")
    else:
        counts = ", ".join(f"{name} {count}" for name, count in msgspec.structs.asdict(each.tokens).items() if count)
        outcome = f"{each.outcome} {each.code}".strip()
        lines.append(f"  {outcome}; {counts or 'no tokens'}, as counted by: {each.usage_source}")
        lines.append(
            f"  cost {_write_cost(each.cost_micro_usd)} by {each.price_id or 'no known price'}; "
            f"again by the list of now {_write_cost(each.repriced_micro_usd)}; "
            f"at most {_write_cost(each.unseen_cost_max_micro_usd)} more"
        )
        lines.append(
            f"  in the aggregates {_write_cost(each.counted_micro_usd)}, drift {_write_cost(each.drift_micro_usd)}"
        )
    for budget in each.budgets:
        name = f"{_name(budget.level, budget.subject)} {budget.period} of {budget.begins:%Y-%m-%d}"
        lines.append(f"  counts in {name} ({budget.budget_id})")
    return lines


def _write_cost(micro_usd: int | None) -> str:
    return "unknown" if micro_usd is None else _write_signed(micro_usd)


def _write_signed(micro_usd: int) -> str:
    return f"-{dollars(-micro_usd)}" if micro_usd < 0 else dollars(micro_usd)


def _name(level: str, subject: str) -> str:
    return f"{level} {subject}".rstrip()


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%MZ}" if moment else "never"
