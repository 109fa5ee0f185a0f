"""A part of the system, as data, and the words for the state that it is in.

Owns the vocabulary that the supervisor, its report and `adriatic status` share. Refuses behaviour.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

Kind = Literal["service", "step"]
"""A service runs until it is stopped; a step runs once for each start of the system and is safe to repeat."""

State = Literal["pending", "starting", "ready", "waiting", "done", "broken", "stopping", "stopped"]
"""pending: its dependencies are not there yet. starting: begun, not ready. ready. waiting: alive, and says itself
that it waits for something. done: a step that succeeded. broken: ended or hung, and starts again after a pause.
stopping, stopped: on purpose."""

GOOD: frozenset[State] = frozenset({"ready", "done"})


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe found. `answered` false: nobody there. `reasons`: why it is not ready."""

    answered: bool
    ready: bool = False
    reasons: str = ""


Probe = Callable[[], ProbeResult]
"""May block for some seconds; runs on a thread. Never raises."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process, or one step. `depends_on` orders starts, and stops the other way round."""

    name: str
    kind: Kind = "service"
    command: Sequence[str] = ()
    call: Callable[[], None] | None = None
    """A step without a process of its own: called on a thread; an exception is a failure."""
    clear: Callable[[], None] | None = None
    """Called on a thread before each start of its process: ends what the one before left behind."""
    depends_on: Sequence[str] = ()
    starts_early: bool = False
    """Waits for its dependencies by itself (and says so), so that its own start overlaps with theirs."""
    background: bool = False
    """The system is ready without it."""
    probe: Probe | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_grace_s: float = 15.0
    """How long it may take to end after `stop_signal` before it is killed."""
    start_max_s: float = 120.0
    """How long it may take to answer its probe for the first time before it counts as hung."""
    about: str = ""
    """Where it is and what it is, for people: an address, a version."""


class PartReport(msgspec.Struct, frozen=True, kw_only=True):
    """How one part is. Times are seconds since 1970, UTC."""

    name: str
    kind: Kind
    state: State
    since: float
    about: str = ""
    background: bool = False
    pid: int | None = None
    started_at: float | None = None
    """When its process was created, as the system says; with `pid` it names a process beyond doubt."""
    restarts: int = 0
    reasons: str = ""
    last_error: str = ""
    last_error_at: float | None = None
    start_s: float | None = None
    """How long it took from the start of its process (or step) to ready, the last time."""
    attempts_failed: int = 0
    """How many in a row, without a good moment between."""


class SystemReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the system is, as its supervisor last saw it."""

    pid: int
    started_at: float
    """When the supervisor's process was created."""
    written_at: float
    begun_at: float
    """When it began to start the parts."""
    ready_s: float | None
    """How long it took from `begun_at` until everything was good for the first time."""
    stopping: bool
    parts: list[PartReport]

    @property
    def good(self) -> bool:
        return all(part.state in GOOD for part in self.parts if not part.background)
