"""Alerts of spending, read for a caller: which thresholds were crossed, and what became of each alert on its ways out.

Owns the SQL of the reads. Refuses to raise one: the transaction that moves a counter does
(`schemas/sql/0031_spending.sql`), and `streams/alerts.py` delivers.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api.db import Database, tenant_transaction, to_struct
from api.paging import Slice
from api.spend.budgets import Period
from api.spend.subjects import Level


class AlertDelivery(msgspec.Struct, frozen=True):
    """What became of an alert on one way out. `failed`: it was given up, and `last_error` says why."""

    channel: Literal["log", "webhook", "slack", "email"]
    state: Literal["waiting", "delivered", "failed"]
    tries: int
    last_error: str
    delivered_at: datetime | None


class SpendAlert(msgspec.Struct, frozen=True):
    """A budget crossed a threshold, once for its window. The limit is what it allowed then, overrides with it."""

    alert_id: UUID
    budget_id: UUID
    level: Level
    subject: str
    period: Period
    begins: Annotated[datetime, Meta(description="When the budget's window began.")]
    percent: Annotated[int, Meta(description="70, 85 or 95; at 110 everything that the budget covers is stopped.")]
    limit_micro_usd: int
    spent_micro_usd: int
    raised_at: datetime
    deliveries: Annotated[list[AlertDelivery], Meta(description="Empty until it is taken up, mostly for a second.")]


class AlertPage(msgspec.Struct, frozen=True):
    """The newest first, and of those that were raised at the same moment the highest."""

    items: list[SpendAlert]
    next_cursor: str | None


_LIST = """
  select
    a.alert_id, a.budget_id, a.level, a.subject, a.period, a.begins, a.percent, a.limit_micro_usd,
    a.spent_micro_usd, a.raised_at, coalesce(d.deliveries, '[]') as deliveries
  from app.spend_alerts a
  left join lateral (
    select jsonb_agg(
      jsonb_build_object(
        'channel', d.channel, 'state', d.state, 'tries', d.tries, 'last_error', d.last_error,
        'delivered_at', d.delivered_at
      ) order by d.channel
    ) as deliveries
    from app.alert_deliveries d
    where d.tenant_id = a.tenant_id and d.alert_id = a.alert_id
  ) d on true
  where a.tenant_id = $1
    and ($2::timestamptz is null or (a.raised_at, a.percent, a.alert_id) < ($2, $3::int, $4::uuid))
  order by a.raised_at desc, a.percent desc, a.alert_id desc
  limit $5
"""


async def read(database: Database, tenant_id: UUID, limit: int, cursor: str | None) -> AlertPage:
    """All alerts, a page at a time."""
    page = Slice(cursor, limit, tuple[datetime, int, UUID], "alerts")
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        rows = await connection.fetch(_LIST, tenant_id, *page.after, page.rows_max)
    found = [to_struct(row, SpendAlert, "deliveries") for row in rows]
    return AlertPage(*page.cut(found, lambda each: (each.raised_at, each.percent, each.alert_id)))
