"""Alerts of spending on their way out, and how far the books are apart: the statements of who sees all tenants.

Owns putting down a delivery for each way out, claiming one for a time, and noting what became of it; and the sums that
must be 0. Refuses to send (`connectors/alerting.py`), and to raise an alert (`schemas/sql/0031_spending.sql`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from connectors.postgres.connections import Connection

ROUTE_MAX = 100
"""Alerts of one transaction."""
LEASE_S = 120.0
"""How long one delivery may take before another process tries it: longer than any channel's own bound."""
ERROR_CHARS_MAX = 500
"""Longest reason that is kept: what the database takes."""


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """What is told of one alert."""

    alert_id: UUID
    tenant_id: UUID
    tenant: str
    """The tenant's slug: what people call it."""
    budget_id: UUID
    level: str
    subject: str
    period: str
    begins: datetime
    percent: int
    limit_micro_usd: int
    spent_micro_usd: int
    raised_at: datetime


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """One delivery that this process tries now, for the time of a lease."""

    channel: str
    tries: int
    message: AlertMessage


_ROUTE = """
  with taken as (
    select tenant_id, alert_id
    from app.spend_alerts
    where routed_at is null
    order by raised_at
    limit %(alerts_max)s
    for update skip locked
  ),
  put as (
    insert into app.alert_deliveries (tenant_id, alert_id, channel)
    select t.tenant_id, t.alert_id, c.channel
    from taken t
    cross join unnest(%(channels)s::text[]) as c (channel)
    on conflict do nothing
  )
  update app.spend_alerts a
  set routed_at = now()
  from taken t
  where a.tenant_id = t.tenant_id and a.alert_id = t.alert_id
"""

_CLAIM = """
  with due as (
    select d.tenant_id, d.alert_id, d.channel
    from app.alert_deliveries d
    join app.spend_alerts a on a.tenant_id = d.tenant_id and a.alert_id = d.alert_id
    where d.state = 'waiting' and d.next_at <= now()
    order by d.next_at, a.raised_at, a.percent
    limit 1
    for update of d skip locked
  ),
  claimed as (
    update app.alert_deliveries d
    set tries = d.tries + 1, next_at = now() + make_interval(secs => %(lease_s)s)
    from due
    where d.tenant_id = due.tenant_id and d.alert_id = due.alert_id and d.channel = due.channel
    returning d.tenant_id, d.alert_id, d.channel, d.tries
  )
  select
    c.channel, c.tries, a.alert_id, a.tenant_id, t.slug, a.budget_id, a.level, a.subject, a.period, a.begins,
    a.percent, a.limit_micro_usd, a.spent_micro_usd, a.raised_at
  from claimed c
  join app.spend_alerts a on a.tenant_id = c.tenant_id and a.alert_id = c.alert_id
  join app.tenants t on t.tenant_id = c.tenant_id
"""

_FINISH = """
  update app.alert_deliveries
  set
    state = %(state)s,
    next_at = now() + make_interval(secs => %(pause_s)s),
    last_error = %(error)s,
    delivered_at = case when %(state)s = 'delivered' then clock_timestamp() end
  where tenant_id = %(tenant_id)s
    and alert_id = %(alert_id)s
    and channel = %(channel)s
    and tries = %(tries)s
    and state = 'waiting'
"""

_COUNTER_DRIFT = """
  select coalesce(sum(abs(w.spent_micro_usd - ledger.micro_usd)), 0)::bigint
  from app.budgets b
  join app.budget_windows w on w.tenant_id = b.tenant_id
    and w.budget_id = b.budget_id
    and w.begins = app.window_begin(b.period, b.created_at, now())
  cross join lateral (
    select coalesce(sum(u.cost_micro_usd), 0)::bigint as micro_usd
    from app.usage_events u
    where u.tenant_id = w.tenant_id
      and u.started_at >= w.begins
      and u.started_at < coalesce(app.window_end(b.period, w.begins), 'infinity')
      and app.budget_covers(b.level, b.subject, u.user_id, u.key_id)
  ) ledger
"""

_LEASE_DRIFT = """
  select coalesce(sum(abs(w.reserved_micro_usd - leases.micro_usd)), 0)::bigint
  from app.budget_windows w
  cross join lateral (
    select coalesce(sum(l.reserved_micro_usd), 0)::bigint as micro_usd
    from app.leases l
    where l.tenant_id = w.tenant_id and l.budget_id = w.budget_id and l.begins = w.begins
  ) leases
"""

_AGGREGATE_DRIFT = """
  select coalesce(sum(abs(shown.micro_usd - counted.micro_usd)), 0)::bigint
  from app.tenants t
  cross join date_trunc('day', now(), 'UTC') as today
  cross join lateral (
    select coalesce(sum(v.cost_micro_usd), 0)::bigint as micro_usd
    from mv.usage_by_day v
    where v.tenant_id = t.tenant_id and v.day = (today at time zone 'UTC')::date
  ) shown
  cross join lateral (
    select coalesce(sum(u.cost_micro_usd), 0)::bigint as micro_usd
    from app.usage_events u
    join mv.usage_ledger l on l.tenant_id = u.tenant_id and l.attempt_id = u.attempt_id
    where u.tenant_id = t.tenant_id and u.started_at >= today and u.started_at < today + interval '1 day'
  ) counted
"""


def route(connection: Connection, channels: Sequence[str]) -> int:
    """Put down a delivery on each channel for alerts that have none; how many alerts, at most `ROUTE_MAX`."""
    return connection.execute(_ROUTE, {"alerts_max": ROUTE_MAX, "channels": list(channels)}).rowcount


def claim(connection: Connection) -> ClaimedDelivery | None:
    """The delivery that has waited longest, for this process alone while the lease lasts; of those that came together
    it is that of the oldest alert. None: none is due."""
    row = connection.execute(_CLAIM, {"lease_s": LEASE_S}).fetchone()
    return None if row is None else ClaimedDelivery(row[0], row[1], AlertMessage(*row[2:]))


def finish(connection: Connection, delivery: ClaimedDelivery, state: str, error: str = "", pause_s: float = 0) -> None:
    """Note what became of a try. `waiting` tries again after `pause_s`. Whoever lost its lease notes nothing."""
    message = delivery.message
    connection.execute(
        _FINISH,
        {
            "state": state,
            "pause_s": pause_s,
            "error": error[:ERROR_CHARS_MAX],
            "tenant_id": message.tenant_id,
            "alert_id": message.alert_id,
            "channel": delivery.channel,
            "tries": delivery.tries,
        },
    )


def read_drifts(connection: Connection) -> Mapping[str, int]:
    """How far the books of all tenants are apart, in micro-USD: each counter that runs and the ledger, what is reserved
    and the leases, the aggregate of today and what it was made from. Each difference counts without its sign."""
    sums = {
        "counter": connection.execute(_COUNTER_DRIFT).fetchone(),
        "leases": connection.execute(_LEASE_DRIFT).fetchone(),
        "aggregate": connection.execute(_AGGREGATE_DRIFT).fetchone(),
    }
    return {between: int(row[0]) for between, row in sums.items() if row}
