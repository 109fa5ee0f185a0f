"""Which log a record belongs to: one for each folder of records, named after its service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adriatic.cli.sending import split_by_log
from connectors.history import Fault, FileChange, HistorySource, open_source
from connectors.history.logs import name_logs, names_of, record_folder
from tests.connectors.history.repository import Repository


@pytest.mark.parametrize(
    ("path", "folder", "names"),
    [
        ("docs/adr/0001-a.md", "docs/adr", ["main"]),
        ("services/cart/docs/adr/0001-a.md", "services/cart/docs/adr", ["cart"]),
        ("services/cart/docs/adr/old/0001-a.md", "services/cart/docs/adr", ["cart"]),
        ("apps/web/front end/Decisions/0001-a.md", "apps/web/front end/Decisions", ["front-end", "web-front-end"]),
        ("adr/0001-a.md", "adr", ["main"]),
        ("0001-a.md", "", ["main"]),
        ("notes/0001-a.md", "", ["main"]),
        ("日本/adr/0001-a.md", "日本/adr", ["main"]),
    ],
)
def test_a_folder_is_named_after_whose_records_it_has(path: str, folder: str, names: list[str]) -> None:
    assert record_folder(path) == folder
    assert names_of(folder) == names


def test_one_folder_is_main_and_several_have_names_of_their_own() -> None:
    assert name_logs(["services/cart/adr/1-a.md"]) == {"services/cart/adr": "main"}
    paths = ["a/web/adr/1-a.md", "b/web/adr/1-a.md", "docs/adr/1-a.md", "adr/1-a.md", "b/web/adr/2-b.md", "x/adr/a.png"]
    assert name_logs(paths) == {"a/web/adr": "web", "b/web/adr": "b-web", "docs/adr": "main", "adr": "main-2"}


def changes(source: HistorySource) -> list[tuple[str, str]]:
    found = list(source.changes())
    assert not any(isinstance(item, Fault) for item in found)
    return [(item.change, item.path) for item in found if isinstance(item, FileChange)]


def test_a_folder_that_was_moved_is_one_log_with_all_of_its_history(tmp_path: Path) -> None:
    made = Repository(tmp_path / "moved")
    made.write("docs/adr/0001-a.md", "# 1. A\n\nA text that is long enough to be known again.\n")
    made.commit("Add")
    (made.root / "docs/decisions").mkdir()
    made.git("mv", "docs/adr/0001-a.md", "docs/decisions/0001-a.md")
    made.commit("Move")
    ((source, into),) = split_by_log(open_source(made.root, content_bytes_max=10_000), None)
    assert (into.log, into.folder) == ("main", "docs/decisions")
    assert changes(source) == [("A", "docs/adr/0001-a.md"), ("R", "docs/decisions/0001-a.md")]


def test_a_file_that_moves_to_another_log_ends_in_one_and_begins_in_the_other(tmp_path: Path) -> None:
    lines = [
        {"commit": "1", "change": "A", "path": "a/adr/1-a.md", "content": "# 1. A\n"},
        {"commit": "2", "change": "A", "path": "a/adr/2-b.md", "content": "# 2. B\n"},
        {"commit": "3", "change": "R", "path": "b/adr/1-a.md", "old_path": "a/adr/1-a.md", "content": "# 1. A\n"},
    ]
    file = tmp_path / "history.jsonl"
    file.write_text("".join(json.dumps(line | {"committed_at": "2026-01-05T10:00:00Z"}) + "\n" for line in lines))
    parts = split_by_log(open_source(file, content_bytes_max=10_000), None)
    found = {into.log: changes(source) for source, into in parts}
    assert found == {
        "a": [("A", "a/adr/1-a.md"), ("A", "a/adr/2-b.md"), ("D", "a/adr/1-a.md")],
        "b": [("A", "b/adr/1-a.md")],
    }
    ((whole, into),) = split_by_log(open_source(file, content_bytes_max=10_000), "all")
    assert (into.log, into.folder, len(changes(whole))) == ("all", None, 3)
