"""What a recovery does to a database: what is emptied, what stays, and who is refused meanwhile."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from adriatic.recovery import accounts, emptying, hold
from adriatic.recovery.ledger import RecoveryRow, look
from adriatic.recovery.steps import FLOWS_HOLD, LETTERS_APART, STEPS, Step, list_emptied_tables
from connectors.postgres.connections import connect
from connectors.postgres.errors import translate
from runtime.errors import Conflict, DependencyUnavailable
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import Settings
from tests import databases
from tests.dataflows.world import until

pytestmark = pytest.mark.stack

VERSIONS = "adriatic.app.adr_versions"
_LETTER = """
  insert into ops.dlq (flow, topic, partition, record_offset, stage, code, detail)
  values (%s, %s, %s, %s, 'decode', 'undecodable', '')
"""
_OFFSET = """
  insert into ops.consumer_offsets (flow, topic, partition, next_offset)
  values (%s, %s, 0, 5)
"""


_FIND_HOLD = """
  select pid
  from pg_stat_activity
  where datname = current_database() and application_name = 'adriatic-runs-flow-index'
"""


@pytest.fixture
def row(fresh_database: Settings) -> Iterator[RecoveryRow]:
    with RecoveryRow(fresh_database.postgres) as made:
        yield made


def admin(settings: Settings, query: Any, *values: Any) -> list[tuple[Any, ...]]:
    return databases.ask(settings.postgres.dsn("admin"), query, *values)


def move_offset(settings: Settings) -> None:
    with translate(), connect(settings.postgres, autocommit=True) as connection:
        connection.execute("update ops.consumer_offsets set next_offset = next_offset + 1")


@pytest.mark.parametrize("step", [*STEPS, None])
def test_an_offset_moves_only_when_flows_may_run(fresh_database: Settings, row: RecoveryRow, step: Step | None) -> None:
    if step is not None:
        row.begin("ada@host")
        row.enter(step)
    if step in FLOWS_HOLD:
        with pytest.raises(DependencyUnavailable, match="is being recovered"):
            move_offset(fresh_database)
    else:
        move_offset(fresh_database)


def test_a_sequence_that_was_set_back_keeps_nobody_from_it(fresh_database: Settings, row: RecoveryRow) -> None:
    first = row.begin("ada@host")
    row.finish(first, 0)
    admin(fresh_database, "alter table ops.recovery alter column number restart with 1")
    assert row.begin("ada@host").number > first.number


def test_a_recovery_with_differences_left_is_not_over(fresh_database: Settings, row: RecoveryRow) -> None:
    begun = row.begin("ada@host")
    row.enter("verify")
    row.finish(begun, 2)
    found = look(fresh_database.postgres)
    assert found is not None
    assert found.step == "verify"
    row.finish(begun, 0)
    assert look(fresh_database.postgres) is None
    results = admin(fresh_database, "select result from ops.audit where action = 'recover' order by at")
    assert results == [("failed",), ("done",)]


def test_whoever_reads_a_view_and_does_not_end_is_named(fresh_database: Settings, row: RecoveryRow) -> None:
    found = row.begin("ada@host")
    with psycopg.connect(fresh_database.postgres.dsn("api")) as reader:
        reader.execute("select from mv.search_state")
        with pytest.raises(emptying.Held) as caught:
            emptying.empty(fresh_database, found.number, {})
        assert f"process {reader.info.backend_pid} of Postgres (adriatic_api" in caught.value.detail
    emptying.empty(fresh_database, found.number, {})


def test_a_recovery_is_one_and_goes_on(fresh_database: Settings, row: RecoveryRow) -> None:
    row.lock()
    with RecoveryRow(fresh_database.postgres) as other, pytest.raises(Conflict):
        other.lock()
    begun = row.begin("ada@host")
    row.enter("copy")
    row.note(3, 10)
    again = row.begin("bob@host")
    assert (again.number, again.step, again.asked_by, again.done, again.total) == (
        begun.number,
        "copy",
        "ada@host",
        3,
        10,
    )
    assert look(fresh_database.postgres) == again
    row.enter("copy")
    assert (row.begin("").done, row.begin("").total) == (3, 10), "to enter the same step again is nothing"
    row.finish(again, 0)
    assert row.read() is None
    assert row.begin("bob@host").number > begun.number
    assert admin(fresh_database, "select actor, action, result from ops.audit") == [("ada@host", "recover", "done")]


def test_who_works_is_named(fresh_database: Settings, row: RecoveryRow) -> None:
    with (
        connect(fresh_database.postgres, name="adriatic-flow-index"),
        connect(fresh_database.postgres, "watch", "cdc", name="adriatic-runs-cdc"),
        connect(fresh_database.postgres, "watch", name="adriatic-holds-flow-embed"),
        connect(fresh_database.postgres, "watch", name="adriatic-status"),
    ):
        assert row.find_running() == ["adriatic-flow-index", "adriatic-runs-cdc"]


def test_who_works_is_named_by_the_session_that_takes_the_place_of_a_lost_one(
    fresh_database: Settings, row: RecoveryRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hold, "LOOK_S", 0.05)
    with hold.hold_flow(fresh_database, "flow-index", Lifecycle(Health())) as free:
        assert free
        assert row.find_running() == ["adriatic-runs-flow-index"]
        ((first,),) = admin(fresh_database, _FIND_HOLD)
        assert admin(fresh_database, "select pg_terminate_backend(%s)", first) == [(True,)]
        until(lambda: any(pid != first for (pid,) in admin(fresh_database, _FIND_HOLD)))
        assert row.find_running() == ["adriatic-runs-flow-index"]


def test_what_is_derived_is_emptied_and_all_else_stays(fresh_database: Settings, row: RecoveryRow) -> None:
    tenant = uuid.uuid4()
    ask = admin
    ask(fresh_database, "insert into app.tenants (tenant_id, slug, name) values (%s, 't', 'T')", tenant)
    for flow, topic, partition, offset in (
        ("index", VERSIONS, 3, 7),
        ("cdc", VERSIONS, -1, 9),
        ("feeds", "feed.documents", 0, 7),
        ("feeds", "feed.received", 0, 7),
    ):
        ask(fresh_database, _LETTER, flow, topic, partition, offset)
    for flow, topic in (("index", VERSIONS), ("feeds", "feed.documents"), ("feeds", "feed.received")):
        ask(fresh_database, _OFFSET, flow, topic)
        ask(fresh_database, "insert into ops.feed_positions values (%s, 0, 5) on conflict do nothing", topic)
    ask(fresh_database, "insert into mv.watermarks values ('activity', %s, 0, '0/9', now())", VERSIONS)
    ask(fresh_database, "insert into mv.entity_counts values (%s, 'adrs', 'open', 1)", tenant)
    ask(fresh_database, "insert into mv.feed_days values (%s, %s, now(), 1, 1)", tenant, tenant)
    recovery = row.begin("ada@host")
    for _ in range(2):  # killed after it, and done again
        row.enter("empty")
        emptying.empty(fresh_database, recovery.number, {"feed.documents": "same"})
    assert row.begin("").step == "topics"
    letters = "select flow, topic, record_offset from ops.dlq order by 1, 2"
    gone = 7 - recovery.number * LETTERS_APART
    assert ask(fresh_database, letters) == [
        ("cdc", VERSIONS, 9),
        ("feeds", "feed.documents", 7),
        ("feeds", "feed.received", gone),
        ("index", VERSIONS, gone),
    ]
    offsets = "select flow, topic, next_offset from ops.consumer_offsets"
    assert ask(fresh_database, offsets) == [("feeds", "feed.documents", 5)]
    assert ask(fresh_database, "select topic from ops.feed_positions") == [("feed.documents",)]
    for table in list_emptied_tables():
        left = ask(
            fresh_database,
            f"select count(*) from {table} where to_jsonb({table.split('.')[1]}) ->> 'topic' "
            "is distinct from '(being made anew)'",
        )
        assert left == [(0,)], table
    assert ask(fresh_database, "select count(*) from mv.feed_days") == [(1,)]
    assert ask(fresh_database, "select bool_or(lsn > '0/0') from mv.watermarks where view = 'activity'") == [(False,)]
    emptying.show_views(fresh_database)
    assert ask(fresh_database, "select count(*) from mv.watermarks") == [(0,)]
    assert row.begin("").step == "verify"


def test_another_log_of_outsiders_is_read_from_its_beginning(fresh_database: Settings, row: RecoveryRow) -> None:
    recovery = row.begin("ada@host")
    row.enter("verify")
    admin(fresh_database, _OFFSET, "feeds", "feed.documents")
    admin(fresh_database, "insert into ops.feed_positions values ('feed.documents', 0, 5)")
    admin(fresh_database, _LETTER, "feeds", "feed.documents", 0, 7)
    emptying.empty(fresh_database, recovery.number, {"feed.documents": "other"})
    assert admin(fresh_database, "select count(*) from ops.consumer_offsets") == [(0,)]
    assert admin(fresh_database, "select count(*) from ops.feed_positions") == [(0,)]
    assert admin(fresh_database, "select record_offset < 0 from ops.dlq") == [(True,)]


def test_a_log_that_may_be_the_same_is_read_again_and_counted_once(fresh_database: Settings, row: RecoveryRow) -> None:
    recovery = row.begin("ada@host")
    row.enter("verify")
    admin(fresh_database, _OFFSET, "feeds", "feed.documents")
    admin(fresh_database, "insert into ops.feed_positions values ('feed.documents', 0, 5)")
    emptying.empty(fresh_database, recovery.number, {"feed.documents": "unknown"})
    assert admin(fresh_database, "select count(*) from ops.consumer_offsets") == [(0,)]
    assert admin(fresh_database, "select counted_to from ops.feed_positions") == [(5,)]


def test_a_reader_that_holds_a_view_makes_it_wait_and_not_fail_half(fresh_database: Settings, row: RecoveryRow) -> None:
    recovery = row.begin("ada@host")
    row.enter("empty")
    with psycopg.connect(fresh_database.postgres.dsn("flows")) as reader:
        reader.execute("select count(*) from mv.chunks")
        with pytest.raises(DependencyUnavailable):
            emptying.empty(fresh_database, recovery.number, {})
    assert row.begin("").step == "empty"


def test_jobs_say_again_what_they_are_at(fresh_database: Settings) -> None:
    tenant, job = uuid.uuid4(), uuid.uuid4()
    admin(fresh_database, "insert into app.tenants (tenant_id, slug, name) values (%s, 't', 'T')", tenant)
    admin(
        fresh_database,
        "insert into app.jobs (tenant_id, job_id, kind, state, sequence, finished_at) "
        "values (%s, %s, 'reindex', 'succeeded', 4, '2026-01-01T00:00:00Z')",
        *(tenant, job),
    )
    accounts.say_jobs_again(fresh_database)
    said = admin(
        fresh_database, "select value ->> 'job_id', value -> 'sequence', value -> 'occurred_at' from app.outbox"
    )
    assert said == [(str(job), 4, 1_767_225_600_000_000)]
