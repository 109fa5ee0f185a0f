"""A draft becomes an ADR, or a version of one, because a person says so.

Owns what must hold before it does, and that it happens once: the draft is locked, written and noted in one transaction,
and the version that it was made from must still be the newest. Refuses to write by itself: `api/adrs/service.py` does,
as for any other change, so the history names who accepted it. Numbers of sources become their names, since an ADR has
no sources beside it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from uuid import UUID

from api.adrs import queries, service
from api.adrs.document import ParsedAdr, parse
from api.adrs.schemas import Adr, NewAdr
from api.adrs.service import Actor
from api.auth.users import Principal
from api.chat.citations import name_sources
from api.chat.schemas import Source
from api.db import Connection, Database, tenant_transaction
from api.drafts import store
from api.drafts.schemas import TEXTS, AdrDraft, DraftAcceptance
from api.withdrawn import tell_withheld
from api.words import service as words
from runtime.errors import Conflict

_FENCED = re.compile(r"\A\s*(?P<fence>```+|~~~+)[^\n`~]*\n(?P<text>.*)\n(?P=fence)\s*\Z", re.DOTALL)


async def accept(
    database: Database, principal: Principal, draft: AdrDraft, wanted: DraftAcceptance, by: Actor, bytes_max: int
) -> Adr:
    """The ADR as it is then. Accepting again changes nothing. Raises `Conflict` for what is no whole text of an ADR, or
    was made from an older version; `Gone` for one that stands on what was deleted since; `TooLarge`, `NotFound` and
    `Gone` as any change of an ADR does."""
    tenant_id = principal.tenant_id
    if draft.accepted is None:
        _require_whole(draft)
    text = write_text(draft, wanted)
    service.require_fitting(text, bytes_max)
    own = await words.load(database, tenant_id)
    document = await asyncio.to_thread(parse, text, words=own)
    async with tenant_transaction(database, tenant_id) as connection:
        became = await store.lock(connection, tenant_id, draft.draft_id)
        if became is None:
            adr_id = await _write(connection, tenant_id, draft, wanted, text, document, by)
            adr = await queries.read(connection, tenant_id, adr_id)
            await store.accept(connection, tenant_id, draft.draft_id, adr_id, adr.version)
            return adr
        return await queries.read(connection, tenant_id, became[0], include_deleted=True)


async def _write(
    connection: Connection,
    tenant_id: UUID,
    draft: AdrDraft,
    wanted: DraftAcceptance,
    text: str,
    document: ParsedAdr,
    by: Actor,
) -> UUID:
    message = wanted.message or f"Drafted by {draft.model}"
    if draft.adr_id is None:
        content = service.content_of(text, document, title=wanted.title, status=wanted.status)
        made = NewAdr(body=text, log=wanted.log, tags=wanted.tags, message=message)
        return await service.create(connection, tenant_id, content, document, made, by)
    head = await service.lock(connection, tenant_id, draft.adr_id, draft.version)
    content = service.content_of(text, document, title=wanted.title, status=wanted.status, before=head)
    await service.update(connection, tenant_id, head, content, document, message, by)
    return draft.adr_id


def write_text(draft: AdrDraft, wanted: DraftAcceptance) -> str:
    """The text of the ADR: what a person made of it, else the draft's, without a fence around it. Pure."""
    if wanted.body is not None:
        return wanted.body
    fenced = _FENCED.match(draft.text)
    text = fenced["text"] if fenced else draft.text
    log = next((source.log for source in draft.sources if source.source_id == draft.adr_id), wanted.log)
    return name_sources(text.strip() + "\n", name_each(draft.sources, draft.adr_id, log))


def name_each(sources: Sequence[Source], adr_id: UUID | None, log: str | None) -> dict[int, str]:
    """What a text calls its sources in the place of their numbers; nothing for the ADR itself. Pure.

    A label means an ADR of the same log, so that one of another log goes by its title.
    """
    return {
        source.number: ""
        if source.source_id == adr_id
        else source.label
        if source.label is not None and source.log == log
        else f"“{source.title}”"
        for source in sources
    }


def _require_whole(draft: AdrDraft) -> None:
    """What a model broke off, or refused to write, is no text of an ADR, however much there is of it."""
    if draft.task not in TEXTS:
        raise Conflict(
            "this draft is for reading: it is no text of an ADR",
            hint=f"what can be accepted are drafts of the tasks {' and '.join(TEXTS)}",
        )
    if draft.withdrawn:
        raise tell_withheld("the draft", draft.withdrawn)
    if draft.state == "running":
        raise Conflict("the draft is still being written", hint="accept it when it has ended")
    if draft.finish != "stop" or not draft.text.strip():
        raise Conflict(
            f"the draft is not whole: it ended with {draft.finish or draft.state}",
            hint="draft it again; with `length`, raise llm.output_tokens_max or ask for less",
        )
