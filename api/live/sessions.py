"""Whether the database knows the sessions of change capture that the changes of a log tell of.

A session writes each of its beats into `ops.cdc_sessions` before any record carries it. A record whose beat is not
there is of another future: the database went back to an earlier state, and what the record says never happened in it.
Owns that question, asked once for all readers of the process. Refuses to say what becomes of a reader. Flows ask the
same (`connectors/consumer/sessions.py`).
"""

from __future__ import annotations

import asyncio
from uuid import UUID

from api.db import Database, tenant_transaction
from connectors.postgres.beats import Beat

SESSIONS_MAX = 1_000
"""Sessions that are kept in mind. A log has one for each start of change capture; those beyond are asked for again."""
NOBODY = UUID(int=0)
_SELECT_BEAT = "select beat from ops.cdc_sessions where session = $1"


class KnownSessions:
    """One of a process, on the event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[UUID, int] = {}
        self._asking = asyncio.Lock()

    async def has(self, beat: Beat | None) -> bool:
        """Whether the database knows it; at most one statement for each beat, whoever asks. A change without a beat is
        of before there were any. Raises `DependencyUnavailable`."""
        if beat is None or self._covers(beat):
            return True
        async with self._asking:
            if not self._covers(beat):
                await self._ask(beat.session)
        return self._covers(beat)

    def _covers(self, beat: Beat) -> bool:
        return self._known.get(beat.session, -1) >= beat.number

    async def _ask(self, session: UUID) -> None:
        async with tenant_transaction(self._database, NOBODY, read_only=True) as connection:
            found = await connection.fetchval(_SELECT_BEAT, session)
        if len(self._known) >= SESSIONS_MAX:
            self._known.clear()
        self._known[session] = -1 if found is None else found
