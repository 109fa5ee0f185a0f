"""What agents would write, and what people answer: a new ADR, a link, a tag.

Owns `app.proposals`. Recording writes the proposal and nothing else, under the id of the step that makes it: done
again, it is there already. Accepting writes by the services that a person's own change goes through, in the transaction
that notes it, so that it happens once and the history names who accepted. Works in the caller's transaction. Refuses to
suggest: an agent does.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from api import paging
from api.adrs import links, queries, service, tags
from api.adrs.document import ParsedAdr
from api.adrs.mentions import LinkKind
from api.adrs.naming import find, parse_name
from api.adrs.schemas import NewAdr, NewLink, Tag, Title
from api.adrs.service import Actor
from api.agents import withholding
from api.agents.schemas import Proposal, ProposalKind, ProposalPage, ProposalState
from api.agents.transcript import encode
from api.db import Connection, to_struct
from api.mcp.shapes import Log, Named
from api.withdrawn import SourceName, tell_withheld
from runtime.errors import Conflict, NotFound
from schemas import text

BODY_CHARS_MAX: Final = 48_000
"""Longest text of a proposed ADR: as much as is read of one for a draft."""

_Reason = Annotated[str, Meta(min_length=1, max_length=1_000, description="Why, with what it stands on.")]


class ProposedAdr(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `propose_adr` takes."""

    title: Title
    body: Annotated[
        str,
        Meta(pattern=text.BODY, min_length=1, max_length=BODY_CHARS_MAX, description="Markdown."),
    ]
    reason: _Reason
    log: Annotated[str, Meta(pattern=text.SLUG, description="Slug of the log it would go to.")] = "main"
    tags: Annotated[list[Tag], Meta(max_length=10)] = []


class ProposedLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `propose_link` takes: `adr` would be linked to `target`."""

    adr: Named
    kind: LinkKind
    target: Named
    reason: _Reason
    log: Log = None


class ProposedTag(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `propose_tag` takes."""

    adr: Named
    tag: Tag
    reason: _Reason
    log: Log = None


Proposed = ProposedAdr | ProposedLink | ProposedTag


class Recorded(msgspec.Struct, frozen=True):
    """What a model is told of its proposal."""

    proposal_id: UUID
    told: str = "It waits for a person, who accepts or dismisses it. Nothing was written."


_INSERT: Final = """
  with recursive line as (
    select task_id, parent_id
    from app.agent_tasks
    where tenant_id = $1 and task_id = $3
    union all
    select t.task_id, t.parent_id
    from app.agent_tasks t
    join line on t.task_id = line.parent_id
    where t.tenant_id = $1
  )
  insert into app.proposals (
    tenant_id, proposal_id, task_id, proposed_by, kind, adr_id, content, reason, sources
  )
  select
    $1, $2, $3, $4, $5, $6, $7::text::jsonb, $8,
    (
      select coalesce(jsonb_agg(distinct read.source), '[]')
      from line
      join app.agent_steps s on s.tenant_id = $1 and s.task_id = line.task_id
      cross join jsonb_array_elements(s.sources) as read (source)
    )
  on conflict (tenant_id, proposal_id) do nothing
"""
"""It stands on all that its task, and those above that one, had read by then."""


async def record(
    connection: Connection, tenant_id: UUID, user_id: UUID, task_id: UUID, step_id: UUID, asked: Proposed
) -> Recorded:
    """Write a proposal down. Raises `NotFound` and `Gone` for an ADR that is not there."""
    kind: ProposalKind
    adr_id: UUID | None = None
    if isinstance(asked, ProposedAdr):
        kind, content = "adr", {"title": asked.title, "body": asked.body, "log": asked.log, "tags": asked.tags}
    else:
        adr_id = await _find(connection, tenant_id, asked.adr, asked.log)
        if isinstance(asked, ProposedLink):
            target_id = await _find(connection, tenant_id, asked.target, asked.log)
            kind, content = "link", {"kind": asked.kind, "target_id": str(target_id)}
        else:
            kind, content = "tag", {"tag": asked.tag}
    what = (kind, adr_id, encode(content), asked.reason.replace("\0", "\ufffd"))
    await connection.execute(_INSERT, tenant_id, step_id, task_id, user_id, *what)
    return Recorded(step_id)


async def _find(connection: Connection, tenant_id: UUID, name: str, log: str | None) -> UUID:
    adr_id = await find(connection, tenant_id, parse_name(name, log))
    return (await queries.read(connection, tenant_id, adr_id)).adr_id


# --- for people -----------------------------------------------------------------------------------------------------


_READ: Final = """
  select
    proposal_id, task_id, kind, adr_id, content, reason, state, answered_by, answered_at, became_id,
    created_at, sources
  from app.proposals
  where tenant_id = $1
    and ($2::uuid is null or proposal_id = $2)
    and ($3::text is null or state = $3)
    and ($4::uuid is null or task_id = $4)
    and ($5::timestamptz is null or (created_at, proposal_id) < ($5, $6::uuid))
  order by created_at desc, proposal_id desc
  limit $7
"""


