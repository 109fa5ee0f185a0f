"""What users do while processes die: drivers, each a client on a thread, with a record of what was acknowledged.

Owns the contract of a driver, and how a client meets an outage: it waits, and tries the same again. Refuses to look
into the database while it runs; afterwards each driver holds the system to its record.
"""

from __future__ import annotations

import random
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

import httpx

from runtime.deadline import Deadline
from tests.crash.schedule import Hit
from tests.system.conftest import Tenant, World

T = TypeVar("T")

REQUEST_S_MAX = 5.0
"""A client that waits longer for a hung server only does less."""
HEALED_S_MAX = 120.0
"""How long one act may take until it is acknowledged: a restart of everything, on a busy machine."""
PAUSE_S = 0.25
AWAY = frozenset((429, 502, 503, 504))
"""What an outage may look like over HTTP (law 7). Anything else that is no success is a fault of the system."""


class Away(Exception):
    """The other side cannot answer now. Whether it did what was asked is not known."""


class Driver(ABC):
    """One kind of use. `step` is one act, from its beginning until it is acknowledged."""

    name: ClassVar[str]
    pause_s: ClassVar[float] = 0.1
    """Between two acts: a light load. What is proven is order and number, not speed."""

    def __init__(self, tenant: Tenant, world: World, seed: int) -> None:
        self.tenant = tenant
        self.world = world
        self.dice = random.Random(f"{seed} {self.name}")
        self.problems: list[str] = []
        self.acts = 0
        self.http = httpx.Client(
            base_url=tenant.http.base_url, headers=dict(tenant.http.headers), timeout=REQUEST_S_MAX
        )

    @abstractmethod
    def step(self) -> None:
        """One act. Raises `AssertionError` or anything else when the system did what it must not do."""

    @abstractmethod
    def check(self, hits: Sequence[Hit]) -> Iterator[str]:
        """What differs between the record and the healed system. `hits`: what happened to it meanwhile."""

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request. Raises `Away`."""
        try:
            answer = self.http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise Away(type(error).__name__) from error
        if answer.status_code in AWAY:
            raise Away(str(answer.status_code))
        return answer

    def patiently(self, act: Callable[[], T]) -> T:
        """`act`, again while it raises `Away`. For what may be done twice."""
        deadline = Deadline.after(HEALED_S_MAX)
        while True:
            try:
                return act()
            except Away as away:
                said = str(away)
            assert not deadline.passed, f"not acknowledged within {HEALED_S_MAX:g} s: {said}"
            time.sleep(PAUSE_S)

    def work(self, stop: threading.Event) -> None:
        """Acts until asked to stop; the last one is finished. What it must not meet ends it, and is a problem."""
        try:
            while not stop.is_set():
                self.step()
                self.acts += 1
                stop.wait(self.pause_s)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.problems.append(f"{self.name}: {type(error).__name__} {error} ({where.name}, line {where.lineno})")

    def close(self) -> None:
        self.http.close()


class Load:
    """All drivers at once. A context: leaving it stops them and waits for their last acts."""

    def __init__(self, drivers: Sequence[Driver]) -> None:
        self.drivers = drivers
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=driver.work, args=(self._stop,), name=driver.name, daemon=True)
            for driver in drivers
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        deadline = Deadline.after(HEALED_S_MAX)
        while not all(driver.acts or driver.problems for driver in self.drivers):
            assert not deadline.passed, "a driver did nothing before anything was broken"
            time.sleep(PAUSE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(HEALED_S_MAX + 2 * REQUEST_S_MAX)

    @property
    def problems(self) -> list[str]:
        hanging = [f"{thread.name}: hangs" for thread in self._threads if thread.is_alive()]
        return [*hanging, *(problem for driver in self.drivers for problem in driver.problems)]

    def check(self, hits: Sequence[Hit]) -> Iterator[str]:
        for driver in self.drivers:
            yield from (f"{driver.name}: {problem}" for problem in driver.check(hits))

    def close(self) -> None:
        for driver in self.drivers:
            driver.close()
