"""Reading any topic by hand, as if nobody did: assigned partitions, no group, nothing committed.

Owns where a reading starts and ends (`Bound`), the bounds on what it looks at, and the account of it. Refuses to decode
and to select: `connectors/kafka/shown.py` does. The ends are frozen at the start, so that a topic that grows faster
than it is read is not read for ever; `follow` goes on past them until somebody stops it.

Times are the records' own timestamps. A broker finds the first record at or after a time; producers' clocks differ, so
every record is compared again, and reading goes on a little (`DISORDER_S_MAX`) behind the end.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from confluent_kafka import Consumer, KafkaError, Message

from connectors.kafka.clients import fetch, make_consumer
from connectors.kafka.errors import map_error
from connectors.kafka.offsets import Offsets
from connectors.kafka.records import Record, TopicPartition, positions_of, record_of, source_of
from connectors.kafka.source import FETCH_RECORDS_MAX
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import InvalidInput, NotFound
from runtime.logs import get_logger
from runtime.settings import KafkaSettings

log = get_logger("tap")

POLL_S = 0.2
"""How long one call waits for records; so late are a time limit and Ctrl-C noticed."""
DISORDER_S_MAX = 300.0
"""How far producers' clocks may differ, in seconds: so far behind `until` are earlier records still looked for."""

AGO = re.compile(r"-(?P<count>\d+)(?P<unit>ms|s|m|h|d)")
UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}

Stopped = Literal["end", "limit", "records", "time", "interrupted"]


