"""The switch that stops spending: orders to stop, by hand or by a budget that is far over its limit, and resuming.

Owns the SQL of `app.spend_stops` on the side of a caller. An order is in force until somebody resumes it; one of a
budget ends with the budget's window too, and when the budget is raised far enough. Rows stay: they say who stopped and
resumed what, when and why. Refuses to enforce: the database refuses each attempt that begins
(`schemas/sql/0031_spending.sql`), and `watch` ends those in flight.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api.auth.users import Principal
from api.db import Connection, Database, tenant_transaction, to_struct
from api.spend.subjects import Level, Subject, require_subject
from runtime.errors import Conflict
from runtime.ids import new_id
from schemas import text

REASON_CHARS_MAX = 500
"""Longest reason, for a stop or a raise: a sentence or two, and what the database takes."""
STOP_PERCENT = 110
"""Where a budget stops everything that it covers, in percent of what it allows."""
ENDED_MAX = 50
"""Stops that are over and still shown, the newest: those of the last days, as a rule."""
IN_FORCE_MAX = 1_000
"""Stops in force that are shown. Each budget and each subject has one at most."""

Reason = Annotated[
    str, Meta(pattern=text.NAME, max_length=REASON_CHARS_MAX, description="One line, for whoever asks later why.")
]
SwitchPosition = Literal["running", "stopped"]


class SwitchChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is stopped, or resumed: all of the organisation's spending, a user's, or a credential's."""

    state: SwitchPosition
    reason: Reason
    level: Level = "org"
    subject: Subject = ""


class SpendStop(msgspec.Struct, frozen=True):
    """One order to stop. `stopped_by` is null where a budget gave it, and then `budget_id` says which one."""

    stop_id: UUID
    level: Level
    subject: str
    reason: str
    stopped_by: UUID | None
    budget_id: UUID | None
    stopped_at: datetime
    ends_at: Annotated[datetime | None, Meta(description="With the budget's window; null: not by itself.")]
    resumed_by: UUID | None
    resumed_at: datetime | None
    resume_reason: str


class SwitchState(msgspec.Struct, frozen=True):
    """`state` is of the whole organisation; `stops` are all that are in force, of users and credentials too. `ended`
    are the newest of those that are over."""

    state: SwitchPosition
    stops: list[SpendStop]
    ended: list[SpendStop]


_READ_IN_FORCE = """
  select
    stop_id, level, subject, reason, stopped_by, budget_id, stopped_at, ends_at, resumed_by, resumed_at,
    resume_reason
  from app.spend_stops s
  where tenant_id = $1 and resumed_at is null and app.is_in_force(s)
  order by stopped_at desc, stop_id
  limit $2
"""

_READ_ENDED = """
  select
    stop_id, level, subject, reason, stopped_by, budget_id, stopped_at, ends_at, resumed_by, resumed_at,
    resume_reason
  from app.spend_stops s
  where tenant_id = $1 and not app.is_in_force(s)
  order by stopped_at desc, stop_id
  limit $2
"""

_STOP = """
  insert into app.spend_stops (tenant_id, stop_id, level, subject, reason, stopped_by)
  values ($1, $2, $3, $4, $5, $6)
  on conflict do nothing
"""

_RESUME = """
  update app.spend_stops s
  set resumed_by = $4, resumed_at = now(), resume_reason = $5
  where tenant_id = $1 and level = $2 and subject = $3 and resumed_at is null and app.is_in_force(s)
"""

_FIND_FAR_OVER = """
  select b.period, w.spent_micro_usd, app.limit_of(b) as limit_micro_usd
  from app.budgets b
  join app.budget_windows w on w.tenant_id = b.tenant_id
    and w.budget_id = b.budget_id
    and w.begins = app.window_begin(b.period, b.created_at, now())
  where b.tenant_id = $1
    and b.level = $2
    and b.subject = $3
    and w.spent_micro_usd > 0
    and w.spent_micro_usd::numeric * 100 >= app.limit_of(b)::numeric * $4::int
  limit 1
"""

_LIFT = """
  update app.spend_stops s
  set resumed_by = $3, resumed_at = now(), resume_reason = $4
  where s.tenant_id = $1
    and s.budget_id = $2
    and s.resumed_at is null
    and not exists (
      select
      from app.budgets b
      join app.budget_windows w on w.tenant_id = b.tenant_id and w.budget_id = b.budget_id
      where b.tenant_id = s.tenant_id
        and b.budget_id = s.budget_id
        and w.begins = s.begins
        and w.spent_micro_usd::numeric * 100 >= app.limit_of(b)::numeric * $5::int
    )
"""


async def read(database: Database, tenant_id: UUID) -> SwitchState:
    """What is stopped now, and what was. Raises `DependencyUnavailable`: then nobody can say."""
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        return await _read(connection, tenant_id)


async def change(database: Database, principal: Principal, wanted: SwitchChange) -> SwitchState:
    """The switch is as it is wanted afterwards; what was so already stays as it is. Raises as `require_subject` does,
    and `Conflict` where a budget would stop it again with the next micro-dollar: then nothing was changed."""
    tenant_id = principal.tenant_id
    async with tenant_transaction(database, tenant_id) as connection:
        subject = await require_subject(connection, tenant_id, wanted.level, wanted.subject)
        where = (tenant_id, wanted.level, subject)
        if wanted.state == "stopped":
            row = (tenant_id, new_id(), wanted.level, subject, wanted.reason, principal.user_id)
            await connection.execute(_STOP, *row)
        else:
            # Alone, so that no budget stops while it is decided. Stopping waits for nobody.
            await connection.execute("select pg_advisory_xact_lock(app.budgets_lock($1))", tenant_id)
            over = await connection.fetchrow(_FIND_FAR_OVER, *where, STOP_PERCENT)
            if over:
                raise Conflict(
                    f"the budget of {over['limit_micro_usd']} micro-USD ({over['period']}) has spent "
                    f"{over['spent_micro_usd']}: it would stop again at once",
                    hint="raise its limit, or override it for a while with POST /v1/spend/overrides",
                )
            await connection.execute(_RESUME, *where, principal.user_id, wanted.reason)
        return await _read(connection, tenant_id)


async def lift(connection: Connection, principal: Principal, budget_id: UUID, reason: str) -> None:
    """End the stop of a budget that is not far over its limit any more, or is gone, in the transaction that did it."""
    await connection.execute(_LIFT, principal.tenant_id, budget_id, principal.user_id, reason, STOP_PERCENT)


async def _read(connection: Connection, tenant_id: UUID) -> SwitchState:
    stops = [to_struct(row, SpendStop) for row in await connection.fetch(_READ_IN_FORCE, tenant_id, IN_FORCE_MAX)]
    ended = [to_struct(row, SpendStop) for row in await connection.fetch(_READ_ENDED, tenant_id, ENDED_MAX)]
    return SwitchState("stopped" if any(stop.level == "org" for stop in stops) else "running", stops, ended)
