"""Keeps one part running: start it when its dependencies are there, watch it, start it again, end it.

Owns the life of one part and its report. Refuses to know the other parts except as events to wait for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psutil

from adriatic.supervisor import process
from adriatic.supervisor.part import GOOD, Part, PartReport, ProbeResult, State
from runtime import processes
from runtime.clock import Clock
from runtime.deadline import backoff_s
from runtime.errors import AdriaticError
from runtime.logs import get_logger

BACKOFF_FIRST_S = 0.2
"""A process that was killed is back before anybody notices."""
BACKOFF_MAX_S = 15.0
"""One that cannot start tries four times a minute: soon after its cause is gone, without burning a core meanwhile."""
STABLE_S = 30.0
"""A failure after this long in a good state is a new one, and its first pause is short again."""
PROBE_STARTING_S = 0.15
"""Time between probes of a part that is not ready: what a start may lose to not looking."""
PROBE_READY_S = 2.0
"""Time between probes of a part that is ready: how late a silent failure is seen."""
HUNG_S = 45.0
"""A part that is alive and answers nobody for this long is ended and started again. Longer than any pause of a JVM or
of a database in recovery; a part that answers that it waits is never hung."""
HUNG_PROBES_MIN = 3
"""Probes in a row without an answer, at least: a supervisor that was stopped itself, or whose machine slept, finds that
much time has passed and has asked nobody."""
ERROR_CHARS_MAX = 400
LOG_TAIL_BYTES = 16_384
_BLAME = re.compile(r"error|fatal|panic|caused by", re.IGNORECASE)

log = get_logger("supervisor")


class Keeper:
    """The life of one part. Use: `await run()` once; `request_stop()` from the same loop."""

    def __init__(self, part: Part, log_file: Path | None, cwd: Path, clock: Clock, changed: Callable[[], None]) -> None:
        self.part = part
        self.dependencies: Sequence[Keeper] = ()
        self.dependents: Sequence[Keeper] = ()
        self.good = asyncio.Event()
        self.ended = asyncio.Event()
        self._stop = asyncio.Event()
        self._log_file = log_file
        self._cwd = cwd
        self._clock = clock
        self._changed = changed
        self._report = PartReport(
            name=part.name,
            kind=part.kind,
            state="pending",
            since=clock.now().timestamp(),
            about=part.about,
            background=part.background,
        )
        self._good_since_s: float | None = None
        """A time of the monotonic clock."""

    @property
    def report(self) -> PartReport:
        return self._report

    def request_stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Keep the part until a stop is requested (a step: until it succeeded). Never raises for the part's faults."""
        pauses = self._pauses()
        try:
            while not self._stop.is_set():
                if not self.part.starts_early:
                    await self._dependencies_good()
                if self._stop.is_set() or await self._once():
                    return
                if self._stop.is_set():
                    return
                stable = self._good_since_s is not None and self._clock.monotonic() - self._good_since_s >= STABLE_S
                self._good_since_s = None
                if stable:
                    pauses = self._pauses()
                await _first(self._stop.wait(), seconds=next(pauses))
        finally:
            if self._report.state != "done":
                self._become("stopped", pid=None, started_at=None)
            self.ended.set()

    @staticmethod
    def _pauses() -> Iterator[float]:
        return backoff_s(BACKOFF_FIRST_S, BACKOFF_MAX_S)

    async def _dependencies_good(self) -> None:
        missing = [each for each in self.dependencies if not each.good.is_set()]
        if not missing:
            return
        self._become("pending", reasons=f"waits for {', '.join(each.part.name for each in missing)}")
        await _first(_all(each.good for each in self.dependencies), self._stop.wait())

    async def _once(self) -> bool:
        """One attempt. True: nothing more to do for this part."""
        try:
            if self.part.call is not None:
                return await self._call(self.part.call)
            return await self._process()
        except OSError as error:
            self._broke(f"cannot start: {error}")
            return False

    async def _call(self, call: Callable[[], None]) -> bool:
        self._become("starting", reasons="")
        begun = self._clock.monotonic()
        try:
            await asyncio.to_thread(call)
        except AdriaticError as error:
            self._broke(str(error))
            return False
        except Exception as error:
            # A step that has a bug must not end the supervisor of everything else.
            log.exception("step raised", part=self.part.name)
            self._broke(f"{type(error).__name__}: {error}")
            return False
        self._finish_step(self._clock.monotonic() - begun)
        return True

    async def _process(self) -> bool:
        if self.part.clear is not None:
            await asyncio.to_thread(self.part.clear)
        begun, log_from = self._clock.monotonic(), _size(self._log_file)
        child = process.start(
            self.part.command,
            environment=self.part.environment,
            log=self._log_file,
            user=self.part.user,
            death_signal=self.part.stop_signal,
            cwd=self._cwd if self.part.user is None else Path("/"),
        )
        self._become("starting", pid=child.pid, started_at=processes.read_created_at(child.pid), reasons="")
        with _exit_event(child.pid) as exited:
            try:
                if self.part.kind == "step":
                    await self._either(exited)
                else:
                    await self._watch(exited, begun)
            finally:
                hung = not self._stop.is_set() and not exited.is_set()
                code = await self._finish(child, exited, hung=hung)
        if self._stop.is_set():
            return True
        if self.part.kind == "step" and code == 0:
            self._finish_step(self._clock.monotonic() - begun)
            return True
        if not hung:
            # A process that was killed had no last words; what it said before is about something else.
            said = "" if code == -signal.SIGKILL else last_words(self._log_file, log_from)
            self._broke(f"{_how_it_ended(code)}: {said}" if said else _how_it_ended(code))
        return False

    async def _watch(self, exited: asyncio.Event, begun: float) -> None:
        """Probe until the process ended, or is to stop, or hangs."""
        answered_at, unanswered, ever = begun, 0, False
        while not exited.is_set() and not self._stop.is_set():
            health = (
                await asyncio.to_thread(self.part.probe) if self.part.probe else ProbeResult(answered=True, ready=True)
            )
            if exited.is_set() or self._stop.is_set():
                return
            now = self._clock.monotonic()
            if health.answered:
                answered_at, unanswered, ever = now, 0, True
            else:
                unanswered += 1
            silent_max_s = HUNG_S if ever else self.part.start_max_s
            if unanswered >= HUNG_PROBES_MIN and now - answered_at > silent_max_s:
                self._broke(f"alive, and does not answer for {now - answered_at:.0f} s ({health.reasons}): ended")
                return
            self._judge(health, ever=ever, start_s=now - begun)
            await self._either(exited, PROBE_READY_S if health.ready else PROBE_STARTING_S)

    def _judge(self, health: ProbeResult, *, ever: bool, start_s: float) -> None:
        if health.ready:
            if self._report.state != "ready":
                self._become("ready", start_s=round(start_s, 3), reasons="", attempts_failed=0)
        elif ever:
            self._become("waiting", reasons=health.reasons)
        else:
            self._become("starting", reasons=health.reasons)

    async def _finish(self, child: subprocess.Popen[bytes], exited: asyncio.Event, *, hung: bool) -> int:
        """End the process if it still runs (its dependents first), then whatever it left behind; its exit code."""
        below: list[psutil.Process] = []
        if not exited.is_set():
            if not hung:
                self._become("stopping")
                await _all(each.ended for each in self.dependents)
            # Postgres gives each of its processes a group of its own. Those that hang too keep what a new one needs.
            below = process.list_below(child.pid) if hung else []
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL if hung else self.part.stop_signal)
            try:
                await asyncio.wait_for(exited.wait(), self.part.stop_grace_s)
            except TimeoutError:
                log.warning("did not stop in time, killing", part=self.part.name, grace_s=self.part.stop_grace_s)
                below = process.list_below(child.pid)
                process.kill_group(child.pid)
                await exited.wait()
        # Its workers, if it died without ending them. Before reaping, while the group's id is still its own.
        process.kill_group(child.pid)
        process.kill_each(below)
        return child.wait()

    async def _either(self, exited: asyncio.Event, seconds: float | None = None) -> None:
        """Wait until the process ended, a stop is requested, or `seconds` passed."""
        await _first(exited.wait(), self._stop.wait(), seconds=seconds)

    def _finish_step(self, seconds: float) -> None:
        self._become("done", pid=None, started_at=None, start_s=round(seconds, 3), reasons="", attempts_failed=0)

    def _broke(self, why: str) -> None:
        why = why[:ERROR_CHARS_MAX]
        log.warning("part broke", part=self.part.name, error=why)
        self._become(
            "broken",
            pid=None,
            started_at=None,
            reasons="",
            last_error=why,
            last_error_at=self._clock.now().timestamp(),
            restarts=self._report.restarts + 1,
            attempts_failed=self._report.attempts_failed + 1,
        )

    def _become(self, state: State, **changes: object) -> None:
        before = self._report
        if state != before.state:
            changes |= {"state": state, "since": self._clock.now().timestamp()}
            log.info("part", part=self.part.name, state=state, was=before.state)
            if state in GOOD:
                self._good_since_s = self._clock.monotonic()
        self._report = msgspec.structs.replace(before, **changes)
        if state in GOOD:
            self.good.set()
        else:
            self.good.clear()
        if self._report != before:
            self._changed()


