"""`/v1/usage`: rows, ranges and totals, of the caller's tenant alone; money that is not known is not free."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from api import watermarks
from connectors.postgres.connections import connect
from dataflows.usage import GROUPS, Spent, Usage, UsageEffects
from runtime.ids import new_id
from tests.api.world import Caller, World

pytestmark = pytest.mark.stack

DAY = datetime(2026, 3, 1, tzinfo=UTC)
USER = uuid4()
ONE = Spent(
    *(USER, USER, DAY, USER, "web", "anthropic", "m", "completed", "provider"),
    *(10, 20, 30, 40, 50, 60, 7),
)


def count(world: World, *attempts: Spent) -> None:
    """As the flow does."""
    with connect(world.settings.postgres) as connection:
        Usage().apply(connection, UsageEffects(attempts, (), ()))


def of(tenant: Caller, **more: Any) -> Spent:
    return replace(ONE, tenant_id=tenant.tenant_id, attempt_id=new_id(), **more)


async def usage(tenant: Caller, **query: Any) -> dict[str, Any]:
    answer = await tenant.get("/v1/usage", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def bucket(row: dict[str, Any]) -> tuple[str | None, int]:
    return row["begins"], row["spent"]["attempts"]


async def test_days_and_hours_come_newest_first_and_are_those_of_utc(world: World, tenant: Caller) -> None:
    count(world, *(of(tenant, started_at=DAY + timedelta(minutes=minutes)) for minutes in (-1, 0, 59, 60)))
    days = await usage(tenant)
    assert [bucket(row) for row in days["rows"]] == [("2026-03-01T00:00:00Z", 3), ("2026-02-28T00:00:00Z", 1)]
    hours = await usage(tenant, by="hour")
    assert [bucket(row) for row in hours["rows"]] == [
        ("2026-03-01T01:00:00Z", 1),
        ("2026-03-01T00:00:00Z", 2),
        ("2026-02-28T23:00:00Z", 1),
    ]
    assert hours["totals"] == days["totals"]
    assert days["totals"]["tokens"] == {
        "input_uncached": 40,
        "cache_read": 80,
        "cache_write_5m": 120,
        "cache_write_1h": 160,
        "output_visible": 200,
        "reasoning": 240,
    }
    assert days["totals"]["cost_micro_usd"] == 28


async def test_a_range_has_what_begins_in_it(world: World, tenant: Caller) -> None:
    count(world, *(of(tenant, started_at=DAY + timedelta(hours=hours)) for hours in (0, 1, 24, 25)))
    second = "2026-03-02T00:00:00Z"
    assert [bucket(row) for row in (await usage(tenant, **{"from": second}))["rows"]] == [(second, 2)]
    assert (await usage(tenant, to=second))["totals"]["attempts"] == 2
    assert (await usage(tenant, **{"from": "2026-03-01T00:00:01Z"}))["totals"]["attempts"] == 2
    assert (await usage(tenant, by="hour", **{"from": "2026-03-01T01:00:00Z", "to": second}))["totals"]["attempts"] == 1
    # The same moment, said in another zone.
    assert (await usage(tenant, by="model", **{"from": "2026-03-02T05:00:00+05:00"}))["totals"]["attempts"] == 2
    refused = await tenant.get("/v1/usage", params={"from": "2026-03-01T00:00:00"})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid-input")


async def test_models_users_and_keys_come_by_cost_summed_over_days(world: World, tenant: Caller) -> None:
    me = uuid4()
    count(
        world,
        of(tenant, model="dear", cost_micro_usd=100, user_id=me, key_id=None),
        of(tenant, started_at=DAY + timedelta(days=1)),
        of(tenant),
    )
    models = (await usage(tenant, by="model"))["rows"]
    assert [(row["provider"], row["model"], row["spent"]["cost_micro_usd"]) for row in models] == [
        ("anthropic", "dear", 100),
        ("anthropic", "m", 14),
    ]
    keys = (await usage(tenant, by="key"))["rows"]
    assert [(row["key_id"], row["spent"]["attempts"]) for row in keys] == [("", 1), ("web", 2)]
    users = (await usage(tenant, by="user"))["rows"]
    assert [row["user_id"] for row in users] == [str(me), str(USER)]
    assert [row["user"] for row in users] == [None, None], "nobody here has these ids"


async def test_a_user_has_a_name(world: World, tenant: Caller) -> None:
    await tenant.get("/v1/adrs")
    async with world.admin() as admin:
        user_id = await admin.fetchval("select user_id from app.users where tenant_id = $1", tenant.tenant_id)
    count(world, of(tenant, user_id=user_id))
    assert [row["user"] for row in (await usage(tenant, by="user"))["rows"]] == ["ada"]


async def test_an_unknown_price_is_null_and_never_zero(world: World, tenant: Caller) -> None:
    nothing = (await usage(tenant))["totals"]
    assert (nothing["attempts"], nothing["cost_micro_usd"]) == (0, None)
    count(world, of(tenant, cost_micro_usd=None))
    unknown = (await usage(tenant))["totals"]
    assert (unknown["cost_micro_usd"], unknown["unpriced"]) == (None, 1)
    count(world, of(tenant))
    some = (await usage(tenant))["totals"]
    assert (some["cost_micro_usd"], some["unpriced"], some["attempts"]) == (7, 1, 2)


async def test_rows_are_bounded_and_totals_are_of_all(world: World, tenant: Caller) -> None:
    count(world, *(of(tenant, model=f"m{number}") for number in range(3)))
    found = await usage(tenant, by="model", limit=2)
    assert (len(found["rows"]), found["more"], found["totals"]["attempts"]) == (2, True, 3)
    assert (await usage(tenant, by="model", limit=3))["more"] is False
    assert (await tenant.get("/v1/usage", params={"limit": 1001})).status_code == 400


@pytest.mark.parametrize("by", ["hour", "day", "model", "user", "key"])
async def test_another_tenant_sees_none_of_it(world: World, tenant: Caller, by: str) -> None:
    count(world, of(tenant))
    other = await world.tenant()
    found = await usage(other, by=by)
    assert (found["rows"], found["totals"]["attempts"]) == ([], 0)
    assert (await usage(tenant, by=by))["totals"]["attempts"] == 1


async def test_an_answer_says_how_far_it_is_and_waits_for_a_position(
    world: World, tenant: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermarks, "POSITION_WAIT_S", 0.2)
    assert (await usage(tenant))["as_of"]["state"] == "unknown"
    async with world.admin() as admin:
        await admin.execute(
            "insert into mv.watermarks (view, topic, partition, lsn, source_at) "
            "select v, 'adriatic.app.usage_events', p, '0/1000', now() "
            "from generate_series(0, 7) p, unnest($1::text[]) as v",
            list(GROUPS),
        )
        try:
            answer = await tenant.get("/v1/usage", headers={"adriatic-position": "0/1000"})
            assert (answer.json()["as_of"]["state"], answer.headers["adriatic-as-of-lsn"]) == ("fresh", "0/1000")
            late = await tenant.get("/v1/usage", headers={"adriatic-position": "0/1001"})
            assert (late.status_code, late.json()["code"]) == (503, "behind")
            assert "usage_by_day" in late.json()["detail"]
        finally:
            await admin.execute("delete from mv.watermarks where view = any($1)", list(GROUPS))


async def test_an_answer_of_a_chat_is_in_the_ledger_with_its_credential(world: World, tenant: Caller) -> None:
    await tenant.create()
    assert (await tenant.post("/v1/chat/stream", {"question": "Why Postgres?"})).status_code == 200
    async with world.admin() as admin:
        query = "select key_id from app.usage_events where tenant_id = $1"
        rows: list[Any] = []
        while not rows:
            rows = await admin.fetch(query, tenant.tenant_id)
    assert [len(row["key_id"]) for row in rows] == [36], "the local issuer names each token"
