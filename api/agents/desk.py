"""Steps of agents for threads: they run in an event loop of their own, which has a gateway to the models.

Owns the loop's thread, which begins with the first step, and what the steps need: few connections, an embedder for
queries, and a supervisor of answers like that of an API process, with its own lease, so that what it was at when it
died is settled like theirs. Refuses to know jobs (`api/agents/job.py`).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from api.agents.acting import AgentActor
from api.agents.toolset import AgentTools
from api.chat.supervisor import AnswerSupervisor
from api.db import Database
from api.search.embedding import QueryEmbedder
from connectors.embedders.spaces import SpaceEmbedders
from connectors.llm import prices
from connectors.llm.pseudonyms import Pseudonyms
from connectors.llm.routing.router import LlmRouter
from connectors.secrets import SecretStore
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import DependencyUnavailable
from runtime.settings import Settings

Made = TypeVar("Made")

CONNECTIONS_MAX: Final = 8
"""A worker's four places, each with a step and a look at whether it is still wanted."""
GRACE_S: Final = 60.0
"""How much longer than its task a step is waited for, in seconds: it ends by itself before."""
CLOSE_S_MAX: Final = 15.0
"""Longest wait for the loop's end, in seconds."""


class AgentDesk:
    """Runs coroutines of an `AgentActor`. Safe to call from several threads."""

    def __init__(self, settings: Settings, embedders: SpaceEmbedders) -> None:
        self._settings = settings
        self._embedders = embedders
        self._lock = threading.Lock()
        self._opening = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._actor: AgentActor | None = None
        self._closed = False
        self._closing: list[Callable[[], Awaitable[Any]]] = []

    def run(self, step: Callable[[AgentActor], Awaitable[Made]]) -> Made:
        """What a step gives. Raises what it raises, and `DependencyUnavailable` when it does not end."""
        future = asyncio.run_coroutine_threadsafe(self._run(step), self._start())
        try:
            return future.result(self._settings.agents.seconds_max + GRACE_S)
        except (concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            future.cancel()
            raise DependencyUnavailable("a step of an agent did not end", hint="it is taken up again") from None

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
                raise DependencyUnavailable("this process is about to end", hint="the step is taken up again")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="agents", daemon=True)
                self._thread.start()
            return self._loop

    async def _run(self, step: Callable[[AgentActor], Awaitable[Made]]) -> Made:
        return await step(await self._open())

    async def _open(self) -> AgentActor:
        """Made once, in the loop that it belongs to."""
        async with self._opening:
            if self._actor is not None:
                return self._actor
            settings = self._settings
            database = Database(settings.postgres, connections_max=CONNECTIONS_MAX)
            await database.open()
            embedder = _query_embedder(self._embedders)
            secrets = SecretStore(settings.secrets, SYSTEM_CLOCK)
            pseudonyms = Pseudonyms.open(settings.home, settings.llm)
            router = LlmRouter(settings.llm, SYSTEM_CLOCK, secrets=secrets, pseudonyms=pseudonyms)
            supervisor = AnswerSupervisor(database, settings.llm, settings.limits, router, SYSTEM_CLOCK)
            supervisor.open()
            secrets.open()
            self._closing = [supervisor.close, secrets.close, embedder.close, database.close]
            tools = AgentTools(database, embedder, settings.agents.output_bytes_max)
            price_list = prices.load(settings.llm.prices)
            tokens_max = settings.llm.output_tokens_max
            self._actor = AgentActor(database, tools, supervisor, router, price_list, tokens_max, SYSTEM_CLOCK)
            return self._actor

    async def _close(self) -> None:
        mine = asyncio.current_task()
        for close in self._closing:
            await close()
        for task in asyncio.all_tasks() - {mine}:
            task.cancel()


def _query_embedder(embedders: SpaceEmbedders) -> QueryEmbedder:
    """An embedder of queries that shares the models of this process."""

    def find(space: str) -> Callable[[], Any]:
        return lambda: embedders.find(space)

    first, *others = embedders.spaces
    return QueryEmbedder(find(first.name), others={each.name: find(each.name) for each in others})
