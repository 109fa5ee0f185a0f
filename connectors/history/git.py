"""A git repository, or a folder in one: the history of its decision records, through the `git` command.

Follows the first parent: each version is a state that the branch really had, in the order in which it had them, a merge
counts as one change, and the last version of every file is what HEAD holds. (All commits of all side branches, in any
order, would alternate between states of branches that ran side by side.) Renames are followed as git finds them.

Runs nothing that a repository could name: no hooks, pagers, filters, signature programs, or fetches of a partial clone.
File names are bytes between NULs and contents are asked for by object id, so no name can be mistaken for anything else.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple

from msgspec.structs import replace

from connectors.history.logs import ADR_FOLDERS
from connectors.history.model import (
    ChangeKind,
    Fault,
    FileChange,
    HistorySource,
    SourceKind,
    is_record_file,
    note_left_out,
    symbolic_link,
)
from runtime.errors import InvalidInput

ROOT_RECORDS = (
    *(":(top,icase,glob)adr[-_][0-9]*.*", ":(top,icase,glob)adr[0-9]*.*"),
    *(":(top,icase,glob)[0-9][0-9][0-9][0-9][-_][a-z]*.*", ":(top,icase,glob)[0-9][0-9][0-9][-_][a-z]*.*"),
)
"""Names of records in the root of a repository that is itself the log."""
PROBE_S_MAX = 30.0
"""Time for one short question to git."""
RENAME_SIMILARITY = "50%"
"""Git's own default, said out loud because a repository's configuration could change it."""
RENAME_FILES_MAX = 2_000
"""Files that git compares in one commit to find renames; its own default of 1 000 gives up on a big reordering."""

_REGULAR = ("100644", "100755")
_LINK = "120000"
_OWN_CONFIG = frozenset(("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"))
_HEADER = "\x01"
_SAFE = (
    *("--no-pager", "--no-replace-objects"),
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false"),
    *("-c", "protocol.allow=never", "-c", "log.follow=false", "-c", "diff.renames=true", "-c", "log.mailmap=true"),
    *("-c", "log.diffMerges=separate"),
)


class _Entry(NamedTuple):
    """One line of the raw log: what happened to a file in a commit, and the object that is its content, unread."""

    change: FileChange
    blob: str


class GitSource:
    """See `connectors.history.model.HistorySource`. Made by `find`."""

    kind: SourceKind = "git"
    snapshot = False

    def __init__(
        self, root: Path, folder: str, content_bytes_max: int, *, head: str, left_out: Sequence[str] = ()
    ) -> None:
        self._root = root
        self._folder = folder
        self._bytes_max = content_bytes_max
        self._head = head
        self._left_out = left_out
        self._count: int | None = None
        self.name = str(root / folder) if folder else str(root)
        self._named = _adr_dir_file(root) if not folder else ""

    @classmethod
    def find(cls, path: Path, content_bytes_max: int) -> GitSource | None:
        """The repository that `path` is in, or None when it is in none (or has no commit yet).

        Raises `InvalidInput` when git is missing, or refuses to read a repository that belongs to somebody else.
        """
        folder = path.resolve()
        asked = _ask(folder, "rev-parse", "--is-bare-repository", "--show-prefix")
        if asked is None:
            return None
        bare, _, prefix = asked.partition("\n")
        root = folder if bare == "true" else Path(_ask(folder, "rev-parse", "--show-toplevel") or str(folder))
        head = _ask(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        return cls(root, prefix.strip("\n").rstrip("/"), content_bytes_max, head=head) if head else None

    @property
    def whole_repository(self) -> bool:
        return not self._folder

    def count(self) -> int:
        if self._count is None:  # a walk of the whole history; `head` is fixed, so the answer stays
            self._count = sum(1 for _ in self._entries())
        return self._count

    def paths(self) -> list[str]:
        return [path for path in self._names() if is_record_file(path)]

    def part(self, folder: str, others: Sequence[str]) -> HistorySource:
        whole = folder or self._folder
        left_out = () if folder else tuple(others)
        return GitSource(self._root, whole, self._bytes_max, head=self._head, left_out=left_out)

    def notes(self) -> list[str]:
        notes = ["what is committed on the current branch; uncommitted edits are not read"]
        if _ask(self._root, "rev-parse", "--is-shallow-repository") == "true":
            notes.append("a shallow clone: its history starts where it was cut (git fetch --unshallow brings the rest)")
        return notes + note_left_out(self._names())

    def _names(self) -> list[str]:
        """What HEAD holds in the folders that are read."""
        listed = _ask(self._root, "ls-files", "-z", f"--with-tree={self._head}", "--", *self._pathspecs())
        return sorted(set((listed or "").split("\0")) - {""})

    def changes(self) -> Iterator[FileChange | Fault]:
        with closing(_Blobs(self._root)) as blobs:
            for entry in self._entries():
                yield entry if isinstance(entry, Fault) else self._read(blobs, *entry)

    def _read(self, blobs: _Blobs, change: FileChange, blob: str) -> FileChange | Fault:
        if change.change == "D":
            return change
        size = blobs.size(blob)
        if size is None:
            return Fault(_where(change), "missing-object", f"{blob} is not here")
        return replace(change, content=blobs.read(blob) if size <= self._bytes_max else None, size_bytes=size)

    def _entries(self) -> Iterator[_Entry | Fault]:
        command = [
            *("log", self._head, "--first-parent", "-m", "--reverse", "--raw", "-z", "--no-abbrev", "--root"),
            *(f"-M{RENAME_SIMILARITY}", f"-l{RENAME_FILES_MAX}"),
            *("--no-ext-diff", "--no-textconv", "--no-show-signature"),
            *("--encoding=UTF-8", "--no-color", "--no-notes", "--format=tformat:%x01%H%x00%cI%x00%aN%x00%s"),
            *("--", *self._pathspecs()),
        ]
        with _run(self._root, command) as process:
            assert process.stdout is not None
            for entry in _parse_log(_tokens(process.stdout)):
                if isinstance(entry, Fault):
                    yield entry
                else:
                    yield from self._keep_records(entry)

    def _pathspecs(self) -> list[str]:
        without = [f":(top,exclude,literal){folder}" for folder in self._left_out]
        if self._folder:
            return [f":(top,literal){self._folder}", *without]
        named = [f":(top,literal){self._named}"] if self._named else []
        folders = (f":(top,icase,glob)**/{name}/**" for name in sorted(ADR_FOLDERS))
        return [*named, *ROOT_RECORDS, *folders, *without]

    def _keep_records(self, entry: _Entry) -> Iterator[_Entry]:
        """The entry as far as it is about records: a file renamed to another kind is gone, and the other way round."""
        change = entry.change
        new, old_path = is_record_file(change.path), change.old_path or ""
        if new and (change.change != "R" or is_record_file(old_path)):
            yield entry
        elif new:
            yield _as(entry, "A", change.path)
        elif change.change == "R" and is_record_file(old_path):
            yield _as(entry, "D", old_path)


def _as(entry: _Entry, kind: ChangeKind, path: str) -> _Entry:
    return entry._replace(change=replace(entry.change, change=kind, path=path, old_path=None))


def _where(change: FileChange) -> str:
    return f"{change.path} in {change.ref[:12]}"


def _adr_dir_file(root: Path) -> str:
    """The folder that adr-tools' `.adr-dir` names, relative to the root, or nothing."""
    try:
        with (root / ".adr-dir").open(encoding="utf-8", errors="replace") as file:
            named = file.readline(1_000).strip().strip("/")
    except OSError:
        return ""
    return "" if named in ("", ".") or ".." in named.split("/") else named.removeprefix("./")


