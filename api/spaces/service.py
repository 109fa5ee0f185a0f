"""The rows of a tenant's embedding spaces: asked for, taken instead of another, given back, dropped.

Owns which of these may follow which, and that one space is searched at any time. Refuses to make and to delete vectors
(`dataflows/space_jobs.py`), and to judge quality (`figures`). Each function works in the caller's transaction. Read
next: `schemas/sql/0041_spaces.sql`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api.auth.users import Principal
from api.db import Connection
from api.jobs import service as jobs
from api.spaces.figures import SpaceEvaluation, judge
from connectors.embedders import EmbeddingSpace
from runtime.errors import Conflict, NotFound
from schemas.jobs import BUILD_SPACE, DROP_SPACE, EVALUATE_SPACE

SPACES_MAX = 3
"""Spaces that a tenant has at once: that which is searched, the one before it, and one that is being built. Each costs
what the vectors of all passages take, and every edit is embedded in each."""

SpaceState = Literal["unused", "building", "ready", "active", "former", "behind", "dropping"]


class TenantSpace(msgspec.Struct, frozen=True):
    """A space that the tenant has, or that the settings could fill."""

    space: str
    names: Annotated[list[str], Meta(description="What the settings call its embedder; none: they have it no more.")]
    state: Annotated[SpaceState, Meta(description="`active` is what searches read.")]
    related: Annotated[bool, Meta(description="Related decisions are compared by its vectors.")]
    job: Annotated[jobs.Job | None, Meta(description="What builds or drops it, the newest.")]
    changed_at: datetime | None


class SpaceList(msgspec.Struct, frozen=True):
    """`indexing`: kinds of source that have an index in the active space, and wait for theirs in another, by space."""

    items: list[TenantSpace]
    evaluations: list[SpaceEvaluation]
    indexing: dict[str, list[str]]


class SpaceRow(msgspec.Struct, frozen=True):
    """A row of `app.tenant_spaces`."""

    space: str
    state: SpaceState
    related: bool
    job_id: UUID | None
    changed_at: datetime


class SpaceRanks(msgspec.Struct, frozen=True):
    """A row of `app.space_evaluations`."""

    space: str
    against: str
    ranks: list[int]
    against_ranks: list[int]
    evaluated_at: datetime


Named = Mapping[str, EmbeddingSpace]
BeginJob = Callable[[Connection, Principal, Named, str, str | None], Awaitable[UUID]]
"""What records a job for the space of a name, with the trace that asked for it, and gives the job's id."""

_ROWS = """
  select space, state, related, job_id, changed_at
  from app.tenant_spaces
  where tenant_id = $1
  order by space
"""
_ACTIVE = "select mv.active_space($1)"
_RANKS = """
  select space, against, ranks, against_ranks, evaluated_at
  from app.space_evaluations
  where tenant_id = $1
  order by evaluated_at desc
"""
_INDEXING = """
  select t.space, array_agg(i.kind order by i.kind) as kinds
  from app.tenant_spaces t
  join mv.vector_indexes i on i.tenant_id = t.tenant_id and i.state = 'live' and i.space = mv.active_space($1)
  where t.tenant_id = $1
    and t.state in ('ready', 'former')
    and not exists (
      select
      from mv.vector_indexes o
      where o.tenant_id = t.tenant_id and o.kind = i.kind and o.space = t.space and o.state = 'live'
    )
  group by t.space
"""


async def read(connection: Connection, tenant_id: UUID, named: Named) -> tuple[list[TenantSpace], list[SpaceRanks]]:
    """Every space of the tenant and of the settings, and what was measured of them."""
    rows = {row.space: row for row in await _rows(connection, tenant_id)}
    active = await connection.fetchval(_ACTIVE, tenant_id)
    spaces = []
    for space in dict.fromkeys([*rows, *([active] if active else []), *(each.name for each in named.values())]):
        row = rows.get(space)
        state: SpaceState = row.state if row else "active" if space == active else "unused"
        job = await jobs.read(connection, tenant_id, row.job_id) if row and row.job_id else None
        names = [name for name, each in named.items() if each.name == space]
        related = row.related if row else space == active and not rows
        spaces.append(TenantSpace(space, names, state, related, job, row.changed_at if row else None))
    ranks = [SpaceRanks(**row) for row in await connection.fetch(_RANKS, tenant_id)]
    return spaces, ranks


