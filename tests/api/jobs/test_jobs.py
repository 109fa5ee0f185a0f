"""`/v1/jobs`: recorded once with its announcement, listed, cancelled. Whose they are: `tests/api/test_isolation.py`."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.api.world import Caller, World

pytestmark = pytest.mark.stack


async def test_a_job_is_recorded_and_shown(tenant: Caller) -> None:
    made = await tenant.post("/v1/jobs", {"kind": "reindex"})
    assert made.status_code == 201, made.text
    job = made.json()
    assert (job["state"], job["done"], job["total"], job["attempts"]) == ("queued", 0, None, 0)
    assert made.headers["location"] == f"/v1/jobs/{job['job_id']}"
    assert (await tenant.get(made.headers["location"])).json() == job


async def test_repeating_with_the_key_makes_one_job(tenant: Caller, world: World) -> None:
    headers = {"idempotency-key": "k1"}
    first = await tenant.post("/v1/jobs", {"kind": "reindex"}, headers=headers)
    again = await tenant.post("/v1/jobs", {"kind": "reindex"}, headers=headers)
    assert first.json() == again.json()
    assert (first.headers.get("idempotent-replay"), again.headers["idempotent-replay"]) == (None, "true")
    assert len((await tenant.get("/v1/jobs")).json()["items"]) == 1
    other = await (await world.tenant()).post("/v1/jobs", {"kind": "reindex"}, headers=headers)
    assert other.json()["job_id"] != first.json()["job_id"], "keys are the tenant's own"


@pytest.mark.parametrize(
    "body", [{"kind": "nothing"}, {"kind": "reindex", "params": {"x": 1}}, {"kind": "reindex", "parms": {}}, {}]
)
async def test_what_no_kind_takes_is_refused(tenant: Caller, body: dict[str, object]) -> None:
    refused = await tenant.post("/v1/jobs", body)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid-input")
    assert (await tenant.get("/v1/jobs")).json()["items"] == []


async def test_pages_go_from_the_newest_and_filter_by_state(tenant: Caller) -> None:
    made = [(await tenant.post("/v1/jobs", {"kind": "reindex"})).json()["job_id"] for _ in range(5)]
    await tenant.post(f"/v1/jobs/{made[0]}/cancel", {})
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await tenant.get("/v1/jobs", params={"limit": 2, **cursor})).json()
        found += [job["job_id"] for job in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == made[::-1]
    queued = (await tenant.get("/v1/jobs", params={"state": "queued"})).json()["items"]
    assert [job["job_id"] for job in queued] == made[:0:-1]


async def test_a_job_that_nobody_works_on_is_cancelled_at_once_and_a_held_one_is_asked(
    tenant: Caller, world: World
) -> None:
    idle, held = [(await tenant.post("/v1/jobs", {"kind": "reindex"})).json()["job_id"] for _ in range(2)]
    async with world.admin() as admin:
        await admin.execute(
            "update app.jobs set state = 'running', lease_owner = 'x', lease_until = now() + interval '1 hour' "
            "where job_id = $1",
            held,
        )
    ended = (await tenant.request("POST", f"/v1/jobs/{idle}/cancel")).json()
    assert ended["state"] == "cancelled"
    assert ended["finished_at"]
    asked = (await tenant.request("POST", f"/v1/jobs/{held}/cancel")).json()
    assert (asked["state"], asked["cancel_requested"]) == ("running", True)
    assert (await tenant.request("POST", f"/v1/jobs/{idle}/cancel")).json() == ended, "over is over"
    assert (await tenant.request("POST", f"/v1/jobs/{uuid4()}/cancel")).status_code == 404
