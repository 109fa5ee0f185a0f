"""Attempts whose process died: what they may have cost, settled once, by their bounds.

Owns the statements, and how long a process may be silent. What an attempt reserved of budgets it counts as spent, since
it was reserved before it was shown to anybody; without budgets it counts what the provider was given to read. Refuses
those of processes that live: `api/chat/ledger.py` settles them, and whoever comes second changes nothing.
"""

from __future__ import annotations

from connectors.postgres.connections import Connection

LEASE_S = 20.0
"""How long a process that serves answers may be silent before it counts as dead."""
BATCH_MAX = 1_000
"""Attempts of one transaction."""

_SETTLE_LOST = """
  with lost as (
    select
      a.*,
      greatest(
        a.cost_read_micro_usd,
        (
          select max(l.reserved_micro_usd)
          from app.leases l
          where l.tenant_id = a.tenant_id and l.attempt_id = a.attempt_id
        )
      ) as cost_micro_usd
    from app.attempts a
    left join ops.api_processes p on p.process_id = a.process_id
    where a.begun_at < now() - make_interval(secs => %(lease_s)s)
      and (p.process_id is null or p.lease_until < now())
    order by a.begun_at
    limit %(batch_max)s
    for update of a skip locked
  ),
  settled as (
    insert into app.usage_events (
      tenant_id, attempt_id, session_id, user_id, key_id, provider, model, input_uncached, cache_read,
      cache_write_5m, cache_write_1h, output_visible, reasoning, price_id, cost_micro_usd,
      unseen_cost_max_micro_usd, usage_source, unseen_tokens_max, outcome, code, started_at, finished_at
    )
    select
      tenant_id, attempt_id, session_id, user_id, key_id, provider, model,
      (input_bytes + %(bytes_per_token)s - 1) / %(bytes_per_token)s, 0, 0, 0, 0, 0, price_id, cost_micro_usd,
      case when cost_max_micro_usd is not null then greatest(cost_max_micro_usd - cost_micro_usd, 0) end,
      'estimated',
      input_bytes - (input_bytes + %(bytes_per_token)s - 1) / %(bytes_per_token)s + output_tokens_max,
      'failed', 'lost', begun_at, greatest(begun_at, now())
    from lost
    on conflict (tenant_id, attempt_id) do nothing
  ),
  gone as (
    delete from app.attempts a
    using lost
    where a.tenant_id = lost.tenant_id and a.attempt_id = lost.attempt_id
    returning 1
  )
  select count(*)
  from gone
"""


def settle_lost(connection: Connection, bytes_per_token: int) -> int:
    """Settle at most `BATCH_MAX` attempts of dead processes; how many. The role must see all tenants' rows."""
    wanted = {"lease_s": LEASE_S, "batch_max": BATCH_MAX, "bytes_per_token": bytes_per_token}
    row = connection.execute(_SETTLE_LOST, wanted).fetchone()
    return int(row[0]) if row else 0
