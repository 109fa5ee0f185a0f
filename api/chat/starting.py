"""When an answer may begin: so many in each beat of the loop as it bears, so that those that run stay smooth.

To begin an answer takes some milliseconds of the loop that all running answers share: its request, its grounding, its
rows. Hundreds that come at once would hold up every stream for seconds. So starts are let in by beats, fewer when the
loop comes late to one and more when it does not; the rest wait, bounded in number and time, fairly between tenants.

What is read before an answer begins, its passages and its conversation, takes connections of the database. As many
questions as there are connections are prepared at a time; the rest wait in the same way.

Owns the rate and the queues of this process. Refuses to know who answers: slots of providers are
`connectors/llm/routing/slots.py`, whose queue this is too.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final
from uuid import UUID

from connectors.llm.routing.slots import QUANTUM_TOKENS, EndpointSlots, SlotLease
from runtime import metrics
from runtime.clock import Clock
from runtime.deadline import Deadline
from runtime.errors import AdriaticError, DependencyUnavailable
from runtime.settings import LlmSettings

BEAT_S: Final = 0.02
"""Time between two beats, in seconds: what a stream may be held up by what is let in at one of them."""
LATE_S: Final = 0.02
"""A loop that comes later to a beat than this lets in half as many at the next: two frames of a screen."""
IN_TIME_S: Final = 0.008
"""A loop that comes no later than this may bear more."""
STARTS_FIRST: Final = 8
STARTS_MAX: Final = 512
"""Starts in a beat. No process of Python makes more."""
UNPACED: Final = 64
"""Answers below which nobody is held back: what so few can hold up is nothing that a reader sees."""
RETRY_S_MAX: Final = 30


class StartRate:
    """How many starts each beat lets in. Pure: told how late the loop was, and whether all were used."""

    def __init__(self) -> None:
        self.per_beat = STARTS_FIRST

    def hear(self, late_s: float, *, used: bool) -> None:
        """Grows by an eighth, and at least one, while all are used and the loop is in time; halves when it is late."""
        if late_s > LATE_S:
            self.per_beat = max(1, self.per_beat // 2)
        elif used and late_s <= IN_TIME_S:
            self.per_beat = min(STARTS_MAX, self.per_beat + max(1, self.per_beat // 8))


class StartTurns:
    """The turns of each beat, and the queue for them: whoever beats says how late it is. `waiting_max` may wait, for
    `wait_s` seconds each; `count_running` says how many answers run."""

    def __init__(
        self,
        waiting_max: int,
        wait_s: float,
        count_running: Callable[[], int],
        on_change: Callable[[EndpointSlots], object] = lambda slots: None,
    ) -> None:
        self._wait_s = wait_s
        self._count_running = count_running
        self._rate = StartRate()
        self._slots = EndpointSlots("the start of an answer", UNPACED, waiting_max, on_change)
        self._leases: list[SlotLease] = []

    @property
    def free(self) -> bool:
        """Whether an answer may begin at once."""
        return self._slots.free

    @property
    def used(self) -> bool:
        """Whether an answer began since the last beat. Nobody waits where none did."""
        return self._slots.in_flight > 0

    async def take(self, tenant_id: UUID) -> None:
        """Wait for a turn to begin. There is nothing to give back: a turn is over with its beat. Waiting may be
        cancelled. Raises `DependencyUnavailable` when too many wait or none came in time, and `RateLimited` when those
        who wait are mostly of this tenant; both say when to come again."""
        try:
            # One of each tenant in a round.
            lease = await self._slots.take(tenant_id, QUANTUM_TOKENS, self._wait_s)
        except AdriaticError as error:
            error.coordinates["retry_after_s"] = self._guess_wait_s()
            raise
        self._leases.append(lease)

    @property
    def waiting(self) -> int:
        return self._slots.waiting

    def beat(self, late_s: float) -> None:
        """The turns of the last beat are over, and the next in the queue have theirs."""
        self._rate.hear(late_s, used=not self._slots.free)
        self._slots.resize(max(self._rate.per_beat, UNPACED - self._count_running()))
        leases, self._leases = self._leases, []
        for lease in leases:
            lease.release()

    def _guess_wait_s(self) -> int:
        """How long it is until those who wait now have begun, at the rate of now."""
        return min(RETRY_S_MAX, max(1, math.ceil(self._slots.waiting / self._rate.per_beat * BEAT_S)))


class StartPacer:
    """The turns of this process, on its loop, and the places to prepare an answer. It beats while answers begin, and
    rests while none do. `places` is how many questions may read from the database at a time."""

    def __init__(self, settings: LlmSettings, clock: Clock, count_running: Callable[[], int], places: int) -> None:
        waiting_max, self._wait_s = settings.starts_waiting_max, settings.start_wait_s
        self._turns = StartTurns(waiting_max, self._wait_s, count_running, self._show)
        self._places = EndpointSlots("the preparing of an answer", places, waiting_max, self._show)
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None

    @property
    def free(self) -> bool:
        """Whether an answer may begin at once."""
        return self._turns.free and self._places.free

    async def take(self, tenant_id: UUID) -> SlotLease:
        """Wait for a turn to begin, and for a place to prepare, which is to be given back when the answer begins. Both
        together wait for `llm.start_wait_s`. Raises as `StartTurns.take` does."""
        began_s, deadline = self._clock.monotonic(), Deadline.after(self._wait_s, self._clock)
        try:
            await self._turns.take(tenant_id)
            if self._timer is None:
                self._arm()
            lease = await self._take_place(tenant_id, deadline)
        except AdriaticError as error:
            reason = "unavailable" if isinstance(error, DependencyUnavailable) else "share"
            metrics.CHAT_STARTS_REFUSED.labels(reason).inc()
            raise
        metrics.CHAT_START_WAIT_SECONDS.observe(self._clock.monotonic() - began_s)
        return lease

    async def _take_place(self, tenant_id: UUID, deadline: Deadline) -> SlotLease:
        try:
            return await self._places.take(tenant_id, QUANTUM_TOKENS, deadline.left_s)
        except AdriaticError as error:
            # Those who wait could not be prepared in the time that this one had.
            error.coordinates["retry_after_s"] = min(RETRY_S_MAX, math.ceil(self._wait_s))
            raise

    def close(self) -> None:
        """Beat no more. Whoever waits still waits for its time."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        due_s = self._clock.monotonic() + BEAT_S
        self._timer = asyncio.get_running_loop().call_later(BEAT_S, self._beat, due_s)

    def _beat(self, due_s: float) -> None:
        late_s = max(0.0, self._clock.monotonic() - due_s)
        metrics.CHAT_LOOP_LATE_SECONDS.set(late_s)
        self._turns.beat(late_s)
        self._timer = None
        if self._turns.used:
            self._arm()

    def _show(self, _changed: EndpointSlots) -> None:
        metrics.CHAT_STARTS_WAITING.set(self._turns.waiting + self._places.waiting)
