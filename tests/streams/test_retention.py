"""What no book needs is forgotten after its time, in bounded steps; the books, and what is in force, stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
import pytest
from prometheus_client import REGISTRY

from connectors.postgres import retention
from connectors.postgres.sink import TransactionalSink
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import LlmSettings, RetentionSettings
from streams.retention import RetentionSweep
from tests.streams.world import Bench

pytestmark = pytest.mark.stack

OLD, YOUNG = 11, 9
"""Days. Everything is kept for ten."""
KEPT = {"alerts_days": 10, "audit_days": 10, "keys_days": 10, "flags_days": 10}

_USAGE = """
  insert into app.usage_events (
    tenant_id, attempt_id, session_id, user_id, provider, model, input_uncached, cache_read, cache_write_5m,
    cache_write_1h, output_visible, reasoning, usage_source, outcome, started_at, finished_at
  )
  values (
    %(tenant)s, gen_random_uuid(), gen_random_uuid(), %(user)s, 'openai', 'm', 1, 0, 0, 0, 0, 0, 'provider',
    'completed', now() - interval '5 years', now()
  )
"""

_ANSWER = """
  insert into app.answers
  values (
    %(tenant)s, %(id)s, %(user)s, gen_random_uuid(), gen_random_uuid(), 'q', now() - make_interval(days => %(age)s)
  )
"""

_DRAFT = "insert into app.drafts (tenant_id, answer_id, task, prompt_version) values (%(tenant)s, %(id)s, 'write', 1)"

_JOB = """
  insert into app.jobs (tenant_id, job_id, kind, state, finished_at)
  values (%(tenant)s, %(id)s, 'research', 'succeeded', now())
"""

_RESEARCH = """
  insert into app.research (tenant_id, research_id, asked_by, question, request, created_at)
  values (%(tenant)s, %(id)s, %(user)s, 'q', '{}', now() - make_interval(days => %(age)s))
"""

_TASK = """
  with job as (
    insert into app.jobs (tenant_id, job_id, kind, state, finished_at)
    values (%(tenant)s, %(id)s, 'agent_task', 'succeeded', now())
  )
  insert into app.agent_tasks
  values (
    %(tenant)s, %(id)s, gen_random_uuid(), null, 'g', '{}', null, now() - make_interval(days => %(age)s)
  )
"""

_STEP = """
  insert into app.agent_steps (tenant_id, task_id, number, step_id, kind, name, input)
  values (%(tenant)s, %(id)s, 1, gen_random_uuid(), 'tool', 'x', '{}')
"""

_ALERT = """
  insert into app.spend_alerts (
    tenant_id, budget_id, begins, percent, alert_id, level, subject, period, limit_micro_usd, spent_micro_usd, raised_at
  )
  values (
    %(tenant)s, %(budget)s, %(begins)s, 70, %(id)s, 'org', '', 'month', 1, 1, now() - make_interval(days => %(age)s)
  )
"""

_DELIVERY = "insert into app.alert_deliveries (tenant_id, alert_id, channel) values (%(tenant)s, %(id)s, 'log')"

_BUDGET = """
  insert into app.budgets
  values (
    %(tenant)s, %(budget)s, 'org', '', 'prepaid', 100, %(user)s, %(begins)s
  )
"""

_OVERRIDE = """
  insert into app.budget_overrides (
    tenant_id, override_id, budget_id, level, subject, period, amount_micro_usd, reason, created_by, created_at,
    expires_at
  )
  values (
    %(tenant)s, %(id)s, gen_random_uuid(), 'org', '', 'day', 1, 'r', %(user)s, now() - interval '1 year',
    now() - make_interval(days => %(age)s)
  )
"""

_STOP = """
  insert into app.spend_stops (
    tenant_id, stop_id, level, subject, reason, stopped_by, stopped_at, resumed_by, resumed_at
  )
  values (
    %(tenant)s, %(id)s, 'user', %(id)s, 'r', %(user)s, now() - interval '1 year',
    case when %(age)s > 0 then %(user)s::uuid end,
    case when %(age)s > 0 then now() - make_interval(days => %(age)s) end
  )