def _size(log_file: Path | None) -> int:
    return log_file.stat().st_size if log_file and log_file.exists() else 0


def last_words(log_file: Path | None, since_bytes: int = 0) -> str:
    """The line at the end of a log that most likely says why its process ended: the last one that speaks of an error,
    else the last one. `since_bytes`: where this process began to write; what is before is about another."""
    if log_file is None:
        return ""
    try:
        with log_file.open("rb") as file:
            size = _size(log_file)
            file.seek(max(0, size - LOG_TAIL_BYTES, since_bytes if since_bytes <= size else 0))
            lines = [line.strip() for line in file.read().decode(errors="replace").split("\n") if line.strip()]
    except OSError:
        return ""
    if len(lines) > 1 and lines[-1].startswith("hint: "):
        # How our own commands end: what is wrong, then what to do.
        return f"{lines[-2]} ({lines[-1].removeprefix('hint: ')})"
    blaming = [line for line in lines if _BLAME.search(line)]
    return _plain(next(reversed(blaming or lines), ""))


def _plain(line: str) -> str:
    """A line of our own structured logs as a sentence."""
    try:
        fields = json.loads(line)
    except ValueError:
        return line
    if not isinstance(fields, dict):
        return line
    said = [str(fields[name]) for name in ("message", "detail", "hint") if fields.get(name)]
    return ": ".join(said) or line


async def _all(events: Iterator[asyncio.Event] | Sequence[asyncio.Event]) -> None:
    """Wait until all of them are set at one moment."""
    wanted = list(events)
    while missing := [event for event in wanted if not event.is_set()]:
        await missing[0].wait()


async def _first(*waits: Coroutine[Any, Any, object], seconds: float | None = None) -> None:
    """Wait until one of them is over, or `seconds` passed."""
    tasks = {asyncio.ensure_future(each) for each in waits}
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in tasks:
            each.cancel()


@contextlib.contextmanager
def _exit_event(pid: int) -> Iterator[asyncio.Event]:
    """An event that is set when the child ended, at once and without reaping it."""
    loop = asyncio.get_running_loop()
    exited = asyncio.Event()
    descriptor = os.pidfd_open(pid)

    def on_exit() -> None:
        loop.remove_reader(descriptor)
        exited.set()

    loop.add_reader(descriptor, on_exit)
    try:
        yield exited
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _how_it_ended(code: int) -> str:
    if code == -signal.SIGKILL:
        return "ended by SIGKILL: somebody killed it, or the machine ran out of memory"
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
