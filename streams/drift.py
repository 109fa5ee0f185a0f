"""Measures how far the books are apart, in the process of the agent `jobs`: a metric that is 0, or a fault.

Owns when to look, and that what cannot be read is not a number, and never 0. Refuses the sums
(`connectors/postgres/spend.py`), and to mend anything: `adriatic spend explain` says where it is.
"""

from __future__ import annotations

import math

from connectors.postgres.sink import TransactionalSink
from connectors.postgres.spend import read_drifts
from runtime import metrics
from runtime.errors import AdriaticError
from runtime.lifecycle import Lifecycle
from runtime.logs import get_logger
from runtime.settings import Settings
from streams.watching import PeriodicWatch

log = get_logger("spend")

LOOK_S = 60.0
"""How often to look: sums over the windows that run, which take longer the more was asked."""
SUM_S_MAX = 20
"""One of the sums, in seconds. What takes longer is not known, and `adriatic spend explain` asks for one tenant."""
BETWEEN = ("counter", "leases", "aggregate")


class DriftWatch(PeriodicWatch):
    """See `PeriodicWatch`."""

    def __init__(self, settings: Settings, life: Lifecycle) -> None:
        super().__init__(settings, life, "spend-drift", LOOK_S)

    def look(self, store: TransactionalSink) -> None:
        try:
            with store.transaction() as connection:
                connection.execute("select set_config('statement_timeout', %s, true)", [f"{SUM_S_MAX}s"])
                drifts = dict(read_drifts(connection))
        except AdriaticError as error:
            log.info("how far the books are apart is not known", detail=error.detail)
            drifts = {}
        for between in BETWEEN:
            metrics.SPEND_DRIFT.labels(between).set(drifts.get(between, math.nan))
        if any(drifts.values()):
            log.error("the books are apart", **drifts)
