"""What the runner promises for every flow, on a real broker, database and registry."""

from __future__ import annotations

import struct
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from connectors.postgres.connections import Connection
from dataflows.flow import Event
from dataflows.index import Index, IndexEffects
from dataflows.runner import Runner
from runtime.errors import DependencyUnavailable, Halted
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import KafkaSettings, PostgresSettings, Settings
from schemas.catalog import Schema
from tests.dataflows.world import EPOCH, VERSIONS_TOPIC, Outbox, Process, Running, Version, World, envelope, until
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.stack


@pytest.fixture(autouse=True)
def space(request: pytest.FixtureRequest) -> None:
    """The active embedding space, without which `index` waits."""
    if "world" in request.fixturenames:
        world: World = request.getfixturevalue("world")
        with world.admin() as connection:
            world.embed.start(connection)


def letters(world: World) -> list[tuple[Any, ...]]:
    return world.rows("select record_offset, stage, code, value from ops.dlq order by record_offset")


def test_each_poisoned_record_is_one_dead_letter_and_the_partition_goes_on(world: World, outbox: Outbox) -> None:
    tenant, good = uuid.uuid4(), uuid.uuid4()
    encode = world.encoder(VERSIONS_TOPIC).encode

    def version(**changes: Any) -> bytes:
        return encode(envelope(Version(tenant, uuid.uuid4(), 1, **changes)))

    unparsable = envelope(Version(tenant, uuid.uuid4(), 1))
    unparsable["after"]["effective_at"] = "the day before yesterday"
    poison = [
        b"garbage",
        struct.pack(">bI", 0, 2_000_000_000) + b"unknown schema",
        version()[:20],
        encode(unparsable),
        version(title="a \x00 in the title"),
    ]
    world.insert([Version(tenant, good, 1)])
    for value in [version(), poison[0], poison[1], None, poison[2], version(), poison[3], poison[4]]:
        world.produce(VERSIONS_TOPIC, tenant, value)
    world.produce(VERSIONS_TOPIC, tenant, encode(envelope(Version(tenant, good, 1))))
    world.flush()
    world.run_until_done(world.index)
    assert [(offset, stage, code, bytes(value)) for offset, stage, code, value in letters(world)] == [
        (1, "decode", "undecodable", poison[0]),
        (2, "decode", "unknown-schema", poison[1]),
        (4, "decode", "undecodable", poison[2]),
        (6, "process", "unprocessable", poison[3]),
        (7, "process", "unprocessable", poison[4]),
    ]
    assert world.rows("select count(*) from mv.search_state") == [(3,)]
    sent = [message for message in outbox.messages() if "value_b64" in message]
    assert [message["headers"]["dlq.source.offset"] for message in sent] == ["1", "2", "4", "6", "7"]
    assert {message["topic"] for message in sent} == {f"{world.topics[VERSIONS_TOPIC]}.dlq"}
    assert {message["tenant_id"] for message in sent} == {str(tenant)}


def test_a_flood_of_dead_letters_stops_the_flow_before_it_drains_the_topic(world: World) -> None:
    tenant = uuid.uuid4()
    for _ in range(300):
        world.produce(VERSIONS_TOPIC, tenant, b"a bad deploy")
    world.flush()
    with pytest.raises(Halted, match="cannot be processed"):
        world.run_until_done(world.index)
    assert len(letters(world)) <= 100
    assert not world.done(world.index), "what was not written is still to be read"
    before = letters(world)
    with pytest.raises(Halted):
        world.run_until_done(world.index)
    assert letters(world) == before, "a restart is not a way around the limit"
    world.run_until_done(world.index, dead_letter_limit=False)
    assert len(letters(world)) == 300


def test_a_replay_from_the_beginning_changes_nothing(world: World, outbox: Outbox) -> None:
    tenant, adrs = uuid.uuid4(), [uuid.uuid4() for _ in range(5)]
    changes = ["create", "update", "update", "delete"]
    world.versions(
        [Version(tenant, adr, n + 1, body=f"# {n}", change=changes[n]) for n in range(4) for adr in adrs[n:]]
    )
    world.produce(VERSIONS_TOPIC, tenant, b"garbage")
    world.flush()
    world.run_until_done(world.index)
    outbox.carry()
    world.run_until_done(world.embed)

    def everything() -> list[Any]:
        return [
            world.rows("select * from mv.search_state order by 1, 2"),
            world.rows("select * from mv.chunks order by 1, 2, 3, 4"),
            world.rows("select tenant_id, space, text_hash, embedding::text from mv.embeddings order by 1, 2, 3"),
            world.rows("select * from mv.embedding_stats"),
            world.rows("select record_offset, state from ops.dlq"),
        ]

    before = everything()
    world.rows("update ops.consumer_offsets set next_offset = 0 returning 1")
    world.run_until_done(world.index)
    assert outbox.carry() == []
    world.run_until_done(world.embed)
    assert everything() == before
    assert world.rows("select attempts from ops.dlq") == [(2,)]


