"""Makes a home of a backup: cluster, originals, key, passwords.

Owns the order: what the server needs to start comes last, so that one that was ended in the middle cannot be taken for
a restored one. Refuses a home that was used, and a backup that is not as it was written.
"""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
import tomllib
from pathlib import Path

from adriatic.backup import checking, manifest
from adriatic.backup.making import Say, copy_missing, find_originals
from adriatic.backup.manifest import Manifest
from adriatic.stack import postgres, record
from adriatic.stack.postgres import EmbeddedServer
from api.auth.issuer import KEY_FILE
from runtime.errors import Conflict, Halted, Misconfigured
from runtime.private import make_private
from runtime.settings import load

OWN = ("stack.toml", "postgres", "kafka", "objects", KEY_FILE)
"""What a home that was used has."""


def restore(target: Path, say: Say) -> Manifest:
    """Make the home that the settings name of the backup at `target`. Starts nothing.

    Raises `Conflict` when the home was used, `InvalidInput` and `Halted` for a backup that cannot be used.
    """
    settings = load()
    home = settings.home.resolve()
    if there := [name for name in OWN if (home / name).exists()]:
        raise Conflict(
            f"{home} is in use: it has {', '.join(there)}",
            hint="a restore replaces nothing: use another home, or `adriatic reset` first",
        )
    with checking.open_backup(target) as folder:
        say("checksums")
        made, faults = checking.check(folder)
        if faults:
            raise Halted(f"this backup is damaged: {faults[0]}", hint="`adriatic backup --check` lists all of it")
        _require_version(made)
        _make_home(folder, home, say)
    return made


def _require_version(made: Manifest) -> None:
    here = postgres.server_version()
    if made.postgres.split(".")[0] != here.split(".")[0]:
        raise Halted(
            f"the backup is of PostgreSQL {made.postgres}, and this release has {here}",
            hint=f"restore it with release {made.release}, then update",
        )


def _make_home(folder: Path, home: Path, say: Say) -> None:
    home.mkdir(parents=True, exist_ok=True)
    beside = home.parent / manifest.SETTINGS
    if (folder / manifest.SETTINGS).is_file():
        if not beside.exists():
            _copy_private(folder / manifest.SETTINGS, beside)
        elif beside.read_bytes() != (folder / manifest.SETTINGS).read_bytes():
            say(f"{beside} is there and stays; the backup's is {manifest.SETTINGS} in it")
    settings = load()
    if settings.stack.postgres != "embedded":
        raise Misconfigured(
            "the settings name a database that is not the embedded one", hint="see docs/how-to/back-up.md"
        )
    record.write(home, tomllib.loads((folder / manifest.SECRETS).read_text()))
    record.ensure(load())
    originals = find_originals(settings)
    if originals is not None and (folder / manifest.ORIGINALS).is_dir():
        say("originals")
        copy_missing(folder / manifest.ORIGINALS, make_private(originals))
    if (folder / manifest.KEY).is_file():
        _copy_private(folder / manifest.KEY, home / KEY_FILE)
    say("the database cluster")
    _put_cluster(folder / manifest.CLUSTER, postgres.locate(load()))


def _copy_private(source: Path, target: Path) -> None:
    """Copy a small file that its owner alone may read, from its first byte."""
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(source.read_bytes())


def _put_cluster(source: Path, server: EmbeddedServer) -> None:
    """Copy it beside its place and rename it."""
    if server.data.exists():
        raise Conflict(f"{server.data} is there already", hint="a restore replaces nothing")
    server.data.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix="postgres-", dir=server.data.parent))
    try:
        copied = draft / "data"
        shutil.copytree(source, copied, ignore=shutil.ignore_patterns(Path(manifest.CLUSTER_MANIFEST).name))
        for path in (copied, *copied.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
            if server.user is not None:
                owner = pwd.getpwnam(server.user)
                os.chown(path, owner.pw_uid, owner.pw_gid)
        copied.rename(server.data)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
