"""Names of group members: one per process, on any number of machines, the same after a restart, without configuration.

Owns the files `instances/<group>-<n>` below home. A process takes the lowest number whose file nobody holds (a lock
that the system frees when the process ends, however it ends), so a process that is started again has the name of the
one that it replaces, and the broker gives it its partitions back without a rebalance. The file holds a random name, the
host's is put before it: two machines never share one, not even with copies of the same home.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from runtime.errors import Misconfigured
from runtime.logs import get_logger
from runtime.private import make_private

log = get_logger("consumer")

FOLDER = "instances"
PROCESSES_MAX = 64
"""Members of one group below one home. More than the partitions of any topic of ours have nothing to read."""
HOST_CHARS_MAX = 63
"""Longest host name in an instance id; a group instance id has at most 249 characters."""


@contextmanager
def claim(home: Path, group: str) -> Iterator[str]:
    """A name that no other process has, as long as this lasts. A home that cannot be written costs the restart without
    a rebalance, nothing else."""
    file = _take(home / FOLDER, group)
    try:
        name = f"{socket.gethostname()[:HOST_CHARS_MAX]}.{_content(file) if file is not None else uuid4().hex}"
        yield re.sub(r"[^A-Za-z0-9._-]", "_", name)
    finally:
        if file is not None:
            os.close(file)


def _take(folder: Path, group: str) -> int | None:
    """The descriptor of a locked file. None: nothing can be written there."""
    for number in range(PROCESSES_MAX):
        try:
            make_private(folder)
            file = os.open(folder / f"{group}-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.warning("instance ids cannot be kept", folder=str(folder), error=str(error))
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
        else:
            return file
    raise Misconfigured(
        f"{PROCESSES_MAX} processes of {group} run below {folder.parent}",
        hint="those beyond the number of partitions have nothing to read",
    )


def _content(file: int) -> str:
    """What an earlier holder wrote, or a new name."""
    name = os.read(file, 100).decode(errors="replace").strip()
    if not re.fullmatch(r"[0-9a-f]{32}", name):
        name = uuid4().hex
        os.ftruncate(file, 0)
        os.pwrite(file, name.encode(), 0)
    return name