@dataclass(frozen=True, slots=True)
class Bound:
    """A place in each partition: exactly one of `edge`, `offset` and `at`."""

    edge: Literal["beginning", "end"] | None = None
    offset: int | None = None
    at: datetime | None = None

    @classmethod
    def parse(cls, text: str, now: datetime) -> Bound:
        """`beginning`, `end`, an offset, `-15m` before now, or an ISO 8601 time (UTC when it names no zone)."""
        if text in ("beginning", "end"):
            return cls(edge=text)  # type: ignore[arg-type]  # narrowed by the line above
        if text == "now":
            return cls(at=now)
        if text.isascii() and text.isdigit():
            return cls(offset=int(text))
        try:
            if (match := AGO.fullmatch(text)) is not None:
                return cls(at=now - timedelta(seconds=int(match["count"]) * UNITS_S[match["unit"]]))
            at = datetime.fromisoformat(text)
        except (ValueError, OverflowError):
            raise InvalidInput(
                f"{text!r} is not a place in a topic",
                hint="beginning, end, now, an offset, -15m (ms s m h d), or a time like 2026-11-24T09:30",
            ) from None
        return cls(at=at if at.tzinfo else at.replace(tzinfo=UTC))

    @property
    def at_ms(self) -> int | None:
        return None if self.at is None else int(self.at.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read of a topic. `partition` None is all of them; a bound of 0 is none."""

    topic: str
    start: Bound
    until: Bound
    partition: int | None = None
    follow: bool = False
    records_max: int = 0
    seconds_max: float = 0.0


@dataclass(slots=True)
class TapSummary:
    """What a reading looked at."""

    partitions: int = 0
    scanned: int = 0
    stopped: Stopped = "end"
    left: dict[int, int] = field(default_factory=dict)
    """How many offsets up to the end of each partition were not looked at. Offsets, not records: compaction and markers
    of transactions leave gaps."""


@dataclass(frozen=True, slots=True)
class Span:
    """Half open, in offsets. `end` None goes on for ever."""

    first: int
    end: int | None


def span(low: int, high: int, start: int, end: int, follow: bool) -> Span:
    """What is wanted, within what there is."""
    first = min(max(start, low), high)
    return Span(first, None if follow else max(first, min(end, high)))


class Tap:
    """One reading. Not for several threads."""

    def __init__(self, settings: KafkaSettings, reading: Reading, clock: Clock = SYSTEM_CLOCK) -> None:
        self._settings = settings
        self._reading = reading
        self._clock = clock
        self._offsets = Offsets(settings)
        self.account = TapSummary()

    def records(self) -> Generator[Record]:
        """Records in the order of each partition; partitions come interleaved, as the broker answers.

        Ends at the end or at a bound, and `account` says which. Raises `NotFound` for a topic or partition that is not
        there, and `DependencyUnavailable` when the broker does not answer at the start; one that vanishes later makes
        the reading wait, up to its time.
        """
        spans = self._spans()
        self.account.partitions = len(spans)
        open_ = {source: each for source, each in spans.items() if each.end is None or each.first < each.end}
        self.account.left = {source.partition: each.end - each.first for source, each in open_.items() if each.end}
        if not open_:
            return
        consumer = make_consumer(self._settings, "tap", on_error=self._on_error)
        try:
            consumer.assign(positions_of({source: at.first for source, at in open_.items()}))
            yield from self._read(consumer, open_)
        finally:
            consumer.close()

    def _read(self, consumer: Consumer, open_: dict[TopicPartition, Span]) -> Iterator[Record]:
        reading, account = self._reading, self.account
        until_s = self._clock.monotonic() + reading.seconds_max if reading.seconds_max else float("inf")
        while open_:
            if self._clock.monotonic() >= until_s:
                account.stopped = "time"
                return
            for message in fetch(consumer, POLL_S, FETCH_RECORDS_MAX):
                record = self._accept(message, open_)
                if record is None:
                    continue
                account.scanned += 1
                if self._in_time(record):
                    yield record
                if reading.records_max and account.scanned >= reading.records_max and open_:
                    account.stopped = "records"
                    return

    def _accept(self, message: Message, open_: dict[TopicPartition, Span]) -> Record | None:
        """The record, when it is before its partition's end. Notes how far the partition is."""
        source = source_of(message)
        if (error := message.error()) is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._move_on(source, message.offset() or 0, open_, at_end=True)
            else:
                self._on_error(error)
            return None
        if source not in open_:
            return None  # fetched before its partition was done
        offset = message.offset() or 0
        end = open_[source].end
        self._move_on(source, offset + 1, open_)
        return record_of(message) if end is None or offset < end else None

    def _move_on(
        self, source: TopicPartition, position: int, open_: dict[TopicPartition, Span], *, at_end: bool = False
    ) -> None:
        """`at_end`: there is nothing more to read now, though the end may be further: what a transaction that is still
        open wrote is not read."""
        known = open_.get(source)
        if known is None or known.end is None:
            return
        self.account.left[source.partition] = max(0, known.end - position)
        if at_end or position >= known.end:
            del open_[source]
            if position >= known.end:
                del self.account.left[source.partition]

    def _in_time(self, record: Record) -> bool:
        start, until = self._reading.start.at_ms, self._reading.until.at_ms
        at = record.timestamp_ms
        if at is None:
            return True  # nobody can tell
        return (start is None or at >= start) and (until is None or at < until)

    # --- where ------------------------------------------------------------------------------------------------------

    def _spans(self) -> dict[TopicPartition, Span]:
        sources = self._sources()
        low, high = self._offsets.first(sources), self._offsets.end(sources)
        start = self._places(self._reading.start, sources, low, high)
        until = self._places(self._reading.until, sources, low, high, behind_s=DISORDER_S_MAX)
        return {
            source: span(low[source], high[source], start[source], until[source], self._reading.follow)
            for source in sources
        }

    def _sources(self) -> list[TopicPartition]:
        topic, wanted = self._reading.topic, self._reading.partition
        known = self._offsets.topics()
        if topic not in known:
            raise NotFound(f"there is no topic {topic}", hint="`adriatic topics list` knows ours")
        if wanted is not None and wanted not in known[topic]:
            raise NotFound(f"{topic} has no partition {wanted}, but {len(known[topic])} of them, from 0")
        return [TopicPartition(topic, each) for each in known[topic] if wanted in (None, each)]

    def _places(
        self,
        bound: Bound,
        sources: Sequence[TopicPartition],
        low: Mapping[TopicPartition, int],
        high: Mapping[TopicPartition, int],
        behind_s: float = 0.0,
    ) -> Mapping[TopicPartition, int]:
        if bound.at_ms is not None:
            found = self._offsets.at(sources, bound.at_ms + int(behind_s * 1000))
            return {source: high[source] if found[source] < 0 else found[source] for source in sources}
        if bound.offset is not None:
            return dict.fromkeys(sources, bound.offset)
        return low if bound.edge == "beginning" else high

    # --- inside -----------------------------------------------------------------------------------------------------

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            raise map_error(error, f"read {self._reading.topic}")
        log.warning("broker error", code=error.name(), detail=error.str())
