"""A backup is read back: what is missing, strange or changed is named."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from adriatic.backup import checking, making, manifest
from adriatic.backup.manifest import Manifest
from runtime.errors import Conflict, InvalidInput, Misconfigured
from runtime.settings import Settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A backup whose cluster nobody looks into."""
    monkeypatch.setattr(checking, "_check_cluster", lambda _: [])
    made = tmp_path / "backup"
    for name in ("originals/tenant/hash", manifest.KEY, manifest.SECRETS, manifest.CLUSTER_MANIFEST, "postgres/base/1"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(name)
    found = Manifest(
        format=manifest.FORMAT,
        release="0.1.0",
        made_at="2026-01-01T00:00:00+00:00",
        postgres="18.4",
        system_id="7",
        lsn="0/1",
        originals="folder",
        files=manifest.describe(made),
    )
    (made / manifest.MANIFEST).write_bytes(found.encode())
    return made


def test_a_good_backup_is_good(folder: Path) -> None:
    found, faults = checking.check(folder)
    assert faults == []
    assert set(found.files) == {"originals/tenant/hash", manifest.KEY, manifest.SECRETS, manifest.CLUSTER_MANIFEST}


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda folder: (folder / manifest.KEY).unlink(), "issuer-key.pem is missing"),
        (lambda folder: (folder / "originals/tenant/hash").write_text("x"), "hash is not as it was written"),
        (lambda folder: (folder / "originals/tenant/other").write_text("x"), "other does not belong to it"),
        (lambda folder: (folder / manifest.CLUSTER_MANIFEST).write_text("{}"), "backup_manifest is not as"),
    ],
)
def test_damage_is_named(folder: Path, damage: Callable[[Path], object], fault: str) -> None:
    damage(folder)
    _, faults = checking.check(folder)
    assert len(faults) == 1
    assert fault in faults[0]


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda folder: None, ""),
        (lambda folder: (folder / "base" / "1").write_text("yy"), "postgres/base/1 is not as it was written"),
        (lambda folder: (folder / "base" / "1").unlink(), "postgres/base/1 is missing"),
        (lambda folder: (folder / "base" / "2").write_text("x"), "postgres/base/2 does not belong to it"),
        (lambda folder: (folder / "postgresql.auto.conf").write_text("x"), ""),
        (lambda folder: (folder / "backup_manifest").write_text("x"), "its manifest cannot be read"),
    ],
)
def test_the_cluster_is_held_against_the_servers_manifest(
    damage: Callable[[Path], object], fault: str, tmp_path: Path
) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "1").write_text("xx")
    measured = manifest.measure(tmp_path / "base" / "1")
    listed = {
        "PostgreSQL-Backup-Manifest-Version": 2,
        "Files": [
            {
                "Path": "base/1",
                "Size": measured.bytes,
                "Last-Modified": "2026-01-01 00:00:00 GMT",
                "Checksum-Algorithm": "SHA256",
                "Checksum": measured.sha256,
            }
        ],
        "WAL-Ranges": [],
        "Manifest-Checksum": "x",
    }
    (tmp_path / "backup_manifest").write_text(json.dumps(listed))
    damage(tmp_path)
    faults = checking._check_cluster(tmp_path)
    assert len(faults) == bool(fault)
    assert fault in "".join(faults)


def test_wal_that_is_not_there_is_named(tmp_path: Path) -> None:
    (fault,) = checking._check_wal(tmp_path, checking._WalRange(1, "0/2000028", "0/2000158"))
    assert "WAL from 0/2000028" in fault


def test_what_is_no_backup_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InvalidInput, match="is no backup"):
        checking.check(tmp_path)
    (folder / manifest.MANIFEST).write_bytes(b'{"format": "x"}')
    with pytest.raises(InvalidInput, match="cannot be read"):
        checking.check(folder)
    with pytest.raises(InvalidInput, match="there is no backup"), checking.open_backup(tmp_path / "nothing"):
        pass
    (tmp_path / "x.tar").write_bytes(b"no tar")
    with pytest.raises(InvalidInput, match="cannot be unpacked"), checking.open_backup(tmp_path / "x.tar"):
        pass


def test_a_file_is_the_same_backup_and_leaves_nothing_beside_it(folder: Path) -> None:
    packed = folder.with_name("saved.tar")
    with tarfile.open(packed, "w") as tar:
        tar.add(folder, arcname="saved")
    with checking.open_backup(packed) as found:
        assert checking.check(found)[1] == []
    assert {each.name for each in folder.parent.iterdir()} == {"backup", "saved.tar"}


def test_a_tar_file_that_would_write_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.add(tmp_path / "x", arcname="../escaped")
    with pytest.raises(InvalidInput, match="cannot be unpacked"), checking.open_backup(tmp_path / "evil.tar"):
        pass
    assert not (tmp_path.parent / "escaped").exists()


def test_originals_are_copied_once_and_drafts_never(tmp_path: Path) -> None:
    source, target = tmp_path / "objects", tmp_path / "originals"
    (source / "tenant").mkdir(parents=True)
    (source / "tenant" / "a").write_text("a")
    (source / "tenant" / "b#1").write_text("half")
    making.copy_missing(source, target)
    (source / "tenant" / "a").unlink()
    (source / "tenant" / "c").write_text("c")
    making.copy_missing(source, target)
    assert {each.name for each in (target / "tenant").iterdir()} == {"a", "c"}
    making.copy_missing(tmp_path / "nothing", target)


def test_nothing_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(Conflict, match="is there already"):
        making.make(Settings(home=tmp_path / "home"), tmp_path / "there", print)
    with pytest.raises(InvalidInput, match="no folder"):
        making.make(Settings(home=tmp_path / "home"), tmp_path / "no" / "where", print)


def test_a_database_of_somebody_else_is_not_backed_up(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", stack={"postgres": "external"})
    with pytest.raises(Misconfigured, match="not the embedded one"):
        making.make(settings, tmp_path / "b", print)
