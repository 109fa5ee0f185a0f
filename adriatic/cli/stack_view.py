"""What `up` and `down` show: progress of downloads, parts as they get ready, and the screen at the end.

Owns wording and layout. On a terminal things move in place; anywhere else each event is one plain line. Refuses to
decide anything.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from adriatic.stack.artifacts import DownloadProgress as ArtifactProgress
from adriatic.supervisor.part import GOOD, PartReport, State, SystemReport
from runtime.clock import SYSTEM_CLOCK
from runtime.settings import Settings

PLAIN_EVERY_S = 5.0
"""Time between two lines about one download where nothing can move in place."""
MARKS = {"ready": "[green]✓[/]", "done": "[green]✓[/]", "broken": "[red]✗[/]", "stopped": "·"}


class _Bar:
    """A download as a moving bar."""

    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars, self._task, self._total = bars, task, 0
        self._lock = threading.Lock()

    def total(self, size_bytes: int) -> None:
        with self._lock:
            self._total += size_bytes
            self._bars.update(self._task, total=self._total)

    def advance(self, size_bytes: int) -> None:
        self._bars.advance(self._task, size_bytes)


class _Lines:
    """A download as a line now and then."""

    def __init__(self, name: str) -> None:
        self._name, self._total, self._have, self._said_s = name, 0, 0, 0.0
        self._lock = threading.Lock()

    def total(self, size_bytes: int) -> None:
        with self._lock:
            self._total += size_bytes

    def advance(self, size_bytes: int) -> None:
        with self._lock:
            self._have += size_bytes
            now = SYSTEM_CLOCK.monotonic()
            if now - self._said_s >= PLAIN_EVERY_S:
                self._said_s = now
                click.echo(f"downloading {self._name}: {self._have / 1e6:.0f} of {self._total / 1e6:.0f} MB", err=True)


@contextmanager
def downloads(console: Console) -> Iterator[Callable[[str], ArtifactProgress]]:
    """Gives a function that begins the progress of one download."""
    if not console.is_terminal:
        yield _Lines
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield lambda name: _Bar(bars, bars.add_task(f"downloading {name}", total=None))


@contextmanager
def show_parts(console: Console, news: frozenset[State]) -> Iterator[Callable[[SystemReport], None]]:
    """Yields what shows how the parts are; without a terminal to draw on, those whose state is among `news`."""
    if console.is_terminal and os.environ.get("TERM") != "dumb":
        with Live(console=console, refresh_per_second=8, transient=True) as live:
            yield lambda report: live.update(_table(report))
        return
    said: dict[str, str] = {}

    def show(report: SystemReport) -> None:
        for part in report.parts:
            line = _line(part)
            if not part.background and part.state in news and said.get(part.name) != line:
                said[part.name] = line
                click.echo(line, err=True)

    yield show


def _line(part: PartReport) -> str:
    """An event worth a line: a part got ready, broke, or stopped."""
    if part.state in GOOD:
        return f"{part.name} {part.state}" + (f" in {part.start_s:.1f} s" if part.start_s is not None else "")
    if part.state == "broken":
        return f"{part.name} broken: {part.last_error}"
    return f"{part.name} {part.state}"


def _table(report: SystemReport) -> Table:
    table = Table.grid(padding=(0, 2))
    now = SYSTEM_CLOCK.now().timestamp()
    for part in report.parts:
        if part.background:
            continue
        running_s = part.start_s if part.state in GOOD and part.start_s is not None else now - part.since
        note = part.reasons or (part.last_error if part.state == "broken" else "")
        seconds = "" if part.state == "pending" else f"{running_s:.1f} s"
        table.add_row(MARKS.get(part.state, "[yellow]…[/]"), part.name, part.state, seconds, note[:100])
    return table


def screen(settings: Settings, report: SystemReport, token: str | None) -> None:
    """What runs where, and what to try."""
    from adriatic.stack.system import TENANT
    from adriatic.supervisor.process import resident_of

    api = f"http://{settings.api.host}:{settings.api.port}"
    resident = resident_of({part.name: part.pid for part in report.parts if part.pid}, report.pid)
    memory = sum(size or 0 for size in resident.values())
    took = f"started in {report.ready_s:.1f} s, " if report.ready_s is not None else ""
    echo = click.echo
    echo(f"Adriatic is up: {took}{len(resident)} processes, {memory / 1e6:.0f} MB resident.\n")
    for part in report.parts:
        if part.kind == "service":
            start = f"{part.start_s:.1f} s" if part.start_s is not None else ""
            size = f"{(resident[part.name] or 0) / 1e6:.0f} MB"
            echo(f"  {part.name:<10} {start:>7} {size:>7}  {part.about}")
    # The fragment stays in the browser: no server and no log sees the token.
    echo(f"\n  page       {api}/" + (f"#token={token}" if token else ""))
    echo(f"  API        {api}/v1")
    echo(f"  API docs   {api}/openapi.json")
    echo(f"  health     {api}/health/ready")
    echo(f"  state      {settings.home.resolve()}")
    if token:
        echo(f"\n  tenant     {TENANT}\n  token      {token}")
    echo("\nTry next:")
    if activate := _activation():
        echo(f"  source {activate}")
    echo("  adriatic import docs/decisions")
    echo('  adriatic search "why is there no dual write"')
    echo("  adriatic status")
    echo("  adriatic down")


def _activation() -> str | None:
    """What to source so that `adriatic` is this installation's command; None when it is already."""
    ours = Path(sys.executable).parent
    found = shutil.which("adriatic")
    script = ours / "activate"
    if (found and Path(found).parent.resolve() == ours.resolve()) or not script.is_file():
        return None
    return os.path.relpath(script) if script.is_relative_to(Path.cwd()) else str(script)
