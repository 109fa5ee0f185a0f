"""The providers against a server that speaks their protocols: one suite, whatever the dialect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest

from connectors.llm import Delta, Done, Event, Failed, Provider, Started, Thought, Tokens, TokenUsage, build
from connectors.llm.fake.frames import write_frames
from connectors.llm.fake.requests import FakeQuestion, name_dialect
from connectors.llm.prompts import ask
from runtime.errors import AdriaticError, DependencyUnavailable
from runtime.settings import LlmSettings
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import SILENT_S, StandIn, Step, standing_in
from tests.patience import PATIENCE_S

PROMPT = ask("Be brief.", "Why?", (), 100)


@dataclass(frozen=True)
class Dialect:
    name: str
    model: str
    start: bytes
    error: bytes
    end: bytes
    tokens: Tokens
    path: str

    def text(self, text: str) -> bytes:
        write = {
            "anthropic": recorded.anthropic_text,
            "openai": recorded.openai_text,
            "gemini": recorded.gemini_text,
        }
        return write[self.name](text)

    def provider(self, url: str, **times: Any) -> Provider:
        base = f"{url}/v1" if self.name == "openai" else url
        settings = {"provider": self.name, "model": "some-model", "base_url": base, "api_key": "key-1", **times}
        return build(LlmSettings.model_validate(settings))


ANTHROPIC = Dialect(
    "anthropic",
    "claude-test-1",
    recorded.ANTHROPIC_START + recorded.ANTHROPIC_PING,
    recorded.ANTHROPIC_ERROR,
    recorded.ANTHROPIC_END,
    Tokens(input_uncached=25, cache_read=1000, cache_write_5m=200, cache_write_1h=100, output_visible=15),
    "/v1/messages",
)
OPENAI = Dialect(
    "openai",
    "gpt-test-1",
    recorded.OPENAI_START,
    recorded.OPENAI_ERROR,
    recorded.OPENAI_END,
    Tokens(input_uncached=325, cache_read=1000, output_visible=15, reasoning=25),
    "/v1/chat/completions",
)
GEMINI = Dialect(
    "gemini",
    "gemini-test-1",
    recorded.gemini_text(""),
    recorded.GEMINI_ERROR,
    recorded.GEMINI_END,
    Tokens(input_uncached=325, cache_read=1000, output_visible=15, reasoning=25),
    "/v1beta/models/some-model:streamGenerateContent",
)


@pytest.fixture(params=[ANTHROPIC, OPENAI, GEMINI], ids=lambda dialect: dialect.name)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    found: Dialect = request.param
    return found


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    async with standing_in() as running:
        yield running


async def events_of(provider: Provider) -> list[Event]:
    async with aclosing(provider.stream(PROMPT)) as events:
        found = [event async for event in events]
    await provider.close()
    return found


def failure(events: list[Event]) -> AdriaticError:
    assert sum(isinstance(event, Done | Failed) for event in events) == 1
    last = events[-1]
    assert isinstance(last, Failed)
    return last.failure.error()


async def test_a_whole_answer(dialect: Dialect, server: StandIn) -> None:
    whole = dialect.start + dialect.text("Because ") + dialect.text("it is so [1].") + dialect.end
    server.script = [whole[:70], 0.01, whole[70:333], 0.01, whole[333:]]
    started, *rest = await events_of(dialect.provider(server.url))
    assert started == Started(dialect.model)
    assert "".join(event.text for event in rest if isinstance(event, Delta)) == "Because it is so [1]."
    assert [event for event in rest if isinstance(event, TokenUsage)][-1] == TokenUsage(dialect.tokens, complete=True)
    assert rest[-1] == Done("stop")


async def test_what_is_asked(dialect: Dialect, server: StandIn) -> None:
    server.script = [dialect.start, dialect.text("x"), dialect.end]
    await events_of(dialect.provider(server.url))
    (asked,), (headers,) = server.requests, server.seen_headers
    assert asked["path"] == dialect.path
    assert dialect is GEMINI or (asked["stream"], asked["model"]) == (True, "some-model")
    assert "key-1" in headers["x-goog-api-key" if dialect is GEMINI else "authorization"]
    assert "Be brief." in str(asked)


async def test_the_input_is_known_when_an_answer_of_anthropic_is_cut(server: StandIn) -> None:
    server.script = [recorded.ANTHROPIC_START, recorded.anthropic_text("Half"), recorded.ANTHROPIC_ERROR]
    events = await events_of(ANTHROPIC.provider(server.url))
    (usage,) = [event for event in events if isinstance(event, TokenUsage)]
    assert not usage.complete
    assert usage.tokens.input_uncached == 25


async def test_an_error_after_the_headers(dialect: Dialect, server: StandIn) -> None:
    server.script = [dialect.start, dialect.error]
    events = await events_of(dialect.provider(server.url))
    assert not [event for event in events if isinstance(event, Delta)]
    assert "cannot answer now" in failure(events).detail


async def test_an_error_in_the_middle(dialect: Dialect, server: StandIn) -> None:
    server.script = [dialect.start, dialect.text("Half"), dialect.error]
    events = await events_of(dialect.provider(server.url))
    assert Delta("Half") in events
    assert isinstance(failure(events), DependencyUnavailable)


async def test_an_answer_without_an_end(dialect: Dialect, server: StandIn) -> None:
    server.script = [dialect.start, dialect.text("Half")]
    assert "in the middle" in failure(await events_of(dialect.provider(server.url))).detail


async def test_nonsense(dialect: Dialect, server: StandIn) -> None:
    server.script = [dialect.start, b"data: {nonsense\n\n"]
    assert "not understood" in failure(await events_of(dialect.provider(server.url))).detail


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "accept the key"), (404, "refuses the request"), (429, "no more requests"), (500, "now"), (529, "now")],
)
async def test_a_refusal(dialect: Dialect, server: StandIn, status: int, said: str) -> None:
    server.status, server.body = status, {"error": {"type": "x", "message": "reason with sk-secret"}}
    server.headers = {"retry-after": "7"}
    error = failure(await events_of(dialect.provider(server.url)))
    assert said in error.detail
    assert len(server.requests) == 1, "the caller tries again"
    assert ("sk-secret" in error.detail) == (status != 401)
    assert ("7 s" in error.hint) == (status == 429)


async def test_nobody_listens(dialect: Dialect) -> None:
    error = failure(await events_of(dialect.provider("http://127.0.0.1:1")))
    assert "does not answer" in error.detail


@pytest.mark.parametrize("begun", [False, True])
async def test_silence(dialect: Dialect, server: StandIn, begun: bool) -> None:
    server.script = [dialect.start, *([dialect.text("Half")] if begun else []), SILENT_S]
    events = await events_of(dialect.provider(server.url, first_token_s=0.2, idle_s=0.3))
    assert ("fell silent" if begun else "did not begin") in failure(events).detail
    await asyncio.wait_for(server.closed.wait(), PATIENCE_S)


async def test_a_thought_begins_an_answer(dialect: Dialect, server: StandIn) -> None:
    frames = write_frames(FakeQuestion(name_dialect(dialect.path), "m", 1))
    server.script = [dialect.start, frames.think("Hm."), SILENT_S]
    events = await events_of(dialect.provider(server.url, idle_s=0.3))
    assert Thought("Hm.") in events
    assert "fell silent" in failure(events).detail


async def test_pings_do_not_count_as_an_answer(server: StandIn) -> None:
    pings: list[Step] = [recorded.ANTHROPIC_PING, 0.05] * 40
    server.script = [recorded.ANTHROPIC_START, *pings]
    assert "did not begin" in failure(await events_of(ANTHROPIC.provider(server.url, first_token_s=0.3))).detail


async def test_an_answer_that_never_ends(dialect: Dialect, server: StandIn) -> None:
    words: list[Step] = [dialect.text("x"), 0.05] * 60
    server.script = [dialect.start, *words]
    assert "longer than" in failure(await events_of(dialect.provider(server.url, total_s=0.5))).detail


@pytest.mark.parametrize("begun", [False, True])
async def test_cancelling_closes_the_connection(dialect: Dialect, server: StandIn, begun: bool) -> None:
    server.script = [dialect.start, *([dialect.text("Half")] if begun else []), SILENT_S]
    provider = dialect.provider(server.url)
    text = asyncio.Event()

    async def read() -> None:
        async with aclosing(provider.stream(PROMPT)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    text.set()

    reading = asyncio.create_task(read())
    await asyncio.wait_for((text if begun else server.asked).wait(), PATIENCE_S)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await asyncio.wait_for(server.closed.wait(), PATIENCE_S)
    await provider.close()


async def test_closing_the_generator_closes_the_connection(dialect: Dialect, server: StandIn) -> None:
    server.script = [dialect.start, dialect.text("Half"), SILENT_S]
    provider = dialect.provider(server.url)
    events = provider.stream(PROMPT)
    async for event in events:
        if isinstance(event, Delta):
            break
    await events.aclose()
    await asyncio.wait_for(server.closed.wait(), PATIENCE_S)
    await provider.close()
