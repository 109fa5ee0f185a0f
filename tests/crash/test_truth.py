"""The comparison of what was said with what was so finds what it must, and nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from runtime.deadline import Deadline
from schemas.pipeline import FRESH_S_MAX
from tests.crash.truth import (
    Attendance,
    Said,
    Span,
    Write,
    seconds_until_seen,
    seconds_until_well,
    untrue_of_parts,
    untrue_of_views,
)

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def said(begins: float, ends: float, *, well: bool | None = True, **fresh: Span) -> Said:
    return Said("status", Span(begins, ends), well, "", fresh)


def test_ok_is_untrue_when_a_part_was_away_for_longer_than_it_may_take_to_see_it() -> None:
    away = [Span(100.0, 120.0)]
    assert list(untrue_of_parts([said(106.0, 107.0)], away, 5.0)) == ["status said ok after 6.0 s"]
    assert list(untrue_of_parts([said(104.0, 107.0), said(119.0, 120.5), said(99.0, 119.0)], away, 5.0)) == []
    assert list(untrue_of_parts([said(106.0, 107.0, well=False), said(106.0, 107.0, well=None)], away, 5.0)) == []
    assert list(untrue_of_parts([said(101.0, 102.0)], [Span(100.0, 103.0)], 5.0)) == []


def test_fresh_is_untrue_when_an_older_write_is_not_in_the_table() -> None:
    at = 200.0
    moment = Span(at, at)
    late = Write("late", at - FRESH_S_MAX - 1, {"activity": at + 1})
    young = Write("young", at - FRESH_S_MAX + 1, {"activity": at + 1})
    came = Write("came", at - FRESH_S_MAX - 1, {"activity": at - 0.1})
    elsewhere = Write("elsewhere", at - FRESH_S_MAX - 1, {"search.words": at + 1})
    answer = said(at + 1, at + 1, activity=moment)
    (found,) = untrue_of_views([answer], [late, young, came, elsewhere])
    assert found == "status called activity fresh, and lacked 1 writes up to 11.0 s old"
    assert list(untrue_of_views([answer], [young, came, elsewhere])) == []


def test_when_it_was_seen_and_when_all_was_well_for_good() -> None:
    answers = [
        said(99.0, 99.5),
        said(99.9, 101.0, well=False),  # asked before
        said(102.0, 103.0, well=False),
        said(111.0, 111.5),
        said(112.0, 112.5, well=False),
        said(113.0, 113.5),
        said(114.0, 114.5),
    ]
    assert seconds_until_seen(answers, 100.0, 130.0) == 3.0
    assert seconds_until_seen(answers[:1], 100.0, 130.0) is None
    assert seconds_until_well(answers, 110.0) == 3.5
    assert seconds_until_well(answers[:5], 110.0) is None


@pytest.fixture
def child() -> Iterator[psutil.Process]:
    started = subprocess.Popen(SLEEPER)
    process = psutil.Process(started.pid)
    # For a moment after exec, Linux shows no command line, or that of the parent.
    _await(lambda: process.cmdline() == SLEEPER)
    yield process
    started.kill()
    started.wait()


def test_whoever_is_stopped_or_dead_is_away_until_another_does_the_same(child: psutil.Process) -> None:
    with Attendance([child]) as attendance:
        time.sleep(0.3)
        assert attendance.spans == []
        child.send_signal(signal.SIGSTOP)
        _await(lambda: len(attendance.spans) == 1)
        child.send_signal(signal.SIGCONT)
        _await(lambda: attendance.is_there)
        time.sleep(0.3)
        child.kill()
        _await(lambda: len(attendance.spans) == 2)
        again = subprocess.Popen(SLEEPER)
        _await(lambda: attendance.is_there)
    again.kill()
    again.wait()


def _await(is_so: Callable[[], bool]) -> None:
    deadline = Deadline.after(10)
    while not is_so():
        assert not deadline.passed
        time.sleep(0.02)
