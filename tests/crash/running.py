"""A running copy of the system, as the ring sees it: which processes it has, and how they are hit.

Owns finding a process by the supervisor's report, and the signals. Refuses every process that this report does not name
with its time of creation: nothing that was not started here is ever hit.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence

import psutil

from adriatic.supervisor import process
from adriatic.supervisor.supervisor import read_running
from runtime import processes
from runtime.clock import SYSTEM_CLOCK
from runtime.deadline import Deadline
from tests import databases
from tests.copies import Copy
from tests.crash.schedule import SUPERVISOR, Action, Fault, Hit, actions

POSTGRES = "postgres"
_BACKENDS = """
  select distinct on (1)
    case when backend_type = 'client backend' then application_name else backend_type end, pid
  from pg_stat_activity
  where pid <> pg_backend_pid() and (backend_type <> 'client backend' or application_name <> '')
  order by 1, pid
"""
CATCH_S_MAX = 15.0
"""A target that is being started again is waited for, so long that a process comes back, and short beside a run."""
POLL_S = 0.05


class Hits:
    """Hits the processes of `copy`. `done` are the faults that happened, `missed` those whose target did not run."""

    def __init__(self, copy: Copy) -> None:
        self._copy = copy
        self._hung: dict[Fault, list[psutil.Process]] = {}
        self.done: list[Hit] = []
        self.missed: list[Fault] = []

    def targets(self) -> list[str]:
        """Every process that the supervisor keeps, those that serve the API where there are several, and the
        supervisor."""
        report = read_running(self._copy.files)
        assert report is not None, "the supervisor is gone"
        services = [part for part in report.parts if part.kind == "service"]
        workers = [f"{part.name}/{number}" for part in services if part.pid for number in _workers(part.pid)]
        return [*(part.name for part in services), *workers, SUPERVISOR]

    def run(self, faults: Sequence[Fault], until_s: float) -> None:
        """All of `faults` in their time, then until `until_s`; whatever happens, nothing is left hanging. On the main
        thread: a supervisor that is started anew ends with the thread that started it."""
        began_s = time.monotonic()
        try:
            for action in actions(faults):
                time.sleep(max(0.0, began_s + action.at_s - time.monotonic()))
                self._do(action)
            time.sleep(max(0.0, began_s + until_s - time.monotonic()))
        finally:
            for fault in list(self._hung):
                self._go_on(fault)

    def _do(self, action: Action) -> None:
        fault = action.fault
        if not action.begins:
            self._go_on(fault)
        elif fault.target == SUPERVISOR:
            self._note(fault)
            self.kill_supervisor()
        elif (victim := self._catch(fault.target)) is None:
            self.missed.append(fault)
        elif fault.kind == "kill":
            self._note(fault)
            signal_all([victim], signal.SIGKILL)
        else:
            self._note(fault)
            self._hung[fault] = _family(victim)
            signal_all(self._hung[fault], signal.SIGSTOP)

    def _note(self, fault: Fault) -> None:
        self.done.append(Hit(SYSTEM_CLOCK.now().timestamp(), fault))

    def _go_on(self, fault: Fault) -> None:
        signal_all(self._hung.pop(fault, []), signal.SIGCONT)

    def find(self, target: str) -> list[psutil.Process]:
        """The process of a target that runs, and those below it: the supervisor alone, because what is below it are
        targets of their own. `postgres/walsender`: the first process of Postgres that does this."""
        if target == SUPERVISOR:
            report = read_running(self._copy.files)
            assert report is not None, "the supervisor is gone"
            return [psutil.Process(report.pid)]
        name, _, backend = target.partition("/")
        victim = self._catch(name if name == POSTGRES else target)
        assert victim is not None, f"{target} does not run"
        if name == POSTGRES and backend:
            return [psutil.Process(_backends(self._copy)[backend])]
        return _family(victim)

    def backends(self) -> list[str]:
        """One process of Postgres for each thing that they do, as targets."""
        return [f"{POSTGRES}/{name}" for name in sorted(_backends(self._copy))]

    def kill_supervisor(self) -> None:
        """Kill it, and start another in its place."""
        report = read_running(self._copy.files)
        if report is not None and processes.is_alive(report.pid, report.started_at):
            os.kill(report.pid, signal.SIGKILL)
            process.wait_gone(report.pid, report.started_at, CATCH_S_MAX)
        self._copy.start()

    def _catch(self, target: str) -> psutil.Process | None:
        deadline = Deadline.after(CATCH_S_MAX)
        name, _, worker = target.partition("/")
        while True:
            report = read_running(self._copy.files)
            for part in report.parts if report else ():
                if part.name == name and part.pid and processes.is_alive(part.pid, part.started_at):
                    with contextlib.suppress(psutil.Error, KeyError):
                        return _workers(part.pid)[worker] if worker else psutil.Process(part.pid)
            if deadline.passed:
                return None
            time.sleep(POLL_S)


def _workers(pid: int) -> dict[str, psutil.Process]:
    """The processes that share the work of `pid`, by their number. Only those of the API are its children."""
    with contextlib.suppress(psutil.Error):
        found = [(each.cmdline()[-2:], each) for each in psutil.Process(pid).children()]
        return {words[1]: each for words, each in found if words[:1] == ["--worker"]}
    return {}


def _backends(copy: Copy) -> dict[str, int]:
    """Process ids in Postgres, by what they do: of sessions by the name of who has them."""
    rows = databases.ask(copy.settings.postgres.dsn("admin", "postgres"), _BACKENDS)
    return {name.replace(" ", "-"): pid for name, pid in rows}


def _family(victim: psutil.Process) -> list[psutil.Process]:
    """A process and those below it, itself first: Postgres serves every connection with a child."""
    with contextlib.suppress(psutil.Error):
        return [victim, *victim.children(recursive=True)]
    return [victim]


def signal_all(processes: Sequence[psutil.Process], what: signal.Signals) -> None:
    """psutil compares the time of creation first, so an id that was used again is not hit."""
    for each in processes:
        with contextlib.suppress(psutil.Error):
            each.send_signal(what)
