"""`GET /v1/pipeline`: what the watcher saw, for any member, and unknown when nobody looks."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from adriatic.watch.freshness import judge
from schemas.pipeline import DeadLetters, GroupLag, PartitionLag, Pipeline, Slot
from tests.api.world import Caller, World

pytestmark = pytest.mark.stack


async def write(world: World, age_s: float, found: dict[str, Any] | None = None) -> None:
    """A picture of so many seconds ago."""
    async with world.admin() as admin:
        now_s = await admin.fetchval("select extract(epoch from clock_timestamp())::float8") - age_s
        picture = Pipeline(
            sampled_at_s=now_s,
            groups=[
                GroupLag(
                    group="adriatic.index",
                    status="slow",
                    ours=True,
                    lag_records=3,
                    lag_s=12.0,
                    trend=0.5,
                    retention_share=0.2,
                    partitions=[PartitionLag("t", 0, "slow", 1, 4, 3, 12.0)],
                ),
                GroupLag(group="somebody-of-another-tenant", status="ok", ours=False),
            ],
            views=[judge("search.words", "index", now_s, [now_s - 1, now_s - 2, now_s - 3, now_s - 5])],
            dead_letters=[DeadLetters("index", "t", "undecodable", 2, 1), DeadLetters("index", "t", "x", 0, 4)],
            slot=Slot(name="adriatic", active=True, status="reserved", retained_bytes=7, safe_bytes=None),
        )
        await admin.execute(
            "insert into ops.pipeline (sampled_at, found) values (to_timestamp($1), $2::jsonb) "
            "on conflict (only_row) do update set sampled_at = excluded.sampled_at, found = excluded.found",
            now_s,
            json.dumps(found) if found is not None else msgspec.json.encode(picture).decode(),
        )


async def test_a_member_sees_the_pipeline_and_nobody_elses_names(world: World, tenant: Caller) -> None:
    await write(world, age_s=0)
    answer = await tenant.get("/v1/pipeline")
    assert answer.status_code == 200
    shown = answer.json()
    assert shown["groups"] == [
        {
            "group": "adriatic.index",
            "status": "slow",
            "lag_records": 3,
            "lag_s": 12.0,
            "trend": 0.5,
            "eta_s": None,
            "retention_share": 0.2,
            "reason": "",
        }
    ]
    (view,) = shown["views"]
    assert (view["view"], view["state"], view["age_s"]) == ("search.words", "fresh", 5.0)
    assert view["stages"] == {"wal": 1.0, "capture": 1.0, "topic": 1.0, "flow": 2.0}
    assert shown["dead_letters"]["open"] == 2
    assert [kind["code"] for kind in shown["dead_letters"]["kinds"]] == ["undecodable"]
    assert shown["slot"]["status"] == "reserved"
    assert "another-tenant" not in answer.text


async def test_a_picture_that_is_old_is_unknown_and_has_no_number(world: World, tenant: Caller) -> None:
    await write(world, age_s=60)
    shown = (await tenant.get("/v1/pipeline")).json()
    assert [(group["status"], group["lag_records"]) for group in shown["groups"]] == [("unknown", None)]
    assert [(view["state"], view["age_s"]) for view in shown["views"]] == [("unknown", None)]
    assert (shown["dead_letters"]["open"], shown["slot"]) == (None, None)
    assert "nobody has looked for" in shown["reason"]


async def test_a_picture_of_another_release_or_none_is_unknown(world: World, tenant: Caller) -> None:
    await write(world, age_s=0, found={"shape": "another"})
    assert "nobody has looked yet" in (await tenant.get("/v1/pipeline")).json()["reason"]
    async with world.admin() as admin:
        await admin.execute("delete from ops.pipeline")
    shown = (await tenant.get("/v1/pipeline")).json()
    assert (shown["sampled_at"], shown["groups"], shown["views"]) == (None, [], [])
    assert shown["reason"]


async def test_without_a_token_nothing_is_said(world: World) -> None:
    assert (await world.http.get("/v1/pipeline")).status_code == 401
