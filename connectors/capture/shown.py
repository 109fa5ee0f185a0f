"""What people see of change capture: its health, its facts and its metrics.

Owns the names of what is shown, and the age of what is known. It is told values, by the loop and by the watcher of the
slot, each from its own thread. Refuses to ask anybody: the loop would wait for the answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from connectors.capture.ports import Told
from connectors.capture.tracker import Confirmed
from connectors.postgres.lsn import show
from connectors.postgres.wal import SlotState
from runtime import metrics
from runtime.clock import Clock
from runtime.errors import AdriaticError, DependencyUnavailable
from runtime.logs import get_logger
from runtime.ops import Health
from schemas.pipeline import SKEW_S_MAX

log = get_logger("cdc")

FRESH_S = 15.0
"""How long a position is good for. Heartbeats move it each second; a database that hangs, hangs the session with it."""
TEND_S = 3600.0
"""How often the outbox's days are looked after. A week of them is made ahead."""
DECISION = "decision"
WAITS = ("postgres", "kafka", "registry", "snapshot", "ledger", "predecessor", DECISION)


class Shown:
    """One capture's."""

    def __init__(self, slot: str, health: Health, clock: Clock) -> None:
        self._slot = slot
        self._health = health
        self._clock = clock
        self._records = 0
        self._committed_at_us: int | None = None
        self._tend_at = 0.0
        metrics.CDC_BEHIND_SECONDS.set_function(self._behind_s)

    def session_starts(self, after: str) -> None:
        metrics.CDC_SESSIONS.labels(after=after).inc()

    def session_ended(self, error: AdriaticError) -> bool:
        """Whether it was an outage, which heals by itself."""
        outage = isinstance(error, DependencyUnavailable)
        what = str(error.coordinates.get("dependency", "postgres")) if outage else DECISION
        log.warning("session ended", waits_for=what, code=error.code, detail=error.detail, hint=error.hint)
        for wait in ("postgres", "kafka", "registry", DECISION):
            if wait != what:
                self._health.clear(wait)
        self._health.wait_for(what, str(error))
        self._show_behind()
        return outage

    def wait_for(self, what: str, why: str) -> None:
        self._health.wait_for(what, why)

    def clear(self, what: str) -> None:
        self._health.clear(what)

    def show_streaming(self, since: Confirmed) -> None:
        self._committed_at_us = since.committed_at_us or None
        for wait in WAITS:
            self._health.clear(wait)
        self._health.ready()

    def show_stopped(self, names: Iterable[str]) -> None:
        for name in names:
            metrics.CDC_TABLE_STOPPED.labels(table=name).set(1)

    def show_started(self, table: str) -> None:
        metrics.CDC_TABLE_STOPPED.labels(table=table).set(0)

    def tend(self, work: Callable[[], None]) -> None:
        """Do `work` when it is due again."""
        if self._clock.monotonic() >= self._tend_at:
            self._tend_at = self._clock.monotonic() + TEND_S
            work()

    def hear(self, told: Told) -> None:
        """About once a second, by the loop."""
        for topic, count in told.delivered.items():
            metrics.CDC_EVENTS.labels(topic=topic).inc(count)
            self._records += count
        self._committed_at_us = told.confirmed.committed_at_us or self._committed_at_us
        self._health.set_fact("slot", self._slot)
        self._health.set_fact("lsn", show(told.confirmed.lsn), FRESH_S)
        self._health.set_fact("tables", {"stopped": dict(told.stopped)})
        self._health.set_fact("records", self._records)
        if more := list(told.more_partitions):
            self._health.set_fact("unused_partitions", more)
        self._show_behind()

    def slot(self, slot: SlotState | None) -> None:
        """Now and then, by the watcher."""
        if slot is not None:
            metrics.CDC_SLOT_WAL_BYTES.set(slot.wal_bytes or 0)
            self._health.set_fact("slot_wal_bytes", slot.wal_bytes)

    def _behind_s(self) -> float:
        """Age of the newest commit that is known to be in Kafka; not a number while that is not known, or when its time
        is so far in the future that a clock is wrong."""
        if self._committed_at_us is None:
            return math.nan
        behind_s = self._clock.now().timestamp() - self._committed_at_us / 1_000_000
        return math.nan if behind_s < -SKEW_S_MAX else max(0.0, behind_s)

    def _show_behind(self) -> None:
        """Set the gauge to a function: it grows by itself while a session hangs."""
        self._health.set_fact("behind_s", self._behind_shown)

    def _behind_shown(self) -> float | str:
        behind_s = self._behind_s()
        return "unknown" if math.isnan(behind_s) else round(behind_s, 3)
