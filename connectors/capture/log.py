"""The log of change capture: Kafka, as `ports.RecordLog` wants it.

Owns the reading of topics, offsets and records that the ledger is made of. Refuses to judge what it reads
(`identity.py`, `ledger.py`). Reads only what is committed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from typing import Any

from confluent_kafka import KafkaError, Message

from connectors.capture.ports import Bounds, LogRecord, Meanwhile, TopicFacts
from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.clients import make_consumer
from connectors.kafka.errors import KAFKA, map_error
from connectors.kafka.logs import Logs
from connectors.kafka.offsets import Offsets
from connectors.kafka.producer import IdempotentProducer, TransactionalProducer
from connectors.kafka.records import TopicPartition, positions_of, source_of
from runtime.clock import Clock
from runtime.errors import DependencyUnavailable
from runtime.settings import KafkaSettings

READ_MAX_S = 30.0
"""Limit for reading one stretch of every partition. Takes 0.1–0.3 s for a hundred."""
REQUEST_S_MAX = 10.0
"""Limit for one request: a broker that has just come back is slow, and a late answer starts the whole session again."""
SETTLE_S = 0.2
"""Time between two looks at the ends. A process that was killed may have left a request with the broker, which is then
carried out within milliseconds; the ends must stand still before they are believed."""
CONSUME_RECORDS, CONSUME_S = 500, 0.05
"""Taken at once, and the longest wait for so many."""
RECORD_BYTES_DEFAULT = 1_048_588
"""Kafka's default of max.message.bytes, for a broker that does not tell."""


class KafkaLog:
    """One thread. Raises `DependencyUnavailable`."""

    def __init__(self, settings: KafkaSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    def topics(self, names: Collection[str]) -> dict[str, TopicFacts]:
        admin = KafkaAdmin(self._settings)
        described = admin.topics(names)
        now = Logs(self._settings).describe([name for name in names if name in described])
        return {
            name: TopicFacts(
                now[name].topic_id,
                described[name].partitions,
                int(described[name].config.get("max.message.bytes", RECORD_BYTES_DEFAULT)),
            )
            for name in names
            if name in described and described[name].partitions > 0
        }

    def bounds(self, sources: Collection[TopicPartition], meanwhile: Meanwhile) -> dict[TopicPartition, Bounds]:
        offsets = Offsets(self._settings, REQUEST_S_MAX)
        ends = self._await_settled_ends(offsets, sources, meanwhile)
        starts, all_ends = offsets.first(sources), offsets.end(sources)
        return {source: Bounds(starts[source], end, all_ends[source]) for source, end in ends.items()}

    def _await_settled_ends(
        self, offsets: Offsets, sources: Collection[TopicPartition], meanwhile: Meanwhile
    ) -> dict[TopicPartition, int]:
        ends = offsets.end_of_committed(sources)
        until_s = self._clock.monotonic() + READ_MAX_S
        while True:
            self._clock.sleep(SETTLE_S)
            meanwhile()
            again = offsets.end_of_committed(sources)
            if again == ends:
                return ends
            if self._clock.monotonic() > until_s:
                raise DependencyUnavailable(
                    "somebody keeps writing to the topics of change capture",
                    hint="is another capture running, or a producer that should not?",
                    coordinates=KAFKA,
                )
            ends = again

    def read(self, ranges: Mapping[TopicPartition, tuple[int, int]], meanwhile: Meanwhile) -> Iterator[LogRecord]:
        waiting = {source for source, (begin, end) in ranges.items() if end > begin}
        with closing(make_consumer(self._settings, "ledger")) as consumer:
            consumer.assign(positions_of({source: ranges[source][0] for source in waiting}))
            until_s = self._clock.monotonic() + READ_MAX_S
            while waiting:
                meanwhile()
                if self._clock.monotonic() > until_s:
                    raise DependencyUnavailable("reading the last records takes too long", coordinates=KAFKA)
                for message in consumer.consume(CONSUME_RECORDS, CONSUME_S):
                    source, error = source_of(message), message.error()
                    if error is not None:
                        if error.code() != KafkaError._PARTITION_EOF:
                            raise map_error(error, f"read {source}")
                        waiting.discard(source)
                        continue
                    offset = message.offset() or 0
                    if source in waiting and offset < ranges[source][1]:
                        yield LogRecord(source, offset, _headers(message))
                    if offset + 1 >= ranges[source][1]:
                        waiting.discard(source)

    def producer(self, limits: Mapping[str, int]) -> IdempotentProducer:
        return IdempotentProducer(self._settings, limits, self._clock)

    def transaction(self, name: str, limits: Mapping[str, int]) -> TransactionalProducer:
        transaction = TransactionalProducer(self._settings, limits, name, self._clock)
        transaction.begin()
        return transaction


def _headers(message: Message) -> dict[str, bytes | None]:
    found: Any = message.headers()  # the library's stubs say that it may be a dict
    return dict(found or ())
