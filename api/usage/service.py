"""The aggregates of usage, read for a caller: `mv.usage_by_*`, which the flow `usage` keeps.

Owns the range of time, the order of rows, the totals, and what is said about money that is not known. Refuses to
compute from the ledger: what a read shows is what the view has, and `as_of` says how much that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api import watermarks
from api.db import Connection, Database, tenant_transaction
from api.usage import sql
from connectors.llm import Tokens

By = Literal["hour", "day", "model", "user", "key"]

ROWS_DEFAULT, ROWS_MAX = 100, 1000
"""Rows of one answer: a thousand are six weeks of hours, and stay below a megabyte."""


class UsageTotals(msgspec.Struct, frozen=True):
    """What a number of attempts came to. An attempt whose price is not known is counted in `unpriced`, and is not free:
    `cost_micro_usd` is that of the others, and null when there are none."""

    attempts: int
    completed: int
    failed: int
    cancelled: int
    tokens: Tokens
    cost_micro_usd: Annotated[int | None, Meta(description="Millionths of a US dollar.")]
    unpriced: int
    partial: Annotated[int, Meta(description="Attempts whose output was counted here, not by the provider.")]
    estimated: Annotated[int, Meta(description="Attempts whose input was counted here, too.")]


class UsageRow(msgspec.Struct, frozen=True):
    """What it is by is set, the rest is null. `key_id` is empty where the credential is not known."""

    begins: Annotated[datetime | None, Meta(description="Of the hour or the day, in UTC.")]
    provider: str | None
    model: str | None
    user_id: UUID | None
    user: Annotated[str | None, Meta(description="Name of the user, else the token's subject.")]
    key_id: str | None
    spent: UsageTotals


class UsageReport(msgspec.Struct, frozen=True):
    """`totals` are of the whole range, also when there are `more` rows than were asked for."""

    by: By
    rows: list[UsageRow]
    more: bool
    totals: UsageTotals
    as_of: watermarks.AsOf


async def read(
    database: Database, tenant_id: UUID, by: By, first: datetime | None, end: datetime | None, limit: int
) -> UsageReport:
    """Hours or days that begin at or after `first` and before `end`; by model, user or key the sums over such days."""
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        totals, *found = await connection.fetch(sql.QUERIES[by], first, end, limit + 2)
        names = await _names(connection, [row["user_id"] for row in found]) if by == "user" else {}
        as_of = await watermarks.read(connection, f"usage_by_{by}")
    rows = [_row(row, names) for row in found[:limit]]
    return UsageReport(by, rows, len(found) > limit, _totals(totals), as_of)


async def _names(connection: Connection, user_ids: list[UUID]) -> dict[UUID, str]:
    rows = await connection.fetch(
        "select user_id, coalesce(nullif(name, ''), subject) as name from app.users where user_id = any($1)", user_ids
    )
    return {row["user_id"]: row["name"] for row in rows}


def _row(row: Any, names: Mapping[UUID, str]) -> UsageRow:
    found = {name: row.get(name) for name in ("begins", "provider", "model", "user_id", "key_id")}
    return UsageRow(**found, user=names.get(found["user_id"]), spent=_totals(row))


def _totals(row: Any) -> UsageTotals:
    counts = {name: row[name] or 0 for name in sql.COUNTS}
    tokens = Tokens(**{name: counts.pop(name) for name in Tokens.__struct_fields__})
    # Zero would say that it was free; when no price is known, nothing is said.
    known = counts["unpriced"] < counts["attempts"]
    return UsageTotals(**counts | {"tokens": tokens, "cost_micro_usd": counts["cost_micro_usd"] if known else None})
