"""Who runs a command, for `ops.audit`."""

from __future__ import annotations

import getpass
import os
import platform


def name_actor() -> str:
    """The user and the machine: `ada@host`."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user that has no name
        user = str(os.getuid())
    return f"{user}@{platform.node()}"
