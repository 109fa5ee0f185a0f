"""One suite for both drivers of the consumer core, on a real broker and database."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID, uuid4

import psycopg
import pytest
from confluent_kafka import Producer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from msgspec.structs import replace

from connectors.consumer import core, stall
from connectors.kafka.dead_letters import DeadLetterLimit
from connectors.kafka.partitioner import partition_for
from connectors.kafka.source import GroupConsumer
from connectors.postgres.connections import Connection
from runtime.errors import Fenced, Halted
from streams.announcements import TOPIC
from tests.connectors.consumer.world import NAME, Driver, Log, Member, announce, committed, rows
from tests.dataflows.world import PARTITIONS, World, until
from tests.patience import PATIENCE_S
from topics import catalog

pytestmark = pytest.mark.stack

SESSION_LONG_S, SHARED_S_MAX = 80.0, 60.0
"""A member that left is told from one that is missed. Faust takes no session that is longer than a request, 90 s."""


def tenants() -> list[UUID]:
    """One for each partition."""
    found: dict[int, UUID] = {}
    while len(found) < PARTITIONS:
        tenant = uuid4()
        found.setdefault(partition_for(str(tenant), PARTITIONS), tenant)
    return [found[number] for number in sorted(found)]


def test_good_records_are_done_once_and_bad_ones_are_dead_letters(world: World, driver: Driver) -> None:
    tenant = uuid4()
    announce(world, tenant, 20)
    world.produce(TOPIC, tenant, b"\x07 not ours")
    world.produce(TOPIC, tenant, None)
    announce(world, tenant, fails="apply")
    announce(world, tenant, 20)
    log = Log()
    with Member(world, driver, log):
        until(lambda: committed(world) == 43)
    letters = world.rows("select record_offset, stage, code from ops.dlq order by 1")
    assert letters == [(20, "decode", "undecodable"), (22, "process", "unprocessable")]
    assert sorted(at for _, at in rows(world)) == [at for at in range(43) if at not in (20, 21, 22)]
    assert log.prepared >= 3, "the batch was halved"
    assert log.in_transaction == 0, "nothing is prepared while a transaction is open"
    announce(world, tenant)
    with Member(world, driver, log):
        until(lambda: committed(world) == 44)
    assert len(rows(world)) == 41, "what was done is not done again"
    assert world.rows("select max(attempts) from ops.dlq") == [(1,)]


def test_no_session_of_the_processor_holds_a_lock_while_it_prepares(world: World, driver: Driver) -> None:
    """In the isolation of a bad record too: a model may compute for seconds."""
    open_ones: list[int] = []

    def look(_connection: Connection) -> None:
        (found,) = world.rows(
            "select count(*) from pg_stat_activity where application_name = %s and xact_start is not null",
            f"adriatic-flow-{NAME}",
        )
        open_ones.append(found[0])

    announce(world, uuid4(), 5)
    tenant = uuid4()
    announce(world, tenant, 5)
    announce(world, tenant, fails="apply")
    announce(world, tenant, 5)
    with Member(world, driver, Log(on_prepare=look)):
        until(lambda: committed(world) == 16)
    assert len(open_ones) >= 4
    assert set(open_ones) == {0}


def test_a_flood_of_dead_letters_stops_it(world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "limit_of", lambda _topic: DeadLetterLimit(3, 0))
    for _ in range(8):
        world.produce(TOPIC, uuid4(), b"poison")
        world.produce(TOPIC, UUID(int=1), b"poison")
    world.flush()
    with Member(world, driver, Log()) as member:
        until(lambda: member.error is not None)
    assert isinstance(member.error, Halted)
    assert "records in a row" in member.error.detail
    assert "--no-dead-letter-limit" in member.error.hint


def test_nothing_is_looked_at_before_the_transaction_is_visible(world: World, driver: Driver) -> None:
    """The record says which transaction it is from; that one is in the log, and has not ended for other sessions."""
    log = Log()
    with psycopg.connect(world.settings.postgres.dsn("admin")) as slow, Member(world, driver, log) as member:
        row = slow.execute("select pg_current_xact_id()::text").fetchone()
        assert row is not None
        until(lambda: member.health.report()["status"] == "ready")
        announce(world, uuid4(), headers=[("adriatic.xid", row[0].encode())])
        until(lambda: "visibility" in member.health.report()["reasons"])
        assert log.prepared == 0
        slow.commit()
        until(lambda: committed(world) == 1)
        until(lambda: member.health.report()["status"] == "ready")
    assert len(rows(world)) == 1
    assert world.rows("select count(*) from ops.dlq") == [(0,)]


def test_a_wait_for_a_transaction_can_be_stopped(world: World, driver: Driver) -> None:
    with psycopg.connect(world.settings.postgres.dsn("admin")) as slow:
        row = slow.execute("select pg_current_xact_id()::text").fetchone()
        assert row is not None
        announce(world, uuid4(), headers=[("adriatic.xid", row[0].encode())])
        with Member(world, driver, Log()) as member:
            until(lambda: "visibility" in member.health.report()["reasons"])
    assert member.error is None
    assert committed(world) == 0


def test_a_transaction_of_another_database_is_not_waited_for(world: World, driver: Driver) -> None:
    """Of a session that this database knows. The log is older than the copy that this database was restored from, or
    younger: what it tells of never comes."""
    announce(world, uuid4(), headers=[("adriatic.xid", b"99999999999")])
    with Member(world, driver, Log()):
        until(lambda: committed(world) == 1)


def test_two_members_share_the_partitions_and_one_has_them_all_when_the_other_leaves(
    world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("connectors.kafka.source", "connectors.kafka.faust_app"):
        monkeypatch.setattr(f"{module}.SESSION_S", SESSION_LONG_S)
    monkeypatch.setattr("streams.agent.STOP_S_MAX", PATIENCE_S)
    every = tenants()
    log = Log()
    with Member(world, driver, log, "one") as one:
        until(lambda: one.health.report()["status"] == "ready")
        with Member(world, driver, log, "two") as two:
            sent = _send_until(world, every, {"one", "two"})
        for tenant in every:
            announce(world, tenant)
        sent += PARTITIONS
        # Sooner than the session ends: a clean stop leaves the group.
        until(lambda: committed(world) == sent, SHARED_S_MAX)
    assert (one.error, two.error) == (None, None)
    done = rows(world)
    assert len(done) == len(set(done)) == sent
    assert world.rows("select count(*) from ops.dlq") == [(0,)]


def _send_until(world: World, every: list[UUID], owners: set[str]) -> int:
    """Events in every partition, until each of the owners has done one of the last round. Returns how many."""
    sent = 0
    while True:
        mark = world.rows("select clock_timestamp()")[0][0]
        for tenant in every:
            announce(world, tenant)
        sent += len(every)
        assert sent < 3_000, "the partitions are not shared"
        until(lambda at=sent: committed(world) >= at)  # type: ignore[misc]
        if {owner for (owner,) in world.rows("select owner from public.probe where at > %s", mark)} == owners:
            return sent


def test_an_offset_that_somebody_moved_is_read_afresh(world: World, driver: Driver) -> None:
    """Nothing was written, and the ledger says where the partition stands: it goes on there, without a restart."""
    tenant = uuid4()
    announce(world, tenant, 3)
    with Member(world, driver, Log()) as member:
        until(lambda: committed(world) == 3)
        world.rows("update ops.consumer_offsets set next_offset = 5 where next_offset = 3 returning 1")
        announce(world, tenant, 5)
        until(lambda: committed(world) == 8)
    assert member.error is None
    assert sorted(at for _, at in rows(world)) == [0, 1, 2, 5, 6, 7]


def test_a_writer_that_does_not_belong_to_the_group_ends_it(world: World, driver: Driver) -> None:
    tenant = uuid4()

    def interfere(_connection: Connection) -> None:
        world.rows("update ops.consumer_offsets set next_offset = next_offset + 1 where next_offset > 0 returning 1")

    announce(world, tenant)
    log = Log()
    with Member(world, driver, log) as member:
        until(lambda: committed(world) == 1)
        log.on_prepare = interfere
        for _ in range(40):
            announce(world, tenant)
            if member.error is not None:
                break
            time.sleep(0.1)
        until(lambda: member.error is not None)
    assert isinstance(member.error, Fenced)


def test_partitions_that_are_added_are_read_without_a_restart(
    world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a topic that others write to: those of ours are spread by change capture, and halt (`test_accidents.py`)."""
    from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

    kinds = catalog.load()
    outside = {**kinds, TOPIC: replace(kinds[TOPIC], kind="feed")}
    monkeypatch.setattr(catalog, "load", lambda: outside)
    for module in ("connectors.kafka.source", "connectors.kafka.faust_app"):
        monkeypatch.setattr(f"{module}.METADATA_S", 0.5)
    with Member(world, driver, Log()) as member:
        until(lambda: member.health.report()["status"] == "ready")
        admin = AdminClient({**world.settings.kafka.client_config()})
        for future in admin.create_partitions([NewPartitions(world.topics[TOPIC], PARTITIONS + 1)]).values():
            future.result(30)
        value = world.encoder(TOPIC).encode_json(
            {"event_id": str(uuid4()), "tenant_id": str(uuid4()), "occurred_at": 0, "task_id": str(uuid4())}
            | {"agent": "count", "input": "{}"}
        )
        until(lambda: _produced(world, value))
        until(lambda: rows(world) == [(PARTITIONS, 0)])
    assert member.error is None


