"""A supervisor of answers for processes that answer no requests: with its own lease, so that what it was at when it
died is settled like that of an API process.

Owns in which order its parts are opened and closed. Refuses to ask.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import NamedTuple

from api.chat.supervisor import AnswerSupervisor
from api.db import Database
from connectors.llm.pseudonyms import Pseudonyms
from connectors.llm.routing.router import LlmRouter
from connectors.secrets import SecretStore
from runtime.clock import SYSTEM_CLOCK
from runtime.settings import Settings


class OpenedGateway(NamedTuple):
    """What asks, and what knows whom."""

    supervisor: AnswerSupervisor
    router: LlmRouter


async def open_gateway(settings: Settings, database: Database, stack: AsyncExitStack) -> OpenedGateway:
    """One that works; `stack` closes it."""
    secrets = SecretStore(settings.secrets, SYSTEM_CLOCK)
    pseudonyms = Pseudonyms.open(settings.home, settings.llm)
    router = LlmRouter(settings.llm, SYSTEM_CLOCK, secrets=secrets, pseudonyms=pseudonyms)
    supervisor = AnswerSupervisor(database, settings.llm, settings.limits, router, SYSTEM_CLOCK)
    supervisor.open()
    secrets.open()
    stack.push_async_callback(secrets.close)
    stack.push_async_callback(supervisor.close)
    return OpenedGateway(supervisor, router)
