"""Which partitions a reader takes from first, when some of its topics may wait for the others.

Owns the rule, and the account of it; pure. Refuses records and clients: `connectors/kafka/source.py` has them, and asks
here. The rule bounds the wait at both ends. Topics that wait have one batch under way at a time, so what overtakes them
stands behind that batch alone; and they have a turn after so many batches of the others, so they always go on. Their
partitions take turns among themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from connectors.kafka.records import TopicPartition

AHEAD_MAX: Final = 8
"""Batches of the other topics after which one of a topic that waits has its turn, whatever else there is: under the
heaviest load a ninth of the work goes into what waits."""
HELD_BYTES_MAX: Final = 1_048_576
"""Buffered records of topics that wait, above which no more of them are asked for. The client hands out what it has in
the order in which that came: with thousands of records of the one kind in it, one of the other stands behind them all.
Some ten seconds of a fast model's work, so that it is not fetched again and again."""


class Lanes:
    """The rule for one reader. `behind` are the topics that wait; without any, everything is as if there were none."""

    def __init__(self, behind: Collection[str] = ()) -> None:
        self._behind = frozenset(behind)
        self._ahead = 0
        """Batches of the others since one of those that wait was handed out."""
        self._held: frozenset[TopicPartition] = frozenset()
        self._turns = 0
        self._last_turn: dict[TopicPartition, int] = {}

    def is_behind(self, source: TopicPartition) -> bool:
        return source.topic in self._behind

    def may_take(self, source: TopicPartition, have_some: Collection[TopicPartition], *, under_way: bool) -> bool:
        """Whether a batch of `source`, whose topic waits, may be handed out. `have_some` are the partitions with
        records at hand; `under_way` says that a batch of such a topic was handed out and is not committed."""
        waiting = [each for each in have_some if self.is_behind(each)]
        if under_way or (len(waiting) < len(have_some) and self._ahead < AHEAD_MAX):
            return False
        return source == min(waiting, key=lambda each: (self._last_turn.get(each, 0), each), default=source)

    def note_taken(self, source: TopicPartition) -> None:
        if self.is_behind(source):
            self._ahead = 0
            self._turns += 1
            self._last_turn[source] = self._turns
        else:
            self._ahead += 1

    def hold(
        self, sources: Iterable[TopicPartition], buffered_bytes: int
    ) -> tuple[frozenset[TopicPartition], frozenset[TopicPartition]]:
        """Say which of `sources` nothing more is to be asked for from now on, and which of them again. `buffered_bytes`
        of topics that wait are in hand; what is held is let go at half of the bound."""
        waiting = frozenset(source for source in sources if self.is_behind(source))
        is_full = buffered_bytes >= (HELD_BYTES_MAX // 2 if self._held else HELD_BYTES_MAX)
        wanted = waiting if is_full else frozenset()
        more, again = wanted - self._held, (self._held & waiting) - wanted
        self._held = wanted
        return more, again

    def forget(self, sources: Iterable[TopicPartition]) -> None:
        """These partitions are somebody else's now, and held by nobody when they come back."""
        gone = frozenset(sources)
        self._held -= gone
        for source in gone:
            self._last_turn.pop(source, None)
