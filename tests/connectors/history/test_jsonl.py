"""JSON lines: what fits is a change, what does not is a fault with its line, and the file is read to its end."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from connectors.history import Fault, FileChange, jsonl, open_source
from runtime.errors import InvalidInput

LINE = {
    "commit": "c1",
    "committed_at": "2024-05-06T07:08:09+02:00",
    "change": "A",
    "path": "adr/1.md",
    "content": "ä\r\n",
}


def line(**fields: Any) -> bytes:
    return json.dumps({**LINE, **fields}).encode() + b"\n"


def read(path: Path, content: bytes) -> list[FileChange | Fault]:
    path.write_bytes(content)
    source = open_source(path, content_bytes_max=1_000)
    items = list(source.changes())
    assert len(items) == source.count()
    return items


def test_a_line_is_a_change_with_the_bytes_of_its_content(tmp_path: Path) -> None:
    renamed = line(change="R", old_path="adr/0.md", subject="s", author="a", license="MIT")
    deleted = line(change="D", content=None)
    for name, data in (
        ("a.jsonl", line() + renamed + deleted),
        ("a.jsonl.gz", gzip.compress(line() + renamed + deleted)),
    ):
        first, second, third = read(tmp_path / name, data)
        assert isinstance(first, FileChange)
        assert (first.content, first.size_bytes, first.committed_at.isoformat()) == (
            "ä\r\n".encode(),
            4,
            "2024-05-06T07:08:09+02:00",
        )
        assert isinstance(second, FileChange)
        assert (second.change, second.old_path, second.subject, second.author) == ("R", "adr/0.md", "s", "a")
        assert isinstance(third, FileChange)
        assert (third.change, third.content) == ("D", None)


@pytest.mark.parametrize(
    "bad",
    [
        b"not json\n",
        b"[]\n",
        b'{"commit": "c"}\n',
        line(change="X"),
        line(content=None),
        line(change="R"),
        line(commit=""),
        line(commit="c\0"),
        line(path="adr/\x001.md"),
        line(change="R", old_path="\0"),
        line(committed_at="yesterday"),
        b"\xff\xfe\n",
        json.dumps(LINE).replace("\\u00e4", "\\ud800").encode() + b"\n",
    ],
)
def test_a_bad_line_is_a_fault_with_its_number_and_the_next_is_read(tmp_path: Path, bad: bytes) -> None:
    first, fault, last = read(tmp_path / "a.jsonl", line() + b"\n" + bad + line())
    assert isinstance(first, FileChange)
    assert isinstance(fault, Fault)
    assert isinstance(last, FileChange)
    assert (fault.where, fault.code) == ("line 3", "bad-line")
    assert fault.detail


def test_a_byte_order_mark_is_none_of_the_first_line(tmp_path: Path) -> None:
    first, second = read(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + line() + line())
    assert first == second
    assert isinstance(first, FileChange)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_file_in_another_encoding_is_one_fault_that_says_so(tmp_path: Path, encoding: str) -> None:
    mark = "" if encoding == "utf-16" else "\ufeff"
    (fault,) = read(tmp_path / "a.jsonl", (mark + (line() * 3).decode()).encode(encoding))
    assert isinstance(fault, Fault)
    assert (fault.where, fault.code) == ("line 1", "bad-encoding")


def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "LINE_BYTES_MAX", 500)
    fault, last = read(tmp_path / "a.jsonl", line(content="x" * 5_000) + line())
    assert isinstance(fault, Fault)
    assert (fault.where, fault.code) == ("line 1", "too-large")
    assert isinstance(last, FileChange)


def test_content_over_the_limit_is_left_behind(tmp_path: Path) -> None:
    (change,) = read(tmp_path / "a.jsonl", line(content="x" * 1_001))
    assert isinstance(change, FileChange)
    assert (change.content, change.size_bytes) == (None, 1_001)


def test_a_gzip_file_that_breaks_off_gives_what_came_before(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(line(commit=f"c{n}", content=f"{n} {hash(str(n))}") for n in range(2_000)))
    items = read(tmp_path / "a.jsonl.gz", whole[: len(whole) // 2])
    assert all(isinstance(item, FileChange) for item in items[:-1])
    assert isinstance(items[-1], Fault)
    assert items[-1].code == "broken-file"
    assert len(items) > 100


def test_one_markdown_file_and_a_missing_path_are_refused_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("x")
    for name in ("a.md", "nowhere"):
        with pytest.raises(InvalidInput) as refused:
            open_source(tmp_path / name, content_bytes_max=1_000)
        assert ".jsonl" in refused.value.hint
