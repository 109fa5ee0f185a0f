"""Budgets that hold: all levels or none, settled once, and never passed by more than the bound that is written down."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import psycopg
import pytest

from api.spend import budgets
from api.spend.purse import LOOK_BYTES, MARGIN_TOKENS, PIECE_TOKENS, PIECE_TOKENS_MAX
from connectors.llm import BYTES_PER_TOKEN, Tokens, TokenUsage
from connectors.llm.prices import Price
from connectors.postgres import attempts
from runtime.errors import BudgetExceeded, DependencyUnavailable, Forbidden, SpendStopped
from runtime.settings import Settings
from tests.api.spend.books import PRICE, PROMPT_BYTES, Asking, Books, keeping
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.stack

FIRST = PROMPT_BYTES // BYTES_PER_TOKEN + PIECE_TOKENS
"""What an attempt takes at first, in micro-USD."""


@pytest.fixture
async def books(shared_database: Settings) -> AsyncIterator[Books]:
    async with keeping(shared_database) as kept:
        yield kept


async def write_on(asking: Asking) -> None:
    """As much as it may write."""
    for _ in range(60):
        await asking.write(30)


# --- reserving --------------------------------------------------------------------------------------------------------


async def test_all_levels_are_reserved_or_none(books: Books) -> None:
    ada, bob = await books.user(), await books.user()
    await books.budget(ada, "org", 10 * FIRST)
    mine = await books.budget(ada, "user", FIRST, str(ada))
    await books.budget(ada, "key", 5 * FIRST, "web")
    await Asking(books, ada, key_id="web").begin()
    assert await books.states() == {"org ": (0, FIRST), f"user {ada}": (0, FIRST), "key web": (0, FIRST)}
    with pytest.raises(BudgetExceeded, match="budget of the user for the month has 0 of") as refused:
        await Asking(books, ada, key_id="web").begin()
    assert refused.value.coordinates["budget_id"] == mine.budget_id
    assert "when other answers have ended" in refused.value.hint
    assert "retry_after_s" not in refused.value.coordinates
    assert await books.states() == {"org ": (0, FIRST), f"user {ada}": (0, FIRST), "key web": (0, FIRST)}
    assert await books.count("app.attempts") == 1, "what was refused is not in the books"
    await Asking(books, bob, key_id="other").begin()
    assert await books.states() == {"org ": (0, 2 * FIRST), f"user {ada}": (0, FIRST), "key web": (0, FIRST)}


async def test_a_refusal_says_when_the_budget_begins_anew(books: Books) -> None:
    ada = await books.user()
    for period, says in (("day", "begins anew at"), ("prepaid", "somebody has to raise it")):
        budget = await books.budget(ada, "user", FIRST - 1, str(ada), period)  # type: ignore[arg-type]
        with pytest.raises(BudgetExceeded) as refused:
            await Asking(books, ada).begin()
        assert says in refused.value.hint
        told = refused.value.coordinates
        assert told.get("resets_at") == budget.resets_at
        assert 1 <= told["retry_after_s"] <= 86_400
        await books.remove(ada, budget)
    await Asking(books, ada).begin()


async def test_without_a_budget_nothing_is_reserved_and_nothing_looked_at(books: Books) -> None:
    asking = await Asking(books, await books.user(), price=None).begin()
    await asking.write(2_000)
    assert not asking.purse.is_short
    assert await books.count("app.leases") == 0


async def test_an_unknown_price_is_refused_where_a_budget_covers_it(books: Books) -> None:
    ada, bob = await books.user(), await books.user()
    await books.budget(ada, "user", 10 * FIRST, str(ada))
    with pytest.raises(Forbidden, match="price of test m is not known"):
        await Asking(books, ada, price=None).begin()
    await Asking(books, bob, price=None).begin()
    assert await books.states() == {f"user {ada}": (0, 0)}


async def test_what_costs_nothing_asks_no_budget(books: Books) -> None:
    free = Price("test", "m", PRICE.valid_from, "made up", PRICE.read_on, type(PRICE.rates)(0, 0, 0, 0, 0, 0))
    ada = await books.user()
    await books.budget(ada, "org", 0)
    asking = await Asking(books, ada, price=free).begin()
    await asking.write(100)
    assert await asking.settle() == 0
    assert await books.states() == {"org ": (0, 0)}


async def test_an_answer_takes_a_further_piece_before_it_has_spent_the_last(books: Books) -> None:
    ada = await books.user()
    await books.budget(ada, "org", 10_000)
    asking = await Asking(books, ada).begin()
    for written in range(0, 1_800, 30):
        spent = 100 + written
        assert asking.purse.reserved_micro_usd >= spent
        # A further piece is at most what was spent, so that an answer holds back no more than it has used.
        assert asking.purse.reserved_micro_usd <= 2 * spent + PIECE_TOKENS + 2 * MARGIN_TOKENS
        await asking.write(30)
    assert await books.states() == {"org ": (0, asking.purse.reserved_micro_usd)}
    assert asking.purse.reserved_micro_usd <= 100 + 2_000, "no more than it may write"
    assert await asking.settle() == 1_900
    assert await books.states() == {"org ": (1_900, 0)}


async def test_a_long_answer_takes_few_pieces_each_larger_than_the_one_before(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await books.user()
    await books.budget(ada, "org", 10**9)
    asking = await Asking(books, ada, output_tokens_max=60_000).begin()
    asked: list[int] = []
    call = books.database.call

    async def counting(statement: str, *arguments: Any) -> Any:
        asked.append(arguments[-1])
        return await call(statement, *arguments)

    monkeypatch.setattr(books.database, "call", counting)
    for _ in range(1_000):
        await asking.write(50)
        spent = asking.meter.charge(asking.meter.measure()).cost_micro_usd or 0
        assert asking.purse.reserved_micro_usd >= spent > 0
    assert len(asked) < 12, "pieces of the first size would be a hundred"
    assert max(asked) <= PIECE_TOKENS_MAX, "what is held back from others has a bound"
    assert await asking.settle() == 100 + 50_000


async def test_where_a_budget_has_little_left_the_smallest_piece_is_taken(books: Books) -> None:
    ada = await books.user()
    await books.budget(ada, "org", FIRST + PIECE_TOKENS)
    asking = await Asking(books, ada).begin()
    with pytest.raises(BudgetExceeded):
        await write_on(asking)
    assert FIRST < asking.purse.reserved_micro_usd <= FIRST + PIECE_TOKENS
    spent = asking.meter.charge(asking.meter.measure()).cost_micro_usd
    assert (spent or 0) > FIRST, "more was written than the first piece"


async def test_a_provider_that_counts_more_input_than_was_reserved_is_looked_at(books: Books) -> None:
    ada = await books.user()
    await books.budget(ada, "org", 10_000)
    asking = await Asking(books, ada).begin()
    asking.meter.usage(TokenUsage(Tokens(input_uncached=350, cache_read=50), complete=False))
    await asking.write(LOOK_BYTES // BYTES_PER_TOKEN)
    await asking.write(300)
    assert asking.purse.reserved_micro_usd >= 400 + 364


async def test_a_refused_piece_ends_the_answer_and_keeps_what_was_reserved(books: Books) -> None:
    ada = await books.user()
    await books.budget(ada, "org", FIRST + 100)
    asking = await Asking(books, ada).begin()
    with pytest.raises(BudgetExceeded):
        await write_on(asking)
    assert await books.states() == {"org ": (0, FIRST)}
    cost = await asking.settle("failed")
    assert FIRST - MARGIN_TOKENS - 30 <= cost <= FIRST
    assert await books.states() == {"org ": (cost, 0)}


# --- settling ---------------------------------------------------------------------------------------------------------


async def test_an_attempt_is_settled_once_whoever_comes_second(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await books.user()
    await books.budget(ada, "org", 10_000)
    living = await Asking(books, ada).begin()
    dying = await Asking(books, ada, dies=True).begin()
    for asking in (living, dying):
        await asking.write(50)
    assert await living.settle() == 150
    assert await living.settle() == 150
    assert await books.states() == {"org ": (150, FIRST)}
    assert books.reap(monkeypatch) == 1
    assert await books.states() == {"org ": (150 + FIRST, 0)}, "what it had reserved counts as spent"
    await dying.settle()
    assert await books.states() == {"org ": (150 + FIRST, 0)}
    assert await books.sum() == 150 + FIRST
    (row,) = await books.admin.fetch(
        "select * from app.usage_events where tenant_id = $1 and code = 'lost'", books.tenant_id
    )
    assert (row["cost_micro_usd"], row["price_id"]) == (FIRST, PRICE.price_id)
    # Four hundred tokens may have been read, and two thousand written.
    assert row["unseen_cost_max_micro_usd"] == 400 + 2_000 - FIRST
    with pytest.raises(DependencyUnavailable, match="settled already"):
        await write_on(dying)
    assert await books.states() == {"org ": (150 + FIRST, 0)}


async def test_no_lease_comes_after_its_attempt_was_settled(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that counts as dead, and is not, asks for more while somebody settles what it left."""
    ada = await books.user()
    await books.budget(ada, "org", 10_000)
    dying = await Asking(books, ada, dies=True).begin()
    monkeypatch.setattr(attempts, "LEASE_S", 0.0)
    waiting = "select exists (select from pg_stat_activity where datname = $1 and wait_event_type = 'Lock')"
    with psycopg.connect(books.settings.postgres.dsn("flows")) as flows:
        assert attempts.settle_lost(flows, BYTES_PER_TOKEN) == 1
        writing = asyncio.create_task(write_on(dying))
        for _ in range(round(PATIENCE_S / 0.05)):
            if await books.admin.fetchval(waiting, books.settings.postgres.database):
                break
            await asyncio.sleep(0.05)
        assert not writing.done()
    with pytest.raises(DependencyUnavailable, match="settled already"):
        await writing
    assert await books.states() == {"org ": (FIRST, 0)}
    assert await books.count("app.leases") == 0


