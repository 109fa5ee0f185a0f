"""Research for threads: what its steps need, and how long one may take.

Refuses to know jobs (`api/research/job.py`).
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

from api.chat.opening import open_gateway
from api.db import Database
from api.desk import StepDesk, make_query_embedder
from api.research.authoring import ResearchAuthor
from api.research.researcher import Researcher
from connectors import rerankers
from connectors.embedders.spaces import SpaceEmbedders
from runtime.settings import Settings

CONNECTIONS_MAX: Final = 8
"""Two questions at a time, of a worker's four places, search three things each; two look whether a text is wanted."""
STEP_S_MAX: Final = 60.0
"""Longest step, in seconds. One takes about a second; a search by words has its own five for a statement."""


class ResearchDesk(StepDesk[Researcher]):
    """Runs steps of a `Researcher`: with few connections, an embedder for queries, and a reranker."""

    name = "a step of research"

    def __init__(self, settings: Settings, embedders: SpaceEmbedders, step_s_max: float = STEP_S_MAX) -> None:
        super().__init__(settings, embedders, step_s_max)

    async def open(self, stack: AsyncExitStack) -> Researcher:
        settings = self._settings
        database = Database(settings.postgres, connections_max=CONNECTIONS_MAX)
        await database.open()
        stack.push_async_callback(database.close)
        embedder = make_query_embedder(self._embedders)
        stack.push_async_callback(embedder.close)
        made = Researcher(
            database, embedder, lambda: rerankers.build(settings.reranker, settings.secrets), self._open_author
        )
        stack.push_async_callback(made.close)
        return made

    async def _open_author(self, database: Database, stack: AsyncExitStack) -> ResearchAuthor:
        """Opened by the first question that wants a text: most want none."""
        opened = await open_gateway(self._settings, database, stack)
        return ResearchAuthor(database, opened.supervisor)
