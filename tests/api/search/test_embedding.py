"""The vector of a query: remembered for its tenant, given up in time, and left alone while the embedder is away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest

from api.search import embedding
from api.search.embedding import PAUSE_S, EmbedderLane
from connectors.embedders import Vector
from runtime.clock import ManualClock
from runtime.errors import DependencyUnavailable, Halted
from runtime.ids import new_id
from tests.connectors.embedders.stand_in import FakeEmbedder, hashed_words
from tests.patience import PATIENCE_S

TENANT, OTHER = new_id(), new_id()


class Moody(FakeEmbedder):
    """Fails while `error` is set, and holds its thread while `gate` is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        self.gate.wait(PATIENCE_S)
        if self.error:
            raise self.error
        return super().embed(texts)


@asynccontextmanager
async def serving(moody: Moody, clock: ManualClock | None = None) -> AsyncIterator[EmbedderLane]:
    queries = EmbedderLane(lambda: moody, clock or ManualClock())
    yield queries
    moody.gate.set()
    queries.close()


async def test_a_query_is_embedded_once_for_a_tenant() -> None:
    moody = Moody()
    async with serving(moody) as queries:
        space, first = await queries.embed(TENANT, "dual write")
        assert space == moody.space
        np.testing.assert_array_equal(first, hashed_words("dual write"))
        await queries.embed(TENANT, "dual write")
        assert len(moody.calls) == 1
        await queries.embed(OTHER, "dual write")
        assert len(moody.calls) == 2


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "REMEMBERED_MAX", 2)
    moody = Moody()
    async with serving(moody) as queries:
        for text in ("a", "b", "a", "c", "a", "b"):
            await queries.embed(TENANT, text)
    assert [call[0] for call in moody.calls] == ["a", "b", "c", "b"]


async def test_an_outage_is_met_once_and_then_waited_out() -> None:
    moody, clock = Moody(), ManualClock()
    async with serving(moody, clock) as queries:
        moody.error = DependencyUnavailable("away")
        for _ in range(3):
            with pytest.raises(DependencyUnavailable, match="away"):
                await queries.embed(TENANT, "dual write")
        moody.error = None
        with pytest.raises(DependencyUnavailable, match="away"):
            await queries.embed(TENANT, "dual write")
        clock.sleep(PAUSE_S)
        await queries.embed(TENANT, "dual write")


async def test_what_is_remembered_needs_no_embedder() -> None:
    moody = Moody()
    async with serving(moody) as queries:
        await queries.embed(TENANT, "known")
        moody.error = DependencyUnavailable("away")
        with pytest.raises(DependencyUnavailable):
            await queries.embed(TENANT, "new")
        await queries.embed(TENANT, "known")


async def test_a_slow_embedder_is_given_up_and_its_threads_stay_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "WAITING_MAX", 2)
    moody, clock = Moody(), ManualClock()
    async with serving(moody, clock) as queries:
        await queries.embed(TENANT, "first")
        moody.gate.clear()
        patience_s = embedding.EMBED_S_MAX
        monkeypatch.setattr(embedding, "EMBED_S_MAX", 0.05)
        for text in ("a", "b"):
            with pytest.raises(DependencyUnavailable, match="longer than"):
                await queries.embed(TENANT, text)
            clock.sleep(PAUSE_S)
        with pytest.raises(DependencyUnavailable, match="2 queries wait"):
            await queries.embed(TENANT, "c")
        monkeypatch.setattr(embedding, "EMBED_S_MAX", patience_s)
        moody.gate.set()
        for _ in range(500):
            if not queries._waiting:
                break
            await asyncio.sleep(0.01)
        await queries.embed(TENANT, "c")


async def test_a_fault_of_the_settings_is_said_and_tried_again() -> None:
    built = 0

    def build() -> FakeEmbedder:
        nonlocal built
        built += 1
        if built == 1:
            raise Halted("the embedder's model.onnx is missing")
        return FakeEmbedder()

    queries = EmbedderLane(build, ManualClock())
    with pytest.raises(Halted, match=r"model\.onnx"):
        await queries.embed(TENANT, "a")
    await queries.embed(TENANT, "a")
    await queries.embed(TENANT, "b")
    assert built == 2
    queries.close()
