"""The switch as a process that writes answers sees it: what is stopped ends here, whoever stopped it and wherever.

Owns looking, a few times a second while there are answers in flight, on a connection of its own: where the pool is
busy, the order to stop must not wait for what it would end. Refuses new attempts nothing: the database does that, in
the transaction in which one begins, so a process that starts needs to remember no order.

When nobody can say whether spending is stopped, answers in flight go on: an outage is no order, and ending everything
for one would cost more than it saves. They are bounded without the switch: what a budget covers gets no further piece,
the rest ends at `llm.total_s`, and nothing new begins, since no attempt can be put into the books either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime
from uuid import UUID

import msgspec

from api.chat.ledger import Attempt
from api.db import Connection, Database, to_struct
from api.spend.subjects import Level
from connectors.postgres.errors import RESUME_HINT
from runtime import metrics
from runtime.errors import AdriaticError, SpendStopped
from runtime.logs import get_logger

LOOK_S = 0.25
"""How often to look while answers run: an order arrives within this, and one small statement."""
IDLE_LOOKS_MAX = 240
"""Looks without answers after which the connection is given back, a minute: to open one costs more than to keep it."""

_TELL = "select tenant_id, level, subject, reason, stopped_at from ops.tell_stops($1)"

log = get_logger("spend")


class StopOrder(msgspec.Struct, frozen=True):
    """One order that is in force."""

    tenant_id: UUID
    level: Level
    subject: str
    reason: str
    stopped_at: datetime

    def covers(self, attempt: Attempt) -> bool:
        """Whether the attempt is to end. As the database decides for one that begins."""
        if attempt.tenant_id != self.tenant_id:
            return False
        subjects = {"org": "", "user": str(attempt.user_id), "key": attempt.key_id or ""}
        return self.subject == subjects[self.level]

    def error(self) -> SpendStopped:
        """What its readers are told: the same as who asks afterwards."""
        return SpendStopped(
            f"spending is stopped since {self.stopped_at:%Y-%m-%dT%H:%M:%SZ}: {self.reason}", hint=RESUME_HINT
        )


class SwitchWatch:
    """One per process. `spenders` are the tenants that have answers in flight; `end` ends what an order covers."""

    def __init__(
        self,
        database: Database,
        spenders: Callable[[], Collection[UUID]],
        end: Callable[[StopOrder], None],
    ) -> None:
        self._database = database
        self._spenders = spenders
        self._end = end
        self._looking: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """There is an answer in flight: look until there is none. Never waits."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="spend switch")

    async def close(self) -> None:
        if self._looking:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look(self) -> None:
        """Connect again as long as there is somebody to look for."""
        while self._spenders():
            try:
                async with self._database.single() as connection:
                    await self._read_on(connection)
            except AdriaticError as error:
                metrics.SPEND_SWITCH_UNREAD.set(1)
                log.warning("whether spending is stopped cannot be read; answers in flight go on", detail=error.detail)
                await asyncio.sleep(LOOK_S)
        metrics.SPEND_SWITCH_UNREAD.set(0)

    async def _read_on(self, connection: Connection) -> None:
        idle_looks = 0
        while idle_looks < IDLE_LOOKS_MAX:
            if tenants := list(self._spenders()):
                idle_looks = 0
                for row in await connection.fetch(_TELL, tenants):
                    self._end(to_struct(row, StopOrder))
                metrics.SPEND_SWITCH_UNREAD.set(0)
            else:
                idle_looks += 1
            await asyncio.sleep(LOOK_S)
