"""A folder of records as it is now: every file is one change, and there is no past."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from connectors.history.logs import PartSource
from connectors.history.model import (
    Fault,
    FileChange,
    HistorySource,
    SourceKind,
    is_record_file,
    note_left_out,
    symbolic_link,
)
from runtime.errors import InvalidInput

FILES_MAX = 100_000
"""More files of text than this under one folder is somebody's home directory, not a log of decisions."""
_SKIPPED = frozenset(("node_modules", "__pycache__", "site-packages", "target", "build", "dist"))


class FolderSource:
    """See `connectors.history.model.HistorySource`. The ref of a change is made of time and content: an unchanged file
    is known again, an edited one is not, and one that was edited back is not either."""

    kind: SourceKind = "folder"
    snapshot = True

    def __init__(self, root: Path, content_bytes_max: int) -> None:
        self.name = str(root)
        self._root = root
        self._bytes_max = content_bytes_max

    def count(self) -> int:
        return sum(1 for _ in self._files())

    def paths(self) -> list[str]:
        return [_relative(path, self._root) for path in self._files()]

    def part(self, folder: str, others: Sequence[str]) -> HistorySource:
        return PartSource(self, folder, first=not others or folder < min(others))

    def notes(self) -> list[str]:
        return [
            "not in git: the files are read as they are now, each as one version, with the date that its text gives",
            *note_left_out(self._others()),
        ]

    def changes(self) -> Iterator[FileChange | Fault]:
        for path in self._files():
            relative = _relative(path, self._root)
            if path.is_symlink():
                yield symbolic_link(relative)
                continue
            try:
                status = path.stat()
                content = _read(path, self._bytes_max) if status.st_size <= self._bytes_max else None
            except OSError as error:
                yield Fault(relative, "unreadable", error.strerror or type(error).__name__)
                continue
            at = datetime.fromtimestamp(status.st_mtime, UTC)
            digest = hashlib.sha256(content).hexdigest()[:16] if content is not None else f"{status.st_size}-bytes"
            yield FileChange(
                ref=f"file-{status.st_mtime_ns // 1000:x}-{digest}",
                committed_at=at,
                author="",
                subject="",
                change="A",
                path=relative,
                content=content,
                size_bytes=status.st_size if content is None else len(content),
            )

    def _others(self) -> Iterator[str]:
        for folder, names, files in os.walk(self._root):
            names[:] = sorted(name for name in names if not name.startswith(".") and name not in _SKIPPED)
            for name in sorted(files):
                yield _relative(Path(folder, name), self._root)

    def _files(self) -> Iterator[Path]:
        """Files of records, and links named like one, in a stable order. Hidden and built folders are not entered."""
        found = 0
        for folder, names, files in os.walk(self._root):
            files += (name for name in names if Path(folder, name).is_symlink())  # a folder by its target
            names[:] = sorted(name for name in names if not name.startswith(".") and name not in _SKIPPED)
            for name in sorted(files):
                path = Path(folder, name)
                if is_record_file(name) and (path.is_symlink() or path.is_file()):
                    found += 1
                    if found > FILES_MAX:
                        raise InvalidInput(
                            f"{self._root} holds more than {FILES_MAX} files of text",
                            hint="name the folder of the decision records",
                        )
                    yield path


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix().encode(errors="surrogateescape").decode(errors="replace")


def _read(path: Path, bytes_max: int) -> bytes | None:
    """The file's bytes, or None when it has grown over the limit since it was looked at."""
    with path.open("rb") as file:
        content = file.read(bytes_max + 1)
    return content if len(content) <= bytes_max else None
