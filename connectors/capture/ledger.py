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

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # it exports them, silently

from connectors.kafka.producer import KAFKA, LIBRARY_LOG, Place, mapped
from connectors.postgres.lsn import Pos
from runtime.errors import DependencyUnavailable, Undecodable
from runtime.logs import get_logger
from runtime.settings import KafkaSettings
from schemas.headers import POSITION_HEADER, SNAPSHOT_HEADER

log = get_logger("cdc")

READ_MAX_S = 30.0
"""For reading the last record of every partition. Takes 0.1–0.3 s for a hundred."""
CALL_S = 10.0
SETTLE_S = 0.2
"""Between two looks at the ends. A process that was killed may have left a request with the broker, which is then
carried out within milliseconds; the ends must stand still before they are believed."""


EARLIEST: Any = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
LATEST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
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

    def __init__(self, last: Mapping[Place, Last], tails: Mapping[Place, Tail] | None = None) -> None:
        self._last = {place: found.pos for place, found in last.items()}
        self._tails = tails or {}
        self._highest = max((pos.commit for pos in self._last.values()), default=0)

    def has(self, place: Place, pos: Pos) -> bool:
        """Whether the record at `pos` is in the log."""
        if (tail := self._tails.get(place)) is not None:
            return pos < tail.since or pos in tail.present
        last = self._last.get(place)
        return last is not None and pos <= last

    def passed(self, commit: int) -> bool:
        """Nothing committed at `commit` or later can be in the log: there is no need to ask any more."""
        return commit > self._highest


def read_last(
    settings: KafkaSettings, partitions: Mapping[str, int], meanwhile: Callable[[], None] = lambda: None
) -> dict[Place, Last]:
    """The last record of ours in each partition that has one. `partitions`: their number by topic. `meanwhile` is
    called several times a second.

    Raises `DependencyUnavailable`.
    """
    with _Reader(settings, meanwhile) as reader:
        places = [(topic, number) for topic, count in partitions.items() for number in range(count)]
        ends = reader.settled_ends(places)
        starts = reader.offsets(places, EARLIEST)
        return reader.last({place: (starts[place], end) for place, end in ends.items() if end > starts[place]})


def read_since(
    settings: KafkaSettings, since: Mapping[Place, Pos], meanwhile: Callable[[], None] = lambda: None
) -> dict[Place, frozenset[Pos]]:
    """The positions of all records of ours at and after `since`. Reads backwards as far as that."""
    with _Reader(settings, meanwhile) as reader:
        places = list(since)
        ends = reader.settled_ends(places)
        starts = reader.offsets(places, EARLIEST)
        return {
            place: reader.since(place, (starts[place], end), since[place]) if end > starts[place] else frozenset()
            for place, end in ends.items()
        }


class _Reader:
    def __init__(self, settings: KafkaSettings, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = meanwhile
        common: dict[str, Any] = {**settings.client_config()}
        self._admin = AdminClient(common, logger=LIBRARY_LOG)
        self._consumer = Consumer(
            {
                **common,
                "group.id": "adriatic.cdc",  # never joined: partitions are assigned
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
            },
            logger=LIBRARY_LOG,
        )

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def offsets(self, places: Iterable[Place], which: Any) -> dict[Place, int]:
        request = {TopicPartition(*place): which for place in places}
        try:
            answers = self._admin.list_offsets(
                request, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=CALL_S
            )
            return {
                (answer.topic, answer.partition): future.result(CALL_S + 1).offset for answer, future in answers.items()
            }
        except KafkaException as error:
            raise mapped(error.args[0], "read the ends of the topics") from None
        except TimeoutError:
            raise DependencyUnavailable("the broker does not tell offsets", coordinates=KAFKA) from None

    def settled_ends(self, places: list[Place]) -> dict[Place, int]:
        ends = self.offsets(places, LATEST)
        deadline = time.monotonic() + READ_MAX_S
        while True:
            time.sleep(SETTLE_S)
            self._meanwhile()
            again = self.offsets(places, LATEST)
            if again == ends:
                return ends
            if time.monotonic() > deadline:
                raise DependencyUnavailable(
                    "somebody keeps writing to the topics of change capture",
                    hint="is another capture running, or a producer that should not?",
                    coordinates=KAFKA,
                )
            ends = again

    def last(self, bounds: Mapping[Place, tuple[int, int]]) -> dict[Place, Last]:
        """Read backwards from each end, in doubling steps, until a record of ours is found. One step nearly always
        does; the end of a transaction and compaction leave offsets without a record."""
        found: dict[Place, Last] = {}
        steps = dict.fromkeys(bounds, 1)
        open_places = dict(bounds)
        deadline = time.monotonic() + READ_MAX_S
        while open_places:
            begin = {place: max(start, end - steps[place]) for place, (start, end) in open_places.items()}
            for place, records in self._scan(
                begin, {at: end for at, (_, end) in open_places.items()}, deadline
            ).items():
                found[place] = records[-1]
            open_places = {
                place: bound for place, bound in open_places.items() if place not in found and begin[place] > bound[0]
            }
            for place in open_places:
                steps[place] *= 4
        return found

    def since(self, place: Place, bounds: tuple[int, int], since: Pos) -> frozenset[Pos]:
        start, end = bounds
        step = SINCE_RECORDS
        while True:
            begin = max(start, end - step)
            records = self._scan({place: begin}, {place: end}, time.monotonic() + READ_MAX_S).get(place, [])
            if begin == start or (records and records[0].pos < since):
                return frozenset(record.pos for record in records if record.pos >= since)
            step *= 4

    def _scan(self, begin: Mapping[Place, int], ends: Mapping[Place, int], deadline: float) -> dict[Place, list[Last]]:
        """The records of ours from `begin` up to the end, in each partition that has any there."""
        found: dict[Place, list[Last]] = {}
        waiting = set(begin)
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in begin.items()])
        while waiting:
            self._meanwhile()
            if time.monotonic() > deadline:
                raise DependencyUnavailable("reading the last records takes too long", coordinates=KAFKA)
            for message in self._consumer.consume(500, 0.05):
                place = (message.topic() or "", message.partition() or 0)
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    waiting.discard(place)
                elif error is not None:
                    raise mapped(error, f"read {place[0]}")
                elif place in waiting:
                    if (last := _last(message)) is not None:
                        found.setdefault(place, []).append(last)
                    if (message.offset() or 0) + 1 >= ends[place]:
                        waiting.discard(place)
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
