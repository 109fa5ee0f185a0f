"""What several rooms' tests ask of a broker."""

from __future__ import annotations

from collections.abc import Iterable

from connectors.kafka.offsets import Offsets
from runtime.errors import DependencyUnavailable
from runtime.settings import KafkaSettings


def has_leaders(kafka: KafkaSettings, topics: Iterable[str]) -> bool:
    """Whether the broker answers for each of these new topics: a new partition has no leader for a moment."""
    offsets = Offsets(kafka)
    try:
        return not any(offsets.end(offsets.partitions(list(topics))).values())
    except DependencyUnavailable:
        return False
