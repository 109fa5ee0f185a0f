"""How a long-running process waits, retries, stops and gives up.

Owns how one call is repeated (back-off, health reason, metric hook), the request to stop, and the error
that ends the process. Refuses to install signal handlers or to exit: the command line does. Thread-safe.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from runtime.deadline import backoff_s
from runtime.errors import AdriaticError, DependencyUnavailable
from runtime.logs import get_logger
from runtime.ops import Health

T = TypeVar("T")

log = get_logger("lifecycle")


class StopRequested(BaseException):
    """The process was asked to stop while it waited. Not an `Exception`: nothing that isolates the faults of records
    may catch it."""


class Lifecycle:
    """One per process. `failure` is why it cannot go on; asking it to stop is not a failure."""

    def __init__(self, health: Health) -> None:
        self.health = health
        self.failure: AdriaticError | None = None
        self.retries = 0
        self._stop = threading.Event()
        self._asked = threading.Event()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask everything to end. Safe in a signal handler."""
        self._asked.set()
        self._stop.set()

    def fail(self, error: AdriaticError) -> None:
        """Ask everything to end because of `error`. The first one counts."""
        if self.failure is None:
            self.failure = error
            log.error("giving up", code=error.code, detail=error.detail, hint=error.hint, coordinates=error.coordinates)
        self._stop.set()

    def wait_for_stop(self) -> None:
        """Wait until somebody asks the process to stop, also after `fail`."""
        while not self._asked.wait(timeout=1.0):
            pass

    def sleep(self, seconds: float) -> None:
        """Raises `StopRequested` as soon as the process stops."""
        if self._stop.wait(seconds):
            raise StopRequested

    def retry(self, what: str, attempt: Callable[[], T], on_retry: Callable[[], None] = lambda: None) -> T:
        """Repeat `attempt` as long as it raises `DependencyUnavailable`: the outage becomes lag (law 7). `what` is the
        dependency's name in the health report. Raises `StopRequested` when asked to stop in between."""
        pauses = backoff_s()
        waited = False
        while True:
            try:
                result = attempt()
            except DependencyUnavailable as error:
                if not waited:
                    log.warning("waiting", dependency=what, detail=error.detail, hint=error.hint)
                waited = True
                self.retries += 1
                self.health.wait_for(what, str(error))
                on_retry()
                self.sleep(next(pauses))
            else:
                if waited:
                    log.warning("going on", dependency=what)
                    self.health.clear(what)
                return result
