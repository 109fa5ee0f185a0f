"""Whether a log is the one that a flow has read: the same topics, not gone back, over as many partitions.

Owns that judgement, and the questions to the broker that it needs: all of them at each assignment and after a lost
connection, in between those that cost little (`describe`, `compare`). Refuses to mend: a log that is another one halts
the flow before anything of it is processed, and a person decides. Read next: `sessions.py`, which asks the same of the
database.

A topic's id tells that it was made anew. That a log went back shows at its end, or, when it has grown past the old
offset since, at the newest record that was read: at its offset is another one. Leader epochs do not tell: a broker that
was restored from a copy counts on from there, and gives the same epochs again (docs/decisions/0031).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from connectors.kafka.logs import Logs, TopicState
from connectors.kafka.offsets import Offsets
from connectors.kafka.records import LastRead, Record, TopicPartition
from connectors.postgres.sink import Standing
from runtime.errors import Halted

LOOK_S = 2.0
"""How often a process that reads asks whether its topics are as they were: one request to the broker."""
WAY_OUT = "`adriatic recover` makes the topics and everything that is derived from them anew"


def find_other_topic(
    topic: str, now: TopicState, standings: Mapping[TopicPartition, Standing], *, ordered: bool
) -> str:
    """Why a topic is not the one that was read, or not as it was; empty while it is. `ordered`: its keys each have a
    partition by their number, as change capture sees to, so another number puts them in another order."""
    for source, standing in sorted(standings.items(), key=lambda item: (-item[1].next_offset, item[0])):
        if source.topic != topic:
            continue
        if standing.topic_id and now.topic_id and standing.topic_id != now.topic_id:
            return (
                f"topic {topic} was made anew: its log is not the one that was read to offset {standing.next_offset} "
                f"of partition {source.partition}"
            )
        if ordered and standing.partitions is not None and now.partitions != standing.partitions:
            return (
                f"topic {topic} has {now.partitions} partitions, and had {standing.partitions}: its keys move to "
                "others, where their order is lost"
            )
    return ""


def find_other_end(source: TopicPartition, standing: Standing, end: int) -> str:
    """Why the end of a log cannot be that of the one that was read; empty while it can."""
    if standing.next_offset <= end:
        return ""
    return f"{source} ends at offset {end}, and was read to {standing.next_offset}: the log went back"


def find_other_record(source: TopicPartition, last: LastRead, found: Record | None) -> str:
    """Why a log cannot be the one that was read, by the newest record of it; empty while it can. A record that is not
    there any more (it expired, or a newer one of its key replaced it) tells nothing."""
    if found is None or found.fingerprint == last.fingerprint:
        return ""
    return (
        f"at offset {last.offset} of {source} is another record than was read there: the log went back, and grew again"
    )


def complete(standing: Standing, now: TopicState) -> Standing:
    """What was noted before it was known which topic it is: the first one that is seen."""
    topic_id = standing.topic_id or now.topic_id
    return replace(standing, topic_id=topic_id, partitions=standing.partitions or now.partitions)


class LogGuard:
    """The logs of one flow. `ordered`: topics that change capture fills. `check` from the thread that reads, the
    others from any."""

    def __init__(self, name: str, logs: Logs, offsets: Offsets, ordered: Collection[str]) -> None:
        self._name = name
        self._logs = logs
        self._offsets = offsets
        self._ordered = ordered
        self._known: Mapping[TopicPartition, Standing] = {}

    def check(
        self, standings: Mapping[TopicPartition, Standing], sources: Collection[TopicPartition]
    ) -> dict[str, TopicState]:
        """Halt unless the logs of `sources` are those that were read. `standings` are all of the flow's. The topics as
        they are now. Raises `DependencyUnavailable` and `Halted`."""
        topics = self.describe({source.topic for source in sources})
        self._compare(topics, standings)
        read = {source: standings[source] for source in sources if source in standings}
        ends = self._offsets.end(read)
        for source, standing in read.items():
            self.check_end(source, standing.next_offset, ends[source])
        last = {source: standing.last for source, standing in read.items() if standing.last is not None}
        low = self._offsets.first(last)
        found = self._logs.read_at({at: each.offset for at, each in last.items() if low[at] <= each.offset < ends[at]})
        for source, each in last.items():
            self._halt(find_other_record(source, each, found.get(source)), source)
        new = {source: Standing(0) for source in sources if source not in standings}
        self._known = {
            **self._known,
            **{
                source: complete(standing, topics[source.topic])
                for source, standing in {**standings, **new}.items()
                if source.topic in topics
            },
        }
        return topics

    def describe(self, topics: Collection[str]) -> dict[str, TopicState]:
        """The topics as they are now. Raises `DependencyUnavailable`."""
        return self._logs.describe(topics)

    def compare(self, now: Mapping[str, TopicState]) -> None:
        """Halt unless the topics are as they were at the last `check`."""
        self._compare(now, self._known)

    def check_end(self, source: TopicPartition, next_offset: int, end: int) -> None:
        """Halt when a log ends before what was read of it."""
        self._halt(find_other_end(source, Standing(next_offset), end), source)

    def _compare(self, now: Mapping[str, TopicState], standings: Mapping[TopicPartition, Standing]) -> None:
        for topic, state in now.items():
            reason = find_other_topic(topic, state, standings, ordered=topic in self._ordered)
            self._halt(reason, TopicPartition(topic, 0))

    def _halt(self, reason: str, source: TopicPartition) -> None:
        if reason:
            raise Halted(f"{self._name} stopped: {reason}", hint=WAY_OUT, coordinates={"topic": source.topic})
