"""Slots: bounded, fair between tenants, and given back whatever is cancelled when."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from uuid import UUID, uuid4

import pytest

from connectors.llm.routing.slots import QUANTUM_TOKENS, EndpointSlots, SlotLease
from runtime.errors import DependencyUnavailable, RateLimited
from tests.patience import PATIENCE_S

ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))
SMALL = 1_000


async def settled() -> None:
    """Every task that can go on has gone on."""
    for _ in range(5):
        await asyncio.sleep(0)


class Queue:
    """Requests that note in which order they were served."""

    def __init__(self, slots: EndpointSlots) -> None:
        self.slots = slots
        self.served: list[UUID] = []
        self.leases: list[SlotLease] = []

    async def ask(self, tenant_id: UUID, cost_tokens: int = SMALL) -> None:
        self.leases.append(await self.slots.take(tenant_id, cost_tokens, PATIENCE_S))
        self.served.append(tenant_id)

    def start(self, tenant_id: UUID, cost_tokens: int = SMALL) -> asyncio.Task[None]:
        return asyncio.create_task(self.ask(tenant_id, cost_tokens))

    async def serve(self, count: int) -> list[UUID]:
        """The next so many, one slot after the other."""
        before = len(self.served)
        while len(self.served) < before + count:
            self.leases.pop().release()
            await settled()
        return self.served[before:]


async def test_as_many_at_a_time_as_there_are_slots() -> None:
    slots = EndpointSlots("test", 2, 10)
    queue = Queue(slots)
    tasks = [queue.start(ONE) for _ in range(5)]
    await settled()
    assert (slots.in_flight, slots.waiting, slots.free) == (2, 3, False)
    await queue.serve(3)
    assert slots.waiting == 0
    await asyncio.gather(*tasks)
    while queue.leases:
        lease = queue.leases.pop()
        lease.release()
        lease.release()
    assert (slots.in_flight, slots.free) == (0, True)


async def test_many_of_one_tenant_do_not_keep_another_waiting() -> None:
    queue = Queue(EndpointSlots("test", 1, 1_000))
    tasks = [queue.start(ONE) for _ in range(101)]
    await settled()
    tasks += [queue.start(TWO) for _ in range(4)]
    await settled()
    served = await queue.serve(20)
    in_a_round = QUANTUM_TOKENS // SMALL
    assert served.count(TWO) == 4, "the few are served within the rounds of the many"
    assert in_a_round <= served.index(TWO) + 1 <= 2 * in_a_round
    await queue.serve(84)
    await asyncio.gather(*tasks)


async def test_large_requests_count_for_what_they_are() -> None:
    """Tenants that always wait share by tokens: one with requests eight times as large has an eighth of the turns."""
    queue = Queue(EndpointSlots("test", 1, 1_000))
    first = queue.start(THREE)
    await settled()
    tasks = [queue.start(ONE, QUANTUM_TOKENS) for _ in range(40)]
    tasks += [queue.start(TWO, QUANTUM_TOKENS // 8) for _ in range(320)]
    await settled()
    served = Counter(await queue.serve(180))
    assert served[ONE] == 20
    assert served[TWO] == 160
    for task in [first, *tasks]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_queue_that_is_full_refuses_at_once() -> None:
    queue = Queue(EndpointSlots("test", 1, 2))
    tasks = [queue.start(tenant) for tenant in (ONE, ONE, TWO)]
    await settled()
    with pytest.raises(RateLimited):
        await queue.slots.take(ONE, SMALL, PATIENCE_S)
    with pytest.raises(DependencyUnavailable):
        await queue.slots.take(THREE, SMALL, PATIENCE_S)
    await queue.serve(2)
    await asyncio.gather(*tasks)


async def test_whoever_waits_with_most_makes_room_for_another() -> None:
    queue = Queue(EndpointSlots("test", 1, 3))
    many = [queue.start(ONE) for _ in range(4)]
    await settled()
    other = queue.start(TWO)
    await settled()
    newest = many.pop()
    with pytest.raises(RateLimited):
        await newest
    assert queue.slots.waiting == 3
    assert sorted(await queue.serve(3)) == [ONE, ONE, TWO]
    await asyncio.gather(other, *many)


async def test_nobody_waits_longer_than_they_may() -> None:
    queue = Queue(EndpointSlots("test", 1, 3))
    await queue.ask(ONE)
    with pytest.raises(DependencyUnavailable, match="no slot free"):
        await queue.slots.take(TWO, SMALL, 0.01)
    assert queue.slots.waiting == 0
    queue.leases.pop().release()
    assert queue.slots.in_flight == 0


async def test_a_slot_that_is_handed_over_as_its_request_is_cancelled_goes_on_to_the_next() -> None:
    queue = Queue(EndpointSlots("test", 1, 3))
    await queue.ask(ONE)
    leaves, stays = queue.start(TWO), queue.start(THREE)
    await settled()
    queue.leases.pop().release()  # it is the leaver's now, who has not run yet
    leaves.cancel()
    await asyncio.wait_for(stays, PATIENCE_S)
    assert queue.served == [ONE, THREE]
    assert queue.slots.in_flight == 1


@pytest.mark.parametrize("seed", range(25))
async def test_whatever_is_cancelled_when_every_slot_comes_back(seed: int) -> None:
    chance, slots = random.Random(seed), EndpointSlots("test", 3, 20)
    most = 0
    tenants = [uuid4() for _ in range(4)]

    async def ask() -> None:
        nonlocal most
        lease = await slots.take(chance.choice(tenants), chance.randrange(30_000), chance.choice((0.001, PATIENCE_S)))
        most = max(most, slots.in_flight)
        try:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        finally:
            lease.release()

    tasks = []
    for _ in range(200):
        tasks.append(asyncio.create_task(ask()))
        if chance.random() < 0.3:
            chance.choice(tasks).cancel()
        if chance.random() < 0.5:
            await asyncio.sleep(0)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    wanted = (RateLimited, DependencyUnavailable, asyncio.CancelledError, type(None))
    assert all(isinstance(outcome, wanted) for outcome in outcomes)
    assert (slots.in_flight, slots.waiting) == (0, 0)
    assert 0 < most <= 3