"""

_KEY = """
  insert into app.api_keys (
    tenant_id, key_id, user_id, name, scopes, days, created_by, created_at, revoked_at, revoked_by
  )
  values (
    %(tenant)s, %(id)s::text, %(user)s, 'n', '{read}', 90, %(user)s, now() - interval '1 year',
    case when %(age)s > 0 then now() - make_interval(days => %(age)s) end, case when %(age)s > 0 then %(user)s::uuid end
  )
"""

_SECRET = """
  insert into app.api_key_secrets (tenant_id, key_id, secret_hash, good_until)
  values (%(tenant)s, %(id)s::text, sha256(%(hash)s), now() - make_interval(days => %(age)s))
"""

_FLAG = """
  insert into app.abuse_flags (tenant_id, kind, subject, day, flag_id, measured, threshold, raised_at)
  values (
    %(tenant)s, 'rapid-calls', %(id)s::text, now()::date, %(id)s, 1, 1, now() - make_interval(days => %(age)s)
  )
"""

_ADDRESS = """
  insert into app.user_addresses
  values (%(tenant)s, substr(sha256(%(hash)s), 1, 16), %(user)s, now() - make_interval(hours => %(age)s * 5))
"""

_USE = """
  insert into app.limit_uses
  values (%(tenant)s, %(id)s::text, 'tokens', 'day', now() - make_interval(days => %(age)s * 6), 1)
"""


class Attic:
    """Old and young things of a tenant."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.tenant = bench.tenant()
        self.user = uuid4()
        insert = "insert into app.users (tenant_id, user_id, subject) values (%s, %s, 'a')"
        bench.rows(insert, self.tenant, self.user)

    def put(self, *statements: str, age: int, **more: Any) -> UUID:
        thing = uuid4()
        values = {"tenant": self.tenant, "user": self.user, "id": thing, "age": age, "hash": thing.bytes, **more}
        with psycopg.connect(self.bench.settings.postgres.dsn("admin")) as admin:
            for statement in statements:
                admin.execute(statement, values)
        return thing

    def sweep(self) -> None:
        kept = {"retention": RetentionSettings.model_validate(KEPT), "llm": LlmSettings(kept_days=10, cache_s=60)}
        settings = self.bench.settings.model_copy(update=kept)
        life = Lifecycle(Health())
        store = TransactionalSink(settings.postgres, "retention", life)
        RetentionSweep(settings, life).look(store)
        store.close()

    def ids(self, table: str, column: str) -> set[str]:
        return {
            str(row[0]) for row in self.bench.rows(f"select {column} from {table} where tenant_id = %s", self.tenant)
        }


def new_window(attic: Attic) -> dict[str, Any]:
    """A window of a budget that is no more."""
    return {"budget": uuid4(), "begins": "2020-01-01T00:00Z"}


THINGS: Final[dict[str, tuple[str, tuple[str, ...], Callable[[Attic], dict[str, Any]]]]] = {
    "app.answers": ("answer_id", (_ANSWER, _DRAFT), lambda _: {}),
    "app.research": ("research_id", (_JOB, _RESEARCH), lambda _: {}),
    "app.drafts": ("answer_id", (_ANSWER, _DRAFT), lambda _: {}),
    "app.agent_tasks": ("task_id", (_TASK, _STEP), lambda _: {}),
    "app.agent_steps": ("task_id", (_TASK, _STEP), lambda _: {}),
    "app.spend_alerts": ("alert_id", (_ALERT, _DELIVERY), new_window),
    "app.alert_deliveries": ("alert_id", (_ALERT, _DELIVERY), new_window),
    "app.budget_overrides": ("override_id", (_OVERRIDE,), lambda _: {}),
    "app.spend_stops": ("stop_id", (_STOP,), lambda _: {}),
    "app.api_keys": ("key_id", (_KEY, _SECRET), lambda _: {}),
    "app.abuse_flags": ("flag_id", (_FLAG,), lambda _: {}),
    "app.limit_uses": ("subject", (_USE,), lambda _: {}),
}


