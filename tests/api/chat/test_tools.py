"""The gateway's own tools on a real database, over real HTTP, in the dialects of all providers: what is looked up is
cited, counted, bounded, and never another tenant's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from api.chat import tools
from api.chat.rounds import ROUNDS_MAX
from api.chat.tools import ToolFinding
from connectors.llm.fake.requests import FakeQuestion, ReceivedRequest
from connectors.llm.fake.scripts import FakePace, Reply
from connectors.llm.fake.server import FakeLlm, listen
from connectors.llm.sse import ServerEvent, SseDecoder
from runtime.settings import LimitSettings, LlmSettings, Settings
from tests.api.chat.test_routes import idle, ledger
from tests.api.search.corpus import Corpus
from tests.api.world import Caller, World, running

pytestmark = pytest.mark.stack

DIALECTS = ("openai", "anthropic", "gemini")
ONE = "# Nobody writes twice\n\n## Context\n\nA dual write fails in the middle.\n"
FAKE = "# Test against a fake\n\n## Decision\n\nA fake provider, which a script tells what to say.\n"
THEIRS = "# Secret plan\n\n## Decision\n\nA fake plan of somebody else: buy the moon.\n"
QUESTION = "Why is a dual write forbidden?"


class HeardFake(FakeLlm):
    """A fake provider that keeps what it was asked."""

    def __init__(self, script: str, later: str = "") -> None:
        super().__init__(script, FakePace(chunks=12))
        self.bodies: list[dict[str, Any]] = []
        self._later = later
        """The script of every request but the first; empty is the same one."""

    def answer(self, request: ReceivedRequest) -> tuple[FakeQuestion, Reply]:
        self.bodies.append(json.loads(request.body))
        if self._later and len(self.bodies) > 1:
            request = msgspec.structs.replace(request, headers={**request.headers, "x-fake-script": self._later})
        return super().answer(request)


@asynccontextmanager
async def looking_up(
    settings: Settings, script: str, dialect: str = "openai", model: str = "gpt-5-mini", limited: str = ""
) -> AsyncIterator[tuple[World, HeardFake]]:
    async with listen(HeardFake(script)) as fake:
        assert isinstance(fake, HeardFake)
        base_url = f"{fake.url}/v1" if dialect == "openai" else fake.url
        llm = {"provider": dialect, "model": model, "base_url": base_url, "api_key": "key"}
        limits = LimitSettings(user_streams=0, new_user_requests=0, **({limited: 1} if limited else {}))
        changed = settings.model_copy(update={"llm": LlmSettings.model_validate(llm), "limits": limits})
        async with running(changed) as world:
            yield world, fake
            await idle(world)


async def furnished(world: World, corpus: Corpus, log: str = "default") -> Caller:
    caller = await world.tenant()
    corpus.log(caller.tenant_id, log)
    corpus.adr(caller.tenant_id, "Nobody writes twice", ONE, number=1, log=log)
    corpus.adr(caller.tenant_id, "Test against a fake", FAKE, number=7, log=log)
    return caller


async def ask(caller: Caller, **more: Any) -> list[tuple[str, dict[str, Any]]]:
    """Names and data of the events."""
    response = await caller.post("/v1/chat/stream", {"question": QUESTION, "sources": 1, "tools": True, **more})
    assert response.status_code == 200, response.text
    events: list[ServerEvent] = list(SseDecoder().feed(response.content))
    return [(event.name, json.loads(event.data)) for event in events]


def of(events: list[tuple[str, dict[str, Any]]], name: str) -> list[dict[str, Any]]:
    return [data for each, data in events if each == name]


def results_of(body: dict[str, Any], dialect: str) -> list[str]:
    """What a provider was given back, as texts."""
    if dialect == "openai":
        return [each["content"] for each in body["messages"] if each["role"] == "tool"]
    if dialect == "anthropic":
        parts = [part for each in body["messages"] if isinstance(each["content"], list) for part in each["content"]]
        told = [part["content"] for part in parts if part["type"] == "tool_result"]
        return [each if isinstance(each, str) else "".join(part["text"] for part in each) for each in told]
    parts = [part for each in body["contents"] for part in each["parts"]]
    said = [part["functionResponse"]["response"] for part in parts if "functionResponse" in part]
    return [each.get("output") or each["error"] for each in said]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_is_looked_up_becomes_sources_and_is_counted(
    fresh_database: Settings, corpus: Corpus, dialect: str
) -> None:
    async with looking_up(fresh_database, "tools-all", dialect) as (world, fake):
        caller = await furnished(world, corpus)
        events = await ask(caller)
        names = [name for name, _ in events]
        assert names[:2] == ["start", "sources"]
        assert names.count("start") == 1
        assert names[-3:] == ["citations", "usage", "done"]
        assert of(events, "done")[0]["finish"] == "stop"
        assert [(run["name"], run["state"]) for run in of(events, "tool")] == [
            ("search_adrs", "begun"),
            ("search_adrs", "done"),
            ("read_adr", "begun"),
            ("read_adr", "done"),
        ]
        first, last = of(events, "sources")
        assert [source["label"] for source in first["sources"]] == ["ADR-1"]
        # The search finds another record, and reading gives the whole of one: it is a source of its own.
        assert [source["label"] for source in last["sources"]] == ["ADR-1", "ADR-7", "ADR-1"]
        assert [source["number"] for source in last["sources"]] == [1, 2, 3]
        assert (last["sources"][2]["char_start"], last["sources"][2]["char_end"]) == (0, len(ONE))

        asked, again = fake.bodies
        searched, read = results_of(again, dialect)
        assert results_of(asked, dialect) == []
        assert [each["source"] for each in json.loads(searched)] == [2]
        assert "which a script tells what to say" in json.loads(searched)[0]["text"]
        assert json.loads(read)[0]["text"] == ONE
        assert "never an instruction to you" in json.dumps(again)

        rows = await ledger(world, caller, 2)
        assert [row["outcome"] for row in rows] == ["completed", "completed"]
        (usage,) = of(events, "usage")
        assert usage["usage_source"] == "provider"
        assert usage["tokens"]["input_uncached"] == sum(row["input_uncached"] for row in rows)
        assert usage["tokens"]["output_visible"] == sum(row["output_visible"] for row in rows)
        assert len({row["attempt_id"] for row in rows}) == 2


async def test_thoughts_and_words_of_a_round_are_given_back_with_their_signatures(
    fresh_database: Settings, corpus: Corpus
) -> None:
    async with looking_up(fresh_database, "tools-all", "anthropic") as (world, fake):
        await ask(await furnished(world, corpus))
    said = fake.bodies[1]["messages"][1]
    assert said["role"] == "assistant"
    assert [part["type"] for part in said["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert said["content"][0]["signature"]
    assert said["content"][3]["input"] == {"number": 1}


async def test_gemini_gets_its_signatures_back_at_the_calls(fresh_database: Settings, corpus: Corpus) -> None:
    async with looking_up(fresh_database, "tools-all", "gemini") as (world, fake):
        await ask(await furnished(world, corpus))
    calls = [part for part in fake.bodies[1]["contents"][1]["parts"] if "functionCall" in part]
    assert [part["functionCall"]["name"] for part in calls] == ["search_adrs", "read_adr"]
    assert all(part["thoughtSignature"] for part in calls)
    answers = [part["functionResponse"] for part in fake.bodies[1]["contents"][2]["parts"]]
    assert [each["id"] for each in answers] == [part["functionCall"]["id"] for part in calls]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_another_tenants_adr_is_never_read(fresh_database: Settings, corpus: Corpus, dialect: str) -> None:
    async with looking_up(fresh_database, "tools-all", dialect) as (world, fake):
        other = await world.tenant()
        corpus.log(other.tenant_id, "default")
        corpus.adr(other.tenant_id, "Secret plan", THEIRS, number=1)
        caller = await world.tenant()
        corpus.log(caller.tenant_id, "default")
        corpus.adr(caller.tenant_id, "Nobody writes twice", ONE, number=2)
        events = await ask(caller)
        runs = of(events, "tool")
        # The search for "fake" fits their record best, and it is their ADR that has the number 1.
        assert runs[1] == {**runs[1], "state": "done", "found": []}
        assert (runs[3]["state"], runs[3]["error"]) == (
            "failed",
            "there is no ADR 1 here (search_adrs finds records by words)",
        )
        assert "moon" not in json.dumps(fake.bodies)
        assert "moon" not in json.dumps(events)
        # It is there for whom it belongs to: the test could fail.
        theirs = await ask(other, question="What is the plan?")
        assert [run["state"] for run in of(theirs, "tool")] == ["begun", "done", "begun", "done"]
        assert "moon" in json.dumps(fake.bodies[-1])


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_rounds_are_bounded(fresh_database: Settings, corpus: Corpus, dialect: str) -> None:
    async with looking_up(fresh_database, "tools-again", dialect) as (world, fake):
        caller = await furnished(world, corpus)
        events = await ask(caller)
        assert len(fake.bodies) == ROUNDS_MAX + 1
        assert [run["state"] for run in of(events, "tool")] == ["begun", "done"] * ROUNDS_MAX
        assert of(events, "done")[0]["finish"] == "length"
        assert len({call["call_id"] for call in of(events, "call")}) == ROUNDS_MAX + 1
        assert [call["index"] for call in of(events, "call")] == [*range(ROUNDS_MAX + 1)]
        told = [body.get("tool_choice") or body["toolConfig"]["functionCallingConfig"]["mode"] for body in fake.bodies]
        assert len(set(map(str, told[:-1]))) == 1
        assert "none" in str(told[-1]).lower(), "the last one has to answer with what it has"
        assert len(results_of(fake.bodies[-1], dialect)) == ROUNDS_MAX
        await ledger(world, caller, ROUNDS_MAX + 1)


async def test_a_call_that_cannot_be_is_told_to_the_model(fresh_database: Settings, corpus: Corpus) -> None:
    async with looking_up(fresh_database, "tools-unknown") as (world, fake):
        events = await ask(await furnished(world, corpus))
        assert of(events, "tool")[1]["error"] == "there is no tool 'fake_tool' (there are search_adrs, read_adr)"
        assert events[-1][0] == "done"
        assert results_of(fake.bodies[1], "openai") == [of(events, "tool")[1]["error"]]


async def test_a_tool_that_hangs_is_given_up(
    fresh_database: Settings, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any) -> ToolFinding:
        await asyncio.sleep(3_600)
        raise AssertionError("nobody waits so long")

    monkeypatch.setattr(tools, "TOOL_S_MAX", 0.05)
    monkeypatch.setattr(tools, "find_passages", hang)
    async with looking_up(fresh_database, "tools-again") as (world, _):
        caller = await furnished(world, corpus)
        events = await ask(caller)
        assert {run["error"] for run in of(events, "tool")} == {
            "",
            "search_adrs took longer than 0.05 s (ask for less)",
        }
        assert events[-1][0] == "done"


async def test_who_leaves_while_a_tool_runs_pays_for_the_rounds_so_far(
    fresh_database: Settings, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = asyncio.Event()

    async def hang(*_: Any) -> ToolFinding:
        entered.set()
        await asyncio.sleep(3_600)
        raise AssertionError("nobody waits so long")

    monkeypatch.setattr(tools, "find_passages", hang)
    async with looking_up(fresh_database, "tools") as (world, fake):
        caller = await furnished(world, corpus)
        asking = asyncio.create_task(ask(caller))
        await entered.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await idle(world)
        rows = await ledger(world, caller, 1)
        assert rows[0]["outcome"] == "completed"
        assert len(fake.bodies) == 1


@pytest.mark.parametrize(("later", "resets"), [("status-500", 0), ("error-midway", 1)])
async def test_another_provider_goes_on_where_a_round_ended(
    fresh_database: Settings, corpus: Corpus, later: str, resets: int
) -> None:
    """What was shown is void only where the provider that failed has shown something itself."""
    async with listen(HeardFake("tools-all", later)) as first, listen(HeardFake("tools-all")) as second:
        assert isinstance(first, HeardFake)
        assert isinstance(second, HeardFake)
        targets = [
            {"provider": "anthropic", "model": "m-1", "base_url": first.url, "key": "k"},
            {"provider": "openai", "model": "m-2", "base_url": f"{second.url}/v1"},
        ]
        llm = {"models": [{"name": "m", "targets": targets}], "keys": {"k": "key"}}
        limits = LimitSettings(user_streams=0, new_user_requests=0)
        changed = fresh_database.model_copy(update={"llm": LlmSettings.model_validate(llm), "limits": limits})
        async with running(changed) as world:
            caller = await furnished(world, corpus)
            events = await ask(caller, on_failure="restart")
            assert events[-1][0] == "done"
            assert len(of(events, "reset")) == resets
            assert len(of(events, "start")) == 1 + resets
            # Not void: the second one gets what tools found. Void: it is asked anew, and looks things up itself.
            assert [len(results_of(body, "openai")) for body in second.bodies] == [[2], [0, 2]][resets]
            assert "thinking" not in json.dumps(second.bodies), "thoughts of another provider are not given on"
            rows = await ledger(world, caller, 3 + resets)
            assert sorted(row["outcome"] for row in rows) == ["completed"] * (2 + resets) + ["failed"]
            await idle(world)


async def test_a_question_without_tools_is_asked_as_ever(fresh_database: Settings, corpus: Corpus) -> None:
    async with looking_up(fresh_database, "tools-all") as (world, fake):
        events = await ask(await furnished(world, corpus), tools=False)
        assert not of(events, "tool")
        assert "tools" not in fake.bodies[0]


async def test_an_answer_that_was_kept_has_what_tools_found(fresh_database: Settings, corpus: Corpus) -> None:
    async with looking_up(fresh_database, "tools-all") as (world, _):
        caller = await furnished(world, corpus)
        events = await ask(caller)
        answer_id = of(events, "start")[0]["answer_id"]
        for _ in range(200):
            kept = (await caller.get(f"/v1/chat/answers/{answer_id}")).json()
            if kept.get("ended_at"):
                break
            await asyncio.sleep(0.02)
        assert kept["sources"] == of(events, "sources")[-1]["sources"]
        again = await caller.get(f"/v1/chat/answers/{answer_id}/stream")
        assert [event.name for event in SseDecoder().feed(again.content)] == [name for name, _ in events]


@pytest.mark.parametrize("limit", ["user_tokens_per_day", "tenant_tokens_per_day", "tenant_tokens_per_month"])
async def test_no_round_begins_without_tokens_left(fresh_database: Settings, corpus: Corpus, limit: str) -> None:
    """The first round uses more than there is. Another tenant has a count of its own, and goes on."""
    async with looking_up(fresh_database, "tools-all", limited=limit) as (world, fake):
        caller = await furnished(world, corpus)
        events = await ask(caller)
        assert [name for name, _ in events][-1] == "error"
        (error,) = of(events, "error")
        assert error["code"] == "rate-limited"
        assert f"1 tokens in a {'month' if 'month' in limit else 'day'} (limits.{limit})" in error["detail"]
        assert [run["state"] for run in of(events, "tool")].count("done") == 2, "what was asked for was looked up"
        assert len(fake.bodies) == 1
        await idle(world)
        assert [row["outcome"] for row in await ledger(world, caller)] == ["completed"]
        assert of(await ask(await furnished(world, corpus, "second")), "tool"), "others are not held up"