def _produced(world: World, value: bytes) -> bool:
    """A new partition has no leader for a moment."""
    producer = Producer({**world.settings.kafka.client_config(), "message.timeout.ms": 5_000})
    failed: list[object] = []
    producer.produce(
        world.topics[TOPIC],
        value,
        partition=PARTITIONS,
        on_delivery=lambda error, _message: failed.append(error) if error else None,
    )
    return producer.flush(10) == 0 and not failed


def test_an_offset_that_was_set_back_is_done_again_from_there(world: World, driver: Driver) -> None:
    """On the spot, or by the process that takes the place of this one."""
    tenant = uuid4()
    announce(world, tenant, 3)
    with Member(world, driver, Log()) as member:
        until(lambda: committed(world) == 3)
        world.rows("update ops.consumer_offsets set next_offset = 1 where next_offset = 3 returning 1")
        announce(world, tenant)
        until(lambda: committed(world) == 4 or member.error is not None)
    assert member.error is None or isinstance(member.error, Fenced)
    with Member(world, driver, Log()):
        until(lambda: committed(world) == 4)
    assert sorted(at for _, at in rows(world)) == [0, 1, 1, 2, 2, 3]


def test_a_member_that_takes_nothing_any_more_ends_and_the_next_goes_on(
    world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a client that lived through an outage: a member in good order, for which nothing ever comes."""
    monkeypatch.setattr("streams.agent.LOOK_S", 0.2)
    tenant = uuid4()
    with monkeypatch.context() as deaf:
        deaf.setattr(stall, "STALLED_S", 1.0)
        if driver == "bytewax":
            deaf.setattr(GroupConsumer, "_accept", lambda *_: None)
        else:
            deaf.setattr(AIOKafkaConsumerThread, "getmany", _get_nothing)
        with Member(world, driver, Log()) as member:
            until(lambda: member.health.report()["status"] == "ready")
            announce(world, tenant)
            until(lambda: member.error is not None)
    assert isinstance(member.error, Fenced)
    assert "takes nothing" in member.error.detail
    with Member(world, driver, Log()):
        until(lambda: committed(world) == 1)
    assert len(rows(world)) == 1


def test_an_end_that_no_reader_is_given_is_not_waited_for(
    world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry that ends a transaction, as that of a snapshot, and records of one that was undone."""
    monkeypatch.setattr("streams.agent.LOOK_S", 0.2)
    tenant = uuid4()
    announce(world, tenant)
    _undo_records(world, tenant)
    with Member(world, driver, Log()) as member:
        until(lambda: committed(world) >= 1)
        with monkeypatch.context() as impatient:
            impatient.setattr(stall, "STALLED_S", 1.0)
            time.sleep(4.0)  # several looks after it has stood for long enough
        assert member.error is None
        announce(world, tenant)
        until(lambda: len(rows(world)) == 2)
    assert member.error is None


def _undo_records(world: World, tenant: UUID) -> None:
    producer = Producer({**world.settings.kafka.client_config(), "transactional.id": f"undone-{uuid4()}"})
    producer.init_transactions(PATIENCE_S)
    producer.begin_transaction()
    producer.produce(world.topics[TOPIC], b"undone", partition=partition_for(str(tenant), PARTITIONS))
    producer.flush(PATIENCE_S)
    producer.abort_transaction(PATIENCE_S)


@pytest.mark.parametrize("never", ["subscribe", "_on_assign"])
def test_a_flow_that_has_no_partitions_though_nobody_else_has_them_ends(
    world: World, monkeypatch: pytest.MonkeyPatch, never: str
) -> None:
    """It is no member any more; or the broker says that they are this member's, and they never came. Nothing waits, so
    no offset shows it; but the views' watermarks would stand still for ever."""
    monkeypatch.setattr(stall, "STALLED_S", 1.0)
    monkeypatch.setattr(GroupConsumer, never, lambda *_: None)
    with Member(world, "bytewax", Log()) as member:
        until(lambda: member.error is not None)
    assert isinstance(member.error, Fenced)
    assert "nobody else in the group" in member.error.detail


async def _get_nothing(*_: object, **__: object) -> dict[object, object]:
    await asyncio.sleep(0.1)
    return {}
