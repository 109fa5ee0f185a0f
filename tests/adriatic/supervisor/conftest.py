"""The fixture that runs a supervisor and proves that nothing outlived it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adriatic.supervisor.supervisor import read_report
from tests.adriatic.supervisor.running import SCRIPT, Running, gone


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[[str], Running]]:
    """Runs a supervisor of the parts that some Python source names as `PARTS`."""
    started: list[Running] = []

    def make(parts: str) -> Running:
        script = tmp_path / "supervise.py"
        script.write_text(SCRIPT.replace("<PARTS>", parts))
        found = Running(tmp_path / "home", script)
        started.append(found)
        return found

    yield make
    for each in started:
        report = read_report(each.files)
        each.stop()
        for part in report.parts if report else []:
            if part.pid is not None and not gone(part):
                os.kill(part.pid, signal.SIGKILL)
                raise AssertionError(f"{part.name} outlived its supervisor")
