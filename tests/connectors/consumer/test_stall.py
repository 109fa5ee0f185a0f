"""When a member that takes nothing is to begin anew, and when there is a reason for taking nothing."""

from __future__ import annotations

import pytest

from connectors.consumer import stall
from connectors.consumer.stall import REBALANCE_S, StallWatch
from connectors.kafka.membership import GroupState
from connectors.kafka.records import TopicPartition
from runtime.clock import ManualClock

ONE, TWO = TopicPartition("t", 0), TopicPartition("t", 1)
PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stall, "STALLED_S", PATIENCE_S)


def test_only_what_stands_still_for_long_is_a_reason() -> None:
    clock = ManualClock()
    watch = StallWatch(clock)
    for at in range(5):  # it moves, slowly
        assert watch.find_stalled({ONE: 9}, {ONE: at}) == ""
        clock.sleep(PATIENCE_S - 1)
    assert watch.find_stalled({ONE: 9, TWO: 1}, {ONE: 4, TWO: 1}) == ""
    clock.sleep(1)
    assert "t/0 has stood at offset 4 of 9 for 10 s" in watch.find_stalled({ONE: 9}, {ONE: 4})


def test_what_was_caught_up_begins_to_count_anew() -> None:
    clock = ManualClock()
    watch = StallWatch(clock)
    watch.find_stalled({ONE: 1}, {})
    clock.sleep(PATIENCE_S)
    watch.find_stalled({ONE: 1}, {ONE: 1})
    assert watch.find_stalled({ONE: 2}, {ONE: 1}) == ""


def test_while_nothing_is_known_nothing_stalls() -> None:
    clock = ManualClock()
    watch = StallWatch(clock)
    watch.find_stalled({ONE: 1}, {})
    clock.sleep(PATIENCE_S)
    watch.reset()
    assert watch.find_stalled({ONE: 1}, {}) == ""


def test_a_member_without_partitions_waits_while_somebody_has_some_or_they_are_about_to_be_shared_out() -> None:
    clock = ManualClock()
    watch = StallWatch(clock)
    nobody, sharing = GroupState(owned=False, rebalancing=False), GroupState(owned=False, rebalancing=True)
    somebody = GroupState(owned=True, rebalancing=False)
    assert watch.find_unowned(lambda: nobody) == ""
    clock.sleep(PATIENCE_S)
    assert watch.find_unowned(lambda: sharing) == ""
    assert "nobody else in the group" in watch.find_unowned(lambda: nobody)
    assert watch.find_unowned(lambda: somebody) == ""
    assert watch.find_unowned(lambda: nobody) == "", "from now on it counts anew"
    clock.sleep(REBALANCE_S)
    assert "nobody else in the group" in watch.find_unowned(lambda: sharing)
