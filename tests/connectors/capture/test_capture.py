"""Change capture on a real Postgres, broker and registry: what is committed becomes records, in order, once."""

from __future__ import annotations

import json
import uuid

import pytest

from connectors.kafka.partitioner import partition_for
from tests.connectors.capture.world import PARTITIONS, World

pytestmark = pytest.mark.stack

A, B = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))


def test_changes_become_an_envelope_each(world: World) -> None:
    with world.capturing():
        world.streaming()
        world.sql("insert into app.item (tenant_id, id, title, body) values (%s, 1, 'one', 'text')", A)
        world.sql("update app.item set title = 'uno', body = null where id = 1")
        world.sql("delete from app.item where id = 1")
        world.caught_up()
    created, updated, deleted, tombstone = world.read("app.item")
    assert [record.key for record in (created, updated, deleted, tombstone)] == [{"tenant_id": A, "id": 1}] * 4
    assert created.value["op"] == "c"
    assert created.value["before"] is None
    assert created.value["after"]["body"] == "text"
    assert (updated.value["op"], updated.value["before"]) == ("u", None)
    assert (updated.value["after"]["title"], updated.value["after"]["body"]) == ("uno", None)
    assert (deleted.value["op"], deleted.value["after"]) == ("d", None)
    assert deleted.value["before"]["id"] == 1
    assert deleted.value["before"]["title"] is None  # the default replica identity sends the key alone
    assert tombstone.value is None
    source = created.value["source"]
    assert (source["db"], source["schema"], source["table"]) == (world.settings.postgres.database, "app", "item")
    assert source["ts_us"] == created.committed_at_us
    assert created.headers["adriatic.tenant"] == A.encode()
    assert {record.partition for record in (created, updated, deleted, tombstone)} == {partition_for(A, PARTITIONS)}
    positions = [record.pos for record in (created, updated, deleted, tombstone)]
    assert positions == sorted(set(positions))


def test_only_what_is_committed_is_captured(world: World) -> None:
    with world.capturing(), world.connect() as connection:
        world.streaming()
        with connection.transaction(force_rollback=True):
            connection.execute("insert into app.item (tenant_id, id, title) values (%s, 1, 'never')", [A])
        with connection.transaction():
            connection.execute("insert into app.item (tenant_id, id, title) values (%s, 2, 'kept')", [A])
            with connection.transaction(force_rollback=True):  # a savepoint
                connection.execute("insert into app.item (tenant_id, id, title) values (%s, 3, 'never')", [A])
            connection.execute("insert into app.item (tenant_id, id, title) values (%s, 4, 'kept')", [A])
        world.caught_up()
    records = world.read("app.item")
    assert [record.key["id"] for record in records] == [2, 4]
    assert len({record.pos.commit for record in records}) == 1


def test_an_unchanged_large_value_is_named_not_invented(world: World) -> None:
    large = "".join(str(uuid.uuid4()) for _ in range(2_000))
    with world.capturing():
        world.streaming()
        world.sql("insert into app.item (tenant_id, id, title, body) values (%s, 1, 'one', %s)", A, large)
        world.sql("update app.item set title = 'two'")
        world.sql("insert into app.whole (tenant_id, id, note, body) values (%s, 1, 'one', %s)", A, large)
        world.sql("update app.whole set note = 'two'")
        world.caught_up()
    created, updated = world.read("app.item")
    assert (created.value["after"]["body"], created.value["unchanged"]) == (large, [])
    assert (updated.value["after"]["body"], updated.value["unchanged"]) == (None, ["body"])
    _, full = world.read("app.whole")
    assert (full.value["after"]["body"], full.value["unchanged"]) == (large, [])
    assert full.value["before"] == {"tenant_id": A, "id": 1, "note": "one", "body": large}


def test_a_changed_key_is_a_delete_and_a_create(world: World) -> None:
    with world.capturing():
        world.streaming()
        world.sql("insert into app.item (tenant_id, id, title) values (%s, 1, 'one')", A)
        world.sql("update app.item set id = 2")
        world.caught_up()
    _, deleted, tombstone, created = world.read("app.item")
    assert (deleted.key["id"], deleted.value["op"]) == (1, "d")
    assert (tombstone.key["id"], tombstone.value) == (1, None)
    assert (created.key["id"], created.value["op"]) == (2, "c")
    assert json.loads(deleted.headers["__debezium.newkey"]) == {"tenant_id": A, "id": 2}
    assert json.loads(created.headers["__debezium.oldkey"]) == {"tenant_id": A, "id": 1}


def test_events_keep_their_place_among_the_rows(world: World) -> None:
    with world.capturing(), world.connect() as connection:
        world.streaming()
        with connection.transaction():
            connection.execute("insert into app.item (tenant_id, id, title) values (%s, 1, 'one')", [A])
            world.emit(connection, A, 7, "said")
            connection.execute("insert into app.item (tenant_id, id, title) values (%s, 2, 'two')", [A])
        with connection.transaction(force_rollback=True):
            world.emit(connection, A, 8, "never said")
        world.caught_up()
    (event,) = world.read("events")
    first, second = world.read("app.item")
    assert event.key == {"tenant_id": uuid.UUID(A), "id": 7}
    assert event.value["text"] == "said"
    assert event.value["at"].microsecond == 1
    assert event.headers["traceparent"] == b"00-1-2-01"
    assert first.pos < event.pos < second.pos
    assert event.committed_at_us == first.committed_at_us
    assert world.sql("select table_name from ops.cdc_tables where state = 'stopped'") == [], "no partition is a table"


