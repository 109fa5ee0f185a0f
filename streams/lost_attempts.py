"""Settles the attempts of API processes that died, in the process of the agent `jobs`.

Owns when to look, and that an outage is no death: while the database was away nobody could renew a lease, so it is
given the length of one after each outage. Refuses the statement (`connectors/postgres/attempts.py`).
"""

from __future__ import annotations

from connectors.llm import BYTES_PER_TOKEN
from connectors.postgres.attempts import BATCH_MAX, LEASE_S, settle_lost
from connectors.postgres.sink import TransactionalSink
from runtime import metrics
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import DependencyUnavailable
from runtime.lifecycle import Lifecycle
from runtime.logs import get_logger
from runtime.settings import Settings
from streams.watching import PeriodicWatch

log = get_logger("attempts")

LOOK_S = 5.0
"""How often to look. One small statement, by an index that is empty as a rule."""


class LostAttempts(PeriodicWatch):
    """See `PeriodicWatch`."""

    def __init__(self, settings: Settings, life: Lifecycle, *, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(settings, life, "lost-attempts", LOOK_S)
        self._clock = clock
        self._reached_s = clock.monotonic()

    def look(self, store: TransactionalSink) -> None:
        try:
            if self._clock.monotonic() - self._reached_s >= LEASE_S:
                self._settle(store)
            else:
                with store.read() as connection:
                    connection.execute("select 1")
        except DependencyUnavailable:
            self._reached_s = self._clock.monotonic()

    def _settle(self, store: TransactionalSink) -> None:
        settled = BATCH_MAX
        while settled == BATCH_MAX:
            with store.transaction() as connection:
                settled = settle_lost(connection, BYTES_PER_TOKEN)
            metrics.CHATS_LOST.inc(settled)
            if settled:
                log.warning("attempts of a process that died are settled by their bounds", attempts=settled)
