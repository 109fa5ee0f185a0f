"""Waits until what was just written can be found, and measures it.

Owns when to stop waiting: when everything is findable by words and by meaning, or when nothing moves any more. Refuses
to guess: what did not arrive in time is said to be waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from adriatic.cli.remote import Remote
from api.imports.freshness import Freshness
from runtime.clock import Clock

POLL_S = 0.25
"""Pause between two looks: the resolution of the times that are printed, and four cheap reads a second."""
STILL_S_MAX = 120.0
"""Longest wait without any progress: after that a flow is down. One batch of embeddings on a busy
machine takes less."""
WAIT_S_MAX = 1_800.0
"""However much moves: nobody watches a command for longer than half an hour."""


@dataclass(slots=True)
class Watched:
    """A tenant whose last write was at `written_s` (monotonic). Times are seconds after that; None: not yet."""

    remote: Remote
    since: datetime
    written_s: float
    words_s: float | None = None
    meaning_s: float | None = None
    freshness: Freshness | None = None

    @property
    def done(self) -> bool:
        return self.words_s is not None and self.meaning_s is not None

    def measure(self) -> tuple[int, int, int]:
        """What moves: ADRs that wait for each arm, and texts that went through the model."""
        if self.freshness is None:
            return 0, 0, 0
        return (
            self.freshness.words.waiting,
            self.freshness.meaning.waiting,
            self.freshness.embeddings.embedded,
        )


def await_searchable(watched: Sequence[Watched], clock: Clock, show: Callable[[int, int], None]) -> None:
    """Look until all are findable or nothing moves. `show` is told how many ADRs wait, by words and by meaning."""
    began_s = moved_s = clock.monotonic()
    before: list[tuple[int, int, int]] = []
    while True:
        for each in watched:
            if not each.done:
                _look(each, clock)
        seen = [each.measure() for each in watched]
        show(sum(words for words, _, _ in seen), sum(meaning for _, meaning, _ in seen))
        if all(each.done for each in watched):
            return
        now_s = clock.monotonic()
        if seen != before:
            before, moved_s = seen, now_s
        if now_s - moved_s > STILL_S_MAX or now_s - began_s > WAIT_S_MAX:
            return
        clock.sleep(POLL_S)


def _look(each: Watched, clock: Clock) -> None:
    each.freshness = each.remote.request("GET", "/v1/freshness", Freshness, since=each.since.isoformat())
    after_s = max(0.0, clock.monotonic() - each.written_s)
    if each.words_s is None and each.freshness.words.waiting == 0:
        each.words_s = after_s
    if each.meaning_s is None and each.freshness.meaning.waiting == 0:
        each.meaning_s = after_s
