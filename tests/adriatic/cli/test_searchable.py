"""Waiting until everything can be found: what is measured, and when waiting ends without it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from adriatic.cli.searchable import STILL_S_MAX, WAIT_S_MAX, Watched, await_searchable
from api.imports.freshness import Arm, Embeddings, Freshness
from api.watermarks import UNKNOWN
from runtime.clock import ManualClock

SINCE = datetime(2024, 1, 1, tzinfo=UTC)


class Answers:
    """Stands for the API: (words, meaning) that wait, one pair a look; the last one stays."""

    def __init__(self, *waiting: tuple[int, int]) -> None:
        self._waiting = list(waiting)

    def request(self, method: str, path: str, answer: Any, **query: Any) -> Freshness:
        assert (method, path, query) == ("GET", "/v1/freshness", {"since": SINCE.isoformat()})
        words, meaning = self._waiting.pop(0) if len(self._waiting) > 1 else self._waiting[0]
        return Freshness(SINCE, arm(words), arm(meaning), Embeddings(0, 0, 0, None, 0), UNKNOWN)


def arm(waiting: int) -> Arm:
    return Arm(0, waiting, None, None, None, None, None)


def watch(*answers: Answers) -> tuple[list[Watched], list[tuple[int, int]], ManualClock]:
    clock = ManualClock()
    watched = [Watched(each, SINCE, 0.0) for each in answers]  # type: ignore[arg-type]
    shown: list[tuple[int, int]] = []
    await_searchable(watched, clock, lambda *waiting: shown.append(waiting))
    return watched, shown, clock


def test_each_arm_has_the_time_at_which_nothing_waited_any_more() -> None:
    (only,), shown, _ = watch(Answers((2, 2), (0, 2), (0, 1), (0, 0)))
    assert (only.words_s, only.meaning_s, only.done) == (0.25, 0.75, True)
    assert shown == [(2, 2), (0, 2), (0, 1), (0, 0)]


def test_several_tenants_are_waited_for_together() -> None:
    first, second = watch(Answers((0, 0)), Answers((3, 3), (0, 0)))[0]
    assert (first.meaning_s, second.meaning_s) == (0.0, 0.25)


def test_embedding_is_progress_and_waiting_ends_at_last_all_the_same() -> None:
    class Slow(Answers):
        embedded = 0

        def request(self, method: str, path: str, answer: Any, **query: Any) -> Freshness:
            self.embedded += 1
            saved = Embeddings(0, 0, 0, None, self.embedded // 200)
            return Freshness(SINCE, arm(0), arm(1), saved, UNKNOWN)

    (only,), _, clock = watch(Slow())
    assert not only.done
    assert WAIT_S_MAX < clock.monotonic() < WAIT_S_MAX + 2


def test_waiting_ends_when_nothing_moves_and_says_what_did_not_come() -> None:
    (only,), _, clock = watch(Answers((5, 5), (0, 4), (0, 3)))
    assert (only.words_s, only.meaning_s, only.done) == (0.25, None, False)
    assert STILL_S_MAX < clock.monotonic() < STILL_S_MAX + 2
