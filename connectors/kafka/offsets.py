"""What the broker says of topics, partitions and offsets, asked afresh each time.

The one place that reads offsets. Refuses to keep any: they are true when they are told, and no longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from confluent_kafka import IsolationLevel
from confluent_kafka import TopicPartition as KafkaPosition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # it exports it, without saying so

from connectors.kafka.clients import Admin
from connectors.kafka.errors import KAFKA
from connectors.kafka.records import TopicPartition
from runtime.errors import DependencyUnavailable, Unprepared
from runtime.settings import KafkaSettings

EARLIEST: Any = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
LATEST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
NONE_SO_LATE = -1
"""What a broker answers to a time after which it has no record. No other answer is below 0."""


class Offsets:
    """Safe for any thread. Raises `DependencyUnavailable`."""

    def __init__(self, settings: KafkaSettings, timeout_s: float | None = None) -> None:
        self._admin = Admin(settings, timeout_s)

    def partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        """Every partition of `topics`. A topic that is not there yet is the same as a broker that is not."""
        known = self.topics()
        if missing := sorted(set(topics) - set(known)):
            raise Unprepared(f"no topic {', '.join(missing)}", hint="run `adriatic topics apply`", coordinates=KAFKA)
        return [TopicPartition(topic, partition) for topic in topics for partition in known[topic]]

    def topics(self) -> dict[str, list[int]]:
        """Partitions of every topic that the broker has."""
        known = self._admin.call("list topics", lambda client: client.list_topics(timeout=self._admin.timeout_s)).topics
        return {topic: sorted(known[topic].partitions) for topic in known}

    def first(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset of the oldest record that each partition still has."""
        return self._ask(sources, EARLIEST)

    def end(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """One past the newest record of each partition, also of a transaction that is still open: whoever has reached
        it has everything that was there."""
        return self._ask(sources, LATEST)

    def end_of_committed(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Where readers of committed records stop now: before the first transaction that is still open."""
        return self._ask(sources, LATEST, IsolationLevel.READ_COMMITTED)

    def at(self, sources: Iterable[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        """The offset of the first record of each partition that is not older than `timestamp_ms`; `NONE_SO_LATE` where
        there is none."""
        return self._ask(sources, OffsetSpec.for_timestamp(timestamp_ms), least=NONE_SO_LATE)

    def _ask(
        self,
        sources: Iterable[TopicPartition],
        spec: OffsetSpec,
        isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
        *,
        least: int = 0,
    ) -> dict[TopicPartition, int]:
        """An offset below `least` is none: the client fills it in for a broker that is on its way back, without an
        error, and whoever took it for the end of a log would find that the log went back."""
        asked = {KafkaPosition(source.topic, source.partition): spec for source in sources}
        admin = self._admin
        if not asked:
            return {}

        def ask(client: Any) -> dict[TopicPartition, int]:
            answers = client.list_offsets(asked, isolation_level=isolation, request_timeout=admin.timeout_s)
            found = {
                TopicPartition(position.topic, position.partition): admin.result(answer).offset
                for position, answer in answers.items()
            }
            if unknown := [source for source, offset in found.items() if offset < least]:
                raise DependencyUnavailable(f"the broker does not say where {unknown[0]} is", coordinates=KAFKA)
            return found

        return admin.call("read offsets", ask)