# ------------------------------------------------------------------------------------------------------- the raw log


def _tokens(stream: IO[bytes]) -> Iterator[str]:
    """What stands between the NULs, as text; bytes that are not UTF-8 become escapes, so that names stay distinct."""
    rest = b""
    while block := stream.read(65_536):
        *whole, rest = (rest + block).split(b"\0")
        yield from (token.decode("utf-8", "backslashreplace") for token in whole)
    if rest.strip():
        yield rest.decode("utf-8", "backslashreplace")


def _parse_log(tokens: Iterator[str]) -> Iterator[_Entry | Fault]:
    """Headers of four tokens, each followed by its files: a status token and one path, or two for a rename."""
    ref = author = subject = ""
    at = datetime.fromtimestamp(0, UTC)
    for token in tokens:
        if token.startswith(_HEADER):
            ref = token[1:]
            at = datetime.fromisoformat(next(tokens))
            author, subject = next(tokens), next(tokens)
            continue
        line = token.lstrip("\n")
        if not line.startswith(":"):
            continue
        old_mode, new_mode, _, blob, status = line[1:].split(" ")
        path = next(tokens)
        old_path = None
        if status[0] in "RC":
            old_path, path = path, next(tokens)
        entry = _Entry(FileChange(ref, at, author, subject, "M", path, old_path), blob)
        yield from _classify(entry, old_mode, new_mode, status[0])


