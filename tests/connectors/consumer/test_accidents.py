"""A log that is not the one that was read, and a database that is not the one that it is of.

Each is caused on a real broker and database, for both drivers. Nothing of it is processed, and what happened is named.
"""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic  # type: ignore[attr-defined]

from connectors.kafka.logs import Logs
from connectors.kafka.offsets import Offsets
from runtime.errors import Halted
from runtime.settings import Settings
from streams.announcements import TOPIC
from tests import databases
from tests.brokers import has_leaders
from tests.connectors.consumer.world import Driver, Log, Member, announce, committed, rows
from tests.dataflows.world import BEATS, PARTITIONS, World, know_session, until

pytestmark = pytest.mark.stack


def make_anew(world: World, partitions: int = PARTITIONS) -> None:
    """Delete the topic and make it again, under its name."""
    name, admin = world.topics[TOPIC], AdminClient({**world.settings.kafka.client_config()})
    admin.delete_topics([name])[name].result(30)
    until(lambda: name not in Offsets(world.settings.kafka).topics())
    config = {"message.timestamp.type": "LogAppendTime"}
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(30)
    until(lambda: has_leaders(world.settings.kafka, [name]))


def assert_halted(member: Member, *words: str) -> None:
    until(lambda: member.error is not None)
    assert isinstance(member.error, Halted), member.error
    for word in words:
        assert word in member.error.detail
    assert "adriatic recover" in member.error.hint


@pytest.mark.parametrize("more", [0, 1, 6])
def test_a_topic_that_was_made_anew_is_not_read_on(world: World, driver: Driver, more: int) -> None:
    """Whether its log is empty, shorter, or has grown past the old offset."""
    tenant = uuid4()
    announce(world, tenant, 3)
    with Member(world, driver, Log()):
        until(lambda: committed(world) == 3)
    make_anew(world)
    announce(world, tenant, more)
    with Member(world, driver, Log()) as member:
        assert_halted(member, "made anew", "offset 3")
    assert committed(world) == len(rows(world)) == 3


def test_a_topic_that_is_made_anew_under_a_running_member_halts_it(world: World, driver: Driver) -> None:
    tenant = uuid4()
    announce(world, tenant, 3)
    with Member(world, driver, Log()) as member:
        until(lambda: committed(world) == 3)
        make_anew(world)
        assert_halted(member, "made anew")
    assert committed(world) == 3


@pytest.mark.parametrize("more", [0, 1, 6])
def test_a_log_that_went_back_is_not_read_on(world: World, driver: Driver, more: int) -> None:
    """As of a broker that was restored from an older copy: the topic's id is that of before."""
    tenant = uuid4()
    announce(world, tenant, 3)
    with Member(world, driver, Log()):
        until(lambda: committed(world) == 3)
    make_anew(world)
    topic_id = Logs(world.settings.kafka).describe([world.topics[TOPIC]])[world.topics[TOPIC]].topic_id
    world.rows("update ops.consumer_offsets set topic_id = %s returning 1", topic_id)
    announce(world, tenant, more)
    with Member(world, driver, Log()) as member:
        assert_halted(member, "went back", "grew again" if more > 3 else "was read to 3")
    assert committed(world) == len(rows(world)) == 3


def test_a_row_of_an_earlier_release_takes_the_first_topic_that_is_seen(world: World, driver: Driver) -> None:
    tenant = uuid4()
    announce(world, tenant, 3)
    with Member(world, driver, Log()):
        until(lambda: committed(world) == 3)
    told = "topic_id, partitions, last_offset, last_fingerprint"
    before = world.rows(f"select partition, {told} from ops.consumer_offsets order by 1")
    assert len({row[1] for row in before}) == 1
    assert {row[2] for row in before} == {PARTITIONS}
    assert [row[3] for row in before if row[3] is not None] == [2]
    world.rows(
        "update ops.consumer_offsets "
        "set topic_id = null, partitions = null, last_offset = null, last_fingerprint = null returning 1"
    )
    announce(world, tenant)
    with Member(world, driver, Log()):
        until(lambda: committed(world) == 4)
    after = world.rows(f"select partition, {told} from ops.consumer_offsets order by 1")
    assert [row[:3] for row in after] == [row[:3] for row in before]
    assert [row[3] for row in after if row[3] is not None] == [3]
    make_anew(world)
    with Member(world, driver, Log()) as member:
        assert_halted(member, "made anew")


