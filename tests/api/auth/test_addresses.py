"""Addresses as hashes: equal for one household, different for each tenant and key, and none for this machine."""

from __future__ import annotations

import pytest

from api.auth.addresses import HASH_BYTES, AddressHasher, read_network
from runtime.ids import new_id
from runtime.settings import AbuseSettings, Settings
from tests.api.world import running


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("203.0.113.7", "::ffff:203.0.113.7", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
    ],
)
def test_a_household_is_one_address(one: str, other: str, same: bool) -> None:
    assert (read_network(one) == read_network(other)) is same


@pytest.mark.parametrize("text", ["", "127.0.0.1", "::1", "0.0.0.0", "::", "somebody", "203.0.113.7:80", "1" * 999])
def test_what_is_no_address_of_somebody_is_none(text: str) -> None:
    assert read_network(text) is None


def test_tenants_and_keys_do_not_know_each_others_addresses() -> None:
    hasher, tenant = AddressHasher(b"key"), new_id()
    network = read_network("203.0.113.7")
    assert network is not None
    made = hasher.hash_network(network, tenant)
    assert len(made) == HASH_BYTES
    assert made == AddressHasher(b"key").hash_network(network, tenant)
    assert made != hasher.hash_network(network, new_id())
    assert made != AddressHasher(b"other").hash_network(network, tenant)


@pytest.mark.stack
async def test_a_new_user_is_noted_once_by_what_the_proxy_says(fresh_database: Settings) -> None:
    api = fresh_database.api.model_copy(update={"client_address_header": "x-forwarded-for"})
    async with running(fresh_database.model_copy(update={"api": api})) as world:
        tenant = await world.tenant()
        people = [world.caller(tenant.tenant_id, name) for name in ("ada", "ben", "eve")]
        for caller in (*people, *people):
            headers = {"x-forwarded-for": "198.51.100.1, 203.0.113.7"}
            assert (await caller.get("/v1/logs", headers=headers)).status_code == 200
        nowhere = await world.caller(tenant.tenant_id, "fay").get("/v1/logs", headers={"x-forwarded-for": "nobody"})
        assert nowhere.status_code == 200
        async with world.admin() as admin:
            rows = await admin.fetch("select address_hash, user_id from app.user_addresses")
            assert await admin.fetchval("select count(*) from app.users") == 4
        assert len({row["address_hash"] for row in rows}) == 1
        assert len({row["user_id"] for row in rows}) == 3
        assert b"203.0.113.7" not in rows[0]["address_hash"]


@pytest.mark.stack
async def test_where_nobody_looks_no_key_is_made(fresh_database: Settings) -> None:
    off = fresh_database.model_copy(update={"abuse": AbuseSettings(users_per_address=0)})
    assert AddressHasher.open(off) is None