@pytest.mark.parametrize("table", THINGS)
def test_what_is_old_is_forgotten_and_what_is_young_is_not(bench: Bench, table: str) -> None:
    column, statements, more = THINGS[table]
    attic = Attic(bench)
    old = attic.put(*statements, age=OLD, **more(attic))
    young = attic.put(*statements, age=YOUNG, **more(attic))
    assert attic.ids(table, column) == {str(old), str(young)}
    attic.sweep()
    assert attic.ids(table, column) == {str(young)}


def test_what_is_in_force_is_not_forgotten_however_old(bench: Bench) -> None:
    attic = Attic(bench)
    window = {"budget": uuid4(), "begins": "2020-01-01T00:00Z"}
    alert = attic.put(_BUDGET, _ALERT, _DELIVERY, age=1_000, **window)
    stop, key = attic.put(_STOP, age=0), attic.put(_KEY, age=0)
    override = attic.put(_OVERRIDE, age=-1)
    attic.sweep()
    assert attic.ids("app.spend_alerts", "alert_id") == {str(alert)}, "it would be told again"
    assert attic.ids("app.spend_stops", "stop_id") == {str(stop)}
    assert attic.ids("app.api_keys", "key_id") == {str(key)}
    assert attic.ids("app.budget_overrides", "override_id") == {str(override)}


def test_a_key_in_use_loses_the_secrets_that_ended_alone(bench: Bench) -> None:
    attic = Attic(bench)
    key = attic.put(_KEY, _SECRET, age=0)
    attic.put(_SECRET.replace("%(id)s::text", "%(key)s"), age=OLD, key=str(key))
    assert len(bench.rows("select 1 from app.api_key_secrets")) == 2
    attic.sweep()
    assert len(bench.rows("select 1 from app.api_key_secrets")) == 1


def test_addresses_are_forgotten_after_two_days(bench: Bench) -> None:
    attic = Attic(bench)
    attic.put(_ADDRESS, age=10)  # times five hours
    attic.put(_ADDRESS, age=9)
    attic.sweep()
    assert len(bench.rows("select 1 from app.user_addresses")) == 1


def test_the_books_stay(bench: Bench) -> None:
    attic = Attic(bench)
    attic.put(_USAGE, age=0)
    attic.put(_BUDGET, age=0, budget=uuid4(), begins="2020-01-01T00:00Z")
    insert = "insert into app.budget_windows select tenant_id, budget_id, created_at, 5, 0 from app.budgets"
    bench.rows(insert)
    attic.sweep()
    for table in ("app.usage_events", "app.budget_windows", "app.budgets"):
        assert len(bench.rows(f"select 1 from {table}")) == 1


def test_much_is_forgotten_in_bounded_steps(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH_MAX", 3)
    monkeypatch.setattr("streams.retention.BATCH_MAX", 3)
    attic = Attic(bench)
    for _ in range(10):
        attic.put(_FLAG, age=OLD)
    name, labels = "adriatic_rows_forgotten_total", {"table": "abuse_flags"}
    before = REGISTRY.get_sample_value(name, labels) or 0.0
    monkeypatch.setattr("streams.retention.BATCHES_MAX", 2)
    attic.sweep()
    assert len(attic.ids("app.abuse_flags", "flag_id")) == 4, "two transactions of three rows"
    monkeypatch.setattr("streams.retention.BATCHES_MAX", 100)
    attic.sweep()
    assert attic.ids("app.abuse_flags", "flag_id") == set()
    assert REGISTRY.get_sample_value(name, labels) == before + 10
