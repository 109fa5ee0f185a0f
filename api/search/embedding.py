"""The vector of a query, without holding up the event loop, the pool of connections, or a search by words.

Owns the thread that embeds, a bounded memory of recent queries, and the pause after a failure: while an endpoint is
away, searches answer at once without it. Refuses to retry.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from uuid import UUID

from connectors.embedders import Embedder, EmbeddingSpace, Vector
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import AdriaticError, DependencyUnavailable
from runtime.memory import BoundedMemory

Result = TypeVar("Result")

THREADS = 2
"""The model in the process needs 2 ms for a query; an endpoint, a round trip of which the thread waits most."""
WAITING_MAX = 32
"""Queries that wait for a thread or run. Beyond it a search is answered without its vector: at 2 ms each the last of a
full queue waits some 30 ms, and at an endpoint's 300 ms about as long as a caller would."""
EMBED_S_MAX = 5.0
"""Time for one query, loading of the weights included. Beyond it people have gone."""
PAUSE_S = 5.0
"""How long nobody asks again after a failure."""
REMEMBERED_MAX = 1_024
"""Vectors kept: 1.5 MB at 384 dimensions. People page and refine: the same text comes again within minutes."""


class QueryEmbedder:
    """Makes the embedder at the first use, and keeps it. One per process.

    `build` is called in the thread; what it raises is what the search says.
    """

    def __init__(self, build: Callable[[], Embedder], clock: Clock = SYSTEM_CLOCK) -> None:
        self._build = build
        self._clock = clock
        self._embedder: Embedder | None = None
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="query-embedder")
        self._building = asyncio.Lock()
        self._counting = threading.Lock()
        self._waiting = 0
        self._paused_until_s = 0.0
        self._reason = ""
        self._remembered = BoundedMemory[tuple[UUID, str, str], Vector](REMEMBERED_MAX)

    async def embed(self, tenant_id: UUID, text: str) -> tuple[EmbeddingSpace, Vector]:
        """The space and the vector of `text`.

        Raises `AdriaticError`: `DependencyUnavailable` when the embedder is away, busy or slow, what it says otherwise.
        """
        if self._embedder is not None:
            # The tenant is part of the key: how fast an answer comes must not tell what another tenant asked.
            key = (tenant_id, self._embedder.space.name, text)
            if (known := self._remembered.get(key)) is not None:
                return self._embedder.space, known
        self._refuse_if_paused()
        if self._waiting >= WAITING_MAX:
            raise DependencyUnavailable(f"{WAITING_MAX} queries wait for the embedder already", hint="try again")
        try:
            embedder, vector = await asyncio.wait_for(self._compute(text), EMBED_S_MAX)
        except TimeoutError:
            raise self._pause(DependencyUnavailable(f"the embedder took longer than {EMBED_S_MAX:g} s")) from None
        except DependencyUnavailable as error:
            raise self._pause(error) from error
        self._remembered.put((tenant_id, embedder.space.name, text), vector)
        return embedder.space, vector

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._embedder is not None:
            self._embedder.close()

    async def _compute(self, text: str) -> tuple[Embedder, Vector]:
        async with self._building:
            if self._embedder is None:
                self._embedder = await self._in_thread(self._build)
        embedder = self._embedder
        return embedder, await self._in_thread(lambda: embedder.embed([text])[0])

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        # Counted until the thread is done, not until the caller gave up: a thread that hangs is still taken.
        self._count(1)
        future = self._pool.submit(work)
        future.add_done_callback(lambda _: self._count(-1))
        return await asyncio.wrap_future(future)

    def _count(self, change: int) -> None:
        with self._counting:
            self._waiting += change

    def _refuse_if_paused(self) -> None:
        if self._clock.monotonic() < self._paused_until_s:
            raise DependencyUnavailable(self._reason, hint=f"it is asked again within {PAUSE_S:g} s")

    def _pause(self, error: AdriaticError) -> AdriaticError:
        self._paused_until_s = self._clock.monotonic() + PAUSE_S
        self._reason = error.detail
        return error
