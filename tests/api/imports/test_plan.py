"""What changes mean, decided without a database: any history against an independent count, and the rules one by one."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.imports.plan import BatchPlan, PlannedHead, ReadableEvent, State, plan, prepare, readable
from api.imports.schemas import ImportEvent, Remark
from tests.api.imports.counting import expect

AT = datetime(2024, 1, 1, tzinfo=UTC)
BYTES_MAX = 1_048_576


def event(
    change: str, path: str, ref: str, content: bytes | None = b"# T\n", *, minute: int = 0, **more: Any
) -> ImportEvent:
    content = None if change == "D" else content
    at = AT + timedelta(minutes=minute)
    return ImportEvent(ref=ref, committed_at=at, change=change, path=path, content_base64=content, **more)  # type: ignore[arg-type]


def prepared(*events: ImportEvent) -> list[ReadableEvent]:
    changes = [prepare(each, BYTES_MAX) for each in events]
    assert all(isinstance(each, ReadableEvent) for each in changes)
    return [each for each in changes if isinstance(each, ReadableEvent)]


class Memory:
    """Stands for the database: keeps heads between batches, and loads them as `store.load` does."""

    def __init__(self) -> None:
        self.heads: dict[Any, PlannedHead] = {}
        self.known: set[tuple[str, str]] = set()
        self.refused: dict[tuple[str, str], Remark] = {}
        self.versions = 0

    def apply(self, *events: ImportEvent) -> BatchPlan:
        done = plan(prepared(*events), self._state())
        for head in done.touched.values():
            head.is_new = False
        self.heads |= done.touched
        self.known |= {(version.source_key, version.source_ref) for version in done.versions}
        self.refused |= {(each.path, each.ref): each for each in done.refused}
        self.versions += len(done.versions)
        self._check()
        return done

    def _state(self) -> State:
        state = State(known=set(self.known), refused=self.refused)
        for head in sorted(self.heads.values(), key=lambda head: head.updated_at or AT):
            assert head.source_key is not None
            (state.live if head.deleted_at is None else state.deleted)[head.source_key] = head
            if head.number is not None:
                state.numbers[head.number] = head
        return state

    def _check(self) -> None:
        """What the unique indexes of the database hold to."""
        numbers = [head.number for head in self.heads.values() if head.number is not None]
        live = [head.source_key for head in self.heads.values() if head.deleted_at is None]
        assert len(set(numbers)) == len(numbers)
        assert len(set(live)) == len(live)


PATHS = st.sampled_from([f"adr/{name}.md" for name in ("0001-a", "0001-b", "0002-a", "0003-c", "d", "e")])
HISTORY = st.lists(st.tuples(st.sampled_from("AAMMRD"), PATHS, PATHS), max_size=30)


@given(HISTORY, st.integers(1, 7))
def test_any_history_in_any_batches_is_what_an_independent_count_says(
    history: list[tuple[str, str, str]], size: int
) -> None:
    events = [
        event(change, path, f"c{n}", old_path=old if change == "R" else None, minute=n)
        for n, (change, path, old) in enumerate(history)
        if change != "R" or path != old
    ]
    memory = Memory()
    refused = 0
    for start in range(0, len(events), size):
        done = memory.apply(*events[start : start + size])
        assert done.applied + done.skipped + len(done.refused) == len(events[start : start + size])
        refused += len(done.refused)
    expected = expect({"change": e.change, "path": e.path, "old_path": e.old_path} for e in events)
    found = Counter((head.source_key, head.deleted_at is None, head.version) for head in memory.heads.values())
    assert (found, refused, memory.versions) == (expected.versions, expected.refused, expected.versions_total)


@given(HISTORY)
def test_sent_again_nothing_is_written(history: list[tuple[str, str, str]]) -> None:
    events = [
        event(change, path, f"c{n}", old_path=f"{old}x" if change == "R" else None, minute=n)
        for n, (change, path, old) in enumerate(history)
    ]
    memory = Memory()
    memory.apply(*events)
    before = memory.versions
    again = memory.apply(*events)
    assert (again.versions, again.applied, memory.versions) == ([], 0, before)


@given(st.permutations(range(6)), st.integers(0, 6))
def test_a_commit_may_move_files_in_a_circle(order: list[int], rotate: int) -> None:
    memory = Memory()
    memory.apply(*(event("A", f"adr/000{n}-x.md", f"c{n}", f"# Note {n}\n".encode()) for n in range(6)))
    memory.apply(
        *(
            event("R", f"adr/000{(n + rotate) % 6}-x.md", "move", f"# Note {n}\n".encode(), old_path=f"adr/000{n}-x.md")
            for n in order
            if rotate % 6
        )
    )
    assert {(head.title, head.number) for head in memory.heads.values()} == {
        (f"Note {n}", (n + rotate) % 6) for n in range(6)
    }


def test_the_number_changes_only_when_the_file_name_does() -> None:
    memory = Memory()
    memory.apply(event("A", "adr/note.md", "1", b"# 5. Note\n"))
    memory.apply(event("M", "adr/note.md", "2", b"# 6. Note\n"))
    (head,) = memory.heads.values()
    assert head.number == 5
    memory.apply(event("R", "adr/text.md", "3", b"# 7. Note\n", old_path="adr/note.md"))
    assert head.number == 5
    memory.apply(event("R", "adr/0008-text.md", "4", b"# 7. Note\n", old_path="adr/text.md"))
    assert head.number == 8


@pytest.mark.parametrize(
    ("content", "body", "kept"),
    [
        (b"plain \xc3\xa4\r\n", "plain ä\r\n", False),
        (b"\xef\xbb\xbfbom", "\ufeffbom", False),
        (b"caf\xe9 au lait", "café au lait", True),
        (b"a\x00\x00b", "a\ufffdb", True),
        ("# Überschrift\n".encode("utf-16"), "# Überschrift\n", True),
        (b"\xed\xa0\x80", "\ufffd", True),
    ],
)
def test_a_body_is_readable_and_the_bytes_are_kept_where_it_cannot_give_them_back(
    content: bytes, body: str, kept: bool
) -> None:
    assert readable(content) == (body, content if kept else None)


@given(st.binary(max_size=400))
def test_the_bytes_can_always_be_had_back_and_the_body_stays_small(content: bytes) -> None:
    body, original = readable(content)
    assert "\0" not in body
    assert (original if original is not None else body.encode()) == content
    # Versions are captured to a topic whose records hold four times the largest text.
    assert len(body.encode()) + len(original or b"") <= 3 * len(content) + 3


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (event("A", "x" * 501, "r"), "invalid-input"),
        (event("A", "a", "r" * 129), "invalid-input"),
        (event("R", "a", "r"), "invalid-input"),
        (event("A", "a", "r", None), "invalid-input"),
        (event("A", "a", "r", b"x" * (BYTES_MAX + 1)), "too-large"),
        (event("A", "a", "r", None, size_bytes=BYTES_MAX + 1), "too-large"),
        (ImportEvent("r", datetime(2024, 1, 1), "D", "a"), "invalid-input"),  # noqa: DTZ001
    ],
)
def test_what_is_refused_says_why(bad: ImportEvent, code: str) -> None:
    refused = prepare(bad, BYTES_MAX)
    assert not isinstance(refused, ReadableEvent)
    assert refused.code == code
    assert refused.detail
