"""The log of an answer in little memory reads like a list."""

from __future__ import annotations

import random

import pytest

from api.chat.event_log import BLOCK_EVENTS, TAIL_EVENTS, EventLog
from api.chat.schemas import ChatEvent, Citations, ReasoningDelta, TextDelta


def make_event(dice: random.Random) -> ChatEvent:
    if dice.random() < 0.02:
        others: list[ChatEvent] = [Citations([1], []), ReasoningDelta("so"), TextDelta("")]
        return dice.choice(others)
    length = dice.choice([1, 4, 20, 255, 256, 5_000])
    return TextDelta("".join(dice.choices("a é€𝄞", k=length)))


@pytest.mark.parametrize("seed", range(20))
def test_it_reads_like_a_list(seed: int) -> None:
    dice, log, events = random.Random(seed), EventLog(), list[ChatEvent]()
    for _ in range(dice.choice([1, BLOCK_EVENTS, TAIL_EVENTS, 300])):
        event = make_event(dice)
        log.append(event)
        events.append(event)
        number, count = dice.randrange(len(events) + 2), dice.choice([None, 1, BLOCK_EVENTS, 100])
        assert len(log) == len(events)
        assert [*log.read(number, count)] == events[number : None if count is None else number + count]
    assert [*log.read(0)] == events


def test_a_copy_goes_on_apart() -> None:
    log = EventLog()
    for number in range(3 * TAIL_EVENTS):
        log.append(TextDelta(str(number)))
    other = log.copy()
    log.append(TextDelta("mine"))
    other.append(TextDelta("yours"))
    assert [*log.read(3 * TAIL_EVENTS)] == [TextDelta("mine")]
    assert [*other.read(3 * TAIL_EVENTS)] == [TextDelta("yours")]
    assert [*log.read(0, 5)] == [*other.read(0, 5)]