async def test_a_lost_attempt_without_budgets_costs_what_it_was_given_to_read(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await books.user()
    await Asking(books, ada, dies=True).begin()
    await Asking(books, ada, dies=True, price=None).begin()
    assert books.reap(monkeypatch) == 2
    rows = await books.admin.fetch(
        "select cost_micro_usd, unseen_cost_max_micro_usd from app.usage_events where tenant_id = $1", books.tenant_id
    )
    assert {tuple(row) for row in rows} == {(100, 2_300), (None, None)}


async def test_an_attempt_counts_in_the_window_in_which_it_began(books: Books) -> None:
    ada = await books.user()
    await books.budget(ada, "org", 10_000, period="day")
    asking = await Asking(books, ada).begin()
    yesterday = datetime.now(UTC) - timedelta(days=1)
    await books.move(asking.attempt.attempt_id, yesterday)  # as if midnight had been since
    await asking.settle()
    assert await books.states() == {"org ": (0, 0)}
    rows = await books.admin.fetch(
        "select begins, spent_micro_usd, reserved_micro_usd from app.budget_windows where tenant_id = $1",
        books.tenant_id,
    )
    assert {(row["begins"].date(), *tuple(row)[1:]) for row in rows} == {
        (yesterday.date(), 100, 0),
        (datetime.now(UTC).date(), 0, 0),
    }


# --- setting ----------------------------------------------------------------------------------------------------------


async def test_a_new_budget_begins_with_what_the_ledger_says_and_misses_no_row(books: Books) -> None:
    """Budgets are made while attempts are settled, by the side of each other: each row counts once in each."""
    ada, bob = await books.user(), await books.user()
    asked = [await Asking(books, user, key_id="web").begin() for user in (ada, bob) for _ in range(15)]

    async def settle(asking: Asking) -> None:
        await asyncio.sleep(random.uniform(0, 0.05))
        await asking.settle()

    made = (
        books.budget(ada, "org", 10**6),
        books.budget(ada, "user", 10**6, str(ada)),
        books.budget(ada, "key", 10**6, "web"),
        books.budget(ada, "key", 10**6, "other"),
    )
    await asyncio.gather(*map(settle, asked), *made)
    assert await books.states() == {
        "org ": (3_000, 0),
        f"user {ada}": (1_500, 0),
        "key web": (3_000, 0),
        "key other": (0, 0),
    }


async def test_what_is_reserved_in_a_window_is_settled_in_it_whatever_clock_a_process_has(books: Books) -> None:
    """It says when it began to write the row: midnight may come before the row does, and clocks are not the same. A
    budget that is used up must not be passed by what was let in by the next day's."""
    ada = await books.user()
    await books.budget(ada, "org", 10 * FIRST, period="day")
    for wrong in (timedelta(days=-1), timedelta(days=1)):
        asking = await Asking(books, ada).begin()
        asking.meter.started_at += wrong
        before = await books.states()
        assert before["org "][1] == FIRST
        await asking.settle()
        assert await books.states() == {"org ": (before["org "][0] + 100, 0)}
    row = await books.admin.fetchrow(
        "select count(*) as windows, sum(spent_micro_usd) as spent from app.budget_windows where tenant_id = $1",
        books.tenant_id,
    )
    assert tuple(row) == (1, await books.sum())


async def test_a_prepaid_budget_begins_at_nothing(books: Books) -> None:
    ada = await books.user()
    before, during = await Asking(books, ada).begin(), await Asking(books, ada).begin()
    await before.settle()
    await books.budget(ada, "org", 10_000, period="prepaid")
    await during.settle()
    after = await Asking(books, ada).begin()
    await after.settle()
    assert await books.states() == {"org ": (100, 0)}


async def test_a_limit_changes_and_a_budget_goes_with_its_leases(books: Books) -> None:
    ada = await books.user()
    first = await books.budget(ada, "org", 10_000)
    asking = await Asking(books, ada).begin()
    second = await books.budget(ada, "org", 1)
    assert (second.budget_id, second.limit_micro_usd, second.remaining_micro_usd) == (first.budget_id, 1, 0)
    with pytest.raises(BudgetExceeded):
        await Asking(books, ada).begin()
    await books.remove(ada, first)
    assert await books.count("app.leases") == 0
    await asking.settle()
    assert await books.states() == {}


async def test_another_tenants_budgets_are_not_moved(books: Books, shared_database: Settings) -> None:
    ada = await books.user()
    await books.budget(ada, "org", 10_000)
    asking = await Asking(books, ada).begin()
    async with keeping(shared_database) as others:
        eve = await others.user()
        await (await Asking(others, eve).begin()).settle()
        async with others.database.begin(others.tenant_id, read_only=False) as connection:
            row = await connection.fetchrow("select * from app.reserve($1, 5)", asking.attempt.attempt_id)
            assert (row["is_refused"], row["budget_id"]) == (True, None)
            assert await connection.execute("update app.budget_windows set spent_micro_usd = 0") == "UPDATE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with others.database.begin(others.tenant_id, read_only=False) as connection:
                await connection.execute("update app.leases set begins = now()")
    assert await books.states() == {"org ": (0, FIRST)}


# --- the adversary ----------------------------------------------------------------------------------------------------

LIMIT = 20_000
IN_FLIGHT = 24
"""Answers at a time, over all processes."""
EVENT_TOKENS_MAX = 60


class Adversary:
    """Many answers by the side of each other, of which some die: their rows stay until somebody settles them."""

    def __init__(self, books: Books, users: list[UUID], seed: int, provider_counts: float) -> None:
        self.books = books
        self.users = users
        self.random = random.Random(seed)
        self.provider_counts = provider_counts
        self.slots = asyncio.Semaphore(IN_FLIGHT)
        self.refused = self.ended = self.lost = self.completed = 0
        self.billed = 0
        """What a provider charged that counts as it says."""

    async def ask(self, number: int) -> None:
        draw = self.random
        dies = number % 5 == 0
        user, key = draw.choice(self.users), draw.choice(["web", "batch"])
        asking = Asking(self.books, user, key_id=key, database=draw.choice(self.books.databases), dies=dies)
        async with self.slots:
            try:
                await asking.begin()
            except (BudgetExceeded, SpendStopped):
                self.refused += 1
                return
            written = 0
            try:
                for _ in range(draw.randrange(60)):
                    tokens = min(draw.randint(1, EVENT_TOKENS_MAX), 2_000 - written)
                    written += tokens
                    await asking.write(tokens)
                    await asyncio.sleep(0)
            except BudgetExceeded:
                self.ended += 1
            except DependencyUnavailable:
                assert dies, "it was settled as lost while it wrote on"
            if dies:
                self.lost += 1
                return
            if self.provider_counts > 1:
                counted = min(2_000, round(written * self.provider_counts))
                asking.meter.usage(TokenUsage(Tokens(PROMPT_BYTES, 0, 0, 0, counted, 0), complete=True))
            cost = await asking.settle()
            self.billed += cost
            self.completed += 1


@pytest.mark.parametrize(
    ("provider_counts", "overspend_max"),
    [
        # What is counted is what is charged. An event is smaller than the margin, so nothing is spent unreserved.
        (1.0, 0),
        # A provider that counts four times the input and twice the output that the bytes say: for each attempt in
        # flight at most its bound, less what it reserved at first.
        (2.0, IN_FLIGHT * (PRICE.cost_at_most(PROMPT_BYTES, 2_000) - FIRST)),
    ],
)
async def test_a_budget_is_never_passed_by_more_than_the_bound_and_the_books_close(
    shared_database: Settings, monkeypatch: pytest.MonkeyPatch, provider_counts: float, overspend_max: int
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    async with keeping(shared_database, processes=4) as books:
        users = [await books.user() for _ in range(3)]
        await books.budget(users[0], "org", LIMIT)
        await books.budget(users[0], "user", LIMIT // 4, str(users[0]), "day")
        await books.budget(users[0], "key", LIMIT // 2, "batch", "prepaid")
        adversary = Adversary(books, users, seed, provider_counts)
        most: dict[str, int] = {}

        over = asyncio.Event()

        async def watch() -> None:
            """The counters while it goes on, and the dead settled in between."""
            while not over.is_set():
                await asyncio.to_thread(books.reap, monkeypatch)
                for name, (spent, _) in (await books.states()).items():
                    most[name] = max(spent, most.get(name, 0))
                await asyncio.sleep(0.05)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*map(adversary.ask, range(300)))
        over.set()
        await watching
        await asyncio.to_thread(books.reap, monkeypatch)
        states = await books.states()
        limits = {each.level: each.limit_micro_usd for each in await budgets.read(books.database, books.tenant_id)}
        for name, (spent, reserved) in states.items():
            limit = limits[name.partition(" ")[0]]  # type: ignore[index]
            print(f"{name}: {spent} of {limit}, at most {most.get(name)} on the way")
            assert max(spent, most.get(name, 0)) <= limit + overspend_max
            assert reserved == 0
        assert (await books.count("app.attempts"), await books.count("app.leases")) == (0, 0)
        assert states["org "][0] == await books.sum()
        assert states[f"user {users[0]}"][0] == await books.sum(f"user_id = '{users[0]}'")
        assert states["key batch"][0] == await books.sum("key_id = 'batch'")
        assert await books.sum("code <> 'lost'") == adversary.billed
        assert adversary.refused + adversary.completed + adversary.lost == 300
        assert min(adversary.refused, adversary.ended, adversary.completed, adversary.lost) > 0
        assert states["org "][0] > LIMIT // 2, "an honest budget can be used"


async def test_a_runaway_loop_ends_within_the_bound(books: Books) -> None:
    """A hundred calls, one after the other, against a dollar; each would cost five cents."""
    ada = await books.user()
    await books.budget(ada, "org", 1_000_000, period="prepaid")
    whole: list[Any] = []
    dear = Price("test", "m", PRICE.valid_from, "made up", PRICE.read_on, type(PRICE.rates)(*[25_000_000] * 6))
    for _ in range(100):
        try:
            asking = await Asking(books, ada, price=dear).begin()
        except BudgetExceeded:
            continue
        try:
            for _ in range(50):
                await asking.write(38)
            whole.append(asking)
        except BudgetExceeded:
            pass
        await asking.settle()
    ((spent, reserved),) = (await books.states()).values()
    print(f"spent {spent} of 1000000 micro-USD, {len(whole)} of 100 answers whole")
    assert 900_000 < spent <= 1_000_000
    assert (reserved, len(whole)) == (0, 1_000_000 // 50_000 - 1), "the last was cut"
