"""A schedule is its seed's alone, hits everything, and survives being printed."""

from __future__ import annotations

import pytest

from tests.crash.schedule import HANG_S, SUPERVISOR, Fault, actions, parse, schedule, show

TARGETS = ("postgres", "kafka", "cdc", "index", SUPERVISOR)


def test_the_same_seed_gives_the_same_schedule_and_another_one_another() -> None:
    assert schedule(1, 60, TARGETS) == schedule(1, 60, TARGETS) != schedule(2, 60, TARGETS)


@pytest.mark.parametrize("seed", range(50))
def test_every_target_is_hit_within_the_time_and_the_supervisor_is_killed_once(seed: int) -> None:
    faults = schedule(seed, 60, TARGETS)
    assert faults == sorted(faults)
    assert {fault.target for fault in faults} == set(TARGETS)
    assert all(0 <= fault.at_s <= 60 for fault in faults)
    assert [fault.kind for fault in faults if fault.target == SUPERVISOR] == ["kill"]
    for fault in faults:
        assert fault.lasts_s == 0 if fault.kind == "kill" else HANG_S[0] <= fault.lasts_s <= HANG_S[1]


def test_a_short_time_has_room_for_some_targets_only() -> None:
    assert len(schedule(3, 6, TARGETS)) == 2
    assert len(schedule(3, 0.1, TARGETS)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_what_is_printed_can_be_replayed(seed: int) -> None:
    faults = schedule(seed, 60, TARGETS)
    assert parse(show(faults)) == faults


@pytest.mark.parametrize("text", ["1 kill", "1 maim cdc", "x kill cdc", "1 hang cdc", "1 kill cdc 3", "1 hang cdc x"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_what_hangs_goes_on_before_the_next_fault_of_the_same_moment() -> None:
    hang, kill = Fault(1, "kafka", "hang", 2), Fault(3, "cdc", "kill")
    assert [(action.at_s, action.begins, action.fault) for action in actions([hang, kill])] == [
        (1, True, hang),
        (3, False, hang),
        (3, True, kill),
    ]
