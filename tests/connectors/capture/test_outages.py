"""The world around change capture misbehaves, or somebody has to decide."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from connectors.capture.assemble import configure
from connectors.capture.ledger import Ledger
from connectors.capture.outbox import EventEncoder
from connectors.capture.routing import TenantRouter
from connectors.capture.source import Capture
from connectors.capture.store import Store
from connectors.capture.stream import Parts, Stream, StreamStart
from connectors.capture.tables import Tables
from connectors.capture.tracker import Confirmed
from connectors.capture.transport import Transport
from connectors.kafka.producer import Deliveries
from connectors.postgres.beats import Beat
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import DependencyUnavailable
from runtime.ops import Health
from tests.connectors.capture.world import World

pytestmark = pytest.mark.stack

TENANT = str(uuid.UUID(int=7))


@contextmanager
def running(capture: Capture) -> Iterator[None]:
    thread = threading.Thread(target=capture.run)
    thread.start()
    try:
        yield
    finally:
        capture.stop()
        thread.join(60)
        assert not thread.is_alive()


def reason(health: Health, what: str) -> str:
    return str(health.report()["reasons"].get(what, ""))


def insert(world: World, number: int) -> None:
    world.sql("insert into app.item (tenant_id, id, title) values (%s, %s, 'x')", TENANT, number)


def test_an_idle_database_still_advances(world: World) -> None:
    health = Health()
    with running(world.capture(health)):
        world.streaming()
        first = world.confirmed()
        world.until(lambda: world.confirmed() != first)
        world.caught_up()
        report = health.report()
    assert report["status"] == "ready"
    assert report["facts"]["slot"] == world.name
    assert report["facts"]["behind_s"] >= 0


def test_without_heartbeats_keepalives_advance(world: World) -> None:
    cdc = world.settings.cdc.model_copy(update={"heartbeat_s": 3600.0})
    world.settings = world.settings.model_copy(update={"cdc": cdc})
    with running(world.capture()):
        world.streaming()
        time.sleep(1.5)
        first = world.confirmed()
        # Not published, and not small: nothing but keepalives tells of it.
        world.sql("create table app.noise as select repeat(md5(i::text), 20) as x from generate_series(1, 5000) i")
        world.until(lambda: world.confirmed() != first)


def test_a_slot_that_was_made_anew_halts(world: World) -> None:
    with world.capturing() as process:
        world.streaming()
        insert(world, 1)
        world.caught_up()
        process.stop()
    world.sql("select pg_drop_replication_slot(%s)", world.name)
    insert(world, 2)
    world.sql("select pg_create_logical_replication_slot(%s, 'pgoutput')", world.name)
    health = Health()
    with running(world.capture(health)):
        world.until(lambda: "would be missed" in reason(health, "decision"))
    assert len(world.read("app.item")) == 1


def test_a_lost_slot_halts_until_somebody_decides(world: World) -> None:
    from adriatic.cli.cdc import _reset

    with world.capturing() as process:
        world.streaming()
        insert(world, 1)
        world.caught_up()
        process.stop()
    world.sql("select pg_drop_replication_slot(%s)", world.name)
    insert(world, 2)
    health = Health()
    with running(world.capture(health)):
        world.until(lambda: "is gone" in reason(health, "decision"))
        assert _reset(world.settings, drop_slot=False) is False
        world.streaming()
        insert(world, 3)
        world.caught_up()
    operations = [(record.key["id"], record.value["op"]) for record in world.read("app.item")]
    assert operations == [(1, "c"), (1, "r"), (2, "r"), (3, "c")]


def test_a_reset_brings_a_stopped_table_back_and_loses_no_event(world: World) -> None:
    from adriatic.cli.cdc import _reset

    with running(world.capture()), world.connect() as connection:
        world.streaming()
        insert(world, 1)
        world.sql("truncate app.item")
        insert(world, 2)
        world.emit(connection, TENANT, 1, "before")
        world.caught_up()
        assert world.sql("select code from ops.cdc_tables where state = 'stopped'") == [("truncated",)]
        assert _reset(world.settings, drop_slot=False) is True
        world.emit(connection, TENANT, 2, "between")
        world.streaming()
        insert(world, 3)
        world.emit(connection, TENANT, 3, "after")
        world.caught_up()
    operations = [(record.key["id"], record.value["op"]) for record in world.read("app.item")]
    assert operations == [(1, "c"), (2, "r"), (3, "c")]
    events = [record.value["id"] for record in world.read("events")]
    assert list(dict.fromkeys(events)) == [1, 2, 3]
    assert events.count(3) == 1, "what the copy had comes again, and nothing else"


def test_it_waits_for_its_topics_and_its_publication(world: World) -> None:
    world.sql(f"drop publication {world.name}")
    health = Health()
    with running(world.capture(health)):
        world.until(lambda: "no publication" in reason(health, "decision"))
        world.sql(f"create publication {world.name} for table app.item")
        world.until(lambda: health.report()["status"] == "ready")
    assert world.confirmed()


def test_an_impatient_server_is_refused(world: World) -> None:
    database = world.settings.postgres.database
    world.sql(f"alter role adriatic_cdc in database {database} set wal_sender_timeout = '20s'")
    health = Health()
    with running(world.capture(health)):
        world.until(lambda: "wal_sender_timeout" in reason(health, "decision"))


def test_a_bad_release_does_not_drain_a_topic(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.capture.translator.DEAD_LETTERS_IN_A_ROW_MAX", 3)
    monkeypatch.setattr("connectors.capture.source.RECHECK_S", 0.1)
    from adriatic.cli.cdc import _reset

    with running(world.capture()), world.connect() as connection:
        world.streaming()
        for number in range(2):
            world.sql("select app.emit(%s, '{}', %s, '{}')", world.topic("events"), TENANT)
            world.sql("select app.emit(%s, '{}', %s, '{}')", world.topic("events"), TENANT)
            world.emit(connection, TENANT, number, "good")
        world.caught_up()
        for _ in range(10):
            world.sql("select app.emit(%s, '{}', %s, '{}')", world.topic("events"), TENANT)
        stopped = "select table_name, code from ops.cdc_tables where state = 'stopped'"
        world.until(lambda: world.sql(stopped) == [(world.topic("events"), "too-many-dead-letters")])
        world.emit(connection, TENANT, 2, "good, too late")
        insert(world, 1)
        world.caught_up()
        assert world.sql("select count(*) from ops.dlq") == [(4 + 3,)], "the others wait in the outbox"
        assert [record.value["id"] for record in world.read("events")] == [0, 1]
        assert len(world.read("app.item")) == 1, "what is not that topic goes on"
        # The way out, when the release is mended.
        _reset(world.settings, drop_slot=False)
        world.streaming()
        world.until(lambda: world.sql(stopped) == [])
        world.emit(connection, TENANT, 3, "good")
        world.caught_up()
    events = [record.value["id"] for record in world.read("events")]
    assert list(dict.fromkeys(events)) == [0, 1, 2, 3]
    assert world.sql("select count(*) from ops.dlq") == [(4 + 10,)], "each bad one is there once"


class FullProducer:
    """A broker that has stopped answering: one record is on its way, and there is no room for another."""

    def __init__(self) -> None:
        self.unacked = 1
        self.deliveries = Deliveries()
        self.since_s = time.monotonic()

    def check(self, record: Any) -> None: ...

    def send(self, record: Any, acked: Any) -> bool:
        return False

    def poll(self, timeout_s: float) -> None:
        time.sleep(timeout_s)

    def silent_s(self) -> float:
        return time.monotonic() - self.since_s


def test_the_server_is_answered_while_the_broker_is_away(world: World) -> None:
    """Also while it insists: its patience is 2 s here, and the broker is silent for 5."""
    with world.capturing() as process:
        world.streaming()
        process.stop()
    insert(world, 1)
    database = world.settings.postgres.database
    world.sql(f"alter role adriatic_cdc in database {database} set wal_sender_timeout = '2s'")
    cdc = world.settings.cdc.model_copy(update={"kafka_down_max_s": 5.0})
    contracts = world.contracts()
    with Store(world.settings.postgres, world.name) as store, Transport(world.settings.postgres, SYSTEM_CLOCK) as wal:
        progress = store.progress()
        assert progress is not None
        tables = Tables(contracts, TenantRouter(world.name), database, {})
        events = EventEncoder(contracts.topics, {})
        producer: Any = FullProducer()
        parts = Parts(wal, producer, store, tables, events, Ledger())
        wal.start(world.name, world.name)
        beat = Beat(uuid.uuid4(), 1)
        store.begin_session(beat, "")
        config = configure(world.settings.model_copy(update={"cdc": cdc}))
        stream = Stream(parts, config, StreamStart(Confirmed(progress.lsn, 0), beat), SYSTEM_CLOCK)
        with pytest.raises(DependencyUnavailable, match="acknowledged nothing"):
            stream.run(lambda: False)
        assert producer.silent_s() >= cdc.kafka_down_max_s
        query = "select count(*) from pg_stat_replication where pid = %s"
        assert world.sql(query, wal.backend_pid) == [(1,)]
        after = store.progress()
        assert after is not None
        assert after.lsn == progress.lsn  # and nothing was acknowledged
