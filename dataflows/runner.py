"""Runs any `Flow`: source → decode and transform → transactional sink, with everything that must not differ by flow.

Owns the wiring, the order of steps, which fault goes where, the dead-letter limit and the watermark of a busy
partition. Refuses to know what a flow computes. One process is one worker: scale by processes.

    KafkaSource ── Batch ──▶ sink: decode, transform, look up ── Prepared ──▶ commit: one transaction
         ▲                   bad records → dead letters               rows + offset + events + dead letters
         └─ offsets of ops.consumer_offsets, at the start             + watermark

Nothing raises into Bytewax, which would panic: a failure is noted in the `Lifecycle`, the source then ends, and what is
still under way is dropped (it is read again next time).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Generic, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main  # the name says testing; it is the one-worker engine

from connectors.kafka.dead_letters import NO_LIMIT, limit_of
from connectors.kafka.offsets import Offsets
from connectors.kafka.records import Batch, Record, TopicPartition
from connectors.kafka.source import EPOCH, KafkaSource, PartitionedConsumer, part_name
from connectors.postgres.sink import (
    Connection,
    DeadLetter,
    PostgresSink,
    Step,
    TransactionalSink,
    Watermark,
    advance_watermarks,
    expect_watermarks,
    mapped,
    recent_dead_letters,
    write_dead_letters,
)
from connectors.registry import RegistryClient
from dataflows.flow import Effects, Event, Flow
from dataflows.isolation import isolate
from dataflows.sampler import Sampler
from runtime import metrics
from runtime.errors import Halted, OperatingError
from runtime.lifecycle import Lifecycle, StopRequested
from runtime.logs import get_logger
from runtime.settings import Settings
from schemas import catalog as schema_catalog
from schemas.codec import Decoder, SchemaLookup
from topics import catalog as topic_catalog

log = get_logger("flow")

T = TypeVar("T")

MERGE_RECORDS_MAX = 2_000
"""Records of waiting batches that share one transaction. More would make a failed commit expensive to repeat."""
MERGE_S_MAX = 0.25
"""How long what is prepared may wait for more to share its transaction with."""


@dataclass(frozen=True, slots=True)
class Prepared(Generic[Effects]):
    """A batch on its way to the sink. `effects` is one value, or several when the batch had to be halved."""

    batch: Batch
    events: tuple[Event, ...]
    effects: tuple[Effects, ...]
    letters: tuple[DeadLetter, ...]


class Runner(Generic[Effects]):
    """One flow in this process. `topics` maps contract names to the topics that are read instead, for tests and shadow
    runs; `dead_letter_limit` False goes on whatever happens (an operator decided to)."""

    def __init__(
        self,
        flow: Flow[Effects],
        settings: Settings,
        life: Lifecycle,
        *,
        topics: Mapping[str, str] | None = None,
        lookup: SchemaLookup | None = None,
        dead_letter_limit: bool = True,
    ) -> None:
        self.flow = flow
        self._settings = settings
        self._life = life
        self._contract_of = {(topics or {}).get(topic, topic): topic for topic in flow.topics}
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
        self._sink = TransactionalSink(settings.postgres, flow.name, life)
        self._consumer: PartitionedConsumer | None = None
        self._dropping = False

    def run(self) -> None:
        """Until asked to stop. Raises what made going on impossible (`Halted`, `Fenced`)."""
        try:
            self._run()
        except StopRequested:
            pass
        finally:
            self._sink.close()
            if self._registry is not None:
                self._registry.close()
        if self._life.failure is not None:
            raise self._life.failure

    def _run(self) -> None:
        offsets = Offsets(self._settings.kafka)
        sources = self._life.retry("kafka", lambda: offsets.partitions(list(self._contract_of)))
        first = self._life.retry("kafka", lambda: offsets.first(sources))
        start = self._life.retry("postgres", lambda: self._sink.load_offsets(first))
        self._life.retry("start-up", lambda: self._start_flow(sources))
        consumer = PartitionedConsumer(
            self._settings.kafka, f"adriatic.{self.flow.name}", start, self._life, self.flow.limits
        )
        self._consumer = consumer
        views = {topic: self.flow.views_of(contract) for topic, contract in self._contract_of.items()}
        sampler = Sampler(self._settings, self.flow.name, views, offsets, consumer, self._life)
        sampler.start()
        self._life.health.ready()
        log.info("reading", flow=self.flow.name, partitions={str(source): at for source, at in start.items()})
        try:
            run_main(self.dataflow(consumer), epoch_interval=EPOCH)  # type: ignore[no-untyped-call]
        finally:
            sampler.stop()
            consumer.close()

    def dataflow(self, consumer: PartitionedConsumer) -> Dataflow:
        """The graph. No recovery store: offsets and state are in Postgres."""
        graph = Dataflow(f"adriatic_{self.flow.name}")
        batches = op.input("read", graph, KafkaSource(consumer, self._life))
        keyed = op.map("key", batches, lambda batch: (part_name(batch.source), batch))
        op.output("write", keyed, PostgresSink(consumer.partitions, self.write))
        return graph

    def _start_flow(self, sources: Sequence[TopicPartition]) -> None:
        views = {source: self.flow.views_of(self._contract_of[source.topic]) for source in sources}
        with self._sink.transaction() as connection:
            self.flow.start(connection)
            expect_watermarks(connection, views)

    # --- before the transaction -------------------------------------------------------------------------------------

    def prepare(self, batch: Batch) -> Prepared[Effects]:
        """Decode and transform a batch; what cannot be is a dead letter. Blocks while a dependency is away."""
        with self._timed("transform"):
            events, undecodable = self._decode(batch)
            effects, failed = isolate(events, self._effects)
        letters = [*undecodable, *(DeadLetter.of(event.record, "process", error) for event, error in failed)]
        return Prepared(batch, tuple(events), tuple(effects), tuple(letters))

    def _decode(self, batch: Batch) -> tuple[list[Event], list[DeadLetter]]:
        decode = self._decoders[batch.topic].decode
        contract = self._contract_of[batch.topic]
        events: list[Event] = []
        letters: list[DeadLetter] = []
        for record in batch.records:
            value = record.value
            if self.flow.raw:
                events.append(Event(record, None, contract))
                continue
            if value is None:
                metrics.FLOW_TOMBSTONES.labels(self.flow.name, batch.topic).inc()
                continue
            try:
                events.append(Event(record, self._retry("registry", partial(decode, value)), contract))
            except OperatingError:
                raise
            except Exception as error:  # a decoder that trips over hostile bytes is the record's fault too
                letters.append(DeadLetter.of(record, "decode", error))
        return events, letters

    def _effects(self, events: Sequence[Event]) -> Effects:
        effects = self.flow.transform(events)

        def prepare() -> Effects:
            with self._sink.reading() as connection:
                return self.flow.prepare(connection, effects)

        return self._retry("prepare", prepare)

    # --- the transaction --------------------------------------------------------------------------------------------

    def write(self, batches: Sequence[Batch]) -> None:
        """Prepare and commit batches of one partition, in order. Several share a transaction while they are small and
        quick to prepare.

        Preparing is not a step of its own in the graph: Bytewax runs a step for everything that waits before the next
        step gets any of it, and the batches of all other partitions would stand between a vector and its commit.
        """
        with self._noting_failure():
            waiting: list[Prepared[Effects]] = []
            began_s = time.perf_counter()
            for batch in batches:
                if self._dropping:
                    return
                waiting.append(self.prepare(batch))
                size = sum(len(item.batch.records) for item in waiting)
                if size >= MERGE_RECORDS_MAX or time.perf_counter() - began_s > MERGE_S_MAX:
                    self._commit(waiting)
                    waiting, began_s = [], time.perf_counter()
            if waiting:
                self._commit(waiting)

    def _commit(self, items: Sequence[Prepared[Effects]]) -> None:
        source = items[0].batch.source
        step = Step(source, items[0].batch.expected_offset, items[-1].batch.next_offset)
        letters: list[DeadLetter] = []

        def all_at_once(connection: Connection) -> None:
            letters[:] = [letter for item in items for letter in item.letters]
            for item in items:
                for effects in item.effects:
                    self.flow.apply(connection, effects)
            self._finish(connection, items, letters)

        def one_by_one(connection: Connection) -> None:
            letters[:] = [letter for item in items for letter in item.letters]
            letters.extend(self._apply_isolated(connection, items))
            self._finish(connection, items, letters)

        with self._timed("commit"):
            try:
                self._sink.commit(step, all_at_once, lambda: self._count_retry("postgres"))
            except OperatingError:
                raise
            except Exception as error:
                log.warning("isolating", flow=self.flow.name, error=type(error).__name__, source=str(source))
                self._sink.commit(step, one_by_one, lambda: self._count_retry("postgres"))
        self._committed(step, items, letters)

    def _apply_isolated(self, connection: Connection, items: Sequence[Prepared[Effects]]) -> list[DeadLetter]:
        """Apply with a savepoint around every attempt, halving until the records at fault are alone."""
        condemned = {letter.record.offset for item in items for letter in item.letters}
        events = [event for item in items for event in item.events if event.record.offset not in condemned]

        def apply(some: Sequence[Event]) -> None:
            with mapped(), connection.transaction():
                self.flow.apply(connection, self.flow.prepare(connection, self.flow.transform(some)))

        _done, failed = isolate(events, apply)
        return [DeadLetter.of(event.record, "process", error) for event, error in failed]

    def _finish(
        self, connection: Connection, items: Sequence[Prepared[Effects]], letters: Sequence[DeadLetter]
    ) -> None:
        source = items[0].batch.source
        if letters:
            self._refuse_flood(connection, source, items, letters)
            write_dead_letters(connection, self.flow.name, letters)
        views = self.flow.views_of(self._contract_of[source.topic])
        if views and source.topic in self._captured and (mark := _busy_watermark(items)):
            advance_watermarks(connection, views, source, mark)

    def _refuse_flood(
        self,
        connection: Connection,
        source: TopicPartition,
        items: Sequence[Prepared[Effects]],
        letters: Sequence[DeadLetter],
    ) -> None:
        """Decided before anything is written: the transaction rolls back, and the records stay where they are."""
        limit = self._limits[source.topic]
        offsets = [record.offset for item in items for record in item.batch.records]
        dead = {letter.record.offset for letter in letters}
        earlier = recent_dead_letters(connection, self.flow.name, source, offsets[0] - limit.window, offsets[0])
        if reason := limit.breach(earlier, offsets, dead):
            raise Halted(
                f"{self.flow.name} stopped at {source}: {reason}",
                hint="nothing of this batch was written. Look with `adriatic dlq list`; fix the release or the "
                "producer and start again, or go on regardless with `adriatic flow run --no-dead-letter-limit`",
                coordinates={"topic": source.topic, "partition": source.partition, "code": letters[-1].code},
            )

    def _committed(self, step: Step, items: Sequence[Prepared[Effects]], letters: Sequence[DeadLetter]) -> None:
        topic = step.source.topic
        metrics.FLOW_RECORDS.labels(self.flow.name, topic).inc(sum(len(item.batch.records) for item in items))
        for letter in letters:
            metrics.FLOW_DEAD_LETTERS.labels(self.flow.name, topic, letter.code).inc()
            log.warning(
                "dead letter", flow=self.flow.name, stage=letter.stage, code=letter.code, **letter.record.coordinates
            )
        if self._consumer is not None:
            self._consumer.committed(step.source, step.target)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _retry(self, what: str, attempt: Callable[[], T]) -> T:
        return self._life.retry(what, attempt, lambda: self._count_retry(what))

    def _count_retry(self, dependency: str) -> None:
        metrics.FLOW_RETRIES.labels(self.flow.name, dependency).inc()

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        """After a failure or a stop in the middle, later batches of this run must not be written: there is a gap."""
        try:
            yield
        except StopRequested:
            self._dropping = True
        except OperatingError as error:
            self._dropping = True
            self._life.fail(error)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        metrics.FLOW_BATCH_SECONDS.labels(self.flow.name, step).observe(time.perf_counter() - began)


def _busy_watermark(items: Sequence[Prepared[Any]]) -> Watermark | None:
    """Right before the newest commit seen: more of its records may follow. Records of a snapshot say nothing, because
    they are not in commit order."""
    for item in reversed(items):
        for event in reversed(item.events):
            record: Record = event.record
            if isinstance(event.value, dict) and event.value.get("op") == "r":
                return None
            lsn, committed_at = record.lsn, record.committed_at
            if lsn and committed_at:
                return Watermark(lsn - 1, committed_at - timedelta(microseconds=1))
    return None
