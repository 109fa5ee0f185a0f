"""A run that several workers share (`pytest -n`): one stack for all, and who runs which files.

Owns how many workers there are, the stack's life, which is the controlling process's, and the order of files: what
takes longest begins first. A file is run by one worker, because fixtures of a module are made once. The tests of the
whole system are run by two workers, each with a copy of it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from runtime.settings import Settings
    from tests.copies import Copy

WORKERS_PER_CORE = 1.5
"""Tests wait for processes that need the cores themselves: with more nothing is sooner, and each wait is longer. With
two, a run kept the cores busy from its beginning to its end, and what waits for seconds waited for minutes."""
WORKERS_MIN, WORKERS_MAX = 2, 6
"""At most: each has connections of its own to a server that takes a hundred."""
WORKER_BYTES = 2_000_000_000
"""What a worker may need with what it starts."""
SYSTEM = (
    "tests/system/",
    "tests/adriatic/stack/test_system.py",
    "tests/adriatic/cli/test_imports.py",
    "tests/browser/test_live_page.py",
)
"""Use the whole system, and are run by `SYSTEM_WORKERS` alone: each of these starts one, and two cores do not hold
more."""
SYSTEM_WORKERS = 2
LONG = (
    # The first four start a system of their own, before the others start the one that they share.
    "tests/system/test_recovery.py",
    "tests/system/test_crash_ring_of_two.py",
    "tests/system/test_outside.py",
    "tests/system/test_visibility.py",
    "tests/system/test_outages.py",
    "tests/system/test_status.py",
    "tests/system/test_crash_ring.py",
    # Two recoveries at once keep both cores busy, and everybody else waiting.
    "tests/system/test_accidents.py",
    "tests/system/test_usage.py",
    "tests/system/test_live.py",
    "tests/system/test_produce_to_a_feed.py",
    "tests/connectors/capture/test_crash.py",
    "tests/connectors/capture/test_capture.py",
    "tests/api/live/test_reader.py",
    "tests/browser/test_page.py",
    "tests/api/adrs/test_document.py",
    "tests/api/live/test_stream.py",
    "tests/connectors/consumer/test_contract.py",
    "tests/connectors/capture/test_outages.py",
    "tests/api/live/test_workers.py",
    "tests/api/search/test_routes.py",
)
"""Files that take longest, the longest first: what begins late ends last."""


def register(config: pytest.Config) -> None:
    """Take part in a run of several workers, as the one that controls it or as one of them."""
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(Worker(), "worker")
    else:
        config.pluginmanager.register(Controller(config), "controller")


def shared_home(config: pytest.Config) -> Path | None:
    """The home of the stack that all workers share. None: this process runs alone."""
    home = getattr(config, "workerinput", {}).get("stack_home")
    return Path(home) if home else None


def settings_of_shared(home: Path) -> Settings:
    """Of the shared stack, as soon as it is ready."""
    from adriatic.supervisor.supervisor import Files
    from tests.copies import await_ready, settings_of

    await_ready(Files(home), lambda _: True, lambda: not home.parent.exists())
    return settings_of(home)


@contextmanager
def locked(config: pytest.Config, file: Path) -> Iterator[Path]:
    """`file`, while no other worker has it."""
    if shared_home(config) is None:
        yield file
        return
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield file


def is_of_system(file: str) -> bool:
    return file.startswith(SYSTEM)


def rank(file: str) -> tuple[int, str]:
    """Files in the order of their beginning."""
    return (LONG.index(file) if file in LONG else len(LONG) - is_of_system(file)), file


def workers() -> int:
    """How many this machine is for."""
    import psutil

    affordable = psutil.virtual_memory().available // WORKER_BYTES
    return int(min(max(WORKERS_PER_CORE * (os.cpu_count() or 1), WORKERS_MIN), max(affordable, 1), WORKERS_MAX))


class Controller:
    """Starts the stack before the workers, and ends it after them."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._folder: Path | None = None
        self._copy: Copy | None = None

    def pytest_sessionstart(self) -> None:
        if not self._config.getoption("numprocesses", 0) or os.environ.get("ADRIATIC_TEST_STACK"):
            return
        from tests.copies import INFRASTRUCTURE, Copy, make_folder

        self._folder = make_folder()
        self._copy = Copy(self._folder / ".adriatic", INFRASTRUCTURE, {})
        self._copy.start()

    def pytest_sessionfinish(self) -> None:
        if self._copy is not None and self._folder is not None:
            self._copy.end()
            shutil.rmtree(self._folder, ignore_errors=True)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        if self._folder is not None:
            node.workerinput["stack_home"] = str(self._folder / ".adriatic")

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        from xdist.scheduler import LoadScopeScheduling

        class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
            """One file to one worker, in the order of `rank`, those of the system before all others."""

            def _split_scope(self, nodeid: str) -> str:
                return nodeid.partition("::")[0]

            def _next(self, node: Any) -> str | None:
                """The file that a worker is to run next. None: the others run what is left."""
                is_system_worker = self.nodes.index(node) < SYSTEM_WORKERS
                files = [file for file in self.workqueue if is_system_worker or not is_of_system(file)]
                return min(files, key=lambda file: (not is_of_system(file), rank(file)), default=None)

            def _assign_work_unit(self, node: Any) -> None:
                if (file := self._next(node)) is not None:
                    self.workqueue.move_to_end(file, last=False)
                    super()._assign_work_unit(node)

            def _reschedule(self, node: Any) -> None:
                if self.workqueue and self._next(node) is None:
                    node.shutdown()
                else:
                    super()._reschedule(node)

        config.option.loadscopereorder = False
        return ByFile(config, log)


idle_later: list[Copy] = []
"""Whole systems that are of no use after the last test of one: at rest each takes a third of a core."""


class Worker:
    """Ends the whole system after its last use."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        result = yield
        # A worker gets files of the system before all others, so that after them none comes.
        if idle_later and nextitem is not None and not is_of_system(nextitem.nodeid):
            idle_later.pop().end()
        return result
