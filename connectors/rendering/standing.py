"""Whether there is a browser that renders, as far as this process knows.

Owns the words: `off`, `unknown` until one was seen to start, `ready`, `failing` with the reason. What one page makes
of its browser (too slow, too large, a crash) is that page's, and counted; that none starts is everybody's. Refuses to
start one: `pool` does.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from connectors.rendering import NotRendered, Rendered
from runtime import metrics

State = Literal["off", "unknown", "ready", "failing"]
STATES: Final[tuple[State, ...]] = get_args(State)


class RenderStanding:
    """Noted by many threads, read by another."""

    def __init__(self, setting: str) -> None:
        self._lock = threading.Lock()
        self._setting = setting
        self._state: State = "unknown"
        self._detail = "no browser was started yet"
        self._outcomes: Counter[str] = Counter()
        self._change("off" if setting == "off" else "unknown", self._detail)

    @property
    def state(self) -> State:
        return self._state

    def see(self, answer: Rendered | NotRendered) -> None:
        """What came of a page that harms no browser. That none was free says nothing of it."""
        if isinstance(answer, Rendered):
            self._change("ready", "")
        elif answer.code != "busy":
            self._change("failing", answer.detail)

    def note(self, answer: Rendered | NotRendered) -> None:
        """What came of somebody's page."""
        if isinstance(answer, Rendered) or answer.code == "no-browser":
            self.see(answer)
        with self._lock:
            self._outcomes["rendered" if isinstance(answer, Rendered) else answer.code] += 1

    def report(self) -> Mapping[str, Any]:
        """The word, why, which browser settings name, and what came of pages since the start."""
        with self._lock:
            pages = dict(self._outcomes)
            return {"state": self._state, "detail": self._detail, "browser": self._setting, "pages": pages}

    def _change(self, state: State, detail: str) -> None:
        with self._lock:
            self._state, self._detail = state, "" if state == "off" else detail
            for each in STATES:
                metrics.CRAWL_BROWSER.labels(each).set(each == state)
