"""`/v1/feeds`: feeds, keys, and the door. What becomes of items: `tests/dataflows/test_feeds.py`."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from api.feeds import service
from schemas import feeds
from schemas.feeds import ProducerKey
from tests.api.world import Caller, World

pytestmark = pytest.mark.stack

ITEM = {"id": "page-1", "version": 1, "title": "Deploying", "text": "# Deploying\n\nNot on Fridays.\n"}


async def make(tenant: Caller, slug: str = "wiki", **more: Any) -> ProducerKey:
    made = await tenant.post("/v1/feeds", {"slug": slug, **more})
    assert made.status_code == 201, made.text
    return ProducerKey.parse(made.json()["key"]["key"])


async def emitted(world: World, tenant: Caller) -> int:
    """Items that passed the door today."""
    async with world.admin() as admin:
        return int(
            await admin.fetchval(
                "select coalesce(sum(day_items), 0) from app.feed_doors where tenant_id = $1", tenant.tenant_id
            )
        )


async def test_a_feed_is_made_shown_changed_and_deleted(tenant: Caller) -> None:
    await make(tenant, name="The wiki")
    assert (await tenant.post("/v1/feeds", {"slug": "wiki"})).status_code == 409
    listed = (await tenant.get("/v1/feeds")).json()
    assert [(each["slug"], each["name"], each["received"]) for each in listed["items"]] == [("wiki", "The wiki", 0)]
    assert listed["as_of"]["state"] == "unknown", "no flow has reported here"
    assert listed["items"][0]["behind_s"] is None
    changed = await tenant.patch("/v1/feeds/wiki", {"items_per_day": 5, "paused": True})
    feed = changed.json()["feed"]
    assert (feed["items_per_day"], feed["paused"], feed["name"]) == (5, True, "The wiki")
    assert (await tenant.delete("/v1/feeds/wiki")).status_code == 204
    for path in ("/v1/feeds/wiki", "/v1/feeds/nothing"):
        assert (await tenant.get(path)).status_code == 404
    assert (await tenant.get("/v1/feeds")).json()["items"] == []


async def test_a_deleted_feed_comes_back_without_its_keys(tenant: Caller, world: World) -> None:
    old = await make(tenant)
    assert (await tenant.delete("/v1/feeds/wiki")).status_code == 204
    new = await make(tenant)
    keys = (await tenant.get("/v1/feeds/wiki")).json()["keys"]
    assert [(key["key_id"], key["revoked_at"] is None) for key in keys] == [(new.key_id, True), (old.key_id, False)]
    async with world.admin() as admin:
        assert await admin.fetchval("select count(*) from app.feeds where tenant_id = $1", tenant.tenant_id) == 1


async def test_only_the_public_half_of_a_key_is_kept(tenant: Caller, world: World) -> None:
    key = await make(tenant)
    async with world.admin() as admin:
        row = await admin.fetchrow(
            "select to_jsonb(k)::text as all, public_key from app.feed_keys k where tenant_id = $1", tenant.tenant_id
        )
    assert bytes(row["public_key"]) == key.public
    assert key.seed.hex() not in row["all"]
    assert key.seed.hex() not in (await tenant.get("/v1/feeds/wiki")).text


async def test_keys_rotate_and_are_bounded(tenant: Caller) -> None:
    first = await make(tenant)
    second = (await tenant.post("/v1/feeds/wiki/keys", {"name": "new"})).json()
    assert (await tenant.delete(f"/v1/feeds/wiki/keys/{first.key_id}")).status_code == 204
    assert (await tenant.delete("/v1/feeds/wiki/keys/nothing")).status_code == 404
    keys = (await tenant.get("/v1/feeds/wiki")).json()["keys"]
    assert [(key["key_id"], key["name"], key["revoked_at"] is None) for key in keys] == [
        (second["key_id"], "new", True),
        (first.key_id, "", False),
    ]
    made = [(await tenant.post("/v1/feeds/wiki/keys", {})).status_code for _ in range(service.KEYS_MAX)]
    assert made == [201] * (service.KEYS_MAX - 1) + [409]


async def test_items_are_handed_on_as_one(tenant: Caller, world: World) -> None:
    await make(tenant)
    sent = await tenant.post("/v1/feeds/wiki", {"items": [ITEM, {"id": "page-2", "version": 3, "deleted": True}]})
    assert (sent.status_code, sent.json()) == (202, {"received": 2})
    assert await emitted(world, tenant) == 2
    too_many = await tenant.post("/v1/feeds/wiki", {"items": [ITEM] * (service.ITEMS_MAX + 1)})
    assert too_many.status_code == 400
    assert (await tenant.post("/v1/feeds/other", {"items": [ITEM]})).status_code == 404


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"text": " "}, "items[1]: an item that is not deleted has a text"),
        ({"text": "x" * (feeds.TEXT_BYTES_MAX + 1)}, "items[1]: text has at most"),
        ({"media_type": "image/png"}, "items[1]: media_type is one of"),
        ({"version": 0}, "items[1].version"),
        ({"published_at": "2026-01-15T09:00:00"}, "items[1].published_at: the time has no zone"),
        ({"titel": "x"}, "unknown field"),
    ],
)
async def test_one_bad_item_and_nothing_is_taken(
    tenant: Caller, world: World, change: dict[str, Any], says: str
) -> None:
    await make(tenant)
    refused = await tenant.post("/v1/feeds/wiki", {"items": [ITEM, {**ITEM, "id": "bad", **change}]})
    assert refused.status_code == 400
    assert says in refused.json()["detail"]
    assert await emitted(world, tenant) == 0


async def test_a_paused_feed_takes_nothing(tenant: Caller) -> None:
    await make(tenant)
    await tenant.patch("/v1/feeds/wiki", {"paused": True})
    assert (await tenant.post("/v1/feeds/wiki", {"items": [ITEM]})).status_code == 409


@pytest.mark.parametrize(
    ("quota", "longest_s"),
    [({"items_per_minute": 3}, 60), ({"items_per_day": 3}, 86_400), ({"bytes_per_day": 900}, 86_400)],
)
async def test_beyond_the_quota_it_says_when_to_come_again(
    tenant: Caller, world: World, quota: dict[str, Any], longest_s: int
) -> None:
    await make(tenant, **quota)
    assert (await tenant.post("/v1/feeds/wiki", {"items": [ITEM, ITEM]})).status_code == 202
    refused = await tenant.post("/v1/feeds/wiki", {"items": [ITEM, ITEM]})
    assert (refused.status_code, refused.json()["code"]) == (429, "rate-limited")
    assert 1 <= int(refused.headers["retry-after"]) <= longest_s
    assert await emitted(world, tenant) == 2, "what was refused counts nothing"


# --- the feed's key in the place of a token -------------------------------------------------------------------------


async def with_key(world: World, key: ProducerKey | str, method: str, path: str, body: Any = None) -> int:
    response = await world.http.request(method, path, json=body, headers={"authorization": f"Bearer {key}"})
    return response.status_code


async def test_a_key_sends_to_its_feed_and_does_nothing_else(tenant: Caller, world: World) -> None:
    key, other = await make(tenant), await make(tenant, "other")
    body = {"items": [ITEM]}
    assert await with_key(world, key, "POST", "/v1/feeds/wiki", body) == 202
    assert await with_key(world, other, "POST", "/v1/feeds/wiki", body) == 403
    for method, path in (("GET", "/v1/feeds/wiki"), ("DELETE", "/v1/feeds/wiki"), ("GET", "/v1/adrs")):
        assert await with_key(world, key, method, path) == 401
    await tenant.delete(f"/v1/feeds/wiki/keys/{key.key_id}")
    assert await with_key(world, key, "POST", "/v1/feeds/wiki", body) == 401


async def test_a_key_of_another_tenant_or_with_a_wrong_seed_is_none(tenant: Caller, world: World) -> None:
    key = await make(tenant)
    stranger = await world.tenant()
    theirs = await make(stranger)
    body = {"items": [ITEM]}
    assert await with_key(world, theirs, "POST", "/v1/feeds/wiki", body) == 202
    assert await emitted(world, tenant) == 0, "it went to the stranger's own feed of that name"
    for forged in (
        ProducerKey(key.key_id, theirs.seed),
        ProducerKey(key.key_id, b"s" * 32),
        ProducerKey.new(tenant.tenant_id),
        ProducerKey.new(uuid4()),
        "adf_x",
    ):
        assert await with_key(world, forged, "POST", "/v1/feeds/wiki", body) == 401
