"""`up`, `down`, `reset`, `logs`: the system on this machine.

Owns what people see while it starts and stops. The supervisor is this program too, in a process of its own
(`up --foreground`); everything else here only reads its report and sends it a signal.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.console import Console

from adriatic.cli import stack_view as view
from adriatic.supervisor.part import GOOD, PartReport
from adriatic.supervisor.supervisor import Files, Supervisor, end_leftovers, only_one, read_running
from runtime import processes
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import AdriaticError, DependencyUnavailable, InvalidInput
from runtime.settings import Settings, load

if TYPE_CHECKING:
    from adriatic.stack.system import Fetched

TIMEOUT_S = 240.0
"""A cold start on a slow, busy machine; downloads come before it and are not counted."""
STEP_ATTEMPTS_MAX = 3
"""A step that failed this often fails for a reason that waiting does not cure; the supervisor goes on trying."""
DAEMON_START_MAX_S = 30.0
DOWN_MAX_S = 120.0
"""Longer than the graces of all parts that stop one after the other."""
POLL_S = 0.1
LOG_LINES = 40

err = Console(stderr=True)


@click.command()
@click.option("--foreground", is_flag=True, help="Be the supervisor, in this terminal, until stopped.")
@click.option("--wait/--no-wait", default=True, help="Wait until everything is ready.")
@click.option("--timeout", "timeout_s", default=TIMEOUT_S, show_default=True, help="Longest wait, in seconds.")
@click.option("--only", multiple=True, metavar="PART", help="Start only this part (repeatable).")
def up(foreground: bool, wait: bool, timeout_s: float, only: tuple[str, ...]) -> None:
    """Start everything on this machine, and say what runs where. Safe to repeat."""
    settings = load()
    files = Files(settings.home.resolve())
    if foreground:
        _supervise(files, frozenset(only))
        return
    with _one_at_a_time(files):
        if read_running(files) is None:
            _prepare(files, frozenset(only))
            _spawn(files, only)
    if wait:
        _wait_ready(files, timeout_s)
        if not only and (report := read_running(files)):
            settings = load()  # what was decided at the first start is known by now
            view.screen(settings, report, _token(settings))


@click.command()
def down() -> None:
    """Stop everything, in order. Data stay."""
    files = Files(load().home.resolve())
    stop(files)


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(yes: bool) -> None:
    """Stop everything and delete its data, ports and passwords. Downloads stay."""
    settings = load()
    home = settings.home.resolve()
    if not home.is_dir():
        click.echo("nothing to delete", err=True)
        return
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidInput(
                f"this deletes {home}", hint="say --yes (`make reset YES=1`) to do it without being asked"
            )
        click.confirm(f"Delete all data in {home}?", abort=True, err=True)
    stop(Files(home))
    if settings.stack.postgres_data and not settings.stack.postgres_data.is_relative_to(home):
        # Root's server keeps its data outside a closed home directory, in a folder named after this copy.
        shutil.rmtree(settings.stack.postgres_data.parent, ignore_errors=True)
    shutil.rmtree(home)
    click.echo(f"deleted {home}", err=True)


@click.command()
@click.argument("part", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until interrupted.")
@click.option("-n", "--lines", default=LOG_LINES, show_default=True, help="Lines from the end.")
def logs(part: str | None, follow: bool, lines: int) -> None:
    """Show the log of a part, or of all."""
    files = Files(load().home.resolve())
    names = sorted(file.stem for file in files.logs.glob("*.log")) if files.logs.is_dir() else []
    if part and part not in names:
        raise InvalidInput(f"no log of {part}", hint=f"there are {', '.join(names) or 'none yet'}")
    chosen = [str(files.log(name)) for name in ([part] if part else names)]
    if not chosen:
        raise InvalidInput("no logs yet", hint="`adriatic up` starts the system")
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), *chosen]
    try:
        subprocess.run(command, check=False)
    except KeyboardInterrupt:
        return


def stop(files: Files) -> None:
    """Stop the supervisor of `files`, and with it everything; end what a dead supervisor left."""
    report = read_running(files)
    if report is None:
        ended = end_leftovers(files, [])
        click.echo(f"ended leftovers: {', '.join(ended)}" if ended else "not running", err=True)
        return
    os.kill(report.pid, signal.SIGTERM)
    with view.show_parts(err, frozenset({"stopped"})) as show:
        until = SYSTEM_CLOCK.monotonic() + DOWN_MAX_S
        while processes.is_alive(report.pid, report.started_at):
            if now := read_running(files):
                show(now)
            if SYSTEM_CLOCK.monotonic() > until:
                raise DependencyUnavailable(
                    f"the supervisor (pid {report.pid}) still stops things after {DOWN_MAX_S:.0f} s",
                    hint="see `adriatic logs supervisor`",
                )
            SYSTEM_CLOCK.sleep(POLL_S)
    click.echo("stopped", err=True)


def _supervise(files: Files, only: frozenset[str]) -> None:
    """Be the supervisor."""
    from adriatic.stack import system
    from runtime import logs as logging

    with only_one(files):
        settings, fetched = _prepare(files, only)
        logging.configure("supervisor", settings.telemetry)
        asyncio.run(Supervisor(system.parts(settings, fetched, only), files.run.parent).run())


def _prepare(files: Files, only: frozenset[str]) -> tuple[Settings, Fetched]:
    """Everything before the first start: leftovers, ports, passwords, downloads, empty data directories."""
    from adriatic.stack import record, system

    files.make()
    if ended := end_leftovers(files, []):
        click.echo(f"ended what an earlier supervisor left: {', '.join(ended)}", err=True)
    record.ensure(load())
    with view.downloads(err) as download:
        fetched = system.prepare(load(), download, lambda text: err.print(text, highlight=False), only)
    return load(), fetched


def _spawn(files: Files, only: tuple[str, ...]) -> None:
    """Start the supervisor in a session of its own, and return when it reports."""
    command = [
        sys.executable,
        "-m",
        "adriatic",
        "up",
        "--foreground",
        *(part for name in only for part in ("--only", name)),
    ]
    environment = {**os.environ, "ADRIATIC_HOME": str(files.run.parent)}
    with files.log("supervisor").open("ab") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd="/", start_new_session=True
        )
    until = SYSTEM_CLOCK.monotonic() + DAEMON_START_MAX_S
    while (report := read_running(files)) is None or report.pid != child.pid:
        if child.poll() is not None or SYSTEM_CLOCK.monotonic() > until:
            raise DependencyUnavailable(
                "the supervisor did not start", hint=f"the end of {files.log('supervisor')} says why"
            )
        SYSTEM_CLOCK.sleep(POLL_S / 2)


def _wait_ready(files: Files, timeout_s: float) -> None:
    """Show every part until all are good. Raises when that does not come."""
    if (at_once := read_running(files)) and at_once.good:
        return
    until = SYSTEM_CLOCK.monotonic() + timeout_s
    with view.show_parts(err, GOOD | {"broken"}) as show:
        while True:
            report = read_running(files)
            if report is None or report.stopping:
                raise DependencyUnavailable("the supervisor ended", hint="see `adriatic logs supervisor`")
            show(report)
            if report.good:
                return
            if failed := [part for part in report.parts if _hopeless(part)]:
                raise _NotReady(failed)
            if SYSTEM_CLOCK.monotonic() > until:
                raise _NotReady([part for part in report.parts if part.state not in GOOD], timeout_s)
            SYSTEM_CLOCK.sleep(POLL_S)


def _hopeless(part: PartReport) -> bool:
    return part.kind == "step" and part.attempts_failed >= STEP_ATTEMPTS_MAX


class _NotReady(AdriaticError):
    """Some parts are not as they should be; the supervisor goes on trying."""

    code = "not-ready"

    def __init__(self, parts: list[PartReport], timeout_s: float | None = None) -> None:
        after = f" after {timeout_s:.0f} s" if timeout_s else ""
        lines = [
            f"  {part.name}: {part.state}, {part.reasons or part.last_error or 'no reason given'}" for part in parts
        ]
        super().__init__(
            f"not ready{after}:\n" + "\n".join(lines),
            hint=f"the supervisor goes on trying: `adriatic status`, `adriatic logs {parts[0].name}`",
        )


@contextmanager
def _one_at_a_time(files: Files) -> Iterator[None]:
    """Two `up` at once prepare one after the other; the second finds the first one's supervisor."""
    files.make()
    with (files.run / "up.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _token(settings: Settings) -> str | None:
    """A token for the first tenant, as `adriatic token` makes it; None when it cannot."""
    from adriatic.cli.tenants import TTL, Duration, mint
    from adriatic.stack.system import TENANT

    try:
        return mint(settings, TENANT, "local", Duration().convert(TTL, None, None)).text
    except AdriaticError:
        return None
