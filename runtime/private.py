"""Folders that only their owner may enter.

Owns their mode. Refuses to look inside: what lies in such a folder is out of everybody else's reach, whatever its own
mode says.
"""

from __future__ import annotations

from pathlib import Path

OTHERS = 0o077
"""What a group and everybody else may do, as bits of a mode."""


def make_private(folder: Path) -> Path:
    """Make a folder, or close one that is there: 0700. Its parents are made as usual."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_mode & OTHERS:
        folder.chmod(0o700)
    return folder
