"""Which process something was done by, told so that another one can see whether it has ended, and what one takes.

Owns the name of a process (machine, start of the machine, process id, and when the process was created), and its
memory. Refuses to guess: a process of another machine, or one whose machine does not tell who it is, has not ended as
far as we know.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

CREATION_SLACK_S = 0.05
"""Two readings of one creation time differ by rounding only."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_SPACE = Path("/proc/self/ns/pid")
"""Containers of one machine number their processes each for itself."""


def read_created_at(pid: int) -> float | None:
    """When this process was created (seconds since 1970), or None when there is none. A zombie has ended."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def is_alive(pid: int | None, created: float | None) -> bool:
    """Whether this very process still runs."""
    if pid is None or created is None:
        return False
    found = read_created_at(pid)
    return found is not None and abs(found - created) <= CREATION_SLACK_S


@cache
def _name_machine() -> str:
    """This start of this machine, and this space of process ids; empty where the system does not tell."""
    try:
        return f"{_BOOT_ID.read_text().strip()}/{_PID_SPACE.readlink()}"
    except OSError:
        return ""


def name_self() -> str:
    """The name of this process: `<machine>/<pid>/<created>`."""
    pid = os.getpid()
    return f"{_name_machine()}/{pid}/{read_created_at(pid) or 0.0:.2f}"


def has_ended(name: str) -> bool:
    """Whether the process of this name has certainly ended. Raises nothing, whatever the name is."""
    machine, _, rest = name.rpartition("/")
    machine, _, pid = machine.rpartition("/")
    if not machine or machine != _name_machine() or not pid.isdigit():
        return False
    try:
        return not is_alive(int(pid), float(rest))
    except (ValueError, OverflowError):
        return False


def resident_bytes(pid: int, *, family: bool = True) -> int | None:
    """Memory of a process and (`family`) everything below it. What they share is counted once where the system says so
    (proportional set size), else each time (resident set size)."""
    try:
        process = psutil.Process(pid)
        members = [process, *(process.children(recursive=True) if family else [])]
    except psutil.Error:
        return None
    total = 0
    for member in members:
        with suppress(psutil.Error):
            try:
                total += member.memory_full_info().pss
            except (psutil.AccessDenied, AttributeError):
                total += member.memory_info().rss
    return total
