"""Work for a job that ends when nobody wants it any more: it was cancelled, deleted, or another worker has it.

Owns the look at the job while something is done for it. Refuses to know what is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

from api.db import Connection, Database, tenant_transaction

LOOK_S: Final = 0.2
"""How often it is looked whether a job is still wanted, in seconds: it ends in less than one."""

Made = TypeVar("Made")

_WANTED: Final = """
  select exists (
    select
    from app.jobs
    where tenant_id = $1
      and job_id = $2
      and lease_owner = $3
      and state = 'running'
      and cancel_requested_at is null
  )
"""


class WorkerHold(NamedTuple):
    """A job that a worker has."""

    tenant_id: UUID
    job_id: UUID
    owner: str


async def is_wanted(connection: Connection, hold: WorkerHold) -> bool:
    """Whether this worker is still to do something for the job."""
    return bool(await connection.fetchval(_WANTED, *hold))


async def do_while_wanted(database: Database, hold: WorkerHold, work: Awaitable[Made]) -> Made | None:
    """What the work came to. It is stopped when the job is not wanted any more, which gives None: a model's answer then
    loses its only reader, which closes the provider's connection. Raises what the work raises."""
    working = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({working}, timeout=LOOK_S))[0]:
            async with tenant_transaction(database, hold.tenant_id, read_only=True) as connection:
                if not await is_wanted(connection, hold):
                    return None
        return working.result()
    finally:
        working.cancel()
        await asyncio.wait({working})
