"""`/v1/allowed-hosts`: who sets the list, what is on it, and what a crawl of the tenant may be asked for then."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api.hosts import service
from tests.api.world import Caller, World

pytestmark = pytest.mark.stack

PATH = "/v1/allowed-hosts"


async def put(caller: Caller, *hosts: str, **more: Any) -> dict[str, Any]:
    answer = await caller.put(PATH, {"hosts": list(hosts), **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_each_change_is_a_version_with_who_made_it(tenant: Caller) -> None:
    assert (await tenant.get(PATH)).json() == {"version": 0, "hosts": [], "set_by": None, "set_at": None}
    first = await put(tenant, "Docs.Example.org", "docs.example.org", "*.Example.com/Guide/*", "a.example/")
    assert first["hosts"] == ["*.example.com/Guide/*", "a.example", "docs.example.org"]
    assert (first["version"], bool(first["set_by"]), bool(first["set_at"])) == (1, True, True)
    again = await put(tenant, "a.example", "docs.example.org", "*.example.com/Guide/*")
    assert again == first, "what is so already is no change"
    assert (await put(tenant))["hosts"] == []
    versions = (await tenant.get(f"{PATH}/versions?limit=1")).json()
    assert [each["version"] for each in versions["items"]] == [2]
    older = (await tenant.get(f"{PATH}/versions?cursor={versions['next_cursor']}")).json()
    assert older["items"] == [first]


async def test_whoever_replaces_what_is_not_there_any_more_is_told(tenant: Caller) -> None:
    await put(tenant, "a.example", replaces=0)
    answer = await tenant.put(PATH, {"hosts": ["b.example"], "replaces": 0})
    assert (answer.status_code, "at version 1" in answer.json()["detail"]) == (409, True)
    # Of many at once that say what they replace, one is right.
    asked = [tenant.put(PATH, {"hosts": [f"h{number}.example"], "replaces": 1}) for number in range(8)]
    assert sorted(each.status_code for each in await asyncio.gather(*asked)) == [200] + [409] * 7
    assert (await tenant.get(PATH)).json()["version"] == 2


@pytest.mark.parametrize(
    "entry",
    [
        "*",
        "*.org",
        "*.1.2.3.4",
        "https://a.example",
        "a.example:8080",
        "a..example",
        "a.example/ü",
        " ",
        "a.example/x y",
    ],
)
async def test_what_is_no_host_is_refused_by_its_place(tenant: Caller, entry: str) -> None:
    answer = await tenant.put(PATH, {"hosts": ["a.example", entry]})
    assert answer.status_code == 400, answer.text
    assert "hosts[1]" in answer.text
    assert (await tenant.get(PATH)).json()["version"] == 0


async def test_a_list_is_bounded_and_so_are_its_versions(tenant: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = await tenant.put(PATH, {"hosts": [f"h{number}.example" for number in range(201)]})
    assert (answer.status_code, "200" in answer.text) == (400, True)
    answer = await tenant.put(PATH, {"hosts": ["a.example/" + "x" * 500]})
    assert (answer.status_code, "500" in answer.text) == (400, True)
    monkeypatch.setattr(service, "VERSIONS_MAX", 2)
    for number in range(4):
        await put(tenant, f"h{number}.example")
    kept = (await tenant.get(f"{PATH}/versions")).json()["items"]
    assert [each["version"] for each in kept] == [4, 3]


async def test_an_admin_sets_it_and_members_read_it(world: World, tenant: Caller) -> None:
    await put(tenant, "a.example")
    member = world.caller(tenant.tenant_id, "grace", role="member")
    assert (await member.get(PATH)).json()["hosts"] == ["a.example"]
    answer = await member.put(PATH, {"hosts": []})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    stranger = await world.tenant()
    assert (await stranger.get(PATH)).json()["hosts"] == []
    assert (await stranger.get(f"{PATH}/versions")).json()["items"] == []


async def test_a_crawl_begins_only_at_what_is_allowed(world: World, tenant: Caller) -> None:
    start = "https://docs.example.org/guide/"
    assert (await tenant.post("/v1/crawls", {"start_urls": [start]})).status_code == 201, "without a list, anywhere"
    await put(tenant, "docs.example.org/guide/*")
    assert (await tenant.post("/v1/crawls", {"start_urls": [start]})).status_code == 201
    for url in (
        "https://docs.example.org/",
        "https://docs.example.org/guide/../admin",
        "https://docs.example.org/guide/%2e%2e/admin",
        "https://docs.example.org.evil.example/guide/x",
        "https://other.example/guide/",
    ):
        answer = await tenant.post("/v1/crawls", {"start_urls": [start, url], "hosts": ["*.example.org", "*.example"]})
        assert answer.status_code in (400, 403), url
    answer = await tenant.post("/v1/crawls", {"start_urls": ["https://other.example/"]})
    assert (answer.status_code, "the list of hosts" in answer.json()["detail"]) == (403, True)
    # That of one tenant is nothing to another.
    stranger = await world.tenant()
    assert (await stranger.post("/v1/crawls", {"start_urls": ["https://other.example/"]})).status_code == 201