async def read_indexing(connection: Connection, tenant_id: UUID) -> dict[str, list[str]]:
    """Kinds that a search would have to compare one by one in another space, and does not in the active one."""
    return {row["space"]: row["kinds"] for row in await connection.fetch(_INDEXING, tenant_id)}


def evaluate_ranks(ranks: list[SpaceRanks]) -> list[SpaceEvaluation]:
    """What was measured, in figures. Takes some tenths of a second: call it in a thread."""
    return [judge(each.space, each.against, each.ranks, each.against_ranks, each.evaluated_at) for each in ranks]


_KNOWN = "select exists (select from mv.embedding_spaces where space = $1)"
_ALONE = "select pg_advisory_xact_lock(mv.spaces_lock())"
_TAKE_UP = """
  insert into app.tenant_spaces (tenant_id, space, state, related)
  values ($1, $2, 'active', true)
  on conflict do nothing
"""
_BEGIN = """
  insert into app.tenant_spaces (tenant_id, space, state, job_id, changed_by)
  values ($1, $2, 'building', $3, $4)
  on conflict (tenant_id, space)
  do update set job_id = excluded.job_id, changed_at = now(), changed_by = excluded.changed_by
"""


async def build(connection: Connection, principal: Principal, named: Named, name: str, traceparent: str | None) -> UUID:
    """The job that builds a space. From the commit on the flows keep it. Asked again, it is the job that is at it, or
    one that goes on where a failed one stopped."""
    space = _find(name, named, [])
    if not await connection.fetchval(_KNOWN, space):
        raise Conflict(f"nobody fills the space {space} yet", hint="start the flow `embed` with the same settings")
    # Alone: whoever did not see the row, and has not committed yet, is waited for.
    await connection.execute(_ALONE)
    tenant_id = principal.tenant_id
    active = await connection.fetchval(_ACTIVE, tenant_id)
    if active is None:
        raise Conflict("there is no embedding space yet", hint="start the flow `embed`")
    rows = {row.space: row for row in await _rows(connection, tenant_id)}
    state: SpaceState = rows[space].state if space in rows else "active" if space == active else "unused"
    if state not in ("unused", "building", "behind"):
        raise Conflict(f"the space {space} is {state}", hint="GET /v1/spaces says how each is")
    if state == "unused" and len(rows) >= SPACES_MAX:
        raise Conflict(f"a tenant has {SPACES_MAX} spaces at most", hint="drop one that you do not need")
    if state != "unused" and (at_work := await _open_job(connection, tenant_id, rows[space].job_id)):
        return at_work
    await connection.execute(_TAKE_UP, tenant_id, active)
    job_id = await _record(connection, principal, BUILD_SPACE, {"space": space}, traceparent)
    await connection.execute(_BEGIN, tenant_id, space, job_id, principal.user_id)
    return job_id


async def evaluate(
    connection: Connection, principal: Principal, named: Named, name: str, traceparent: str | None
) -> UUID:
    """The job that measures a space against the one that is searched."""
    rows = await _rows(connection, principal.tenant_id)
    row = _row(name, named, rows)
    if row.state not in ("ready", "former"):
        raise Conflict(f"the space {row.space} is {row.state}", hint="one that is ready, or was searched before")
    against = await connection.fetchval(_ACTIVE, principal.tenant_id)
    return await _record(connection, principal, EVALUATE_SPACE, {"space": row.space, "against": against}, traceparent)


_LOCK = "select from app.tenant_spaces where tenant_id = $1 order by space for update"
_SET = """
  update app.tenant_spaces
  set state = $3, changed_at = now(), changed_by = $4
  where tenant_id = $1 and space = $2 and state = any ($5::text[])
"""
_FORGET_FORMER = """
  update app.tenant_spaces
  set state = 'ready'
  where tenant_id = $1 and state = 'former'
"""


