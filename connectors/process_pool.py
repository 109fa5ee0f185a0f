"""Processes that do one tenant's work at a time: who has a turn, which are idle, and when they are ended.

Owns the bound of how many work at once, that a tenant has one turn at a time, so that slow work holds up nobody else's,
and that an unused process gives its memory back. Refuses to know what a process does, and how one is started.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from runtime.clock import SYSTEM_CLOCK
from runtime.lifecycle import StopRequested

WAIT_S = 0.5
"""Time between two looks whether the worker is to stop."""


class PooledProcess(Protocol):
    """One process, used by one thread at a time. `spent`: it is not to be used again. `kill` is called from any thread;
    `end` waits for it, and takes what it held."""

    @property
    def spent(self) -> bool: ...

    def kill(self) -> None: ...

    def end(self) -> None: ...


Pooled = TypeVar("Pooled", bound=PooledProcess)


class ProcessPool(Generic[Pooled]):
    """Processes of one kind, `processes_max` of them at most; an idle one ends after `idle_s` seconds. Used by many
    threads."""

    def __init__(self, processes_max: int, idle_s: float) -> None:
        self._processes_max = processes_max
        self._idle_s = idle_s
        self._changed = threading.Condition()
        self._busy: set[UUID] = set()
        self._idle: list[Pooled] = []
        self._working: set[Pooled] = set()
        self._reaper: threading.Timer | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    @contextmanager
    def turn(self, tenant_id: UUID, seconds_max: float | None = None) -> Iterator[bool]:
        """Wait for a turn; None: for as long as it takes. Gives False when there was none in time. Raises
        `StopRequested`."""
        until = None if seconds_max is None else SYSTEM_CLOCK.monotonic() + seconds_max
        with self._changed:
            while len(self._busy) >= self._processes_max or tenant_id in self._busy:
                if self._closed:
                    raise StopRequested
                if until is not None and SYSTEM_CLOCK.monotonic() > until:
                    yield False
                    return
                self._changed.wait(WAIT_S)
            self._busy.add(tenant_id)
        try:
            yield True
        finally:
            with self._changed:
                self._busy.discard(tenant_id)
                self._changed.notify_all()

    def take(self, start: Callable[[], Pooled], fits: Callable[[Pooled], bool]) -> Pooled:
        """An idle process that fits, or a new one; then one that does not fit makes room, where there would be too
        many. Call it in a turn. Raises `StopRequested`, and what `start` raises."""
        with self._changed:
            if self._closed:
                raise StopRequested
            own = next((each for each in reversed(self._idle) if fits(each)), None)
            if own is not None:
                self._idle.remove(own)
            full = len(self._idle) + len(self._working) >= self._processes_max
            other = self._idle.pop(0) if own is None and full and self._idle else None
        if other is not None:
            other.end()
        process = own or start()
        with self._changed:
            if not self.closed:
                self._working.add(process)
                return process
        process.end()
        raise StopRequested

    def put_back(self, process: Pooled) -> None:
        """Keep it for whoever comes next, or end it."""
        with self._changed:
            self._working.discard(process)
            if not process.spent and not self._closed:
                self._idle.append(process)
                self._reap_later()
                return
        process.end()

    def close(self) -> None:
        """End every process, also those at work. Whoever waits is asked to stop."""
        with self._changed:
            self._closed = True
            if self._reaper is not None:
                self._reaper.cancel()
            idle, self._idle = self._idle, []
            working = list(self._working)
            self._changed.notify_all()
        for process in working:
            process.kill()
        for process in idle:
            process.end()

    def _reap_later(self) -> None:
        if self._reaper is not None:
            self._reaper.cancel()
        self._reaper = threading.Timer(self._idle_s, self._reap)
        self._reaper.daemon = True
        self._reaper.start()

    def _reap(self) -> None:
        with self._changed:
            idle, self._idle = self._idle, []
        for process in idle:
            process.end()
