"""The difference between files and broker: nothing lost, nothing reordered, no false drift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics.catalog import Topic, load
from topics.plan import Actual, TopicChange, normalise, plan

TOPICS = list(load().values())
TOPIC = next(topic for topic in TOPICS if topic.name == "job.progress")


def as_wanted(topic: Topic, **changed: Any) -> Actual:
    """What a broker says of a topic that is just as its file says; defaults of the broker's own come on top."""
    config = {"compression.type": "producer", "min.insync.replicas": "1", **topic.config}
    return Actual(
        **{"name": topic.name, "partitions": topic.partitions, "replication_factor": 1, "config": config, **changed}
    )


def only(actual: Mapping[str, Actual], **options: Any) -> tuple[TopicChange, ...]:
    return plan([TOPIC], actual, replication_factor=1, **options).changes


def test_on_an_empty_cluster_everything_is_created_dead_letters_first() -> None:
    found = plan(TOPICS, {}, replication_factor=3)
    assert [change.action for change in found.changes] == ["create"] * len(TOPICS)
    dlq = [change.topic.endswith(".dlq") for change in found.changes]
    assert dlq == sorted(dlq, reverse=True)
    assert not found.in_sync
    assert not found.refused


def test_after_that_there_is_nothing_to_do() -> None:
    found = plan(TOPICS, {topic.name: as_wanted(topic) for topic in TOPICS}, replication_factor=1)
    assert found.changes == ()
    assert found.in_sync


@pytest.mark.parametrize("allow", [True, False])
def test_fewer_partitions_are_refused_whatever_is_allowed(allow: bool) -> None:
    (change,) = only({TOPIC.name: as_wanted(TOPIC, partitions=9)}, allow_partition_growth=allow)
    assert (change.action, change.before, change.after) == ("refused", "9", "8")
    assert "lose its records" in change.reason


def test_more_partitions_move_keys_so_somebody_must_allow_it() -> None:
    (change,) = only({TOPIC.name: as_wanted(TOPIC, partitions=4)})
    assert change.action == "refused"
    assert "tenant_id" in change.reason
    (change,) = only({TOPIC.name: as_wanted(TOPIC, partitions=4)}, allow_partition_growth=True)
    assert (change.action, change.before, change.after) == ("grow", "4", "8")


def test_a_topic_without_keys_grows_freely() -> None:
    dlq = next(topic for topic in TOPICS if topic.kind == "dlq")
    wider = msgspec.structs.replace(dlq, partitions=3)
    (change,) = plan([wider], {dlq.name: as_wanted(dlq)}, replication_factor=1).changes
    assert change.action == "grow"


def test_another_replication_factor_is_refused() -> None:
    (change,) = only({TOPIC.name: as_wanted(TOPIC, replication_factor=3)})
    assert (change.action, change.setting) == ("refused", "replication")


def test_a_setting_that_somebody_changed_is_exactly_one_line() -> None:
    actual = as_wanted(TOPIC)
    changed = as_wanted(TOPIC, config={**actual.config, "retention.ms": "1000"})
    assert only({TOPIC.name: changed}) == (TopicChange("alter", TOPIC.name, "retention.ms", "1000", "86400000"),)


def test_what_the_file_does_not_say_is_told_and_left_alone() -> None:
    actual = as_wanted(TOPIC, overrides=frozenset({"min.insync.replicas", "retention.ms"}))
    found = plan([TOPIC], {TOPIC.name: actual}, replication_factor=1)
    assert [(change.action, change.setting) for change in found.changes] == [("info", "min.insync.replicas")]
    assert found.in_sync


def test_a_setting_that_the_broker_does_not_have_keeps_no_plan_from_being_empty() -> None:
    found = plan([TOPIC], {TOPIC.name: as_wanted(TOPIC, config={"cleanup.policy": "delete"})}, replication_factor=1)
    assert [(change.action, change.setting) for change in found.changes] == [("info", "retention.ms")]
    assert found.in_sync


def test_topics_that_no_file_speaks_of_are_listed_and_left_alone() -> None:
    others = {name: as_wanted(TOPIC, name=name) for name in ("theirs", "__consumer_offsets", "_schemas")}
    found = plan([TOPIC], {TOPIC.name: as_wanted(TOPIC), **others}, replication_factor=1)
    assert found.unmanaged == ("theirs",)
    assert found.in_sync


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("cleanup.policy", "compact,delete", "delete, compact"),
        ("retention.ms", "604800000", " 604800000 "),
        ("retention.ms", "0604800000", "604800000"),
        ("preallocate", "True", "true"),
    ],
)
def test_spellings_of_the_same_value_are_the_same(key: str, one: str, other: str) -> None:
    assert normalise(key, one) == normalise(key, other)


@given(st.text(), st.text())
def test_other_values_stay_apart(one: str, other: str) -> None:
    if one.strip() == other.strip():
        assert normalise("compression.type", one) == normalise("compression.type", other)
    elif not one.strip().lstrip("+-0_").isdigit() and one.strip().lower() != other.strip().lower():
        assert normalise("compression.type", one) != normalise("compression.type", other)
