"""Looks at the slot, beside the loop: its own connection, its own thread.

Owns the pace of the looks. Refuses to be waited for: a database that hangs keeps this thread, and nobody else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from connectors.capture.store import Store
from connectors.postgres.wal import SlotState
from runtime.errors import AdriaticError
from runtime.logs import get_logger
from runtime.settings import PostgresSettings

log = get_logger("cdc")

LOOK_S = 2.0
"""Time between two looks. A look takes a millisecond."""


class SlotWatcher:
    """`run` blocks until `stop`."""

    def __init__(self, settings: PostgresSettings, slot: str, show: Callable[[SlotState | None], None]) -> None:
        self._settings = settings
        self._slot = slot
        self._show = show
        self._stop = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        while not self._stop.is_set():
            try:
                with Store(self._settings, self._slot) as store:
                    while not self._stop.is_set():
                        self._show(store.slot())
                        self._stop.wait(LOOK_S)
            except AdriaticError as error:
                log.info("the slot cannot be looked at", detail=error.detail)
                self._stop.wait(LOOK_S)
