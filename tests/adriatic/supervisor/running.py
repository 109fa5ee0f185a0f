"""A supervisor of small, quick parts, run as the process that it is."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from adriatic.supervisor.part import PartReport, SystemReport
from adriatic.supervisor.supervisor import Files, read_report, read_running
from runtime import processes
from tests.patience import PATIENCE_S


class Running:
    """A supervisor process and its report."""

    def __init__(self, home: Path, script: Path) -> None:
        self.home, self.files, self._script = home, Files(home), script
        self.files.make()
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> Running:
        log = self.files.log("supervisor").open("ab")
        self.child = subprocess.Popen([sys.executable, str(self._script), str(self.home)], stdout=log, stderr=log)
        log.close()
        self.until(lambda report: report.pid == self.pid)
        return self

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    def until(self, holds: Callable[[SystemReport], bool]) -> SystemReport:
        """The first report for which `holds` is true."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            report = read_running(self.files)
            if report is not None and holds(report):
                return report
            time.sleep(0.02)
        raise AssertionError(f"never: {read_report(self.files)}\n{self.files.log('supervisor').read_text()}")

    def part(self, name: str) -> PartReport:
        report = read_running(self.files)
        assert report is not None
        return next(part for part in report.parts if part.name == name)

    def kill(self) -> None:
        """End the supervisor the hard way."""
        assert self.child is not None
        self.child.kill()
        self.child.wait(PATIENCE_S)

    def stop(self) -> None:
        if self.child is not None and self.child.poll() is None:
            self.child.terminate()
            self.child.wait(PATIENCE_S)


def of(report: SystemReport, name: str) -> PartReport:
    return next(part for part in report.parts if part.name == name)


def gone(part: PartReport) -> bool:
    return not processes.is_alive(part.pid, part.started_at)


SCRIPT = """
import asyncio, os, signal, sys
from pathlib import Path
from runtime import logs
from runtime.settings import TelemetrySettings
from adriatic.supervisor.part import ProbeResult, Part
from adriatic.supervisor.supervisor import Supervisor, end_leftovers, only_one

home = Path(sys.argv[1])
SLEEP = ["sleep", "600"]
ENV = {"PATH": os.environ["PATH"], "HOME": str(home)}

def sh(script):
    return ["sh", "-c", script]

<PARTS>

logs.configure("supervisor", TelemetrySettings())
supervisor_files = __import__("adriatic.supervisor.supervisor", fromlist=["Files"]).Files(home)
with only_one(supervisor_files):
    end_leftovers(supervisor_files, PARTS)
    async def run():
        await Supervisor(PARTS, home).run()
    asyncio.run(run())
"""
