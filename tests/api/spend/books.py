"""A tenant with people, budgets and attempts, on a real database, at the level of the ledger and the purse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import psycopg
import pytest

from api.auth.users import Principal
from api.chat import ledger
from api.chat.ledger import Attempt, Meter
from api.db import Database
from api.spend import budgets
from api.spend.budgets import BudgetState, NewBudget, Period
from api.spend.purse import Purse, reserve
from api.spend.subjects import Level
from connectors.llm import BYTES_PER_TOKEN
from connectors.llm.prices import PER_TOKENS, Price, Rates
from connectors.postgres import attempts
from runtime.clock import SYSTEM_CLOCK
from runtime.ids import new_id
from runtime.settings import Settings

DAY = date(2026, 1, 1)
PRICE = Price("test", "m", DAY, "made up", DAY, Rates(*[PER_TOKENS] * 6))
"""A token costs a micro-USD, whatever it is."""
PROMPT_BYTES = 400
"""A hundred tokens as a rule, and four hundred at most."""


class Books:
    """One tenant. `databases` are the pools of as many processes."""

    def __init__(self, settings: Settings, admin: Any, databases: list[Database]) -> None:
        self.settings = settings
        self.admin = admin
        self.databases = databases
        self.tenant_id = new_id()
        self.process_id = new_id()

    @property
    def database(self) -> Database:
        return self.databases[0]

    async def begin(self) -> None:
        slug = f"t-{self.tenant_id.hex[-12:]}"
        await self.admin.execute("insert into app.tenants values ($1, $2, 'n')", self.tenant_id, slug)
        await self.admin.execute("select ops.keep_api_process($1, 3600)", self.process_id)

    async def user(self) -> UUID:
        user_id = new_id()
        statement = "insert into app.users (tenant_id, user_id, subject) values ($1, $2, $3)"
        await self.admin.execute(statement, self.tenant_id, user_id, str(user_id))
        return user_id

    async def budget(
        self, user_id: UUID, level: Level, limit: int, subject: str = "", period: Period = "month"
    ) -> BudgetState:
        setter = Principal(self.tenant_id, user_id, "ada", "ada")
        return await budgets.replace(self.database, setter, NewBudget(level, period, limit, subject))

    async def remove(self, user_id: UUID, budget: BudgetState) -> None:
        await budgets.remove(self.database, Principal(self.tenant_id, user_id, "ada", "ada"), budget.budget_id)

    async def states(self) -> dict[str, tuple[int, int]]:
        """Spent and reserved of each budget by its level and subject."""
        found = await budgets.read(self.database, self.tenant_id)
        return {f"{each.level} {each.subject}": (each.spent_micro_usd, each.reserved_micro_usd) for each in found}

    async def count(self, table: str) -> int:
        statement = f"select count(*) from {table} where tenant_id = $1"
        return int(await self.admin.fetchval(statement, self.tenant_id))

    async def sum(self, where: str = "true") -> int:
        """What the ledger says."""
        statement = f"select coalesce(sum(cost_micro_usd), 0) from app.usage_events where tenant_id = $1 and {where}"
        return int(await self.admin.fetchval(statement, self.tenant_id))

    async def move(self, attempt_id: UUID, to: datetime) -> None:
        """As if an attempt in flight had begun then."""
        statement = "update app.attempts set begun_at = $3 where tenant_id = $1 and attempt_id = $2"
        await self.admin.execute(statement, self.tenant_id, attempt_id, to)

    def reap(self, monkeypatch: pytest.MonkeyPatch) -> int:
        """Settle what was left by processes that nobody knows, however new it is."""
        monkeypatch.setattr(attempts, "LEASE_S", 0.0)
        with psycopg.connect(self.settings.postgres.dsn("flows")) as flows:
            return attempts.settle_lost(flows, BYTES_PER_TOKEN)


class Asking:
    """One attempt of `user_id`, with its meter and its purse."""

    def __init__(
        self,
        books: Books,
        user_id: UUID,
        *,
        key_id: str | None = None,
        price: Price | None = PRICE,
        output_tokens_max: int = 2_000,
        database: Database | None = None,
        dies: bool = False,
    ) -> None:
        self.books = books
        self.database = database or books.database
        # One of a process that does not say that it lives.
        self.process_id = new_id() if dies else books.process_id
        self.attempt = Attempt(books.tenant_id, user_id, new_id(), new_id(), "request", "/v1/chat/stream", key_id)
        self.meter = Meter(
            *("test", "m", SYSTEM_CLOCK),
            prompt_bytes=PROMPT_BYTES,
            output_tokens_max=output_tokens_max,
            price=price,
        )
        self.purse = Purse(
            partial(reserve, self.database), books.tenant_id, self.attempt.attempt_id, self.meter, SYSTEM_CLOCK
        )

    async def begin(self) -> Asking:
        """Raises as the purse does."""
        beginning = ledger.Beginning(self.attempt, self.meter, self.purse)
        await ledger.begin(self.database, self.process_id, beginning)
        self.meter.ask()
        return self

    async def write(self, tokens: int) -> None:
        """An event of the provider, and what the supervisor does after it."""
        self.meter.text("x" * BYTES_PER_TOKEN * tokens)
        if self.purse.is_short:
            await self.purse.top_up()

    async def settle(self, outcome: ledger.Outcome = "completed") -> int:
        """What it cost."""
        entry = self.meter.entry(self.attempt, outcome, "")
        await ledger.settle(self.database, entry)
        return entry.charge.cost_micro_usd or 0


@asynccontextmanager
async def keeping(settings: Settings, processes: int = 1) -> AsyncIterator[Books]:
    databases = [Database(settings.postgres, connections_max=4) for _ in range(processes)]
    for database in databases:
        await database.open()
    admin = await asyncpg.connect(settings.postgres.dsn("admin"))
    try:
        books = Books(settings, admin, databases)
        await books.begin()
        yield books
    finally:
        await admin.close()
        for database in databases:
            await database.close()
