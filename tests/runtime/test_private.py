"""Folders that only their owner may enter."""

from __future__ import annotations

import stat
from pathlib import Path

from runtime.private import make_private


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


def test_a_new_folder_is_its_owners_alone_and_its_parents_are_as_usual(tmp_path: Path) -> None:
    folder = make_private(tmp_path / "parent" / "private")
    assert mode(folder) == 0o700
    assert mode(folder.parent) & 0o100


def test_an_open_folder_is_closed_and_keeps_what_is_in_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "kept").write_text("x")
    assert mode(make_private(tmp_path)) == 0o700
    assert (tmp_path / "kept").read_text() == "x"
