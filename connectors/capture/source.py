"""Change capture as a whole: sessions, one after the other, until asked to stop.

Owns what happens when a session ends: an outage is waited out with back-off (law 7: lag, never loss), a decision that
somebody must take is shown and looked at again every few seconds. Refuses to give up: the process stays, and its health
says what it waits for.

    session ◀─────────────────────────────────────────────┐
       └───────▶ back-off (outage) or RECHECK_S (halted, misconfigured)

Read next: `ports.py` (the world), `session.py` (the order of one session), `stream.py` (the loop), `translator.py` (WAL
to records), `ledger.py` (what is there already), `assemble.py` (how it is put together).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from uuid import UUID, uuid4

from connectors.capture.config import CaptureConfig
from connectors.capture.session import Around, CaptureSession, Ports
from connectors.capture.shown import Shown
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.deadline import backoff_s
from runtime.errors import AdriaticError
from runtime.ops import Health

RECHECK_S = 5.0
"""How often a halted capture looks whether somebody has decided."""
HEALTHY_S = 10.0
"""A session that lasted this long starts the back-off anew."""


class Capture:
    """One slot's capture. `run` blocks; `stop` may come from a signal handler or another thread. `new_id` makes ids of
    sessions and snapshots that nobody else has."""

    def __init__(
        self,
        config: CaptureConfig,
        ports: Ports,
        health: Health | None = None,
        clock: Clock = SYSTEM_CLOCK,
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        self._config = config
        self._ports = ports
        self._clock = clock
        self._stop = threading.Event()
        self.shown = Shown(config.slot, health or Health(), clock)
        self._around = Around(self.shown, clock, new_id, self._stop.is_set)

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Capture until `stop`."""
        pauses, after = backoff_s(), "start"
        while not self._stop.is_set():
            started_s = self._clock.monotonic()
            self.shown.session_starts(after)
            try:
                self.session()
            except AdriaticError as error:
                after = error.code
                if self._clock.monotonic() - started_s > HEALTHY_S:
                    pauses = backoff_s()
                heals = self.shown.session_ended(error)
                self._stop.wait(next(pauses) if heals else RECHECK_S)

    def session(self) -> None:
        """One session. Returns when asked to stop; raises what ended it otherwise."""
        with self._ports.database.open() as state:
            CaptureSession(self._config, self._ports, state, self._around).run()
