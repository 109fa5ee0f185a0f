"""`/v1/crawl-schedules`: within bounds, by whoever may crawl, for their own tenant."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from api.crawls import schedules
from tests.api.world import Caller, World

pytestmark = pytest.mark.stack

PATH = "/v1/crawl-schedules"
CRAWL = {"start_urls": ["HTTPS://docs.example.org#x"], "depth": 1, "include": ["/guide/*"]}


async def add(caller: Caller, **more: Any) -> dict[str, Any]:
    answer = await caller.post(PATH, {"crawl": CRAWL, "every_s": 86_400, **more})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{PATH}/{answer.json()['schedule_id']}"
    found: dict[str, Any] = answer.json()
    return found


async def test_it_is_kept_paused_resumed_and_deleted(tenant: Caller) -> None:
    made = await add(tenant)
    path = f"{PATH}/{made['schedule_id']}"
    assert made["crawl"]["start_urls"] == ["https://docs.example.org/"]
    assert made["crawl"]["hosts"] == ["docs.example.org", "www.docs.example.org"]
    assert (made["every_s"], made["paused"], made["last"], made["passed_over"]) == (86_400, False, None, 0)
    assert (await tenant.get(path)).json() == made
    assert (await tenant.get(PATH)).json() == {"items": [made]}
    paused = (await tenant.post(f"{path}/pause", None)).json()
    assert (paused["paused"], paused["next_at"]) == (True, None)
    assert (await tenant.post(f"{path}/resume", None)).json() == made
    assert (await tenant.delete(path)).status_code == 204
    for asked in (tenant.get(path), tenant.delete(path), tenant.post(f"{path}/pause", None)):
        assert (await asked).status_code == 404


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"every_s": 3_599}, "every_s"),
        ({"every_s": 31_622_401}, "every_s"),
        ({"crawl": CRAWL | {"start_urls": []}}, "start_urls"),
        ({"crawl": CRAWL | {"start_urls": ["ftp://a.example/"]}}, "http and https"),
        ({"crawl": CRAWL | {"hosts": ["other.example"]}}, "not on one of the hosts"),
        ({"crawl": CRAWL | {"pages_max": 10_001}}, "pages_max"),
    ],
)
async def test_what_cannot_be_is_refused(tenant: Caller, change: dict[str, Any], why: str) -> None:
    answer = await tenant.post(PATH, {"crawl": CRAWL, "every_s": 86_400, **change})
    assert (answer.status_code, why in answer.text) == (400, True), answer.text


async def test_a_tenant_has_so_many(tenant: Caller, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "SCHEDULES_MAX", 2)
    made = [await add(tenant), await add(tenant)]
    answer = await tenant.post(PATH, {"crawl": CRAWL, "every_s": 86_400})
    assert (answer.status_code, "there are 2 schedules" in answer.json()["detail"]) == (409, True)
    await add(await world.tenant())
    await tenant.delete(f"{PATH}/{made[0]['schedule_id']}")
    await add(tenant)


async def test_a_list_of_hosts_holds_for_it_and_nobody_else_sees_it(tenant: Caller, world: World) -> None:
    made = await add(tenant)
    assert (await tenant.put("/v1/allowed-hosts", {"hosts": ["a.example"]})).status_code == 200
    answer = await tenant.post(PATH, {"crawl": CRAWL, "every_s": 86_400})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    member, stranger = world.caller(tenant.tenant_id, "grace", role="member"), await world.tenant()
    path = f"{PATH}/{made['schedule_id']}"
    assert (await member.get(path)).status_code == 200
    assert (await member.post(PATH, {"crawl": CRAWL, "every_s": 86_400})).status_code == 403
    assert (await member.delete(path)).status_code == 403
    assert (await stranger.get(path)).status_code == 404
    assert (await stranger.delete(path)).status_code == 404
    assert (await stranger.get(PATH)).json() == {"items": []}
    assert (await stranger.get(f"{PATH}/{uuid4()}")).status_code == 404
