"""Words of groups: by cases, and by what must hold whatever the samples are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adriatic.watch import lag
from adriatic.watch.lag import ADVICE, RANK, Sample, classify, judge, trend
from connectors.kafka.records import TopicPartition
from schemas.pipeline import STATUSES, Status

NOW = 1_000_000.0
STEP_S = 2.0


def window(*pairs: tuple[int | None, int], low: int = 0, age_s: float | None = 60.0, **more: object) -> list[Sample]:
    """Looks two seconds apart, the last one now: (committed, end)."""
    first = NOW - STEP_S * (len(pairs) - 1)
    return [
        Sample(
            at_s=(at := first + STEP_S * number),
            committed=committed,
            low=low,
            end=end,
            oldest_at_s=None if age_s is None else at - age_s,
            **{"members": 1, **more},  # type: ignore[arg-type]  # any of the other fields
        )
        for number, (committed, end) in enumerate(pairs)
    ]


LONG = 20
"""Looks that last longer than any evidence that a word needs."""
CASES: list[tuple[str, Status, list[Sample], bool]] = [
    ("nothing was seen", "unknown", [], True),
    ("at the end", "ok", window(*[(9, 9)] * LONG), True),
    ("an empty topic", "ok", window(*[(0, 0)] * LONG), True),
    ("never committed", "no-commits", window(*[(None, 5)] * LONG), True),
    ("never committed, nothing there", "no-commits", window(*[(None, 0)] * LONG), True),
    ("expired unread", "losing-data", window(*[(3, 20)] * LONG, low=5), True),
    ("the topic was made anew", "losing-data", window(*[(30, 20)] * LONG), True),
    ("set back", "rewound", window(*[(9, 9)] * 5, (2, 9), (4, 9)), True),
    ("set back, and there again", "ok", window(*[(9, 9)] * 5, (2, 9), (9, 9)), True),
    ("nobody there", "stopped", window(*[(3, 9)] * LONG, members=0), True),
    ("nobody there, and nothing to do", "stopped", window(*[(9, 9)] * LONG, members=0), True),
    ("an analyst who read everything and left", "ok", window(*[(9, 9)] * LONG, members=0), False),
    ("an analyst who left in the middle", "stopped", window(*[(3, 9)] * LONG, members=0), False),
    ("connects again", "ok", [*window(*[(9, 9)] * LONG)[:-1], replace(window((9, 9))[0], members=0)], True),
    ("there, and nothing moves", "stalled", window(*[(3, 9)] * LONG), True),
    ("there, nothing moves, more comes", "stalled", window(*[(3, 9 + n) for n in range(LONG)]), True),
    ("said nothing for long", "stalled", window(*[(9, 9)] * 3, beat_at_s=NOW - lag.STALE_S - 1), True),
    ("one long batch", "slow", window(*[(3, 9)] * 5), True),
    ("falls behind", "slow", window(*[(n, 9 + 2 * n) for n in range(LONG)]), True),
    ("keeps the distance", "slow", window(*[(n, 900 + n) for n in range(LONG)]), True),
    ("catches up", "catching-up", window(*[(20 * n, 900 + n) for n in range(LONG)]), True),
    ("a few on their way", "ok", window(*[(n, 3 + n) for n in range(LONG)], age_s=0.5), True),
    ("more than before, but young", "ok", window(*[(n, 3 + 2 * n) for n in range(LONG)], age_s=2.0), True),
    ("behind, seen once", "unknown", window((3, 9)), True),
    ("behind, and nobody knows for how long", "slow", window(*[(n, 99 + n) for n in range(LONG)], age_s=None), True),
]


@pytest.mark.parametrize(("status", "samples", "permanent"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_words(status: Status, samples: list[Sample], permanent: bool) -> None:
    assert classify(samples, NOW, permanent=permanent) == status


def test_every_word_has_a_case_a_rank_and_advice() -> None:
    assert {case[1] for case in CASES} == set(STATUSES) == set(RANK) == set(ADVICE)
    assert all(ADVICE[status] for status in STATUSES if status != "ok")


SAMPLES = st.lists(
    st.builds(
        Sample,
        at_s=st.just(0.0),
        committed=st.none() | st.integers(0, 50),
        low=st.integers(0, 20),
        end=st.integers(20, 60),
        oldest_at_s=st.none() | st.floats(NOW - 500, NOW),
        members=st.none() | st.integers(0, 2),
        beat_at_s=st.none() | st.floats(NOW - 60, NOW),
    ),
    min_size=1,
    max_size=70,
).map(lambda found: [replace(s, at_s=NOW - STEP_S * (len(found) - 1 - n)) for n, s in enumerate(found)])


@given(SAMPLES, st.booleans())
def test_there_is_always_a_word_and_no_number_is_negative(samples: list[Sample], permanent: bool) -> None:
    assert classify(samples, NOW, permanent=permanent) in STATUSES
    for sample in samples:
        assert sample.records >= 0
        assert sample.seconds is None or sample.seconds >= 0
        assert sample.retention_share is None or 0 <= sample.retention_share <= 1
    found = judge("g", {TopicPartition("t", 0): samples}, NOW, ours=permanent)
    assert found.eta_s is None or found.eta_s >= 0
    assert found.eta_s is None or not found.lag_records or (found.trend is not None and found.trend < 0)


@given(SAMPLES, st.booleans(), st.floats(lag.STALE_S + 0.1, 10_000))
def test_what_was_not_looked_at_lately_is_unknown(samples: list[Sample], permanent: bool, later_s: float) -> None:
    assert classify(samples, NOW + later_s, permanent=permanent) == "unknown"
    found = judge("g", {TopicPartition("t", 0): samples}, NOW + later_s, ours=True)
    assert (found.status, found.lag_records, found.lag_s, found.eta_s) == ("unknown", None, None, None)


@given(SAMPLES, st.booleans(), st.integers(0, 10_000), st.floats(-1e6, 1e6))
def test_words_do_not_depend_on_where_offsets_and_clocks_begin(
    samples: list[Sample], permanent: bool, offset: int, seconds: float
) -> None:
    def moved(at_s: float | None) -> float | None:
        return None if at_s is None else at_s + round(seconds)

    others = [
        replace(
            sample,
            at_s=sample.at_s + round(seconds),
            committed=None if sample.committed is None else sample.committed + offset,
            low=sample.low + offset,
            end=sample.end + offset,
            oldest_at_s=moved(sample.oldest_at_s),
            beat_at_s=moved(sample.beat_at_s),
        )
        for sample in samples
    ]
    # Ages that lie within a rounding error of a border may fall on either side of it.
    ages = [abs((s.seconds or 0.0) - lag.IN_FLIGHT_S) for s in samples]
    beats = [abs(NOW - (s.beat_at_s or 0.0) - lag.STALE_S) for s in samples]
    if min(ages + beats) > 1e-3:
        assert classify(samples, NOW, permanent=permanent) == classify(
            others, NOW + round(seconds), permanent=permanent
        )


@given(SAMPLES)
def test_a_flow_that_nobody_runs_is_never_well(samples: list[Sample]) -> None:
    gone = [replace(sample, members=0) for sample in samples]
    if gone[-1].at_s - gone[0].at_s >= lag.GONE_S:
        assert classify(gone, NOW, permanent=True) not in ("ok", "catching-up", "slow")


def test_trend_is_up_even_and_down() -> None:
    def at(values: list[float]) -> float | None:
        return trend([(NOW + STEP_S * n, value) for n, value in enumerate(values)])

    assert at([0, 10, 20, 30]) == pytest.approx(5)
    assert at([7, 7, 7, 7]) == pytest.approx(0)
    assert at([30, 20, 10, 0]) == pytest.approx(-5)
    assert at([30]) is None
    assert at([1000.0] * 30 + [0.0] * 11) == pytest.approx(0), "what is long ago does not count"


def test_five_numbers() -> None:
    windows = {
        TopicPartition("t", 0): window(*[(20 * n, 900) for n in range(LONG)], age_s=40.0),
        TopicPartition("t", 1): window(*[(900, 900)] * LONG),
    }
    found = judge("adriatic.x", windows, NOW, ours=True)
    assert found.status == "catching-up"
    assert found.lag_records == 900 - 20 * (LONG - 1)
    assert found.lag_s == 40.0
    assert found.trend == pytest.approx(-10)
    assert found.eta_s == pytest.approx(found.lag_records / 10)
    assert found.retention_share == pytest.approx(found.lag_records / 900, abs=0.001)
    assert [(at.partition, at.status) for at in found.partitions] == [(0, "catching-up"), (1, "ok")]
    assert "t/0 is 40 s behind" in found.reason


def test_there_is_no_eta_while_the_lag_grows() -> None:
    found = judge("g", {TopicPartition("t", 0): window(*[(n, 9 + 2 * n) for n in range(LONG)])}, NOW, ours=True)
    assert (found.status, found.eta_s) == ("slow", None)
    assert found.trend is not None
    assert found.trend > 0


def test_the_worst_partition_speaks_for_the_group() -> None:
    windows = {
        TopicPartition("t", 0): window(*[(9, 9)] * LONG),
        TopicPartition("t", 1): window(*[(3, 20)] * LONG, low=5),
    }
    found = judge("g", windows, NOW, ours=True)
    assert found.status == "losing-data"
    assert found.reason == "2 records of t/1 expired before they were read"
    assert judge("g", {}, NOW, ours=True).status == "no-commits"
