"""When a member that takes nothing is to begin anew, and when there is a reason for taking nothing."""

from __future__ import annotations

from connectors.consumer.stall import StallWatch
from connectors.kafka.records import TopicPartition
from runtime.clock import ManualClock

ONE, TWO = TopicPartition("t", 0), TopicPartition("t", 1)
PATIENCE_S = 10.0


def test_only_what_stands_still_for_long_is_a_reason() -> None:
    clock = ManualClock()
    watch = StallWatch(clock)
    for at in range(5):  # it moves, slowly
        assert watch.find_stalled({ONE: 9}, {ONE: at}, PATIENCE_S) == ""
        clock.sleep(PATIENCE_S - 1)
    assert watch.find_stalled({ONE: 9, TWO: 1}, {ONE: 4, TWO: 1}, PATIENCE_S) == ""
    clock.sleep(1)
    assert "t/0 has stood at offset 4 of 9 for 10 s" in watch.find_stalled({ONE: 9}, {ONE: 4}, PATIENCE_S)


def test_what_was_caught_up_begins_to_count_anew() -> None:
    clock = ManualClock()
    watch = StallWatch(clock)
    watch.find_stalled({ONE: 1}, {}, PATIENCE_S)
    clock.sleep(PATIENCE_S)
    watch.find_stalled({ONE: 1}, {ONE: 1}, PATIENCE_S)
    assert watch.find_stalled({ONE: 2}, {ONE: 1}, PATIENCE_S) == ""


def test_while_nothing_is_known_nothing_stalls() -> None:
    clock = ManualClock()
    watch = StallWatch(clock)
    watch.find_stalled({ONE: 1}, {}, PATIENCE_S)
    clock.sleep(PATIENCE_S)
    watch.reset()
    assert watch.find_stalled({ONE: 1}, {}, PATIENCE_S) == ""
