"""Use that looks like abuse: the statements that flag it, and the list over all tenants.

Owns what is counted, from the ledger and the counts that the database keeps anyway, so that no request waits for it.
Refuses to refuse anybody, and to say what is much: the settings do. A flag is its key: once a day for each kind and
subject; more of the same raises what it measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from connectors.postgres.connections import Connection

_FLAG_RAPID_CALLS = """
  insert into app.abuse_flags as f (tenant_id, kind, subject, day, measured, threshold)
  select
    t.tenant_id, 'rapid-calls', c.user_id, (c.minute at time zone 'UTC')::date, max(c.calls), %(threshold)s
  from app.tenants t
  cross join lateral (
    select u.user_id::text, date_trunc('minute', u.started_at, 'UTC') as minute, count(*) as calls
    from app.usage_events u
    where u.tenant_id = t.tenant_id
      and u.started_at > now() - make_interval(secs => %(back_s)s)
      and u.provider <> 'extractive'
    group by u.user_id, minute
    having count(*) >= %(threshold)s
  ) c
  group by t.tenant_id, c.user_id, 4
  on conflict (tenant_id, kind, subject, day)
  do update set measured = excluded.measured, seen_at = now()
  where excluded.measured > f.measured
"""

_FLAG_NEW_USERS = """
  insert into app.abuse_flags as f (tenant_id, kind, subject, day, measured, threshold)
  select
    t.tenant_id, 'new-user-use', u.user_id, (u.created_at at time zone 'UTC')::date, l.used, %(threshold)s
  from app.tenants t
  cross join lateral (
    select n.user_id::text, n.created_at
    from app.users n
    where n.tenant_id = t.tenant_id
      and n.created_at > now() - interval '1 day'
      and not starts_with(n.subject, 'api-key:')
  ) u
  join app.limit_uses l on l.tenant_id = t.tenant_id
    and l.subject = 'user:' || u.user_id
    and l.unit = 'tokens'
    and l.time_window = 'month'
    and l.window_start = date_trunc('month', now(), 'UTC')
  where l.used >= %(threshold)s
  on conflict (tenant_id, kind, subject, day)
  do update set measured = excluded.measured, seen_at = now()
  where excluded.measured > f.measured
"""

_FLAG_ADDRESSES = """
  insert into app.abuse_flags as f (tenant_id, kind, subject, day, measured, threshold)
  select
    a.tenant_id, 'users-of-one-address', encode(a.address_hash, 'hex'), (now() at time zone 'UTC')::date,
    count(*), %(threshold)s
  from app.user_addresses a
  where a.seen_at > now() - interval '1 day'
  group by a.tenant_id, a.address_hash
  having count(*) >= %(threshold)s
  on conflict (tenant_id, kind, subject, day)
  do update set measured = excluded.measured, seen_at = now()
  where excluded.measured > f.measured
"""

_COUNT_OPEN = """
  select kind, count(*)
  from app.abuse_flags
  where reviewed_at is null
  group by kind
"""

_LIST_OPEN = """
  select t.slug, f.flag_id, f.kind, f.subject, f.measured, f.threshold, f.raised_at, f.seen_at
  from app.abuse_flags f
  join app.tenants t on t.tenant_id = f.tenant_id
  where f.reviewed_at is null
  order by f.raised_at desc, f.flag_id
  limit %s
"""


@dataclass(frozen=True, slots=True)
class OpenFlag:
    """One that nobody has looked at, and whose."""

    tenant: str
    """The tenant's slug: what people call it."""
    flag_id: UUID
    kind: str
    subject: str
    measured: int
    threshold: int
    raised_at: datetime
    seen_at: datetime


def flag_rapid_calls(connection: Connection, calls_per_minute: int, back_s: float) -> int:
    """Flag users who began so many calls of models in one minute of the last `back_s` seconds; how many flags are new
    or have grown. An attempt is seen when it has ended, so look back for as long as one may take."""
    return connection.execute(_FLAG_RAPID_CALLS, {"threshold": calls_per_minute, "back_s": back_s}).rowcount


def flag_new_users(connection: Connection, tokens: int) -> int:
    """Flag users of the last 24 hours who used so many tokens; how many. Of a user whose first day is the turn of a
    month, what was used after it counts."""
    return connection.execute(_FLAG_NEW_USERS, {"threshold": tokens}).rowcount


def flag_addresses(connection: Connection, users: int) -> int:
    """Flag addresses from which so many users came who were new in the last 24 hours; how many."""
    return connection.execute(_FLAG_ADDRESSES, {"threshold": users}).rowcount


def count_open(connection: Connection) -> Mapping[str, int]:
    """Flags that nobody has looked at, of all tenants, by kind."""
    return {str(kind): int(count) for kind, count in connection.execute(_COUNT_OPEN)}


def list_open(connection: Connection, limit: int) -> Sequence[OpenFlag]:
    """The newest of them first. The role must see all tenants' rows."""
    return [OpenFlag(*row) for row in connection.execute(_LIST_OPEN, [limit])]
