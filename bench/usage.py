"""What it costs to keep usage: rows of the ledger, until every aggregate has them.

Owns the load (bounded, on a tenant of its own, in transactions of `ROWS_AT_ONCE`) and the reading of the clock. Rows
are written straight into the ledger, as the API's role: asking so many questions would measure the search.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

import psycopg

from bench.path import new_tenant
from runtime.deadline import Deadline
from runtime.settings import Settings

EVENTS = 50_000
"""Some seconds of work; a tenant that asks a question a minute needs a month for as many."""
ROWS_AT_ONCE = 500
SETTLE_MAX_S = 300.0
POLL_S = 0.02
_INSERT = """
  insert into app.usage_events (
    tenant_id, attempt_id, session_id, user_id, provider, model, input_uncached, cache_read, cache_write_5m,
    cache_write_1h, output_visible, reasoning, cost_micro_usd, usage_source, outcome, started_at, finished_at,
    key_id
  )
  select
    %(tenant)s, gen_random_uuid(), %(user)s, %(user)s, 'bench', 'model-' || n %% 5, n, 0, 0, 0, n, 0,
    nullif(n %% 4, 0), 'provider', 'completed', at, at, 'key-' || n %% 10
  from generate_series(1, %(rows)s) n, lateral (select now() - n * interval '10 min' as at) t
"""
"""Over the hours of some days, five models and ten keys: as many rows of aggregates as a real tenant's."""


@dataclass(frozen=True, slots=True)
class Aggregated:
    """`per_s` counts from the first commit until the last row is in every aggregate; `of_written` is that rate as a
    share of the rate at which the rows were written; `behind_s` is from the last commit on."""

    events: int
    written_per_s: float
    per_s: float
    of_written: float
    behind_s: float


def measure(settings: Settings) -> Aggregated:
    _slug, tenant_id = new_tenant(settings)
    began_s = time.monotonic()
    _write(settings, tenant_id)
    written_s = time.monotonic()
    _await_all(settings, tenant_id)
    ended_s = time.monotonic()
    written_per_s, per_s = EVENTS / (written_s - began_s), EVENTS / (ended_s - began_s)
    return Aggregated(EVENTS, written_per_s, per_s, per_s / written_per_s, ended_s - written_s)


def _write(settings: Settings, tenant_id: uuid.UUID) -> None:
    user = uuid.uuid4()
    with psycopg.connect(settings.postgres.dsn("api"), autocommit=True) as connection:
        connection.execute("select set_config('app.tenant_id', %s, false)", [str(tenant_id)])
        connection.execute(
            "insert into app.users (tenant_id, user_id, subject) values (%s, %s, 'bench')", [tenant_id, user]
        )
        for _ in range(EVENTS // ROWS_AT_ONCE):
            connection.execute(_INSERT, {"tenant": tenant_id, "user": user, "rows": ROWS_AT_ONCE})


_COUNT = "select coalesce(sum(attempts), 0)::bigint from mv.usage_by_hour where tenant_id = %s"


def _await_all(settings: Settings, tenant_id: uuid.UUID) -> None:
    """All five are moved in one statement, so one of them tells of all."""
    deadline = Deadline.after(SETTLE_MAX_S)
    with psycopg.connect(settings.postgres.dsn("flows"), autocommit=True) as connection:
        while not deadline.passed:
            if connection.execute(_COUNT, [tenant_id]).fetchone() == (EVENTS,):
                return
            time.sleep(POLL_S)
    raise SystemExit(f"not counted within {SETTLE_MAX_S} s; see `adriatic status`")
