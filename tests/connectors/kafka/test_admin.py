"""Topics on a real broker: created once, put right, grown when allowed, never shrunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import msgspec
import pytest
from confluent_kafka.admin import AdminClient

from connectors.kafka.admin import KafkaAdmin
from runtime.errors import DependencyUnavailable, Misconfigured
from runtime.settings import KafkaSettings, Settings
from topics.catalog import Topic, load
from topics.plan import TopicChange, TopicPlan, plan

DELETE_S_MAX = 60.0
"""Longest wait for a topic of a test to be gone, in seconds."""
WANTED = ("job.progress", "job.progress.dlq", "adriatic.app.adr_versions")


def test_a_broker_that_is_away_is_an_outage() -> None:
    admin = KafkaAdmin(KafkaSettings(bootstrap_servers="127.0.0.1:1"), timeout_s=1)
    with pytest.raises(DependencyUnavailable, match=r"127.0.0.1:1"):
        admin.topics([])


@pytest.fixture
def wanted(stack: Settings) -> Iterator[dict[str, Topic]]:
    """A few of our topics under names of this test's own, deleted afterwards (the command has no way to)."""
    prefix = f"test-{uuid4().hex[:8]}."
    topics = {prefix + name: msgspec.structs.replace(load()[name], name=prefix + name) for name in WANTED}
    yield topics
    # The client must outlive its answers: of one that is collected meanwhile, none ever comes.
    client = AdminClient({**stack.kafka.client_config()})
    for future in client.delete_topics(list(topics), operation_timeout=10).values():
        future.exception(DELETE_S_MAX)


def planned(admin: KafkaAdmin, topics: dict[str, Topic], **options: bool) -> TopicPlan:
    return plan(list(topics.values()), admin.topics(topics), replication_factor=1, **options)


def apply(admin: KafkaAdmin, topics: dict[str, Topic], **options: bool) -> list[TopicChange]:
    done: list[TopicChange] = []
    admin.apply(planned(admin, topics, **options), topics, done.append)
    return done


@pytest.mark.stack
def test_what_is_applied_is_there_and_the_second_plan_is_empty(stack: Settings, wanted: dict[str, Topic]) -> None:
    admin = KafkaAdmin(stack.kafka)
    assert admin.cluster_id()
    done = apply(admin, wanted)
    assert [change.action for change in done] == ["create"] * len(wanted)
    assert planned(admin, wanted).changes == ()
    assert apply(admin, wanted) == []


@pytest.mark.stack
def test_a_topic_that_somebody_else_made_meanwhile_is_fine(stack: Settings, wanted: dict[str, Topic]) -> None:
    admin = KafkaAdmin(stack.kafka)
    before = planned(admin, wanted)
    apply(admin, wanted)
    admin.apply(before, wanted, lambda _: None)
    assert planned(admin, wanted).in_sync


@pytest.mark.stack
def test_a_changed_setting_is_put_right_and_nothing_else(stack: Settings, wanted: dict[str, Topic]) -> None:
    admin = KafkaAdmin(stack.kafka)
    name = next(name for name in wanted if name.endswith("job.progress"))
    drifted = msgspec.structs.replace(wanted[name], retention_ms=1000, extra={"min.insync.replicas": "1"})
    apply(admin, {**wanted, name: drifted})
    (change, info) = planned(admin, wanted).changes
    assert (change.action, change.setting, change.before) == ("alter", "retention.ms", "1000")
    assert (info.action, info.setting) == ("info", "min.insync.replicas")
    assert apply(admin, wanted) == [change]
    assert planned(admin, wanted).changes == (info,), "what the file does not say stays"


@pytest.mark.stack
def test_partitions_grow_only_when_allowed_and_never_shrink(stack: Settings, wanted: dict[str, Topic]) -> None:
    admin = KafkaAdmin(stack.kafka)
    name = next(name for name in wanted if name.endswith("job.progress"))
    apply(admin, {name: msgspec.structs.replace(wanted[name], partitions=2)})
    (change,) = planned(admin, {name: wanted[name]}).changes
    assert change.action == "refused"
    assert apply(admin, {name: wanted[name]}) == []
    (change,) = apply(admin, {name: wanted[name]}, allow_partition_growth=True)
    assert change.action == "grow"
    assert planned(admin, {name: wanted[name]}).in_sync
    (change,) = planned(admin, {name: msgspec.structs.replace(wanted[name], partitions=3)}).changes
    assert change.action == "refused"


@pytest.mark.stack
def test_what_the_broker_refuses_is_not_an_outage(stack: Settings, wanted: dict[str, Topic]) -> None:
    name, topic = next(iter(wanted.items()))
    admin = KafkaAdmin(stack.kafka.model_copy(update={"replication_factor": 3}))
    with pytest.raises(Misconfigured, match="create"):
        apply(admin, {name: topic})
    admin = KafkaAdmin(stack.kafka)
    with pytest.raises(Misconfigured, match="create"):
        apply(admin, {name: msgspec.structs.replace(topic, extra={"max.message.bytes": "many"})})
    change = TopicChange("alter", name, "retention.ms", "", "soon")
    apply(admin, {name: topic})
    with pytest.raises(Misconfigured, match=r"set retention.ms"):
        admin.apply(TopicPlan((replace(change),)), {name: topic}, lambda _: None)
