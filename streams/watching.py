"""What the process of an agent does now and then beside it: a thread with a connection of its own.

Owns the thread, its connection, and how it ends. Refuses to know what is looked at: who inherits from it does.
"""

from __future__ import annotations

import threading

from connectors.postgres.sink import TransactionalSink
from runtime.lifecycle import Lifecycle, StopRequested
from runtime.settings import Settings


class PeriodicWatch:
    """Looks every `every_s` seconds, until the life ends. What `look` raises, other than that end, ends the thread."""

    def __init__(self, settings: Settings, life: Lifecycle, name: str, every_s: float) -> None:
        self._settings = settings
        self._life = life
        self._name = name
        self._every_s = every_s
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def look(self, store: TransactionalSink) -> None:
        """One look."""
        raise NotImplementedError

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        store = TransactionalSink(self._settings.postgres, self._name, self._life)
        try:
            while not self._life.stopping:
                self.look(store)
                self._life.sleep(self._every_s)
        except StopRequested:
            pass
        finally:
            store.close()
