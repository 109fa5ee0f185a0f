"""`/v1/usage`: what was asked of language models, by hour, day, model, user or credential."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from litestar import Controller, Response
from litestar.params import QueryParameter

from api import watermarks
from api.requests import require_zone
from api.routes import By, Db, get
from api.usage import service
from api.usage.service import ROWS_DEFAULT, ROWS_MAX, UsageReport

_SPENT = {
    "attempts": 12,
    "completed": 10,
    "failed": 1,
    "cancelled": 1,
    "tokens": {
        "input_uncached": 4210,
        "cache_read": 18000,
        "cache_write_5m": 0,
        "cache_write_1h": 0,
        "output_visible": 2100,
        "reasoning": 640,
    },
    "cost_micro_usd": 58210,
    "unpriced": 1,
    "partial": 1,
    "estimated": 1,
}
_USAGE = {
    "by": "day",
    "rows": [
        {
            "begins": "2026-01-15T00:00:00Z",
            "provider": None,
            "model": None,
            "user_id": None,
            "user": None,
            "key_id": None,
            "spent": _SPENT,
        }
    ],
    "more": False,
    "totals": _SPENT,
    "as_of": {"state": "fresh", "lsn": "0/1A2B3C8", "time": "2026-01-15T09:00:04Z", "age_s": 0.9},
}


class UsageController(Controller):
    """Tokens and money, as the ledger of attempts adds up."""

    path = "/v1/usage"
    tags = ("usage",)

    @get("/", "Tokens and money", _USAGE, "Sums of the attempts in the range.")
    async def get_usage(
        self,
        database: Db,
        principal: By,
        by: Annotated[service.By, QueryParameter(description="What a row is of.")] = "day",
        first: Annotated[
            datetime | None,
            QueryParameter(name="from", description="Hours or days that begin at or after this time (with its zone)."),
        ] = None,
        end: Annotated[
            datetime | None,
            QueryParameter(name="to", description="Hours or days that begin before this time (with its zone)."),
        ] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=ROWS_MAX, description="Rows at most.")] = ROWS_DEFAULT,
        position: watermarks.Position = None,
    ) -> Response[UsageReport]:
        """An attempt counts in the hour and the day, in UTC, in which it began. Hours and days come newest first;
        models, users and keys by what they cost, summed over the days of the range. An unknown price is never 0.
        """
        require_zone("from", first)
        require_zone("to", end)
        await watermarks.wait_until_shown(database, principal.tenant_id, f"usage_by_{by}", position)
        usage = await service.read(database, principal.tenant_id, by, first, end, limit)
        return Response(usage, headers=usage.as_of.headers())
