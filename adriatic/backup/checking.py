"""Reads a backup back: every file is there, as it was written, and nothing else is.

Owns the comparison with both manifests. Refuses to start the cluster: that is what `adriatic restore` is for.
"""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from adriatic.backup import manifest
from adriatic.backup.manifest import FileEntry, Manifest
from adriatic.stack.postgres import wheel_install
from runtime.errors import InvalidInput


@contextmanager
def open_backup(target: Path) -> Iterator[Path]:
    """The folder of a backup; that of a tar file is unpacked beside it for as long as the block lasts."""
    if not target.exists():
        raise InvalidInput(f"there is no backup {target}")
    if target.is_dir():
        yield target
        return
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        try:
            with tarfile.open(target) as tar:
                tar.extractall(folder, filter="data")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise InvalidInput(f"{target} cannot be unpacked: {error}") from None
        found = list(Path(folder).iterdir())
        if len(found) != 1:
            raise InvalidInput(f"{target} is no backup of ours: it has {len(found)} folders, and one is expected")
        yield found[0]


def check(folder: Path) -> tuple[Manifest, list[str]]:
    """The manifest, and what is wrong: nothing, when the backup is good. Raises `InvalidInput` for what is none."""
    made = manifest.read(folder)
    there = set(manifest.list_files(folder))
    faults = [f"{name} is missing" for name in sorted(made.files.keys() - there)]
    faults += [f"{name} does not belong to it" for name in sorted(there - made.files.keys())]
    for name in sorted(made.files.keys() & there):
        if manifest.measure(folder / name) != made.files[name]:
            faults.append(f"{name} is not as it was written")
    return made, [*faults, *_check_cluster(folder / manifest.CLUSTER)]


class _ClusterFile(msgspec.Struct, rename="pascal"):
    """A file, as `pg_basebackup` lists it. One whose name is no UTF-8 has another field, and Postgres makes none."""

    path: str
    size: int
    checksum: str


class _WalRange(msgspec.Struct, rename={"timeline": "Timeline", "start": "Start-LSN", "end": "End-LSN"}):
    """WAL that the cluster needs to start."""

    timeline: int
    start: str
    end: str


class _ClusterManifest(msgspec.Struct, rename={"files": "Files", "wal": "WAL-Ranges"}):
    """What of `backup_manifest` is looked at. All checksums are SHA-256, as they were asked for."""

    files: list[_ClusterFile]
    wal: list[_WalRange]


NOT_LISTED = ("backup_manifest", "postgresql.auto.conf", "pg_wal/")
"""What the server's manifest does not speak of: WAL has checksums of its own."""
READABLE_S_MAX = 600.0
"""Longest time to read the WAL of a backup, in seconds."""


def _check_cluster(folder: Path) -> list[str]:
    """Compare the cluster with the manifest that the server gave, and read its WAL. The server's own tool for that,
    pg_verifybackup, ends with a fault of memory in the binaries that come along."""
    try:
        found = msgspec.json.decode((folder / "backup_manifest").read_bytes(), type=_ClusterManifest)
    except (OSError, msgspec.DecodeError) as error:
        return [f"postgres: its manifest cannot be read: {error}"]
    listed = {file.path: FileEntry(file.size, file.checksum) for file in found.files}
    there = {
        name
        for file in folder.rglob("*")
        if file.is_file() and not (name := file.relative_to(folder).as_posix()).startswith(NOT_LISTED)
    }
    needed = {name for name in listed if not name.startswith(NOT_LISTED)}
    faults = [f"postgres/{name} is missing" for name in sorted(needed - there)]
    faults += [f"postgres/{name} does not belong to it" for name in sorted(there - needed)]
    for name in sorted(needed & there):
        if manifest.measure(folder / name) != listed[name]:
            faults.append(f"postgres/{name} is not as it was written")
    return [*faults, *(fault for wal in found.wal for fault in _check_wal(folder / "pg_wal", wal))]


def _check_wal(folder: Path, wal: _WalRange) -> list[str]:
    done = subprocess.run(
        [
            *(str(wheel_install() / "bin" / "pg_waldump"), "--quiet", "--path", str(folder)),
            *("--timeline", str(wal.timeline), "--start", wal.start, "--end", wal.end),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=READABLE_S_MAX,
    )
    said = done.stderr.strip().splitlines()
    return (
        [f"postgres: WAL from {wal.start} to {wal.end}: {said[-1] if said else done.returncode}"]
        if done.returncode
        else []
    )
