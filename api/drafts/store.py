"""Drafts as rows: what each was made from, beside the kept answer that has its text.

Owns `app.drafts`. A draft is an answer of a user: it is kept, found, stopped, read on and forgotten as such, and others
of the tenant do not find it. Where answers are not kept there are no drafts either, only their texts on the way to who
asked. Refuses to make an ADR of one (`accepting`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from api.auth.users import Principal
from api.chat import conversations
from api.chat.encoding import StoredEvent
from api.chat.schemas import Citations, DoneEvent, Sources, Start, UsageSpent
from api.db import Connection, Database, tenant_transaction
from api.drafts.prompts import PROMPT_VERSION
from api.drafts.schemas import AdrDraft, DraftOutcome, Task
from api.problems import Problem
from runtime.errors import NotFound

_ADD = """
  insert into app.drafts (tenant_id, answer_id, task, prompt_version, adr_id, version)
  select tenant_id, answer_id, $3, $4, $5, $6
  from app.answers
  where tenant_id = $1 and answer_id = $2
"""

_FIND = """
  select d.task, d.prompt_version, d.adr_id, d.version, d.accepted_adr_id, d.accepted_version, d.accepted_at
  from app.drafts d
  join app.answers a using (tenant_id, answer_id)
  where d.tenant_id = $1 and d.answer_id = $2 and a.user_id = $3
"""

_LOCK = """
  select accepted_adr_id, accepted_version
  from app.drafts
  where tenant_id = $1 and answer_id = $2
  for update
"""

_ACCEPT = """
  update app.drafts
  set accepted_adr_id = $3, accepted_version = $4, accepted_at = now()
  where tenant_id = $1 and answer_id = $2
"""


class DraftRow(msgspec.Struct, frozen=True):
    """What is known of a draft beside its text. `adr_id`, `version`: what it was made from."""

    task: Task
    adr_id: UUID | None
    version: int | None
    prompt_version: int = PROMPT_VERSION
    accepted_adr_id: UUID | None = None
    accepted_version: int | None = None
    accepted_at: datetime | None = None

    @property
    def accepted(self) -> DraftOutcome | None:
        if self.accepted_adr_id is None or self.accepted_version is None or self.accepted_at is None:
            return None
        return DraftOutcome(self.accepted_adr_id, self.accepted_version, self.accepted_at)


async def add(database: Database, tenant_id: UUID, answer_id: UUID, row: DraftRow) -> None:
    """Note that an answer is a draft, where the answer is kept at all."""
    async with tenant_transaction(database, tenant_id) as connection:
        await connection.execute(_ADD, tenant_id, answer_id, row.task, row.prompt_version, row.adr_id, row.version)


async def find(database: Database, principal: Principal, draft_id: UUID) -> DraftRow:
    """A draft of this user. Raises `NotFound`."""
    async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
        row = await connection.fetchrow(_FIND, principal.tenant_id, draft_id, principal.user_id)
    if row is None:
        raise NotFound(f"no draft {draft_id}", hint="drafts are kept for llm.kept_days, for the user who asked")
    return msgspec.convert(dict(row), DraftRow)


async def lock(connection: Connection, tenant_id: UUID, draft_id: UUID) -> tuple[UUID, int] | None:
    """Hold a draft until the transaction ends. Returns the ADR and version that it has become."""
    row = await connection.fetchrow(_LOCK, tenant_id, draft_id)
    if row is None:
        raise NotFound(f"no draft {draft_id}", hint="it has just been deleted")
    return None if row["accepted_adr_id"] is None else (row["accepted_adr_id"], row["accepted_version"])


async def accept(connection: Connection, tenant_id: UUID, draft_id: UUID, adr_id: UUID, version: int) -> None:
    """Note what a draft has become."""
    await connection.execute(_ACCEPT, tenant_id, draft_id, adr_id, version)


def view(draft_id: UUID, row: DraftRow, events: Iterable[StoredEvent], *, ended: bool) -> AdrDraft:
    """A draft as a whole, from the events that are there. Pure."""
    found = conversations.gather(events)
    start, sources, done = found.read("start", Start), found.read("sources", Sources), found.read("done", DoneEvent)
    return AdrDraft(
        *(draft_id, row.task, row.adr_id, row.version, row.prompt_version),
        state=found.tell_state(ended=ended),
        text=found.text,
        model=start.model if start else None,
        sources=sources.sources if sources else [],
        citations=found.read("citations", Citations),
        usage=found.read("usage", UsageSpent),
        error=found.read("error", Problem),
        finish=done.finish if done else None,
        accepted=row.accepted,
        withdrawn=sources.withdrawn if sources else 0,
    )
