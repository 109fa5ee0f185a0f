"""Which partitions go first, as a rule: without a broker."""

from __future__ import annotations

from connectors.kafka.lanes import AHEAD_MAX, HELD_BYTES_MAX, Lanes
from connectors.kafka.records import TopicPartition

FAST = TopicPartition("fast", 0)
SLOW, SLOW_TOO = TopicPartition("slow", 0), TopicPartition("slow", 1)


def hold(lanes: Lanes, sources: list[TopicPartition], buffered_bytes: int) -> list[set[TopicPartition]]:
    return [set(each) for each in lanes.hold(sources, buffered_bytes)]


def test_a_topic_that_waits_is_taken_when_there_is_nothing_else() -> None:
    lanes = Lanes(["slow"])
    assert lanes.may_take(SLOW, [SLOW], under_way=False)
    assert not lanes.may_take(SLOW, [SLOW, FAST], under_way=False)


def test_one_batch_of_topics_that_wait_is_under_way_at_a_time() -> None:
    assert not Lanes(["slow"]).may_take(SLOW, [SLOW], under_way=True)


def test_what_waits_has_its_turn_however_much_overtakes_it() -> None:
    lanes, order = Lanes(["slow"]), []
    for _ in range(3 * (AHEAD_MAX + 1)):
        source = SLOW if lanes.may_take(SLOW, [SLOW, FAST], under_way=False) else FAST
        lanes.note_taken(source)
        order.append(source)
    assert order == ([FAST] * AHEAD_MAX + [SLOW]) * 3


def test_partitions_that_wait_take_turns_among_themselves() -> None:
    lanes, order = Lanes(["slow"]), []
    for _ in range(4):
        (source,) = (each for each in (SLOW, SLOW_TOO) if lanes.may_take(each, [SLOW, SLOW_TOO], under_way=False))
        lanes.note_taken(source)
        order.append(source)
    assert order == [SLOW, SLOW_TOO, SLOW, SLOW_TOO]


def test_a_partition_that_has_nothing_holds_up_no_other() -> None:
    lanes = Lanes(["slow"])
    lanes.note_taken(SLOW)
    assert lanes.may_take(SLOW, [SLOW], under_way=False)


def test_what_waits_is_held_at_a_bound_and_let_go_at_half_of_it() -> None:
    lanes, every = Lanes(["slow"]), [FAST, SLOW, SLOW_TOO]
    assert hold(lanes, every, HELD_BYTES_MAX - 1) == [set(), set()]
    assert hold(lanes, every, HELD_BYTES_MAX) == [{SLOW, SLOW_TOO}, set()]
    assert hold(lanes, every, HELD_BYTES_MAX // 2) == [set(), set()]
    assert hold(lanes, every, HELD_BYTES_MAX // 2 - 1) == [set(), {SLOW, SLOW_TOO}]


def test_a_partition_that_went_away_is_held_anew_when_it_comes_back() -> None:
    lanes = Lanes(["slow"])
    lanes.hold([SLOW, SLOW_TOO], HELD_BYTES_MAX)
    lanes.forget([SLOW])
    assert hold(lanes, [SLOW_TOO], HELD_BYTES_MAX) == [set(), set()]
    assert hold(lanes, [SLOW, SLOW_TOO], HELD_BYTES_MAX) == [{SLOW}, set()]


def test_without_a_topic_that_waits_nothing_is_ever_held() -> None:
    assert hold(Lanes(), [FAST, SLOW], 10 * HELD_BYTES_MAX) == [set(), set()]
    assert not Lanes().is_behind(SLOW)
