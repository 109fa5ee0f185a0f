"""`/v1/drafts` and suggestions on a real database, over real HTTP in each provider's dialect: what is drafted is in no
ADR, what is accepted is there once, and what holds for a question to the chat holds here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, get_args
from uuid import uuid4

import pytest

from api.drafts.composing import RECORD_CHARS_MAX
from api.drafts.prompts import QUOTING
from connectors.llm import BYTES_PER_TOKEN
from connectors.llm.fake.requests import DialectName
from connectors.llm.fake.scripts import FakePace
from connectors.llm.fake.server import FakeLlm, listen
from connectors.llm.sse import SseDecoder
from runtime.settings import Settings
from tests.api.chat.test_providers import pointed
from tests.api.chat.test_routes import chatting, furnished, idle, ledger, openai
from tests.api.search.corpus import Corpus
from tests.api.world import Caller, World
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import StandIn, Step, standing_in

pytestmark = pytest.mark.stack

BODY = """# Bound every dual write

## Status

Accepted

## Context

Nobody writes twice, as [4] says; a queue without a bound grows until the process dies.
"""
NEW = "# Cache what is searched\n\n## Status\n\nProposed\n\n## Context\n\nA dual write fails [1], [9].\n"


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    async with standing_in() as standing:
        yield standing


def say(*texts: str) -> list[Step]:
    return [recorded.OPENAI_START, *map(recorded.openai_text, texts), recorded.OPENAI_END]


async def stream(caller: Caller, **request: Any) -> tuple[list[str], dict[str, Any], str]:
    """The names of the events, the last data of each, and the text."""
    response = await caller.post("/v1/drafts/stream", request)
    assert response.status_code == 200, response.text
    events = list(SseDecoder().feed(response.content))
    text = "".join(json.loads(event.data)["text"] for event in events if event.name == "delta")
    return [event.name for event in events], {event.name: json.loads(event.data) for event in events}, text


async def make(caller: Caller, **request: Any) -> dict[str, Any]:
    """A draft, whole."""
    response = await caller.post("/v1/drafts", request)
    assert response.status_code == 200, response.text
    draft: dict[str, Any] = response.json()
    return draft


async def written(world: World, caller: Caller) -> Any:
    """How many ADRs and versions the tenant has."""
    async with world.admin() as admin:
        return await admin.fetchrow(
            "select (select count(*) from app.adrs where tenant_id = $1) as adrs, "
            "(select count(*) from app.adr_versions where tenant_id = $1) as versions",
            caller.tenant_id,
        )


# --- with any provider ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", get_args(DialectName))
async def test_every_task_in_every_dialect_is_in_the_books_and_in_no_adr(
    fresh_database: Settings, corpus: Corpus, dialect: str
) -> None:
    async with (
        listen(FakeLlm("whole", FakePace(chunks=14))) as fake,
        chatting(fresh_database, **pointed(fake.url, dialect, "whole")) as world,
    ):
        caller = await furnished(world, corpus)
        adr = await caller.create(BODY)
        before = await written(world, caller)
        about = {"adr_id": adr["adr_id"]}
        for task in ("summarise", "expand", "review"):
            names, data, text = await stream(caller, task=task, **about)
            assert (names[:2], names[-3:]) == (["start", "sources"], ["citations", "usage", "done"])
            assert text
            first, *others = data["sources"]["sources"]
            assert (first["source_id"], first["version"]) == (adr["adr_id"], 1)
            assert bool(others) == (task != "summarise")
            assert data["citations"] == {"cited": [1], "unsupported": []}
        draft = await make(caller, task="write", brief="May we write twice, with a dual write?")
        assert (draft["task"], draft["state"], draft["finish"]) == ("write", "completed", "stop")
        assert (draft["adr_id"], draft["version"], draft["accepted"]) == (None, None, None)
        assert [source["label"] for source in draft["sources"]] == ["ADR-2", "ADR-3"]
        response = await caller.post(f"/v1/adrs/{adr['adr_id']}/suggestions", {})
        assert (response.status_code, response.json()["title"]) == (200, "fake"), response.text
        assert response.json()["usage"]["tokens"]["output_visible"] > 0
        rows, bills = await ledger(world, caller, 5), fake.bills.since(0)
        assert sorted((row["input_uncached"], row["output_visible"]) for row in rows) == sorted(
            (bill.input_tokens, bill.output_tokens) for bill in bills
        )
        assert await written(world, caller) == before
        await idle(world)


# --- what a draft is ------------------------------------------------------------------------------------------------


async def test_a_draft_is_read_again_by_who_asked_and_by_nobody_else(
    fresh_database: Settings, corpus: Corpus, server: StandIn
) -> None:
    server.script = say("It ", "fails [2], [7].")
    async with chatting(fresh_database, **openai(server)) as world:
        caller = await furnished(world, corpus)
        adr = await caller.create(BODY)
        draft = await make(caller, task="review", adr_id=adr["adr_id"], brief="Is it safe?")
        path = f"/v1/drafts/{draft['draft_id']}"
        assert (draft["text"], draft["citations"]) == ("It fails [2],.", {"cited": [2], "unsupported": [7]})
        assert (await caller.get(path)).json() == draft
        other, stranger = world.caller(caller.tenant_id, "grace"), await world.tenant()
        for somebody in (other, stranger):
            assert (await somebody.get(path)).status_code == 404
            assert (await somebody.post(f"{path}/accept", {})).status_code == 404
        gone = await stranger.post("/v1/drafts", {"task": "review", "adr_id": adr["adr_id"]})
        assert (gone.status_code, gone.json()["code"]) == (404, "not-found")
        (asked,) = server.requests
        said = json.loads(asked["messages"][1]["content"])
        assert said["record"]["text"] == BODY
        assert said["brief"] == "Is it safe?"
        assert adr["adr_id"] not in {source["source"] for source in said["sources"]}
        assert (await caller.delete(f"/v1/chat/answers/{draft['draft_id']}")).status_code == 204
        assert (await caller.get(path)).status_code == 404


async def test_a_table_of_drafts_shows_a_tenant_its_own(
    fresh_database: Settings, corpus: Corpus, server: StandIn
) -> None:
    server.script = say("Text.")
    async with chatting(fresh_database, **openai(server)) as world:
        caller, other = await furnished(world, corpus), await world.tenant()
        await make(caller, task="write", brief="Something about nothing.")
        async with world.app.state.database.connection() as connection:
            for tenant, seen in ((caller, 1), (other, 0)):
                await connection.execute("select set_config('app.tenant_id', $1, false)", str(tenant.tenant_id))
                assert await connection.fetchval("select count(*) from app.drafts") == seen


async def test_a_draft_goes_on_after_a_cut_and_stops_when_told(
    fresh_database: Settings, corpus: Corpus, server: StandIn
) -> None:
    server.script = [recorded.OPENAI_START, recorded.openai_text("Half"), recorded.OPENAI_ERROR]
    async with chatting(fresh_database, **openai(server)) as world:
        caller = await furnished(world, corpus)
        names, data, _ = await stream(caller, task="write", brief="Something.")
        assert names[-1] == "error"
        draft_id = data["start"]["answer_id"]
        again = await caller.get(f"/v1/chat/answers/{draft_id}/stream")
        assert [event.name for event in SseDecoder().feed(again.content)] == names
        draft = (await caller.get(f"/v1/drafts/{draft_id}")).json()
        assert (draft["state"], draft["finish"], draft["text"]) == ("failed", None, "Half")
        refused = await caller.post(f"/v1/drafts/{draft_id}/accept", {})
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        assert "not whole" in refused.json()["detail"]


async def test_where_nothing_is_kept_there_is_a_text_and_no_draft(
    fresh_database: Settings, corpus: Corpus, server: StandIn
) -> None:
    server.script = say(NEW)
    async with chatting(fresh_database, kept_days=0, **openai(server)) as world:
        caller = await furnished(world, corpus)
        draft = await make(caller, task="write", brief="Cache it?")
        assert draft["text"].startswith("# Cache what is searched")
        missing = await caller.get(f"/v1/drafts/{draft['draft_id']}")
        assert (missing.status_code, "kept_days" in missing.json()["hint"]) == (404, True)


# --- accepting ------------------------------------------------------------------------------------------------------


async def test_a_new_adr_comes_of_a_draft_once_and_names_what_it_stands_on(
    fresh_database: Settings, corpus: Corpus, server: StandIn
) -> None:
    server.script = say("```markdown\n", NEW, "```\n")
    async with chatting(fresh_database, **openai(server)) as world:
        caller = await furnished(world, corpus)
        await caller.post("/v1/logs", {"slug": "platform"})
        draft = await make(caller, task="write", brief="Cache what a dual write finds?")
        path = f"/v1/drafts/{draft['draft_id']}/accept"
        nowhere = await caller.post(path, {"log": "no-such-log"})
        assert nowhere.status_code == 404, nowhere.text
        # At the same moment, twice: whoever comes second finds what the first has made.
        answers = await asyncio.gather(*(caller.post(path, {"log": "platform", "tags": ["search"]}) for _ in range(2)))
        answers.append(await caller.post(path, {"body": "# Another\n"}))
        assert [answer.status_code for answer in answers] == [200] * 3, answers[-1].text
        assert len({answer.json()["adr_id"] for answer in answers}) == 1
        adr = answers[0].json()
        assert (adr["title"], adr["status"], adr["log"]) == ("Cache what is searched", "proposed", "platform")
        assert (adr["version"], adr["tags"], adr["message"]) == (1, ["search"], "Drafted by gpt-test-1")
        assert adr["body"].endswith("A dual write fails (“Nobody writes twice”),.\n")
        assert "```" not in adr["body"]
        accepted = (await caller.get(f"/v1/drafts/{draft['draft_id']}")).json()["accepted"]
        assert (accepted["adr_id"], accepted["version"]) == (adr["adr_id"], 1)


async def test_an_expanded_text_becomes_the_next_version_of_what_it_was_made_from(
    fresh_database: Settings, corpus: Corpus, server: StandIn
) -> None:
    text = BODY + "\n## Consequences\n\nIt is slower [2].\n"
    server.script = say(text)
    async with chatting(fresh_database, **openai(server)) as world:
        caller = await furnished(world, corpus)
        adr = await caller.create(BODY)
        first = await make(caller, task="expand", adr_id=adr["adr_id"])
        second = await make(caller, task="expand", adr_id=adr["adr_id"])
        # [4] is the record's own, and no source has its number.
        assert first["text"] == text
        assert 4 not in {source["number"] for source in first["sources"]}
        done = await caller.post(f"/v1/drafts/{first['draft_id']}/accept", {"message": "Say more"})
        assert (done.status_code, done.json()["version"], done.json()["message"]) == (200, 2, "Say more")
        assert done.headers["etag"].startswith('"2-')
        assert "as [4] says" in done.json()["body"]
        label = first["sources"][1]["title"]
        assert f"It is slower (“{label}”)." in done.json()["body"]
        late = await caller.post(f"/v1/drafts/{second['draft_id']}/accept", {"title": "Mine"})
        assert (late.status_code, late.json()["current_version"]) == (409, 2)
        assert (await caller.get(f"/v1/adrs/{adr['adr_id']}")).json()["version"] == 2
        await caller.delete(f"/v1/adrs/{adr['adr_id']}", headers={"if-match": "*"})
        assert (await caller.post("/v1/drafts", {"task": "review", "adr_id": adr["adr_id"]})).status_code == 410


@pytest.mark.parametrize("task", ["summarise", "review"])
async def test_what_is_for_reading_is_not_accepted(
    fresh_database: Settings, corpus: Corpus, server: StandIn, task: str
) -> None:
    server.script = say("Fine.")
    async with chatting(fresh_database, **openai(server)) as world:
        caller = await furnished(world, corpus)
        adr = await caller.create(BODY)
        draft = await make(caller, task=task, adr_id=adr["adr_id"])
        refused = await caller.post(f"/v1/drafts/{draft['draft_id']}/accept", {})
        assert (refused.status_code, "for reading" in refused.json()["detail"]) == (409, True)


async def test_a_text_that_was_cut_at_its_bound_is_not_accepted(
    fresh_database: Settings, corpus: Corpus, server: StandIn
) -> None:
    server.script = [recorded.OPENAI_START, recorded.openai_text("# Half"), recorded.openai_chunk({}, "length")]
    server.script = [*server.script, *recorded.OPENAI_END.partition(b"\n\n")[2:]]
    async with chatting(fresh_database, **openai(server)) as world:
        caller = await furnished(world, corpus)
        draft = await make(caller, task="write", brief="Something.")
        assert draft["finish"] == "length"
        refused = await caller.post(f"/v1/drafts/{draft['draft_id']}/accept", {"body": "# Mine\n"})
        assert (refused.status_code, "length" in refused.json()["detail"]) == (409, True)


# --- what is refused ------------------------------------------------------------------------------------------------


async def test_what_is_too_long_is_refused_and_nobody_is_asked(
    fresh_database: Settings, corpus: Corpus, server: StandIn
) -> None:
    async with chatting(fresh_database, **openai(server, output_tokens_max=500)) as world:
        caller = await furnished(world, corpus)
        long = await caller.create(f"# Long\n\n{'x' * RECORD_CHARS_MAX}\n")
        half = await caller.create(f"# Half\n\n{'y' * (500 * BYTES_PER_TOKEN // 2)}\n")
        for adr, task, hint in ((long, "summarise", "split"), (half, "expand", "output_tokens_max")):
            refused = await caller.post("/v1/drafts", {"task": task, "adr_id": adr["adr_id"]})
            assert (refused.status_code, hint in refused.json()["hint"]) == (413, True), refused.text
        assert not server.requests


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"task": "write"}, "needs brief"),
        ({"task": "review", "brief": "all"}, "needs adr_id"),
        ({"task": "write", "brief": "x", "adr_id": str(uuid4())}, "from no other"),
        ({"task": "translate", "brief": "x"}, "task"),
    ],
)
async def test_a_request_that_makes_no_sense_is_told_why(
    fresh_database: Settings, corpus: Corpus, server: StandIn, request_: dict[str, Any], says: str
) -> None:
    async with chatting(fresh_database, **openai(server)) as world:
        caller = await world.tenant()
        for path in ("/v1/drafts", "/v1/drafts/stream"):
            refused = await caller.post(path, request_)
            assert (refused.status_code, says in refused.text) == (400, True), refused.text


async def test_an_old_version_can_be_read_and_one_that_is_not_there_cannot(
    fresh_database: Settings, corpus: Corpus, server: StandIn
) -> None:
    server.script = say("Old.")
    async with chatting(fresh_database, **openai(server)) as world:
        caller = await furnished(world, corpus)
        adr = await caller.update(await caller.create(BODY), body="# Other\n\nNew.\n")
        draft = await make(caller, task="summarise", adr_id=adr["adr_id"], version=1)
        assert draft["version"] == 1
        assert json.loads(server.requests[0]["messages"][1]["content"])["record"]["text"] == BODY
        missing = await caller.post("/v1/drafts", {"task": "summarise", "adr_id": adr["adr_id"], "version": 9})
        assert missing.status_code == 404


async def test_a_budget_holds_for_drafts(fresh_database: Settings, corpus: Corpus, server: StandIn) -> None:
    async with chatting(fresh_database, **openai(server)) as world:
        caller = await furnished(world, corpus)
        await caller.put("/v1/budgets", {"level": "org", "period": "day", "limit_micro_usd": 1})
        refused = await caller.post("/v1/drafts", {"task": "write", "brief": "Something."})
        assert refused.status_code == 403, "the price of this model is not known, and a budget binds"
        assert not server.requests


# --- without a model ------------------------------------------------------------------------------------------------


async def test_without_a_model_an_adr_is_quoted_and_nothing_is_written(
    fresh_database: Settings, corpus: Corpus
) -> None:
    async with chatting(fresh_database) as world:
        caller = await furnished(world, corpus)
        adr = await caller.create(BODY)
        names, data, text = await stream(caller, task="summarise", adr_id=adr["adr_id"])
        assert text.startswith(QUOTING)
        assert "Nobody writes twice, as [4] says" in text
        assert (data["start"]["model"], data["start"]["as_of"]) == ("extractive", None)
        assert (names[-1], data["citations"]["cited"]) == ("done", [1])
        for request in (
            {"task": "write", "brief": "x"},
            *({"task": t, "adr_id": adr["adr_id"]} for t in ("expand", "review")),
        ):
            refused = await caller.post("/v1/drafts", request)
            assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
            assert "no model is set" in refused.json()["detail"]
            assert "llm.provider" in refused.json()["hint"]


async def test_without_a_model_suggestions_are_what_near_adrs_have(fresh_database: Settings, corpus: Corpus) -> None:
    async with chatting(fresh_database) as world:
        caller = await world.tenant()
        corpus.log(caller.tenant_id, "default")
        near = corpus.adr(
            caller.tenant_id, "Nobody writes twice", "# Nobody writes twice\n\nA dual write fails.\n", tags=["kafka"]
        )
        corpus.document(caller.tenant_id, "dual.md", "# Dual writes\n\nA dual write fails.\n")
        adr = await caller.create(BODY, tags=["queues"])
        found = (await caller.post(f"/v1/adrs/{adr['adr_id']}/suggestions", {})).json()
        assert found["tags"] == [{"tag": "kafka", "known": True}]
        assert [each["adr_id"] for each in found["related"]] == [str(near)]
        assert (found["title"], found["model"], found["usage"]) == (None, None, None)
        stranger = await world.tenant()
        assert (await stranger.post(f"/v1/adrs/{adr['adr_id']}/suggestions", {})).status_code == 404


async def test_a_model_that_is_not_there_is_not_replaced_by_quotations(
    fresh_database: Settings, corpus: Corpus, server: StandIn
) -> None:
    """Where targets fail, a text is not written by quoting: the last of them says what went wrong."""
    targets = [
        {"provider": "openai", "model": "gpt-test-1", "base_url": f"{server.url}/v1"},
        {"provider": "extractive"},
    ]
    server.status, server.body = 503, {"error": {"message": "away", "type": "server_error"}}
    async with chatting(fresh_database, models=[{"name": "m", "targets": targets}]) as world:
        caller = await furnished(world, corpus)
        adr = await caller.create(BODY)
        refused = await caller.post("/v1/drafts", {"task": "expand", "adr_id": adr["adr_id"]})
        assert (refused.status_code, refused.json()["code"]) == (503, "dependency-unavailable")
        draft = await make(caller, task="summarise", adr_id=adr["adr_id"])
        assert (draft["model"], draft["text"].startswith(QUOTING)) == ("extractive", True)