async def activate(connection: Connection, principal: Principal, named: Named, name: str, *, force: bool) -> None:
    """Have searches read another space from the commit on. One that was searched before is given back at any time; a
    new one needs an evaluation in which it is not worse, and the indexes of the one before it, unless forced."""
    tenant_id = principal.tenant_id
    await connection.execute(_LOCK, tenant_id)
    rows = await _rows(connection, tenant_id)
    row = _row(name, named, rows)
    if row.state == "active":
        return
    if row.state not in ("ready", "former"):
        raise Conflict(f"the space {row.space} is {row.state}", hint="it can be searched when it is ready")
    active = next(each.space for each in rows if each.state == "active")
    if row.state == "ready" and not force:
        await _require_good(connection, tenant_id, row.space, active)
    changed_by = principal.user_id
    await connection.execute(_FORGET_FORMER, tenant_id)
    await connection.execute(_SET, tenant_id, active, "former", changed_by, ["active"])
    await connection.execute(_SET, tenant_id, row.space, "active", changed_by, ["ready"])


async def drop(connection: Connection, principal: Principal, named: Named, name: str, traceparent: str | None) -> UUID:
    """The job that deletes what the tenant has in a space. From the commit on no flow keeps it. Asked again, it is the
    job that is at it."""
    await connection.execute(_ALONE)
    tenant_id = principal.tenant_id
    rows = await _rows(connection, tenant_id)
    row = _row(name, named, rows)
    if row.state == "active":
        raise Conflict(f"searches read the space {row.space}", hint="activate another one before")
    if row.state == "dropping" and (at_work := await _open_job(connection, tenant_id, row.job_id)):
        return at_work
    job_id = await _record(connection, principal, DROP_SPACE, {"space": row.space}, traceparent)
    states = ["building", "ready", "former", "behind", "dropping"]
    await connection.execute(_SET, tenant_id, row.space, "dropping", principal.user_id, states)
    await connection.execute(_SET_JOB, tenant_id, row.space, job_id)
    return job_id


_SET_JOB = "update app.tenant_spaces set job_id = $3 where tenant_id = $1 and space = $2"
_OPEN_JOB = "select job_id from app.jobs where tenant_id = $1 and job_id = $2 and state in ('queued', 'running')"


async def _open_job(connection: Connection, tenant_id: UUID, job_id: UUID | None) -> UUID | None:
    found: UUID | None = await connection.fetchval(_OPEN_JOB, tenant_id, job_id)
    return found


async def _record(
    connection: Connection, principal: Principal, kind: str, params: dict[str, Any], traceparent: str | None
) -> UUID:
    job_id, _ = await jobs.create(connection, principal, jobs.NewJob(kind, params), None, traceparent)
    return job_id


async def _rows(connection: Connection, tenant_id: UUID) -> list[SpaceRow]:
    return [SpaceRow(**row) for row in await connection.fetch(_ROWS, tenant_id)]


def _find(name: str, named: Named, rows: list[SpaceRow]) -> str:
    """The space that goes by this name: an embedder's of the settings, or its own."""
    if name in named:
        return named[name].name
    if name in (each.name for each in named.values()) or name in (row.space for row in rows):
        return name
    raise NotFound("there is no embedder of this name", hint=f"the settings have {', '.join(sorted(set(named)))}")


def _row(name: str, named: Named, rows: list[SpaceRow]) -> SpaceRow:
    space = _find(name, named, rows)
    for row in rows:
        if row.space == space:
            return row
    raise Conflict(f"the tenant has nothing in the space {space}", hint="build it before")


async def _require_good(connection: Connection, tenant_id: UUID, space: str, active: str) -> None:
    """Raise `Conflict` unless the newest evaluation says that nothing is lost beyond chance, and nothing slows down."""
    ranks = [SpaceRanks(**row) for row in await connection.fetch(_RANKS, tenant_id)]
    known = [each for each in ranks if (each.space, each.against) == (space, active)]
    verdict = (await asyncio.to_thread(evaluate_ranks, known[:1]))[0].verdict if known else "unknown"
    if verdict in ("worse", "unknown"):
        what = "finds less than what is searched now" if verdict == "worse" else "was not evaluated"
        raise Conflict(
            f"the space {space} {what}", hint="POST /v1/spaces/evaluations measures it; `force` takes it anyway"
        )
    if kinds := (await read_indexing(connection, tenant_id)).get(space):
        raise Conflict(
            f"the space {space} has no index of {', '.join(kinds)} yet", hint="it is being built; `force` does not wait"
        )
