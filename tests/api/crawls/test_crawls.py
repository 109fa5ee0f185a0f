"""`/v1/crawls` and `/v1/pages`: row, job and event together, bounds, and a page on its way to the search."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from api.crawls import service
from connectors.kafka.records import Record
from connectors.postgres.connections import connect
from connectors.postgres.jobs import ClaimedJob
from dataflows.flow import Event
from dataflows.index import Index
from runtime.settings import Settings
from streams.crawling import frontier
from tests.api.documents.test_events import encoded
from tests.api.search.corpus import writing
from tests.api.world import Caller, World, running
from tests.connectors.fetching.local_web import serving_web
from tests.dataflows import world as flows
from tests.streams.crawl_world import Crawls, page
from tests.streams.world import Bench

pytestmark = pytest.mark.stack

START = "https://docs.example.org/"


async def rows(world: World, query: str, *values: Any) -> list[Any]:
    async with world.admin() as admin:
        return [tuple(row) for row in await admin.fetch(query, *values)]


async def test_a_crawl_is_recorded_with_its_job_and_its_event_and_shown(tenant: Caller, world: World) -> None:
    made = await tenant.post("/v1/crawls", {"start_urls": [START, "HTTPS://docs.example.org#x"], "depth": 1})
    assert made.status_code == 201, made.text
    crawl = made.json()
    assert (crawl["state"], crawl["start_urls"], crawl["depth"]) == ("queued", [START], 1)
    assert crawl["hosts"] == ["docs.example.org", "www.docs.example.org"]
    assert made.headers["location"] == f"/v1/crawls/{crawl['crawl_id']}"
    assert (await tenant.get(made.headers["location"])).json() == crawl
    assert (await tenant.get("/v1/crawls")).json()["items"] == [crawl]
    assert (await tenant.get(f"{made.headers['location']}/urls")).json() == {"items": [], "next_cursor": None}
    job = (await tenant.get(f"/v1/jobs/{crawl['job_id']}")).json()
    assert (job["kind"], job["params"]["crawl_id"]) == ("crawl", crawl["crawl_id"])
    told = await rows(
        world,
        "select topic, key::text, value::text from app.outbox where tenant_id = $1 order by event_id",
        tenant.tenant_id,
    )
    assert [topic for topic, _, _ in told] == ["crawl.submitted", "job.progress"]


async def test_a_key_makes_one_crawl_and_is_not_used_for_another(tenant: Caller) -> None:
    headers = {"idempotency-key": "once"}
    first = await tenant.post("/v1/crawls", {"start_urls": [START]}, headers=headers)
    again = await tenant.post("/v1/crawls", {"start_urls": [START]}, headers=headers)
    assert again.json()["crawl_id"] == first.json()["crawl_id"]
    assert again.headers["idempotent-replay"] == "true"
    other = await tenant.post("/v1/crawls", {"start_urls": [START], "depth": 9}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert len((await tenant.get("/v1/crawls")).json()["items"]) == 1


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"start_urls": ["ftp://docs.example.org/"]}, "http and https"),
        ({"start_urls": ["https://user:secret@docs.example.org/"]}, "credentials"),
        ({"start_urls": [START], "hosts": ["other.example"]}, "not on one of the hosts"),
        ({"start_urls": []}, "start_urls"),
        ({"start_urls": [START] * 21}, "start_urls"),
        ({"start_urls": [START], "pages_max": 10_001}, "pages_max"),
        ({"start_urls": [START], "depth": 21}, "depth"),
        ({"start_urls": [START], "seconds_max": 86_401}, "seconds_max"),
        ({"start_urls": [START], "bytes_max": 10_737_418_241}, "bytes_max"),
        ({"start_urls": [START], "gone_after": 0}, "gone_after"),
        ({"start_urls": [START], "hosts": ["*"]}, "hosts"),
        ({"start_urls": [START], "include": ["guide"]}, "include"),
    ],
)
async def test_what_is_beyond_a_bound_is_refused_and_named(tenant: Caller, body: dict[str, Any], why: str) -> None:
    refused = await tenant.post("/v1/crawls", body)
    assert refused.status_code == 400
    assert why in refused.text


async def test_so_many_crawls_are_open_at_once_and_one_that_is_cancelled_makes_room(
    tenant: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "CRAWLS_OPEN_MAX", 2)
    made = [await tenant.post("/v1/crawls", {"start_urls": [START]}) for _ in range(3)]
    assert [answer.status_code for answer in made] == [201, 201, 409]
    assert "2 crawls are not over" in made[2].json()["detail"]
    cancelled = await tenant.request("DELETE", made[0].headers["location"])
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert (await tenant.post("/v1/crawls", {"start_urls": [START]})).status_code == 201


async def test_a_page_that_was_crawled_is_found_shown_and_deleted(tenant: Caller, world: World) -> None:
    settings = world.settings
    with serving_web() as local:
        local.serve("a.test", "/", page("heron", "/otters"))
        local.serve("a.test", "/otters", page("otter"))
        made = await tenant.post("/v1/crawls", {"start_urls": [local.url("a.test")]})
        crawls = Crawls(Bench(settings), local)
        crawl_id = UUID(made.json()["crawl_id"])
        crawls.job_of[crawl_id] = UUID(made.json()["job_id"])
        with crawls.working("a.test"):
            crawls.wait(crawl_id)
    shown = (await tenant.get(made.headers["location"])).json()
    assert (shown["state"], shown["asked"], shown["urls"]["stored"]) == ("succeeded", 2, 2)
    urls = (await tenant.get(f"{made.headers['location']}/urls", params={"state": "stored", "limit": 1})).json()
    assert (urls["items"][0]["url"], urls["items"][0]["status"]) == (local.url("a.test"), 200)
    assert urls["next_cursor"]
    with writing(settings), connect(settings.postgres) as connection, connection.transaction():
        for (row,) in connection.execute("select to_jsonb(v) from app.page_versions v").fetchall():
            change = Event(
                Record("adriatic.app.page_versions", 0, 0, None, None, b""),
                {"op": "c", "before": None, "after": row},
                "adriatic.app.page_versions",
            )
            flow = Index()
            flow.apply(connection, flow.transform([change]))
    answer = await tenant.get("/v1/search", params={"q": "otter river fishes", "mode": "words", "kind": "page"})
    hit = answer.json()["hits"][0]
    assert (hit["kind"], hit["title"], hit["path"]) == ("page", "The otter", f"/v1/pages/{hit['source_id']}")
    assert (hit["document"]["origin"], hit["document"]["uri"]) == ("crawl", local.url("a.test", "/otters"))
    read = (await tenant.get(hit["path"])).json()
    assert (read["url"], read["version"], read["crawl_id"]) == (local.url("a.test", "/otters"), 1, str(crawl_id))
    assert "The otter of river" in read["body"]
    assert (await tenant.request("DELETE", hit["path"])).status_code == 200
    assert (await tenant.get(hit["path"])).status_code == 404
    again = await tenant.get("/v1/search", params={"q": "otter river fishes", "mode": "words", "kind": "page"})
    assert [each["title"] for each in again.json()["hits"]] == ["The heron"], "a delete is seen at once"


async def test_what_is_said_of_crawls_fits_its_contracts(fresh_database: Settings) -> None:
    with flows.made(fresh_database) as made:
        outbox = flows.Outbox(made)
        async with running(fresh_database) as api:
            caller = await api.tenant()
            outbox.messages()
            crawl = (await caller.post("/v1/crawls", {"start_urls": [START]})).json()
            asked = {"job.progress", "crawl.submitted"}
            assert set(encoded(made.registry, outbox.messages())) == asked
            job = ClaimedJob(
                caller.tenant_id, crawl["job_id"], "crawl", {"crawl_id": crawl["crawl_id"]}, {}, 0, None, 0, "o"
            )
            with connect(fresh_database.postgres, name="t") as connection:
                frontier.end(connection, frontier.read(connection, job), "pages")
                connection.commit()
            (message,) = outbox.messages()
            assert encoded(made.registry, [message]) == ["crawl.completed"]
            assert message["value"]["stopped"] == "pages"
