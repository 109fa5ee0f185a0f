"""Pieces of text that come together are one event; each read of a response has its time, by one timer for all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest
from aiohttp import web

from api.spend.purse import LOOK_BYTES
from connectors.llm import CallBegun, CallPiece, Delta, Done, Event, Started, Thought, Tokens, TokenUsage
from connectors.llm.remote import FAST_READS, TOGETHER_BYTES_MAX, TOGETHER_S, ReadPace, join
from connectors.llm.wire import ProviderResponse
from runtime.clock import ManualClock

OTHERS: tuple[Event, ...] = (
    Started("m"),
    Thought("hm"),
    CallBegun(0, "a", "search"),
    CallPiece(0, "{}"),
    TokenUsage(Tokens(), complete=False),
)
PIECES = ("a", " word", "ä", "的", "é" * 200, "x" * 1_000, "\ud800", "")


def size(text: str) -> int:
    return len(text.encode(errors="replace"))


def spell(events: list[Event]) -> list[Event | str]:
    """What is told, without where pieces of text end."""
    told: list[Event | str] = []
    for event in events:
        if not isinstance(event, Delta):
            told.append(event)
        elif told and isinstance(told[-1], str):
            told[-1] += event.text
        else:
            told.append(event.text)
    return told


@pytest.mark.parametrize("seed", range(50))
def test_nothing_but_the_bounds_of_pieces_changes(seed: int) -> None:
    dice = random.Random(seed)
    events: list[Event] = [
        dice.choice(OTHERS) if dice.random() < 0.2 else Delta(dice.choice(PIECES)) for _ in range(100)
    ]
    joined = [*join(events)]
    assert spell(joined) == spell(events)
    largest = max(size(event.text) for event in events if isinstance(event, Delta))
    assert all(size(event.text) <= max(TOGETHER_BYTES_MAX, largest) for event in joined if isinstance(event, Delta))
    assert len(joined) < len(events)


def test_a_purse_looks_after_each_joined_event() -> None:
    assert TOGETHER_BYTES_MAX <= LOOK_BYTES


def test_what_goes_wrong_goes_wrong_behind_the_text_before_it() -> None:
    def broken() -> Iterator[Event]:
        yield Delta("so ")
        yield Delta("far")
        raise msgspec.DecodeError("no JSON")

    heard: list[Event] = []
    with pytest.raises(msgspec.DecodeError):
        heard.extend(join(broken()))
    assert heard == [Delta("so far")]
    assert [*join([Delta("a"), Done("stop")])] == [Delta("a"), Done("stop")]


# --- what comes faster than anybody reads -----------------------------------------------------------------------------


def waits_of(pace: ReadPace, clock: ManualClock, gap_s: float, count: int) -> list[float]:
    """How long each read is put off when pieces come every `gap_s`."""
    waits: list[float] = []
    for _ in range(count):
        waited_s = waits[-1] if waits else 0.0
        clock.sleep(max(gap_s, waited_s))  # a piece that came meanwhile is there at once
        waits.append(pace.next_wait_s())
    return waits


def test_what_comes_fast_is_read_together_and_nothing_else_waits() -> None:
    clock = ManualClock()
    pace = ReadPace(clock)
    assert not any(waits_of(pace, clock, TOGETHER_S * 1.1, 100))
    fast = waits_of(pace, clock, TOGETHER_S / 10, FAST_READS * 2)
    assert not any(fast[:FAST_READS])
    assert all(fast[FAST_READS + 1 :])
    assert not any(waits_of(pace, clock, TOGETHER_S * 3, 100)[1:]), "it is slow again"


def test_a_short_answer_waits_for_nothing() -> None:
    clock = ManualClock()
    assert not any(waits_of(ReadPace(clock), clock, 0.0, FAST_READS))


# --- the time of a read -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def responding(pauses_s: list[float]) -> AsyncIterator[ProviderResponse]:
    """A response whose pieces come after these pauses."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for pause_s in pauses_s:
            await asyncio.sleep(pause_s)
            await response.write(b"x")
        return response

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}/") as response:
            opened = ProviderResponse(response)
            yield opened
            opened.close()
    finally:
        await runner.cleanup()


async def test_each_read_has_its_own_time() -> None:
    async with responding([0.1] * 8) as response:
        read = b"".join([await response.read(10.0 if number < 4 else 5.0) for number in range(8)])
        assert read == b"x" * 8
        assert await response.read(5.0) == b""


async def test_a_read_that_is_late_says_so_and_the_next_one_reads_on() -> None:
    async with responding([0.0, 1.0]) as response:
        assert await response.read(30.0) == b"x"
        with pytest.raises(TimeoutError):
            await response.read(0.05)
        assert await response.read(30.0) == b"x"
        task = asyncio.current_task()
        assert task
        assert task.cancelling() == 0


async def test_a_reader_who_is_cancelled_is_cancelled_and_not_late() -> None:
    async with responding([0.0, 30.0]) as response:
        await response.read(30.0)
        reading = asyncio.create_task(response.read(30.0))
        await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading


async def test_a_response_that_is_closed_leaves_no_timer() -> None:
    async with responding([0.0, 0.2]) as response:
        await response.read(30.0)
        await response.read(30.0)
        response.close()
        await asyncio.sleep(0.01)
        assert response._timer._handle is None
