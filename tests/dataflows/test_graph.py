"""What the driver tells Bytewax: names of partitions, and when a run ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from connectors.kafka.records import Batch, TopicPartition
from dataflows.runner import KafkaSource, PostgresSink, part_name, part_source
from runtime.lifecycle import Lifecycle
from runtime.ops import Health

ONE = TopicPartition("topic", 0)


class Consumer:
    """What a source needs of the real one."""

    generation = 3
    assignment = (ONE,)

    def take(self, source: TopicPartition) -> None:
        assert source == ONE


def test_names_of_partitions_sort_like_partitions() -> None:
    sources = [TopicPartition("a.b/c", number) for number in (2, 10, 1)]
    assert sorted(map(part_name, sources)) == [part_name(source) for source in sorted(sources)]
    assert [part_source(part_name(source)) for source in sources] == sources


def test_the_sinks_partitions_are_the_sources_in_the_same_order() -> None:
    seen: list[Batch] = []

    def write(batches: Sequence[Batch]) -> None:
        seen.extend(batches)

    made = PostgresSink([TopicPartition("b", 10), TopicPartition("b", 9), TopicPartition("a", 0)], write)
    assert made.list_parts() == ["a/00000", "b/00009", "b/00010"]
    assert [made.part_fn(part) for part in made.list_parts()] == [0, 1, 2]
    batches = [Batch("b", 9, 0, 1, ()), Batch("b", 9, 1, 2, ())]
    made.build_part("step", "b/00009", None).write_batch(batches)
    assert seen == batches


@pytest.mark.parametrize("change", ["stop", "rebalance"])
def test_the_source_ends_when_the_process_stops_or_its_partitions_change(change: str) -> None:
    life, consumer = Lifecycle(Health()), Consumer()
    taken: Any = consumer
    source = KafkaSource(taken, life)
    assert source.list_parts() == ["topic/00000"]
    part = source.build_part("read", "topic/00000", None)
    assert list(part.next_batch()) == []
    assert part.next_awake() is None, "sleeping past the epoch would stall every other source"
    if change == "stop":
        life.stop()
    else:
        consumer.generation += 1
    with pytest.raises(StopIteration):
        part.next_batch()
