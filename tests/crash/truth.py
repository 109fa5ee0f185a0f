"""What is really so while processes die, and where what the system said of itself differs from it.

Owns three records that nobody under test has a hand in: which process is gone or stopped (from /proc), which write was
acknowledged when, and until when a table did not have it. The comparison with what was said is pure. Refuses to ask the
system how it is: `healing.py` does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import psutil

from schemas.pipeline import FRESH_S_MAX

LOOK_EVERY_S = 0.1
"""Between two looks at a process: short beside the time that anything may take to see the same."""
GONE = frozenset((psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD))


class Span(NamedTuple):
    """A time, in seconds since 1970."""

    begins: float
    ends: float

    def holds(self, other: Span) -> bool:
        return self.begins <= other.begins and other.ends <= self.ends


class Said(NamedTuple):
    """One answer of the system about itself. `asked`: from the question to the answer. `well`: status was `ok`; None
    where the answer is only about views. `fresh`: of each view that was called fresh, of when the answer is."""

    who: str
    asked: Span
    well: bool | None
    words: str
    fresh: Mapping[str, Span]


@dataclass
class Write:
    """Something that was acknowledged. `missing_until`: by view, the last moment at which its table was seen without
    it; `seen`: views whose table has it."""

    name: str
    acknowledged: float
    missing_until: dict[str, float] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)


def untrue_of_parts(said: Iterable[Said], away: Sequence[Span], sampled_s: float) -> Iterator[str]:
    """Answers that all is well from questions that were asked while a part had been away for longer than `sampled_s`,
    the time after which it is promised to be seen."""
    late = [Span(span.begins + sampled_s, span.ends) for span in away if span.ends > span.begins + sampled_s]
    for answer in said:
        for span in late:
            if answer.well and span.holds(answer.asked):
                gone_s = answer.asked.begins - span.begins + sampled_s
                yield f"{answer.who} said ok after {gone_s:.1f} s"


def untrue_of_views(said: Iterable[Said], writes: Sequence[Write]) -> Iterator[str]:
    """Views that were called fresh when a write that is older than that allows was not in their table."""
    for answer in said:
        for view, of in answer.fresh.items():
            late = [
                write
                for write in writes
                if write.acknowledged < of.begins - FRESH_S_MAX and write.missing_until.get(view, 0.0) >= of.ends
            ]
            if late:
                oldest_s = of.begins - min(write.acknowledged for write in late)
                yield f"{answer.who} called {view} fresh, and lacked {len(late)} writes up to {oldest_s:.1f} s old"


def seconds_until_seen(said: Sequence[Said], hit_at: float, until: float) -> float | None:
    """From a fault to the first answer that not all is well; None when there was none up to `until`."""
    times = [each.asked.ends for each in said if each.well is False and hit_at <= each.asked.begins <= until]
    return min(times) - hit_at if times else None


def seconds_until_well(said: Sequence[Said], over_at: float) -> float | None:
    """From the end of a fault to the first answer that all is well after which no other came."""
    after = sorted((each for each in said if each.well is not None and each.asked.begins >= over_at), key=_begins)
    last_bad = max((each.asked.ends for each in after if not each.well), default=over_at)
    good = [each.asked.ends for each in after if each.well and each.asked.begins >= last_bad]
    return min(good) - over_at if good else None


def _begins(said: Said) -> float:
    return said.asked.begins


class Attendance:
    """Watches whether somebody does the work of `victims`: themselves, not stopped, or others of the same command with
    the same parent. A context. `spans`: when nobody did."""

    def __init__(self, victims: Sequence[psutil.Process]) -> None:
        first = victims[0]
        self._victim = first
        self._command = first.cmdline()
        self._parent = first.parent()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="attendance", daemon=True)
        self.spans: list[Span] = []

    def __enter__(self) -> Attendance:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def is_there(self) -> bool:
        if _works(self._victim, self._command):
            return True
        try:
            others = self._parent.children() if self._parent else []
        except psutil.Error:
            others = []
        return any(_works(each, self._command) for each in others)

    def _watch(self) -> None:
        since: float | None = None
        while not self._stop.wait(LOOK_EVERY_S):
            began = time.time()
            if self.is_there:
                since = None
            elif since is None:
                since = began
                self.spans.append(Span(began, began))
            else:
                self.spans[-1] = Span(since, began)


def _works(process: psutil.Process, command: Sequence[str]) -> bool:
    try:
        return process.status() not in {*GONE, psutil.STATUS_STOPPED} and process.cmdline() == command
    except psutil.Error:
        return False
