"""The vector of a query, without holding up the event loop, the pool of connections, or a search by words.

Owns the threads that embed, a bounded memory of recent queries, and the pause after a failure: while an endpoint is
away, searches answer at once without it. There may be several embedders, one for each space that tenants search in; in
which of them a tenant does is only remembered here, and whoever searches looks. Refuses to retry.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
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
SPACES_REMEMBERED_MAX = 10_000
"""Tenants whose space is remembered: two megabytes. One that is not costs a search a second look."""


class QueryEmbedder:
    """The embedders of one process, each made at its first use. `build` makes the one of tenants that chose no other,
    `others` that of each further space, by its name."""

    def __init__(
        self,
        build: Callable[[], Embedder],
        clock: Clock = SYSTEM_CLOCK,
        others: Mapping[str, Callable[[], Embedder]] | None = None,
    ) -> None:
        self._lanes = {space: EmbedderLane(make, clock) for space, make in (others or {}).items()}
        self._first = EmbedderLane(build, clock)
        self._spaces = BoundedMemory[UUID, str](SPACES_REMEMBERED_MAX)

    def lane_of(self, tenant_id: UUID) -> EmbedderLane:
        """The embedder of the space that a tenant was last seen to search in."""
        return self._lane(self._spaces.get(tenant_id))

    def turn_to(self, tenant_id: UUID, space: str) -> EmbedderLane:
        """Remember the space that a tenant searches in, and return its embedder: the first, where there is none of its
        own."""
        self._spaces.put(tenant_id, space)
        return self._lane(space)

    async def close(self) -> None:
        for lane in (self._first, *self._lanes.values()):
            lane.close()

    def _lane(self, space: str | None) -> EmbedderLane:
        return self._lanes.get(space or "", self._first)


class EmbedderLane:
    """Makes the embedder of one space at the first use, and keeps it.

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

    def close(self) -> None:
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
