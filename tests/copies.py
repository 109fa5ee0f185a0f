"""Copies of the system for tests: all of it or some parts, each with a home of its own, under its own supervisor."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from adriatic.stack import record
from adriatic.supervisor import process
from adriatic.supervisor.part import SystemReport
from adriatic.supervisor.supervisor import Files, read_running
from runtime.deadline import Deadline
from runtime.settings import Settings

INFRASTRUCTURE = ("postgres", "kafka", "registry")
READY_MAX_S = 300.0
"""A cold start on a machine that runs other things; a download comes on top only the first time."""
STOP_MAX_S = 120.0
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 12_000_000_000
"""Free memory from which on homes are kept there. Those of a whole run take one or two gigabytes."""
SITE, SITE_DELAY_S = "localhost", 0.1
"""The one name of this machine that may be crawled, and how slowly: nobody else is asked there."""
REQUEST_S = 60.0
"""One request of the process that runs the tests. Those of the system have their own settings."""


def settings_of(home: Path, **overrides: object) -> Settings:
    """The settings of one home, whatever home and variables this process was started with. They are patient: the
    machine may be busy."""
    record = tomllib.loads((home / "stack.toml").read_text()) if (home / "stack.toml").is_file() else {}
    for part in ("kafka", "registry"):
        record[part] = {**record.get(part, {}), "timeout_s": REQUEST_S}
    return Settings(**{**record, "home": home, **overrides})


def make_folder(*, on_disk: bool = False) -> Path:
    """A new folder outside the checkout, for a home: in memory where there is plenty, unless it is to hold more than
    that. Brokers and databases wait for the disk again and again, and several at once make a shared one stand still for
    seconds, which is nobody's fault that a test is about."""
    has_room = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_BYTES
    is_ample = has_room and psutil.virtual_memory().available > MEMORY_BYTES
    return Path(tempfile.mkdtemp(prefix="adriatic-test-", dir=MEMORY if is_ample and not on_disk else None))


@contextmanager
def new_home(*, on_disk: bool = False) -> Iterator[Path]:
    """An empty home."""
    folder = make_folder(on_disk=on_disk)
    try:
        yield folder / ".adriatic"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_in_memory(place: Path) -> bool:
    return place.is_relative_to(MEMORY)


def _keep_database_in_memory(home: Path) -> None:
    """Root's server runs as another user, whom a home is closed to: where the home is in memory, its data are beside
    it. Else the databases of a whole run fill a disk with some ten gigabytes."""
    if os.geteuid() == 0 and is_in_memory(home) and "postgres_data" not in record.read(home).get("stack", {}):
        record.decide(home, "postgres_data", str(home.parent.with_name(f"{home.parent.name}-data") / "postgres"))


def crawling() -> str:
    """Settings with which a copy crawls sites of this machine, and renders their pages where there is a browser."""
    from connectors.rendering.pool import find_browser

    rendered = 'browser = "auto"\nbrowser_sandbox = false\n' if find_browser("auto") else ""
    return f'[crawler]\nallowed_private = ["{SITE}"]\ndelay_s = {SITE_DELAY_S}\n{rendered}'


class Copy:
    """A copy of its own of `only` these parts (none named: all), with a home of its own. Use on the main thread.

    It ends with this process whatever happens to it. `more` goes into the environment of everything that runs.
    """

    def __init__(self, home: Path, only: tuple[str, ...], more: Mapping[str, str]) -> None:
        self.files = Files(home)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("ADRIATIC_")}
        self.environment |= {"ADRIATIC_HOME": str(home)}
        self._more = dict(more)
        self._words = [word for name in only for word in ("--only", name)]
        self._supervisor: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        return settings_of(self.files.run.parent)

    def start(self) -> None:
        """Start its supervisor, also in the place of one that is dead."""
        self.files.make()
        _keep_database_in_memory(self.files.run.parent)
        if self._supervisor is not None:
            self._supervisor.wait(STOP_MAX_S)
        self._supervisor = process.start(
            [sys.executable, "-m", "adriatic", "up", "--foreground", *self._words],
            environment=self.environment | self._more,
            log=self.files.log("supervisor"),
            user=None,
            death_signal=signal.SIGTERM,
        )

    def await_ready(self) -> None:
        supervisor = self._supervisor
        assert supervisor is not None
        await_ready(self.files, lambda report: report.pid == supervisor.pid, lambda: supervisor.poll() is not None)

    def process(self, part: str) -> psutil.Process:
        """The process of a part that runs, to be hit."""
        report = read_running(self.files)
        assert report is not None
        return psutil.Process(next(each.pid for each in report.parts if each.name == part and each.pid))

    def end(self) -> None:
        """Stop everything and delete its data. Once is enough."""
        if self._supervisor is None:
            return
        self._supervisor.terminate()
        self._supervisor.wait(STOP_MAX_S)
        self._supervisor = None
        subprocess.run(
            [sys.executable, "-m", "adriatic", "reset", "--yes"], env=self.environment, check=False, capture_output=True
        )


@contextmanager
def running_system(toml: str = "", only: tuple[str, ...] = (), **more: str) -> Iterator[Settings]:
    """Settings of a copy of its own of `only` these parts (none named: all), which ends with the block.

    `toml` is its settings file, `more` what else its processes find in their environment.
    """
    with running_copy(toml, only, **more) as copy:
        yield copy.settings


@contextmanager
def running_copy(toml: str = "", only: tuple[str, ...] = (), **more: str) -> Iterator[Copy]:
    """The copy itself, for who ends processes and starts them anew."""
    with new_home() as home, running_in(home, toml, only, **more) as copy:
        yield copy


@contextmanager
def running_in(home: Path, toml: str = "", only: tuple[str, ...] = (), **more: str) -> Iterator[Copy]:
    """The same in an empty home."""
    (home.parent / "adriatic.toml").write_text(toml)
    copy = Copy(home, only, more)
    try:
        copy.start()
        copy.await_ready()
        yield copy
    finally:
        copy.end()


def await_ready(files: Files, is_ours: Callable[[SystemReport], bool], is_over: Callable[[], bool]) -> None:
    """Until the supervisor of `files` reports that everything is well. Fails the test when it is over, or cannot."""
    deadline = Deadline.after(READY_MAX_S)
    report = None
    while not deadline.passed:
        report = read_running(files)
        if report is not None and is_ours(report) and report.good:
            return
        if is_over():
            break
        if report is not None and any(part.kind == "step" and part.attempts_failed >= 3 for part in report.parts):
            break
        time.sleep(0.1)
    bad = [f"{part.name}: {part.state} {part.reasons or part.last_error}" for part in report.parts] if report else []
    log = files.log("supervisor")
    said = log.read_text()[-3000:] if log.is_file() else ""
    pytest.fail("the stack did not start:\n" + "\n".join(bad) + "\n" + said)
