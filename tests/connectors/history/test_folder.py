"""A folder that is in no repository."""

from __future__ import annotations

import os
from pathlib import Path

from connectors.history import Fault, FileChange, open_source
from connectors.history.folder import FolderSource


def refs(root: Path) -> dict[str, str]:
    return {item.path: item.ref for item in FolderSource(root, 1_000).changes() if isinstance(item, FileChange)}


def test_markdown_files_are_read_in_order_links_are_reported_and_hidden_folders_are_not(tmp_path: Path) -> None:
    for name in ("b.md", "a/z.MD", "a/y.txt", ".hidden/x.md", "node_modules/p/README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\xefbytes\r\n")
    (tmp_path / "link.md").symlink_to("b.md")
    (tmp_path / "dangling.md").symlink_to("nowhere.md")
    (tmp_path / "folder-link.md").symlink_to("a")
    (tmp_path / "folder.md").mkdir()
    os.utime(tmp_path / "b.md", (1_700_000_000, 1_700_000_000))

    source = open_source(tmp_path, content_bytes_max=1_000)

    items = list(source.changes())
    assert (source.kind, source.snapshot, source.count()) == ("folder", True, 5)
    assert [item.path for item in items if isinstance(item, FileChange)] == ["b.md", "a/z.MD"]
    links = ("dangling.md", "folder-link.md", "link.md")
    assert [item for item in items if isinstance(item, Fault)] == [
        Fault(name, "symbolic-link", "not followed") for name in links
    ]
    assert isinstance(items[0], FileChange)
    assert items[0].content == b"\xefbytes\r\n"
    assert items[0].committed_at.isoformat() == "2023-11-14T22:13:20+00:00"


def test_a_ref_stays_until_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text("one")
    first = refs(tmp_path)
    assert refs(tmp_path) == first
    file.write_text("two")
    os.utime(file, (1, 1))
    assert refs(tmp_path) != first


def test_a_file_over_the_limit_keeps_its_size_only(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"x" * 1_001)
    (item,) = FolderSource(tmp_path, 1_000).changes()
    assert isinstance(item, FileChange)
    assert (item.content, item.size_bytes) == (None, 1_001)
