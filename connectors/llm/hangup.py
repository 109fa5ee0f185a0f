"""Closing a provider's connection from outside of the task that reads it, in the moment in which that is decided.

Cancelling a task closes its connection too, when its turn in the loop comes. When thousands of callers leave at once,
that turn comes after all of theirs: seconds in which providers write, and charge, what nobody reads.

Owns where the reading task says how. Refuses to decide anything, and to know what a connection is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

_CURRENT: ContextVar[HangUp | None] = ContextVar("hangup", default=None)


class HangUp:
    """How to close what one task reads. Does nothing before there is a connection, and may be used twice."""

    __slots__ = ("_close",)

    def __init__(self) -> None:
        self._close: Callable[[], object] | None = None

    def offer(self, close: Callable[[], object]) -> None:
        """`close` neither waits nor raises, and does nothing where the connection is no longer this task's."""
        self._close = close

    def use(self) -> bool:
        """Close it; False where there is nothing to close."""
        if self._close:
            self._close()
        return self._close is not None


def listen() -> HangUp:
    """That of the task in hand, from here on."""
    made = HangUp()
    _CURRENT.set(made)
    return made


def offer(close: Callable[[], object]) -> None:
    """Say how to close what this task reads, where somebody listens."""
    if found := _CURRENT.get():
        found.offer(close)
