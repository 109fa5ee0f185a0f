"""Use that looks like abuse is flagged once a day, from what the database keeps anyway, and refuses nobody anything."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import psycopg
import pytest
from prometheus_client import REGISTRY

from connectors.postgres.sink import TransactionalSink
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import AbuseSettings
from streams.abuse import AbuseWatch
from tests import databases
from tests.streams.world import Bench

pytestmark = pytest.mark.stack

_USER = """
  insert into app.users (tenant_id, user_id, subject, created_at)
  values (%s, %s, %s, now() - make_interval(hours => %s))
"""

_CALLS = """
  insert into app.usage_events (
    tenant_id, attempt_id, session_id, user_id, provider, model, input_uncached, cache_read, cache_write_5m,
    cache_write_1h, output_visible, reasoning, usage_source, outcome, started_at, finished_at
  )
  select
    %(tenant)s, gen_random_uuid(), gen_random_uuid(), %(user)s, %(provider)s, 'm', %(tokens)s, 0, 0, 0, 0, 0,
    'provider', 'completed', date_trunc('minute', now()) - make_interval(secs => %(ago_s)s), now()
  from generate_series(1, %(count)s)
"""


class Suspects:
    """People of a tenant, what they did, and the look at it."""

    def __init__(self, bench: Bench, **abuse: int) -> None:
        self.bench = bench
        self.tenant = bench.tenant()
        wanted = {"calls_per_minute": 5, "new_user_tokens": 1_000, "users_per_address": 3} | abuse
        self._settings = bench.settings.model_copy(update={"abuse": AbuseSettings.model_validate(wanted)})

    def user(self, age_h: int = 48, subject: str = "", address: bytes | None = None) -> UUID:
        user_id = uuid4()
        self.bench.rows(_USER, self.tenant, user_id, subject or str(user_id), age_h)
        if address:
            insert = "insert into app.user_addresses values (%s, %s, %s, now() - make_interval(hours => %s))"
            self.bench.rows(insert, self.tenant, address, user_id, age_h)
        return user_id

    def call(self, user: UUID, count: int, tokens: int = 0, provider: str = "openai", ago_s: float = 0) -> None:
        values = {"tenant": self.tenant, "user": user, "provider": provider, "tokens": tokens, "count": count}
        with psycopg.connect(self.bench.settings.postgres.dsn("admin")) as admin:
            admin.execute(_CALLS, values | {"ago_s": ago_s})

    @contextmanager
    def watching(self) -> Iterator[tuple[AbuseWatch, TransactionalSink]]:
        life = Lifecycle(Health())
        store = TransactionalSink(self._settings.postgres, "abuse", life)
        yield AbuseWatch(self._settings, life), store
        life.stop()
        store.close()

    def look(self) -> list[tuple[str, str, int]]:
        """Kind, subject and measure of the tenant's flags after a look."""
        with self.watching() as (watch, store):
            watch.look(store)
        statement = "select kind, subject, measured from app.abuse_flags where tenant_id = %s order by kind, subject"
        return [
            (str(kind), str(subject), int(count)) for kind, subject, count in self.bench.rows(statement, self.tenant)
        ]


def open_flags(kind: str) -> float:
    return REGISTRY.get_sample_value("adriatic_abuse_flags_open", {"kind": kind}) or 0.0


def test_rapid_calls_are_flagged_once_a_day_with_the_most_that_was_seen(bench: Bench) -> None:
    suspects = Suspects(bench)
    rapid, slow, quoting = suspects.user(), suspects.user(), suspects.user()
    suspects.call(rapid, 5)
    for ago_s in (0, 60, 120):  # never five in one minute
        suspects.call(slow, 4, ago_s=ago_s)
    suspects.call(quoting, 50, provider="extractive")
    assert suspects.look() == [("rapid-calls", str(rapid), 5)]
    assert suspects.look() == [("rapid-calls", str(rapid), 5)], "the same again changes nothing"
    suspects.call(rapid, 2)
    suspects.call(rapid, 5, ago_s=60)
    assert suspects.look() == [("rapid-calls", str(rapid), 7)]
    assert open_flags("rapid-calls") == 1.0