def test_a_database_outage_makes_lag_and_no_dead_letters(world: World) -> None:
    database, tenant = world.settings.postgres.database, uuid.uuid4()
    world.versions([Version(tenant, uuid.uuid4(), 1) for _ in range(30)])
    with Running(world, world.index) as running:
        until(lambda: world.done(world.index))
        with Connection.connect(world.settings.postgres.dsn("admin", "postgres"), autocommit=True) as admin:
            admin.execute(f'alter database "{database}" allow_connections false')
            admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [database])
            for _ in range(30):
                value = world.encoder(VERSIONS_TOPIC).encode(envelope(Version(tenant, uuid.uuid4(), 1)))
                world.produce(VERSIONS_TOPIC, tenant, value)
            world.flush()
            until(lambda: {"postgres", "lag"} <= set(running.health.report()["reasons"]))
            assert running.health.report()["facts"]["lag"] == "unknown"
            admin.execute(f'alter database "{database}" allow_connections true')
        until(lambda: world.done(world.index))
        until(lambda: running.health.report()["status"] == "ready")
    assert letters(world) == []
    assert world.rows("select count(*) from mv.search_state") == [(60,)]


class _Away:
    """A registry that does not answer at first."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.asked = 0

    def schema(self, schema_id: int) -> Schema:
        self.asked += 1
        if self.asked < 4:
            raise DependencyUnavailable("the registry does not answer")
        return self._world.registry.schema(schema_id)

    def id_of(self, subject: str, schema: Schema) -> int:
        raise NotImplementedError


def test_a_registry_outage_makes_no_dead_letters(world: World) -> None:
    world.versions([Version(uuid.uuid4(), uuid.uuid4(), 1)])
    away = _Away(world)
    with Running(world, world.index, lookup=away):
        until(lambda: world.done(world.index))
    assert away.asked == 4
    assert letters(world) == []


class _Touchy(Index):
    """Fails in SQL for one title, and in the transform for another."""

    def transform(self, events: Sequence[Event]) -> IndexEffects:
        if any(event.value["after"]["title"] == "no transform" for event in events):
            raise RuntimeError("a bug")
        return super().transform(events)

    def apply(self, connection: Connection, effects: IndexEffects) -> None:
        super().apply(connection, effects)
        if any(version.title == "no apply" for version in effects.versions):
            connection.execute("select 1 / 0")


def test_a_bug_for_one_record_costs_that_record_only(world: World) -> None:
    tenant = uuid.uuid4()
    titles = [*["fine"] * 40, "no apply", *["fine"] * 40, "no transform", *["fine"] * 40]
    world.versions([Version(tenant, uuid.uuid4(), 1, title=title) for title in titles])
    world.run_until_done(_Touchy())
    assert [(offset, code) for offset, _stage, code, _value in letters(world)] == [
        (40, "unprocessable"),
        (81, "unprocessable"),
    ]
    assert world.rows("select count(*) from mv.search_state") == [(120,)]


def test_lag_and_watermarks_are_told_also_when_nothing_comes(world: World) -> None:
    world.rows("insert into ops.cdc_progress values ('adriatic', '1', '0/500', %s) returning 1", EPOCH)
    tenant = uuid.uuid4()
    world.versions([Version(tenant, uuid.uuid4(), 1)])
    with Running(world, world.index) as running:
        until(lambda: world.rows("select count(*) from mv.watermarks where lsn >= '0/500'") == [(9,)])
        none, topic = {"records": 0, "seconds": 0.0}, world.topics[VERSIONS_TOPIC]
        until(lambda: running.health.report()["facts"].get("lag", {}).get(topic) == none)
        world.rows("update ops.cdc_progress set lsn = '0/600' returning 1")
        until(lambda: world.rows("select count(*) from mv.watermarks where lsn >= '0/600'") == [(9,)])
        until(lambda: running.health.report()["facts"]["watermarks"]["search.words"]["lsn"] == "0/600")


def test_a_busy_partition_is_known_up_to_before_its_newest_commit(world: World) -> None:
    world.versions([Version(uuid.uuid4(), uuid.uuid4(), 1)])
    world.run_until_done(world.index)
    (row,) = world.rows(
        "select ('0/0'::pg_lsn + %s::numeric)::text, lsn::text from mv.watermarks where lsn > '0/0'", world.lsn - 1
    )
    assert row[0] == row[1]


def test_a_snapshot_in_progress_claims_no_watermark(world: World) -> None:
    tenant = uuid.uuid4()
    value = world.encoder(VERSIONS_TOPIC).encode(envelope(Version(tenant, uuid.uuid4(), 1), op="r"))
    world.produce(VERSIONS_TOPIC, tenant, value)
    world.flush()
    world.run_until_done(world.index)
    assert world.rows("select distinct lsn::text from mv.watermarks") == [("0/0",)]


def test_it_starts_waits_and_stops_without_its_dependencies() -> None:
    settings = Settings(postgres=PostgresSettings(port=1), kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    life = Lifecycle(Health())
    thread = threading.Thread(target=Runner(Index(), settings, life).run)
    thread.start()
    until(lambda: "kafka" in life.health.report()["reasons"])
    life.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_sigterm_ends_it_cleanly(world: World, tmp_path: Path) -> None:
    tenant = uuid.uuid4()
    world.versions([Version(tenant, uuid.uuid4(), 1) for _ in range(200)])
    process = Process(world, "index", tmp_path / "log")
    until(lambda: world.rows("select count(*) from mv.search_state where deleted = false") != [(0,)])
    assert process.terminate() == 0, (tmp_path / "log").read_text()
    world.run_until_done(world.index)
    assert world.rows("select count(*) from mv.search_state") == [(200,)]
