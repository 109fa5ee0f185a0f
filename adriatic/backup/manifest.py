"""What a backup is: a folder, or a tar file of it, with a list of all that is in it. Pure, but for reading files.

    manifest.json      what it is of, and each file with size and checksum
    postgres/          the cluster as pg_basebackup copies it, with a manifest of its own and the WAL to start it
    originals/         uploaded files, as object storage has them
    issuer-key.pem     the key that the local issuer signs tokens with
    secrets.toml       passwords of the database's roles
    adriatic.toml      the settings file, where there is one

Owns names and shape. Refuses to know how they are made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from runtime.errors import InvalidInput

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
CLUSTER: Final = "postgres"
CLUSTER_MANIFEST: Final = f"{CLUSTER}/backup_manifest"
ORIGINALS: Final = "originals"
KEY: Final = "issuer-key.pem"
SECRETS: Final = "secrets.toml"
SETTINGS: Final = "adriatic.toml"
TAR: Final = ".tar"
PIECE_BYTES: Final = 1_048_576
"""How much of a file is in memory at once."""


class FileEntry(msgspec.Struct, frozen=True):
    """A file of the backup."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`files`: all but those of the cluster, which its own manifest lists; that manifest is in here."""

    format: int
    release: str
    made_at: str
    postgres: str
    """The server's version: a cluster starts under the same major version alone, on the same kind of processor."""
    system_id: str
    lsn: str
    """Everything committed up to here is in it."""
    originals: str
    """`folder`: they are in it. Else where they are, which keeps them by itself."""
    files: Mapping[str, FileEntry]

    def encode(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=1)


def read(folder: Path) -> Manifest:
    """The manifest of a backup. Raises `InvalidInput`."""
    try:
        found = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidInput(f"{folder} is no backup: it has no {MANIFEST}", hint="was it made to its end?") from None
    except msgspec.DecodeError as error:
        raise InvalidInput(f"the {MANIFEST} of {folder} cannot be read: {error}") from None
    if found.format != FORMAT:
        raise InvalidInput(
            f"this backup has the format {found.format}, and {FORMAT} is read here", hint="use its release"
        )
    return found


def describe(folder: Path) -> dict[str, FileEntry]:
    """Every file below a folder that a manifest lists."""
    return {name: measure(folder / name) for name in list_files(folder)}


def list_files(folder: Path) -> Iterator[str]:
    """Names of the files below a folder that a manifest lists, in order."""
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_file() and name != MANIFEST and (not name.startswith(f"{CLUSTER}/") or name == CLUSTER_MANIFEST):
            yield name


def measure(file: Path) -> FileEntry:
    """Size and checksum of a file."""
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as file_read:
        while piece := file_read.read(PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
    return FileEntry(size, digest.hexdigest())
