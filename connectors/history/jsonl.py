"""A history as JSON lines, plain or gzipped: one change a line, in commit order.

Fields: `commit`, `committed_at` (ISO 8601), `change` (A, M, R, D), `path`, and where they apply `old_path`, `content`,
`subject`, `author`; others are ignored. A line that does not fit is a fault with its number; the next line is read. A
byte order mark is none of the first line's.
"""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

import msgspec

from connectors.history.logs import PartSource
from connectors.history.model import ChangeKind, Fault, FileChange, HistorySource, SourceKind
from runtime.errors import InvalidInput

LINE_BYTES_MAX = 8_388_608
"""A change with the largest content that is accepted anywhere, escaped. A longer line is passed over without being held
in memory."""
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")


class _Line(msgspec.Struct):
    commit: str
    committed_at: datetime
    change: ChangeKind
    path: str
    old_path: str | None = None
    content: str | None = None
    subject: str | None = None
    author: str | None = None


class _Path(msgspec.Struct):
    path: str
    change: str = "A"
    old_path: str | None = None


_DECODER = msgspec.json.Decoder(_Line)
_PATH = msgspec.json.Decoder(_Path)


def is_jsonl(path: Path) -> bool:
    return path.name.lower().endswith(_SUFFIXES)


class JsonlSource:
    """See `connectors.history.model.HistorySource`."""

    kind: SourceKind = "jsonl"
    snapshot = False

    def __init__(self, path: Path, content_bytes_max: int) -> None:
        self.name = str(path)
        self._path = path
        self._bytes_max = content_bytes_max

    def count(self) -> int:
        return sum(1 for _ in self._lines())

    def paths(self) -> list[str]:
        found: dict[str, None] = {}
        for _, line in self._lines():
            if isinstance(line, bytes):
                try:
                    row = _PATH.decode(line)
                except (msgspec.DecodeError, UnicodeError):
                    continue
                for gone in (row.old_path if row.change == "R" else None, row.path if row.change == "D" else None):
                    found.pop(gone or "", None)
                if row.change != "D":
                    found[row.path] = None
        return list(found)

    def part(self, folder: str, others: Sequence[str]) -> HistorySource:
        return PartSource(self, folder, first=not others or folder < min(others))

    def notes(self) -> list[str]:
        return []

    def changes(self) -> Iterator[FileChange | Fault]:
        for number, line in self._lines():
            where = f"line {number}"
            if isinstance(line, Fault):
                yield line
            elif line is None:
                yield Fault(where, "too-large", f"the line is longer than {LINE_BYTES_MAX} bytes")
            else:
                yield _change(line, where, self._bytes_max)

    def _lines(self) -> Iterator[tuple[int, bytes | Fault | None]]:
        """Numbered lines that are not blank; None for one that is too long, a fault where the file breaks off."""
        number = 0
        with self._open() as file:
            try:
                for number, line in enumerate(_read_lines(file), 1):
                    if number == 1 and line is not None:
                        if line.startswith(_UTF_16):
                            yield 1, Fault("line 1", "bad-encoding", "the file is UTF-16; write it as UTF-8")
                            return
                        line = line.removeprefix(codecs.BOM_UTF8)
                    if line is None or line.strip():
                        yield number, line
            except (EOFError, zlib.error, OSError) as error:
                where = f"after line {number}"
                yield number + 1, Fault(where, "broken-file", f"the file cannot be read on: {error}")

    def _open(self) -> IO[bytes]:
        try:
            with self._path.open("rb") as file:
                zipped = file.read(2) == b"\x1f\x8b"
            return cast("IO[bytes]", gzip.open(self._path, "rb")) if zipped else self._path.open("rb")
        except OSError as error:
            raise InvalidInput(f"{self._path} cannot be read: {error.strerror}") from error


def _read_lines(file: IO[bytes]) -> Iterator[bytes | None]:
    while line := file.readline(LINE_BYTES_MAX + 1):
        if len(line) <= LINE_BYTES_MAX or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LINE_BYTES_MAX)
        yield None


def _change(line: bytes, where: str, bytes_max: int) -> FileChange | Fault:
    try:
        row = _DECODER.decode(line)
        content = None if row.content is None else row.content.encode()
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return Fault(where, "bad-line", str(error)[:300])
    if missing := _find_missing(row):
        return Fault(where, "bad-line", missing)
    at = row.committed_at if row.committed_at.tzinfo else row.committed_at.replace(tzinfo=UTC)
    size_bytes = 0 if content is None else len(content)
    return FileChange(
        ref=row.commit,
        committed_at=at,
        author=row.author or "",
        subject=row.subject or "",
        change=row.change,
        path=row.path,
        old_path=row.old_path if row.change == "R" else None,
        content=content if size_bytes <= bytes_max else None,
        size_bytes=size_bytes,
    )


def _find_missing(row: _Line) -> str:
    if not row.commit or not row.path:
        return "`commit` or `path` is empty"
    for name in ("commit", "path", "old_path", "author", "subject"):
        if "\0" in (getattr(row, name) or ""):
            return f"`{name}` has a NUL character, which no name may have"
    if row.change == "R" and not row.old_path:
        return "a rename without `old_path`"
    if row.change != "D" and row.content is None:
        return f"`content` is missing, and the change is {row.change}"
    return ""
