"""Vectors for callers, without holding up the event loop or the search.

Owns the threads that embed, which are not those of the search, and one embedder for each model that a caller may name,
made at its first use. Refuses the books (`api/chat/supervisor.py`) and the protocol (`schemas`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeVar

from connectors.embedders import CountingEmbedder, Vector
from runtime.errors import DependencyUnavailable, InvalidInput, NotFound, Unprocessable
from runtime.settings import EmbedderSettings

Result = TypeVar("Result")

THREADS: Final = 2
"""Requests that are embedded at a time."""
WAITING_MAX: Final = 16
"""Requests that wait or run, of half a megabyte each at most. Beyond it a caller is told to ask again."""
EMBED_S_MAX: Final = 120.0
"""Longest time for one request, in seconds, the wait for a thread in it."""


class MadeVectors(NamedTuple):
    """Vectors in the order of their texts, and the tokens of all; None where the endpoint does not say."""

    vectors: Sequence[Vector]
    tokens: int | None


class EmbeddingService:
    """One per process. `build` is called in a thread, at the first use of each model."""

    def __init__(self, settings: EmbedderSettings, build: Callable[[EmbedderSettings], CountingEmbedder]) -> None:
        self._settings = settings
        self._build = build
        self._embedders: dict[tuple[str, str, str, int], CountingEmbedder] = {}
        self._building = asyncio.Lock()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="embeddings")
        self._waiting = 0

    def find(self, name: str, dimensions: int | None) -> EmbedderSettings:
        """The model that a caller names. Raises `NotFound` where there is none of this name, and where there is none
        of this name with vectors of this length: both are facts of the settings, which no document of the API has."""
        found = self._settings.find(name)
        if found is None:
            raise NotFound(f"there is no embedding model {name!r}", hint=f"there are {', '.join(self._settings.names)}")
        longest = found.dimension
        if dimensions not in (None, longest) and not (found.send_dimension and (dimensions or 0) < longest):
            shorter = ", or fewer" if found.send_dimension else ""
            raise NotFound(
                f"{name} makes no vectors of {dimensions} numbers", hint=f"dimensions can be {longest}{shorter}"
            )
        return found

    async def embed(self, model: EmbedderSettings, texts: Sequence[str]) -> MadeVectors:
        """Raises `InvalidInput` for a text that the model refuses, and `DependencyUnavailable` when it is away, busy or
        slow. Cancelled, it sends no further batch; what a thread has begun it ends, and nobody gets it."""
        if self._waiting >= WAITING_MAX:
            raise DependencyUnavailable(f"{WAITING_MAX} requests wait for vectors already", hint="ask again")
        try:
            async with asyncio.timeout(EMBED_S_MAX):
                embedder = await self._open(model)
                made = [
                    await self._embed_batch(embedder, texts[first : first + model.batch_max], first)
                    for first in range(0, len(texts), model.batch_max)
                ]
        except TimeoutError:
            late = f"the vectors took longer than {EMBED_S_MAX:g} s"
            raise DependencyUnavailable(late, hint="send fewer texts") from None
        counted = [each.tokens for each in made if each.tokens is not None]
        tokens = sum(counted) if len(counted) == len(made) else None
        return MadeVectors([vector for each in made for vector in each.vectors], tokens)

    async def _embed_batch(self, embedder: CountingEmbedder, texts: Sequence[str], first: int) -> MadeVectors:
        """The vectors of a part of a request, whose first text is at `first` in it."""
        try:
            return MadeVectors(*await self._in_thread(lambda: embedder.embed_counting(texts)))
        except Unprocessable as error:
            at = first + error.coordinates.get("index", 0)
            raise InvalidInput(f"the text at {at} cannot be embedded: {error.detail}", hint="leave it out") from None

    async def close(self) -> None:
        """Embed no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for embedder in self._embedders.values():
            embedder.close()

    async def _open(self, model: EmbedderSettings) -> CountingEmbedder:
        asked = (model.kind, model.base_url, model.model, model.dimension)
        async with self._building:
            if asked not in self._embedders:
                # One thread, so that a batch of a caller leaves a core to the search and to the answers.
                settings = model.model_copy(update={"threads": 1})
                self._embedders[asked] = await self._in_thread(lambda: self._build(settings))
        return self._embedders[asked]

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        # Counted until the thread is done, not until the caller gave up: a thread that hangs is still taken.
        self._waiting += 1
        running = asyncio.get_running_loop().run_in_executor(self._pool, work)
        running.add_done_callback(self._leave)
        return await asyncio.shield(running)

    def _leave(self, running: asyncio.Future[Any]) -> None:
        self._waiting -= 1
        if not running.cancelled():
            running.exception()  # whoever waited has it, or has gone
