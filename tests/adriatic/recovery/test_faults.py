"""What `adriatic recover` says is wrong with the topics before it does anything."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest

from adriatic.recovery import machine
from connectors.capture.log import KafkaLog
from connectors.capture.ports import FilledTopic, TopicFacts
from connectors.capture.store import Store
from runtime.settings import Settings
from topics import catalog

pytestmark = pytest.mark.stack

VERSIONS = "adriatic.app.adr_versions"


@pytest.fixture
def found(fresh_database: Settings, monkeypatch: pytest.MonkeyPatch) -> dict[str, TopicFacts]:
    """The topics that the broker has: those that were filled, to begin with."""
    there = {name: TopicFacts(f"id of {name}", topic.partitions, 1) for name, topic in catalog.load().items()}
    with Store(fresh_database.postgres, fresh_database.cdc.slot) as store:
        store.fill_topics({VERSIONS: FilledTopic(there[VERSIONS].topic_id, there[VERSIONS].partitions)})

    def topics(_: KafkaLog, names: Collection[str]) -> dict[str, TopicFacts]:
        return {name: facts for name, facts in there.items() if name in names}

    monkeypatch.setattr(KafkaLog, "topics", topics)
    return there


def test_topics_that_are_well_are_not_named(fresh_database: Settings, found: dict[str, TopicFacts]) -> None:
    assert found
    assert machine.find_topic_faults(fresh_database) == []


def test_a_topic_that_is_gone_or_was_made_anew_is_named(fresh_database: Settings, found: dict[str, TopicFacts]) -> None:
    gone = next(name for name in found if name != VERSIONS)
    del found[gone]
    found[VERSIONS] = TopicFacts("another", 8, 1)
    lacks, anew = machine.find_topic_faults(fresh_database)
    assert lacks == f"the broker lacks 1 topics: {gone}"
    assert f"{VERSIONS} is not the one that was filled" in anew


def test_partitions_that_were_added_are_named(fresh_database: Settings, found: dict[str, TopicFacts]) -> None:
    found[VERSIONS] = replace(found[VERSIONS], partitions=11)
    (fault,) = machine.find_topic_faults(fresh_database)
    assert fault.startswith(f"{VERSIONS} has 11 partitions, and 8 are used")
