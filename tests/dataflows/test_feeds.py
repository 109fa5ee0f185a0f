"""The flow `feeds` on real components: every record becomes what the plain model says, once, whoever sends what."""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from connectors.kafka.records import Record
from connectors.postgres.connections import connect
from dataflows import feed_rejections, oracle_feeds
from dataflows import feeds as flows
from dataflows.redrive import Coordinates, Redriver
from runtime.errors import Halted
from runtime.settings import Settings
from schemas.feeds import RECEIVED_TOPIC, TOPIC, document_id
from schemas.headers import TRANSACTION_HEADER
from tests.dataflows import feed_world
from tests.dataflows.feed_world import (
    Model,
    Producer,
    assert_is,
    encoded,
    flow,
    item,
    poison,
    producer,
    send,
    signed,
    status,
    traffic,
    written,
)
from tests.dataflows.world import Outbox, Process, World, until

pytestmark = pytest.mark.stack

KILLS = 4
RECORDS = 4_000


@pytest.fixture
def world(fresh_database: Settings) -> Iterator[World]:
    with feed_world.made(fresh_database) as made:
        yield made


def differences(world: World, *tenants: uuid.UUID) -> list[Any]:
    with connect(world.settings.postgres) as connection:
        return [each for tenant in tenants for each in oracle_feeds.unlike(connection, tenant)]


def step(world: World, records: list[Record], *, strict: bool = False) -> None:
    """One batch, without Kafka."""
    made = flow(world, strict=strict)
    with connect(world.settings.postgres) as connection:
        made.apply(connection, made.prepare(connection, made.transform([_event(record) for record in records])))


def _event(record: Record) -> Any:
    from dataflows.flow import Event

    return Event(record, None, TOPIC)


def records_of(sent: list[feed_world.Sent], first: int = 0, at_ms: int = 1_768_000_000_000) -> list[Record]:
    return [Record(TOPIC, 0, first + number, at_ms, None, one.value, one.headers) for number, one in enumerate(sent)]


# --- all of it ------------------------------------------------------------------------------------------------------


