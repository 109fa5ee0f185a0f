"""The supervisor as people meet it: order, healing, and that nothing is ever left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adriatic.supervisor.part import Part
from adriatic.supervisor.supervisor import Files, end_leftovers, in_order, read_report, read_running, rotate
from runtime import processes
from tests.adriatic.supervisor.running import Running, gone, of

Supervise = Callable[[str], Running]


def test_starts_after_what_it_depends_on(supervise: Supervise) -> None:
    system = supervise("""
PARTS = [
    Part("server", command=sh("sleep 0.3; touch $HOME/up; exec sleep 600"), environment=ENV,
         probe=lambda: ProbeResult(True, (home / "up").exists(), "warming up")),
    Part("step", kind="step", command=sh("test -e $HOME/up && echo done >> $HOME/steps"), environment=ENV,
         depends_on=["server"]),
    Part("late", command=SLEEP, environment=ENV, depends_on=["step"]),
]
""").start()
    report = system.until(lambda report: report.good)
    assert [part.state for part in report.parts] == ["ready", "done", "ready"]
    assert (system.home / "steps").read_text() == "done\n"
    assert all(part.restarts == 0 for part in report.parts)


def test_heals_after_kill(supervise: Supervise) -> None:
    system = supervise('PARTS = [Part("server", command=SLEEP, environment=ENV)]').start()
    before = of(system.until(lambda report: report.good), "server")
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    after = of(system.until(lambda report: report.good and of(report, "server").pid != before.pid), "server")
    assert after.restarts == 1
    assert "SIGKILL" in after.last_error


def test_kills_workers_of_a_killed_process(supervise: Supervise) -> None:
    system = supervise("""
PARTS = [Part("server", command=sh("sleep 601 & echo $! > $HOME/worker; wait"), environment=ENV)]
""").start()
    first = of(system.until(lambda report: report.good and (system.home / "worker").exists()), "server")
    worker = int((system.home / "worker").read_text())
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    system.until(lambda report: report.good and of(report, "server").pid != first.pid)
    assert not _runs(worker)


def test_failing_step_is_repeated_and_says_why(supervise: Supervise) -> None:
    system = supervise("""
PARTS = [
    Part("step", kind="step", environment=ENV,
         command=sh('test -e $HOME/fixed || { echo "halted: no table"; echo "hint: make one"; exit 4; }')),
    Part("late", command=SLEEP, environment=ENV, depends_on=["step"]),
]
""").start()
    report = system.until(lambda report: of(report, "step").attempts_failed >= 2)
    assert of(report, "step").last_error == "ended with exit code 4: halted: no table (make one)"
    assert of(report, "late").state == "pending"
    (system.home / "fixed").touch()
    system.until(lambda report: report.good)


def test_hung_part_is_replaced(supervise: Supervise) -> None:
    system = supervise("""
import adriatic.supervisor.keeper as keeper
keeper.HUNG_S = 0.5
PARTS = [Part("server", command=SLEEP, environment=ENV,
              probe=lambda: ProbeResult(not (home / "hang").exists(), True, "silence"))]
""").start()
    before = of(system.until(lambda report: report.good), "server")
    (system.home / "hang").touch()
    report = system.until(lambda report: of(report, "server").restarts == 1)
    assert "does not answer" in of(report, "server").last_error
    (system.home / "hang").unlink()
    after = of(system.until(lambda report: report.good), "server")
    assert after.pid != before.pid


def test_what_a_hung_part_began_ends_with_it_whatever_group_it_is_in(supervise: Supervise) -> None:
    system = supervise("""
import adriatic.supervisor.keeper as keeper
keeper.HUNG_S = 0.5
PARTS = [Part("server", command=sh("setsid sleep 602 & echo $! > $HOME/below; wait"), environment=ENV,
              probe=lambda: ProbeResult(not (home / "hang").exists(), True, "silence"))]
""").start()
    before = of(system.until(lambda report: report.good and (system.home / "below").exists()), "server")
    below = int((system.home / "below").read_text())
    assert before.pid is not None
    for pid in (before.pid, below):
        os.kill(pid, signal.SIGSTOP)
    (system.home / "hang").touch()
    system.until(lambda report: of(report, "server").restarts == 1)
    (system.home / "hang").unlink()
    system.until(lambda report: report.good)
    assert not _runs(below)


def test_a_supervisor_that_was_stopped_itself_ends_nobody(supervise: Supervise) -> None:
    """Probes that are under way when it is stopped are late when it goes on, all of them."""
    system = supervise("""
import time
import adriatic.supervisor.keeper as keeper
keeper.HUNG_S, keeper.PROBE_READY_S = 1.0, 0.05
def probe():
    began = time.monotonic()
    time.sleep(0.2)
    return ProbeResult(time.monotonic() - began < 1.0, True, "timed out")
