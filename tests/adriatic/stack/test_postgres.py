"""Who may enter where, and what is refused, without starting a server."""

from __future__ import annotations

import pwd
import tempfile
from pathlib import Path

import pytest

from adriatic.stack import postgres
from runtime.errors import Halted


def stranger() -> pwd.struct_passwd:
    """A user that owns nothing here and is in no group that does."""
    return pwd.struct_passwd(("root", "x", 54_321, 54_321, "", "/", "/bin/sh"))


def open_to_all(folder: Path) -> None:
    """Let anybody enter `folder` and those above it that pytest made; a worker has one more of them."""
    above = [each for each in folder.parents if each.is_relative_to(Path(tempfile.gettempdir()).resolve())]
    for each in (folder, *above[:-1]):
        each.chmod(0o755)


def test_closed_directory_is_not_reachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adriatic.stack.postgres.os.getgrouplist", lambda *_: [54_321])
    inner = tmp_path / "open" / "inner"
    inner.mkdir(parents=True)
    open_to_all(tmp_path)
    assert postgres.reachable(inner, stranger())
    inner.parent.chmod(0o700)
    assert not postgres.reachable(inner, stranger())


def test_group_and_owner_have_their_own_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_to_all(tmp_path)
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o750)
    monkeypatch.setattr("adriatic.stack.postgres.os.getgrouplist", lambda *_: [mine.stat().st_gid])
    assert postgres.reachable(mine, stranger())
    mine.chmod(0o701)
    assert not postgres.reachable(mine, stranger())


def test_pgvector_with_known_corruption_is_refused(tmp_path: Path) -> None:
    control = tmp_path / "share" / "postgresql" / "extension" / "vector.control"
    control.parent.mkdir(parents=True)
    control.write_text("default_version = '0.8.3'\n")
    with pytest.raises(Halted, match=r"0\.8\.3"):
        postgres._require_pgvector(tmp_path)
    control.write_text("default_version = '0.8.10'\n")
    postgres._require_pgvector(tmp_path)


def test_the_wheel_has_a_server_that_we_accept() -> None:
    install = postgres.wheel_install()
    assert (install / "bin" / "postgres").is_file()
    postgres._require_pgvector(install)


@pytest.mark.parametrize(("gigabytes", "mib"), [(0.5, 128), (2, 128), (4, 256), (24, 1_536), (256, 2_048)])
def test_the_server_keeps_a_part_of_the_memory(gigabytes: float, mib: int) -> None:
    assert postgres.choose_shared_buffers(int(gigabytes * 2**30)) == mib


@pytest.mark.parametrize(("gigabytes", "mib"), [(0.5, 4_096), (32, 4_096), (64, 8_192), (4_000, 32_768)])
def test_slots_may_keep_a_part_of_the_disk(gigabytes: float, mib: int) -> None:
    assert postgres.choose_wal_keep(int(gigabytes * 2**30)) == mib


def test_listens_on_loopback_only_and_keeps_fsync() -> None:
    line = postgres.command(postgres.EmbeddedServer(Path("/b"), Path("/d"), None), 5)
    assert "listen_addresses=127.0.0.1" in line
    assert "unix_socket_directories=" in line
    assert not [word for word in line if word.startswith("fsync")]
