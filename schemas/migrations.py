"""SQL migrations: ordered files, forward only, each applied once in a transaction of its own.

Owns the files in `schemas/sql/`, the order, the record of what is applied (`ops.migrations`, made by the first file)
and what counts as drift. Refuses to talk to a database: `connectors/postgres/migrator.py` applies the files. An applied
file never changes again; the next change is the next file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import Halted

SQL_FOLDER = Path(__file__).parent / "sql"
BOOTSTRAP_FILE = SQL_FOLDER / "bootstrap.sql"
FILE_NAME = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9_]+)\.sql")

BASELINE = 15
"""The last file that 0.1.0 begins with. Nothing was released before it, so there is no way from what was there then."""

LOCK_ID = 0x6164_7269_6174_6963
"""Advisory lock of whoever migrates: the ASCII of "adriatic". Advisory locks are per database."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `checksum` is the sha-256 of its bytes, in hex."""

    number: int
    name: str
    sql: str
    checksum: str

    @property
    def title(self) -> str:
        return f"{self.number:04d}_{self.name}"


@dataclass(frozen=True, slots=True)
class Applied:
    """One row of `ops.migrations`."""

    number: int
    name: str
    checksum: str


def load(folder: Path = SQL_FOLDER) -> tuple[Migration, ...]:
    """The files, in order. Raises `Halted` when a number is missing or taken twice: two branches made one each."""
    found = [_read(file, match) for file in sorted(folder.iterdir()) if (match := FILE_NAME.fullmatch(file.name))]
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise Halted(
            f"the migrations in {folder} are not numbered 1 to {len(found)} without a gap: {numbers}",
            hint="renumber the files that were not released yet",
        )
    return tuple(found)


def _read(file: Path, match: re.Match[str]) -> Migration:
    content = file.read_bytes()
    return Migration(int(match["number"]), match["name"], content.decode(), hashlib.sha256(content).hexdigest())


def find_pending(available: Sequence[Migration], applied: Sequence[Applied]) -> tuple[Migration, ...]:
    """What is still to be applied, in order.

    A database that is ahead of these files (a newer release migrated it) is fine: migrations expand before they
    contract, so the release before still runs. Raises `Halted` when an applied file has changed or a number was
    skipped, and for a database that is older than the baseline.
    """
    for file, row in zip(available, applied, strict=False):
        if (file.number, file.checksum) == (row.number, row.checksum):
            continue
        if row.number <= BASELINE:
            raise Halted(
                f"this database was made before the baseline of 0.1.0, and has another {row.number:04d}_{row.name}",
                hint="it cannot be migrated: delete it (`adriatic reset`), then import what was in it again",
            )
        raise Halted(
            f"migration {row.number:04d}_{row.name} was applied with checksum {row.checksum[:12]}, "
            f"and the file {file.title} has {file.checksum[:12]}",
            hint="applied files never change: restore the file and put the change into a new one; "
            "before the first release, `adriatic reset` starts again",
        )
    return tuple(available[len(applied) :])


def line_at(migration: Migration, position: int) -> int:
    """The line of the file that has its `position`th character, both from 1."""
    return migration.sql.count("\n", 0, position) + 1
