"""The shrinker finds the culprits, whatever surrounds them, always the same ones, and within its bound."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tests.crash.schedule import Fault, schedule
from tests.crash.shrink import RUNS_MAX, shrink

TARGETS = ("postgres", "kafka", "registry", "cdc", "index", "embed", "activity", "jobs", "api")
FAULTS = schedule(7, 60, TARGETS)


class Asked:
    """A `fails` that holds whenever all culprits are there, and counts how often it is asked."""

    def __init__(self, culprits: Sequence[Fault]) -> None:
        self.culprits = set(culprits)
        self.times = 0

    def __call__(self, faults: Sequence[Fault]) -> bool:
        self.times += 1
        return self.culprits <= set(faults)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("seed", range(10))
def test_it_keeps_the_culprits_alone(number: int, seed: int) -> None:
    kills = [fault for fault in FAULTS if fault.kind == "kill"]
    culprits = sorted(random.Random(seed).sample(kills, number))
    asked = Asked(culprits)
    assert shrink(FAULTS, asked, runs_max=500) == culprits
    assert shrink(FAULTS, Asked(culprits), runs_max=500) == culprits


def test_one_culprit_is_found_within_the_bound() -> None:
    for culprit in (fault for fault in FAULTS if fault.kind == "kill"):
        asked = Asked([culprit])
        assert shrink(FAULTS, asked) == [culprit]
        assert asked.times <= RUNS_MAX / 2


def test_a_hang_is_cut_down_to_what_it_takes() -> None:
    faults = [Fault(1, "cdc", "kill"), Fault(2, "kafka", "hang", 8.0)]

    def fails(some: Sequence[Fault]) -> bool:
        return any(fault.target == "kafka" and fault.lasts_s >= 1.5 for fault in some)

    assert shrink(faults, fails) == [Fault(2, "kafka", "hang", 2.0)]


def test_where_only_the_whole_fails_the_whole_is_kept() -> None:
    faults = FAULTS[:5]
    assert shrink(faults, lambda some: [fault.at_s for fault in some] == [fault.at_s for fault in faults])[:1] == [
        faults[0]
    ]
    assert len(shrink(faults, Asked(faults), runs_max=0)) == 5


def test_it_stops_asking_at_its_bound_and_keeps_what_fails() -> None:
    culprits = [FAULTS[0], FAULTS[-1]]
    asked = Asked(culprits)
    kept = shrink(FAULTS, asked, runs_max=3)
    assert asked.times == 3
    assert set(culprits) <= set(kept)
