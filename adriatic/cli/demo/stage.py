"""What every act of `adriatic demo` has at hand: the API as one tenant's user sees it, the time that is left, and a
place for what went wrong.

Owns waiting and the account of faults. Refuses to know any act.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from adriatic.cli.demo.live import LiveReader
from adriatic.cli.demo.story import StoryDay
from adriatic.cli.remote import Remote
from runtime.clock import Clock
from runtime.deadline import Deadline
from runtime.settings import Settings

POLL_S = 0.25
Facts = dict[str, Any]


@dataclass
class Stage:
    """One run. `facts` are what the acts found out, by their names; `faults` what should have been otherwise."""

    settings: Settings
    tenant: str
    url: str
    token: str
    remote: Remote
    clock: Clock
    deadline: Deadline
    day: StoryDay
    readers: dict[str, LiveReader] = field(default_factory=dict)
    facts: Facts = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def get(self, path: str, **query: Any) -> Any:
        return self.ask("GET", path, **query)

    def ask(self, method: str, path: str, body: Facts | None = None, **query: Any) -> Any:
        return self.remote.request(method, path, dict[str, Any], body=body, **query)

    def get_when(self, done: Callable[[Facts], bool], what: str, path: str, **query: Any) -> Facts:
        """What is at `path` once it is `done`, or when the time of the demo is over; then that is noted as `what`."""
        found: Facts = {}

        def look() -> bool:
            found.update(self.get(path, **query))
            return done(found)

        self.until(what, look)
        return found

    def until(self, what: str, done: Callable[[], bool]) -> bool:
        """Wait until `done`, or note that `what` did not happen in the time of the demo."""
        while not done():
            if self.deadline.passed:
                self.faults.append(f"in time: {what}")
                return False
            self.clock.sleep(POLL_S)
        return True

    def rows(self, view: str) -> list[Facts]:
        """The rows of a live view as they are now; none while its snapshot is on its way."""
        picture = self.readers[view].picture
        return picture.rows if picture.complete else []
