"""Keys of providers that change while the process runs: whoever is refused asks again with the new one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from connectors.llm import Done, Event, Failed
from connectors.llm.fake.requests import FakeQuestion, ReceivedRequest
from connectors.llm.fake.scripts import Reply
from connectors.llm.fake.server import listen
from connectors.llm.prompts import ask
from connectors.llm.routing.router import LlmRouter
from connectors.secrets import REREAD_S_MIN, SecretStore
from runtime.clock import ManualClock
from runtime.settings import LlmSettings, SecretSettings
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import StandIn

PROMPT = ask("Be brief.", "Why?", (), 100)
SCRIPTS = {
    "anthropic": [recorded.ANTHROPIC_START, recorded.anthropic_text("Because."), recorded.ANTHROPIC_END],
    "openai": [recorded.OPENAI_START, recorded.openai_text("Because."), recorded.OPENAI_END],
    "gemini": [recorded.gemini_text("Because."), recorded.GEMINI_END],
}


class KeyedStandIn(StandIn):
    """Takes one key, and quotes any other in its refusal."""

    def __init__(self) -> None:
        super().__init__()
        self.good = "key-one"
        self.refusal = 401

    def answer(self, request: ReceivedRequest) -> tuple[FakeQuestion, Reply]:
        headers = {**request.headers}
        given = headers.get("x-goog-api-key") or headers.get("x-api-key") or headers.get("authorization", "")
        key = given.removeprefix("Bearer ")
        self.status = 200 if key == self.good else self.refusal
        self.body = {"error": {"type": "x", "message": f"key {key} is not good"}}
        return super().answer(request)


class KeyedBench:
    """A router of one model at a stand-in, whose key is in a file."""

    def __init__(self, server: KeyedStandIn, provider: str, file: Path) -> None:
        self.server = server
        self.file = file
        self.clock = ManualClock()
        file.write_text("key-one")
        base = f"{server.url}/v1" if provider == "openai" else server.url
        settings = {"provider": provider, "model": "m", "base_url": base, "api_key": f"file:{file}"}
        self.secrets = SecretStore(SecretSettings(), self.clock)
        self.router = LlmRouter(LlmSettings.model_validate(settings), self.clock, lambda: 0.0, self.secrets)
        server.script = SCRIPTS[provider]

    async def ask(self) -> list[Event]:
        call = await self.router.choose(None, PROMPT).take(UUID(int=1))
        events = []
        async for event in call.stream(PROMPT):
            call.hear(event)
            events.append(event)
        call.end()
        return events

    @property
    def state(self) -> str:
        """That of the breaker."""
        (endpoint,) = [each for each in self.router._endpoints.values() if each.title != "extractive"]
        return endpoint.breaker.state

    async def refresh(self) -> None:
        (endpoint,) = [each for each in self.router._endpoints.values() if each.title != "extractive"]
        await self.secrets.credential(endpoint.settings.api_key).refresh()


@asynccontextmanager
async def standing(provider: str, tmp_path: Path) -> AsyncIterator[KeyedBench]:
    server = KeyedStandIn()
    async with listen(server):
        bench = KeyedBench(server, provider, tmp_path / "key")
        yield bench
        await bench.router.close()


@pytest.fixture(params=["anthropic", "openai", "gemini"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[KeyedBench]:
    async with standing(request.param, tmp_path) as made:
        yield made


def failure(events: list[Event]) -> Any:
    last = events[-1]
    assert isinstance(last, Failed)
    return last.failure


async def test_a_key_that_was_changed_costs_nobody_an_answer(bench: KeyedBench) -> None:
    assert isinstance((await bench.ask())[-1], Done)
    bench.server.good = "key-two"
    bench.file.write_text("key-two")
    assert isinstance((await bench.ask())[-1], Done)
    assert len(bench.server.requests) == 3


async def test_a_key_that_is_not_taken_is_asked_with_once(bench: KeyedBench) -> None:
    bench.server.good = "key-two"
    assert failure(await bench.ask()).kind == "credential"
    assert len(bench.server.requests) == 1


async def test_who_was_left_alone_is_asked_again_when_another_key_is_read(bench: KeyedBench) -> None:
    bench.server.good = "key-two"
    await bench.ask()
    bench.clock.sleep(3_600)
    assert bench.state == "open", "it does not pass by itself"
    bench.file.write_text("key-two")
    await bench.refresh()
    assert bench.state == "half-open"
    assert isinstance((await bench.ask())[-1], Done)


async def test_a_provider_that_refuses_everything_is_no_load_on_the_store(bench: KeyedBench) -> None:
    await bench.ask()
    bench.server.good = "none of ours"
    for number in range(5):
        bench.file.write_text(f"key-{number}-x")
        await bench.ask()
    # The first refusal finds another key, which is refused too; then nobody reads for a while.
    assert len(bench.server.requests) == 1 + 6
    bench.clock.sleep(REREAD_S_MIN)
    await bench.ask()
    assert len(bench.server.requests) == 1 + 8


async def test_a_key_that_cannot_be_read_is_said_and_nobody_is_asked(bench: KeyedBench) -> None:
    bench.file.unlink()
    found = failure(await bench.ask())
    assert (found.kind, "its key cannot be read" in found.detail) == ("unreachable", True)
    assert bench.server.requests == []
    assert str(bench.file) in found.error().detail


async def test_a_key_that_a_provider_quotes_is_not_repeated(bench: KeyedBench) -> None:
    bench.server.good, bench.server.refusal = "key-two", 422
    found = failure(await bench.ask())
    assert "is not good" in found.detail
    assert "key-one" not in found.detail
