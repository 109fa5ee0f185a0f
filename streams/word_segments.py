"""Gives tenants that grew segments for their search by words, and takes up what changed, in the process of the agent
`jobs`.

Owns when to look, and that one look is bounded. Refuses the steps (`connectors/postgres/word_segments.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from connectors.postgres.connections import Connection
from connectors.postgres.word_segments import read_pack_health, step
from runtime import metrics
from runtime.lifecycle import Lifecycle
from runtime.settings import Settings
from streams.watching import SteppingWatch

LOOK_S = 10.0
"""How often to look, which takes some milliseconds. Until then searches score what changed one by one."""


class WordSegmentWatch(SteppingWatch):
    """See `SteppingWatch`."""

    steps_max = 1_000
    """Enough to fill the segments of thirty million sources."""
    took, later = "segments for the search by words", "segments are written later"
    quiet = frozenset({"filled", "packed", "merged"})

    def __init__(self, settings: Settings, life: Lifecycle) -> None:
        super().__init__(settings, life, "word-segments", LOOK_S)

    def step(self, connection: Connection) -> str | None:
        return step(connection, self._settings.search)

    def measure(self, connection: Connection) -> Callable[[], object]:
        health = read_pack_health(connection)

        def show() -> None:
            for state, count in health.states.items():
                metrics.WORD_PACKS.labels(state).set(count)
            metrics.WORD_CHANGES.set(health.changes)

        return show
