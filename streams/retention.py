"""Forgets what is older than the settings say, in the process of the agent `jobs`.

Owns when to look, and that one look is bounded. Refuses the statements, and what may be forgotten
(`connectors/postgres/retention.py`).
"""

from __future__ import annotations

from connectors.postgres.retention import BATCH_MAX, KeptAges, forget_old
from connectors.postgres.sink import TransactionalSink
from runtime import metrics
from runtime.errors import OperatingError
from runtime.lifecycle import Lifecycle
from runtime.logs import get_logger
from runtime.settings import Settings
from streams.watching import PeriodicWatch

log = get_logger("retention")

LOOK_S = 600.0
"""How often to look. Everything is kept for hours at least."""
BATCHES_MAX = 200
"""Transactions of one look. What is left after it waits for the next one."""
PAUSE_S = 0.05
"""Pause between two of them, so that a shorter age that was set yesterday does not keep the disk busy."""


class RetentionSweep(PeriodicWatch):
    """See `PeriodicWatch`."""

    def __init__(self, settings: Settings, life: Lifecycle) -> None:
        super().__init__(settings, life, "retention", LOOK_S)
        llm, kept = settings.llm, settings.retention
        self._ages = KeptAges(
            *(llm.kept_days, llm.cache_s, kept.alerts_days, kept.audit_days, kept.keys_days, kept.flags_days)
        )

    def look(self, store: TransactionalSink) -> None:
        try:
            for _ in range(BATCHES_MAX):
                with store.transaction() as connection:
                    forgotten = forget_old(connection, self._ages)
                for table, rows in forgotten.items():
                    metrics.ROWS_FORGOTTEN.labels(table).inc(rows)
                if max(forgotten.values()) < BATCH_MAX:
                    return
                self._life.sleep(PAUSE_S)
        except OperatingError as error:
            log.info("what is old is forgotten later", detail=error.detail)
