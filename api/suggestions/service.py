"""Suggestions, as they are shown and answered.

Owns the SQL of `app.suggestion_answers`, and the rule of what an answer holds against: evidence of the same kind and
of weaker ones, of the same two decisions. A suggestion that somebody dismissed because two titles differ comes back
when the newer text says in words that it supersedes the other; nothing else brings it back: neither an edit nor making
everything anew. Accepting makes the link and the status by the services that a person's own change goes through.
Refuses to suggest: the flow `related` does.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from api import paging
from api.adrs import links, service
from api.adrs.schemas import NewLink
from api.db import Connection, to_struct
from api.suggestions.schemas import SuggestedRelation, SuggestionState, say
from runtime.errors import Conflict, NotFound
from schemas.suggestions import CONFIDENCE, EVIDENCE, IN_FORCE, SuggestionKind

OF_ONE_MAX = 50
"""Suggestions of one decision that are shown. They are of its nearest, of which a list has ten."""

_READ = """
  with found as (
    select
      s.suggestion_id, s.newer_id, s.older_id, s.kind, s.evidence,
      jsonb_build_object(
        'terms', s.terms,
        'newer', jsonb_build_object(
          'field', s.newer_field, 'start', s.newer_start, 'end', s.newer_end, 'quote', s.newer_quote
        ),
        'older', jsonb_build_object(
          'field', s.older_field, 'start', s.older_start, 'end', s.older_end, 'quote', s.older_quote
        )
      ) as reason,
      case
        when a.state = 'dismissed'
          and array_position($8::text[], s.evidence) < array_position($8::text[], a.evidence) then
          'open'
        else coalesce(a.state, 'open')
      end as state,
      a.answered_by, a.answered_at
    from mv.suggestions s
    left join app.suggestion_answers a using (tenant_id, suggestion_id)
    where s.tenant_id = $1
    union all
    select
      a.suggestion_id, a.newer_id, a.older_id, a.kind, a.evidence, a.reason, a.state, a.answered_by,
      a.answered_at
    from app.suggestion_answers a
    where a.tenant_id = $1
      and not exists (
        select
        from mv.suggestions s
        where s.tenant_id = a.tenant_id and s.suggestion_id = a.suggestion_id
      )
  )
  select
    f.suggestion_id, f.kind, f.evidence, f.state, f.reason, f.answered_by, f.answered_at,
    jsonb_build_object(
      'adr_id', n.adr_id, 'label', 'ADR-' || coalesce(n.label, n.number::text), 'log', m.slug,
      'title', n.title, 'status', n.status, 'version', n.version
    ) as newer,
    jsonb_build_object(
      'adr_id', o.adr_id, 'label', 'ADR-' || coalesce(o.label, o.number::text), 'log', p.slug,
      'title', o.title, 'status', o.status, 'version', o.version
    ) as older
  from found f
  join app.adrs n on n.tenant_id = $1 and n.adr_id = f.newer_id
  join app.logs m on m.tenant_id = n.tenant_id and m.log_id = n.log_id
  join app.adrs o on o.tenant_id = $1 and o.adr_id = f.older_id
  join app.logs p on p.tenant_id = o.tenant_id and p.log_id = o.log_id
  where ($2::text is null or f.state = $2)
    and ($3::text is null or f.kind = $3)
    and ($4::uuid is null or f.newer_id = $4 or f.older_id = $4)
    and ($5::uuid is null or (f.newer_id, f.suggestion_id) < ($5::uuid, $6::uuid))
    and n.deleted_at is null
    and o.deleted_at is null
    and (f.state <> 'open' or (n.status = any($9::text[]) and o.status = any($9::text[])))
    and ($10::uuid is null or f.suggestion_id = $10)
  order by f.newer_id desc, f.suggestion_id desc
  limit $7
"""


async def read_all(
    connection: Connection,
    tenant_id: UUID,
    page: paging.Slice,
    *,
    state: SuggestionState | None,
    kind: SuggestionKind | None,
) -> tuple[list[SuggestedRelation], str | None]:
    """A page of all suggestions of a tenant, and the cursor of the next one."""
    found = await _read(connection, tenant_id, state, kind, None, page.after[0], page.after[1], page.rows_max)
    return page.cut(found, lambda each: (each.newer.adr_id, each.suggestion_id))


async def read_of(
    connection: Connection, tenant_id: UUID, adr_id: UUID, state: SuggestionState | None
) -> list[SuggestedRelation]:
    """Those in which a decision is the newer or the older one."""
    return await _read(connection, tenant_id, state, None, adr_id, None, None, OF_ONE_MAX)


async def read_one(connection: Connection, tenant_id: UUID, suggestion_id: UUID) -> SuggestedRelation:
    """One that is open or was answered. Raises `NotFound`."""
    found = await _read(connection, tenant_id, None, None, None, None, None, 1, suggestion_id)
    if not found:
        raise NotFound(
            f"there is no suggestion {suggestion_id}",
            hint="its reason may be gone; GET /v1/suggestions lists those that are there",
        )
    return found[0]


async def _read(
    connection: Connection,
    tenant_id: UUID,
    state: SuggestionState | None,
    kind: SuggestionKind | None,
    adr_id: UUID | None,
    after_newer: UUID | None,
    after_id: UUID | None,
    rows_max: int,
    suggestion_id: UUID | None = None,
) -> list[SuggestedRelation]:
    rows = await connection.fetch(
        _READ,
        *(tenant_id, state, kind, adr_id, after_newer, after_id, rows_max),
        *(list(EVIDENCE), list(IN_FORCE), suggestion_id),
    )
    return [_to_relation(row) for row in rows]


def _to_relation(row: Any) -> SuggestedRelation:
    kind, evidence = row["kind"], row["evidence"]
    said = {"evidence": evidence, "text": say(kind, evidence), "confidence": CONFIDENCE.get((kind, evidence), 0.0)}
    reason = msgspec.json.decode(row["reason"]) | said
    return to_struct({**row, "reason": reason}, SuggestedRelation, "newer", "older")


# --- answers --------------------------------------------------------------------------------------------------------


_ANSWER = """
  insert into app.suggestion_answers (
    tenant_id, suggestion_id, newer_id, older_id, kind, evidence, reason, state, answered_by, answered_id
  )
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
  on conflict (tenant_id, suggestion_id)
  do update set
    kind = excluded.kind,
    evidence = excluded.evidence,
    reason = excluded.reason,
    state = excluded.state,
    answered_by = excluded.answered_by,
    answered_id = excluded.answered_id,
    answered_at = excluded.answered_at
