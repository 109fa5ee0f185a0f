"""`adriatic status`: the system on one screen, worst first.

Owns collecting and layout; the judgement is `adriatic.supervisor.assessment`.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import click
import msgspec

from adriatic.settings import Settings, load
from adriatic.stack import system
from adriatic.supervisor import process
from adriatic.supervisor.assessment import Assessment, Row, Verdict, assess
from adriatic.supervisor.supervisor import REPORT_STALE_S, Files, running

WATCH_S = 2.0
"""Between two screens: as often as the supervisor reports."""
EXIT: dict[Verdict, int] = {"ok": 0, "degraded": 1, "unknown": 3}
DETAIL_CHARS_MAX = 90
COLOURS: dict[Verdict, str] = {"ok": "green", "degraded": "red", "unknown": "yellow"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--watch", is_flag=True, help=f"Again every {WATCH_S:g} s, until interrupted.")
def status(as_json: bool, watch: bool) -> None:
    """What runs, how far behind, what needs you. Worst first.

    Ends with 0 when everything is ready, 1 when something is not, 3 when that cannot be told.
    """
    settings = load()
    while True:
        found = collect(settings)
        if watch and not as_json and sys.stdout.isatty():
            click.clear()
        _show(found, as_json=as_json)
        if not watch:
            sys.exit(EXIT[found.verdict] if found else 1)
        time.sleep(WATCH_S)


def collect(settings: Settings) -> Assessment | None:
    """Ask the supervisor's report and each of our processes. None when no supervisor runs here."""
    report = running(Files(settings.home.resolve()))
    if report is None:
        return None
    urls = {part.name: system.report_url(settings, part.name) for part in report.parts if part.pid}
    asked = {name: url for name, url in urls.items() if url}
    with ThreadPoolExecutor(max(1, len(asked))) as pool:
        answers = dict(zip(asked, pool.map(system.http_report, asked.values()), strict=True))
    resident = process.resident_of({part.name: part.pid for part in report.parts if part.pid}, report.pid)
    return assess(report, answers, resident, time.time(), REPORT_STALE_S)


def _show(found: Assessment | None, *, as_json: bool) -> None:
    if as_json:
        nothing = {"verdict": "degraded", "summary": "not running", "parts": []}
        click.echo(msgspec.json.encode(found if found is not None else nothing))
        return
    if found is None:
        click.echo("not running: `adriatic up` starts it")
        return
    click.echo(_coloured(found.summary, found.verdict))
    click.echo(f"{'PART':<18}{'STATE':<10}{'SINCE':>8}{'RESTARTS':>10}{'MB':>7}  {'LAG':<32}DETAIL")
    for row in found.parts:
        if row.state == "done":
            continue
        click.echo(_line(row))
    done = [row.name for row in found.parts if row.state == "done"]
    if done:
        click.echo(f"steps done: {', '.join(done)}")
    age_s = time.time() - found.as_of
    started = f", first ready after {found.ready_s:.1f} s" if found.ready_s is not None else ""
    click.echo(
        f"{found.resident_bytes / 1e6:.0f} MB resident in all{started}; as of {_clock(found.as_of)}, {age_s:.0f} s ago"
    )
    for row in found.parts:
        if row.last_error and row.last_error_at:
            click.echo(f"last error of {row.name}, {_clock(row.last_error_at)}: {row.last_error}")


def _line(row: Row) -> str:
    size = f"{row.resident_bytes / 1e6:.0f}" if row.resident_bytes is not None else "-"
    state = _coloured(f"{row.state:<10}", row.verdict)
    since = _span(time.time() - row.since)
    detail = row.detail[:DETAIL_CHARS_MAX]
    return f"{row.name:<18}{state}{since:>8}{row.restarts:>10}{size:>7}  {row.lag:<32}{detail}"


def _coloured(text: str, verdict: Verdict) -> str:
    return text if os.environ.get("NO_COLOR") else click.style(text, fg=COLOURS[verdict])


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%SZ}"