def _classify(entry: _Entry, old_mode: str, new_mode: str, status: str) -> Iterator[_Entry | Fault]:
    """Only regular files count: a file that became a link or a submodule is gone, and the other way round it is new.
    A link is said to be there, so that nobody looks for its record in vain."""
    change = entry.change
    if new_mode == _LINK and is_record_file(change.path):
        yield symbolic_link(_where(change))
    was, is_ = old_mode in _REGULAR, new_mode in _REGULAR
    if status == "R" and was and is_:
        yield entry._replace(change=replace(change, change="R"))
    elif is_:
        yield _as(entry, "M" if was and status != "C" else "A", change.path)
    elif was:
        yield _as(entry, "D", change.old_path or change.path)


# ------------------------------------------------------------------------------------------------------ talking to git


class _Blobs:
    """Contents by object id, from two git processes that live as long as the read: one says sizes, one sends bytes."""

    def __init__(self, root: Path) -> None:
        self._sizes = _start(root, ["cat-file", "--batch-check"], feed=True)
        self._bytes = _start(root, ["cat-file", "--batch"], feed=True)

    def close(self) -> None:
        for process in (self._sizes, self._bytes):
            _end(process)

    def size(self, blob: str) -> int | None:
        """Size in bytes; None when the repository does not have the object (a partial clone)."""
        kind, size = self._header(self._sizes, blob)
        return size if kind == "blob" else None

    def read(self, blob: str) -> bytes:
        kind, size = self._header(self._bytes, blob)
        assert kind == "blob", f"{blob} went away"
        assert self._bytes.stdout is not None
        content = self._bytes.stdout.read(size)
        self._bytes.stdout.read(1)  # the line feed after each object
        return content

    @staticmethod
    def _header(process: subprocess.Popen[bytes], blob: str) -> tuple[str, int]:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):  # then there is no answer either
            process.stdin.write(f"{blob}\n".encode("ascii"))
            process.stdin.flush()
        parts = process.stdout.readline().decode("ascii", "replace").split()
        if not parts:
            raise InvalidInput("git ended while contents were being read")
        return (parts[1], int(parts[2])) if len(parts) == 3 else ("missing", 0)


def _environment() -> dict[str, str]:
    """Ours without what points git elsewhere (as inside a hook), with what keeps it from running or fetching."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _OWN_CONFIG}
    return kept | {
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "LC_ALL": "C",
    }


def _start(
    root: Path, command: list[str], *, feed: bool = False, errors: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            ["git", *_SAFE, "-C", str(root), *command],
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors or subprocess.DEVNULL,
            env=_environment(),
        )
    except FileNotFoundError as error:
        raise InvalidInput(
            "the `git` command is not installed", hint="install git, or import a JSONL history"
        ) from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close the pipes and wait; a process that is not done with its output is told to stop."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    if process.poll() is None and process.stdin is None:
        process.terminate()
    try:
        process.wait(PROBE_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _run(root: Path, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A git process whose output is read to the end; its failure is an error, unless the reader stopped first."""
    with tempfile.TemporaryFile() as errors:
        process = _start(root, command, errors=errors)
        try:
            yield process
            process.wait(PROBE_S_MAX)
        finally:
            stopped_early = process.poll() is None
            _end(process)
        if process.returncode and not stopped_early:
            errors.seek(0)
            raise _refusal(root, errors.read(2_000).decode(errors="replace"))


def _ask(folder: Path, *question: str) -> str | None:
    """Git's answer without its last line end; None when it is no repository or does not know."""
    try:
        done = subprocess.run(
            ["git", *_SAFE, "-C", str(folder), *question],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_S_MAX,
            env=_environment(),
            check=False,
        )
    except FileNotFoundError as error:
        if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
            return None
        raise InvalidInput(
            f"{folder} is in a git repository, and the `git` command is not installed",
            hint="install git, or copy the folder out of the repository to import its files as they are now",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise InvalidInput(f"git did not answer within {PROBE_S_MAX:g} s in {folder}") from error
    if done.returncode == 0:
        return os.fsdecode(done.stdout).removesuffix("\n")
    message = done.stderr.decode(errors="replace")
    if "dubious ownership" in message or "safe.directory" in message:
        raise _refusal(folder, message)
    return None


def _refusal(root: Path, message: str) -> InvalidInput:
    if "dubious ownership" in message or "safe.directory" in message:
        return InvalidInput(
            f"git does not read {root}, because it belongs to another user",
            hint=f"if you trust it: git config --global --add safe.directory '{root}'",
        )
    return InvalidInput(
        f"git cannot read the history of {root}: {(message.strip() or 'no reason given').splitlines()[0]}"
    )
