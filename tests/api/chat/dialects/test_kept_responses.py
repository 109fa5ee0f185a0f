"""Responses that are kept: what is shown of each, from which event on, and OpenAI's SDK over two processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import openai
import pytest

from api.chat import encoding
from api.chat.dialects import kept_responses, openai_responses
from api.chat.dialects.openai_responses import ResponseEncoder
from api.chat.schemas import ChatEvent, Reset
from api.problems import Problem
from connectors.llm.sse import SseDecoder
from runtime.errors import NotFound
from runtime.ids import new_id, read_time_s
from runtime.settings import Settings
from tests.api.chat.dialects.answers import ANSWERS, ID
from tests.api.chat.test_kept import WORDS, Two, paced, two_processes
from tests.api.search.corpus import Corpus
from tests.connectors.llm import stand_in as recorded
from tests.databases import ask as query
from tests.patience import PATIENCE_S, soon

QUESTION = "Why no dual write?"
STOPPED = Problem("urn:adriatic:problem:stopped", "Conflict", 409, "stopped", "the answer was stopped", "/", "r")


def numbers(content: bytes) -> list[int]:
    return [json.loads(event.data)["sequence_number"] for event in SseDecoder().feed(content)]


def encode_all(events: list[ChatEvent], after: int = -1) -> bytes:
    encoder = ResponseEncoder(ID, stores=True, after=after)
    return b"".join(encoder.encode(number, event) for number, event in enumerate(events))


@pytest.mark.parametrize("name", ANSWERS)
def test_a_reader_who_comes_back_gets_the_rest_and_nothing_twice(name: str) -> None:
    # As they are written down, and read again.
    events = [encoding.restore(encoding.store(event)) for event in ANSWERS[name]]
    whole = encode_all(events)
    assert whole == encode_all(list(ANSWERS[name]))
    count = len(numbers(whole))
    assert numbers(whole) == list(range(count))
    for after in range(count if name == "broken" else count + 1):
        rest = encode_all(events, after)
        if after == count - 1 and name == "broken":
            assert numbers(rest) == [count], "whoever comes back is told again"
        else:
            assert whole.endswith(rest)
            assert numbers(rest) == list(range(after + 1, count))


@pytest.mark.parametrize("after", [0, 3, 40])
def test_a_reader_who_has_more_than_is_left_is_told_the_end(after: int) -> None:
    """Of an answer whose process died nothing may be written down but why."""
    rest = encode_all([ANSWERS["broken"][-1]], after)
    (event,) = SseDecoder().feed(rest)
    assert (event.name, json.loads(event.data)["sequence_number"]) == ("error", after + 1)


def test_what_is_shown_of_a_response() -> None:
    grounded, broken = list(ANSWERS["grounded"]), list(ANSWERS["broken"])
    whole = openai_responses.show(grounded, ID, ended=True)
    once = json.loads(openai_responses.render(grounded, ID, stores=True))
    assert msgspec.json.decode(msgspec.json.encode(whole)) == once
    assert (whole.status, whole.error, whole.store) == ("completed", None, True)
    running = openai_responses.show(grounded[:3], ID, ended=False)
    assert (running.status, running.usage) == ("in_progress", None)
    assert openai_responses.show([], ID, ended=False).status == "in_progress"
    failed = openai_responses.show(broken, ID, ended=True)
    assert failed.status == "failed"
    assert failed.error
    assert failed.output, "what was shown before"
    only = openai_responses.show(broken[-1:], ID, ended=True)
    assert (only.status, only.error, only.output) == ("failed", failed.error, [])
    stopped = openai_responses.show([*grounded[:3], STOPPED], ID, ended=True)
    assert (stopped.status, stopped.error) == ("cancelled", None)
    assert stopped.output == running.output
    assert openai_responses.show([], ID, ended=True).status == "failed"


def test_what_was_declared_void_is_not_shown() -> None:
    grounded = list(ANSWERS["grounded"])
    again = openai_responses.show([*grounded[:3], Reset("overloaded", new_id()), *grounded], ID, ended=True)
    assert again == openai_responses.show(grounded, ID, ended=True)


@pytest.mark.parametrize("wrong", ["", "resp_", str(ID), f"resp_{ID}", f"resp_{ID.hex.upper()}", f"msg_{ID.hex}", "x"])
def test_what_is_no_id_is_not_found(wrong: str) -> None:
    assert kept_responses.read_id(f"resp_{ID.hex}") == ID
    with pytest.raises(NotFound):
        kept_responses.read_id(wrong)


def test_an_id_says_when_it_was_made() -> None:
    before = int(datetime.now(UTC).timestamp())
    assert before <= read_time_s(new_id()) <= int(datetime.now(UTC).timestamp())
    assert read_time_s(UUID("0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f")) == 0x0199F0C2A1B2 // 1000


# --- the SDK --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def sdks(settings: Settings, corpus: Corpus, folder: Path) -> AsyncIterator[tuple[Two, list[openai.AsyncOpenAI]]]:
    """Two processes; one SDK of one user for each of them, and one of another user."""
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(two_processes(settings, corpus, folder))
        callers = [(0, world.caller(0, "ada")), (1, world.caller(1, "ada")), (0, world.caller(0, "mallory"))]
        made = [
            await stack.enter_async_context(
                openai.AsyncOpenAI(base_url=f"{world.servers[at].url}/v1", api_key=caller.token, max_retries=0)
            )
            for at, caller in callers
        ]
        yield world, made


async def read_some(stream: Any, count: int) -> list[Any]:
    """The first events; then the connection is cut."""
    read: list[Any] = []
    async with stream:
        async for event in stream:
            read.append(event)
            if len(read) == count:
                break
    return read


async def read_rest(sdk: openai.AsyncOpenAI, response_id: str, after: int) -> list[Any]:
    stream: Any = await sdk.responses.retrieve(response_id, stream=True, starting_after=after)
    async with stream:
        return [event async for event in stream]


@pytest.mark.stack
async def test_a_stream_goes_on_through_another_process_and_is_there_afterwards(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    async with sdks(fresh_database, corpus, tmp_path) as (world, (one, two, mallory)):
        world.provider.script = paced(WORDS[:60])
        stream = await one.responses.create(model="m", input=QUESTION, stream=True, background=True)
        first = await read_some(stream, 7)
        response_id = first[0].response.id
        middle: Any = await two.responses.retrieve(response_id, stream=True, starting_after=6)
        second = await read_some(middle, 5)
        rest = await read_rest(one, response_id, second[-1].sequence_number)
        heard = [*first, *second, *rest]
        assert [event.sequence_number for event in heard] == list(range(len(heard)))
        assert heard[-1].type == "response.completed"
        assert len(world.provider.requests) == 1
        said = "".join(event.delta for event in heard if event.type == "response.output_text.delta")
        assert said == "".join(WORDS[:60])
        for sdk in (one, two):
            whole = await sdk.responses.retrieve(response_id)
            assert whole.to_dict() == heard[-1].response.to_dict()
            assert [event.to_dict() for event in await read_rest(sdk, response_id, 0)] == [
                event.to_dict() for event in heard[1:]
            ]
        for ask in (mallory.responses.retrieve, mallory.responses.cancel, mallory.responses.delete):
            with pytest.raises(openai.NotFoundError) as hidden:
                await ask(response_id)
            assert hidden.value.code == "not_found"
        await two.responses.delete(response_id)
        with pytest.raises(openai.NotFoundError):
            await one.responses.retrieve(response_id)


@pytest.mark.stack
async def test_a_response_is_cancelled_through_another_process(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    async with sdks(fresh_database, corpus, tmp_path) as (world, (one, two, _)):
        world.provider.script = [recorded.OPENAI_START, recorded.openai_text("Half of it"), recorded.SILENT_S]
        stream = await one.responses.create(model="m", input=QUESTION, stream=True, background=True)
        (begun, *_) = await read_some(stream, 5)
        shown = await one.responses.retrieve(begun.response.id)
        assert (shown.status, shown.output_text) == ("in_progress", "Half of it")
        stopped = await two.responses.cancel(begun.response.id)
        await asyncio.wait_for(world.provider.closed.wait(), PATIENCE_S)
        assert (stopped.status, stopped.output_text, stopped.error) == ("cancelled", "Half of it", None)
        again = await one.responses.cancel(begun.response.id)
        assert again.status == "cancelled", "one that has ended stays as it is"


@pytest.mark.stack
async def test_what_is_kept_of_each_response(fresh_database: Settings, corpus: Corpus, tmp_path: Path) -> None:
    async with sdks(fresh_database, corpus, tmp_path) as (world, (one, two, _)):
        world.provider.script = paced(["It ", "fails [1]."], 0.0)
        plain = await one.responses.create(model="adriatic", input=QUESTION)
        gone = await one.responses.create(model="m", input=QUESTION, store=False)
        assert (plain.to_dict()["store"], gone.to_dict()["store"]) == (True, False)
        world.provider.script = [recorded.OPENAI_START, recorded.openai_text("Half"), recorded.OPENAI_ERROR]
        with pytest.raises(openai.InternalServerError):
            await one.responses.create(model="m", input="broken")
        statement = "select question, answer_id from app.answers where ended_at is not null order by begun_at"
        await soon(lambda: len(query(world.settings.postgres.dsn("admin"), statement)) == 2)
        (kept, broken) = query(world.settings.postgres.dsn("admin"), statement)
        assert (kept[0], broken[0]) == (QUESTION, "broken")
        found = await two.responses.retrieve(plain.id)
        assert found.to_dict() == plain.to_dict()
        assert found.to_dict()["citations"] == {"cited": [1], "unsupported": []}
        failed = await two.responses.retrieve(f"resp_{broken[1].hex}")
        assert (failed.status, failed.output_text) == ("failed", "Half")
        assert failed.error
        assert "had an error" in failed.error.message
        with pytest.raises(openai.NotFoundError):
            await one.responses.retrieve(gone.id)
        whole = await one.responses.retrieve(plain.id, stream=False, starting_after=3)
        assert whole.to_dict() == plain.to_dict(), "it is for streams, and changes nothing else"