"""


async def accept(
    connection: Connection, tenant_id: UUID, suggestion_id: UUID, expected_version: int | None, by: service.Actor
) -> SuggestedRelation:
    """Make the link, and give the older decision the status that it then has. Accepting again changes nothing."""
    found = await read_one(connection, tenant_id, suggestion_id)
    if found.state == "accepted":
        return found
    if found.kind == "conflicts" and expected_version is None:
        expected_version = service.ANY_VERSION  # it changes no version
    heads = {}
    # In the order of ids, so that two who accept in both directions wait for each other and do not block each other.
    for adr_id in sorted((found.newer.adr_id, found.older.adr_id)):
        wanted = expected_version if adr_id == found.older.adr_id else service.ANY_VERSION
        heads[adr_id] = await service.lock(connection, tenant_id, adr_id, wanted)
        service.require_alive(heads[adr_id])
    found = await read_one(connection, tenant_id, suggestion_id)
    if found.state == "accepted":  # by somebody who was faster
        return found
    newer, older = heads[found.newer.adr_id], heads[found.older.adr_id]
    if older.status not in IN_FORCE:
        raise Conflict(f"the older decision is {older.status} by now", hint="dismiss the suggestion, or leave it")
    link = NewLink("supersedes" if found.kind == "supersedes" else "relates-to", str(older.adr_id))
    await links.put(connection, tenant_id, newer.adr_id, newer.log_id, link)
    if found.kind == "supersedes":
        before = await service.content_at(connection, tenant_id, older.adr_id, older.version)
        content = service.give_title(before, None, "superseded")
        message = f"Superseded by {found.newer.label or found.newer.title}"
        await service.update(connection, tenant_id, older, content, None, message, by)
    return await _answer(connection, tenant_id, found, "accepted", by)


async def dismiss(connection: Connection, tenant_id: UUID, suggestion_id: UUID, by: service.Actor) -> SuggestedRelation:
    """Keep that it is none. Dismissing again changes nothing."""
    found = await read_one(connection, tenant_id, suggestion_id)
    if found.state == "accepted":
        raise Conflict("the suggestion was accepted", hint="remove the link that it made, and reopen it")
    if found.state == "dismissed":
        return found
    return await _answer(connection, tenant_id, found, "dismissed", by)


_LINKED = """
  select true
  from app.adr_links
  where tenant_id = $1 and adr_id = $2 and target_id = $3 and kind = $4
"""


async def reopen(connection: Connection, tenant_id: UUID, suggestion_id: UUID) -> SuggestedRelation:
    """Forget the answer. One that was accepted is open again when its link is gone."""
    found = await read_one(connection, tenant_id, suggestion_id)
    link = "supersedes" if found.kind == "supersedes" else "relates-to"
    if found.state == "accepted" and await connection.fetchval(
        _LINKED, tenant_id, found.newer.adr_id, found.older.adr_id, link
    ):
        raise Conflict("the suggestion was accepted, and its link is there", hint="remove the link first")
    await connection.execute(
        "delete from app.suggestion_answers where tenant_id = $1 and suggestion_id = $2", tenant_id, suggestion_id
    )
    return msgspec.structs.replace(found, state="open", answered_by=None, answered_at=None)


async def _answer(
    connection: Connection, tenant_id: UUID, found: SuggestedRelation, state: SuggestionState, by: service.Actor
) -> SuggestedRelation:
    reason = found.reason
    kept = msgspec.json.encode({"terms": reason.terms, "newer": reason.newer, "older": reason.older}).decode()
    await connection.execute(
        _ANSWER,
        *(tenant_id, found.suggestion_id, found.newer.adr_id, found.older.adr_id, found.kind, reason.evidence, kept),
        *(state, by.name, by.user_id),
    )
    return await read_one(connection, tenant_id, found.suggestion_id)
