"""What is forgotten after its time: rows of the chat, of spending, of keys and of crawls that no book needs.

Owns the statements, of which each forgets at most `BATCH_MAX` rows. Refuses to touch the books: `app.usage_events`, its
copy and its aggregates in `mv`, and `app.budget_windows` stay, because a closed month must still be explained. Neither
is anything forgotten that is in force: an alert of a window that runs would be told again, and a stop or an override
counts from when it is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from connectors.postgres.connections import Connection

BATCH_MAX = 1_000
"""Rows of one table in one transaction: their locks are held for milliseconds."""


@dataclass(frozen=True, slots=True)
class KeptAges:
    """How old rows become."""

    kept_days: int
    cache_s: float
    alerts_days: int
    audit_days: int
    keys_days: int
    flags_days: int


_ANSWERS = """
  delete from app.answers a
  using (
    select tenant_id, answer_id
    from app.answers
    where begun_at < now() - make_interval(days => %(kept_days)s)
    limit %(batch_max)s
  ) old
  where a.tenant_id = old.tenant_id and a.answer_id = old.answer_id
"""

_RESEARCH = """
  delete from app.research r
  using (
    select tenant_id, research_id
    from app.research
    where created_at < now() - make_interval(days => %(kept_days)s)
    limit %(batch_max)s
  ) old
  where r.tenant_id = old.tenant_id and r.research_id = old.research_id
"""

_AGENT_TASKS = """
  delete from app.agent_tasks t
  using (
    select k.tenant_id, k.task_id
    from app.agent_tasks k
    join app.jobs j on j.tenant_id = k.tenant_id and j.job_id = k.task_id
    where k.created_at < now() - make_interval(days => greatest(%(kept_days)s, 1))
      and j.finished_at is not null
    limit %(batch_max)s
  ) old
  where t.tenant_id = old.tenant_id and t.task_id = old.task_id
"""

_CACHED_ANSWERS = """
  delete from app.cached_answers c
  using (
    select tenant_id, prompt_key
    from app.cached_answers
    where created_at < now() - make_interval(secs => %(cache_s)s)
    limit %(batch_max)s
  ) old
  where c.tenant_id = old.tenant_id and c.prompt_key = old.prompt_key
"""

_PROCESSES = """
  delete from ops.api_processes p
  where lease_until < now() - interval '1 day'
    and not exists (select from app.attempts a where a.process_id = p.process_id)
"""

_ALERTS = """
  with old as (
    select a.tenant_id, a.alert_id
    from app.spend_alerts a
    where a.raised_at < now() - make_interval(days => %(alerts_days)s)
      and not exists (
        select
        from app.budgets b
        where b.tenant_id = a.tenant_id
          and b.budget_id = a.budget_id
          and app.window_begin(b.period, b.created_at, now()) = a.begins
      )
    limit %(batch_max)s
  ),
  deliveries as (
    delete from app.alert_deliveries d
    using old
    where d.tenant_id = old.tenant_id and d.alert_id = old.alert_id
  )
  delete from app.spend_alerts a
  using old
  where a.tenant_id = old.tenant_id and a.alert_id = old.alert_id
"""

_OVERRIDES = """
  delete from app.budget_overrides o
  using (
    select tenant_id, override_id
    from app.budget_overrides
    where least(expires_at, ended_at) < now() - make_interval(days => %(audit_days)s)
    limit %(batch_max)s
  ) old
  where o.tenant_id = old.tenant_id and o.override_id = old.override_id
"""

_STOPS = """
  delete from app.spend_stops s
  using (
    select tenant_id, stop_id
    from app.spend_stops
    where least(ends_at, resumed_at) < now() - make_interval(days => %(audit_days)s)
    limit %(batch_max)s
  ) old
  where s.tenant_id = old.tenant_id and s.stop_id = old.stop_id
