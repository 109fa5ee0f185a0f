"""Stages: they add up, they blame the right one, and what is not known is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adriatic.watch.freshness import Minutes, judge, percentiles, split
from schemas.pipeline import (
    BLAME,
    FRESH_S_MAX,
    KNOWN_S_MAX,
    SKEW_S_MAX,
    STAGES,
    Percentiles,
    ViewFreshness,
    unknown_view,
)

NOW = 1_000_000.0
MARK = st.none() | st.floats(NOW - 5_000, NOW + 1)


def test_each_stage_has_its_part() -> None:
    assert split(NOW, [NOW - 1, NOW - 3, NOW - 6, NOW - 10]) == {"wal": 1, "capture": 2, "topic": 3, "flow": 4}


@given(st.lists(MARK, min_size=4, max_size=4))
def test_stages_are_never_negative_and_add_up(marks: list[float | None]) -> None:
    stages = split(NOW, marks)
    if stages is None:
        assert marks[3] is None
        return
    assert min(stages.values()) >= 0
    shown = marks[3]
    assert shown is not None
    assert sum(stages.values()) == pytest.approx(max(NOW, *(mark for mark in marks if mark is not None)) - shown)


@pytest.mark.parametrize(
    ("marks", "slowest"),
    [
        ([NOW - 60, NOW - 61, NOW - 61, NOW - 61], "wal"),
        ([NOW - 1, NOW - 60, NOW - 60, NOW - 60], "capture"),
        ([NOW - 1, NOW - 2, NOW - 60, NOW - 60], "topic"),
        ([NOW - 1, NOW - 2, None, NOW - 60], "topic"),
        ([NOW - 1, NOW - 2, NOW - 3, NOW - 60], "flow"),
        ([None, None, None, NOW - 60], "wal"),
    ],
)
def test_the_stage_that_holds_everything_up_is_named(marks: list[float | None], slowest: str) -> None:
    found = judge("v", "f", NOW, marks)
    assert (found.state, found.slowest) == ("stale", slowest)
    assert found.reason == BLAME[slowest]  # type: ignore[index]  # one of the stages


@pytest.mark.parametrize(
    ("age_s", "state"),
    [(0.0, "fresh"), (FRESH_S_MAX, "fresh"), (FRESH_S_MAX + 1, "stale"), (KNOWN_S_MAX + 1, "unknown")],
)
def test_state_by_age(age_s: float, state: str) -> None:
    assert judge("v", "f", NOW, [NOW, NOW, NOW, NOW - age_s]).state == state


def test_a_view_that_shows_the_future_is_unknown() -> None:
    found = judge("v", "f", NOW, [NOW, NOW, NOW, NOW + SKEW_S_MAX + 1])
    assert (found.state, found.age_s) == ("unknown", None)
    assert "in the future" in found.reason
    assert judge("v", "f", NOW, [NOW, NOW, NOW, NOW + SKEW_S_MAX]).state == "fresh"


def test_a_stage_before_it_that_claims_the_future_does_not_hide_how_old_a_view_is() -> None:
    found = judge("v", "f", NOW, [NOW + 3e9, NOW + 3e9, NOW - 1, NOW - 2])
    assert (found.state, found.age_s) == ("fresh", 2.0)


def test_a_view_that_has_not_reported_is_unknown_and_has_no_number() -> None:
    for found in (judge("v", "f", NOW, [NOW, NOW, NOW, None]), judge("v", "f", NOW, [NOW] * 4, complete=False)):
        assert (found.state, found.age_s, found.stages) == ("unknown", None, {})
        assert found.reason


def test_percentiles_are_values_that_were_measured() -> None:
    found = percentiles([float(n) for n in range(1, 101)])
    assert (found.samples, found.p50_s, found.p95_s, found.p99_s, found.max_s) == (100, 50, 95, 99, 100)
    assert percentiles([3.0]) == Percentiles(1, 3.0, 3.0, 3.0, 3.0)


def test_a_minute_is_given_once_when_it_is_over() -> None:
    minutes = Minutes()

    def look(age_s: float) -> list[ViewFreshness]:
        return [judge("v", "f", NOW, [NOW, NOW, NOW, NOW - age_s]), unknown_view("w", "f", "why")]

    assert minutes.add(60.0, look(1)) is None
    assert minutes.add(119.9, look(3)) is None
    ended = minutes.add(120.0, look(9))
    assert ended is not None
    at_s, found = ended
    assert at_s == 60
    assert set(found) == {("v", name) for name in ("total", *STAGES)}, "what is unknown is not measured"
    assert (found["v", "total"].samples, found["v", "total"].max_s, found["v", "flow"].p50_s) == (2, 3.0, 1.0)
    rest = minutes.end()
    assert rest is not None
    assert rest[0] == 120
    assert minutes.end() is None


def test_every_stage_has_somebody_to_blame() -> None:
    assert set(BLAME) == set(STAGES)