def test_an_event_that_does_not_fit_becomes_a_dead_letter(world: World) -> None:
    with world.capturing(), world.connect() as connection:
        world.streaming()
        emit = "select app.emit(%s, %s, %s, %s)"
        key = json.dumps({"tenant_id": A, "id": 1})
        connection.execute(emit, [world.topic("events"), key, A, json.dumps({"id": "not a number"})])
        connection.execute(emit, [world.topic("nowhere"), key, A, "{}"])
        connection.execute(emit, [world.topic("feed"), key, A, "{}"])
        connection.execute("select pg_logical_emit_message(true, 'outbox', 'believed by nobody')")
        large = json.dumps({"id": 1, "text": "x" * 1_200_000, "at": 0})
        connection.execute(emit, [world.topic("events"), key, A, large])
        world.emit(connection, A, 2, "fits")
        world.caught_up()
        letters = world.sql(
            "select topic, code, stage, tenant_id::text, partition from ops.dlq where flow = 'cdc' "
            "order by record_offset"
        )
    assert [record.value["id"] for record in world.read("events")] == [2]
    assert letters == [
        (world.topic("events"), "unencodable", "encode", A, -1),
        (world.topic("nowhere"), "unencodable", "encode", A, -1),
        (world.topic("feed"), "unencodable", "encode", A, -1),
        (world.topic("events"), "record-too-large", "encode", A, -1),
    ]


def test_raw_events_pass_as_they_are(world: World) -> None:
    key, value = bytes(range(256)), bytes(reversed(range(256))) * 3
    with world.capturing(), world.connect() as connection:
        world.streaming()
        connection.execute(
            "select app.emit_raw(%s, %s, %s, %s, %s)",
            [world.topic("events.dlq"), key, A, value, json.dumps({"dlq.code": "x", "adriatic.pos": "theirs"})],
        )
        world.caught_up()
    (record,) = world.read("events.dlq", raw=True)
    assert (record.key, record.value) == (key, value)
    assert record.headers["dlq.code"] == b"x"
    assert record.headers["original.adriatic.pos"] == b"theirs"
    assert record.pos.commit > 0


def test_a_table_that_does_not_fit_stops_alone(world: World) -> None:
    with world.capturing():
        world.streaming()
        world.sql("insert into app.item (tenant_id, id, title) values (%s, 1, 'before')", A)
        world.caught_up()
        world.sql("alter table app.item alter column title type integer using 0")
        world.sql("insert into app.item (tenant_id, id, title) values (%s, 2, 2)", A)
        world.sql("insert into app.other (tenant_id, id, note) values (%s, 1, 'goes on')", A)
        world.sql("truncate app.whole")
        world.caught_up()
    with world.capturing():  # and it stays so
        world.sql("insert into app.item (tenant_id, id, title) values (%s, 3, 3)", A)
        world.sql("insert into app.other (tenant_id, id, note) values (%s, 2, 'goes on')", A)
        world.caught_up()
    assert [record.key["id"] for record in world.read("app.item")] == [1]
    assert [record.key["id"] for record in world.read("app.other")] == [1, 2]
    states = world.sql("select table_name, state, code from ops.cdc_tables where slot = %s order by 1", world.name)
    assert states == [
        ("app.item", "stopped", "contract-mismatch"),
        ("app.other", "streaming", ""),
        ("app.whole", "stopped", "truncated"),
    ]


def test_a_row_too_large_for_the_broker_stops_its_table(world: World) -> None:
    with world.capturing():
        world.streaming()
        world.sql("insert into app.item (tenant_id, id, title) values (%s, 1, 'small')", A)
        world.sql("insert into app.item (tenant_id, id, title) values (%s, 2, repeat('x', 1200000))", A)
        world.sql("insert into app.item (tenant_id, id, title) values (%s, 3, 'small')", A)
        world.sql("insert into app.other (tenant_id, id) values (%s, 1)", A)
        world.caught_up()
    assert [record.key["id"] for record in world.read("app.item")] == [1]
    assert [record.key["id"] for record in world.read("app.other")] == [1]
    assert world.sql("select code from ops.cdc_tables where state = 'stopped'") == [("record-too-large",)]


def test_a_new_column_without_a_contract_is_left_out(world: World) -> None:
    with world.capturing():
        world.streaming()
        world.sql("alter table app.item add column later text")
        world.sql("insert into app.item (tenant_id, id, title, later) values (%s, 1, 'one', 'x')", A)
        world.caught_up()
    (record,) = world.read("app.item")
    assert record.value["after"]["title"] == "one"
    assert "later" not in record.value["after"]


def test_how_far_the_wal_is_read_is_written_down_also_without_writes(world: World) -> None:
    """What the age of a view is split by: read_at is never before what is in Kafka by more than a heartbeat."""
    with world.capturing():
        world.streaming()

        def read_at() -> list[tuple[object, ...]]:
            return world.sql("select read_at from ops.cdc_progress where slot = %s and read_at is not null", world.name)

        world.until(read_at)
        ((first,),) = read_at()
        world.until(lambda: world.sql("select true from ops.cdc_progress where read_at > %s", first))
