"""Attempts of processes that died are settled once, by their bounds; those of processes that live are left alone."""

from __future__ import annotations

from uuid import UUID, uuid4

import psycopg
import pytest

from connectors.llm import BYTES_PER_TOKEN
from connectors.postgres.attempts import LEASE_S, settle_lost
from tests import databases
from tests.streams.world import Bench

pytestmark = pytest.mark.stack

_ATTEMPT = """
  insert into app.attempts
  values (%s, %s, %s, %s, %s, null, 'openai', 'gpt', 401, 100, now() - make_interval(secs => %s))
"""


_SETTLED = """
  insert into app.usage_events (
    tenant_id, attempt_id, session_id, user_id, provider, model, input_uncached, cache_read, cache_write_5m,
    cache_write_1h, output_visible, reasoning, usage_source, outcome, started_at, finished_at
  )
  select
    tenant_id, attempt_id, session_id, user_id, provider, model, 7, 0, 0, 0, 8, 0, 'provider', 'completed', now(), now()
  from app.attempts
"""


def attempt(bench: Bench, process_id: UUID, tenant: UUID, age_s: float = LEASE_S + 1) -> UUID:
    user, attempt_id = uuid4(), uuid4()
    bench.rows("insert into app.users (tenant_id, user_id, subject) values (%s, %s, %s)", tenant, user, str(user))
    bench.rows(_ATTEMPT, tenant, attempt_id, process_id, uuid4(), user, age_s)
    return attempt_id


def process(bench: Bench, lease_s: float) -> UUID:
    process_id = uuid4()
    bench.rows("insert into ops.api_processes values (%s, now() + make_interval(secs => %s))", process_id, lease_s)
    return process_id


def settle(bench: Bench) -> int:
    with psycopg.connect(bench.settings.postgres.dsn("flows")) as connection:
        return settle_lost(connection, BYTES_PER_TOKEN)


def test_what_a_process_that_died_left_is_settled_once_by_its_bound(bench: Bench) -> None:
    tenant, dead = bench.tenant(), process(bench, -1)
    lost = [attempt(bench, dead, tenant), attempt(bench, uuid4(), tenant)]
    living = attempt(bench, process(bench, 10), tenant)
    new = attempt(bench, uuid4(), tenant, age_s=1)  # its process has had no time to say that it lives
    assert settle(bench) == 2
    assert settle(bench) == 0
    rows = bench.rows(
        "select attempt_id, input_uncached, output_visible, unseen_tokens_max, usage_source, outcome, code, "
        "cost_micro_usd from app.usage_events"
    )
    assert {row[0] for row in rows} == set(lost)
    # 401 bytes are 101 tokens as a rule, and 401 at most; 100 may have been written.
    assert {row[1:] for row in rows} == {(101, 0, 400, "estimated", "failed", "lost", None)}
    assert {row[0] for row in bench.rows("select attempt_id from app.attempts")} == {living, new}


def test_what_was_settled_already_stays_as_it_is(bench: Bench) -> None:
    attempt_id = attempt(bench, uuid4(), bench.tenant())
    bench.rows(_SETTLED)
    assert settle(bench) == 1
    assert bench.rows("select attempt_id, output_visible, outcome from app.usage_events") == [
        (attempt_id, 8, "completed")
    ]


def test_two_who_settle_at_the_same_moment_settle_each_once(bench: Bench) -> None:
    tenant = bench.tenant()
    for _ in range(20):
        attempt(bench, uuid4(), tenant)
    flows = bench.settings.postgres.dsn("flows")
    with psycopg.connect(flows) as one, psycopg.connect(flows) as two:
        counts = settle_lost(one, BYTES_PER_TOKEN), settle_lost(two, BYTES_PER_TOKEN)
    assert counts == (20, 0)
    assert bench.rows("select count(*) from app.usage_events") == [(20,)]


def test_another_tenants_attempts_are_not_seen(bench: Bench) -> None:
    mine, others = bench.tenant(), bench.tenant()
    attempt(bench, uuid4(), mine)
    with databases.act(bench.settings, "api", others) as connection:
        assert connection.execute("select count(*) from app.attempts").fetchone() == (0,)
        assert connection.execute("delete from app.attempts").rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("update app.attempts set input_bytes = 0")


def test_the_api_says_that_it_lives_and_learns_of_no_other(bench: Bench) -> None:
    other, mine = process(bench, 100), uuid4()
    with psycopg.connect(bench.settings.postgres.dsn("api")) as connection:
        assert connection.execute("select ops.keep_api_process(%s, 1e9)", [mine]).fetchall() == [(None,)]
        for statement in ("select from ops.api_processes", "delete from ops.api_processes"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(statement)
    living = "select process_id, lease_until < now() + interval '2 hours' from ops.api_processes"
    assert dict(bench.rows(living)) == {other: True, mine: True}, "a lease is bounded, whatever was asked for"
