"""The watcher on a real broker and database: what it sees, and what it says when it cannot see."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as At
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]
from prometheus_client import REGISTRY

from adriatic.watch.watcher import Watcher
from connectors.kafka.partitioner import partition_for
from connectors.kafka.records import TopicPartition
from connectors.postgres.watch import Watch
from dataflows.catalog import flows
from dataflows.job_status import TOPIC as PROGRESS_TOPIC
from runtime.errors import Halted
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import Settings
from schemas.pipeline import GroupLag, Percentiles, Pipeline, mask_stale
from tests.dataflows.world import PARTITIONS, VERSIONS_TOPIC, Running, Version, World, until

pytestmark = pytest.mark.stack


@pytest.fixture
def watcher(world: World) -> Iterator[Watcher]:
    made = Watcher(world.settings, Lifecycle(Health()))
    yield made
    made.close()


def group(found: Pipeline, name: str) -> GroupLag:
    return next(each for each in found.groups if each.group == name)


def seen(watcher: Watcher) -> Pipeline:
    """A look with an answer of the broker, which on a busy machine may be late once."""
    looks: list[Pipeline] = []

    def answered() -> bool:
        looks.append(watcher.poll())
        return not looks[-1].reason

    until(answered)
    return looks[-1]


def state(watcher: Watcher, name: str) -> str:
    return next(view.state for view in watcher.poll().views if view.view == name)


def captured(world: World) -> None:
    """As capture says it once a second."""
    world.rows(
        "insert into ops.cdc_progress (slot, system_id, lsn, committed_at, read_at) "
        "values ('adriatic', 'x', pg_current_wal_lsn(), clock_timestamp(), clock_timestamp()) on conflict (slot) "
        "do update set lsn = excluded.lsn, committed_at = excluded.committed_at, read_at = excluded.read_at returning 1"
    )


def test_a_view_waits_for_the_partitions_of_its_own_topics_alone(world: World, watcher: Watcher) -> None:
    captured(world)
    with Running(world, world.usage):
        until(lambda: world.done(world.usage))
        until(lambda: state(watcher, "job_status") == "fresh")
        until(lambda: state(watcher, "usage_by_day") == "fresh")
        waits = TopicPartition(world.topics[PROGRESS_TOPIC], 0)
    world.rows("update mv.watermarks set lsn = '0/0' where topic = %s and partition = %s returning 1", *waits)
    assert state(watcher, "job_status") == "unknown", "one of its partitions has not reported"
    assert state(watcher, "usage_by_day") == "fresh"


def test_a_partition_that_nobody_reads_is_seen(world: World, watcher: Watcher) -> None:
    """Somebody added it, and the flow that reads the topic is not there, or does not take it."""
    topic = world.topics[VERSIONS_TOPIC]
    world.versions([Version(uuid.uuid4(), uuid.uuid4(), 1)])
    with Running(world, world.activity):
        until(lambda: world.done(world.activity))
    assert group(seen(watcher), "adriatic.activity").status != "no-commits"
    admin = AdminClient({**world.settings.kafka.client_config()})
    admin.create_partitions([NewPartitions(topic, PARTITIONS + 1)])[topic].result(30)

    def unread() -> bool:
        each = group(seen(watcher), "adriatic.activity").partitions
        return (topic, PARTITIONS, "no-commits", None) in [(p.topic, p.partition, p.status, p.committed) for p in each]

    until(unread)
    with Running(world, world.activity) as running:
        until(lambda: running.error is not None)
    assert isinstance(running.error, Halted)


def test_search_by_meaning_is_as_far_as_what_waits_for_its_vectors(world: World, watcher: Watcher) -> None:
    captured(world)
    world.rows(
        "insert into mv.watermarks (view, topic, partition, lsn, source_at) select view, 't', p, pg_current_wal_lsn(), "
        "clock_timestamp() from generate_series(0, 7) p, unnest('{search.words,related}'::text[]) view returning 1"
    )

    def states() -> dict[str, str]:
        names = ("search.words", "search.meaning", "related")
        return {each.view: each.state for each in seen(watcher).views if each.view in names}

    assert set(states().values()) == {"fresh"}
    world.rows(
        "insert into mv.search_state (tenant_id, kind, source_id, words_version, title, status, effective_at, "
        "recorded_at, words_at, chunks, length) values (gen_random_uuid(), 'adr', gen_random_uuid(), 1, '', '', now(), "
        "now() - interval '100 s', now(), 1, 0) returning 1"
    )
    assert states() == {"search.words": "fresh", "search.meaning": "stale", "related": "stale"}


def test_what_is_made_of_the_search_is_no_further_than_the_search(world: World, watcher: Watcher) -> None:
    """The flow `index` is halted, and heartbeats go on to pass the flow that reads what it wrote."""
    captured(world)
    world.rows(
        "insert into mv.watermarks (view, topic, partition, lsn, source_at) "
        "values ('related', 't', 0, pg_current_wal_lsn(), clock_timestamp()), "
        "('search.words', 't', 0, pg_current_wal_lsn(), clock_timestamp() - interval '100 s') returning 1"
    )
    assert state(watcher, "related") == "stale"
    world.rows("delete from mv.watermarks where view = 'search.words' returning 1")
    assert state(watcher, "related") == "unknown"


def test_a_flow_from_never_run_to_caught_up_to_gone(world: World, watcher: Watcher) -> None:
    found = seen(watcher)
    assert {group(found, f"adriatic.{name}").status for name in flows()} == {"no-commits"}
    assert {view.state for view in found.views} == {"unknown"}
    world.versions([Version(uuid.uuid4(), uuid.uuid4(), 1) for _ in range(20)])
    with Running(world, world.activity):
        until(lambda: world.done(world.activity))

        def fresh() -> bool:
            captured(world)
            return any(view.view == "activity" and view.state == "fresh" for view in seen(watcher).views)

        until(fresh)
        found = seen(watcher)
        flow = group(found, "adriatic.activity")
        assert (flow.status, flow.lag_records, flow.lag_s, flow.ours) == ("ok", 0, 0.0, True)
        assert flow.members
        view = next(each for each in found.views if each.view == "activity")
        assert view.flow == "activity"
        assert view.age_s == pytest.approx(sum(view.stages.values()), abs=0.01)
    until(lambda: group(seen(watcher), "adriatic.activity").status == "stopped")


def test_what_a_flow_rejected_on_purpose_waits_for_nobody(world: World, watcher: Watcher) -> None:
    for offset, stage in enumerate(("reject", "process")):
        world.rows(
            "insert into ops.dlq (flow, topic, partition, record_offset, stage, code, detail) "
            "values ('feeds', 't', 0, %s, %s, 'invalid', 'x') returning 1",
            offset,
            stage,
        )
    assert [(each.flow, each.open) for each in seen(watcher).dead_letters] == [("feeds", 1)]


def test_records_that_wait_for_a_group_of_others_have_a_number_and_an_age(world: World, watcher: Watcher) -> None:
    world.versions([Version(tenant, uuid.uuid4(), 1) for tenant in _tenants(world) for _ in range(10)])
    name = f"analyst-{uuid.uuid4().hex[:8]}"
    _commit(world, name, dict.fromkeys(range(3), 0))
    until(lambda: any(each.group == name and each.lag_s is not None for each in seen(watcher).groups))
    found = group(seen(watcher), name)
    assert not found.ours
    assert found.lag_records == 30
    assert found.retention_share == 1.0
    assert found.lag_s is not None
    assert found.lag_s < 600
    assert all(at.lag_s is not None for at in found.partitions)
    _commit(world, name, {partition: at.end - 1 for partition, at in enumerate(found.partitions)})
    until(lambda: group(seen(watcher), name).lag_records == 3)
    until(lambda: group(seen(watcher), name).lag_s is not None)
    until(lambda: group(seen(watcher), name).status == "stopped")


def _tenants(world: World) -> list[uuid.UUID]:
    """One whose records go to each partition."""
    found: dict[int, uuid.UUID] = {}
    while len(found) < PARTITIONS:
        tenant = uuid.uuid4()
        found[partition_for(str(tenant), PARTITIONS)] = tenant
    return list(found.values())


def _commit(world: World, name: str, offsets: dict[int, int]) -> None:
    """As somebody outside does."""
    topic = world.topics[VERSIONS_TOPIC]
    consumer = Consumer({**world.settings.kafka.client_config(), "group.id": name, "enable.auto.commit": False})
    consumer.commit(offsets=[At(topic, partition, at) for partition, at in offsets.items()], asynchronous=False)
    consumer.close()


def test_a_broker_that_is_away_makes_groups_unknown_and_nothing_else(fresh_database: Settings) -> None:
    kafka = fresh_database.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    life = Lifecycle(Health())
    watcher = Watcher(fresh_database.model_copy(update={"kafka": kafka}), life)
    try:
        found = watcher.poll()
        assert {each.status for each in found.groups} == {"unknown"}
        assert {f"adriatic.{name}" for name in flows()} <= {each.group for each in found.groups}
        assert found.reason
        assert all(each.reason == found.reason for each in found.groups)
        assert found.slot is not None
        assert found.slot.status == "missing"
        assert "kafka" in life.health.report()["reasons"]
    finally:
        watcher.close()


def test_what_is_seen_is_written_and_exported_and_ends_with_the_database(world: World, watcher: Watcher) -> None:
    captured(world)
    with Running(world, world.activity):
        until(lambda: world.done(world.activity))
        found = seen(watcher)
        watcher.publish(found)
    with Watch(world.settings, "test") as watch:
        read, now_s = watch.picture()
        assert read is not None
        assert [each.group for each in mask_stale(read, now_s).groups] == [each.group for each in found.groups]
    labels = {"group": "adriatic.activity"}
    assert REGISTRY.get_sample_value("kafka_consumergroup_group_sum_lag", labels) == 0
    said = {
        status: REGISTRY.get_sample_value("adriatic_group_status", {**labels, "status": status})
        for status in ("ok", "slow")
    }
    assert said == {"ok": 1.0, "slow": 0.0}
    watcher.forget("gone")
    assert REGISTRY.get_sample_value("kafka_consumergroup_group_sum_lag", labels) is None


def test_a_minute_is_kept_and_old_ones_are_forgotten(world: World) -> None:
    with Watch(world.settings, "test") as watch:
        now_s = int(watch.facts().now_s) // 60 * 60
        for minute_s, samples in ((now_s - 10 * 86_400, 5), (now_s, 5), (now_s, 3)):
            watch.write_minute(minute_s, {("v", "total"): Percentiles(samples, 1.0, 2.0, 3.0, samples)})
        assert world.rows("select view, stage, samples, max_s from ops.freshness_minute") == [("v", "total", 5, 5.0)]
        assert watch.last_hour()["v"] == Percentiles(5, 1.0, 2.0, 3.0, 5.0)
