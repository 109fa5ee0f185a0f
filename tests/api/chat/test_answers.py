"""The log of an answer: whoever reads, however slowly or often cut, gets every event once and in order."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import Any

import pytest

from api.chat.answers import ANSWER_BYTES_MAX, BATCH_MAX, Answer
from api.chat.encoding import frames
from api.chat.schemas import ChatEvent, Citations, TextDelta
from connectors.llm.sse import SseDecoder
from runtime.errors import DependencyUnavailable, TooLarge
from runtime.ids import new_id

WAIT_S = 60.0


def delta(number: int) -> TextDelta:
    return TextDelta(f"word {number} ")


async def drain(answer: Answer, after: int = -1) -> list[tuple[int, ChatEvent]]:
    cursor, found = answer.open(after), []
    while not cursor.at_end:
        found += await cursor.read(WAIT_S)
    cursor.close()
    return found


async def write(answer: Answer, count: int, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(count):
        answer.append(delta(number))
        if chance.random() < 0.3:
            await asyncio.sleep(0)
    answer.end()


@pytest.mark.parametrize("seed", range(20))
async def test_readers_who_come_and_are_cut_at_random_get_each_event_once(seed: int) -> None:
    chance, answer = random.Random(seed), Answer(new_id())
    count = 3 * BATCH_MAX

    async def read() -> list[tuple[int, ChatEvent]]:
        found: list[tuple[int, ChatEvent]] = []
        for _ in range(50):
            cursor = answer.open(found[-1][0] if found else -1)
            for _ in range(chance.randrange(4)):
                found += await cursor.read(0.001)
                await asyncio.sleep(0)
            cursor.close()
        return found + await drain(answer, found[-1][0] if found else -1)

    readers = [asyncio.create_task(read()) for _ in range(5)]
    await write(answer, count, seed)
    for found in await asyncio.wait_for(asyncio.gather(*readers), 60):
        assert found == [(number, delta(number)) for number in range(count)]


async def test_a_reader_who_never_reads_holds_up_nobody() -> None:
    answer = Answer(new_id())
    answer.open()
    await write(answer, 1_000, 0)
    assert len(await drain(answer)) == 1_000


async def test_only_the_last_who_leaves_stops_it_and_only_before_the_end() -> None:
    answer, stopped = Answer(new_id()), []
    answer.on_unread = lambda: stopped.append(True)
    first, second = answer.open(), answer.open()
    first.close()
    first.close()
    assert not stopped
    second.close()
    assert stopped == [True]
    late = answer.open()
    answer.end()
    late.close()
    assert stopped == [True]


async def test_what_went_wrong_before_anything_was_shown_is_raised() -> None:
    answer = Answer(new_id())
    waiting = asyncio.create_task(answer.first())
    await asyncio.sleep(0)
    answer.end(DependencyUnavailable("away"))
    with pytest.raises(DependencyUnavailable):
        await waiting
    answer.end()
    assert answer.failure, "the first end stands"


async def test_what_goes_wrong_later_is_an_event() -> None:
    answer = Answer(new_id())
    answer.append(delta(0))
    answer.end(DependencyUnavailable("away"))
    await answer.first()
    assert await drain(answer) == [(0, delta(0))]


async def test_text_is_bounded_and_what_ends_it_is_taken() -> None:
    answer = Answer(new_id())
    answer.append(TextDelta("x" * (ANSWER_BYTES_MAX - 100)))
    with pytest.raises(TooLarge):
        answer.append(TextDelta("x" * 100))
    answer.append(Citations([], []))


async def test_silence_is_said_and_the_end_is_not_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    from api import sse

    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.01)
    answer = Answer(new_id())
    found: list[bytes] = []
    async with aclosing(_listen(answer)) as heard:
        async for frame in heard:
            found.append(frame)
            if len(found) == 2:
                answer.append(delta(0))
                answer.end()
    assert found[:2] == [sse.KEEP_ALIVE] * 2
    (event,) = SseDecoder().feed(b"".join(found))
    assert event.id == f"{answer.answer_id}.0"


def _listen(answer: Answer) -> Any:
    return frames(answer.open())
