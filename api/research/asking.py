"""Research for threads: the steps run in an event loop of their own, each for a bounded time.

Owns the loop's thread, which begins with the first step, and what the steps need: few connections, an embedder for
queries, a reranker. Refuses to know jobs (`api/research/job.py`).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from api.db import Database
from api.research.researcher import Researcher
from api.search.embedding import QueryEmbedder
from connectors import rerankers
from connectors.embedders.spaces import SpaceEmbedders
from runtime.errors import DependencyUnavailable
from runtime.settings import Settings

Made = TypeVar("Made")

CONNECTIONS_MAX: Final = 6
"""Two questions at a time, of a worker's four places, search three things each."""
STEP_S_MAX: Final = 60.0
"""Longest step, in seconds. One takes about a second; a search by words has its own five for a statement."""


class ResearchDesk:
    """Runs coroutines of a `Researcher`. Safe to call from several threads."""

    def __init__(self, settings: Settings, embedders: SpaceEmbedders, step_s_max: float = STEP_S_MAX) -> None:
        self._settings = settings
        self._embedders = embedders
        self._step_s_max = step_s_max
        self._lock = threading.Lock()
        self._opening = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._researcher: Researcher | None = None
        self._closing: list[Callable[[], Awaitable[Any]]] = []

    def run(self, step: Callable[[Researcher], Awaitable[Made]]) -> Made:
        """What a step gives. Raises what it raises, and `DependencyUnavailable` when it takes too long."""
        loop = self._start()
        future = asyncio.run_coroutine_threadsafe(self._run(step), loop)
        try:
            return future.result(self._step_s_max)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise DependencyUnavailable(
                f"a step of research took longer than {self._step_s_max:g} s", hint="`adriatic status` shows what waits"
            ) from None

    def close(self) -> None:
        """End the loop and what it opened."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._close(), loop).result(self._step_s_max)
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join(self._step_s_max)
        loop.close()

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="research", daemon=True)
                self._thread.start()
            return self._loop

    async def _run(self, step: Callable[[Researcher], Awaitable[Made]]) -> Made:
        return await step(await self._open())

    async def _open(self) -> Researcher:
        """Made once, in the loop that it belongs to."""
        async with self._opening:
            if self._researcher is not None:
                return self._researcher
            settings = self._settings
            database = Database(settings.postgres, connections_max=CONNECTIONS_MAX)
            embedder = make_query_embedder(self._embedders)
            await database.open()
            made = Researcher(database, embedder, lambda: rerankers.build(settings.reranker, settings.secrets))
            self._closing = [made.close, embedder.close, database.close]
            self._researcher = made
            return made

    async def _close(self) -> None:
        for close in self._closing:
            await close()


def make_query_embedder(embedders: SpaceEmbedders) -> QueryEmbedder:
    """An embedder of queries that shares the models of this process."""

    def find(space: str) -> Callable[[], Any]:
        return lambda: embedders.find(space)

    first, *others = embedders.spaces
    return QueryEmbedder(find(first.name), others={each.name: find(each.name) for each in others})
