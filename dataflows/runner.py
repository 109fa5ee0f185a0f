"""Runs any `Flow` on Bytewax: the thin driver of the consumer core.

Owns the graph, its runs, and what happens after a failure. Refuses everything about records and transactions:
`connectors/consumer/core.py` does that, the same for agents. One process is one worker: scale by processes. Which
partitions a process has is the consumer group's business; every change of them ends a run of the graph and begins
another over the new ones, while the consumer and its membership stay.

    GroupConsumer ── Batch ──▶ source ──▶ sink: ConsumerCore.write ──▶ one transaction
         ▲                                                                  │
         └───────────── committed, or rewound to the ledger ◀───────────────┘

Nothing raises into Bytewax, which would panic: a failure is noted in the `Lifecycle`, the source then ends, and what is
still under way is dropped (it is read again next time).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Unpack

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.testing import run_main  # the name says testing; it is the one-worker engine

from connectors.consumer import instances
from connectors.consumer.contract import Effects
from connectors.consumer.driver import Driver, DriverOptions
from connectors.kafka.records import Batch, TopicPartition
from connectors.kafka.source import GroupConsumer
from dataflows.flow import Flow
from dataflows.sampler import Sampler
from runtime.errors import Fenced
from runtime.lifecycle import Lifecycle
from runtime.logs import get_logger
from runtime.settings import Settings

log = get_logger("flow")

EPOCH = timedelta(seconds=1)
"""Bytewax' unit of progress. Nothing is snapshotted, so it only has to be longer than four idle waits of the source."""


class Runner(Driver[Effects]):
    """One flow in this process."""

    command = "adriatic flow run"

    def __init__(
        self, flow: Flow[Effects], settings: Settings, life: Lifecycle, **options: Unpack[DriverOptions]
    ) -> None:
        super().__init__(flow, settings, life, **options)
        self.flow = flow

    def _run(self) -> None:
        offsets = self._core.offsets
        sources = self._core.retry("kafka", partial(offsets.partitions, self._core.topics))
        self._core.retry("start-up", partial(self._core.start, sources, self.flow.start))
        with instances.claim(self._settings.home, self._core.group) as instance:
            consumer = GroupConsumer(
                *(self._settings.kafka, self._core.group, instance, self._core.begin, self._life, self.flow.limits),
                check=self._core.check,
                behind=self._core.topics_of(self.flow.behind),
            )
            sampler = Sampler(
                *(self._settings, self.flow.name, self._core.views, offsets, consumer, self._life),
                guard=self._core.guard,
            )
            consumer.subscribe(self._core.topics)
            sampler.start()
            try:
                self._run_graphs(consumer)
            finally:
                sampler.stop()
                consumer.close()

    def _run_graphs(self, consumer: GroupConsumer) -> None:
        consumer.wait_for_change(0)
        self._life.health.ready()
        log.info("reading", flow=self.flow.name)
        while not self._life.stopping:
            if consumer.assignment:
                run_main(self.dataflow(consumer), epoch_interval=EPOCH)  # type: ignore[no-untyped-call]
            else:
                consumer.wait_for_change(consumer.generation)

    def dataflow(self, consumer: GroupConsumer) -> Dataflow:
        """The graph over the present assignment. No recovery store: offsets and state are in Postgres."""
        graph = Dataflow(f"adriatic_{self.flow.name}")
        batches = op.input("read", graph, KafkaSource(consumer, self._life))
        keyed = op.map("key", batches, lambda batch: (part_name(batch.source), batch))
        op.output("write", keyed, PostgresSink(consumer.assignment, partial(self.write, consumer)))
        return graph

    def write(self, consumer: GroupConsumer, batches: Sequence[Batch]) -> None:
        """Prepare and commit batches of one partition, in order.

        Preparing is not a step of its own in the graph: Bytewax runs a step for everything that waits before the next
        step gets any of it, and the batches of all other partitions would stand between a vector and its commit.
        """
        source = batches[0].source
        with self._note_failure():
            try:
                for step in self._core.write(self._current(consumer, batches)):
                    consumer.note_commit(source, step.target)
            except Fenced as error:
                self._core.tolerate(error, source)
                consumer.rewind(source)

    def _current(self, consumer: GroupConsumer, batches: Sequence[Batch]) -> Iterator[Batch]:
        """Those that go on where the partition stands. Others were taken before it was taken away or rewound, and after
        a failure or a stop in the middle there is a gap: nothing later of this run may be written."""
        at = consumer.stands_at(batches[0].source)
        for batch in batches:
            if batch.expected_offset == at and not self._dropping:
                yield batch
                at = batch.next_offset


# --- Bytewax --------------------------------------------------------------------------------------------------------


def part_name(source: TopicPartition) -> str:
    """Bytewax' name of a partition. Its order as text is the order of the sink's partitions too."""
    return f"{source.topic}/{source.partition:05d}"


def part_source(name: str) -> TopicPartition:
    topic, _, partition = name.rpartition("/")
    return TopicPartition(topic, int(partition))


class KafkaSource(FixedPartitionedSource[Batch, None]):
    """Batches of every partition that `consumer` has now. Ends, after the batch in hand, when these change or the
    process is asked to stop."""

    def __init__(self, consumer: GroupConsumer, life: Lifecycle) -> None:
        self._consumer = consumer
        self._generation = consumer.generation
        self._life = life

    def list_parts(self) -> list[str]:
        return [part_name(source) for source in self._consumer.assignment]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _SourcePartition:
        del step_id, resume_state  # Bytewax' own recovery is off
        return _SourcePartition(self._consumer, self._generation, part_source(for_part), self._life)


class _SourcePartition(StatefulSourcePartition[Batch, None]):
    def __init__(self, consumer: GroupConsumer, generation: int, source: TopicPartition, life: Lifecycle) -> None:
        self._consumer = consumer
        self._generation = generation
        self._source = source
        self._life = life

    def next_batch(self) -> Iterable[Batch]:
        if self._life.stopping or self._consumer.generation != self._generation:
            raise StopIteration
        batch = self._consumer.take(self._source)
        return () if batch is None else (batch,)

    def next_awake(self) -> datetime | None:
        """None, for at once: the waiting is in the consumer. A source that sleeps past its epoch would stall every
        other one."""
        return None

    def snapshot(self) -> None:
        return None


class PostgresSink(FixedPartitionedSink[Batch, None]):
    """Hands what arrives for a partition to `write`, in order. The sink's partitions are the source's, so that order
    and offsets line up: key every item with `part_name` of where it came from."""

    def __init__(self, sources: Sequence[TopicPartition], write: Callable[[Sequence[Batch]], None]) -> None:
        self._parts = sorted(part_name(source) for source in sources)
        self._index = {part: index for index, part in enumerate(self._parts)}
        self._write = write

    def list_parts(self) -> list[str]:
        return self._parts

    def part_fn(self, item_key: str) -> int:
        return self._index[item_key]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _SinkPartition:
        del step_id, for_part, resume_state
        return _SinkPartition(self._write)


class _SinkPartition(StatefulSinkPartition[Batch, None]):
    def __init__(self, write: Callable[[Sequence[Batch]], None]) -> None:
        self._write = write

    def write_batch(self, values: list[Batch]) -> None:
        self._write(values)

    def snapshot(self) -> None:
        return None
