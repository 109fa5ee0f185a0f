"""The loop of change capture: sources of records, stepped through in turn by one thread.

Owns whose turn it is. The stream of the WAL is one source, a snapshot is another; they interleave when both are given.
Refuses to know what a step does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from connectors.capture.ports import Stopping


class RecordSource(Protocol):
    """Records, piece by piece."""

    @property
    def done(self) -> bool:
        """Whether nothing more will come of it."""

    def step(self) -> bool:
        """Do what can be done now, a bounded piece, with the duties that come with it. Whether there is more to do at
        once."""

    def wait(self) -> None:
        """Wait until there may be more to do, for a bounded time."""


def drive(sources: Sequence[RecordSource], stopping: Stopping) -> None:
    """Step through all of them until they are done, or until asked to stop. Raises what ends one of them."""
    while not stopping() and (live := [source for source in sources if not source.done]):
        busy = [source.step() for source in live]
        if not any(busy):
            live[0].wait()
