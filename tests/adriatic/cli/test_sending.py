"""How a history is packed into requests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adriatic.cli.imports import tenant_slug
from adriatic.cli.sending import batches, event_of
from api.imports.schemas import Events, ImportEvent
from connectors.history import FileChange

AT = datetime(2024, 1, 1, tzinfo=UTC)


def change(ref: str, path: str = "a.md", content: bytes | None = b"text", size_bytes: int = 0) -> FileChange:
    return FileChange(ref, AT, "", "", "A", path, None, content, size_bytes)


def decode(body: bytes) -> list[ImportEvent]:
    return [msgspec.json.decode(raw, type=ImportEvent) for raw in msgspec.json.decode(body, type=Events).events]


def unpack(packed: list[tuple[int, bytes]]) -> list[list[tuple[str, str]]]:
    decoded = [decode(body) for _, body in packed]
    assert [count for count, _ in packed] == [len(events) for events in decoded]
    return [[(event.ref, event.path) for event in events] for events in decoded]


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 400)), max_size=40),
    st.integers(1, 8),
    st.integers(700, 3_000),
)
def test_every_change_is_sent_once_in_order_within_the_bounds(
    sizes: list[tuple[str, int]], events_max: int, bytes_max: int
) -> None:
    changes = [change(ref, f"{n}.md", b"x" * size) for n, (ref, size) in enumerate(sizes)]
    packed = list(batches(changes, bytes_max=bytes_max, events_max=events_max))
    assert [key for batch in unpack(packed) for key in batch] == [(each.ref, each.path) for each in changes]
    assert all(count <= events_max and len(body) <= bytes_max for count, body in packed)


def test_a_commit_that_fits_stays_in_one_request() -> None:
    changes = [change(ref, f"{n}.md") for n, ref in enumerate("aaabbbbcc")]
    refs = [
        "".join(ref for ref, _ in batch) for batch in unpack(list(batches(changes, bytes_max=10_000, events_max=5)))
    ]
    assert refs == ["aaa", "bbbb", "cc"]


@pytest.mark.parametrize("content", [b"plain \xc3\xa4\r\n", b"\xff\x00", b"nul \x00", b"", b"\x01" * 500])
def test_the_bytes_arrive_whatever_they_are(content: bytes) -> None:
    ((_, body),) = batches([change("r", content=content)], bytes_max=2_000)
    (event,) = decode(body)
    assert event.bytes_() == content
    assert b"\\u0000" not in body


def test_what_is_too_large_travels_without_its_text() -> None:
    event = event_of(change("r", content=None, size_bytes=50_000_000))
    assert (event.bytes_(), event.size_bytes) == (None, 50_000_000)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("GSA-TTS__FAC.jsonl.gz", "gsa-tts-fac"),
        ("a.ndjson", "a"),
        ("__.jsonl", "import"),
        ("é" * 80 + ".jsonl", "import"),
        ("x" * 80 + ".jsonl", "x" * 63),
    ],
)
def test_a_files_tenant_is_named_like_the_file(name: str, slug: str) -> None:
    assert tenant_slug(Path("somewhere") / name) == slug
