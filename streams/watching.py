"""What the process of an agent does now and then beside it: a thread with a connection of its own.

Owns the thread, its connection, how it ends, and that a look which takes steps is bounded. Refuses to know what is
looked at: who inherits from it does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from connectors.postgres.connections import Connection
from connectors.postgres.sink import TransactionalSink
from runtime.errors import OperatingError
from runtime.lifecycle import Lifecycle, StopRequested
from runtime.logs import get_logger
from runtime.settings import Settings

PAUSE_S = 0.01
"""Pause between two steps, in which flows get at the rows that a step had locked."""


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


class SteppingWatch(PeriodicWatch):
    """Takes steps at each look, until none is left or `steps_max` were taken: what is left waits for the next look.
    Each is a transaction of its own. `took` and `later` are lines of the log: that a step was taken, but for those in
    `quiet`, and that none can be."""

    steps_max: int
    took: str
    later: str
    quiet: frozenset[str]

    def step(self, connection: Connection) -> str | None:
        """Take the next step. None: there was nothing to do."""
        raise NotImplementedError

    def measure(self, connection: Connection) -> Callable[[], object]:
        """Read how things are, in the same transaction. What is returned shows it, once that is committed."""
        raise NotImplementedError

    def look(self, store: TransactionalSink) -> None:
        log = get_logger(self._name)
        try:
            for _ in range(self.steps_max):
                with store.transaction() as connection:
                    did = self.step(connection)
                    show = self.measure(connection)
                show()
                if did is None:
                    return
                if did not in self.quiet:
                    log.info(self.took, step=did)
                self._life.sleep(PAUSE_S)
        except OperatingError as error:
            log.info(self.later, detail=error.detail)
