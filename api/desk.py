"""Coroutines for threads: they run in an event loop of their own, which begins with the first of them.

Owns the loop's thread, the bound on each step, and the end of what was opened for them. Refuses to know what the steps
do: a desk of `api/research` or `api/agents` opens what they need.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Final, Generic, TypeVar

from api.search.embedding import QueryEmbedder
from connectors.embedders.spaces import SpaceEmbedders
from runtime.errors import DependencyUnavailable
from runtime.settings import Settings

Opened = TypeVar("Opened")
Made = TypeVar("Made")

CLOSE_S_MAX: Final = 15.0
"""Longest wait for the loop's end, in seconds."""


class StepDesk(ABC, Generic[Opened]):
    """Runs coroutines on what it opens, once. Safe to call from several threads."""

    name: ClassVar[str]
    """What one step is called: "a step of research"."""

    def __init__(self, settings: Settings, embedders: SpaceEmbedders, step_s_max: float) -> None:
        self._settings = settings
        self._embedders = embedders
        self._step_s_max = step_s_max
        self._lock = threading.Lock()
        self._opening = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._opened: Opened | None = None
        self._stack = AsyncExitStack()

    @abstractmethod
    async def open(self, stack: AsyncExitStack) -> Opened:
        """What steps need, made in the loop that it belongs to; `stack` closes it."""

    def run(self, step: Callable[[Opened], Awaitable[Made]]) -> Made:
        """What a step gives. Raises what it raises, and `DependencyUnavailable` when it takes too long, or when this is
        closed."""
        future = asyncio.run_coroutine_threadsafe(self._run(step), self._start())
        try:
            return future.result(self._step_s_max)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise DependencyUnavailable(
                f"{self.name} took longer than {self._step_s_max:g} s", hint="`adriatic status` shows what waits"
            ) from None
        except concurrent.futures.CancelledError:
            raise _tell_ending() from None

    def close(self) -> None:
        """End what runs, the loop, and what it opened."""
        with self._lock:
            self._closed = True
            loop, self._loop = self._loop, None
        if loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._close(), loop).result(CLOSE_S_MAX)
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join(CLOSE_S_MAX)
        loop.close()

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise _tell_ending()
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name=self.name, daemon=True)
                self._thread.start()
            return self._loop

    async def _run(self, step: Callable[[Opened], Awaitable[Made]]) -> Made:
        return await step(await self._open())

    async def _open(self) -> Opened:
        async with self._opening:
            if self._opened is None:
                async with AsyncExitStack() as stack:
                    self._opened = await self.open(stack)
                    self._stack = stack.pop_all()
            return self._opened

    async def _close(self) -> None:
        await self._stack.aclose()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


def _tell_ending() -> DependencyUnavailable:
    return DependencyUnavailable("this process is about to end", hint="the step is taken up again")


def make_query_embedder(embedders: SpaceEmbedders) -> QueryEmbedder:
    """An embedder of queries that shares the models of this process."""

    def find(space: str) -> Callable[[], Any]:
        return lambda: embedders.find(space)

    first, *others = embedders.spaces
    return QueryEmbedder(find(first.name), others={each.name: find(each.name) for each in others})
