"""What is asked in the same milliseconds goes together; each learns its own answer, and nobody waits for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from api.db import CallRefused
from api.gathering import TOGETHER_MAX, Gatherer
from runtime.errors import Conflict, DependencyUnavailable

ONE, TWO = UUID(int=1), UUID(int=2)


class Database:
    """Answers when it is told to. `bad` are refused, alone and with others."""

    def __init__(self) -> None:
        self.statements: list[list[int]] = []
        self.gate = asyncio.Event()
        self.bad: set[int] = set()
        self.away = False
        self.gatherer = Gatherer[int, int](self.ask_all, self.ask)

    async def ask_all(self, _tenant_id: UUID, several: Sequence[int]) -> Sequence[int]:
        self.statements.append([*several])
        await self.gate.wait()
        if self.away:
            raise DependencyUnavailable("away")
        if self.bad & {*several}:
            raise CallRefused("AT004", "")
        return [-each for each in several]

    async def ask(self, one: int) -> int:
        self.statements.append([one])
        await self.gate.wait()
        if self.away:
            raise DependencyUnavailable("away")
        if one in self.bad:
            raise Conflict("bad")
        return -one

    def add(self, *numbers: int, tenant_id: UUID = ONE) -> list[asyncio.Task[int]]:
        return [asyncio.create_task(self.gatherer.add(tenant_id, number)) for number in numbers]

    async def turn(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


async def test_one_alone_is_asked_at_once() -> None:
    database = Database()
    database.gate.set()
    assert await database.gatherer.add(ONE, 1) == -1
    assert database.statements == [[1]]


async def test_what_comes_while_one_is_under_way_goes_together() -> None:
    database = Database()
    first = database.add(1)
    await database.turn()
    later = database.add(2, 3, 4)
    await database.turn()
    assert database.statements == [[1]]
    database.gate.set()
    assert await asyncio.gather(*first, *later) == [-1, -2, -3, -4]
    assert database.statements == [[1], [2, 3, 4]]


async def test_a_tenant_waits_for_no_other() -> None:
    database = Database()
    database.add(1)
    await database.turn()
    database.add(2, tenant_id=TWO)
    await database.turn()
    assert database.statements == [[1], [2]]
    await database.gatherer.close()


async def test_no_statement_is_longer_than_its_bound() -> None:
    database = Database()
    first = database.add(0)
    await database.turn()
    later = database.add(*range(1, 2 * TOGETHER_MAX))
    await database.turn()
    database.gate.set()
    assert await asyncio.gather(*first, *later) == [-number for number in range(2 * TOGETHER_MAX)]
    assert [len(each) for each in database.statements] == [1, TOGETHER_MAX, TOGETHER_MAX - 1]


async def test_who_is_refused_learns_it_and_its_neighbours_do_not() -> None:
    database = Database()
    database.bad = {3}
    asked = database.add(1, 2, 3, 4)
    await database.turn()
    database.gate.set()
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert [*told[:2], told[3]] == [-1, -2, -4]
    assert isinstance(told[2], Conflict)
    assert database.statements == [[1, 2, 3, 4], [1], [2], [3], [4]]


async def test_a_database_that_is_away_is_asked_once_for_all() -> None:
    database = Database()
    database.away = True
    asked = database.add(1, 2)
    await database.turn()
    database.gate.set()
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(each, DependencyUnavailable) for each in told)
    assert database.statements == [[1, 2]]
    database.away = False
    assert await database.gatherer.add(ONE, 5) == -5


async def test_a_caller_who_leaves_takes_nobody_along() -> None:
    database = Database()
    left, stayed = database.add(1, 2)
    await database.turn()
    left.cancel()
    database.gate.set()
    assert await stayed == -2
    with pytest.raises(asyncio.CancelledError):
        await left


async def test_closing_leaves_nobody_waiting() -> None:
    database = Database()
    asked = database.add(1, 2)
    await database.turn()
    later = database.add(3)
    await database.turn()
    await database.gatherer.close()
    done, waiting = await asyncio.wait([*asked, *later], timeout=10)
    assert not waiting
    assert all(each.cancelled() for each in done)
