"""Steps of agents for threads: what they need, which has a gateway to the models, and how long one may take.

Its supervisor of answers is like that of an API process, with its own lease, so that what it was at when it died is
settled like theirs. Refuses to know jobs (`api/agents/job.py`).
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

from api.agents.acting import AgentActor
from api.agents.toolset import AgentTools
from api.chat.opening import open_gateway
from api.db import Database
from api.desk import StepDesk, make_query_embedder
from connectors.embedders.spaces import SpaceEmbedders
from connectors.llm import prices
from runtime.clock import SYSTEM_CLOCK
from runtime.settings import Settings

CONNECTIONS_MAX: Final = 8
"""A worker's four places, each with a step and a look at whether it is still wanted."""
GRACE_S: Final = 60.0
"""How much longer than its task a step is waited for, in seconds: it ends by itself before."""


class AgentDesk(StepDesk[AgentActor]):
    """Runs steps of an `AgentActor`: with few connections, an embedder for queries, and a supervisor of answers."""

    name = "a step of an agent"

    def __init__(self, settings: Settings, embedders: SpaceEmbedders) -> None:
        super().__init__(settings, embedders, settings.agents.seconds_max + GRACE_S)

    async def open(self, stack: AsyncExitStack) -> AgentActor:
        settings = self._settings
        database = Database(settings.postgres, connections_max=CONNECTIONS_MAX)
        await database.open()
        stack.push_async_callback(database.close)
        embedder = make_query_embedder(self._embedders)
        stack.push_async_callback(embedder.close)
        supervisor, router = await open_gateway(settings, database, stack)
        tools = AgentTools(database, embedder, settings.agents.output_bytes_max)
        price_list = prices.load(settings.llm.prices)
        tokens_max = settings.llm.output_tokens_max
        return AgentActor(database, tools, supervisor, router, price_list, tokens_max, SYSTEM_CLOCK)
