"""Processes of the operating system: starting one that cannot be forgotten, recognising one, ending one.

Owns process groups and the death signal. Refuses to end a process by its id alone: ids are reused, so a process is
(id, creation time), as `runtime/processes.py` tells them apart.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from runtime.clock import SYSTEM_CLOCK
from runtime.processes import is_alive, resident_bytes

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path | None,
    user: str | None,
    death_signal: signal.Signals,
    cwd: Path = Path("/"),
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, both outputs appended to `log`; None: to
    ours.

    When our process dies, however it dies, the kernel sends it `death_signal`: nothing outlives its supervisor. Call
    it on the main thread, because the kernel watches the thread, not the process.
    """
    supervisor = os.getpid()

    def tie() -> None:
        # Runs in the child, after its change of user (which would clear the setting) and before exec.
        _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != supervisor:
            os.kill(os.getpid(), death_signal)

    # Appending, so that the supervisor can cut the file short under a running writer.
    with log.open("ab") if log else contextlib.nullcontext() as out:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT if out else None,
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
            preexec_fn=tie,
            **identity(user),
        )


def identity(user: str | None) -> dict[str, Any]:
    """Arguments of Popen that run a process as `user`, with none of our groups."""
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def end(pid: int, created: float, stop_signal: signal.Signals, grace_s: float) -> None:
    """End a process that is not our child, with its process group. Returns when it is gone."""
    if not is_alive(pid, created):
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, stop_signal)
    wait_gone(pid, created, grace_s)
    if is_alive(pid, created):
        kill_group(pid)
        wait_gone(pid, created, grace_s)


def wait_gone(pid: int, created: float, seconds: float) -> bool:
    """Whether the process ended within `seconds`."""
    until = SYSTEM_CLOCK.monotonic() + seconds
    while is_alive(pid, created):
        if SYSTEM_CLOCK.monotonic() >= until:
            return False
        SYSTEM_CLOCK.sleep(0.05)
    return True


def resident_of(parts: Mapping[str, int], supervisor: int) -> dict[str, int | None]:
    """Memory of each part (name to process id) and, under `supervisor`, of the supervisor itself."""
    sizes = {name: resident_bytes(pid) for name, pid in parts.items()}
    return sizes | {"supervisor": resident_bytes(supervisor, family=False)}


def kill_group(pid: int) -> None:
    """Kill what is left of a process group. Only for a leader that is not reaped yet, so that its id is still its."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def list_below(pid: int) -> list[psutil.Process]:
    """Every process below one, whatever group it is in. Empty when there is no such process any more."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def kill_each(processes: Sequence[psutil.Process]) -> None:
    """Kill those of them that still run; the library compares the time of creation first."""
    for each in processes:
        with contextlib.suppress(psutil.Error):
            each.kill()
