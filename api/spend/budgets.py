"""A tenant's budgets: what may be spent, by whom, in which time, and how far that is.

Owns the SQL of `app.budgets`, and what a new budget begins with: what the ledger says was spent in its window already,
so that the counter is the ledger's sum from the first moment. Refuses to reserve and to settle: the database does, with
the attempts (`schemas/sql/0027_budgets.sql`); `purse` asks it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api.auth.users import Principal
from api.db import Connection, Database, tenant_transaction, to_struct
from api.spend import switch
from api.spend.subjects import Level, Subject, require_subject
from runtime.errors import Conflict, NotFound
from runtime.ids import new_id

BUDGETS_MAX = 1_000
"""Budgets of a tenant. All are read and shown at once; and each request locks those that cover it, which are nine."""
LIMIT_MICRO_USD_MAX = 10**15
"""A thousand million dollars: what the database takes. More has mistaken the unit."""

Period = Literal["day", "month", "prepaid"]
MicroUsd = Annotated[int, Meta(description="Millionths of a US dollar.")]


class NewBudget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """There is one budget for each level, subject and period: setting it again changes its limit."""

    level: Level
    period: Annotated[Period, Meta(description="A day or a month in UTC; `prepaid` is used up once.")]
    limit_micro_usd: Annotated[
        int, Meta(ge=0, le=LIMIT_MICRO_USD_MAX, description="Millionths of a US dollar; 0 allows nothing.")
    ]
    subject: Subject = ""


class BudgetState(msgspec.Struct, frozen=True):
    """A budget and its window of now. `spent_micro_usd` is the ledger's sum over the attempts that began in the window;
    `reserved_micro_usd` is held by attempts in flight; `remaining_micro_usd` is what a new one may take."""

    budget_id: UUID
    level: Level
    subject: str
    period: Period
    limit_micro_usd: MicroUsd
    raised_micro_usd: Annotated[int, Meta(description="By overrides that are in force, in millionths of a US dollar.")]
    spent_micro_usd: MicroUsd
    reserved_micro_usd: MicroUsd
    remaining_micro_usd: MicroUsd
    begins: Annotated[datetime, Meta(description="When the window began.")]
    resets_at: Annotated[datetime | None, Meta(description="When the next one begins; null: never.")]
    created_by: Annotated[UUID, Meta(description="The user who set the limit.")]
    created_at: datetime


_LOCK = "select pg_advisory_xact_lock(app.budgets_lock($1))"

_READ = """
  select
    b.budget_id, b.level, b.subject, b.period, b.limit_micro_usd,
    app.limit_of(b) - b.limit_micro_usd as raised_micro_usd,
    coalesce(w.spent_micro_usd, 0) as spent_micro_usd,
    coalesce(w.reserved_micro_usd, 0) as reserved_micro_usd,
    greatest(
      0, app.limit_of(b) - coalesce(w.spent_micro_usd, 0) - coalesce(w.reserved_micro_usd, 0)
    ) as remaining_micro_usd,
    now_in.begins, app.window_end(b.period, now_in.begins) as resets_at, b.created_by, b.created_at
  from app.budgets b
  cross join lateral (select app.window_begin(b.period, b.created_at, now()) as begins) now_in
  left join app.budget_windows w on w.tenant_id = b.tenant_id
    and w.budget_id = b.budget_id
    and w.begins = now_in.begins
  where b.tenant_id = $1 and ($2::uuid is null or b.budget_id = $2)
  order by b.level, b.subject, b.period
"""

_SET = """
  insert into app.budgets as known (tenant_id, budget_id, level, subject, period, limit_micro_usd, created_by)
  values ($1, $2, $3, $4, $5, $6, $7)
  on conflict (tenant_id, level, subject, period)
  do update set limit_micro_usd = excluded.limit_micro_usd, created_by = excluded.created_by
  returning budget_id, budget_id = $2 as is_new
"""

_SEED = """
  insert into app.budget_windows (tenant_id, budget_id, begins, spent_micro_usd)
  select b.tenant_id, b.budget_id, now_in.begins, coalesce(sum(u.cost_micro_usd), 0)::bigint
  from app.budgets b
  cross join lateral (select app.window_begin(b.period, b.created_at, now()) as begins) now_in
  left join app.usage_events u on u.tenant_id = b.tenant_id
    and u.started_at >= now_in.begins
    and app.budget_covers(b.level, b.subject, u.user_id, u.key_id)
  where b.tenant_id = $1 and b.budget_id = $2
  group by b.tenant_id, b.budget_id, now_in.begins
"""

_REMOVE = "delete from app.budgets where tenant_id = $1 and budget_id = $2 returning budget_id"


async def read(database: Database, tenant_id: UUID) -> list[BudgetState]:
    """All budgets of the tenant, with their windows of now."""
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        return await _read(connection, tenant_id, None)


async def replace(database: Database, principal: Principal, wanted: NewBudget) -> BudgetState:
    """The budget has this limit afterwards. Raises `InvalidInput` for a subject that does not fit the level, `NotFound`
    for a user whom the tenant does not have, `Conflict` when the tenant has `BUDGETS_MAX` others."""
    tenant_id, budget_id = principal.tenant_id, new_id()
    async with tenant_transaction(database, tenant_id) as connection:
        await connection.execute(_LOCK, tenant_id)
        subject = await require_subject(connection, tenant_id, wanted.level, wanted.subject)
        row = await connection.fetchrow(
            _SET,
            *(tenant_id, budget_id, wanted.level, subject, wanted.period, wanted.limit_micro_usd, principal.user_id),
        )
        if row["is_new"]:
            count = await connection.fetchval("select count(*) from app.budgets where tenant_id = $1", tenant_id)
            if count > BUDGETS_MAX:
                raise Conflict(f"the tenant has {BUDGETS_MAX} budgets already", hint="remove one that nobody needs")
            await connection.execute(_SEED, tenant_id, budget_id)
        await switch.lift(connection, principal, row["budget_id"], "the budget has another limit")
        (state,) = await _read(connection, tenant_id, row["budget_id"])
        return state


async def remove(database: Database, principal: Principal, budget_id: UUID) -> None:
    """The budget limits nobody any more; what the ledger says stays. Raises `NotFound`."""
    tenant_id = principal.tenant_id
    async with tenant_transaction(database, tenant_id) as connection:
        await connection.execute(_LOCK, tenant_id)
        if not await connection.fetchval(_REMOVE, tenant_id, budget_id):
            raise NotFound(f"there is no budget {budget_id} here", hint="GET /v1/budgets lists them")
        await switch.lift(connection, principal, budget_id, "the budget was removed")


async def _read(connection: Connection, tenant_id: UUID, budget_id: UUID | None) -> list[BudgetState]:
    return [to_struct(row, BudgetState) for row in await connection.fetch(_READ, tenant_id, budget_id)]
