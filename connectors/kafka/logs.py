"""What the broker says of a log beside its offsets: which topic it is, over how many partitions, and single records.

Owns the calls. Refuses to judge whether a log is the one that somebody has read (`connectors/consumer/origin.py` does),
and to keep anything: each answer is of now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaError, TopicCollection
from confluent_kafka import TopicPartition as KafkaPosition
from confluent_kafka.admin import AdminClient

from connectors.kafka.clients import Admin, make_consumer
from connectors.kafka.errors import KAFKA, is_lost
from connectors.kafka.records import Record, TopicPartition, positions_of, record_of, source_of
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import DependencyUnavailable
from runtime.settings import KafkaSettings

NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
"""Sixteen zeros: what the client says where the broker gives no id."""
RECORDS_S_MAX = 10.0
"""Limit for reading one record of each partition. A broker that takes longer is away."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic now. `topic_id` is empty where the broker gives none."""

    topic_id: str
    partitions: int


class Logs:
    """Safe for any thread. Raises `DependencyUnavailable`, also for a topic that is not there."""

    def __init__(self, settings: KafkaSettings, timeout_s: float | None = None) -> None:
        self._settings = settings
        self._admin = Admin(settings, timeout_s)

    def describe(self, topics: Iterable[str]) -> dict[str, TopicState]:
        """Each topic's own id, another one after it was deleted and made anew, and how many partitions it has."""
        names = sorted(set(topics))
        admin = self._admin

        def ask(client: AdminClient) -> dict[str, TopicState]:
            asked = client.describe_topics(TopicCollection(names), request_timeout=admin.timeout_s)
            found = {name: admin.result(future) for name, future in asked.items()}
            if unknown := [name for name, each in found.items() if not each.partitions]:
                raise DependencyUnavailable(f"the broker names no partition of {unknown[0]}", coordinates=KAFKA)
            return {name: TopicState(_id_of(each.topic_id), len(each.partitions)) for name, each in found.items()}

        return admin.call(f"describe {', '.join(names)}", ask) if names else {}

    def read_at(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, Record]:
        """The record at an offset of each partition; none where it expired or was compacted."""
        found = self.read_from(offsets)
        return {source: each for source, each in found.items() if each.offset == offsets[source]}

    def read_from(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, Record]:
        """The first record at or behind an offset of each partition that a reader is given; none where only markers of
        transactions are left, or records of those that were undone."""
        if not offsets:
            return {}
        consumer = make_consumer(self._settings, "watch")
        found: dict[TopicPartition, Record | None] = {}
        until_s = SYSTEM_CLOCK.monotonic() + RECORDS_S_MAX
        try:
            consumer.assign(positions_of(offsets))
            while len(found) < len(offsets):
                left_s = until_s - SYSTEM_CLOCK.monotonic()
                if left_s <= 0:
                    raise DependencyUnavailable("the broker does not send records", coordinates=KAFKA)
                if (message := consumer.poll(left_s)) is None:
                    continue
                source, error = source_of(message), message.error()
                if error is None:
                    found.setdefault(source, record_of(message))
                elif error.code() == KafkaError._PARTITION_EOF or is_lost(error):
                    found.setdefault(source, None)
                if source in found:
                    consumer.pause([KafkaPosition(*source)])
        finally:
            consumer.close()
        return {source: each for source, each in found.items() if each}


def _id_of(topic_id: object) -> str:
    text = str(topic_id or "")
    return "" if text == NO_ID else text