@pytest.mark.parametrize("runs", [False, True])
def test_partitions_that_are_added_to_a_topic_of_ours_halt(world: World, driver: Driver, runs: bool) -> None:
    announce(world, uuid4())
    with Member(world, driver, Log()) as member:
        until(lambda: committed(world) == 1)
        if runs:
            add_partition(world)
            assert_halted(member, f"has {PARTITIONS + 1} partitions, and had {PARTITIONS}")
    if not runs:
        add_partition(world)
        with Member(world, driver, Log()) as member:
            assert_halted(member, f"has {PARTITIONS + 1} partitions, and had {PARTITIONS}")


def add_partition(world: World) -> None:
    name = world.topics[TOPIC]
    admin = AdminClient({**world.settings.kafka.client_config()})
    admin.create_partitions([NewPartitions(name, PARTITIONS + 1)])[name].result(30)
    until(lambda: len(Offsets(world.settings.kafka).partitions([name])) == PARTITIONS + 1)


@pytest.mark.parametrize("known", [0, BEATS])
def test_a_record_of_another_future_halts_before_anything_of_it_is_done(
    world: World, driver: Driver, known: int
) -> None:
    """Its session is not known, or not as far as its beat. Its transaction is not waited for: that may never come."""
    tenant, session = uuid4(), uuid4()
    if known:
        know_session(world.settings, session, known)
    announce(world, tenant, 2)
    with Member(world, driver, Log()):
        until(lambda: committed(world) == 2)
    value = world.encoder(TOPIC).encode_json(event())
    headers = [("adriatic.xid", b"4000000000")]
    world.produce(TOPIC, tenant, value, headers, beat=f"{session}/{BEATS + 1}")
    world.flush()
    with Member(world, driver, Log()) as member:
        assert_halted(member, str(session), "at offset 2")
    assert committed(world) == len(rows(world)) == 2
    know_session(world.settings, session, BEATS + 1)
    with Member(world, driver, Log()):
        until(lambda: committed(world) == 3)


def test_a_database_that_was_set_back_halts_at_what_came_after(
    world: World, driver: Driver, stack: Settings, fresh_database: Settings
) -> None:
    """A copy of it from earlier, and a log that went on with the next session of change capture."""
    tenant = uuid4()
    announce(world, tenant, 2)
    with Member(world, driver, Log()):
        until(lambda: committed(world) == 2)
    databases.close_kept()
    with databases.fresh(stack, fresh_database.postgres.database) as copy:
        world.session = uuid4()
        know_session(world.settings, world.session)
        announce(world, tenant, 2)
        with Member(world, driver, Log()):
            until(lambda: committed(world) == 4)
        newer, world.settings = world.settings, copy
        assert committed(world) == 2
        with Member(world, driver, Log()) as member:
            assert_halted(member, str(world.session), "earlier state")
        assert committed(world) == len(rows(world)) == 2
        world.settings = newer


def test_what_a_stranger_writes_to_a_topic_of_ours_is_a_dead_letter(world: World, driver: Driver) -> None:
    """It decodes, and says no session: it is not processed, and holds nobody up."""
    tenant = uuid4()
    announce(world, tenant)
    world.produce(TOPIC, tenant, world.encoder(TOPIC).encode_json(event()), beat="")
    world.produce(TOPIC, tenant, world.encoder(TOPIC).encode_json(event()), beat="a forgery")
    announce(world, tenant)
    with Member(world, driver, Log()):
        until(lambda: committed(world) == 4)
    assert sorted(at for _, at in rows(world)) == [0, 3]
    letters = world.rows("select record_offset, stage, code, detail from ops.dlq order by 1")
    assert [row[:3] for row in letters] == [(1, "process", "unprocessable"), (2, "process", "unprocessable")]
    assert "no session of change capture" in letters[0][3]


def test_a_beat_is_asked_for_once(world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is while no beat is newer."""
    from connectors.postgres.sink import TransactionalSink

    asked: list[int] = []
    original = TransactionalSink.read_beats
    lock = threading.Lock()

    def count(self: TransactionalSink, sessions: object) -> object:
        with lock:
            asked.append(1)
        return original(self, sessions)  # type: ignore[arg-type]

    monkeypatch.setattr(TransactionalSink, "read_beats", count)
    tenant = uuid4()
    with Member(world, driver, Log()):
        for number in range(1, 6):
            announce(world, tenant)
            until(lambda at=number: committed(world) == at)  # type: ignore[misc]
    assert len(asked) == 1


def event() -> dict[str, object]:
    ids = {name: str(uuid4()) for name in ("event_id", "tenant_id", "task_id")}
    return {**ids, "occurred_at": 0, "agent": "count", "input": "{}"}
