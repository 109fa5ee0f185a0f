"""`/v1/activity`, `/v1/counts`, `/v1/daily-active-users`: what happened, how much there is, who was active."""

from __future__ import annotations

from typing import Annotated

from litestar import Controller, Response
from litestar.params import QueryParameter

from api import watermarks
from api.activity import service
from api.activity.service import DAYS_DEFAULT, DAYS_MAX, FEED_DEFAULT, FEED_MAX, ActiveDays, ActivityFeed, Counts
from api.routes import By, Db, get

_AS_OF = {"state": "fresh", "lsn": "0/1A2B3C8", "time": "2026-01-15T09:00:04Z", "age_s": 0.9}
_HAPPENING = {
    "adr_id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "version": 2,
    "change": "update",
    "title": "Use a log",
    "status": "accepted",
    "author": "Ada",
    "effective_at": "2026-01-15T09:00:03Z",
    "recorded_at": "2026-01-15T09:00:03Z",
}
_COUNTS = [
    {"kind": "adrs", "label": "accepted", "count": 12},
    {"kind": "versions", "label": "create", "count": 12},
    {"kind": "versions", "label": "update", "count": 31},
]


class ActivityController(Controller):
    """Views that follow every write. Each answer says how much of what was written it shows."""

    path = "/v1"
    tags = ("activity",)

    @get("/activity", "What happened", {"items": [_HAPPENING], "as_of": _AS_OF}, "Versions, newest first.")
    async def get_activity(
        self,
        database: Db,
        principal: By,
        limit: Annotated[int, QueryParameter(ge=1, le=FEED_MAX, description="Versions at most.")] = FEED_DEFAULT,
        position: watermarks.Position = None,
    ) -> Response[ActivityFeed]:
        """The newest versions of the tenant's ADRs. The whole history of one is `GET /v1/adrs/{adr_id}/versions`."""
        await watermarks.wait_until_shown(database, principal.tenant_id, "activity", position)
        found = await service.feed(database, principal.tenant_id, limit)
        return Response(found, headers=found.as_of.headers())

    @get("/counts", "How much there is", {"items": _COUNTS, "as_of": _AS_OF}, "Counts that are not zero.")
    async def get_counts(self, database: Db, principal: By, position: watermarks.Position = None) -> Response[Counts]:
        """ADRs and deleted ADRs by status, versions by kind of change."""
        await watermarks.wait_until_shown(database, principal.tenant_id, "entity_counts", position)
        found = await service.counts(database, principal.tenant_id)
        return Response(found, headers=found.as_of.headers())

    @get(
        "/daily-active-users",
        "Who was active",
        {"items": [{"day": "2026-01-15", "users": 3}], "as_of": _AS_OF},
        "Days with at least one active user, newest first.",
    )
    async def get_daily_active_users(
        self,
        database: Db,
        principal: By,
        limit: Annotated[int, QueryParameter(ge=1, le=DAYS_MAX, description="Days at most.")] = DAYS_DEFAULT,
        position: watermarks.Position = None,
    ) -> Response[ActiveDays]:
        """How many authors, by name, have versions that took effect on each day, in UTC."""
        await watermarks.wait_until_shown(database, principal.tenant_id, "daily_active_users", position)
        found = await service.active_days(database, principal.tenant_id, limit)
        return Response(found, headers=found.as_of.headers())