def test_what_is_older_than_the_longest_answer_is_not_looked_at_again(bench: Bench) -> None:
    suspects = Suspects(bench)
    suspects.call(suspects.user(), 50, ago_s=3_600)
    assert suspects.look() == []


def test_much_use_by_a_new_user_is_flagged_and_by_a_key_or_an_old_user_is_not(bench: Bench) -> None:
    suspects = Suspects(bench, calls_per_minute=0)
    new, modest = suspects.user(age_h=1), suspects.user(age_h=1)
    key, old = suspects.user(age_h=1, subject="api-key:k"), suspects.user(age_h=25)
    for user, tokens in ((new, 500), (modest, 499), (key, 5_000), (old, 5_000)):
        suspects.call(user, 2, tokens=tokens)
    assert suspects.look() == [("new-user-use", str(new), 1_000)]
    suspects.call(modest, 1, tokens=2)
    assert ("new-user-use", str(modest), 1_000) in suspects.look()


def test_many_new_users_of_one_address_are_flagged_within_a_tenant(bench: Bench) -> None:
    suspects, others = Suspects(bench), Suspects(bench)
    shared, own = bytes(16), bytes([1] * 16)
    for _ in range(2):
        suspects.user(age_h=2, address=shared)
        others.user(age_h=2, address=shared)
    suspects.user(age_h=25, address=shared)
    suspects.user(age_h=2, address=own)
    assert suspects.look() == [], "two in a day"
    suspects.user(age_h=0, address=shared)
    assert suspects.look() == [("users-of-one-address", shared.hex(), 3)]
    assert others.look() == []


def test_what_is_set_to_0_is_not_looked_for(bench: Bench) -> None:
    suspects = Suspects(bench, calls_per_minute=0, new_user_tokens=0, users_per_address=0)
    suspects.call(suspects.user(age_h=1, address=bytes(16)), 100, tokens=100)
    assert suspects.look() == []


def test_a_flag_that_was_looked_at_is_open_no_more_and_grows_quietly(bench: Bench) -> None:
    suspects = Suspects(bench)
    user = suspects.user()
    suspects.call(user, 5)
    suspects.look()
    bench.rows("update app.abuse_flags set reviewed_by = %s, reviewed_at = now(), note = 'a test'", user)
    suspects.call(user, 5)
    assert suspects.look() == [("rapid-calls", str(user), 10)]
    assert open_flags("rapid-calls") == 0.0


def test_while_the_database_is_away_nobody_says_that_all_is_well(bench: Bench) -> None:
    suspects = Suspects(bench)
    away = suspects._settings.postgres.model_copy(update={"port": 1})
    suspects._settings = suspects._settings.model_copy(update={"postgres": away})
    with suspects.watching() as (watch, store):
        watch.look(store)
    assert math.isnan(open_flags("rapid-calls"))


def test_another_tenant_sees_no_flag_and_no_address(bench: Bench) -> None:
    mine, others = Suspects(bench), Suspects(bench)
    for _ in range(3):
        mine.user(age_h=0, address=bytes(16))
    assert len(mine.look()) == 1
    with databases.act(bench.settings, "api", others.tenant) as connection:
        assert connection.execute("select count(*) from app.abuse_flags").fetchone() == (0,)
        assert connection.execute("select count(*) from app.user_addresses").fetchone() == (0,)
        assert connection.execute("update app.abuse_flags set note = 'x'").rowcount == 0
    with databases.act(bench.settings, "api", mine.tenant) as connection:
        assert connection.execute("select count(*) from app.abuse_flags").fetchone() == (1,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("delete from app.abuse_flags")
