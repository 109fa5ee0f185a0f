"""Starts of answers: let in by beats, held back where the loop is late, bounded, fair, and refused with a time to come
again."""

from __future__ import annotations

import asyncio
import math
from typing import Any
from uuid import UUID

import pytest

from api.chat.starting import (
    BEAT_S,
    IN_TIME_S,
    LATE_S,
    STARTS_FIRST,
    STARTS_MAX,
    UNPACED,
    StartPacer,
    StartRate,
    StartTurns,
)
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import DependencyUnavailable, RateLimited
from runtime.settings import LlmSettings
from tests.patience import PATIENCE_S

ONE, TWO = (UUID(int=number) for number in (1, 2))
MANY = 10_000


async def settled() -> None:
    """Every task that can go on has gone on."""
    for _ in range(5):
        await asyncio.sleep(0)


def make_turns(waiting_max: int = MANY, wait_s: float = PATIENCE_S, running: int = MANY) -> StartTurns:
    """The turns of a process in which so many answers run: beyond the first beat, which knows of none."""
    turns = StartTurns(waiting_max, wait_s, lambda: running)
    turns.beat(0.0)
    return turns


class Herd:
    """Callers who come at once."""

    def __init__(self, turns: StartTurns, count: int, tenant_id: UUID = ONE) -> None:
        self.began = 0
        self.tasks = [asyncio.create_task(self._begin(turns, tenant_id)) for _ in range(count)]

    async def _begin(self, turns: StartTurns, tenant_id: UUID) -> None:
        await turns.take(tenant_id)
        self.began += 1

    async def end(self) -> list[BaseException | None]:
        for task in self.tasks:
            task.cancel()
        return await asyncio.gather(*self.tasks, return_exceptions=True)


def test_the_rate_grows_while_it_is_used_and_the_loop_is_in_time_and_halves_when_it_is_late() -> None:
    rate = StartRate()
    rate.hear(0.0, used=False)
    assert rate.per_beat == STARTS_FIRST, "who asks for nothing needs no more"
    rate.hear((IN_TIME_S + LATE_S) / 2, used=True)
    assert rate.per_beat == STARTS_FIRST, "between both bounds it stays"
    for _ in range(200):
        rate.hear(IN_TIME_S, used=True)
    assert rate.per_beat == STARTS_MAX
    rate.hear(LATE_S * 1.01, used=False)
    assert rate.per_beat == STARTS_MAX // 2
    for _ in range(200):
        rate.hear(1.0, used=True)
    assert rate.per_beat == 1, "never nobody: then nothing would be learnt"


