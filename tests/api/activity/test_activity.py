"""Feed, counts and active users over HTTP: what the views have, bounded, of the caller's tenant alone."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from api import watermarks
from api.activity.service import FEED_MAX
from dataflows.activity import EVENTS_MAX, Activity
from tests.api.world import Caller, World

pytestmark = pytest.mark.stack

ROUTES = {"activity": "activity", "counts": "entity_counts", "daily-active-users": "daily_active_users"}


def test_the_bound_of_an_answer_is_that_of_the_view() -> None:
    assert FEED_MAX == EVENTS_MAX
    assert set(ROUTES.values()) == {view.name for view in Activity.views}


async def items(tenant: Caller, route: str, **query: Any) -> list[dict[str, Any]]:
    answer = await tenant.get(f"/v1/{route}", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.json()["as_of"]["state"] == answer.headers["adriatic-as-of-state"]
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def furnish(world: World, tenant: Caller) -> None:
    async with world.admin() as admin:
        for number in range(3):
            await admin.execute(
                "insert into mv.activity values ($1, $2, 1, 'create', $3, 'accepted', 'Ada', now(), "
                "now() + $4 * interval '1 s')",
                *(tenant.tenant_id, uuid4(), f"Title {number}", float(number)),
            )
            await admin.execute(
                "insert into mv.daily_active_users values ($1, '2026-01-01'::date + $2::int, $2 + 1)",
                *(tenant.tenant_id, number),
            )
        await admin.execute(
            "insert into mv.entity_counts values ($1, 'versions', 'create', 3), ($1, 'adrs', 'accepted', 3)",
            tenant.tenant_id,
        )


async def test_each_shows_its_view_newest_first(world: World, tenant: Caller) -> None:
    await furnish(world, tenant)
    assert [one["title"] for one in await items(tenant, "activity")] == ["Title 2", "Title 1", "Title 0"]
    assert [one["title"] for one in await items(tenant, "activity", limit=1)] == ["Title 2"]
    assert await items(tenant, "counts") == [
        {"kind": "adrs", "label": "accepted", "count": 3},
        {"kind": "versions", "label": "create", "count": 3},
    ]
    assert await items(tenant, "daily-active-users", limit=2) == [
        {"day": "2026-01-03", "users": 3},
        {"day": "2026-01-02", "users": 2},
    ]
    other = await world.tenant()
    assert [await items(other, route) for route in ROUTES] == [[], [], []]


@pytest.mark.parametrize("route", ROUTES)
async def test_each_says_how_far_it_is_and_waits_for_a_position(
    world: World, tenant: Caller, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermarks, "POSITION_WAIT_S", 0.2)
    view = ROUTES[route]
    async with world.admin() as admin:
        await admin.execute(
            "insert into mv.watermarks (view, topic, partition, lsn, source_at) "
            "select $1, 'adriatic.app.adr_versions', p, '0/1000', now() from generate_series(0, 7) p",
            view,
        )
        try:
            there = await tenant.get(f"/v1/{route}", headers={"adriatic-position": "0/1000"})
            assert there.json()["as_of"]["lsn"] == "0/1000"
            late = await tenant.get(f"/v1/{route}", headers={"adriatic-position": "0/1001"})
            assert (late.status_code, late.json()["code"]) == (503, "behind")
            assert view in late.json()["detail"]
        finally:
            await admin.execute("delete from mv.watermarks where view = $1", view)
