"""A real git repository, with everything that real ones have, read change by change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from connectors.history import Fault, FileChange, HistorySource, open_source
from runtime.errors import InvalidInput
from tests.connectors.history.repository import Repository

BYTES_MAX = 10_000
BODY = "# {}\n\n" + "".join(f"A line of context, number {n}.\n" for n in range(20))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def read(source: HistorySource) -> list[FileChange]:
    items = list(source.changes())
    assert len(items) == source.count()
    assert not [item for item in items if isinstance(item, Fault)]
    return [item for item in items if isinstance(item, FileChange)]


def brief(changes: list[FileChange]) -> list[tuple[str, str, str | None]]:
    return [(change.change, change.path, change.old_path) for change in changes]


def test_adds_edits_renames_deletes_and_adds_again_come_in_order(repository: Repository) -> None:
    repository.write("docs/adr/0001-a.md", BODY.format("A"))
    repository.write("docs/adr/notes.txt", "not Markdown")
    repository.write("README.md", "not in a folder of decisions")
    first = repository.commit("Add A")
    repository.write("docs/adr/0001-a.md", BODY.format("A, better"))
    repository.commit("Improve A")
    repository.git("mv", "docs/adr/0001-a.md", "docs/adr/0002-b.md")
    repository.commit("Renumber A")
    repository.git("rm", "-q", "docs/adr/0002-b.md")
    repository.commit("Drop it")
    repository.write("docs/adr/0002-b.md", BODY.format("B"))
    last = repository.commit("Bring it back\n\nwith a body")

    changes = read(open_source(repository.root, content_bytes_max=BYTES_MAX))

    assert brief(changes) == [
        ("A", "docs/adr/0001-a.md", None),
        ("M", "docs/adr/0001-a.md", None),
        ("R", "docs/adr/0002-b.md", "docs/adr/0001-a.md"),
        ("D", "docs/adr/0002-b.md", None),
        ("A", "docs/adr/0002-b.md", None),
    ]
    assert (changes[0].ref, changes[-1].ref) == (first, last)
    assert (changes[0].author, changes[-1].subject) == ("Ada", "Bring it back")
    assert changes[0].committed_at.isoformat() == "2024-01-01T00:01:00+02:00"
    assert [change.content for change in changes] == [
        BODY.format("A").encode(),
        BODY.format("A, better").encode(),
        BODY.format("A, better").encode(),
        None,
        BODY.format("B").encode(),
    ]


def test_a_merge_is_one_change_and_the_last_state_is_that_of_the_tree(repository: Repository) -> None:
    repository.write("adr/0001-a.md", BODY.format("A"))
    repository.commit("Add A")
    repository.git("checkout", "-q", "-b", "side")
    repository.write("adr/0002-b.md", "first")
    repository.commit("Side one")
    repository.write("adr/0002-b.md", "second")
    repository.commit("Side two")
    repository.git("checkout", "-q", "main")
    repository.write("adr/0001-a.md", BODY.format("A, better"))
    repository.commit("Main goes on")
    repository.git("merge", "-q", "--no-ff", "-m", "Merge side", "side")

    changes = read(open_source(repository.root, content_bytes_max=BYTES_MAX))

    assert [(change.change, change.path, change.subject) for change in changes] == [
        ("A", "adr/0001-a.md", "Add A"),
        ("M", "adr/0001-a.md", "Main goes on"),
        ("A", "adr/0002-b.md", "Merge side"),
    ]
    last = {change.path: change.content for change in changes}
    assert last == {path: (repository.root / path).read_bytes() for path in last}


def test_odd_names_and_odd_bytes_arrive_as_they_are(repository: Repository) -> None:
    names = [
        "adr/0001 with space.md",
        "adr/0002-tab\tand\nline.md",
        'adr/0003-"quoted".md',
        "adr/0004-ä.md",
        "adr/:x.md",
    ]
    names += ["adr/\x01start.md", "adr/-dash.md", "adr/[glob]*.md"]
    for name in names:
        repository.write(name, b"\xff\x00bytes of " + name.encode() + b"\r\nend")
    (repository.root / os.fsdecode(b"adr/latin-\xe9.md")).write_bytes(b"latin")
    repository.commit("Odd \x01 subject")

    changes = read(open_source(repository.root, content_bytes_max=BYTES_MAX))

    contents = {change.path: change.content for change in changes}
    assert contents.pop("adr/latin-\\xe9.md") == b"latin"
    assert contents == {name: b"\xff\x00bytes of " + name.encode() + b"\r\nend" for name in names}


def test_a_file_over_the_limit_is_a_change_without_its_bytes(repository: Repository) -> None:
    repository.write("adr/0001-huge.md", b"x" * (BYTES_MAX + 1))
    repository.write("adr/0002-just.md", b"x" * BYTES_MAX)
    repository.commit("Add")
    huge, just = read(open_source(repository.root, content_bytes_max=BYTES_MAX))
    assert (huge.content, huge.size_bytes) == (None, BYTES_MAX + 1)
    assert (len(just.content or b""), just.size_bytes) == (BYTES_MAX, BYTES_MAX)


def test_links_and_submodules_are_no_files_and_links_are_reported(repository: Repository) -> None:
    repository.write("adr/0001-a.md", "text")
    (repository.root / "adr/0002-link.md").symlink_to("0001-a.md")
    (repository.root / "adr/link.txt").symlink_to("0001-a.md")
    first = repository.commit("Add both")
    (repository.root / "adr/0001-a.md").unlink()
    (repository.root / "adr/0001-a.md").symlink_to("elsewhere.md")
    second = repository.commit("The file becomes a link")
    source = open_source(repository.root, content_bytes_max=BYTES_MAX)
    items = list(source.changes())
    assert brief([item for item in items if isinstance(item, FileChange)]) == [
        ("A", "adr/0001-a.md", None),
        ("D", "adr/0001-a.md", None),
    ]
    assert [item for item in items if isinstance(item, Fault)] == [
        Fault(f"adr/0002-link.md in {first[:12]}", "symbolic-link", "not followed"),
        Fault(f"adr/0001-a.md in {second[:12]}", "symbolic-link", "not followed"),
    ]
    assert source.count() == len(items) == 4


def test_a_folder_in_a_repository_has_its_own_history_by_any_name(repository: Repository) -> None:
    repository.write("notes [x]/one.md", BODY.format("one"))
    repository.write("other/two.md", "two")
    repository.commit("Add")
    repository.git("mv", "other/two.md", "notes [x]/two.md")
    repository.commit("Move in")
    repository.git("mv", "notes [x]/two.md", "notes [x]/two.txt")
    repository.commit("No longer Markdown")
    assert brief(read(open_source(repository.root / "notes [x]", content_bytes_max=BYTES_MAX))) == [
        ("A", "notes [x]/one.md", None),
        ("A", "notes [x]/two.md", None),
        ("D", "notes [x]/two.md", None),
    ]


def test_folders_of_decisions_are_found_where_they_were_and_where_adr_dir_says(repository: Repository) -> None:
    repository.write("Doc/Architecture/Decisions/0001-a.md", BODY.format("A"))
    repository.write("my/records/0002-b.md", "b")
    repository.commit("Add")
    repository.git("mv", "Doc/Architecture/Decisions/0001-a.md", "my/records/0001-a.md")
    repository.write(".adr-dir", "my/records\n")
    repository.commit("Move")
    assert brief(read(open_source(repository.root, content_bytes_max=BYTES_MAX))) == [
        ("A", "Doc/Architecture/Decisions/0001-a.md", None),
        ("A", "my/records/0002-b.md", None),
        ("R", "my/records/0001-a.md", "Doc/Architecture/Decisions/0001-a.md"),
    ]


def test_a_repository_without_decisions_says_what_to_do(repository: Repository) -> None:
    repository.write("README.md", "x")
    repository.commit("Add")
    with pytest.raises(InvalidInput, match="no folder of decision records"):
        open_source(repository.root, content_bytes_max=BYTES_MAX)


def test_an_untracked_folder_is_read_as_it_is(repository: Repository) -> None:
    repository.write("README.md", "x")
    repository.commit("Add")
    repository.write("drafts/a.md", "draft")
    source = open_source(repository.root / "drafts", content_bytes_max=BYTES_MAX)
    assert (source.kind, [change.path for change in read(source)]) == ("folder", ["a.md"])


def test_reading_can_stop_early_and_start_again(repository: Repository) -> None:
    for number in range(50):
        repository.write(f"adr/{number:04d}.md", f"# {number}")
    repository.commit("Add many")
    source = open_source(repository.root, content_bytes_max=BYTES_MAX)
    stream = source.changes()
    first = next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert first == read(source)[0]


def test_nothing_that_the_repository_names_is_run(repository: Repository, tmp_path: Path) -> None:
    repository.write("adr/0001.md", "text")
    repository.commit("Add")
    mark = tmp_path / "ran"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch '{mark}'\ncat\n")
    script.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "gpg.program", "diff.external", "diff.md.textconv", "filter.md.smudge"):
        repository.git("config", key, str(script))
    repository.git("config", "log.showSignature", "true")
    (repository.root / ".git/info/attributes").write_text("*.md diff=md filter=md\n")
    read(open_source(repository.root, content_bytes_max=BYTES_MAX))
    assert not mark.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository away")
def test_somebody_elses_repository_is_refused_with_the_way_out(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("adr/0001.md", "text")
    repository.commit("Add")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    for path in (repository.root, repository.root / ".git"):
        os.chown(path, 12_345, 12_345)
    with pytest.raises(InvalidInput) as refused:
        open_source(repository.root, content_bytes_max=BYTES_MAX)
    assert "safe.directory" in refused.value.hint