@pytest.mark.parametrize("cost_s", [0.0005, 0.002, 0.008])
def test_the_rate_finds_what_a_loop_bears(cost_s: float) -> None:
    """A loop whose work at a beat takes what its starts cost: after some beats it is not late for long, and is used."""
    rate, lates, starts = StartRate(), [], 0
    for _ in range(1_000):
        late_s = rate.per_beat * cost_s
        lates.append(late_s)
        starts += rate.per_beat
        rate.hear(late_s, used=True)
    settled = sorted(lates[100:])
    assert settled[len(settled) * 95 // 100] <= LATE_S + cost_s
    took_s = sum(BEAT_S + late for late in lates)
    assert starts / took_s > 0.15 / cost_s, "a good part of what it could begin if it did nothing else"


async def test_a_herd_is_let_in_by_beats_and_all_of_it_begins() -> None:
    turns = make_turns()
    herd = Herd(turns, 500)
    await settled()
    assert herd.began == STARTS_FIRST
    beats = 0
    while herd.began < 500:
        before = herd.began
        turns.beat(0.0)
        await settled()
        assert before < herd.began <= before + STARTS_MAX
        beats += 1
    assert 10 < beats < 100
    await asyncio.gather(*herd.tasks)
    turns.beat(0.0)
    assert not turns.used, "there is nothing to give back"


async def test_a_late_loop_lets_in_one_at_a_beat() -> None:
    turns = make_turns()
    for _ in range(10):
        turns.beat(1.0)
    herd = Herd(turns, 20)
    await settled()
    assert herd.began == 1
    for count in range(2, 6):
        turns.beat(1.0)
        await settled()
        assert herd.began == count
    await herd.end()


async def test_where_few_run_nobody_waits_however_late_the_loop_is() -> None:
    turns = make_turns(running=UNPACED - 10)
    for _ in range(10):
        turns.beat(1.0)
    herd = Herd(turns, 10)
    await settled()
    assert herd.began == 10
    await herd.end()


async def test_who_finds_the_queue_full_is_told_when_to_come_again() -> None:
    turns = make_turns(waiting_max=200)
    for _ in range(10):
        turns.beat(1.0)
    herd = Herd(turns, 201)
    await settled()
    with pytest.raises(RateLimited) as refused:
        await turns.take(ONE)
    assert refused.value.coordinates["retry_after_s"] == math.ceil(200 * BEAT_S)
    other = Herd(turns, 1, TWO)
    await settled()
    assert [type(task.exception()) for task in herd.tasks if task.done() and task.exception()] == [RateLimited]
    await asyncio.gather(herd.end(), other.end())


async def test_who_finds_the_queue_full_of_others_is_told_so() -> None:
    turns = make_turns(waiting_max=1)
    herd = Herd(turns, STARTS_FIRST + 1)
    await settled()
    with pytest.raises(DependencyUnavailable) as full:
        await turns.take(TWO)
    assert full.value.coordinates["retry_after_s"] == 1
    await herd.end()


async def test_who_has_waited_for_long_enough_is_told_so() -> None:
    turns = make_turns(wait_s=0.01)
    herd = Herd(turns, STARTS_FIRST)
    await settled()
    assert herd.began == STARTS_FIRST
    with pytest.raises(DependencyUnavailable) as late:
        await turns.take(ONE)
    assert late.value.coordinates["retry_after_s"] == 1


async def test_two_tenants_begin_in_turn() -> None:
    turns = make_turns()
    many, few = Herd(turns, 400), Herd(turns, 20, TWO)
    await settled()
    while few.began < 20:
        turns.beat(LATE_S)
        await settled()
    assert many.began < 60, "whoever came with many does not keep the other waiting"
    await asyncio.gather(many.end(), few.end())


async def test_whoever_leaves_the_queue_takes_nobodys_turn() -> None:
    turns = make_turns()
    herd = Herd(turns, STARTS_FIRST + 50)
    await settled()
    for task in herd.tasks[STARTS_FIRST:]:
        task.cancel()
    await settled()
    other = Herd(turns, STARTS_FIRST)
    turns.beat(LATE_S)
    await settled()
    assert other.began == STARTS_FIRST
    await asyncio.gather(herd.end(), other.end())


# --- places to prepare ------------------------------------------------------------------------------------------------


def make_pacer(places: int, **llm: Any) -> StartPacer:
    return StartPacer(LlmSettings(**llm), SYSTEM_CLOCK, lambda: 0, places)


async def test_no_more_are_prepared_at_a_time_than_there_are_places() -> None:
    pacer, preparing, most = make_pacer(3), 0, 0

    async def prepare(tenant_id: UUID) -> None:
        nonlocal preparing, most
        place = await pacer.take(tenant_id)
        preparing += 1
        most = max(most, preparing)
        await asyncio.sleep(0.001)
        preparing -= 1
        place.release()

    await asyncio.gather(*(prepare(ONE if number % 10 else TWO) for number in range(200)))
    pacer.close()
    assert most == 3


async def test_a_place_is_handed_on_by_who_leaves_in_the_queue() -> None:
    pacer = make_pacer(1)
    held = await pacer.take(ONE)
    gone, stays = (asyncio.create_task(pacer.take(ONE)) for _ in range(2))
    await settled()
    assert [gone.done(), stays.done()] == [False, False]
    gone.cancel()
    held.release()
    await asyncio.wait({stays}, timeout=PATIENCE_S)
    stays.result().release()
    assert pacer.free
    pacer.close()


async def test_who_finds_no_place_in_time_is_told_when_to_come_again() -> None:
    pacer = make_pacer(1, start_wait_s=0.01)
    held = await pacer.take(ONE)
    with pytest.raises(DependencyUnavailable, match="the preparing of an answer") as caught:
        await pacer.take(TWO)
    assert caught.value.coordinates["retry_after_s"] == 1
    held.release()
    assert pacer.free
    pacer.close()
