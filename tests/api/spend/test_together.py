"""Attempts that come into the books together leave there what each would have left by itself, or nothing at all.

Both ways are asked the same on tenants of their own, and the rows are compared: the functions of the database that do
one at a time are the older and simpler ones.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest

from api.chat import ledger
from api.chat.ledger import Beginning, Noted
from api.chat.limits import UseLimits
from api.db import CallRefused
from api.spend.purse import MoreAsked, reserve, reserve_all
from connectors.llm import Tokens, TokenUsage
from runtime.errors import AdriaticError
from runtime.ids import new_id
from runtime.settings import LimitSettings, Settings
from tests.api.spend.books import PRICE, Asking, Books, keeping

pytestmark = pytest.mark.stack

LIMITS = LimitSettings(user_requests_per_minute=6, user_streams=5, new_user_requests=100, tenant_tokens_per_day=50_000)
FREE = "extractive"
STATE = {
    "windows": """
      select b.level, b.subject = '' as is_org, w.spent_micro_usd, w.reserved_micro_usd
      from app.budget_windows w join app.budgets b using (tenant_id, budget_id)
      where w.tenant_id = $1 order by 1, 2, 3, 4
    """,
    "uses": """
      select split_part(subject, ':', 1) as whose, unit, time_window, used from app.limit_uses
      where tenant_id = $1 and used > 0 order by 1, 2, 3, 4
    """,
    "leases": "select reserved_micro_usd from app.leases where tenant_id = $1 order by 1",
    "attempts": """
      select provider, model, key_id, input_bytes, output_tokens_max, price_id, cost_read_micro_usd, cost_max_micro_usd
      from app.attempts where tenant_id = $1 order by 1, 2, 3, 4, 5
    """,
    "answers": "select question, ended_at is null as runs from app.answers where tenant_id = $1 order by 1",
    "events": """
      select key_id, provider, outcome, input_uncached, output_visible, cost_micro_usd, usage_source, unseen_tokens_max
      from app.usage_events where tenant_id = $1 order by 1, 2, 3, 4, 5
    """,
}


@pytest.fixture
async def two(shared_database: Settings) -> AsyncIterator[tuple[Books, Books]]:
    async with keeping(shared_database) as one, keeping(shared_database) as other:
        yield one, other


async def read(books: Books) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for name, statement in STATE.items():
        found[name] = [dict(row) for row in await books.admin.fetch(statement, books.tenant_id)]
    return found


class Scene:
    """One tenant with three people and its budgets, and attempts to begin, all by one seed."""

    def __init__(self, books: Books, seed: int) -> None:
        self.books = books
        self.dice = random.Random(seed)
        self.askings: list[Asking] = []
        self.beginnings: list[Beginning] = []
        self.begun: set[UUID] = set()

    async def set(self) -> Scene:
        dice, books = self.dice, self.books
        people = [await books.user() for _ in range(3)]
        if dice.random() < 0.8:
            await books.budget(people[0], "org", dice.choice([1_000, 3_000, 1_000_000]))
        if dice.random() < 0.6:
            await books.budget(people[0], "user", dice.choice([700, 2_000, 1_000_000]), str(people[0]))
        if dice.random() < 0.4:
            await books.budget(people[0], "key", dice.choice([700, 1_000_000]), "web", period="prepaid")
        for number in range(dice.randint(2, 8)):
            asking = Asking(
                books,
                dice.choice(people),
                key_id=dice.choice([None, "web", "cli"]),
                price=PRICE if dice.random() < 0.95 else None,
                output_tokens_max=dice.choice([10, 100, 2_000]),
            )
            limits = UseLimits(LIMITS) if dice.random() < 0.8 else None
            noted = Noted(new_id(), f"question {number}") if dice.random() < 0.5 else None
            self.askings.append(asking)
            self.beginnings.append(Beginning(asking.attempt, asking.meter, asking.purse, limits, noted))
        return self

    def begin_all(self) -> Any:
        books = self.books
        return ledger.begin_all(books.database, books.process_id, books.tenant_id, self.beginnings)

    async def begin_each(self) -> list[Any]:
        return [
            await ledger.begin(self.books.database, self.books.process_id, beginning) for beginning in self.beginnings
        ]

    def ask_more(self, amount: int) -> list[MoreAsked]:
        """So much more for each attempt that was begun."""
        return [
            MoreAsked(self.books.tenant_id, asking.attempt.attempt_id, amount)
            for asking in self.askings
            if asking.attempt.attempt_id in self.begun
        ]

    def entries(self) -> list[ledger.Entry]:
        found = []
        for asking in self.askings:
            if self.dice.random() < 0.7:
                counted = Tokens(input_uncached=self.dice.randint(0, 200), output_visible=self.dice.randint(0, 100))
                asking.meter.usage(TokenUsage(counted, complete=True))
            asking.meter.ask()
            outcome: ledger.Outcome = self.dice.choice(["completed", "failed", "cancelled"])
            found.append(asking.meter.entry(asking.attempt, outcome, ""))
        return found


@pytest.mark.parametrize("seed", range(24))
async def test_together_is_as_one_after_the_other(two: tuple[Books, Books], seed: int) -> None:
    one, other = [await Scene(books, seed).set() for books in two]
    before = await read(one.books)
    refused = False
    try:
        together = await one.begin_all()
    except CallRefused:
        refused = True
    if refused:
        assert await read(one.books) == before, "what is refused leaves nothing"
        with pytest.raises(AdriaticError):
            await other.begin_each()
        return
    alone = await other.begin_each()
    assert await read(one.books) == await read(other.books)
    assert [len(each) for each in together] == [len(each) for each in alone]
    assert [a.purse.reserved_micro_usd for a in one.askings] == [a.purse.reserved_micro_usd for a in other.askings]
    await ledger.settle_all(one.books.database, one.books.tenant_id, one.entries())
    for entry in other.entries():
        await ledger.settle(other.books.database, entry)
    assert await read(one.books) == await read(other.books)


@pytest.mark.parametrize("seed", range(12))
async def test_more_together_is_as_one_after_the_other(two: tuple[Books, Books], seed: int) -> None:
    one, other = [await Scene(books, seed).set() for books in two]
    for scene in (one, other):
        for beginning in scene.beginnings:
            with suppress(AdriaticError, CallRefused):
                await ledger.begin(scene.books.database, scene.books.process_id, beginning)
                scene.begun.add(beginning.attempt.attempt_id)
    amount = random.Random(seed).choice([10, 300, 5_000])
    asked = [scene.ask_more(amount) for scene in (one, other)]
    before = await read(one.books)
    try:
        together = await reserve_all(one.books.database, one.books.tenant_id, asked[0])
    except CallRefused:
        assert await read(one.books) == before, "what is refused leaves nothing"
        told = [await reserve(other.books.database, each) for each in asked[1]]
        assert any(each and each.is_refused for each in told)
        return
    alone = [await reserve(other.books.database, each) for each in asked[1]]
    assert await read(one.books) == await read(other.books)
    assert [each is None for each in together] == [each is None for each in alone]


async def test_no_more_is_reserved_for_an_attempt_that_was_settled(two: tuple[Books, Books]) -> None:
    books, _ = two
    ada = await books.user()
    await books.budget(ada, "org", 1_000_000)
    gone, there = await Asking(books, ada).begin(), await Asking(books, ada).begin()
    await gone.settle()
    asked = [MoreAsked(books.tenant_id, each.attempt.attempt_id, 10) for each in (gone, there)]
    before = await read(books)
    with pytest.raises(CallRefused):
        await reserve_all(books.database, books.tenant_id, asked)
    assert await read(books) == before


async def test_scenes_of_both_kinds_are_tried(two: tuple[Books, Books]) -> None:
    """Half of the seeds would be worth little if all were refused, or none."""
    books, _ = two
    refused = 0
    for seed in range(24):
        try:
            await (await Scene(books, seed).set()).begin_all()
        except CallRefused:
            refused += 1
    assert 3 <= refused <= 21


async def test_each_is_told_how_it_stands_after_its_own_question(two: tuple[Books, Books]) -> None:
    books, _ = two
    ada, bob = await books.user(), await books.user()
    askings = [Asking(books, user) for user in (ada, bob, ada, ada)]
    limits = UseLimits(LimitSettings(user_requests_per_minute=10))
    beginnings = [Beginning(each.attempt, each.meter, each.purse, limits) for each in askings]
    told = await ledger.begin_all(books.database, books.process_id, books.tenant_id, beginnings)
    left = [{s.limit.name: s.remaining for s in standings}["user_requests_per_minute"] for standings in told]
    assert left == [9, 9, 8, 7]


async def test_coming_twice_is_refused_together_and_changes_nothing_alone(two: tuple[Books, Books]) -> None:
    """A connection that dies after the commit has all of it asked once more."""
    books, _ = two
    scene = await Scene(books, 1).set()
    asking = Asking(books, await books.user())
    beginning = Beginning(asking.attempt, asking.meter, asking.purse)
    scene.beginnings = [beginning]
    await scene.begin_all()
    state = await read(books)
    with pytest.raises((CallRefused, AdriaticError)):
        await scene.begin_all()
    await scene.begin_each()
    assert await read(books) == state
    entry = asking.meter.entry(asking.attempt, "completed", "")
    for _ in range(2):
        await ledger.settle_all(books.database, books.tenant_id, [entry])
    assert await books.count("app.usage_events") == 1


async def test_a_stop_is_told_to_each(two: tuple[Books, Books]) -> None:
    books, _ = two
    ada = await books.user()
    await books.admin.execute(
        "insert into app.spend_stops (tenant_id, level, subject, reason, stopped_by) values ($1, 'org', '', 'r', $2)",
        books.tenant_id,
        ada,
    )
    asking = Asking(books, ada)
    beginnings = [Beginning(asking.attempt, asking.meter, asking.purse)]
    with pytest.raises(AdriaticError):
        await ledger.begin_all(books.database, books.process_id, books.tenant_id, beginnings)
    assert await books.count("app.attempts") == 0
