"""The screen of `adriatic status`, and the tables that `adriatic lag` shows too. Pure: a value in, text out.

Owns wording and layout: worst first, numbers with their units to the right, nothing wider than the terminal. Colour
only repeats what a word says.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import click

from adriatic.supervisor.assessment import PartAssessment, Verdict
from adriatic.watch.overview import GatewayHealth, Overview, Spend, TargetHealth
from schemas.pipeline import STAGES, DeadLetters, GroupLag, Slot, ViewFreshness

WIDTH_MIN = 80
"""Narrower terminals wrap; the columns need as much."""
PROBLEMS_MAX = 8
"""Shown in words. More of them are one problem, and the tables have them all."""
GROUPS_MAX = 30
NAME_CHARS = 25
COLOURS: dict[Verdict, str] = {"ok": "green", "degraded": "red", "unknown": "yellow"}
GROUP_COLOURS = {"ok": "green", "catching-up": "cyan", "unknown": "yellow"}
STATE_COLOURS = {"fresh": "green", "unknown": "yellow"}
Paint = Callable[[str, str], str]


def render(found: Overview, width: int, *, colour: bool) -> str:
    """The whole screen, lines no longer than `width`."""
    width = max(WIDTH_MIN, width)

    def paint(text: str, name: str) -> str:
        return click.style(text, fg=name) if colour else text

    head = [paint(line, COLOURS[found.verdict]) for line in textwrap.wrap(found.summary, width)]
    lines = [*head, *_problems(found, width)]
    if found.pipeline is not None:
        lines += ["", *groups(found.pipeline.groups, paint), "", *views(found.pipeline.views, paint)]
        if found.pipeline.groups_left_out:
            lines.append(f"{found.pipeline.groups_left_out} more groups of others are not looked at")
    if facts := _facts(found, width):
        lines += ["", *facts]
    if found.parts:
        lines += ["", *_parts(found, width, paint)]
    elif not found.supervised and found.checks:
        lines.append("processes    not supervised on this machine; the figures above are the system's own")
    lines.append(f"as of {_clock(found.as_of)}" + _say_sampled(found))
    return "\n".join(line.rstrip() for line in lines)


def _problems(found: Overview, width: int) -> list[str]:
    lines: list[str] = []
    for problem in found.problems[:PROBLEMS_MAX]:
        text = f"{problem.what}: {problem.detail}"
        lines += textwrap.wrap(text, width, initial_indent="  ! ", subsequent_indent="    ")
        if problem.do:
            lines += textwrap.wrap(problem.do, width, initial_indent="    → ", subsequent_indent="      ")
    if (more := len(found.problems) - PROBLEMS_MAX) > 0:
        lines.append(f"    and {more} more, in the tables below")
    return lines


def groups(found: Sequence[GroupLag], paint: Paint) -> list[str]:
    """Five numbers and a word for each group."""
    head = f"{'GROUP':<{NAME_CHARS}} {'STATUS':<12}{'RECORDS':>8}{'LAG':>9}{'TREND':>11}{'ETA':>7}{'LOG':>6}"
    lines = [head]
    for group in found[:GROUPS_MAX]:
        name = group.group if group.ours else f"{group.group} (other)"
        status = paint(f"{group.status:<12}", GROUP_COLOURS.get(group.status, "red"))
        lines.append(
            f"{_cut(name, NAME_CHARS):<{NAME_CHARS}} {status}{count(group.lag_records):>8}"
            f"{_seconds(group.lag_s):>9}{_trend(group):>11}{_eta(group):>7}{_share(group.retention_share):>6}"
        )
    if len(found) > GROUPS_MAX:
        lines.append(f"and {len(found) - GROUPS_MAX} more: `adriatic lag`")
    return lines


def views(found: Sequence[ViewFreshness], paint: Paint) -> list[str]:
    """Age, and the stages that it is spent in, now; and the 95th percentile of the last hour's worst minute."""
    stages = "".join(f"{stage:>8}" for stage in STAGES)
    lines = [f"{'VIEW':<20} {'STATE':<9}{'AGE':>8}{stages}{'P95 1H':>8}"]
    for view in found:
        state = paint(f"{view.state:<9}", STATE_COLOURS.get(view.state, "red"))
        spent = "".join(f"{_seconds(view.stages.get(stage)):>8}" for stage in STAGES)
        p95 = _seconds(view.last_hour.p95_s if view.last_hour else None)
        lines.append(f"{_cut(view.view, 20):<20} {state}{_seconds(view.age_s):>8}{spent}{p95:>8}")
    return lines