async def page(
    connection: Connection, tenant_id: UUID, state: ProposalState | None, task_id: UUID | None, part: paging.Slice
) -> ProposalPage:
    """Newest first."""
    rows = await connection.fetch(_READ, tenant_id, None, state, task_id, *part.after, part.rows_max)
    found = await withholding.withhold_proposals(connection, map(_proposal, rows))
    return ProposalPage(*part.cut(found, lambda each: (each.created_at, each.proposal_id)))


def slice_of(cursor: str | None, limit: int, state: str | None, task_id: UUID | None) -> paging.Slice:
    """A page of proposals."""
    return paging.Slice(cursor, limit, tuple[datetime, UUID], "proposals", state, task_id)


async def read(connection: Connection, tenant_id: UUID, proposal_id: UUID) -> Proposal:
    """Raises `NotFound`."""
    row = await connection.fetchrow(_READ, tenant_id, proposal_id, None, None, None, None, 1)
    if row is None:
        raise NotFound(f"there is no proposal {proposal_id}", hint="GET /v1/agents/proposals lists them")
    (found,) = await withholding.withhold_proposals(connection, [_proposal(row)])
    return found


async def accept(
    connection: Connection, tenant_id: UUID, proposal_id: UUID, document: ParsedAdr | None, by: Actor
) -> Proposal:
    """Write what is proposed. Accepting again changes nothing. `document`: the text of a new ADR as it is read. Raises
    `Conflict` for one that was dismissed, `Gone` for one that stands on what was deleted since, and what the change
    raises."""
    found = await _lock(connection, tenant_id, proposal_id)
    if found.state == "accepted":
        return found
    if found.state == "dismissed":
        raise Conflict("the proposal was dismissed", hint="make the change yourself, or have it proposed again")
    require_shown(found)
    if found.adr_id is None:
        assert document is not None, "a new ADR is read before it is accepted"
        became_id = await _create(connection, tenant_id, found, document, by)
    else:
        became_id = found.adr_id
        head = await service.lock(connection, tenant_id, found.adr_id, service.ANY_VERSION)
        service.require_alive(head)
        if found.kind == "tag":
            await tags.add(connection, tenant_id, head.adr_id, found.content["tag"])
        else:
            link = NewLink(kind=found.content["kind"], target=found.content["target_id"])
            await links.put(connection, tenant_id, head.adr_id, head.log_id, link)
    return await _answer(connection, tenant_id, proposal_id, "accepted", by, became_id)


def require_shown(proposal: Proposal) -> None:
    """Raise `Gone` for a proposal whose text is withheld: nobody can say yes to what they cannot read."""
    if proposal.withdrawn:
        raise tell_withheld("the proposal", proposal.withdrawn)


async def dismiss(connection: Connection, tenant_id: UUID, proposal_id: UUID, by: Actor) -> Proposal:
    """Say no. Dismissing again changes nothing. Raises `Conflict` for one that was accepted."""
    found = await _lock(connection, tenant_id, proposal_id)
    if found.state == "dismissed":
        return found
    if found.state == "accepted":
        raise Conflict("the proposal was accepted", hint="take back what was written, as any change")
    return await _answer(connection, tenant_id, proposal_id, "dismissed", by, None)


async def _create(connection: Connection, tenant_id: UUID, found: Proposal, document: ParsedAdr, by: Actor) -> UUID:
    body: str = found.content["body"]
    content = service.content_of(body, document, title=found.content["title"])
    message = f"Proposed by an agent: {found.reason}"
    wanted = NewAdr(body=body, log=found.content["log"], tags=found.content["tags"], message=message)
    return await service.create(connection, tenant_id, content, document, wanted, by)


async def _lock(connection: Connection, tenant_id: UUID, proposal_id: UUID) -> Proposal:
    await connection.execute(
        "select from app.proposals where tenant_id = $1 and proposal_id = $2 for update", tenant_id, proposal_id
    )
    return await read(connection, tenant_id, proposal_id)


_ANSWER: Final = """
  update app.proposals
  set state = $3, answered_by = $4, answered_id = $5, answered_at = now(), became_id = $6
  where tenant_id = $1 and proposal_id = $2
"""


async def _answer(
    connection: Connection,
    tenant_id: UUID,
    proposal_id: UUID,
    state: ProposalState,
    by: Actor,
    became_id: UUID | None,
) -> Proposal:
    await connection.execute(_ANSWER, tenant_id, proposal_id, state, by.name, by.user_id, became_id)
    return await read(connection, tenant_id, proposal_id)


def _proposal(row: Any) -> tuple[Proposal, list[SourceName]]:
    return to_struct(row, Proposal, "content"), withholding.read_note(row["sources"])
