"""What a process says of its lag while it has no partitions."""

from __future__ import annotations

from typing import Any, cast

import pytest

from connectors.kafka.offsets import Offsets
from connectors.kafka.source import GroupConsumer
from dataflows.sampler import Sampler
from runtime.errors import DependencyUnavailable
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import KafkaSettings, Settings


class Unassigned:
    """A member of a group to whom nothing is assigned."""

    assignment = ()
    group = "adriatic.nobody"
    instance = "nobody"


def sample(settings: Settings, kafka: KafkaSettings, health: Health) -> None:
    consumer = cast("GroupConsumer", Unassigned())
    sampler = Sampler(settings, "index", {}, Offsets(kafka), consumer, Lifecycle(health))
    try:
        sampler.sample()
    finally:
        sampler._database.close()


@pytest.mark.stack
def test_a_process_that_lost_its_partitions_with_the_broker_does_not_know_its_lag(fresh_database: Settings) -> None:
    with pytest.raises(DependencyUnavailable):
        sample(fresh_database, KafkaSettings(bootstrap_servers="127.0.0.1:1"), Health())


@pytest.mark.stack
def test_a_process_whose_group_gave_it_nothing_has_no_lag(fresh_database: Settings) -> None:
    health = Health()
    sample(fresh_database, fresh_database.kafka, health)
    facts: dict[str, Any] = health.report()["facts"]
    assert facts["lag"] == {}
