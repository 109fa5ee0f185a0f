"""Slots of one endpoint: how many ask it at a time, and who waits for whom.

Owns the places in flight, and a bounded queue that is fair between tenants: deficit round robin (Shreedhar and
Varghese, 1995), where a request costs the tokens that it may use, so that neither many requests nor large ones of one
tenant keep the others waiting. When the queue is full, a tenant that waits with little takes the place of the newest
request of the one that waits with most. Refuses to know providers and breakers.

A slot is a lease: it is given back once, however its answer ends. Waiting can be cancelled at any moment.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final
from uuid import UUID

from runtime.errors import AdriaticError, DependencyUnavailable, RateLimited

QUANTUM_TOKENS: Final = 8_192
"""What a tenant may use in each round: a long question with its answer. Smaller ones go together in one round, larger
ones save up for several."""
COST_TOKENS_MAX: Final = 1_048_576
"""What a request counts for at most: with it, a slot is found after 128 rounds."""


class SlotLease:
    """One place in flight."""

    def __init__(self, slots: EndpointSlots) -> None:
        self._slots: EndpointSlots | None = slots

    def release(self) -> None:
        """Give it back. Idempotent."""
        slots, self._slots = self._slots, None
        if slots:
            slots.take_back()


class _Waiter:
    """A request in the queue. Its future gets a slot, or why there is none."""

    def __init__(self, tenant_id: UUID, cost_tokens: int) -> None:
        self.tenant_id = tenant_id
        self.cost_tokens = max(1, min(cost_tokens, COST_TOKENS_MAX))
        self.served: asyncio.Future[SlotLease] = asyncio.get_running_loop().create_future()


class _TenantQueue:
    """One tenant's requests, the oldest first, and what it may still use in this round."""

    def __init__(self) -> None:
        self.waiters: deque[_Waiter] = deque()
        self.deficit_tokens = 0


class EndpointSlots:
    """One endpoint's. `on_change` hears of each change of `in_flight` and `waiting`."""

    def __init__(
        self,
        name: str,
        in_flight_max: int,
        waiting_max: int,
        on_change: Callable[[EndpointSlots], object] = lambda slots: None,
    ) -> None:
        self._name = name
        self._in_flight_max = in_flight_max
        self._waiting_max = waiting_max
        self._on_change = on_change
        self._queues: OrderedDict[UUID, _TenantQueue] = OrderedDict()
        self.in_flight = 0
        self.waiting = 0

    @property
    def free(self) -> bool:
        """Whether a slot is there at once."""
        return self.in_flight < self._in_flight_max

    async def take(self, tenant_id: UUID, cost_tokens: int, wait_s: float) -> SlotLease:
        """A slot, after `wait_s` seconds at most.

        Raises `DependencyUnavailable` when none came free in time or the queue is full, and `RateLimited` when it is
        full of this tenant's own requests.
        """
        if self.free:  # nobody waits then: a slot that comes free is handed on
            return self._grant()
        self._make_room(tenant_id)
        waiter = _Waiter(tenant_id, cost_tokens)
        self._queues.setdefault(tenant_id, _TenantQueue()).waiters.append(waiter)
        self._count(waiting=1)
        try:
            await asyncio.wait({waiter.served}, timeout=wait_s)
        except asyncio.CancelledError:
            self._leave(waiter)
            raise
        if not waiter.served.done():
            self._leave(waiter)
            raise DependencyUnavailable(f"{self._name} had no slot free within {wait_s:g} s", hint="ask again")
        return waiter.served.result()

    def resize(self, in_flight_max: int) -> None:
        """Have another number of slots. What is taken stays taken; the next that is given back finds its successors."""
        self._in_flight_max = in_flight_max

    def take_free(self) -> SlotLease | None:
        """A slot, if one is free at this moment."""
        return self._grant() if self.free else None

    def take_back(self) -> None:
        """A slot is free: the next in turn has it."""
        self._count(in_flight=-1)
        while self.free and (waiter := self._next()):
            waiter.served.set_result(self._grant())

    # --- the queue --------------------------------------------------------------------------------------------------

    def _next(self) -> _Waiter | None:
        """The request whose turn it is, taken out of the queue; None when nobody waits."""
        while self._queues:
            tenant_id, queue = next(iter(self._queues.items()))
            if queue.waiters[0].cost_tokens <= queue.deficit_tokens:
                waiter = queue.waiters.popleft()
                queue.deficit_tokens -= waiter.cost_tokens
                self._tidy(tenant_id, queue)
                self._count(waiting=-1)
                return waiter
            queue.deficit_tokens += QUANTUM_TOKENS
            self._queues.move_to_end(tenant_id)
        return None

    def _make_room(self, tenant_id: UUID) -> None:
        if self.waiting < self._waiting_max:
            return
        mine = len(self._queues[tenant_id].waiters) if tenant_id in self._queues else 0
        most_id = max(self._queues, key=lambda each: len(self._queues[each].waiters), default=None)
        if most_id is None or len(self._queues[most_id].waiters) <= mine + 1:
            raise self._full(of_tenant=mine > 0)
        pushed_out = self._queues[most_id].waiters[-1]
        self._leave(pushed_out)
        pushed_out.served.set_exception(self._full(of_tenant=True))

    def _full(self, *, of_tenant: bool) -> AdriaticError:
        if of_tenant:
            return RateLimited(f"this tenant has its share of the requests that wait for {self._name}", hint="wait")
        return DependencyUnavailable(f"{self._waiting_max} requests wait for {self._name}", hint="ask again")

    def _leave(self, waiter: _Waiter) -> None:
        """Takes a request out of the queue; a slot that was handed over in the same moment goes on to the next."""
        if waiter.served.done():
            if not waiter.served.exception():
                waiter.served.result().release()
            return
        queue = self._queues[waiter.tenant_id]
        queue.waiters.remove(waiter)
        self._tidy(waiter.tenant_id, queue)
        self._count(waiting=-1)

    def _tidy(self, tenant_id: UUID, queue: _TenantQueue) -> None:
        if not queue.waiters:  # whoever waits no more saves up nothing
            del self._queues[tenant_id]

    def _grant(self) -> SlotLease:
        self._count(in_flight=1)
        return SlotLease(self)

    def _count(self, *, in_flight: int = 0, waiting: int = 0) -> None:
        self.in_flight += in_flight
        self.waiting += waiting
        self._on_change(self)
