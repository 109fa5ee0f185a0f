"""What the broker knows of consumers: groups, their committed offsets, and how old the records are that wait for them.

Owns the admin calls and one consumer that reads single records by offset. It joins no group and commits nothing.
Refuses to judge (`adriatic/watch/lag.py`). Committed offsets are asked for before ends, so that no lag is negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPosition
from confluent_kafka.admin import AdminClient

from connectors.kafka.clients import Admin, make_consumer
from connectors.kafka.errors import meaning_of
from connectors.kafka.offsets import Offsets
from connectors.kafka.records import TopicPartition, positions_of, record_of, source_of
from runtime.clock import SYSTEM_CLOCK
from runtime.settings import KafkaSettings

GROUPS_MAX = 100
"""Groups of others that are looked at, by name. Each is a request of its own, every two seconds."""
REQUEST_S_MAX = 4.0
"""One request, in seconds."""
RECORDS_S_MAX = 2.0
"""Limit for the records at all committed offsets together, in seconds. Those that do not come have no age this time."""
AGES_MAX = 10_000
"""Remembered timestamps, one a partition and offset."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group as its coordinator knows it. None: it does not say, or we may not know."""

    name: str
    members: int | None
    committed: Mapping[TopicPartition, int] | None


@dataclass(frozen=True, slots=True)
class Range:
    """Offsets that a partition holds: `low` is the oldest, `end` one past the newest."""

    low: int
    end: int


@dataclass(slots=True)
class BrokerPoll:
    """What one poll of the broker found: of the partitions that a group has read, and all others of the same topics.
    `left_out`: groups beyond `GROUPS_MAX`."""

    groups: list[Group]
    ranges: dict[TopicPartition, Range]
    timestamps_s: dict[tuple[TopicPartition, int], float | None] = field(default_factory=dict)
    """When the record at a partition's offset was made. None: there is no record at or after it."""
    left_out: int = 0


class Broker:
    """One cluster, looked at again and again from one thread. Raises `DependencyUnavailable`.

    `fit` becomes False when a group was not told: its coordinator does not answer now, or answers this client never
    again, which cannot be told apart. Then poll with a new one.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self.fit = True
        self._settings = settings
        self._offsets = Offsets(settings, REQUEST_S_MAX)
        self._admin = Admin(settings, REQUEST_S_MAX)
        self._reader: Consumer | None = None
        self._ages: dict[tuple[TopicPartition, int], float | None] = {}

    def poll(self, ours: Mapping[str, Mapping[TopicPartition, int]]) -> BrokerPoll:
        """`ours`: what our own groups have committed, read before this call."""
        groups, left_out = self._admin.call("list groups", self._ask_groups)
        committed = [*ours.values(), *(group.committed for group in groups if group.committed)]
        wanted = {source for offsets in committed for source in offsets}
        known = self._offsets.topics()
        topics = {source.topic for offsets in ours.values() for source in offsets}
        added = {TopicPartition(topic, partition) for topic in topics for partition in known.get(topic, ())}
        there = sorted(added | {source for source in wanted if source.partition in known.get(source.topic, ())})
        low, end = self._offsets.first(there), self._offsets.end(there)
        ranges = {source: Range(low[source], end[source]) for source in there}
        waiting = {
            (source, max(at, ranges[source].low))
            for offsets in committed
            for source, at in offsets.items()
            if source in ranges and at < ranges[source].end
        }
        return BrokerPoll(groups, ranges, self._timestamps(waiting, ranges), left_out)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    # --- groups -----------------------------------------------------------------------------------------------------

    def _ask_groups(self, client: AdminClient) -> tuple[list[Group], int]:
        listed = self._admin.result(client.list_consumer_groups(request_timeout=REQUEST_S_MAX))
        names = sorted(group.group_id for group in listed.valid)
        kept = names[:GROUPS_MAX]
        members = self._members(client, kept)
        ask = partial(client.list_consumer_group_offsets, request_timeout=REQUEST_S_MAX)
        asked = {name: ask([ConsumerGroupTopicPartitions(name)])[name] for name in kept}
        groups = [Group(name, members.get(name), self._read_committed(asked[name])) for name in kept]
        return groups, len(names) - len(kept)

    def _members(self, client: AdminClient, names: list[str]) -> dict[str, int | None]:
        if not names:
            return {}
        asked = client.describe_consumer_groups(names, request_timeout=REQUEST_S_MAX)
        answers = {name: self._answer(future) for name, future in asked.items()}
        return {name: None if answer is None else len(answer.members) for name, answer in answers.items()}

    def _read_committed(self, asked: Any) -> dict[TopicPartition, int] | None:
        answer = self._answer(asked)
        if answer is None:
            return None
        return {
            TopicPartition(position.topic, position.partition): position.offset
            for position in answer.topic_partitions or ()
            if position.error is None and position.offset >= 0
        }

    def _answer(self, asked: Any) -> Any:
        """None for one group says nothing about the others: its coordinator moves, it is gone, or it is not for us.
        Then the client is in doubt, but not for a group that is not for us: no other client would be told either."""
        try:
            return self._admin.result(asked)
        except KafkaException as error:
            self.fit = self.fit and meaning_of(error.args[0].code()) == "unprepared"
            return None

    # --- records ----------------------------------------------------------------------------------------------------

    def _timestamps(
        self, wanted: set[tuple[TopicPartition, int]], ranges: Mapping[TopicPartition, Range]
    ) -> dict[tuple[TopicPartition, int], float | None]:
        """Timestamps of records do not change, so each is read once. One read a partition at a time: several groups may
        stand at different offsets of it."""
        self._ages = {place: age for place, age in self._ages.items() if place in wanted and age is not None}
        until_s = SYSTEM_CLOCK.monotonic() + RECORDS_S_MAX
        left = sorted(wanted - set(self._ages))[:AGES_MAX]
        while left and SYSTEM_CLOCK.monotonic() < until_s:
            turn = dict(reversed(left))
            found = self._read(turn, ranges, until_s)
            self._ages.update({(source, turn[source]): at for source, at in found.items()})
            left = [place for place in left if turn.get(place[0]) != place[1]]
        return dict(self._ages)

    def _read(
        self, turn: Mapping[TopicPartition, int], ranges: Mapping[TopicPartition, Range], until_s: float
    ) -> dict[TopicPartition, float | None]:
        """The timestamp of the first record at or after each offset."""
        if self._reader is None:
            self._reader = make_consumer(self._settings, "watch")
        reader = self._reader
        found: dict[TopicPartition, float | None] = {}
        places = positions_of(turn)
        reader.assign(places)
        reader.resume(places)  # what an earlier read paused stays so, beyond its assignment
        while len(found) < len(turn) and (left_s := until_s - SYSTEM_CLOCK.monotonic()) > 0:
            message = reader.poll(left_s)
            if message is None:
                continue
            source = source_of(message)
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF and (message.offset() or 0) >= ranges[source].end:
                    found.setdefault(source, None)
                continue
            if source not in found:
                at_ms = record_of(message).timestamp_ms
                if at_ms is not None:
                    found[source] = at_ms / 1000
                reader.pause([KafkaPosition(*source)])
        reader.unassign()
        if len(found) < len(turn):
            # One that lived through topics that were made anew may give nothing for ever. Another costs milliseconds.
            reader.close()
            self._reader = None
        return found
