"""`/v1/spend/flags`: an admin sees use that looks like abuse, and says what it was; nobody else does."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from runtime.settings import Settings
from tests.api.world import Caller, World, running

pytestmark = pytest.mark.stack

FLAGS = "/v1/spend/flags"

_FLAG = """
  insert into app.abuse_flags (tenant_id, kind, subject, day, measured, threshold, raised_at)
  values ($1, $2, $3, now()::date, 9, 5, now() - make_interval(secs => $4))
"""


async def flag(world: World, caller: Caller, subject: str, kind: str = "rapid-calls", ago_s: float = 0) -> None:
    async with world.admin() as admin:
        await admin.execute(_FLAG, caller.tenant_id, kind, subject, ago_s)


async def listed(caller: Caller, **params: Any) -> list[Any]:
    response = await caller.get(FLAGS, params=params)
    assert response.status_code == 200, response.text
    items: list[Any] = response.json()["items"]
    return items


async def test_flags_are_listed_until_somebody_has_looked(fresh_database: Settings) -> None:
    async with running(fresh_database) as world:
        caller, other = await world.tenant(), await world.tenant()
        for number in range(3):
            await flag(world, caller, f"user {number}", ago_s=number)
        await flag(world, other, "theirs")
        assert [each["subject"] for each in await listed(caller)] == ["user 0", "user 1", "user 2"]
        first = (await caller.get(FLAGS, params={"limit": 2})).json()
        assert [each["subject"] for each in await listed(caller, limit=2, cursor=first["next_cursor"])] == ["user 2"]
        flag_id = first["items"][0]["flag_id"]
        done = await caller.put(f"{FLAGS}/{flag_id}", {"note": "It was the load test."})
        assert (done.status_code, done.json()["note"]) == (200, "It was the load test.")
        assert done.json()["reviewed_by"]
        assert [each["subject"] for each in await listed(caller)] == ["user 1", "user 2"]
        assert [each["note"] for each in await listed(caller, reviewed="true")] == ["It was the load test.", "", ""]
        assert (await other.put(f"{FLAGS}/{flag_id}", {"note": "x"})).status_code == 404
        assert (await caller.put(f"{FLAGS}/{flag_id}", {"note": ""})).status_code == 400
        assert [each["subject"] for each in await listed(other)] == ["theirs"]


async def test_who_came_from_an_address_is_shown_while_it_is_known(fresh_database: Settings) -> None:
    async with running(fresh_database) as world:
        caller = await world.tenant()
        await caller.get("/v1/logs")
        shared = uuid4().bytes
        await flag(world, caller, shared.hex(), "users-of-one-address")
        async with world.admin() as admin:
            insert = "insert into app.user_addresses select tenant_id, $1, user_id from app.users returning user_id"
            user_id = await admin.fetchval(insert, shared)
        assert [each["users"] for each in await listed(caller)] == [[str(user_id)]]
        async with world.admin() as admin:
            await admin.execute("delete from app.user_addresses")
        assert [each["users"] for each in await listed(caller)] == [[]]


async def test_a_member_sees_none(fresh_database: Settings) -> None:
    async with running(fresh_database) as world:
        caller = await world.tenant()
        member = world.caller(caller.tenant_id, "mia", role="member")
        assert (await member.get(FLAGS)).status_code == 403
        assert (await member.put(f"{FLAGS}/{uuid4()}", {"note": "x"})).status_code == 403
