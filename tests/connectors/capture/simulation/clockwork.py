"""Simulated time, and processes that live in it: one thread, no waiting, the same every time.

Owns the clock, what happens later, and whose turn it is. A process is ordinary blocking code in a greenlet. It gives
its turn away where it calls the world (each call is a place where it can be stopped or killed) and where it waits,
which is the one thing that moves the clock. Refuses randomness: what happens is decided by whoever sets it up.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import greenlet

START = datetime(2026, 1, 1, tzinfo=UTC)
NEVER_S = float("inf")
CALLS_MAX = 300_000
"""More calls than any run of a schedule needs between two steps: somebody turns in circles without waiting."""


class Livelock(Exception):
    """A process never waits."""


class Killed(BaseException):
    """Ends a process: `kill -9`. Whatever it still calls on its way out does nothing."""


class Clockwork:
    """Time in seconds since the start, and what happens when."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.calls = 0
        """How often any process has called the world."""
        self.stop_at_call = 0
        """The number of the call at which the one who made it gives its turn away."""
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._hub = greenlet.getcurrent()
        self.processes: list[Process] = []

    @property
    def now_us(self) -> int:
        return int((START.timestamp() + self.now_s) * 1_000_000)

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        self.at(self.now_s + seconds, do)

    def at(self, time_s: float, do: Callable[[], None]) -> None:
        """Two things at the same time happen in the order in which they were asked for."""
        self._number += 1
        heapq.heappush(self._later, (time_s, self._number, do))

    def run(self, seconds: float, calls: int = 0) -> None:
        """Let everybody go on for so long, or until so many calls were made, when that comes first."""
        until_s = self.now_s + seconds
        until_call = self.calls + calls if calls else self.calls + CALLS_MAX
        self.stop_at_call = until_call
        while True:
            self._fire()
            if self.calls >= until_call:
                if not calls:
                    raise Livelock(f"{CALLS_MAX} calls in {seconds} s")
                return
            process = self._next_process()
            if process is not None:
                process.go_on()
                continue
            due_s = min([self.quiet_until_s, *(process.wakes_s for process in self.processes)])
            if due_s > until_s:
                self.now_s = until_s
                return
            self.now_s = max(self.now_s, due_s)

    def _fire(self) -> None:
        while self._later and self._later[0][0] <= self.now_s:
            heapq.heappop(self._later)[2]()

    def _next_process(self) -> Process | None:
        ready = [process for process in self.processes if process.wakes_s <= self.now_s]
        return min(ready, key=lambda process: process.last_turn) if ready else None

    @property
    def quiet_until_s(self) -> float:
        """When the next thing happens that no process does."""
        return self._later[0][0] if self._later else NEVER_S


class Process:
    """Code that runs until it ends or is killed."""

    def __init__(self, clockwork: Clockwork, name: str, main: Callable[[Process], None]) -> None:
        self.clockwork = clockwork
        self.name = name
        self.alive = True
        self.stalled_until_s = 0.0
        self.last_turn = 0
        self._waits_until_s = 0.0
        self.crash: BaseException | None = None
        """What ended it that it should have caught."""
        self._main = main
        self._greenlet = greenlet.greenlet(self._live)
        clockwork.processes.append(self)

    # called by the world

    @property
    def wakes_s(self) -> float:
        return max(self._waits_until_s, self.stalled_until_s) if self.alive else NEVER_S

    @property
    def stalled(self) -> bool:
        return self.stalled_until_s > self.clockwork.now_s

    def go_on(self) -> None:
        self.last_turn = self.clockwork.calls
        self._greenlet.switch()
        if self._greenlet.dead:
            self.alive = False

    def stall(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        self.stalled_until_s = max(self.stalled_until_s, self.clockwork.now_s + seconds)

    def _live(self) -> None:
        try:
            self._main(self)
        except Killed:
            pass
        except Exception as error:
            self.crash = error

    def kill(self) -> None:
        if not self.alive:
            return
        self.alive = False
        if self._greenlet:
            self._greenlet.throw(Killed)

    # called by the process

    def require_alive(self) -> None:
        if not self.alive:
            raise Killed

    def call(self) -> None:
        """Nearly every call of the world begins with this."""
        clockwork = self.clockwork
        self.require_alive()
        clockwork.calls += 1
        if clockwork.calls >= clockwork.stop_at_call:
            self._give_turn_away()

    def sleep(self, seconds: float) -> None:
        if not self.alive:
            raise Killed
        self._waits_until_s = self.clockwork.now_s + seconds
        self._give_turn_away()

    def _give_turn_away(self) -> None:
        self.clockwork._hub.switch()
        if not self.alive:
            raise Killed


class ProcessClock:
    """The clock as a process sees it. Looking at it is a place where a process can be stopped."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def now(self) -> datetime:
        return START + timedelta(seconds=self._process.clockwork.now_s)

    def monotonic(self) -> float:
        self._process.call()
        return self._process.clockwork.now_s

    def sleep(self, seconds: float) -> None:
        self._process.sleep(seconds)
