"""`/v1/spend`: the switch that stops spending, limits that are raised for a while, alerts, flags of use that looks like
abuse, and the books explained.

Owns the HTTP of it. Refuses SQL and rules: `switch`, `overrides`, `alerts`, `flags` and `explaining` have them. Admins
change things, and see flags; every member sees the switch, overrides and alerts.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, date
from typing import Annotated
from uuid import UUID

from litestar import Controller, Response
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter

from api import paging
from api.auth.roles import NEEDS_ADMIN
from api.routes import By, Db, body, delete, get, post, put
from api.spend import alerts, explaining, flags, overrides, switch
from api.spend.alerts import AlertPage
from api.spend.explaining import AttemptExplanations, ExplainedPeriod, SpendExplanation
from api.spend.flags import AbuseFlag, AbuseFlagPage, FlagReview
from api.spend.overrides import BudgetOverride, NewOverride, OverridePage
from api.spend.switch import SwitchChange, SwitchState
from connectors.llm import prices
from runtime.settings import Settings

_ID = "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f"
_CHANGE = {"state": "stopped", "level": "key", "subject": "batch", "reason": "The nightly batch runs in a circle."}
_STOP = {
    "stop_id": _ID,
    "level": "key",
    "subject": "batch",
    "reason": "The nightly batch runs in a circle.",
    "stopped_by": _ID,
    "budget_id": None,
    "stopped_at": "2026-01-15T09:00:04Z",
    "ends_at": None,
    "resumed_by": None,
    "resumed_at": None,
    "resume_reason": "",
}
_SWITCH = {"state": "running", "stops": [_STOP], "ended": []}
_NEW = {
    "budget_id": _ID,
    "amount_micro_usd": 20_000_000,
    "reason": "The release is tonight.",
    "expires_at": "2026-01-16T09:00:00Z",
}
_OVERRIDE = {
    "override_id": _ID,
    "budget_id": _ID,
    "level": "org",
    "subject": "",
    "period": "month",
    "amount_micro_usd": 20_000_000,
    "reason": "The release is tonight.",
    "created_by": _ID,
    "created_at": "2026-01-15T09:00:04Z",
    "expires_at": "2026-01-16T09:00:00Z",
    "ended_by": None,
    "ended_at": None,
    "in_force": True,
}
_ALERT = {
    "alert_id": _ID,
    "budget_id": _ID,
    "level": "org",
    "subject": "",
    "period": "month",
    "begins": "2026-01-01T00:00:00Z",
    "percent": 85,
    "limit_micro_usd": 250_000_000,
    "spent_micro_usd": 213_058_210,
    "raised_at": "2026-01-15T09:00:04Z",
    "deliveries": [
        {
            "channel": "webhook",
            "state": "delivered",
            "tries": 1,
            "last_error": "",
            "delivered_at": "2026-01-15T09:00:05Z",
        }
    ],
}
_FLAG = {
    "flag_id": _ID,
    "kind": "rapid-calls",
    "subject": _ID,
    "day": "2026-01-15",
    "measured": 84,
    "threshold": 60,
    "raised_at": "2026-01-15T09:00:04Z",
    "seen_at": "2026-01-15T09:01:04Z",
    "users": [],
    "reviewed_by": None,
    "reviewed_at": None,
    "note": "",
}
_SUM = {"attempts": 12, "unpriced": 0, "cost_micro_usd": 58_210}
_COUNTER = {
    "budget_id": _ID,
    "level": "org",
    "subject": "",
    "period": "month",
    "begins": "2026-01-01T00:00:00Z",
    "spent_micro_usd": 58_210,
    "ledger_micro_usd": 58_210,
    "drift_micro_usd": 0,
    "reserved_micro_usd": 12_000,
    "leases_micro_usd": 12_000,
    "reserved_drift_micro_usd": 0,
}
_EXPLANATION = {
    "period": "month",
    "begins": "2026-01-01T00:00:00Z",
    "ends": "2026-02-01T00:00:00Z",
    "ledger": _SUM,
    "aggregate": _SUM,
    "not_counted": {"attempts": 0, "unpriced": 0, "cost_micro_usd": 0},
    "aggregate_drift_micro_usd": 0,
    "counters": [_COUNTER],
    "counter_drift_micro_usd": 0,
    "as_of": {"state": "fresh", "lsn": "0/1A2B3C8", "time": "2026-01-15T09:00:04Z", "age_s": 0.9},
}
_ATTEMPT = {
    "attempt_id": _ID,
    "session_id": _ID,
    "user_id": _ID,
    "key_id": "web-app",
    "provider": "openai",
    "model": "gpt-5.2",
    "state": "settled",
    "outcome": "completed",
    "code": "",
    "usage_source": "provider",
    "tokens": {
        "input_uncached": 325,
        "cache_read": 1000,
        "cache_write_5m": 0,
        "cache_write_1h": 0,
        "output_visible": 15,
        "reasoning": 25,
    },
    "price_id": "openai/gpt-5.2/2026-01-01",
    "cost_micro_usd": 1_250,
    "unseen_cost_max_micro_usd": 0,
    "repriced_micro_usd": 1_250,
    "counted_micro_usd": 1_250,
    "drift_micro_usd": 0,
    "reserved_micro_usd": 0,
    "started_at": "2026-01-15T09:00:03Z",
    "finished_at": "2026-01-15T09:00:05Z",
    "budgets": [{"budget_id": _ID, "level": "org", "subject": "", "period": "month", "begins": "2026-01-01T00:00:00Z"}],
}


class SpendController(Controller):
    """What keeps an eye on money beside budgets."""

    path = "/v1/spend"
    tags = ("usage",)

    @get("/switch", "Whether spending is stopped", _SWITCH, "What is stopped now, and what was.")
    async def get_switch(self, database: Db, principal: By) -> SwitchState:
        """When the database does not answer it is 503: nobody knows then, and nobody begins to spend either."""
        return await switch.read(database, principal.tenant_id)

    @put(
        "/switch",
        "Stop or resume spending",
        _SWITCH,
        "The switch as it is now.",
        errors=(404, 409, 413, 415),
        opt=NEEDS_ADMIN,
    )
    async def set_switch(
        self, database: Db, principal: By, data: Annotated[SwitchChange, body("Stop a credential", _CHANGE)]
    ) -> SwitchState:
        """Stopped, everything that asks a model is refused with 403 and the code `spend-stopped`, and the answers in
        flight end with that code, on every API process in less than a second; what they used is billed once. It stays
        so until somebody resumes it. Resuming where a budget has spent 110 % of what it allows is a conflict.
        """
        return await switch.change(database, principal, data)

    @get(
        "/overrides",
        "List overrides of budgets",
        {"items": [_OVERRIDE], "next_cursor": None},
        "Every override, the newest first.",
    )
    async def list_overrides(
        self, database: Db, principal: By, limit: paging.Limit = paging.LIMIT_DEFAULT, cursor: paging.Cursor = None
    ) -> OverridePage:
        """Those that are over are kept for `retention.audit_days`, three years as a rule: this is the audit."""
        return await overrides.read(database, principal.tenant_id, limit, cursor)

    @post(
        "/overrides",
        "Raise a budget for a while",
        _OVERRIDE,
        "The override, in force.",
        status=201,
        errors=(404, 409, 413, 415),
        opt=NEEDS_ADMIN,
    )
    async def make_override(
        self,
        database: Db,
        principal: By,
        state: State,
        data: Annotated[NewOverride, body("Override", _NEW)],
    ) -> BudgetOverride:
        """The budget allows so much more until the override expires. What it had stopped is resumed, unless it is over
        110 % of what it allows even so.
        """
        return await overrides.make(database, principal, data, state.clock.now())

    @delete(
        "/overrides/{override_id:uuid}",
        "End an override",
        _OVERRIDE,
        "The override, which counts no longer.",
        status=200,
        errors=(404,),
        opt=NEEDS_ADMIN,
    )
    async def end_override(
        self,
        database: Db,
        principal: By,
        override_id: Annotated[UUID, PathParameter(description="The override's id.")],
    ) -> BudgetOverride:
        """The row stays, and says who ended it. One that has ended or expired stays as it is."""
        return await overrides.end(database, principal, override_id)

    @get(
        "/alerts",
        "List alerts of budgets",
        {"items": [_ALERT], "next_cursor": None},
        "Every alert, the newest first, and what became of it.",
    )
    async def list_alerts(
        self, database: Db, principal: By, limit: paging.Limit = paging.LIMIT_DEFAULT, cursor: paging.Cursor = None
    ) -> AlertPage:
        """There is one for each budget, window and threshold: 70, 85, 95 and 110 %."""
        return await alerts.read(database, principal.tenant_id, limit, cursor)

    @get(
        "/flags",
        "List use that looks like abuse",
        {"items": [_FLAG], "next_cursor": None},
        "Flags that nobody has looked at, the newest first.",
        opt=NEEDS_ADMIN,
    )
    async def list_flags(
        self,
        database: Db,
        principal: By,
        limit: paging.Limit = paging.LIMIT_DEFAULT,
        cursor: paging.Cursor = None,
        reviewed: Annotated[bool, QueryParameter(description="Show those, too, that somebody has looked at.")] = False,
    ) -> AbuseFlagPage:
        """The list is behind the ledger by at most a quarter of a minute. A flag refuses nobody anything."""
        return await flags.read(database, principal.tenant_id, limit, cursor, reviewed=reviewed)

    @put(
        "/flags/{flag_id:uuid}",
        "Say that a flag was looked at",
        _FLAG | {"reviewed_by": _ID, "reviewed_at": "2026-01-15T10:00:00Z", "note": "It was the load test."},
        "The flag, which is listed no longer.",
        errors=(404, 413, 415),
        opt=NEEDS_ADMIN,
    )
    async def review_flag(
        self,
        database: Db,
        principal: By,
        flag_id: Annotated[UUID, PathParameter(description="The flag's id.")],
        data: Annotated[FlagReview, body("What was found", {"note": "It was the load test."})],
    ) -> AbuseFlag:
        """More of the same on that day raises what the flag measured, and lists it no more; another day has another
        flag.
        """
        return await flags.review(database, principal, flag_id, data)

    @get(
        "/explanation",
        "Explain what was spent",
        _EXPLANATION,
        "Counters, ledger and aggregates, compared.",
        opt=NEEDS_ADMIN,
    )
    async def explain_spending(
        self,
        database: Db,
        principal: By,
        state: State,
        period: Annotated[ExplainedPeriod, QueryParameter(description="In UTC.")] = "month",
        on: Annotated[date | None, QueryParameter(description="A day that is in it; without it, today.")] = None,
    ) -> Response[SpendExplanation]:
        """Counters and ledger are exact. The aggregates are behind, by what `not_counted` says."""
        of = on or state.clock.now().astimezone(UTC).date()
        found = await explaining.explain(database, principal.tenant_id, period, of)
        return Response(found, headers=found.as_of.headers())

    @get(
        "/requests/{request_id:uuid}",
        "Explain what a request cost",
        {"items": [_ATTEMPT]},
        "Its attempts, each with its tokens, its price and the budgets that it counts in.",
        errors=(404,),
        opt=NEEDS_ADMIN,
    )
    async def explain_request(
        self,
        database: Db,
        principal: By,
        settings: NamedDependency[Settings],
        request_id: Annotated[UUID, PathParameter(description="The id of an attempt, or of a conversation.")],
    ) -> AttemptExplanations:
        """A request has several attempts where a provider failed and the next one was asked."""
        listed = await asyncio.to_thread(prices.load, settings.llm.prices)
        return await explaining.explain_request(database, principal.tenant_id, request_id, listed)
