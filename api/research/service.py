"""The rows of research as the user who asked sees them.

Owns recording a question together with its job and its announcement, reading, listing, cancelling and deleting. Each is
the user's own: that of others of the tenant is not found. Refuses to do any of it (`api/research/job.py`), and works in
the caller's transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from api import paging
from api.auth.users import Principal
from api.db import Connection, to_struct
from api.jobs import service as jobs
from api.jobs.service import NewJob
from api.requests import hash_request
from api.research.composing import stands_on, withdraw
from api.research.schemas import Research, ResearchPage, ResearchRequest
from api.withdrawn import find_gone
from runtime.errors import Conflict, NotFound
from schemas.jobs import RESEARCH

OPEN_MAX = 20
"""Questions of one user that wait or run: each takes a second or two, and nobody reads faster."""


class _KeyedQuestion(msgspec.Struct, frozen=True):
    """What a key stands for: keys are the tenant's, and questions a user's."""

    user_id: UUID
    request: ResearchRequest


_COUNT_OPEN = """
  select count(*)
  from app.research r
  join app.jobs j on j.tenant_id = r.tenant_id and j.job_id = r.research_id
  where r.tenant_id = $1 and r.asked_by = $2 and j.state in ('queued', 'running')
"""

_INSERT = """
  insert into app.research (tenant_id, research_id, asked_by, key_id, question, request)
  values ($1, $2, $3, $4, $5, $6::text::jsonb)
"""

_EMIT_REQUESTED = """
  select
    app.emit(
      'rag.search.requested', jsonb_build_object('tenant_id', r.tenant_id, 'id', r.research_id), r.tenant_id,
      jsonb_build_object(
        'event_id', gen_random_uuid(), 'tenant_id', r.tenant_id,
        'occurred_at', (extract(epoch from clock_timestamp()) * 1000000)::bigint, 'job_id', r.research_id,
        'question', r.question, 'mode', 'hybrid', 'sources_max', (r.request ->> 'sources')::integer,
        'filters', $3::text::jsonb, 'session_id', null, 'requested_by', r.asked_by, 'deadline_at', null
      ),
      case
        when j.traceparent is null then '{}'::jsonb
        else jsonb_build_object('traceparent', j.traceparent)
      end
    ),
    app.emit_job_progress(r.tenant_id, r.research_id)
  from app.research r
  join app.jobs j on j.tenant_id = r.tenant_id and j.job_id = r.research_id
  where r.tenant_id = $1 and r.research_id = $2
"""


async def create(
    connection: Connection, principal: Principal, request: ResearchRequest, key: str | None, traceparent: str | None
) -> tuple[UUID, bool]:
    """A question, its job and its announcement. True when an earlier request with this key had made it. Raises
    `Conflict` for a key of another request, and when too many of the user's wait."""
    tenant_id, user_id = principal.tenant_id, principal.user_id
    waiting = await connection.fetchval(_COUNT_OPEN, tenant_id, user_id)
    request_hash = hash_request(_KeyedQuestion(user_id, request))
    job_id, replayed = await jobs.record(connection, principal, NewJob(RESEARCH), key, traceparent, request_hash)
    if replayed:
        return job_id, True
    if waiting >= OPEN_MAX:
        raise Conflict(
            f"{waiting} questions of yours wait or run, and at most {OPEN_MAX} may",
            hint="wait for one of them, or cancel it",
        )
    encoded = msgspec.json.encode(request).decode()
    await connection.execute(_INSERT, tenant_id, job_id, user_id, principal.key_id, request.question, encoded)
    await connection.execute(_EMIT_REQUESTED, tenant_id, job_id, msgspec.json.encode(_filters(request)).decode())
    return job_id, False


def _filters(request: ResearchRequest) -> dict[str, str]:
    """The filters as the event has them: one text each."""
    given = {
        "status": ",".join(request.status),
        "tag": ",".join(request.tag),
        "log": request.log,
        "author": request.author,
        "since": request.since and request.since.isoformat(),
        "until": request.until and request.until.isoformat(),
        "kind": request.kind,
    }
    return {name: value for name, value in given.items() if value}


_READ = """
  select
    r.research_id, r.question, j.state, j.phase, j.done, j.total, j.unit,
    j.cancel_requested_at is not null as cancel_requested, case when $6 then r.result end as result,
    j.last_error, r.created_at, j.finished_at
  from app.research r
  join app.jobs j on j.tenant_id = r.tenant_id and j.job_id = r.research_id
  where r.tenant_id = $1
    and r.asked_by = $2
    and ($3::uuid is null or r.research_id = $3)
    and ($4::timestamptz is null or (r.created_at, r.research_id) < ($4, $5::uuid))
  order by r.created_at desc, r.research_id desc
  limit $7
"""


async def read(connection: Connection, principal: Principal, research_id: UUID) -> Research:
    """What became of it, without what stood on sources that were deleted since. Raises `NotFound`, also for what
    another user asked."""
    row = await connection.fetchrow(_READ, principal.tenant_id, principal.user_id, research_id, None, None, True, 1)
    if row is None:
        raise NotFound(f"there is no research {research_id} of yours", hint="GET /v1/research lists them")
    found = _research(row)
    if found.result is None:
        return found
    gone = await find_gone(connection, stands_on(found.result))
    return msgspec.structs.replace(found, result=withdraw(found.result, gone)) if gone else found


async def page(connection: Connection, principal: Principal, limit: int, cursor: str | None) -> ResearchPage:
    """Newest first, without results."""
    part = paging.Slice(cursor, limit, tuple[datetime, UUID], "research", str(principal.user_id))
    rows = await connection.fetch(
        _READ, principal.tenant_id, principal.user_id, None, *part.after, False, part.rows_max
    )
    return ResearchPage(*part.cut(list(map(_research, rows)), lambda each: (each.created_at, each.research_id)))


async def cancel(connection: Connection, principal: Principal, research_id: UUID) -> Research:
    """Cancel it: at once when nobody works on it, else after its step. One that is over stays as it ended."""
    await read(connection, principal, research_id)
    await jobs.cancel(connection, principal.tenant_id, research_id)
    return await read(connection, principal, research_id)


async def delete(connection: Connection, principal: Principal, research_id: UUID) -> None:
    """Cancel it and delete what was asked and found. Its job stays, which says nothing of either."""
    await cancel(connection, principal, research_id)
    await connection.execute(
        "delete from app.research where tenant_id = $1 and research_id = $2", principal.tenant_id, research_id
    )


def _research(row: Any) -> Research:
    return to_struct(row, Research, "result", "last_error")
