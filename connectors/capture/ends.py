"""How far each partition is filled, as the broker told it. Pure.

Owns the end of each partition and its last record, and notices an acknowledgement that is not right behind it. Before
the end: the broker lost records that it had acknowledged, or the topic is another one. Beyond it: somebody else writes
there, or a request of a process that was killed arrived late. Refuses to repair: the session ends, and the next start
compares what is written down with what there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connectors.capture.checks import RECOVER
from connectors.capture.identity import LogLost
from connectors.capture.ports import Bounds, FilledTopic
from connectors.kafka.errors import KAFKA
from connectors.kafka.records import TopicPartition
from connectors.postgres.lsn import Pos
from runtime.errors import DependencyUnavailable, OperatingError


class Ends:
    """One past the highest offset of each partition of the topics that we fill; 0 for none."""

    def __init__(self, filled: Mapping[str, FilledTopic] | None = None) -> None:
        self._ends = {
            name: [*topic.ends, *(0 for _ in range(topic.partitions - len(topic.ends)))]
            for name, topic in (filled or {}).items()
        }
        self._lasts: dict[TopicPartition, tuple[int, Pos]] = {}
        for name, topic in (filled or {}).items():
            for number, text in enumerate(topic.lasts):
                if text:
                    offset, _, pos = text.partition("@")
                    self._lasts[TopicPartition(name, number)] = int(offset), Pos.parse(pos.encode())
        self._moved: set[str] = set()
        self._unplaced: set[TopicPartition] = set()
        """Partitions where a record lies at an offset that the broker did not tell: the next one may be anywhere."""
        self._trouble: OperatingError | None = None

    @property
    def lasts(self) -> Mapping[TopicPartition, tuple[int, Pos]]:
        """Offset and position of the last record that is known of each partition."""
        return self._lasts

    def find(
        self, bounds: Mapping[TopicPartition, Bounds], newest: Mapping[TopicPartition, tuple[int, Pos]] | None = None
    ) -> None:
        """What lies in the log now, whoever put it there: our progress will speak for it, so it must stay. `newest`:
        the last record of each partition."""
        for source, found in bounds.items():
            ends = self._of(source)
            if found.end > ends[source.partition]:
                ends[source.partition] = found.end
                self._moved.add(source.topic)
        for source, last in (newest or {}).items():
            if self._lasts.get(source) != last:
                self._lasts[source] = last
                self._moved.add(source.topic)

    def reach(self, source: TopicPartition, offset: int, pos: Pos) -> bool:
        """A record was put at `offset`; below 0: the broker did not say where. False when that cannot be: the record
        counts for nothing."""
        ends = self._of(source)
        end = ends[source.partition]
        if offset < 0:
            self._unplaced.add(source)
            return True
        if offset != end and not (offset > end and source in self._unplaced):
            self._trouble = _explain_place(source, offset, end)
            return False
        self._unplaced.discard(source)
        ends[source.partition] = offset + 1
        self._lasts[source] = offset, pos
        self._moved.add(source.topic)
        return True

    def require_growth(self) -> None:
        """Raises `LogLost` when an acknowledgement went back, `DependencyUnavailable` when one jumped."""
        if self._trouble is not None:
            raise self._trouble

    def take_moved(self) -> tuple[dict[str, Sequence[int]], dict[str, Sequence[str]]]:
        """The ends of the topics that grew since the last time, and their last records."""
        moved, self._moved = self._moved, set()
        return (
            {name: tuple(self._ends[name]) for name in moved},
            {name: tuple(self._last_text(name, number) for number in range(len(self._ends[name]))) for name in moved},
        )

    def _last_text(self, topic: str, partition: int) -> str:
        if (last := self._lasts.get(TopicPartition(topic, partition))) is None:
            return ""
        offset, pos = last
        return f"{offset}@{pos.header().decode()}"

    def _of(self, source: TopicPartition) -> list[int]:
        ends = self._ends.setdefault(source.topic, [])
        if source.partition >= len(ends):
            ends.extend(0 for _ in range(source.partition + 1 - len(ends)))
        return ends


def _explain_place(source: TopicPartition, offset: int, end: int) -> OperatingError:
    where = f"{source.topic}, partition {source.partition}, put a record at offset {offset}"
    if offset < end:
        return LogLost(f"Kafka lost records: {where}, where another one was before {end}", hint=RECOVER)
    return DependencyUnavailable(
        f"{where}, and it ended at {end}: somebody else wrote in between",
        hint="the log is compared with the WAL again; if it goes on, find out who has the right to write there",
        coordinates=KAFKA,
    )
