"""The consumer core: records of one partition to one transaction, whoever drives it (Bytewax flows, Faust agents).

Owns everything that must not differ by who consumes: the wait for what the records tell of, decoding, finding the
record at fault, the dead-letter limit, the commit (rows, offset by compare-and-set, events, dead letters and watermark
in one transaction), retries and metrics. Refuses to read topics and to know what is computed: a driver brings batches
and says what happens after a failure.

    batch ─▶ wait until visible ─▶ decode ─▶ transform, prepare ─▶ Prepared ─▶ apply: one transaction
                                      └── bad records: dead letters ──────▶   rows + offset + events + dead letters
                                                                              + watermark

A record that fails in `apply` is found by rounds: the transaction rolls back, what failed is halved and prepared anew
outside of any transaction, and all of it is applied again with a savepoint around each part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, Generic, TypeVar

from connectors.consumer.contract import Effects, Event, Processor
from connectors.consumer.isolation import isolate
from connectors.consumer.origin import LogGuard
from connectors.consumer.sessions import Sessions, find_foreign
from connectors.consumer.visibility import Visibility
from connectors.kafka.dead_letters import NO_LIMIT, limit_of
from connectors.kafka.logs import Logs
from connectors.kafka.offsets import Offsets
from connectors.kafka.records import Batch, LastRead, Record, TopicPartition
from connectors.postgres.connections import Connection
from connectors.postgres.errors import translate
from connectors.postgres.sink import (
    DeadLetter,
    Step,
    TransactionalSink,
    Watermark,
    advance_watermarks,
    expect_watermarks,
    recent_dead_letters,
    write_dead_letters,
)
from connectors.registry import RegistryClient
from runtime import metrics
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import Fenced, Halted, OperatingError
from runtime.lifecycle import Lifecycle
from runtime.logs import get_logger
from runtime.settings import Settings
from schemas import catalog as schema_catalog
from schemas.codec import Decoder, SchemaLookup
from topics import catalog as topic_catalog

log = get_logger("consumer")

T = TypeVar("T")

MERGE_RECORDS_MAX = 2_000
"""Records of waiting batches that share one transaction. More would make a failed commit expensive to repeat."""
MERGE_S_MAX = 0.25
"""How long what is prepared may wait for more to share its transaction with."""
FENCED_MAX = 3
"""How often in a row a partition's offset may be found elsewhere. A rebalance, or an operator who sets it, moves it
once; what moves it again and again is a writer that does not belong to the group."""


@dataclass(frozen=True, slots=True)
class Share(Generic[Effects]):
    """Events that are applied at once, and what they come to."""

    events: tuple[Event, ...]
    effects: Effects


@dataclass(frozen=True, slots=True)
class Prepared(Generic[Effects]):
    """A batch on its way to its transaction: one share, or several when it had to be halved."""

    batch: Batch
    events: tuple[Event, ...]
    shares: tuple[Share[Effects], ...]
    letters: tuple[DeadLetter, ...]


class _Faulty(Exception):
    """Some shares cannot be applied: by index, with why."""

    def __init__(self, faults: Mapping[int, Exception]) -> None:
        super().__init__(f"{len(faults)} shares")
        self.faults = faults


class ConsumerCore(Generic[Effects]):
    """One processor in this process. `topics` maps contract names to the topics that are read instead, for tests and
    shadow runs; `dead_letter_limit` False goes on whatever happens (an operator decided to); `command` is what started
    it, for hints. Used from one thread."""

    def __init__(
        self,
        processor: Processor[Effects],
        settings: Settings,
        life: Lifecycle,
        *,
        command: str,
        topics: Mapping[str, str] | None = None,
        lookup: SchemaLookup | None = None,
        dead_letter_limit: bool = True,
    ) -> None:
        self._processor = processor
        self._life = life
        self._command = command
        self._contract_of = {(topics or {}).get(topic, topic): topic for topic in processor.topics}
        own = topics is None or set(self._contract_of) == set(processor.topics)
        self.group = f"adriatic.{processor.name}" + ("" if own else f".{min(self._contract_of)}")
        """The consumer group. Whoever reads other topics than the contract's is nobody's colleague."""
        self._registry = RegistryClient(settings.registry) if lookup is None else None
        lookup = lookup or self._registry
        assert lookup is not None
        self._decoders = {
            topic: Decoder(lookup, schema_catalog.subject_of(contract, "value"))
            for topic, contract in self._contract_of.items()
        }
        self._limits = {
            topic: limit_of(contract) if dead_letter_limit else NO_LIMIT
            for topic, contract in self._contract_of.items()
        }
        kinds = topic_catalog.load()
        self._captured = {topic for topic, contract in self._contract_of.items() if kinds[contract].kind != "feed"}
        self.offsets = Offsets(settings.kafka)
        self.guard = LogGuard(processor.name, Logs(settings.kafka), self.offsets, self._captured)
        self._fenced: Counter[TopicPartition] = Counter()
        self._sink = TransactionalSink(settings.postgres, processor.name, life)
        self._sessions = Sessions(processor.name, self._sink, life)
        self._visibility = Visibility(self._sink, life)

    @property
    def topics(self) -> tuple[str, ...]:
        """Those that are read."""
        return tuple(self._contract_of)

    def topics_of(self, contracts: Sequence[str]) -> tuple[str, ...]:
        """Those that are read for some of the contract names."""
        return tuple(topic for topic, contract in self._contract_of.items() if contract in contracts)

    @property
    def views(self) -> dict[str, tuple[str, ...]]:
        """The views that are made from each topic."""
        return {topic: self._processor.views_of(contract) for topic, contract in self._contract_of.items()}

    def close(self) -> None:
        self._sink.close()
        if self._registry is not None:
            self._registry.close()

    def start(self, sources: Sequence[TopicPartition], work: Callable[[Connection], None]) -> None:
        """What comes before the first record, in a transaction that moves no offset. `sources` are all partitions,
        whoever reads them: until each has reported, nobody can say how far a view is."""
        with self._sink.transaction() as connection:
            work(connection)
            self._expect(connection, sources)

    def begin(self, sources: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Where to read on. A partition that nobody read yet begins at its oldest record, and has a row from then on.
        Blocks while Postgres or the broker is away. Raises `Halted` when a log is not the one that was read."""
        standings = self.retry("postgres", self._sink.standings)
        topics = self.retry("kafka", partial(self.guard.check, standings, sources))
        at = {source: standings[source].next_offset for source in sources if source in standings}
        if new := [source for source in sources if source not in at]:
            first = self.retry("kafka", partial(self.offsets.first, new))
            at |= self.retry("postgres", partial(self._begin_new, first))
        for topic, state in topics.items():
            if new or any(standings[source].topic_id is None for source in standings if source.topic == topic):
                note = partial(self._sink.note_topic, topic, state.topic_id, state.partitions)
                self.retry("postgres", note)
        return {source: at[source] for source in sources}

    def check(self, newest: Mapping[TopicPartition, Record | None]) -> None:
        """Halt unless the logs are still those that are being read. `newest`: of each partition the newest record that
        was taken, committed or not; None where the ledger knows the newest. Blocks while Postgres or the broker is
        away."""
        standings = self.retry("postgres", self._sink.standings)
        for source, record in newest.items():
            if record is not None and source in standings:
                at = max(standings[source].next_offset, record.offset + 1)
                standings[source] = replace(standings[source], next_offset=at, last=LastRead.of(record))
        self.retry("kafka", partial(self.guard.check, standings, list(newest)))

    def read_committed(self, sources: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset up to which everything is done. Raises `DependencyUnavailable`."""
        return self._sink.offsets(sources)

    def _begin_new(self, first: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        with self._sink.transaction() as connection:
            self._expect(connection, first)
        return self._sink.load_offsets(first)

    def _expect(self, connection: Connection, sources: Iterable[TopicPartition]) -> None:
        views = self.views
        expect_watermarks(connection, {source: views[source.topic] for source in sources})

    def tolerate(self, error: Fenced, source: TopicPartition) -> None:
        """Judge a commit that found the offset elsewhere: raises `error` when going on from there is of no use.
        Otherwise it is safe: nothing was written, and the ledger says where the partition stands."""
        self._fenced[source] += 1
        if self._fenced[source] > FENCED_MAX:
            raise error
        log.warning("read again from the ledger", source=str(source), detail=error.detail)

    # --- before the transaction -------------------------------------------------------------------------------------

    def prepare(self, batch: Batch) -> Prepared[Effects]:
        """Decode and transform a batch; what cannot be is a dead letter. Blocks while a dependency is away. Raises
        `Halted` for a record of another future."""
        if batch.topic in self._captured:  # what outsiders write in their headers holds nobody up
            # First: a database that went back would wait for transactions that are not to come for long.
            self._sessions.check(batch.records)
            self._visibility.wait(xid for record in batch.records if (xid := record.xid) is not None)
        with self._measure("transform"):
            events, undecodable = self._decode(batch)
            shares, failed = isolate(events, self._share)
        letters = [*undecodable, *(DeadLetter.of(event.record, "process", error) for event, error in failed)]
        return Prepared(batch, tuple(events), tuple(shares), tuple(letters))

    def _decode(self, batch: Batch) -> tuple[list[Event], list[DeadLetter]]:
        decode, contract = self._decoders[batch.topic].decode, self._contract_of[batch.topic]
        captured = batch.topic in self._captured
        events: list[Event] = []
        letters: list[DeadLetter] = []
        for record in batch.records:
            value = record.value
            if value is None and not self._processor.raw:
                metrics.FLOW_TOMBSTONES.labels(self._processor.name, batch.topic).inc()
                continue
            try:
                decoded = None if self._processor.raw else self.retry("registry", partial(decode, value or b""))
            except OperatingError:
                raise
            except Exception as error:  # a decoder that trips over hostile bytes is the record's fault too
                letters.append(DeadLetter.of(record, "decode", error))
                continue
            if captured and (why := find_foreign(record)) is not None:
                letters.append(DeadLetter.of(record, "process", why))
            else:
                events.append(Event(record, decoded, contract))
        return events, letters

    def _share(self, events: Sequence[Event]) -> Share[Effects]:
        effects = self._processor.transform(events)

        def prepare() -> Effects:
            with self._sink.read() as connection:
                return self._processor.prepare(connection, effects)

        return Share(tuple(events), self.retry("prepare", prepare))

    # --- the transaction --------------------------------------------------------------------------------------------

    def write(self, batches: Iterable[Batch]) -> Iterator[Step]:
        """Prepare and commit batches of one partition, in order; what was committed, as it goes. Several share a
        transaction while they are small and quick to prepare. Raises `Fenced`, `Halted`, `StopRequested`."""
        waiting: list[Prepared[Effects]] = []
        began_s = SYSTEM_CLOCK.monotonic()
        for batch in batches:
            waiting.append(self.prepare(batch))
            size = sum(len(item.batch.records) for item in waiting)
            if size >= MERGE_RECORDS_MAX or SYSTEM_CLOCK.monotonic() - began_s > MERGE_S_MAX:
                yield self._commit(waiting)
                waiting, began_s = [], SYSTEM_CLOCK.monotonic()
        if waiting:
            yield self._commit(waiting)

    def _commit(self, items: Sequence[Prepared[Effects]]) -> Step:
        """One transaction. When something in it fails, rounds of one transaction each, until nothing does: every round
        halves what failed or leaves it out, so they end, and one bad record among n costs about log2(n) of them."""
        source = items[0].batch.source
        last = next((item.batch.records[-1] for item in reversed(items) if item.batch.records), None)
        target = items[-1].batch.next_offset
        step = Step(source, items[0].batch.expected_offset, target, LastRead.of(last) if last else None)
        letters = [letter for item in items for letter in item.letters]
        shares = [share for item in items for share in item.shares]
        isolated = committed = False
        with self._measure("commit"):
            while not committed:
                work = partial(self._apply, items, shares, letters, isolated=isolated)
                try:
                    self._sink.commit(step, work, self._retry_counter("postgres"))
                    committed = True
                except _Faulty as error:
                    shares, more = self._refine(shares, error.faults)
                    letters = [*letters, *more]
                except Exception as error:
                    if isolated or isinstance(error, OperatingError):
                        raise
                    log.warning("isolating", flow=self._processor.name, error=type(error).__name__, source=str(source))
                    isolated = True
        self._fenced.pop(source, None)
        self._count_committed(step, items, letters)
        return step

    def _refine(
        self, shares: Sequence[Share[Effects]], faults: Mapping[int, Exception]
    ) -> tuple[list[Share[Effects]], list[DeadLetter]]:
        """The shares at fault in halves, prepared anew; an event that is at fault alone is a dead letter."""
        refined: list[Share[Effects]] = []
        letters: list[DeadLetter] = []
        for index, share in enumerate(shares):
            error = faults.get(index)
            if error is None:
                refined.append(share)
            elif len(share.events) == 1:
                letters.append(DeadLetter.of(share.events[0].record, "process", error))
            else:
                middle = len(share.events) // 2
                for half in (share.events[:middle], share.events[middle:]):
                    done, failed = isolate(half, self._share)
                    refined += done
                    letters += (DeadLetter.of(event.record, "process", why) for event, why in failed)
        return refined, letters

    def _apply(
        self,
        items: Sequence[Prepared[Effects]],
        shares: Sequence[Share[Effects]],
        letters: Sequence[DeadLetter],
        connection: Connection,
        *,
        isolated: bool,
    ) -> None:
        """All that one transaction does beside moving the offset. `isolated`: raises `_Faulty` with every share that
        cannot be applied, not just the first one's error."""
        faults: dict[int, Exception] = {}
        for index, share in enumerate(shares):
            if not isolated:
                self._processor.apply(connection, share.effects)
                continue
            try:
                with translate(), connection.transaction():
                    self._processor.apply(connection, share.effects)
            except OperatingError:
                raise
            except Exception as error:
                faults[index] = error
        if faults:
            raise _Faulty(faults)
        self._finish(connection, items, letters)

    def _finish(
        self, connection: Connection, items: Sequence[Prepared[Effects]], letters: Sequence[DeadLetter]
    ) -> None:
        source = items[0].batch.source
        if letters:
            letters = sorted(letters, key=lambda letter: letter.record.offset)
            self._refuse_flood(connection, source, items, letters)
            write_dead_letters(connection, self._processor.name, letters)
        views = self._processor.views_of(self._contract_of[source.topic])
        if views and source.topic in self._captured and (mark := _busy_watermark(items)):
            advance_watermarks(connection, views, source, mark)

    def _refuse_flood(
        self,
        connection: Connection,
        source: TopicPartition,
        items: Sequence[Prepared[Effects]],
        letters: Sequence[DeadLetter],
    ) -> None:
        """Raises before anything is written: the transaction rolls back, and the records stay where they are."""
        limit, name = self._limits[source.topic], self._processor.name
        offsets = [record.offset for item in items for record in item.batch.records]
        dead = {letter.record.offset for letter in letters}
        earlier = recent_dead_letters(connection, name, source, offsets[0] - limit.window, offsets[0])
        if reason := limit.breach(earlier, offsets, dead):
            raise Halted(
                f"{name} stopped at {source}: {reason}",
                hint="nothing of this batch was written. Look with `adriatic dlq list`; fix the release or the "
                f"producer and start again, or go on regardless with `{self._command} --no-dead-letter-limit`",
                coordinates={"topic": source.topic, "partition": source.partition, "code": letters[-1].code},
            )

    def _count_committed(self, step: Step, items: Sequence[Prepared[Effects]], letters: Sequence[DeadLetter]) -> None:
        topic, name = step.source.topic, self._processor.name
        metrics.FLOW_RECORDS.labels(name, topic).inc(sum(len(item.batch.records) for item in items))
        for letter in letters:
            metrics.FLOW_DEAD_LETTERS.labels(name, topic, letter.code).inc()
            log.warning("dead letter", flow=name, stage=letter.stage, code=letter.code, **letter.record.coordinates)

    # --- inside -----------------------------------------------------------------------------------------------------

    def retry(self, what: str, attempt: Callable[[], T]) -> T:
        """Repeat `attempt` while the dependency `what` is away."""
        return self._life.retry(what, attempt, self._retry_counter(what))

    def _retry_counter(self, dependency: str) -> Callable[[], None]:
        return metrics.FLOW_RETRIES.labels(self._processor.name, dependency).inc

    @contextmanager
    def _measure(self, step: str) -> Iterator[None]:
        began = SYSTEM_CLOCK.monotonic()
        yield
        metrics.FLOW_BATCH_SECONDS.labels(self._processor.name, step).observe(SYSTEM_CLOCK.monotonic() - began)


def _busy_watermark(items: Sequence[Prepared[Any]]) -> Watermark | None:
    """Right before the newest commit seen: more of its records may follow. Records of a snapshot say nothing, because
    they are not in commit order."""
    for item in reversed(items):
        for event in reversed(item.events):
            record = event.record
            if isinstance(event.value, dict) and event.value.get("op") == "r":
                return None
            lsn, committed_at = record.lsn, record.committed_at
            if lsn and committed_at:
                return Watermark(lsn - 1, committed_at - timedelta(microseconds=1))
    return None
