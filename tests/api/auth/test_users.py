"""Users whom a process sees for the first time: many at once, each with a row of its own, in few statements."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from api.auth import users
from api.auth.tokens import Claims
from api.auth.users import Users
from api.db import Database
from api.gathering import TOGETHER_MAX
from runtime.errors import DependencyUnavailable, Forbidden
from runtime.ids import new_id
from runtime.settings import Settings
from tests.api.world import World

pytestmark = pytest.mark.stack

MANY = 1_000
ADDRESS = b"0123456789abcdef"


class CountedDatabase(Database):
    """Knows how many statements it was asked."""

    statements = 0

    async def call_all(self, statement: str, *values: Any) -> Any:
        self.statements += 1
        return await super().call_all(statement, *values)


@asynccontextmanager
async def seeing(settings: Settings) -> AsyncIterator[tuple[Users, CountedDatabase]]:
    """With one connection: whoever does not share it waits."""
    database = CountedDatabase(settings.postgres, connections_max=1)
    await database.open()
    seen = Users(database)
    yield seen, database
    await seen.close()
    await database.close()


def claims(tenant_id: UUID, subject: str, name: str = "", email: str = "") -> Claims:
    return Claims(tenant_id, subject, name, email)


async def test_a_thousand_new_users_share_some_statements(world: World, shared_database: Settings) -> None:
    """Some come with two tokens, and the same names in another tenant are other people."""
    one, other = (await world.tenant()).tenant_id, (await world.tenant()).tenant_id
    wanted = [claims(one, f"user-{number}") for number in range(MANY)]
    wanted += [claims(one, f"user-{number}", "Ada") for number in range(10)]
    async with seeing(shared_database) as (seen, database):
        strangers = [claims(other, f"user-{number}") for number in range(10)]
        found = await asyncio.gather(*(seen.identify(each, lambda: ADDRESS) for each in (*wanted, *strangers)))
        assert [(each.tenant_id, each.subject) for each in found] == [
            (each.tenant_id, each.subject) for each in (*wanted, *strangers)
        ]
        assert len({each.user_id for each in found}) == MANY + 10
        assert [each.user_id for each in found[:10]] == [each.user_id for each in found[MANY : MANY + 10]]
        assert database.statements <= 4 + MANY // TOGETHER_MAX + 1
        async with world.admin() as admin:
            statement = "select count(*) from app.users where tenant_id = $1"
            assert [await admin.fetchval(statement, each) for each in (one, other)] == [MANY, 10]
            statement = "select count(*) from app.user_addresses where tenant_id = $1 and address_hash = $2"
            assert [await admin.fetchval(statement, each, ADDRESS) for each in (one, other)] == [MANY, 10]
        before = database.statements
        assert await seen.identify(wanted[0]) == found[0]
        assert database.statements == before, "who was seen is remembered"


async def test_who_asks_is_found_out_while_all_connections_work(world: World) -> None:
    tenant_id = (await world.tenant()).tenant_id
    async with AsyncExitStack() as working:
        for _ in range(world.settings.postgres.api_pool_max):
            await working.enter_async_context(world.app.state.database.connection())
        found = await asyncio.gather(*(world.caller(tenant_id, f"u-{number}").get("/v1/models") for number in range(9)))
        assert [each.status_code for each in found] == [200] * 9


async def test_a_name_that_came_later_is_taken_and_none_is_forgotten(world: World, shared_database: Settings) -> None:
    tenant_id = (await world.tenant()).tenant_id
    async with seeing(shared_database) as (seen, _):
        shown = [
            (await seen.identify(claims(tenant_id, "ada", name, f"{number}@example.com"))).shown
            for number, name in enumerate(("", "Ada", "", "Ada L."))
        ]
    assert shown == ["ada", "Ada", "Ada", "Ada L."]
    async with world.admin() as admin:
        assert await admin.fetchval("select count(*) from app.user_addresses where tenant_id = $1", tenant_id) == 0


async def test_nobody_is_made_in_a_tenant_that_is_not_there(shared_database: Settings) -> None:
    nowhere = new_id()
    async with seeing(shared_database) as (seen, _):
        asked = (seen.identify(claims(nowhere, name)) for name in ("ada", "bob", "eve"))
        for each in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(each, Forbidden)
            assert "there is no tenant" in each.detail


async def test_so_many_wait_and_no_more(
    world: World, shared_database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "WAITING_MAX", 2)
    tenant_id = (await world.tenant()).tenant_id
    async with seeing(shared_database) as (seen, _):
        asked = (seen.identify(claims(tenant_id, name)) for name in ("ada", "bob", "eve"))
        *found, refused = await asyncio.gather(*asked, return_exceptions=True)
        assert not any(isinstance(each, BaseException) for each in found)
        assert isinstance(refused, DependencyUnavailable)
        assert (await seen.identify(claims(tenant_id, "eve"))).subject == "eve", "there is room again"


async def test_who_waits_for_long_is_told(shared_database: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "WAIT_S_MAX", 0.05)
    async with seeing(shared_database) as (seen, database), database.connection():  # the only one
        with pytest.raises(DependencyUnavailable, match="was not found out"):
            await seen.identify(claims(new_id(), "ada"))
