"""The agent on a real broker: each announcement once, what is nobody's job is a dead letter, and it goes on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import aiokafka.errors
import pytest
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from connectors.kafka.dead_letters import DeadLetterLimit
from connectors.kafka.faust_app import credentials, describe_end, make_app
from connectors.kafka.records import Record
from runtime.errors import Halted, Misconfigured
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import KafkaSettings
from schemas import catalog
from streams.agent import AgentRunner, choose_fresh
from streams.announcements import CRAWLS, TOPIC, Announcements
from tests import databases
from tests.dataflows.world import PARTITIONS, World, until
from tests.patience import PATIENCE_S
from tests.streams.world import Bench


@pytest.fixture
def hearing(world: World) -> World:
    """A world that has the topics of announcements."""
    from confluent_kafka.admin import AdminClient

    names = {topic: f"agents-{uuid4().hex[:8]}-{topic}" for topic in Announcements.topics}
    admin = AdminClient({**world.settings.kafka.client_config()})
    for future in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names.values()]).values():
        future.result(30)
    for topic, name in names.items():
        world.topics[topic] = name
        databases.let_emit(world.settings, f"{name}.dlq")
        world.registry.register(f"{topic}-value", catalog.schema(f"{topic}-value"))
    return world


CRAWL = """
  insert into app.crawls (
    tenant_id, crawl_id, job_id, start_urls, hosts, include, exclude, depth_max, pages_max, bytes_max,
    seconds_max, gone_after
  )
  values (%s, %s, %s, '{}', '{}', '{}', '{}', 1, 1, 1, 1, 1)
