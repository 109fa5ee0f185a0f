"""Gives tenants that grew an index for their search by meaning, in the process of the agent `jobs`.

Owns when to look, and that one look is bounded. Refuses the steps (`connectors/postgres/vector_indexes.py`).
"""

from __future__ import annotations

import math

from connectors.postgres.sink import TransactionalSink
from connectors.postgres.vector_indexes import read_health, step
from runtime import metrics
from runtime.errors import OperatingError
from runtime.lifecycle import Lifecycle
from runtime.logs import get_logger
from runtime.settings import Settings
from streams.watching import PeriodicWatch

log = get_logger("vector-indexes")

LOOK_S = 60.0
"""How often to look. Each look adds up the passages of all tenants, a third of a second for a million sources."""
STEPS_MAX = 20_000
"""Steps of one look: enough to fill an index of four million sources. What is left waits for the next look."""
PAUSE_S = 0.01
"""Pause between two steps, in which flows get at the rows that a step had locked."""


class VectorIndexWatch(PeriodicWatch):
    """See `PeriodicWatch`."""

    def __init__(self, settings: Settings, life: Lifecycle) -> None:
        super().__init__(settings, life, "vector-indexes", LOOK_S)

    def look(self, store: TransactionalSink) -> None:
        try:
            for _ in range(STEPS_MAX):
                with store.transaction() as connection:
                    did = step(connection, self._settings.search)
                    health = read_health(connection)
                for state, count in health.states.items():
                    metrics.VECTOR_INDEXES.labels(state).set(count)
                metrics.SEARCH_RECALL.set(math.nan if health.recall is None else health.recall)
                if did is None:
                    return
                if did != "filled":
                    log.info("an index for the search by meaning", step=did)
                self._life.sleep(PAUSE_S)
        except OperatingError as error:
            log.info("indexes are built later", detail=error.detail)