@pytest.mark.crash
def test_killed_again_and_again_it_ends_exactly_right(world: World, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    print(f"seed {seed}")
    producers = [producer(world, tenant, slug) for tenant, slug in ((1, "wiki"), (1, "tracker"), (2, "wiki"))]
    histories = {by: traffic(world, by, RECORDS // len(producers), chance) for by in producers}
    part = Process(world, "feeds", tmp_path / "log")
    for share in range(KILLS):
        for by, history in histories.items():
            size = len(history) // KILLS + 1
            send(world, by, history[share * size : (share + 1) * size])
        time.sleep(chance.uniform(0.3, 1.5))
        part.kill()
        part = Process(world, "feeds", tmp_path / "log")
    until(lambda: world.done(flow(world)))
    assert part.terminate() == 0
    for by, history in histories.items():
        assert_is(world, by, Model().take(history))
    assert differences(world, *(by.tenant_id for by in producers)) == []
    assert world.rows("select count(*) from ops.dlq where stage <> 'reject'") == [(0,)]


def test_a_replay_from_the_start_changes_nothing(world: World) -> None:
    by = producer(world)
    history = traffic(world, by, 400, random.Random(3))
    send(world, by, history)
    world.run_until_done(flow(world))
    tables = ("mv.feed_status", "mv.feed_ledger", "mv.feed_days", "mv.feed_rejections", "app.document_versions")
    query = "select to_jsonb(t)::text from {} t order by 1"
    before = {table: world.rows(query.format(table)) for table in (*tables, "ops.dlq")}
    assert all(before.values())
    world.rows("update ops.consumer_offsets set next_offset = 0 where flow = 'feeds' returning 1")
    world.run_until_done(flow(world))
    assert {table: world.rows(query.format(table)) for table in before} == before
    assert_is(world, by, Model().take(history))


def test_a_flood_of_poison_stops_nobody(world: World, outbox: Outbox) -> None:
    """Far more in a row, and a far larger share, than the dead-letter limit takes."""
    evil, good = producer(world, 1, "evil"), producer(world, 2, "good")
    bad = [poison(world, evil, number) for number in range(600)]
    send(world, evil, bad)
    stranger = [feed_world.Sent(b"junk", ()) for _ in range(300)]
    send(world, good, stranger)
    history = [item(world, good, f"page-{number}", 1) for number in range(50)]
    send(world, good, history)
    world.run_until_done(flow(world))
    assert_is(world, good, Model().take(history))
    assert_is(world, evil, Model().take(bad))
    kept = world.rows("select code, count(*) from ops.dlq where stage = 'reject' group by 1")
    assert dict(kept) == {**Counter(one.reason for one in bad), "unsigned": 300}
    shown = world.rows("select reason, count(*) from mv.feed_rejections group by 1")
    assert {count for _, count in shown} == {feed_rejections.REJECTIONS_MAX}
    letters = [message for message in outbox.messages() if message["topic"].endswith(".dlq")]
    assert len(letters) == 900
    assert differences(world, evil.tenant_id, good.tenant_id) == []


def test_a_transaction_that_a_stranger_names_is_not_waited_for(world: World) -> None:
    by = producer(world)
    history = [item(world, by, f"page-{number}", 1) for number in range(5)]
    with connect(world.settings.postgres, role="admin") as connection, connection.transaction():
        (xid,) = connection.execute("select pg_current_xact_id()::text").fetchall()[0]
        send(world, by, [feed_world.Sent(b"junk", ((TRANSACTION_HEADER, xid.encode()),)), *history])
        world.run_until_done(flow(world))
    assert_is(world, by, Model().take(history))


class Broken(flows.Feeds):
    """A release with a bug."""

    def prepare(self, connection: Any, effects: Any) -> Any:
        if effects.records:
            raise ValueError("a bug")
        return effects


def test_a_bad_release_is_still_stopped_by_the_limit(world: World) -> None:
    by = producer(world)
    send(world, by, [poison(world, by, 0) for _ in range(300)])
    world.run_until_done(flow(world))
    send(world, by, [item(world, by, f"page-{number}", 1) for number in range(300)])
    with pytest.raises(Halted, match="in a row"):
        world.run_until_done(Broken(world.registry))
    assert world.rows("select count(*) from ops.dlq where stage <> 'reject'") == [(0,)], "nothing was drained"
    world.run_until_done(flow(world))
    assert len(written(world, by)) == 300


# --- who may what ---------------------------------------------------------------------------------------------------


def test_a_key_writes_to_its_own_feed_alone(world: World) -> None:
    ours, theirs = producer(world, 1, "wiki"), producer(world, 2, "wiki")
    forged = encoded(world, theirs, "page-1", 9)
    stolen = item(world, theirs, "page-2", 1)
    send(
        world,
        theirs,
        [
            signed(forged, ours.key),
            feed_world.Sent(forged, stolen.headers),
            feed_world.Sent(forged, ((stolen.headers[0]), signed(forged, ours.key).headers[1])),
        ],
    )
    world.run_until_done(flow(world))
    assert status(world, ours)["rejected_by"] == {"wrong_tenant": 1}
    assert status(world, theirs)["rejected_by"] == {"bad_signature": 2}
    assert world.rows("select count(*) from app.document_versions") == [(0,)]
    shown = world.rows("select tenant_id, external_id, version from mv.feed_rejections order by 1")
    assert shown == [(ours.tenant_id, None, None), (theirs.tenant_id, None, None), (theirs.tenant_id, None, None)]
    letters = world.rows("select tenant_id, code from ops.dlq order by code")
    assert letters == [(None, "bad_signature"), (None, "bad_signature"), (ours.tenant_id, "wrong_tenant")]


def test_a_tenant_sees_its_own_and_the_api_writes_no_counts(world: World) -> None:
    for tenant in (1, 2):
        by = producer(world, tenant)
        step(world, records_of([item(world, by, "a", 1), poison(world, by, 0)], first=10 * tenant))
    tables = ("app.feeds", "app.feed_keys", "mv.feed_status", "mv.feed_rejections", "mv.feed_days")
    with psycopg.connect(world.settings.postgres.dsn("api")) as api:
        for table in tables:
            assert api.execute(f"select count(*) from {table}").fetchone() == (0,)
        api.execute("select set_config('app.tenant_id', %s, true)", [str(uuid.UUID(int=2))])
        for table in tables:
            assert api.execute(f"select distinct tenant_id from {table}").fetchall() == [(uuid.UUID(int=2),)]
        for table in ("mv.feed_status", "mv.feed_rejections"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), api.transaction():
                api.execute(f"delete from {table}")


def test_what_came_over_http_is_taken_without_a_signature(world: World) -> None:
    by = producer(world)
    value = encoded(world, by, "page-1", 1)
    world.produce(RECEIVED_TOPIC, by.tenant_id, value, [("traceparent", b"00-aa-bb-01")])
    world.produce(TOPIC, by.tenant_id, value)
    world.flush()
    world.run_until_done(flow(world))
    assert world.rows("select document_id, version, kind, traceparent from app.document_versions") == [
        (document_id(by.tenant_id, "wiki", "page-1"), 1, "create", "00-aa-bb-01")
    ]
    assert world.rows("select code from ops.dlq") == [("unsigned",)]


def test_headers_of_outsiders_do_not_move_the_watermark(world: World) -> None:
    by = producer(world)
    send(world, by, [item(world, by, "page-1", 1)])
    world.produce(RECEIVED_TOPIC, by.tenant_id, encoded(world, by, "page-2", 1))
    world.flush()
    world.run_until_done(flow(world))
    topics = world.rows(
        "select distinct topic from mv.watermarks where view = 'feed_status' and lsn > '0/0' and lsn < '1/0'"
    )
    assert topics == [(world.topics[RECEIVED_TOPIC],)]


# --- quota, and deciding again --------------------------------------------------------------------------------------


def test_beyond_the_quota_nothing_is_silent_and_it_can_be_redriven(world: World) -> None:
    by = producer(world, items_per_day=3)
    send(world, by, [item(world, by, f"page-{number}", 1) for number in range(5)])
    world.run_until_done(flow(world))
    assert status(world, by)["rejected_by"] == {"quota": 2}
    letters = [Coordinates(*row) for row in world.rows("select flow, topic, partition, record_offset from ops.dlq")]
    with closing(connect(world.settings.postgres)) as connection:
        connection.autocommit = True
        contracts = {topic: contract for contract, topic in world.topics.items()}
        again = Redriver(connection, lambda _: flow(world), world.registry, contracts)
        refused = again.redrive(letters[0], "ada@host")
        assert (refused.outcome, refused.detail) == ("failed", "quota")
        world.rows("update app.feeds set items_per_day = 9 returning 1")
        assert [again.redrive(letter, "ada@host").outcome for letter in letters] == ["done", "done"]
    found = status(world, by)
    assert (found["received"], found["accepted"], found["rejected"], found["redriven"]) == (5, 5, 2, 2)
    assert world.rows("select count(*) from mv.feed_rejections") == [(0,)]
    assert {row[0] for row in world.rows("select state from ops.dlq")} == {"redriven"}
    assert differences(world, by.tenant_id) == []


def test_letters_of_a_day_are_bounded_and_the_rest_is_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_rejections, "LETTERS_PER_DAY_MAX", 3)
    by = producer(world)
    step(world, records_of([poison(world, by, 0) for _ in range(5)]))
    step(world, records_of([feed_world.Sent(poison(world, by, 5).value, poison(world, by, 5).headers)] * 2, first=5))
    found = status(world, by)
    assert (found["rejected"], found["not_kept"]) == (7, 2)
    assert world.rows("select code, count(*) from ops.dlq group by 1 order by 1") == [
        ("bad_signature", 2),
        ("undecodable", 3),
    ]
    assert world.rows("select proven, kept, dropped from ops.feed_letters order by 1") == [(False, 2, 0), (True, 3, 2)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("update app.feed_keys set revoked_at = now() returning 1", "revoked_key"),
        ("update app.feeds set paused = true returning 1", "paused"),
        ("update app.feeds set deleted_at = now() returning 1", "unknown_feed"),
    ],
)
def test_what_was_closed_meanwhile(world: World, change: str, reason: str) -> None:
    by: Producer = producer(world)
    one = item(world, by, "a", 1)
    world.rows(change)
    step(world, records_of([one]))
    assert status(world, by)["rejected_by"] == {reason: 1}
    assert written(world, by) == set()


def test_the_oracle_finds_what_is_wrong(world: World) -> None:
    by = producer(world)
    step(world, records_of([item(world, by, "a", 1), item(world, by, "a", 2), poison(world, by, 0)]))
    assert differences(world, by.tenant_id) == []
    for wrong, table in (
        ("delete from app.document_versions where version = 1", "app.document_versions"),
        ("update mv.feed_status set duplicates = 1, accepted = 1", "mv.feed_status"),
        ("update mv.feed_status set received = 9", "mv.feed_status"),
        ("update mv.feed_ledger set outcome = 'superseded' where version = 2", "mv.feed_ledger"),
        ("delete from mv.feed_ledger where version = 2", "app.document_versions"),
        ("delete from ops.dlq", "ops.dlq"),
        ("delete from mv.feed_status", "mv.feed_status"),
    ):
        with connect(world.settings.postgres) as connection, world.admin() as admin:
            admin.execute("begin")
            admin.execute(wrong)
            found = {each.table for each in oracle_feeds.unlike(admin, by.tenant_id)}
            admin.execute("rollback")
            connection.rollback()
        assert table in found, wrong
