"""The check of positions sees what a restart may have doubled, and nothing where there is none."""

from __future__ import annotations

from connectors.postgres.lsn import Lsn, Pos
from tests.crash.checks import Seen, doubled


def seen(offset: int, commit: int, ordinal: int = 0, partition: int = 0, topic: str = "t") -> Seen:
    return Seen(topic, partition, offset, Pos(Lsn(commit), ordinal), "tenant")


def test_positions_that_grow_in_each_partition_are_clean() -> None:
    records = [seen(0, 5), seen(0, 3, partition=1), seen(1, 5, 1), seen(7, 9), seen(1, 3, topic="u")]
    assert list(doubled(records)) == []


def test_a_record_that_comes_again_is_found_also_when_others_are_between() -> None:
    assert list(doubled([seen(0, 5), seen(1, 5)])) == ["t: 1 records came again: 0/1"]
    again = [seen(0, 5), seen(1, 6), seen(2, 5), seen(3, 6), seen(4, 7)]
    assert list(doubled(again)) == ["t: 2 records came again: 0/2, 0/3"]
