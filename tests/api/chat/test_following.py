"""An answer that one API process writes and another one is asked for: a second reader gets all of it, once and in
order, while it is being written; and how far behind that reader is, is printed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import quantiles

import httpx
import pytest

from connectors.llm.sse import SseDecoder
from runtime.settings import Settings
from tests.api.chat.test_kept import QUESTION, answer_of, listen, paced, text_of, two_processes
from tests.api.search.corpus import Corpus
from tests.api.world import Caller

pytestmark = pytest.mark.stack

WORDS = [f"word{number} " for number in range(100)]
GAP_S = 0.05


async def times_of(caller: Caller, path: str) -> dict[str, float]:
    """When each event came, by its id, over one connection."""
    heard: dict[str, float] = {}
    decoder = SseDecoder()
    headers = {"authorization": f"Bearer {caller.token}"}
    async with caller.http.stream("GET", path, headers=headers, timeout=httpx.Timeout(60)) as response:
        assert response.status_code == 200, await response.aread()
        async for part in response.aiter_raw():
            heard |= {event.id: time.monotonic() for event in decoder.feed(part)}
    return heard


async def test_a_second_reader_of_another_process_follows_the_answer(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    async with two_processes(fresh_database, corpus, tmp_path) as world:
        world.provider.script = paced(WORDS, GAP_S)
        first = await listen(world.one, "/v1/chat/stream", QUESTION, events_max=3)
        path = f"/v1/chat/answers/{answer_of(first[0])}/stream"
        here, there = await asyncio.gather(times_of(world.one, path), times_of(world.two, path))
        assert list(there) == list(here), "each event once, and in order"
        again = await listen(world.two, path)
        assert text_of(again) == "".join(WORDS)
        assert len(world.provider.requests) == 1, "nobody was asked twice"
        # What was there before the second reader came is not behind.
        behind = [there[each] - here[each] for each in list(here)[len(here) // 4 :]]
        cuts = quantiles(behind, n=20)
        print(
            f"behind the first reader: p50 {cuts[9] * 1000:.0f} ms, p95 {cuts[18] * 1000:.0f} ms, "
            f"at most {max(behind) * 1000:.0f} ms"
        )
        assert len([each for each in list(there) if there[each] < here[list(here)[-1]]]) > len(there) // 2, (
            "the other reader follows while it is written, and does not get all of it at the end"
        )