"""


class Running:
    """The agent in a thread."""

    def __init__(self, world: World) -> None:
        self.woken = threading.Event()
        self.life = Lifecycle(Health())
        self.error: Exception | None = None
        self.runner = AgentRunner(
            Announcements(self.woken.set), world.settings, self.life, topics=world.topics, lookup=world.registry
        )


@contextmanager
def running(world: World) -> Iterator[Running]:
    one = Running(world)

    def run() -> None:
        try:
            one.runner.run()
        except Halted as error:
            one.error = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield one
    finally:
        one.life.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def announce(world: World, tenant_id: UUID, job_id: UUID) -> None:
    event = {
        "event_id": str(uuid4()),
        "tenant_id": str(tenant_id),
        "occurred_at": 0,
        "task_id": str(job_id),
        "agent": "count",
        "input": json.dumps({}),
    }
    world.produce(TOPIC, tenant_id, world.encoder(TOPIC).encode_json(event))
    world.flush()


def read(world: World) -> int:
    at = world.rows("select coalesce(sum(next_offset), 0) from ops.consumer_offsets where flow = 'jobs'")
    return int(at[0][0])


@pytest.mark.parametrize(
    ("handed", "at", "fresh"),
    [
        ([5, 6], 5, [5, 6]),
        ([5, 6], 6, [6]),
        ([5, 6], 7, []),
        ([5, 5, 6], 5, [5, 6]),
        ([6, 5, 6, 9], 5, [5, 6, 9]),
    ],
)
def test_a_record_that_is_handed_over_twice_is_done_once(handed: list[int], at: int, fresh: list[int]) -> None:
    """When partitions move, Faust may hold a record and fetch it again: both come in one go."""
    records = [Record("t", 0, offset, None, None, b"") for offset in handed]
    assert [record.offset for record in choose_fresh(records, at)] == fresh


@pytest.mark.stack
def test_poison_is_a_dead_letter_and_the_next_is_heard(hearing: World) -> None:
    bench = Bench(hearing.settings)
    tenant = bench.tenant()
    job = bench.job(tenant)
    with running(hearing) as one:
        hearing.produce(TOPIC, tenant, b"\x07 not ours")
        hearing.produce(TOPIC, tenant, None)
        announce(hearing, tenant, uuid4())
        announce(hearing, tenant, job)
        until(lambda: read(hearing) == 4)
        assert one.woken.wait(PATIENCE_S)
        codes = "select stage, code from ops.dlq where flow = 'jobs' order by record_offset"
        assert hearing.rows(codes) == [("decode", "undecodable"), ("process", "unprocessable")]
        assert one.life.failure is None
    with running(hearing) as again:
        announce(hearing, tenant, job)
        until(lambda: read(hearing) == 5)
        assert again.life.failure is None
    assert hearing.rows("select count(*), max(attempts) from ops.dlq") == [(2, 1)], "what was done is not done again"


@pytest.mark.stack
def test_a_question_is_heard_of_by_a_topic_of_its_own(hearing: World) -> None:
    bench = Bench(hearing.settings)
    tenant = bench.tenant()
    topic = "rag.search.requested"
    asked = {"tenant_id": str(tenant), "occurred_at": 0, "question": "Why?"}
    with running(hearing) as one:
        for job in (uuid4(), bench.job(tenant)):
            event = asked | {"event_id": str(uuid4()), "job_id": str(job)}
            hearing.produce(topic, tenant, hearing.encoder(topic).encode_json(event))
        hearing.flush()
        until(lambda: read(hearing) == 2)
        assert one.woken.wait(PATIENCE_S)
    dead = "select stage, code from ops.dlq where flow = 'jobs'"
    assert hearing.rows(dead) == [("process", "unprocessable")], "one whose job is not there"


@pytest.mark.stack
def test_a_crawl_is_heard_of_by_a_topic_of_its_own(hearing: World) -> None:
    bench = Bench(hearing.settings)
    tenant, crawl = bench.tenant(), uuid4()
    bench.rows(CRAWL, tenant, crawl, bench.job(tenant))
    asked = {"tenant_id": str(tenant), "occurred_at": 0, "start_urls": [], "depth_max": 1, "pages_max": 1, "hosts": []}
    with running(hearing) as one:
        for crawl_id in (uuid4(), crawl):
            event = asked | {"event_id": str(uuid4()), "crawl_id": str(crawl_id), "respect_robots": True}
            hearing.produce(CRAWLS, tenant, hearing.encoder(CRAWLS).encode_json(event | {"requested_by": None}))
        hearing.flush()
        until(lambda: read(hearing) == 2)
        assert one.woken.wait(PATIENCE_S)
    dead = "select stage, code from ops.dlq where flow = 'jobs'"
    assert hearing.rows(dead) == [("process", "unprocessable")], "one that is not there"


@pytest.mark.stack
def test_a_flood_of_poison_stops_it_before_it_drains_the_topic(hearing: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = Bench(hearing.settings).tenant()
    monkeypatch.setattr("connectors.consumer.core.limit_of", lambda _topic: DeadLetterLimit(3, 0))
    with running(hearing) as one:
        for _ in range(8):
            hearing.produce(TOPIC, tenant, b"poison")
        hearing.flush()
        until(lambda: one.error is not None)
        assert "more than 3 records in a row" in str(one.error)
    assert hearing.rows("select count(*) from ops.dlq")[0][0] <= 3


@pytest.mark.stack
def test_the_app_is_made_as_safe_as_it_can_be(hearing: World) -> None:
    conf = make_app("adriatic.x", "host.x", hearing.settings, lambda _: {}).conf
    assert (conf.topic_allow_declare, conf.producer_threaded, conf.web_enabled) == (False, False, False)
    assert str(conf.processing_guarantee.value) == "at_least_once"
    assert conf.consumer_group_instance_id == "host.x"


def test_credentials_are_those_of_librdkafka_or_refused() -> None:
    assert credentials(KafkaSettings()) is None
    sasl = {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "u"}
    made = credentials(KafkaSettings.model_validate({"client": sasl}))
    assert (made.username, made.mechanism.value) == ("u", "SCRAM-SHA-512")
    with pytest.raises(Misconfigured, match="GSSAPI"):
        credentials(KafkaSettings(client={"security.protocol": "SASL_SSL", "sasl.mechanism": "GSSAPI"}))


def test_an_end_of_faust_says_what_its_client_met_and_what_helps() -> None:
    crash = RuntimeError("the Faust app crashed")
    crash.__cause__ = aiokafka.errors.GroupAuthorizationFailedError("adriatic.documents")
    assert describe_end(crash).startswith("read from Kafka: GroupAuthorizationFailedError (run `adriatic topics apply`")
    assert "is the broker running" in describe_end(aiokafka.errors.KafkaConnectionError())
    assert describe_end(TimeoutError()) == "it did not come up in time"
    assert describe_end(RuntimeError("?")) == "RuntimeError"
