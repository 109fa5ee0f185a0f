"""What budgets are put through: reapers by the side of each other, limits that change, huge sums, borders of months."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from api.spend.budgets import LIMIT_MICRO_USD_MAX
from api.spend.purse import LOOK_BYTES
from connectors.llm import BYTES_PER_TOKEN, Tokens, TokenUsage
from connectors.llm.prices import PER_TOKENS, Price, Rates
from connectors.llm.remote import TOKENS_MAX
from connectors.postgres import attempts
from runtime.errors import BudgetExceeded, SpendStopped
from runtime.settings import Settings
from tests.api.spend.books import DAY, PRICE, PROMPT_BYTES, Asking, Books, keeping
from tests.api.spend.test_purse import FIRST, write_on

pytestmark = pytest.mark.stack


@pytest.fixture
async def books(shared_database: Settings) -> AsyncIterator[Books]:
    async with keeping(shared_database) as kept:
        yield kept


async def test_two_reapers_settle_what_was_left_once(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await books.user()
    await books.budget(ada, "org", 100 * FIRST)
    left = [await Asking(books, ada, dies=True).begin() for _ in range(20)]
    monkeypatch.setattr(attempts, "LEASE_S", 0.0)
    monkeypatch.setattr(attempts, "BATCH_MAX", 3)
    dsn = books.settings.postgres.dsn("flows")

    def reap() -> int:
        settled = 0
        with psycopg.connect(dsn, autocommit=True) as flows:
            while more := attempts.settle_lost(flows, BYTES_PER_TOKEN):
                settled += more
        return settled

    # Those that had only seemed dead settle at the same time.
    counts = await asyncio.gather(*(asyncio.to_thread(reap) for _ in range(3)), *(each.settle() for each in left[:5]))
    assert 15 <= sum(counts[:3]) <= 20
    assert await books.count("app.usage_events") == 20
    assert await books.states() == {"org ": (await books.sum(), 0)}


async def test_a_limit_that_changes_holds_for_answers_that_are_being_written(books: Books) -> None:
    ada = await books.user()
    await books.budget(ada, "org", 100_000)
    asking = await Asking(books, ada).begin()
    await books.budget(ada, "org", FIRST)
    with pytest.raises(BudgetExceeded):
        await write_on(asking)
    await books.budget(ada, "org", 100_000)
    await write_on(asking)
    cost = await asking.settle()
    assert await books.states() == {"org ": (cost, 0)}


async def test_a_budget_that_is_made_anew_meanwhile_has_what_was_spent_and_what_is_reserved_from_then_on(
    books: Books,
) -> None:
    ada = await books.user()
    first = await books.budget(ada, "org", 100_000)
    asking = await Asking(books, ada).begin()
    await books.remove(ada, first)
    await books.budget(ada, "org", 100_000)
    assert await books.states() == {"org ": (0, 0)}
    await write_on(asking)
    (spent, reserved) = (await books.states())["org "]
    assert spent == 0
    assert reserved < asking.purse.reserved_micro_usd
    cost = await asking.settle()
    assert await books.states() == {"org ": (cost, 0)}, "no more is given back than it had"


async def test_sums_of_thousands_of_millions_are_exact(books: Books) -> None:
    """The largest budget, raised by the largest override, the dearest price, and all that a provider may say."""
    ada = await books.user()
    dear = Price("test", "m", DAY, "made up", DAY, Rates(*[10_000 * PER_TOKENS] * 6))
    await books.budget(ada, "org", LIMIT_MICRO_USD_MAX)
    await books.budget(ada, "user", LIMIT_MICRO_USD_MAX, str(ada), "prepaid")
    total = 0
    for _ in range(3):
        asking = await Asking(books, ada, price=dear, output_tokens_max=TOKENS_MAX).begin()
        asking.meter.usage(TokenUsage(Tokens(output_visible=TOKENS_MAX - 1), complete=True))
        total += await asking.settle()
    assert total == 3 * (TOKENS_MAX - 1) * 10_000
    assert await books.states() == {"org ": (total, 0), f"user {ada}": (total, 0)}
    assert await books.sum() == total


@pytest.mark.parametrize("lie", [Tokens(), Tokens(TOKENS_MAX, output_visible=TOKENS_MAX), Tokens(reasoning=TOKENS_MAX)])
async def test_a_provider_that_lies_moves_a_budget_within_the_bound_of_the_attempt(books: Books, lie: Tokens) -> None:
    ada = await books.user()
    await books.budget(ada, "org", 100_000)
    asking = await Asking(books, ada).begin()
    asking.meter.usage(TokenUsage(lie, complete=True))
    asking.meter.usage(TokenUsage(lie, complete=True))
    cost = await asking.settle()
    assert 0 <= cost <= PRICE.cost_at_most(PROMPT_BYTES + 4_096, 2_000)
    assert await books.states() == {"org ": (cost, 0)}
    ((unseen,),) = await books.admin.fetch(
        "select unseen_cost_max_micro_usd from app.usage_events where tenant_id = $1", books.tenant_id
    )
    assert cost + unseen >= min(PRICE.cost(lie), cost + unseen)
    assert unseen == (lie.total - cost if lie.total else 0)


async def test_a_provider_that_writes_beyond_its_bound_is_looked_at_as_it_does(books: Books) -> None:
    ada = await books.user()
    await books.budget(ada, "org", 1_000)
    asking = await Asking(books, ada, output_tokens_max=40).begin()
    ahead = 0

    async def write_beyond_it() -> None:
        nonlocal ahead
        for written in range(10, 2_000, 10):
            await asking.write(10)
            ahead = max(ahead, PROMPT_BYTES // BYTES_PER_TOKEN + written - asking.purse.reserved_micro_usd)

    with pytest.raises(BudgetExceeded):
        await write_beyond_it()
    assert ahead <= LOOK_BYTES // BYTES_PER_TOKEN + 10
    cost = await asking.settle("failed")
    assert 900 <= cost <= 1_000 + LOOK_BYTES // BYTES_PER_TOKEN + 10
    assert await books.states() == {"org ": (cost, 0)}


async def test_a_refusal_after_another_budget_was_asked_leaves_nothing_behind(books: Books) -> None:
    """The levels are taken in the order of their ids: whichever refuses, the others are as they were."""
    ada = await books.user()
    for level, subject in (("org", ""), ("user", str(ada)), ("key", "web")):
        small = await books.budget(ada, level, FIRST - 1, subject)  # type: ignore[arg-type]
        others = [
            await books.budget(ada, other, 10 * FIRST, of)  # type: ignore[arg-type]
            for other, of in (("org", ""), ("user", str(ada)), ("key", "web"))
            if other != level
        ]
        with pytest.raises(BudgetExceeded):
            await Asking(books, ada, key_id="web").begin()
        assert {*(await books.states()).values()} == {(0, 0)}
        assert (await books.count("app.attempts"), await books.count("app.leases")) == (0, 0)
        for budget in (small, *others):
            await books.remove(ada, budget)


async def test_a_stop_that_comes_while_an_answer_asks_for_more_does_not_give_back_twice(books: Books) -> None:
    ada = await books.user()
    await books.budget(ada, "org", 5 * FIRST)
    asking = await Asking(books, ada).begin()
    await asyncio.gather(write_on(asking), books.budget(ada, "org", 50), return_exceptions=True)
    cost = await asking.settle("failed")
    assert await books.states() == {"org ": (cost, 0)}
    with pytest.raises(SpendStopped):
        await Asking(books, ada).begin()


async def test_what_was_let_in_by_one_month_is_not_charged_to_the_other(books: Books) -> None:
    """An attempt of the last moment of a month goes on in the next one, and takes further pieces of its own."""
    ada = await books.user()
    await books.budget(ada, "org", 10_000)
    asking = await Asking(books, ada).begin()
    now = datetime.now(UTC)
    before = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) - timedelta(microseconds=1)
    await books.move(asking.attempt.attempt_id, before)
    await books.admin.execute(
        "update app.leases set begins = date_trunc('month', $2::timestamptz, 'UTC') where tenant_id = $1",
        *(books.tenant_id, before),
    )
    await books.admin.execute(
        "update app.budget_windows set begins = date_trunc('month', $2::timestamptz, 'UTC') where tenant_id = $1",
        *(books.tenant_id, before),
    )
    await write_on(asking)
    assert await books.states() == {"org ": (0, 0)}, "nothing is held back from this month"
    cost = await asking.settle()
    windows = await books.admin.fetch(
        "select begins, spent_micro_usd, reserved_micro_usd from app.budget_windows where tenant_id = $1 "
        "order by begins",
        books.tenant_id,
    )
    assert [tuple(row)[1:] for row in windows] == [(cost, 0)]
    assert windows[0]["begins"].month == before.month
