"""The bounds of a parser process, with documents that go to each of them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from connectors.parsers import Limits, Parsed, Refused, child, pool
from connectors.parsers.pool import Parsers
from runtime.lifecycle import StopRequested
from tests.connectors.parsers import samples
from tests.patience import PATIENCE_S

HOSTILE = (sys.executable, "-m", "tests.connectors.parsers.hostile")
TENANT = uuid4()


@pytest.fixture
def parsers() -> Iterator[Parsers]:
    made = Parsers(Limits(seconds_max=20, memory_bytes_max=1_073_741_824), HOSTILE)
    yield made
    made.close()


def ask(parsers: Parsers, folder: Path, content: bytes, tenant: object = TENANT) -> child.Answered:
    path = folder / uuid4().hex
    path.write_bytes(content)
    return parsers.parse(tenant, path, "file")  # type: ignore[arg-type]


def text(answer: child.Answered) -> str:
    assert isinstance(answer, Parsed), answer
    return answer.text


def code(answer: child.Answered) -> str:
    assert isinstance(answer, Refused), answer
    return answer.code


def test_what_lacks_memory_behind_another_document_has_a_process_of_its_own(parsers: Parsers, tmp_path: Path) -> None:
    used = text(ask(parsers, tmp_path, b"PID"))
    assert text(ask(parsers, tmp_path, b"FRESH")) not in (used, "")
    assert text(ask(parsers, tmp_path, b"PID")) != used


def test_one_process_does_many_documents_and_is_replaced_after_a_number_of_them(
    parsers: Parsers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "DOCUMENTS_MAX", 3)
    pids = [text(ask(parsers, tmp_path, b"PID")) for _ in range(7)]
    assert len(set(pids[0:3])) == len(set(pids[3:6])) == 1
    assert len(set(pids)) == 3


@pytest.mark.parametrize(("content", "expected"), [(b"DIE", "crashed"), (b"GROW", "memory")])
def test_what_a_document_does_to_its_process_is_its_reason_and_the_next_one_is_parsed(
    parsers: Parsers, tmp_path: Path, content: bytes, expected: str
) -> None:
    assert code(ask(parsers, tmp_path, content)) == expected
    assert text(ask(parsers, tmp_path, b"fine")) == "fine"


@pytest.mark.parametrize(
    ("content", "limits"), [(b"HANG", Limits(seconds_max=1)), (b"BURN", Limits(seconds_max=60, cpu_s_max=1))]
)
def test_time_is_bounded_by_the_clock_and_by_the_processor(tmp_path: Path, content: bytes, limits: Limits) -> None:
    parsers = Parsers(limits, HOSTILE)
    try:
        assert code(ask(parsers, tmp_path, content)) == "timeout"
    finally:
        parsers.close()


def test_a_real_library_meets_the_bound_of_memory(tmp_path: Path) -> None:
    parsers = Parsers(Limits(memory_bytes_max=268_435_456))
    try:
        answer = ask(parsers, tmp_path, samples.many_paragraphs(4_000_000))
        assert code(answer) in ("memory", "crashed", "broken")
        assert text(ask(parsers, tmp_path, b"fine")) == "fine"
    finally:
        parsers.close()


def in_background(parsers: Parsers, folder: Path, content: bytes) -> tuple[threading.Thread, list[child.Answered]]:
    """A call in a thread of its own, and what it answers; nothing when it was stopped."""
    answers: list[child.Answered] = []

    def run() -> None:
        with suppress(StopRequested):
            answers.append(ask(parsers, folder, content))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, answers


def test_a_slow_document_holds_up_no_other_tenants(parsers: Parsers, tmp_path: Path) -> None:
    hung = [in_background(parsers, tmp_path, b"HANG") for _ in range(3)]
    for _ in range(3):
        assert text(ask(parsers, tmp_path, b"quick", tenant=uuid4())) == "quick"
    assert [answers for _, answers in hung] == [[], [], []]


def test_closing_ends_what_is_at_work_what_waits_and_what_comes(parsers: Parsers, tmp_path: Path) -> None:
    calls = [in_background(parsers, tmp_path, b"HANG") for _ in range(2)]
    text(ask(parsers, tmp_path, b"fine", tenant=uuid4()))
    parsers.close()
    for thread, answers in calls:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        assert answers == []
    with pytest.raises(StopRequested):
        ask(parsers, tmp_path, b"fine", tenant=uuid4())
