"""How a process of the pipeline holds while `adriatic recover` runs.

Owns two things: a process that starts in the middle of a recovery waits for its turn, and one that runs when it begins
ends by itself, so that it begins anew (whoever started it starts it again). It sees both in `ops.recovery`, in a
session of its own, whose name says whether the process works. Refuses to be the fence: the database refuses to move an
offset meanwhile (`0019_recovery.sql`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from adriatic.recovery.ledger import READ_UNFINISHED, read_unfinished
from adriatic.recovery.steps import CAPTURE_HOLDS, FLOWS_HOLD, Recovery, Step
from connectors.postgres.connections import Connection, connect
from connectors.postgres.errors import translate
from runtime.errors import DependencyUnavailable, Fenced
from runtime.lifecycle import Lifecycle, StopRequested
from runtime.logs import get_logger
from runtime.settings import Role, Settings

log = get_logger("recovery")

LOOK_S: Final = 2.0
"""Time between two looks: how long a recovery waits for a process to let go, at least."""
END_S_MAX: Final = 5.0
"""How long the thread may take to end with its process, in seconds: a look is bounded by three."""


class Hold:
    """One process. `wait` first, then `watch`."""

    def __init__(self, settings: Settings, name: str, role: Role, steps: frozenset[Step], life: Lifecycle) -> None:
        self._settings = settings
        self._name = name
        self._role: Role = role
        self._steps = steps
        self._life = life
        self._connection: Connection | None = None
        self._works = False
        """Said by the name of the session, also of one that takes the place of another."""
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.begun = False
        """A recovery began while the process ran: it has to end."""

    def wait(self) -> None:
        """Return when no recovery stands in the way. Raises `StopRequested`."""
        while (found := self._life.retry("postgres", self._look)) is not None and found.step in self._steps:
            self._life.health.wait_for("recovery", f"`adriatic recover` is at {found.describe()}")
            self._life.sleep(LOOK_S / 2)
        self._life.health.clear("recovery")

    def watch(self, end: Callable[[], None]) -> None:
        """Call `end` from now on, once, when a recovery wants this process to let go."""
        self._life.retry("postgres", self._say_that_it_runs)
        self._works = True
        self._thread = threading.Thread(target=self._watch, args=[end], name="recovery", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(END_S_MAX)
        if self._connection is not None:
            self._connection.close()

    def _watch(self, end: Callable[[], None]) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                found = self._look()
            except DependencyUnavailable:
                continue  # whoever works says that the database is away; nothing can be moved in it meanwhile
            if found is not None and found.step in self._steps:
                log.warning("a recovery began: ending", step=found.step)
                self.begun = True
                end()
                return

    def _look(self) -> Recovery | None:
        with translate("look for a recovery"):
            return read_unfinished(self._session().execute(READ_UNFINISHED).fetchall())

    def _say_that_it_runs(self) -> None:
        with translate("look for a recovery"):
            self._session().execute("select set_config('application_name', %s, false)", [f"adriatic-runs-{self._name}"])

    def _session(self) -> Connection:
        if self._connection is None or self._connection.closed or self._connection.broken:
            name = f"adriatic-{'runs' if self._works else 'holds'}-{self._name}"
            self._connection = connect(self._settings.postgres, "watch", self._role, name=name, autocommit=True)
        return self._connection


@contextmanager
def hold_flow(settings: Settings, name: str, life: Lifecycle) -> Iterator[bool]:
    """Let the block of a flow or an agent begin when it may run, and tell it to end when a recovery begins. False: it
    was asked to stop before."""
    hold = Hold(settings, name, "flows", FLOWS_HOLD, life)

    def end() -> None:
        life.fail(Fenced("`adriatic recover` makes everything anew", hint="it goes on by itself"))
        life.stop()  # one that waits for an operator is to begin anew as well

    with _hold_until_over(hold, end) as free:
        yield free


@contextmanager
def hold_capture(settings: Settings, life: Lifecycle, stop: Callable[[], None]) -> Iterator[bool]:
    """The same for change capture, which `stop` ends."""
    with _hold_until_over(Hold(settings, "cdc", "cdc", CAPTURE_HOLDS, life), stop) as free:
        yield free


@contextmanager
def _hold_until_over(hold: Hold, end: Callable[[], None]) -> Iterator[bool]:
    free = True
    try:
        try:
            hold.wait()
            hold.watch(end)
        except StopRequested:
            free = False
        yield free
    finally:
        hold.close()
    if hold.begun:
        # Whoever keeps this process starts it again only for certain when it failed.
        raise SystemExit(1)
