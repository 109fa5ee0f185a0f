"""How far each partition got: Kafka is the ledger (R8).

Owns the decision whether a record is already in its topic (`Ledger`, pure) and reading the last record of each
partition (`read_last`). Every record carries its position in the header `adriatic.pos`; positions of a partition only
grow; so whatever is at or below the last one is there. Reads only topics that nobody else writes to.

A partition without a last record says nothing: it is new, or its retention has removed everything. That is safe. The
server sends again only what was committed since the position that we acknowledged, and we acknowledge at most about a
second after the records are in Kafka: for something to be doubled, retention must have removed it while capture was
down, and then the topic does not have it twice either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, Message

from connectors.kafka.clients import make_consumer
from connectors.kafka.errors import KAFKA, map_error
from connectors.kafka.offsets import Offsets
from connectors.kafka.records import TopicPartition, positions_of, source_of
from connectors.postgres.lsn import Pos
from runtime.clock import SYSTEM_CLOCK
from runtime.deadline import Deadline
from runtime.errors import DependencyUnavailable, Undecodable
from runtime.logs import get_logger
from runtime.settings import KafkaSettings
from schemas.headers import POSITION_HEADER, SNAPSHOT_HEADER

log = get_logger("cdc")

READ_MAX_S = 30.0
"""Limit for reading the last record of every partition. Takes 0.1–0.3 s for a hundred."""
REQUEST_S_MAX = 10.0
"""Limit for one request: a broker that has just come back is slow, and a late answer starts the whole session again."""
SETTLE_S = 0.2
"""Time between two looks at the ends. A process that was killed may have left a request with the broker, which is then
carried out within milliseconds; the ends must stand still before they are believed."""
SINCE_RECORDS = 1_000
"""First step back when every record of a tail is wanted."""


class Last(NamedTuple):
    """What the last record of a partition says. `snapshot_at`: it comes from a snapshot taken at that position."""

    pos: Pos
    snapshot_at: int | None


class Tail(NamedTuple):
    """What a partition has at and after `since`, one by one; everything before is there."""

    since: Pos
    present: frozenset[Pos]


class Ledger:
    """Which records are in their topics. `tails`: of partitions whose last record does not speak for all before it."""

    def __init__(self, last: Mapping[TopicPartition, Last], tails: Mapping[TopicPartition, Tail] | None = None) -> None:
        self._last = {source: found.pos for source, found in last.items()}
        self._tails = tails or {}
        self._highest = max((pos.commit for pos in self._last.values()), default=0)

    def has(self, source: TopicPartition, pos: Pos) -> bool:
        """Whether the record at `pos` is in the log."""
        if (tail := self._tails.get(source)) is not None:
            return pos < tail.since or pos in tail.present
        last = self._last.get(source)
        return last is not None and pos <= last

    def has_passed(self, commit: int) -> bool:
        """Nothing committed at `commit` or later can be in the log: there is no need to ask any more."""
        return commit > self._highest


def read_last(
    settings: KafkaSettings, partitions: Mapping[str, int], meanwhile: Callable[[], None] = lambda: None
) -> dict[TopicPartition, Last]:
    """The last record of ours in each partition that has one. `partitions`: their number by topic. `meanwhile` is
    called several times a second.

    Raises `DependencyUnavailable`.
    """
    with closing(_LogReader(settings, meanwhile)) as reader:
        sources = [TopicPartition(topic, number) for topic, count in partitions.items() for number in range(count)]
        return reader.last(
            {source: (start, end) for source, (start, end) in reader.bounds(sources).items() if end > start}
        )


def read_since(
    settings: KafkaSettings, since: Mapping[TopicPartition, Pos], meanwhile: Callable[[], None] = lambda: None
) -> dict[TopicPartition, frozenset[Pos]]:
    """The positions of all records of ours at and after `since`. Reads backwards as far as that."""
    with closing(_LogReader(settings, meanwhile)) as reader:
        return {
            source: reader.since(source, (start, end), since[source]) if end > start else frozenset()
            for source, (start, end) in reader.bounds(list(since)).items()
        }


class _LogReader:
    def __init__(self, settings: KafkaSettings, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = meanwhile
        self._offsets = Offsets(settings, REQUEST_S_MAX)
        self._consumer = make_consumer(settings, "ledger")

    def close(self) -> None:
        self._consumer.close()

    def bounds(self, sources: list[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """The first offset of each partition, and its end once that stands still."""
        ends = self._await_settled_ends(sources)
        starts = self._offsets.first(sources)
        return {source: (starts[source], end) for source, end in ends.items()}

    def _await_settled_ends(self, sources: list[TopicPartition]) -> dict[TopicPartition, int]:
        ends = self._offsets.end_of_committed(sources)
        deadline = Deadline.after(READ_MAX_S)
        while True:
            SYSTEM_CLOCK.sleep(SETTLE_S)
            self._meanwhile()
            again = self._offsets.end_of_committed(sources)
            if again == ends:
                return ends
            if deadline.passed:
                raise DependencyUnavailable(
                    "somebody keeps writing to the topics of change capture",
                    hint="is another capture running, or a producer that should not?",
                    coordinates=KAFKA,
                )
            ends = again

    def last(self, bounds: Mapping[TopicPartition, tuple[int, int]]) -> dict[TopicPartition, Last]:
        """Read backwards from each end, in doubling steps, until a record of ours is found. One step nearly always
        does; the end of a transaction and compaction leave offsets without a record."""
        found: dict[TopicPartition, Last] = {}
        steps = dict.fromkeys(bounds, 1)
        unread = dict(bounds)
        deadline = Deadline.after(READ_MAX_S)
        while unread:
            begin = {source: max(start, end - steps[source]) for source, (start, end) in unread.items()}
            for source, records in self._scan(begin, {at: end for at, (_, end) in unread.items()}, deadline).items():
                found[source] = records[-1]
            unread = {
                source: bound for source, bound in unread.items() if source not in found and begin[source] > bound[0]
            }
            for source in unread:
                steps[source] *= 4
        return found

    def since(self, source: TopicPartition, bounds: tuple[int, int], since: Pos) -> frozenset[Pos]:
        start, end = bounds
        step = SINCE_RECORDS
        while True:
            begin = max(start, end - step)
            records = self._scan({source: begin}, {source: end}, Deadline.after(READ_MAX_S)).get(source, [])
            if begin == start or (records and records[0].pos < since):
                return frozenset(record.pos for record in records if record.pos >= since)
            step *= 4

    def _scan(
        self, begin: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int], deadline: Deadline
    ) -> dict[TopicPartition, list[Last]]:
        """The records of ours from `begin` up to the end, in each partition that has any there."""
        found: dict[TopicPartition, list[Last]] = {}
        waiting = set(begin)
        self._consumer.assign(positions_of(begin))
        while waiting:
            self._meanwhile()
            if deadline.passed:
                raise DependencyUnavailable("reading the last records takes too long", coordinates=KAFKA)
            for message in self._consumer.consume(500, 0.05):
                source, error = source_of(message), message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    waiting.discard(source)
                elif error is not None:
                    raise map_error(error, f"read {source}")
                elif source in waiting:
                    if (last := _last(message)) is not None:
                        found.setdefault(source, []).append(last)
                    if (message.offset() or 0) + 1 >= ends[source]:
                        waiting.discard(source)
        return found


def _last(message: Message) -> Last | None:
    """What a record says; None when it is not one of ours, which is news in a topic that is."""
    headers: dict[str, Any] = dict(message.headers() or ())
    try:
        pos = Pos.parse(headers[POSITION_HEADER])
        snapshot = headers.get(SNAPSHOT_HEADER)
        return Last(pos, int(snapshot, 16) if snapshot else None)
    except (KeyError, Undecodable, TypeError, ValueError):
        log.warning(
            "a record that change capture did not write",
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
        )
        return None
