"""Makes a backup of the embedded stack, while it runs.

The cluster is copied by `pg_basebackup`: all its databases at one position, with roles, passwords and the schema
registry's ids, which a dump of one database does not have. Originals are copied before it and again after it. They
never change and are stored before a row names them, so the second pass has every one that the cluster knows, and the
first keeps those that are erased meanwhile; one that is uploaded and erased in between may be missing.

Owns the order, private permissions, and that a backup is there as a whole or not at all: it is made under another name
beside its place. Refuses to replace anything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import tomli_w

from adriatic.backup import manifest
from adriatic.backup.manifest import Manifest
from adriatic.stack import record
from adriatic.stack.postgres import wheel_install
from api.auth.issuer import KEY_FILE
from connectors.objects import FOLDER
from connectors.postgres.connections import connect
from connectors.postgres.errors import translate
from connectors.postgres.wal import read_position
from runtime import __version__
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import Conflict, DependencyUnavailable, InvalidInput, Misconfigured
from runtime.private import OTHERS
from runtime.settings import Settings

Say = Callable[[str], None]

HEADROOM: Final = 1.2
"""How much more room than the data take must be free: WAL comes on top, and a tar file needs its folder first."""


def make(settings: Settings, target: Path, say: Say) -> Manifest:
    """Make a backup at `target`: a tar file where the name ends in `.tar`, else a folder.

    Raises `Conflict` when something is there, `Misconfigured` for a database that is not the embedded one,
    `DependencyUnavailable` when that does not answer.
    """
    if settings.stack.postgres != "embedded":
        raise Misconfigured(
            "the database is not the embedded one, and its own server has backups", hint="see docs/how-to/back-up.md"
        )
    if target.exists():
        raise Conflict(f"{target} is there already", hint="a backup replaces nothing: choose another name")
    if not target.parent.is_dir():
        raise InvalidInput(f"there is no folder {target.parent}")
    with _private(), _draft_of(target) as draft:
        _require_room(settings, target)
        originals = find_originals(settings)
        if originals is not None:
            say("originals, for the first time")
            copy_missing(originals, draft / manifest.ORIGINALS)
        say("the database cluster")
        system_id, version = _read_server(settings)
        _copy_cluster(settings, draft / manifest.CLUSTER)
        lsn = _read_position(settings)
        if originals is not None:
            say("originals that came meanwhile")
            copy_missing(originals, draft / manifest.ORIGINALS)
        _copy_settings(settings, draft)
        say("checksums")
        made = Manifest(
            format=manifest.FORMAT,
            release=__version__,
            made_at=SYSTEM_CLOCK.now().isoformat(),
            postgres=version,
            system_id=system_id,
            lsn=lsn,
            originals="folder" if originals is not None else f"bucket {settings.objects.bucket}",
            files=manifest.describe(draft),
        )
        (draft / manifest.MANIFEST).write_bytes(made.encode())
        _put(draft, target, say)
    return made


def find_originals(settings: Settings) -> Path | None:
    """The folder of originals; None where a bucket has them."""
    return (settings.objects.folder or settings.home / FOLDER) if settings.objects.kind == "folder" else None


def copy_missing(source: Path, target: Path) -> None:
    """Copy every original that is not in `target` yet. One that is erased under our hands is left out."""
    target.mkdir(exist_ok=True)
    for file in sorted(source.rglob("*")) if source.is_dir() else ():
        copied = target / file.relative_to(source)
        # What an upload has not finished has a name with a `#`, by obstore.
        if not file.is_file() or copied.exists() or "#" in file.name:
            continue
        copied.parent.mkdir(parents=True, exist_ok=True)
        draft = copied.with_name(f"{copied.name}#")
        try:
            shutil.copyfile(file, draft)
        except FileNotFoundError:
            draft.unlink(missing_ok=True)
            continue
        draft.rename(copied)


def _copy_settings(settings: Settings, draft: Path) -> None:
    home = settings.home.resolve()
    if (home / KEY_FILE).is_file():
        shutil.copyfile(home / KEY_FILE, draft / manifest.KEY)
    beside = home.parent / manifest.SETTINGS
    if beside.is_file():
        shutil.copyfile(beside, draft / manifest.SETTINGS)
    recorded = record.read(home)
    passwords = {name: recorded.get("postgres", {}).get(name, "") for name in record.PASSWORDS}
    registry = recorded.get("stack", {}).get("registry_password", "")
    kept = {"postgres": passwords, "stack": {"registry_password": registry}}
    (draft / manifest.SECRETS).write_text(tomli_w.dumps(kept))


# --- the cluster ----------------------------------------------------------------------------------------------------

READ_SERVER = "select system_identifier::text, current_setting('server_version') from pg_control_system()"
READ_SIZE = "select sum(pg_database_size(oid))::bigint from pg_database"


def _read_server(settings: Settings) -> tuple[str, str]:
    with translate("back up"), connect(settings.postgres, "migrate", "admin", name="adriatic-backup") as connection:
        row = connection.execute(READ_SERVER).fetchone()
    assert row is not None
    return row[0], row[1]


def _read_position(settings: Settings) -> str:
    with translate("back up"), connect(settings.postgres, "migrate", "admin", name="adriatic-backup") as connection:
        return read_position(connection)


def _require_room(settings: Settings, target: Path) -> None:
    """Raises `DependencyUnavailable` where the disk has no room for the data."""
    with translate("back up"), connect(settings.postgres, "migrate", "admin", name="adriatic-backup") as connection:
        row = connection.execute(READ_SIZE).fetchone()
    assert row is not None
    originals = find_originals(settings)
    files = originals.rglob("*") if originals is not None and originals.is_dir() else ()
    needed = (int(row[0]) + sum(file.stat().st_size for file in files if file.is_file())) * HEADROOM
    if target.suffix == manifest.TAR:
        needed *= 2
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise DependencyUnavailable(
            f"{target.parent} has {free / 1e6:.0f} MB free, and about {needed / 1e6:.0f} MB are needed",
            hint="choose another disk",
        )


def _copy_cluster(settings: Settings, folder: Path) -> None:
    postgres = settings.postgres
    command = [
        *(str(wheel_install() / "bin" / "pg_basebackup"), "--pgdata", str(folder), "--format", "plain"),
        *("--host", postgres.host, "--port", str(postgres.port), "--username", postgres.user("admin")),
        *("--wal-method", "stream", "--checkpoint", "fast", "--manifest-checksums", "SHA256", "--no-password"),
        *(["--progress"] if sys.stderr.isatty() else []),
    ]
    environment = {
        **os.environ,
        "PGPASSWORD": postgres.password("admin"),
        "PGSSLMODE": postgres.sslmode,
    }
    done = subprocess.run(
        command, env=environment, stderr=None if sys.stderr.isatty() else subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr or "").strip().splitlines()
        raise DependencyUnavailable(f"pg_basebackup failed: {said[-1] if said else 'see above'}")


# --- as a whole or not at all ---------------------------------------------------------------------------------------


@contextmanager
def _private() -> Iterator[None]:
    """Nobody but the owner reads what is made: every tenant's texts are in it, and the key that signs tokens."""
    before = os.umask(OTHERS)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def _draft_of(target: Path) -> Iterator[Path]:
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.mkdir(mode=0o700)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _put(draft: Path, target: Path, say: Say) -> None:
    """Give the draft its name, in one step."""
    if target.suffix != manifest.TAR:
        draft.rename(target)
        return
    say("one file of it")
    packed = draft.with_suffix(".packed")
    try:
        with tarfile.open(packed, "w") as tar:
            tar.add(draft, arcname=target.stem)
        os.link(packed, target)  # which replaces nothing
    finally:
        packed.unlink(missing_ok=True)
