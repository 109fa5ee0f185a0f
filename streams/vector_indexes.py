"""Gives tenants that grew an index for their search by meaning, in the process of the agent `jobs`.

Owns when to look, and that one look is bounded. Refuses the steps (`connectors/postgres/vector_indexes.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from connectors.postgres.connections import Connection, connect
from connectors.postgres.vector_indexes import read_health, step
from runtime import metrics
from runtime.lifecycle import Lifecycle
from runtime.settings import Settings
from streams.watching import SteppingWatch

LOOK_S = 60.0
"""How often to look. Each look adds up the passages of all tenants, a third of a second for a million sources."""


class VectorIndexWatch(SteppingWatch):
    """See `SteppingWatch`."""

    steps_max = 20_000
    """Enough to fill an index of forty million passages."""
    took, later = "an index for the search by meaning", "indexes are built later"
    quiet = frozenset({"filled"})

    def __init__(self, settings: Settings, life: Lifecycle) -> None:
        super().__init__(settings, life, "vector-indexes", LOOK_S)

    def step(self, connection: Connection) -> str | None:
        return step(connection, self._settings.search, self._connect_beside)

    def _connect_beside(self) -> Connection:
        return connect(self._settings.postgres, name=f"{self._name}-slots", autocommit=True)

    def measure(self, connection: Connection) -> Callable[[], object]:
        health = read_health(connection)

        def show() -> None:
            for state, count in health.states.items():
                metrics.VECTOR_INDEXES.labels(state).set(count)
            metrics.SEARCH_RECALL.set(math.nan if health.recall is None else health.recall)

        return show
