"""`/v1/research` on a real database: asked once, done by steps, the user's own, killed and taken up again, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from adriatic.cli.evaluate import EvaluatedHistory
from adriatic.cli.evaluate_research import WAYS, ResearchedHistory, ask_each_way
from api.research import service
from api.research.asking import ResearchDesk
from api.research.citing import CitedPlace, check_citation, read_places
from api.research.evaluation import HeldOut, MadeQuestion
from connectors.embedders.spaces import SpaceEmbedders
from runtime.settings import Settings
from tests import databases
from tests.api.research import world as desks
from tests.api.search.corpus import Corpus
from tests.api.world import Caller, World, running
from tests.connectors.embedders.stand_in import FakeEmbedder
from tests.dataflows.world import until

pytestmark = pytest.mark.stack

DUAL = """\
# Nobody writes twice

Between the two writes the service can be killed. We will not write to both the table and the topic.

Deletes are handled by tombstones, which are kept for 7 days.
"""
BROWSER = "# Render invoices\n\nInvoices are rendered with a headless browser in under 2 seconds.\n"
SECRET = "# Nobody writes twice\n\nThe other tenant writes to both the table and the topic in 99 steps.\n"
QUESTION = "Why are there not two writes, and how are deletes handled?"


@pytest.fixture
async def own_world(fresh_database: Settings) -> AsyncIterator[World]:
    async with running(fresh_database) as world:
        yield world


async def furnish(world: World, corpus: Corpus) -> Caller:
    tenant = await world.tenant()
    other = await world.tenant()
    for caller, texts in ((tenant, (DUAL, BROWSER)), (other, (SECRET,))):
        corpus.log(caller.tenant_id, "default")
        for number, text in enumerate(texts, 1):
            corpus.adr(caller.tenant_id, text.partition("\n")[0].removeprefix("# "), text, number=number)
    return tenant


def ask_database(settings: Settings, query: Any, *arguments: Any) -> list[tuple[Any, ...]]:
    return databases.ask(settings.postgres.dsn("admin"), query, *arguments)


def events(settings: Settings, topic: str) -> list[tuple[Any, ...]]:
    return ask_database(settings, "select tenant_id, value from app.outbox where topic = %s", topic)


def done(settings: Settings, research_id: str) -> bool:
    found = ask_database(settings, "select finished_at is not null from app.jobs where job_id = %s", research_id)
    return bool(found[0][0])


async def test_a_question_is_taken_apart_searched_and_answered_with_checked_quotes(
    own_world: World, corpus: Corpus
) -> None:
    settings = own_world.settings
    tenant = await furnish(own_world, corpus)
    made = await tenant.post("/v1/research", {"question": QUESTION, "passes": 3, "expand": True, "rerank": True})
    assert made.status_code == 201, made.text
    assert (made.json()["state"], made.json()["result"]) == ("queued", None)
    ((of, announced),) = events(settings, "rag.search.requested")
    assert (of, announced["question"], announced["sources_max"]) == (tenant.tenant_id, QUESTION, 8)
    assert announced["job_id"] == made.json()["research_id"]
    with desks.working(settings):
        until(lambda: done(settings, made.json()["research_id"]))
    found = (await tenant.get(made.headers["location"])).json()
    assert (found["state"], found["phase"], found["unit"]) == ("succeeded", "answered", "steps")
    assert found["done"] == found["total"] >= 3
    result = found["result"]
    assert [part["answered"] for part in result["parts"]] == [True, True]
    assert result["reranked"] == "late-interaction"
    said = [claim["text"] for part in result["parts"] for claim in part["claims"]]
    assert "Deletes are handled by tombstones, which are kept for 7 days." in said
    assert not any("other tenant" in each or "99" in each for each in said), "row security holds for the worker too"
    by_number = {source["number"]: source for source in result["sources"]}
    for claim in (claim for part in result["parts"] for claim in part["claims"]):
        source = by_number[claim["source"]]
        body = ask_database(
            settings,
            "select body from app.adr_versions where tenant_id = %s and adr_id = %s and version = %s",
            *(tenant.tenant_id, UUID(source["source_id"]), source["version"]),
        )[0][0]
        assert body[claim["char_start"] : claim["char_end"]] == claim["text"]
    ((of, completed),) = events(settings, "rag.search.completed")
    assert (of, completed["answered"], completed["parts_answered"]) == (tenant.tenant_id, True, 2)
    assert completed["claims"] == len(said)
    assert ask_database(settings, "select progress from app.research") == [({},)], "what rounds kept is gone"


async def test_what_the_sources_do_not_hold_is_said(own_world: World, corpus: Corpus) -> None:
    settings = own_world.settings
    tenant = await furnish(own_world, corpus)
    asked = {"question": "Which mascot does the marketing department prefer on posters?"}
    made = await tenant.post("/v1/research", asked)
    with desks.working(settings):
        until(lambda: done(settings, made.json()["research_id"]))
    found = (await tenant.get(made.headers["location"])).json()
    assert (found["state"], found["phase"]) == ("succeeded", "not in the sources")
    assert (found["result"]["answered"], found["result"]["sources"]) == (False, [])
    assert found["result"]["passes"][0]["missing"], "it says what no source covers"


async def test_a_key_makes_one_and_another_user_sees_none(own_world: World, corpus: Corpus) -> None:
    tenant = await furnish(own_world, corpus)
    headers = {"idempotency-key": "k1"}
    first = await tenant.post("/v1/research", {"question": QUESTION}, headers=headers)
    again = await tenant.post("/v1/research", {"question": QUESTION}, headers=headers)
    assert first.json() == again.json()
    assert again.headers["idempotent-replay"] == "true"
    assert (await tenant.post("/v1/research", {"question": "Another?"}, headers=headers)).status_code == 409
    path = first.headers["location"]
    for stranger in (own_world.caller(tenant.tenant_id, "eve"), await own_world.tenant()):
        assert (await stranger.get("/v1/research")).json()["items"] == []
        for method, route in (("GET", path), ("POST", f"{path}/cancel"), ("DELETE", path)):
            assert (await stranger.request(method, route)).status_code == 404
    assert (await tenant.get(path)).json()["state"] == "queued"
    listed = (await tenant.get("/v1/research")).json()["items"]
    assert [each["question"] for each in listed] == [QUESTION]


async def test_so_many_wait_for_one_user(own_world: World) -> None:
    tenant = await own_world.tenant()
    for number in range(service.OPEN_MAX):
        assert (await tenant.post("/v1/research", {"question": f"What is {number}?"})).status_code == 201
    refused = await tenant.post("/v1/research", {"question": "One more?"})
    assert refused.status_code == 409
    assert f"at most {service.OPEN_MAX} may" in refused.json()["detail"]
    other = own_world.caller(tenant.tenant_id, "eve")
    assert (await other.post("/v1/research", {"question": "One of mine?"})).status_code == 201


async def test_cancelled_and_deleted_before_a_worker_comes(own_world: World, corpus: Corpus) -> None:
    settings = own_world.settings
    tenant = await furnish(own_world, corpus)
    cancelled = (await tenant.post("/v1/research", {"question": QUESTION})).headers["location"]
    assert (await tenant.request("POST", f"{cancelled}/cancel")).json()["state"] == "cancelled"
    deleted = (await tenant.post("/v1/research", {"question": QUESTION})).headers["location"]
    assert (await tenant.delete(deleted)).status_code == 204
    assert (await tenant.get(deleted)).status_code == 404
    assert ask_database(settings, "select count(*) from app.research") == [(1,)]
    assert "deletes" not in str(ask_database(settings, "select * from app.jobs")), "a job says nothing of the question"


async def test_what_is_deleted_under_a_worker_has_no_result(own_world: World, corpus: Corpus) -> None:
    settings = own_world.settings
    tenant = await furnish(own_world, corpus)
    made = await tenant.post("/v1/research", {"question": QUESTION})
    ask_database(settings, "delete from app.research")
    with desks.working(settings):
        until(lambda: done(settings, made.json()["research_id"]))
    assert ask_database(settings, "select state, phase from app.jobs") == [("succeeded", "deleted")]
    assert events(settings, "rag.search.completed") == []


@pytest.mark.crash
async def test_killed_in_the_middle_it_goes_on_and_gives_one_result(
    own_world: World, corpus: Corpus, tmp_path: Path
) -> None:
    settings = own_world.settings
    tenant = await furnish(own_world, corpus)
    made = await tenant.post("/v1/research", {"question": QUESTION, "passes": 3, "expand": True})
    research_id = made.json()["research_id"]
    kept = "select progress <> '{}' from app.research"
    process = desks.start_process(settings, 1.0, tmp_path / "log")
    try:
        until(lambda: ask_database(settings, kept) == [(True,)])
    finally:
        process.kill()
        process.wait()
    before = ask_database(settings, "select progress -> 'passes' -> 0 from app.research")
    # As the lease would run out by itself: nobody waits twenty seconds for it here.
    ask_database(settings, "update app.jobs set lease_until = now() where lease_until is not null")
    with desks.working(settings):
        until(lambda: done(settings, research_id))
    found = (await tenant.get(made.headers["location"])).json()
    assert found["state"] == "succeeded"
    assert found["result"]["passes"][0] == before[0][0], "what was done is not done again"
    assert len(events(settings, "rag.search.completed")) == 1


async def test_a_citation_of_another_version_place_or_tenant_is_absent(own_world: World, corpus: Corpus) -> None:
    settings = own_world.settings
    tenant = await furnish(own_world, corpus)
    query = "select adr_id, tenant_id = %s, body from app.adr_versions"
    rows = ask_database(settings, query, tenant.tenant_id)
    mine = next((adr_id, body) for adr_id, own, body in rows if own and body == DUAL)
    theirs = next((adr_id, body) for adr_id, own, body in rows if not own)
    good = CitedPlace("adr", mine[0], 1, 0, len(mine[1]))
    places = [
        good,
        CitedPlace("adr", mine[0], 2, 0, len(mine[1])),
        CitedPlace("adr", mine[0], 1, 0, len(mine[1]) + 1),
        CitedPlace("document", mine[0], 1, 0, 10),
        CitedPlace("adr", theirs[0], 1, 0, len(theirs[1])),
    ]
    async with desks.researching(settings, NoReranker()) as researcher:
        texts = await read_places(researcher.database, tenant.tenant_id, places)
        claim = "Deletes are handled by tombstones, which are kept for 7 days."
        assert check_citation(claim, good, texts).fault is None
        assert check_citation(claim.replace("7", "8"), good, texts).fault == "numbers"
        assert [check_citation(claim, each, texts).fault for each in places[1:]] == ["absent"] * 4
        theirs_claim = theirs[1].splitlines()[2]
        assert check_citation(theirs_claim, places[-1], texts).fault == "absent"
        gone = await tenant.delete(f"/v1/adrs/{mine[0]}", headers={"if-match": '"1"'})
        assert gone.status_code == 200, gone.text
        there = ask_database(settings, "select deleted from mv.search_state where source_id = %s", mine[0])
        assert there == [(False,)], "no flow has looked"
        assert await read_places(researcher.database, tenant.tenant_id, [good]) == {}, "a delete is seen at once"
        restored = await tenant.post(f"/v1/adrs/{mine[0]}/restore", {"expected_version": 2})
        assert restored.status_code == 200, restored.text
        assert good in await read_places(researcher.database, tenant.tenant_id, [good])
        ask_database(settings, "update mv.search_state set deleted = true where source_id = %s", mine[0])
        assert await read_places(researcher.database, tenant.tenant_id, [good]) == {}, "what is gone is not cited"


async def test_every_way_of_the_evaluation_is_asked_of_the_database(own_world: World, corpus: Corpus) -> None:
    settings = own_world.settings
    tenant = await furnish(own_world, corpus)
    rows = ask_database(settings, "select adr_id, number from app.adrs where tenant_id = %s", tenant.tenant_id)
    right = frozenset(number - 1 for _, number in rows)
    question = MadeQuestion("pair", "How are deletes handled? And how are invoices rendered?", right)
    one = ResearchedHistory(EvaluatedHistory("x", []), HeldOut([], [question]), tenant.tenant_id)
    one.items = {adr_id: number - 1 for adr_id, number in rows}
    desk = ResearchDesk(settings, SpaceEmbedders.of(FakeEmbedder()))
    try:
        await asyncio.to_thread(ask_each_way, desk, one, question)
    finally:
        desk.close()
    assert one.found.keys() == WAYS.keys()
    assert {recall for found in one.found.values() for recall, _ in found} == {1.0}


class NoReranker:
    """Nobody asks it."""

    name = "none"

    def score(self, questions: Any, passages: Any) -> list[list[float]]:
        raise AssertionError

    def close(self) -> None:
        return
