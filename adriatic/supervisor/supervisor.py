"""Runs all parts of the system: one keeper each, one report of them all, one order to stop in.

Owns the lock that makes it the only supervisor of a home, the report file, and the size of logs. Refuses to start
beside what an earlier supervisor left behind: that is ended first.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import msgspec

from adriatic.supervisor import process
from adriatic.supervisor.keeper import Keeper
from adriatic.supervisor.part import GOOD, Part, PartReport, SystemReport
from runtime import processes
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import Conflict
from runtime.logs import get_logger
from runtime.private import make_private

REPORT_EVERY_S = 2.0
"""How often the report is written when nothing changes, so that a reader can tell a dead supervisor from a calm one."""
REPORT_STALE_S = 15.0
"""A report older than this tells nothing about now."""
LOG_BYTES_MAX = 8_388_608
"""Largest log of one part; one older file of the same size is kept."""
PROBES_AT_ONCE = 16
"""Threads for probes, one a part: a server that hangs must not delay what is known of the others."""

log = get_logger("supervisor")


class Files:
    """Where a supervisor keeps what it says, below a home."""

    def __init__(self, home: Path) -> None:
        self.run = home / "run"
        self.logs = home / "logs"
        self.report = self.run / "state.json"
        self.lock = self.run / "supervisor.lock"
        self.start = self.run / "start.json"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def make(self) -> None:
        make_private(self.run)
        make_private(self.logs)


@contextlib.contextmanager
def only_one(files: Files) -> Iterator[None]:
    """Hold the lock of this home. Raises `Conflict` when another supervisor does."""
    files.make()
    with files.lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("another supervisor runs here", hint="see `adriatic status`") from None
        yield


def read_report(files: Files) -> SystemReport | None:
    """The last report, however old; None when there is none that can be read."""
    try:
        return msgspec.json.decode(files.report.read_bytes(), type=SystemReport)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def read_running(files: Files) -> SystemReport | None:
    """The last report, when the supervisor that wrote it still runs."""
    report = read_report(files)
    return report if report and processes.is_alive(report.pid, report.started_at) else None


def end_leftovers(files: Files, parts: Sequence[Part]) -> list[str]:
    """End what an earlier supervisor left running, dependents first; the names of what was ended.

    They are ended and not adopted: only a parent learns at once, and for certain, that a child ended. Each had the
    signal to stop when its supervisor died, so this mostly waits.
    """
    report = read_report(files)
    if report is None or processes.is_alive(report.pid, report.started_at):
        return []
    known = {part.name: part for part in parts}
    ended = []
    for left in reversed(report.parts):
        if left.pid is not None and left.started_at is not None and processes.is_alive(left.pid, left.started_at):
            part = known.get(left.name, Part(left.name))
            process.end(left.pid, left.started_at, part.stop_signal, part.stop_grace_s)
            ended.append(left.name)
    return ended


class Supervisor:
    """Use under `only_one`: `await run()` returns when everything has stopped after `request_stop()` or a signal."""

    def __init__(self, parts: Sequence[Part], home: Path, clock: Clock = SYSTEM_CLOCK) -> None:
        self.files = Files(home)
        self._clock = clock
        self._wake = asyncio.Event()
        self._stopping = False
        self._ready_s: float | None = None
        self._begun_at = clock.now().timestamp()
        self._begun_s = clock.monotonic()
        self._created = processes.read_created_at(os.getpid()) or 0.0
        self._keepers = [
            Keeper(part, self.files.log(part.name), home, clock, self._wake.set) for part in in_order(parts)
        ]
        by_name = {keeper.part.name: keeper for keeper in self._keepers}
        for keeper in self._keepers:
            keeper.dependencies = [by_name[name] for name in keeper.part.depends_on]
        for keeper in self._keepers:
            # All of them, not only the next: a step in between has ended long ago.
            keeper.dependents = [each for each in self._keepers if keeper in _below(each)]

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(PROBES_AT_ONCE, thread_name_prefix="probe"))
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(each, self.request_stop)
        keeping = asyncio.gather(*(keeper.run() for keeper in self._keepers))
        reporting = asyncio.create_task(self._report_on())
        try:
            # A system whose every part is a step would end here; it is still asked to stop like any other.
            await keeping
        finally:
            reporting.cancel()
            self._write()

    def request_stop(self) -> None:
        """Begin to stop. Repeating it changes nothing."""
        if not self._stopping:
            log.info("stopping")
        self._stopping = True
        for keeper in self._keepers:
            keeper.request_stop()
        self._wake.set()

    async def _report_on(self) -> None:
        while True:
            self._note_ready()
            self._write()
            for keeper in self._keepers:
                rotate(self.files.log(keeper.part.name))
            rotate(self.files.log("supervisor"))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), REPORT_EVERY_S)
            self._wake.clear()

    def _note_ready(self) -> None:
        needed = [keeper.report for keeper in self._keepers if not keeper.report.background]
        if self._ready_s is None and all(part.state in GOOD for part in needed):
            self._ready_s = round(self._clock.monotonic() - self._begun_s, 3)
            log.info("everything is ready", seconds=self._ready_s)
            parts = {keeper.part.name: keeper.report.start_s for keeper in self._keepers}
            _replace(self.files.start, msgspec.json.encode({"ready_s": self._ready_s, "parts": parts}))

    def _write(self) -> None:
        parts: list[PartReport] = [keeper.report for keeper in self._keepers]
        report = SystemReport(
            pid=os.getpid(),
            started_at=self._created,
            written_at=self._clock.now().timestamp(),
            begun_at=self._begun_at,
            ready_s=self._ready_s,
            stopping=self._stopping,
            parts=parts,
        )
        _replace(self.files.report, msgspec.json.encode(report))


def _below(keeper: Keeper) -> Iterator[Keeper]:
    """Everything that a part depends on, directly or not."""
    for each in keeper.dependencies:
        yield each
        yield from _below(each)


def in_order(parts: Sequence[Part]) -> list[Part]:
    """The parts with every part after those that it depends on. Raises `ValueError` for a missing one or a circle."""
    by_name = {part.name: part for part in parts}
    if missing := {name for part in parts for name in part.depends_on} - set(by_name):
        raise ValueError(f"parts depend on something missing: {sorted(missing)}")
    try:
        return [by_name[name] for name in TopologicalSorter({one.name: one.depends_on for one in parts}).static_order()]
    except CycleError as error:
        raise ValueError(f"these parts depend on each other: {error.args[1]}") from error


def rotate(file: Path, bytes_max: int = LOG_BYTES_MAX) -> None:
    """Move a log that is too long to its older file. The writer appends, so it goes on at the new beginning; a line
    that it writes during the copy may be lost."""
    try:
        if file.stat().st_size > bytes_max:
            shutil.copyfile(file, file.with_name(f"{file.name}.1"))
            os.truncate(file, 0)
    except FileNotFoundError:
        return


def _replace(file: Path, content: bytes) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(file)
