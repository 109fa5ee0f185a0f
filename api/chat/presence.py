"""That this process lives: its lease in `ops.api_processes`, which its attempts lean on.

Owns the process's id, and renewing the lease. Refuses attempts (`ledger`). When the lease has run out, the attempts of
this process count as lost, and are settled by their bounds; so it is renewed far more often than that.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

from api.db import Database
from connectors.postgres.attempts import LEASE_S
from runtime.deadline import backoff_s
from runtime.errors import DependencyUnavailable
from runtime.ids import new_id
from runtime.logs import get_logger

log = get_logger("chat")

RENEW_S = LEASE_S / 5
"""Four renewals may fail before the lease runs out."""

_KEEP = "select ops.keep_api_process($1, $2)"


class Presence:
    """One per process."""

    def __init__(self, database: Database) -> None:
        self.process_id: UUID = new_id()
        self._database = database
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._task = asyncio.create_task(self._renew(), name="presence")

    async def close(self) -> None:
        """Give the lease back. Everything of this process must be settled by then."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self._keep(0.0)
        except DependencyUnavailable:
            log.info("the lease runs out by itself", process_id=str(self.process_id))

    async def _keep(self, lease_s: float) -> None:
        async with self._database.connection() as connection:
            await connection.execute(_KEEP, self.process_id, lease_s)

    async def _renew(self) -> None:
        pauses = backoff_s()
        while True:
            try:
                await self._keep(LEASE_S)
                pauses = backoff_s()
                await asyncio.sleep(RENEW_S)
            except DependencyUnavailable:
                await asyncio.sleep(min(next(pauses), RENEW_S))