"""

_KEYS = """
  with old as (
    select tenant_id, key_id
    from app.api_keys
    where revoked_at < now() - make_interval(days => %(keys_days)s)
    limit %(batch_max)s
  ),
  secrets as (
    delete from app.api_key_secrets s
    using old
    where s.tenant_id = old.tenant_id and s.key_id = old.key_id
  )
  delete from app.api_keys k
  using old
  where k.tenant_id = old.tenant_id and k.key_id = old.key_id
"""

_KEY_SECRETS = """
  delete from app.api_key_secrets s
  using (
    select tenant_id, key_id, secret_hash
    from app.api_key_secrets
    where good_until < now() - make_interval(days => %(keys_days)s)
    limit %(batch_max)s
  ) old
  where s.tenant_id = old.tenant_id and s.key_id = old.key_id and s.secret_hash = old.secret_hash
"""

_LIMIT_USES = """
  delete from app.limit_uses l
  using (
    select tenant_id, subject, unit, time_window
    from app.limit_uses
    where window_start < now() - interval '62 days'
    limit %(batch_max)s
  ) old
  where l.tenant_id = old.tenant_id
    and l.subject = old.subject
    and l.unit = old.unit
    and l.time_window = old.time_window
    and l.window_start < now() - interval '62 days'
"""

_FLAGS = """
  delete from app.abuse_flags f
  using (
    select tenant_id, flag_id
    from app.abuse_flags
    where raised_at < now() - make_interval(days => %(flags_days)s)
    limit %(batch_max)s
  ) old
  where f.tenant_id = old.tenant_id and f.flag_id = old.flag_id
"""

_ADDRESSES = """
  delete from app.user_addresses a
  using (
    select tenant_id, address_hash, user_id
    from app.user_addresses
    where seen_at < now() - interval '2 days'
    limit %(batch_max)s
  ) old
  where a.tenant_id = old.tenant_id and a.address_hash = old.address_hash and a.user_id = old.user_id
"""


_CRAWL_URLS = """
  delete from app.crawl_urls u
  using (
    select u.tenant_id, u.crawl_id, u.url_id
    from app.crawls c
    join app.crawl_urls u on u.tenant_id = c.tenant_id and u.crawl_id = c.crawl_id
    where c.created_at < now() - interval '90 days'
    limit %(batch_max)s
  ) old
  where u.tenant_id = old.tenant_id and u.crawl_id = old.crawl_id and u.url_id = old.url_id
"""

_CRAWL_HOSTS = "delete from ops.crawl_hosts where used_at < now() - interval '30 days'"
_CRAWL_ROBOTS = "delete from ops.crawl_robots where expires_at < now() - interval '30 days'"


def forget_old(connection: Connection, ages: KeptAges) -> Mapping[str, int]:
    """Forget at most `BATCH_MAX` rows of each table whose time has passed; how many of each. Again, while it is as many
    of one. The role must see all tenants' rows."""
    wanted = {**asdict(ages), "batch_max": BATCH_MAX}
    connection.execute(_PROCESSES)
    connection.execute(_CRAWL_HOSTS)
    connection.execute(_CRAWL_ROBOTS)
    return {
        "answers": connection.execute(_ANSWERS, wanted).rowcount,
        "research": connection.execute(_RESEARCH, wanted).rowcount,
        "agent_tasks": connection.execute(_AGENT_TASKS, wanted).rowcount,
        "cached_answers": connection.execute(_CACHED_ANSWERS, wanted).rowcount,
        "spend_alerts": connection.execute(_ALERTS, wanted).rowcount,
        "budget_overrides": connection.execute(_OVERRIDES, wanted).rowcount,
        "spend_stops": connection.execute(_STOPS, wanted).rowcount,
        "api_keys": connection.execute(_KEYS, wanted).rowcount,
        "api_key_secrets": connection.execute(_KEY_SECRETS, wanted).rowcount,
        "limit_uses": connection.execute(_LIMIT_USES, wanted).rowcount,
        "abuse_flags": connection.execute(_FLAGS, wanted).rowcount,
        "crawl_urls": connection.execute(_CRAWL_URLS, wanted).rowcount,
        "user_addresses": connection.execute(_ADDRESSES, wanted).rowcount,
    }