PARTS = [Part("server", command=SLEEP, environment=ENV, probe=probe)]
""").start()
    before = of(system.until(lambda report: report.good), "server")
    os.kill(system.pid, signal.SIGSTOP)
    time.sleep(1.5)
    stopped_at = time.time()
    os.kill(system.pid, signal.SIGCONT)
    report = system.until(lambda report: report.good and report.written_at > stopped_at + 1)
    assert of(report, "server").pid == before.pid
    assert of(report, "server").restarts == 0


def test_waiting_is_not_failing(supervise: Supervise) -> None:
    system = supervise("""
PARTS = [Part("server", command=SLEEP, environment=ENV,
              probe=lambda: ProbeResult(True, (home / "there").exists(), "kafka: not there"))]
""").start()
    report = system.until(lambda report: of(report, "server").state == "waiting")
    assert of(report, "server").reasons == "kafka: not there"
    (system.home / "there").touch()
    assert of(system.until(lambda report: report.good), "server").restarts == 0


def test_stops_dependents_first(supervise: Supervise) -> None:
    noted = "trap 'echo {0} >> $HOME/order; exit 0' TERM; touch $HOME/{0}; while :; do sleep 0.05; done"
    system = supervise(f"""
PARTS = [
    Part("database", command=sh({noted.format("database")!r}), environment=ENV,
         probe=lambda: ProbeResult(True, (home / "database").exists())),
    Part("step", kind="step", command=["true"], environment=ENV, depends_on=["database"]),
    Part("client", command=sh({noted.format("client")!r}), environment=ENV, depends_on=["step"],
         probe=lambda: ProbeResult(True, (home / "client").exists())),
]
""").start()
    system.until(lambda report: report.good)
    system.stop()
    assert (system.home / "order").read_text().split() == ["client", "database"]


def test_stubborn_part_is_killed(supervise: Supervise) -> None:
    system = supervise("""
PARTS = [Part("server", command=sh("trap '' TERM; touch $HOME/up; while :; do sleep 0.05; done"), environment=ENV,
              stop_grace_s=0.3, probe=lambda: ProbeResult(True, (home / "up").exists()))]
""").start()
    part = of(system.until(lambda report: report.good), "server")
    system.stop()
    assert gone(part)


def test_nothing_outlives_a_killed_supervisor(supervise: Supervise) -> None:
    system = supervise("""
PARTS = [Part("server", command=SLEEP, environment=ENV),
         Part("deaf", command=sh("trap '' TERM; touch $HOME/up; while :; do sleep 0.05; done"), environment=ENV,
              stop_grace_s=0.3, probe=lambda: ProbeResult(True, (home / "up").exists()))]
""").start()
    before = system.until(lambda report: report.good)
    system.kill()
    assert read_running(system.files) is None
    # The next one ends whoever did not listen, and starts everything anew.
    system.start()
    after = system.until(lambda report: report.good)
    assert all(gone(part) for part in before.parts)
    assert {part.pid for part in after.parts}.isdisjoint({part.pid for part in before.parts})


def test_leftovers_are_recognised_by_more_than_their_id(supervise: Supervise, tmp_path: Path) -> None:
    """A process that got the id of one of ours later is not ours to end."""
    system = supervise('PARTS = [Part("server", command=SLEEP, environment=ENV)]').start()
    system.until(lambda report: report.good)
    system.kill()
    time.sleep(2 * processes.CREATION_SLACK_S)  # a number that is given again so soon cannot be told apart
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        said = system.files.report.read_text()
        part = of(read_report(system.files), "server")  # type: ignore[arg-type]
        system.files.report.write_text(said.replace(f'"pid":{part.pid},', f'"pid":{stranger.pid},'))
        assert end_leftovers(system.files, []) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_only_one_supervisor(supervise: Supervise) -> None:
    system = supervise('PARTS = [Part("server", command=SLEEP, environment=ENV)]').start()
    before = system.until(lambda report: report.good)
    second = subprocess.run(
        [sys.executable, str(system.home.parent / "supervise.py"), str(system.home)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode != 0
    assert "another supervisor runs here" in second.stderr
    assert system.until(lambda report: report.good).pid == before.pid


def test_background_part_does_not_hold_up_readiness(supervise: Supervise) -> None:
    system = supervise("""
PARTS = [Part("server", command=SLEEP, environment=ENV),
         Part("slow", kind="step", background=True, command=SLEEP, environment=ENV, depends_on=["server"])]
""").start()
    report = system.until(lambda report: report.ready_s is not None and of(report, "slow").pid is not None)
    assert report.good
    assert of(report, "slow").state == "starting"


def test_order_refuses_circles_and_strangers() -> None:
    with pytest.raises(ValueError, match="depend"):
        in_order([Part("a", depends_on=["b"]), Part("b", depends_on=["a"])])
    with pytest.raises(ValueError, match="missing"):
        in_order([Part("a", depends_on=["nobody"])])


def test_logs_are_bounded_under_a_running_writer(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.make()
    log = files.log("server")
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 2_000)
        rotate(log, bytes_max=1_000)
        writer.write(b"after\n")
    assert log.read_bytes() == b"after\n"
    assert log.with_name("server.log.1").stat().st_size == 2_000


def _runs(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
