"""Gives tenants that grew segments for their search by words, and takes up what changed, in the process of the agent
`jobs`.

Owns when to look, and that one look is bounded. Refuses the steps (`connectors/postgres/word_segments.py`).
"""

from __future__ import annotations

from connectors.postgres.sink import TransactionalSink
from connectors.postgres.word_segments import read_pack_health, step
from runtime import metrics
from runtime.errors import OperatingError
from runtime.lifecycle import Lifecycle
from runtime.logs import get_logger
from runtime.settings import Settings
from streams.watching import PeriodicWatch

log = get_logger("word-segments")

LOOK_S = 10.0
"""How often to look, which takes some milliseconds. Until then searches score what changed one by one."""
STEPS_MAX = 1_000
"""Steps of one look: enough to fill the segments of thirty million sources. What is left waits for the next look."""
PAUSE_S = 0.01
"""Pause between two steps, in which flows get at the row that a step had locked."""


class WordSegmentWatch(PeriodicWatch):
    """See `PeriodicWatch`."""

    def __init__(self, settings: Settings, life: Lifecycle) -> None:
        super().__init__(settings, life, "word-segments", LOOK_S)

    def look(self, store: TransactionalSink) -> None:
        try:
            for _ in range(STEPS_MAX):
                with store.transaction() as connection:
                    did = step(connection, self._settings.search)
                    health = read_pack_health(connection)
                for state, count in health.states.items():
                    metrics.WORD_PACKS.labels(state).set(count)
                metrics.WORD_CHANGES.set(health.changes)
                if did is None:
                    return
                if did not in ("filled", "packed", "merged"):
                    log.info("segments for the search by words", step=did)
                self._life.sleep(PAUSE_S)
        except OperatingError as error:
            log.info("segments are written later", detail=error.detail)
