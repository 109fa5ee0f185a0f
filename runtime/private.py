"""Folders and files that are for their owner alone.

Owns their mode, and that of several processes which make a file at once one wins. Refuses to look inside: what lies in
such a folder is out of everybody else's reach, whatever its own mode says.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from runtime.ids import new_id

OTHERS = 0o077
"""What a group and everybody else may do, as bits of a mode."""


def make_private(folder: Path) -> Path:
    """Make a folder, or close one that is there: 0700. Its parents are made as usual."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_mode & OTHERS:
        folder.chmod(0o700)
    return folder


def create_once(path: Path, content: bytes) -> None:
    """Make a file that only its owner may read, unless it is there: then it stays as it is. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{new_id().hex}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # A link never replaces: of several processes that start together one wins, and all of them read its file.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
