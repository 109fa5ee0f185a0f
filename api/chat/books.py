"""The way of attempts into the books, for one process: begun before anybody is asked, settled afterwards, once.

Owns that attempts of the same moment go together (`Gatherer`), and that settling is tried again while the database is
away. Refuses the rows (`ledger`), and to know what an attempt is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import msgspec

from api.chat import ledger
from api.chat.limits import LimitStanding
from api.db import Database
from api.gathering import Gatherer
from api.spend import purse
from runtime import metrics
from runtime.clock import Clock
from runtime.deadline import Deadline, backoff_s
from runtime.errors import Conflict, DependencyUnavailable
from runtime.logs import get_logger

UNSETTLED_MAX = 10_000
"""Attempts that wait for the database, 10 MB. Beyond it nobody may ask: what is spent could not be recorded."""
SETTLE_S_MAX = 600.0
"""How long one attempt is tried to be settled. An outage that is longer is an incident; the log then has what the row
would have, and the row of its beginning is settled by its bound."""

log = get_logger("chat")

BeginTask = asyncio.Task[Sequence[LimitStanding]]


class AttemptBooks:
    """One per process."""

    def __init__(self, database: Database, process_id: UUID, clock: Clock) -> None:
        self._clock = clock
        self._begins = Gatherer[ledger.Beginning, Sequence[LimitStanding]](
            lambda tenant_id, several: ledger.begin_all(database, process_id, tenant_id, several),
            lambda one: ledger.begin(database, process_id, one),
        )
        self._settles = Gatherer[ledger.Entry, None](
            lambda tenant_id, several: ledger.settle_all(database, tenant_id, several),
            lambda one: ledger.settle(database, one),
        )
        self._reserves = Gatherer[purse.MoreAsked, purse.Reservation | None](
            lambda tenant_id, several: purse.reserve_all(database, tenant_id, several),
            lambda one: purse.reserve(database, one),
        )

    async def reserve(self, asked: purse.MoreAsked) -> purse.Reservation | None:
        """See `purse.Reserve`. What was sent stands when the caller leaves, until its attempt is settled."""
        return await self._reserves.add(asked.tenant_id, asked)

    def begin(self, beginning: ledger.Beginning) -> BeginTask:
        """Put an attempt into the books; what the task raises is in `ledger.begin`. It is to be shielded: a statement
        is not to be cancelled."""
        attempt = beginning.attempt
        return asyncio.create_task(self._begins.add(attempt.tenant_id, beginning), name=f"begin {attempt.attempt_id}")

    async def settle(self, entry: ledger.Entry, beginning: BeginTask | None) -> None:
        """Settle an attempt when its beginning is written, or its row could come after it. Never raises: what cannot be
        recorded is in the log."""
        metrics.CHATS_UNSETTLED.inc()
        recorded = False
        try:
            if beginning:
                await asyncio.gather(beginning, return_exceptions=True)
            recorded = await self._try_to_settle(entry)
        except Exception as error:
            log.error("unexpected exception", exc_info=error, attempt_id=str(entry.attempt.attempt_id))
        finally:
            metrics.CHATS_UNSETTLED.dec()
            if not recorded:
                metrics.CHATS_UNRECORDED.inc()
                log.error("usage is not in the ledger", entry=msgspec.to_builtins(entry))

    async def _try_to_settle(self, entry: ledger.Entry) -> bool:
        deadline = Deadline.after(SETTLE_S_MAX, self._clock)
        for pause_s in backoff_s():
            try:
                await self._settles.add(entry.attempt.tenant_id, entry)
                return True
            except (DependencyUnavailable, Conflict):  # away, or somebody else's transaction came first
                if deadline.passed:
                    return False
            await asyncio.sleep(pause_s)
        return False

    async def close(self) -> None:
        """Nobody has anything to settle any more."""
        await self._begins.close()
        await self._reserves.close()
        await self._settles.close()
