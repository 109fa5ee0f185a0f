"""Overrides: a budget's limit, raised for a while, by somebody who says why.

Owns the SQL of `app.budget_overrides`. A raise has an actor, a reason, an amount and an end; it counts from the moment
in which it is made (`app.limit_of`), and no longer than its end, whether anybody looks or not. Rows are never deleted.
Refuses what should last: that is another limit.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from api.auth.users import Principal
from api.db import Database, tenant_transaction, to_struct
from api.paging import Slice
from api.spend import switch
from api.spend.budgets import LIMIT_MICRO_USD_MAX, Period
from api.spend.subjects import Level
from api.spend.switch import Reason
from runtime.errors import Conflict, InvalidInput, NotFound
from runtime.ids import new_id

OVERRIDE_DAYS_MAX = 31
"""Longest life of an override, in days: a budget's longest window. What is to last longer is a limit."""
IN_FORCE_MAX = 100
"""Overrides of one tenant that are in force at a time: an exception that is made more often is a rule."""


class NewOverride(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Raises one budget, whatever it is at, until `expires_at`."""

    budget_id: UUID
    amount_micro_usd: Annotated[
        int, Meta(ge=1, le=LIMIT_MICRO_USD_MAX, description="How much more it allows, in millionths of a US dollar.")
    ]
    reason: Reason
    expires_at: Annotated[datetime, Meta(tz=True, description="With its zone; at most 31 days from now.")]


class BudgetOverride(msgspec.Struct, frozen=True):
    """One row of the audit. What the budget was is in it, since the budget may be gone."""

    override_id: UUID
    budget_id: UUID
    level: Level
    subject: str
    period: Period
    amount_micro_usd: Annotated[int, Meta(description="Millionths of a US dollar.")]
    reason: str
    created_by: UUID
    created_at: datetime
    expires_at: datetime
    ended_by: Annotated[UUID | None, Meta(description="Who ended it before it expired.")]
    ended_at: datetime | None
    in_force: bool


class OverridePage(msgspec.Struct, frozen=True):
    """The newest first."""

    items: list[BudgetOverride]
    next_cursor: str | None


_COUNT = """
  select count(*)
  from app.budget_overrides
  where tenant_id = $1 and ended_at is null and expires_at > now()
"""

_MAKE = """
  insert into app.budget_overrides (
    tenant_id, override_id, budget_id, level, subject, period, amount_micro_usd, reason, created_by,
    expires_at
  )
  select tenant_id, $3, budget_id, level, subject, period, $4, $5, $6, $7
  from app.budgets
  where tenant_id = $1 and budget_id = $2
  returning
    override_id, budget_id, level, subject, period, amount_micro_usd, reason, created_by, created_at,
    expires_at, ended_by, ended_at, true as in_force
"""

_END = """
  update app.budget_overrides
  set ended_by = $3, ended_at = now()
  where tenant_id = $1 and override_id = $2 and ended_at is null and expires_at > now()
"""

_JUDGE = """
  select app.judge_spending(b, w.begins, w.spent_micro_usd)
  from app.budgets b
  join app.budget_windows w on w.tenant_id = b.tenant_id
    and w.budget_id = b.budget_id
    and w.begins = app.window_begin(b.period, b.created_at, now())
  where b.tenant_id = $1 and b.budget_id = $2
"""

_LIST = """
  select
    override_id, budget_id, level, subject, period, amount_micro_usd, reason, created_by, created_at,
    expires_at, ended_by, ended_at, ended_at is null and expires_at > now() as in_force
  from app.budget_overrides
  where tenant_id = $1
    and ($2::uuid is null or override_id = $2)
    and ($3::timestamptz is null or (created_at, override_id) < ($3, $4::uuid))
  order by created_at desc, override_id desc
  limit $5
"""


async def make(database: Database, principal: Principal, wanted: NewOverride, now: datetime) -> BudgetOverride:
    """The budget allows so much more from here on, and what it had stopped is resumed where that is enough. Raises
    `NotFound` for a budget that is none, `InvalidInput` for an end that is past or too far away, `Conflict` when
    `IN_FORCE_MAX` are in force."""
    if not now < wanted.expires_at <= now + timedelta(days=OVERRIDE_DAYS_MAX):
        raise InvalidInput(
            f"expires_at is past, or more than {OVERRIDE_DAYS_MAX} days away",
            hint="what should last longer is a limit: PUT /v1/budgets",
        )
    tenant_id = principal.tenant_id
    async with tenant_transaction(database, tenant_id) as connection:
        await connection.execute("select pg_advisory_xact_lock(app.budgets_lock($1))", tenant_id)
        if await connection.fetchval(_COUNT, tenant_id) >= IN_FORCE_MAX:
            raise Conflict(f"{IN_FORCE_MAX} overrides are in force already", hint="end one, or raise a limit")
        row = await connection.fetchrow(
            _MAKE,
            *(tenant_id, wanted.budget_id, new_id(), wanted.amount_micro_usd),
            *(wanted.reason, principal.user_id, wanted.expires_at),
        )
        if row is None:
            raise NotFound(f"there is no budget {wanted.budget_id} here", hint="GET /v1/budgets lists them")
        await switch.lift(connection, principal, wanted.budget_id, wanted.reason)
        return to_struct(row, BudgetOverride)


async def end(database: Database, principal: Principal, override_id: UUID) -> BudgetOverride:
    """The override counts no longer, and a budget that is far over its limit without it stops what it covers. One that
    had ended stays as it was. Raises `NotFound`."""
    tenant_id = principal.tenant_id
    async with tenant_transaction(database, tenant_id) as connection:
        await connection.execute("select pg_advisory_xact_lock(app.budgets_lock($1))", tenant_id)
        await connection.execute(_END, tenant_id, override_id, principal.user_id)
        row = await connection.fetchrow(_LIST, tenant_id, override_id, None, None, 1)
        if row is None:
            raise NotFound(f"there is no override {override_id} here", hint="GET /v1/spend/overrides lists them")
        await connection.execute(_JUDGE, tenant_id, row["budget_id"])
        return to_struct(row, BudgetOverride)


async def read(database: Database, tenant_id: UUID, limit: int, cursor: str | None) -> OverridePage:
    """All overrides that were ever made, a page at a time."""
    page = Slice(cursor, limit, tuple[datetime, UUID], "overrides")
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        rows = await connection.fetch(_LIST, tenant_id, None, *page.after, page.rows_max)
    found = [to_struct(row, BudgetOverride) for row in rows]
    return OverridePage(*page.cut(found, lambda each: (each.created_at, each.override_id)))
