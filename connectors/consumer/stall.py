"""Says when a member of a consumer group takes nothing any more, though there is something and the broker answers.

Owns that judgement. Refuses to look and to act: a driver tells it what it saw, and begins anew. A client that lived
through an outage may believe for ever that it is a member in good order, fetch nothing, and raise nothing; then only
the offsets show it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from connectors.kafka.membership import GroupState
from connectors.kafka.records import TopicPartition
from connectors.kafka.source import SESSION_S
from runtime.clock import SYSTEM_CLOCK, Clock

LOOK_S = 5.0
"""How often to look where nothing else does: a request to the broker and one to Postgres."""
STALLED_S = 4 * SESSION_S
"""How long a partition may stand still, in seconds. The member that had it may have died, which the group notices after
`SESSION_S`, and the rebalance after that waits for the others."""
REBALANCE_S = 330.0
"""The same for a member without partitions in a group that is about to share them out: it waits for a member that is
busy with what it took, as long as the group lets that (librdkafka's `max.poll.interval.ms`, 300 s)."""


class StallWatch:
    """The judgement on one member. Not for several threads at once."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._stands: dict[TopicPartition, tuple[int, float]] = {}
        self._unowned_since_s: float | None = None

    def reset(self) -> None:
        """Nothing is known, or there is work in hand: whatever stands still does so for a reason."""
        self._stands.clear()
        self._unowned_since_s = None

    def find_unowned(self, ask: Callable[[], GroupState]) -> str:
        """Why a member without partitions is to begin anew; empty while there is no reason. If nobody else in its group
        has any, no colleague does its work. `ask` is called after `STALLED_S` without partitions. Raises what it
        raises."""
        now_s = self._clock.monotonic()
        self._unowned_since_s = now_s if self._unowned_since_s is None else self._unowned_since_s
        waited_s = now_s - self._unowned_since_s
        if waited_s < STALLED_S:
            return ""
        group = ask()
        if group.owned:
            self.reset()
            return ""
        if group.rebalancing and waited_s < REBALANCE_S:
            return ""
        return f"nobody else in the group has a partition, and this member has had none for {waited_s:.0f} s"

    def find_stalled(self, ends: Mapping[TopicPartition, int], committed: Mapping[TopicPartition, int]) -> str:
        """Why to begin anew; empty while there is no reason. `ends`: one past the newest record of each partition that
        can be read; `committed`: up to where everything is done."""
        now_s = self._clock.monotonic()
        behind = {source: committed.get(source, 0) for source, end in ends.items() if end > committed.get(source, 0)}
        self._stands = {
            source: self._stands[source] if source in self._stands and self._stands[source][0] == at else (at, now_s)
            for source, at in behind.items()
        }
        for source, (at, since_s) in sorted(self._stands.items()):
            if now_s - since_s >= STALLED_S:
                return f"{source} has stood at offset {at} of {ends[source]} for {now_s - since_s:.0f} s"
        return ""