def _facts(found: Overview, width: int) -> list[str]:
    said: list[tuple[str, str]] = []
    if found.pipeline is not None:
        said.append(("dead letters", _letters(found.pipeline.dead_letters)))
        if found.pipeline.slot is not None:
            said.append(("slot", _slot(found.pipeline.slot)))
    if found.checks:
        said.append(("spend today", _spend(found.spend)))
    if found.gateway is not None:
        said.append(("answers", _answers(found.gateway)))
        said += [("model", _target(each)) for each in found.gateway.targets or ()]
    said += [
        (check.name, check.detail if check.verdict == "ok" else f"{check.verdict}: {check.detail}")
        for check in found.checks
    ]
    return [line for name, text in said for line in _fact(name, text, width)]


def _fact(name: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=f"{name:<13}", subsequent_indent=" " * 13)


def _letters(found: Sequence[DeadLetters]) -> str:
    open_ = [each for each in found if each.open]
    decided = sum(each.decided for each in found)
    if not open_:
        return f"none open, {decided} decided"
    kinds = "; ".join(f"{each.open} {each.code}, {each.flow} ← {each.topic}" for each in open_[:3])
    more = "; …" if len(open_) > 3 else ""
    return f"{sum(each.open for each in open_)} open, {decided} decided: {kinds}{more}"


def _slot(slot: Slot) -> str:
    if slot.status in ("missing", "lost"):
        return f"{slot.name} {slot.status}"
    safe = "no limit" if slot.safe_bytes is None else f"{_bytes(slot.safe_bytes)} more until it is given up"
    behind = "unknown" if slot.behind_s is None else f"{slot.behind_s:.1f} s behind"
    reader = "active" if slot.active else "not read"
    return f"{slot.name} {reader}, {slot.status}, {_bytes(slot.retained_bytes)} of WAL kept, {safe}; capture {behind}"


def _spend(spend: Spend | None) -> str:
    if spend is None:
        return "unknown: the database does not answer"
    known = f"${spend.micro_usd / 1e6:.4f} for {spend.attempts - spend.unpriced} attempts"
    return known + (f"; the price of {spend.unpriced} more is unknown" if spend.unpriced else "")


def _answers(gateway: GatewayHealth) -> str:
    ended = gateway.completed + gateway.failed + gateway.cancelled
    share = "" if gateway.completion is None else f", {gateway.completion:.1%} of those not stopped came to their end"
    failures = ", ".join(f"{count} {code or 'without a code'}" for code, count in gateway.errors)
    failed = f"; failed in the last hour: {failures}" if failures else ""
    return (
        f"{gateway.open_attempts} attempts in flight, {gateway.open_leases} hold something of a budget; "
        f"{ended} ended today{share}{failed}"
    )


def _target(target: TargetHealth) -> str:
    return f"{target.target}: breaker {target.breaker}, {target.in_flight} in flight, {target.waiting} wait"


def _parts(found: Overview, width: int, paint: Paint) -> list[str]:
    lines = [f"{'PROCESS':<12} {'STATE':<9}{'PID':>8}{'SINCE':>8}{'RESTARTS':>9}{'MB':>6}  DETAIL"]
    for row in found.parts:
        if row.state != "done":
            lines.append(_part(row, found.as_of, width, paint))
    if done := [row.name for row in found.parts if row.state == "done"]:
        lines += textwrap.wrap(f"steps done: {', '.join(done)}", width)
    started = f", first ready after {found.ready_s:.1f} s" if found.ready_s is not None else ""
    lines.append(f"{found.resident_bytes / 1e6:.0f} MB resident in all{started}")
    for row in found.parts:
        if row.last_error and row.last_error_at:
            text = f"last error of {row.name}, {_clock(row.last_error_at)}: {row.last_error}"
            lines += textwrap.wrap(text, width, max_lines=2)
    return lines


def _part(row: PartAssessment, now_s: float, width: int, paint: Paint) -> str:
    size = f"{row.resident_bytes / 1e6:.0f}" if row.resident_bytes is not None else "-"
    state = paint(f"{row.state:<9}", COLOURS[row.verdict])
    pid = row.pid if row.pid is not None else "-"
    since = _span(now_s - row.since)
    return (
        f"{_cut(row.name, 12):<12} {state}{pid:>8}{since:>8}{row.restarts:>9}{size:>6}  {_cut(row.detail, width - 55)}"
    )


# --- numbers --------------------------------------------------------------------------------------------------------


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def count(value: int | None) -> str:
    return "-" if value is None else str(value)


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f} s" if value < 100 else _span(value)


def _trend(group: GroupLag) -> str:
    if group.trend is None or not group.lag_records:
        return "-"
    return "even" if abs(group.trend) < 0.05 else f"{group.trend:+.1f}/s"


def _eta(group: GroupLag) -> str:
    return "-" if group.eta_s is None or not group.lag_records else _span(group.eta_s)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _bytes(value: int | None) -> str:
    if value is None:
        return "unknown bytes"
    return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:.1f} MB"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%SZ}"


def _say_sampled(found: Overview) -> str:
    if found.pipeline is None or not found.pipeline.sampled_at_s:
        return ""
    return f"; groups and views as of {_clock(found.pipeline.sampled_at_s)}"
