"""A tenant changes its embedding space: on real Postgres, with the flows and the jobs, while people search and edit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from connectors.postgres.connections import connect
from connectors.postgres.vector_indexes import step
from dataflows import space_jobs
from dataflows.embed import Embed
from dataflows.related import Related
from runtime.settings import SearchSettings, Settings
from tests.api.spaces import town as towns
from tests.api.spaces.town import NEW, OLD, Town, body_of, search
from tests.api.world import Caller

pytestmark = pytest.mark.stack

TENANTS = 6
FLIPS = 12
QUERY = "the ledger is kept each night"
KILL_S_MAX = 60.0


@pytest.fixture
async def town(fresh_database: Settings) -> AsyncIterator[Town]:
    async with towns.founded(fresh_database) as founded:
        yield founded


async def ask(caller: Caller, path: str, **body: Any) -> dict[str, Any]:
    response = await caller.post(f"/v1/spaces{path}", body)
    assert response.status_code == 201, response.text
    job: dict[str, Any] = response.json()
    return job


async def activate(caller: Caller, name: str, *, force: bool = False) -> dict[str, Any]:
    response = await caller.put("/v1/spaces/active", {"name": name, "force": force})
    assert response.status_code == 200, response.text
    spaces: dict[str, Any] = response.json()
    return spaces


async def build(town: Town, caller: Caller) -> None:
    """Build and evaluate the new space."""
    await ask(caller, "", name=NEW)
    await asyncio.to_thread(town.work)
    await ask(caller, "/evaluations", name=NEW)
    await asyncio.to_thread(town.work)


async def settled(town: Town, name: str = "one", count: int = 4) -> Caller:
    """A tenant whose ADRs are found by meaning."""
    caller = await town.inhabit(name, count)
    await asyncio.to_thread(town.flow)
    return caller


class Searchers:
    """Search for each tenant until told to stop, and keep what came back."""

    def __init__(self, callers: list[Caller]) -> None:
        self._callers = callers
        self.answers: list[tuple[Caller, dict[str, Any]]] = []
        self.failures: list[str] = []
        self._stop = asyncio.Event()
        self._came = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Searchers:
        self._tasks = [asyncio.create_task(self._search(caller)) for caller in self._callers]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def answered(self, seen: int) -> None:
        """Wait for one answer more than `seen`."""
        async with self._came:
            await self._came.wait_for(lambda: len(self.answers) > seen)

    async def _search(self, caller: Caller) -> None:
        while not self._stop.is_set():
            for mode in ("meaning", "hybrid"):
                response = await caller.post("/v1/search", {"q": QUERY, "mode": mode, "explain": True})
                found = response.json()
                if response.status_code != 200 or found["degraded"] or not found["hits"]:
                    self.failures.append(response.text)
                async with self._came:
                    self.answers.append((caller, found))
                    self._came.notify_all()


async def test_six_tenants_change_their_space_while_they_are_searched(town: Town) -> None:
    callers = [await town.inhabit(f"t{number}") for number in range(TENANTS)]
    await asyncio.to_thread(town.flow)
    async with Searchers(callers) as searchers:
        for caller in callers:
            await build(town, caller)
        for caller in callers:
            spaces = await activate(caller, NEW, force=True)
            (evaluation,) = spaces["evaluations"]
            assert evaluation["questions"] == 4
            assert 0 < evaluation["quality"]["ndcg"] <= 1
            assert 0 < evaluation["quality_against"]["ndcg"] <= 1
    assert searchers.failures == []
    used = [town.judge(caller.tenant_id, QUERY, found) for caller, found in searchers.answers]
    assert {OLD, NEW} == set(used)
    for caller in callers:
        assert town.judge(caller.tenant_id, QUERY, await search(caller, QUERY)) == NEW
        assert town.differences(caller.tenant_id) == []


async def test_no_search_is_mixed_or_fails_while_a_tenant_goes_to_and_fro(town: Town) -> None:
    caller = await settled(town)
    await build(town, caller)
    async with Searchers([caller] * 4) as searchers:
        for turn in range(FLIPS):
            seen = len(searchers.answers)
            await activate(caller, (NEW, OLD)[turn % 2], force=True)
            await searchers.answered(seen)
    assert searchers.failures == []
    used = {town.judge(caller.tenant_id, QUERY, found) for _, found in searchers.answers}
    assert used == {OLD, NEW}


async def test_a_search_that_began_in_the_other_space_asks_again(town: Town) -> None:
    caller = await settled(town)
    await search(caller, QUERY)
    await build(town, caller)
    await activate(caller, NEW, force=True)
    before = len(town.models.texts(NEW))
    assert town.judge(caller.tenant_id, QUERY, await search(caller, QUERY)) == NEW
    assert QUERY in town.models.texts(NEW)[before:]


async def test_what_is_edited_meanwhile_is_in_both_spaces(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_jobs, "TEXTS_MAX", 3)
    caller = await settled(town)
    await ask(caller, "", name=NEW)
    assert len(await asyncio.to_thread(town.work, 1)) == 1
    adrs = (await caller.get("/v1/adrs")).json()["items"]
    for adr in adrs[:2]:
        read = (await caller.get(f"/v1/adrs/{adr['adr_id']}")).json()
        await caller.update(read, body=body_of("edited", 1))
    await caller.create(body_of("new", 5))
    await asyncio.to_thread(town.flow)
    complete = "select count(*) from mv.search_state where meaning_version is distinct from words_version"
    assert town.ask(complete) == [(0,)], "an edit is found by meaning before the space is ready"
    await asyncio.to_thread(town.work)
    assert town.states(caller.tenant_id) == {OLD: "active", NEW: "ready"}
    assert town.vectors(caller.tenant_id, OLD) >= town.vectors(caller.tenant_id, NEW) > 0
    assert town.differences(caller.tenant_id) == []


async def test_a_version_is_not_found_by_meaning_before_both_spaces_have_it(town: Town) -> None:
    caller = await settled(town)
    await ask(caller, "", name=NEW)
    await asyncio.to_thread(town.work)
    await caller.create(body_of("late", 6))
    town.flow(carry=False)
    first, *rest = town._requests()
    town._step(Embed(town.embedders), [first])
    waiting = "select count(*) from mv.search_state where meaning_version is distinct from words_version"
    assert {first.value["space"], *(each.value["space"] for each in rest)} == {town.spaces[OLD], town.spaces[NEW]}
    assert town.ask(waiting) == [(1,)]
    town._step(Embed(town.embedders), rest)
    assert town.ask(waiting) == [(0,)]


async def test_a_killed_build_goes_on_and_embeds_nothing_again(town: Town) -> None:
    caller = await settled(town, count=7)
    await ask(caller, "", name=NEW)
    held, reached = threading.Event(), threading.Event()
    good, asked = town.models._answer, 0

    def hold(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        nonlocal asked
        asked += 1
        if asked > 2:
            reached.set()
            held.wait(KILL_S_MAX)
        return good(request)

    town.models.server.misbehave = hold
    builder = town.builder()
    try:
        assert await asyncio.to_thread(reached.wait, KILL_S_MAX)
    finally:
        builder.kill()
        builder.wait()
        town.models.server.misbehave = good
        held.set()
    kept = town.vectors(caller.tenant_id, NEW)
    assert 0 < kept < town.vectors(caller.tenant_id, OLD)
    known = set(town.models.texts(NEW)[:kept])
    before = len(town.models.texts(NEW))
    town.ask("update app.jobs set lease_until = clock_timestamp()")  # as if its time had passed
    await asyncio.to_thread(town.work)
    assert town.states(caller.tenant_id) == {OLD: "active", NEW: "ready"}
    again = town.models.texts(NEW)[before:]
    assert again
    assert known.isdisjoint(again)
    assert town.differences(caller.tenant_id) == []


async def test_a_roll_back_gives_the_same_answers_as_before(town: Town) -> None:
    caller = await settled(town)
    before = (await search(caller, QUERY))["hits"]
    await build(town, caller)
    await activate(caller, NEW, force=True)
    assert (await search(caller, QUERY))["hits"] != before
    spaces = await activate(caller, OLD)
    assert {each["space"]: each["state"] for each in spaces["items"]} == {
        town.spaces[OLD]: "active",
        town.spaces[NEW]: "former",
    }
    assert (await search(caller, QUERY))["hits"] == before


async def test_a_drop_leaves_nothing_and_moves_related_decisions(town: Town) -> None:
    caller, other = await settled(town), await settled(town, "other")
    town.relate(caller.tenant_id)
    await build(town, caller)
    await build(town, other)
    await activate(caller, NEW, force=True)
    assert town.differences(caller.tenant_id, Related) == [], "related decisions stay in the space before"
    await ask(caller, "/drops", name=OLD)
    await asyncio.to_thread(town.work)
    assert town.states(caller.tenant_id) == {NEW: "active"}
    assert town.vectors(caller.tenant_id, OLD) == 0
    assert town.ask("select distinct dimension from mv.related_features where tenant_id = %s", caller.tenant_id) == [
        (towns.DIMENSIONS[NEW],)
    ]
    assert town.differences(caller.tenant_id, Related) == []
    assert town.judge(caller.tenant_id, QUERY, await search(caller, QUERY)) == NEW
    assert town.states(other.tenant_id) == {OLD: "active", NEW: "ready"}
    assert town.vectors(other.tenant_id, OLD) == town.vectors(other.tenant_id, NEW) > 0
    await caller.create(body_of("after", 3))
    await asyncio.to_thread(town.flow)
    assert town.vectors(caller.tenant_id, OLD) == 0


async def test_a_vector_of_a_space_that_is_not_kept_is_found(town: Town) -> None:
    caller = await settled(town)
    town.ask(
        "insert into mv.embeddings (tenant_id, space, text_hash, embedding) values (%s, %s, 'x', '[1]')",
        caller.tenant_id,
        town.spaces[NEW],
    )
    assert [each.split(" ")[0] for each in town.differences(caller.tenant_id)] == ["extra"]


async def test_an_embedder_that_is_away_holds_up_nobody_who_searches_elsewhere(town: Town) -> None:
    caller = await settled(town)
    await ask(caller, "", name=NEW)
    await asyncio.to_thread(town.work)
    town.models.away = {NEW}
    await caller.create(body_of("away", 2))
    await asyncio.to_thread(town.flow)
    waiting = "select count(*) from mv.search_state where meaning_version is distinct from words_version"
    assert town.ask(waiting) == [(0,)]
    assert town.states(caller.tenant_id) == {OLD: "active", NEW: "behind"}
    refused = await caller.put("/v1/spaces/active", {"name": NEW, "force": True})
    assert refused.status_code == 409, refused.text
    town.models.away = set()
    await ask(caller, "", name=NEW)
    await asyncio.to_thread(town.work)
    assert town.states(caller.tenant_id) == {OLD: "active", NEW: "ready"}
    assert town.differences(caller.tenant_id) == []


async def test_a_space_is_not_taken_before_it_was_evaluated_or_when_it_finds_less(town: Town) -> None:
    caller = await settled(town)
    await ask(caller, "", name=NEW)
    await asyncio.to_thread(town.work)
    refused = await caller.put("/v1/spaces/active", {"name": NEW})
    assert (refused.status_code, "was not evaluated" in refused.text) == (409, True)
    town.ask(
        "insert into app.space_evaluations (tenant_id, space, against, ranks, against_ranks) "
        "values (%s, %s, %s, %s, %s)",
        *(caller.tenant_id, town.spaces[NEW], town.spaces[OLD], [0] * 20, [1] * 20),
    )
    refused = await caller.put("/v1/spaces/active", {"name": NEW})
    assert (refused.status_code, "finds less" in refused.text) == (409, True)
    town.ask("update app.space_evaluations set ranks = against_ranks")
    await activate(caller, NEW)
    assert town.states(caller.tenant_id) == {OLD: "former", NEW: "active"}


async def test_a_large_tenant_has_its_index_before_it_changes(town: Town) -> None:
    caller = await settled(town)
    index(town)
    await build(town, caller)
    town.ask("update app.space_evaluations set ranks = against_ranks")
    refused = await caller.put("/v1/spaces/active", {"name": NEW})
    assert (refused.status_code, "has no index of adr" in refused.text) == (409, True)
    index(town)
    await activate(caller, NEW)
    found = await search(caller, QUERY)
    assert found["explain"]["meaning_routes"] == {"adr": "index"}
    town.judge(caller.tenant_id, QUERY, found)
    await ask(caller, "/drops", name=OLD)
    await asyncio.to_thread(town.work)
    index(town)
    assert town.ask("select distinct space from mv.vector_indexes") == [(town.spaces[NEW],)]
    assert town.ask("select count(*) from pg_inherits where inhparent = 'mv.vectors'::regclass") == [(1,)]
    assert town.differences(caller.tenant_id) == []


async def test_another_tenant_sees_and_changes_nothing(town: Town) -> None:
    caller, other = await settled(town), await settled(town, "other")
    await build(town, caller)
    spaces = (await other.get("/v1/spaces")).json()
    assert {each["space"]: each["state"] for each in spaces["items"]} == {
        town.spaces[OLD]: "active",
        town.spaces[NEW]: "unused",
    }
    assert spaces["evaluations"] == []
    for method, path in (("PUT", "/active"), ("POST", "/drops"), ("POST", "/evaluations")):
        refused = await other.request(method, f"/v1/spaces{path}", json={"name": NEW})
        assert refused.status_code == 409, refused.text
    assert town.states(caller.tenant_id) == {OLD: "active", NEW: "ready"}
    assert town.vectors(other.tenant_id, NEW) == 0


async def test_what_is_searched_cannot_be_dropped_and_a_fourth_space_is_refused(town: Town) -> None:
    caller = await settled(town)
    assert (await caller.post("/v1/spaces", {"name": OLD})).status_code == 409
    assert (await caller.post("/v1/spaces", {"name": "nobody"})).status_code == 404
    first = await ask(caller, "", name=NEW)
    assert (await ask(caller, "", name=NEW))["job_id"] == first["job_id"], "asked again, it is the same job"
    assert (await caller.post("/v1/spaces/drops", {"name": OLD})).status_code == 409


def index(town: Town) -> None:
    """Take steps until every tenant of more than three passages has its indexes."""
    rules = SearchSettings(index_memory_mb=64).model_copy(update={"exact_passages_max": 3})
    while True:
        with connect(town.settings.postgres) as connection:
            if step(connection, rules) is None:
                return
