"""`/v1/budgets`: what a tenant may spend on language models.

Owns the HTTP of it. Refuses SQL and rules: `budgets` has them.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller
from litestar.params import PathParameter

from api.auth.roles import NEEDS_ADMIN
from api.routes import By, Db, body, delete, get, put
from api.spend import budgets
from api.spend.budgets import BudgetState, NewBudget

_BUDGET = {
    "budget_id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "level": "org",
    "subject": "",
    "period": "month",
    "limit_micro_usd": 250_000_000,
    "raised_micro_usd": 0,
    "spent_micro_usd": 58_210,
    "reserved_micro_usd": 12_000,
    "remaining_micro_usd": 249_929_790,
    "begins": "2026-01-01T00:00:00Z",
    "resets_at": "2026-02-01T00:00:00Z",
    "created_by": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "created_at": "2026-01-15T09:00:04Z",
}
_NEW = {"level": "org", "period": "month", "limit_micro_usd": 250_000_000}


class BudgetList(msgspec.Struct, frozen=True):
    """Sorted by level, subject and period."""

    budgets: list[BudgetState]


class BudgetController(Controller):
    """Budgets of money. An attempt is asked for only where every budget that covers it has enough left."""

    path = "/v1/budgets"
    tags = ("usage",)

    @get("/", "List budgets", {"budgets": [_BUDGET]}, "All budgets, with what is spent of each now.")
    async def list_budgets(self, database: Db, principal: By) -> BudgetList:
        """What is spent is exact, and never behind: these counters move with the ledger."""
        return BudgetList(await budgets.read(database, principal.tenant_id))

    @put("/", "Set a budget", _BUDGET, "The budget as it is now.", errors=(404, 409, 413, 415), opt=NEEDS_ADMIN)
    async def set_budget(
        self, database: Db, principal: By, data: Annotated[NewBudget, body("Budget", _NEW)]
    ) -> BudgetState:
        """Makes the budget of this level, subject and period, or changes its limit. A new one counts what was spent in
        its day or month before; a prepaid one begins at 0. Attempts that are in flight are not held to a new budget,
        and count in it when they end.
        """
        return await budgets.replace(database, principal, data)

    @delete(
        "/{budget_id:uuid}",
        "Remove a budget",
        None,
        "It limits nobody any more.",
        status=204,
        errors=(404,),
        opt=NEEDS_ADMIN,
    )
    async def remove_budget(
        self,
        database: Db,
        principal: By,
        budget_id: Annotated[UUID, PathParameter(description="The budget's id.")],
    ) -> None:
        """What was spent stays in the ledger."""
        await budgets.remove(database, principal, budget_id)
