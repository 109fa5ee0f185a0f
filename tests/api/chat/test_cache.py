"""Answers that are given again: to whom, to which prompt, for how long, and what a caller sees of it. The key by
itself, the rest on a real database and over real connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import msgspec
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.chat import caching
from api.chat.answers import Answer
from api.chat.caching import CachedAnswer, CachePolicy
from api.chat.grounding import Grounding, Question
from api.chat.ledger import Attempt
from api.chat.schemas import ChatEvent, Citations, DoneEvent, TextDelta, ToolCallStart, UsageSpent
from api.chat.supervisor import Wishes
from api.db import Database
from api.search.schemas import SearchFreshness
from connectors.llm import Finish, Tokens
from connectors.llm.prompts import (
    Choosing,
    Form,
    Image,
    Passage,
    Prompt,
    PromptMessage,
    Reasoning,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from connectors.llm.prompts import ask as write_prompt
from connectors.llm.routing.routes import RouteIdentity, RouteTable
from connectors.llm.sse import ServerEvent, SseDecoder
from connectors.postgres.retention import forget_old
from runtime.settings import LlmSettings, Settings
from tests.api.chat.test_kept import Two, listen, text_of, two_processes
from tests.api.chat.test_routes import chatting, furnished, idle, openai
from tests.api.search.corpus import Corpus
from tests.api.world import Caller, World
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import StandIn, Step, standing_in
from tests.connectors.postgres.ages import kept_for
from tests.databases import ask as query
from tests.patience import PATIENCE_S, soon

QUESTION = {"question": "Why no dual write?"}
TENANT = UUID(int=7)
ROUTE = RouteIdentity("m", (("openai", "https://x.example", "m"),))
SAID = Prompt(
    "Be brief.",
    (
        PromptMessage("user", (Text("Why?"), Image("image/png", b"\x00"))),
        PromptMessage("assistant", (Reasoning("hm", "signed"), ToolCall("c1", "find", "{}"))),
        PromptMessage("user", (ToolResult("c1", "found"),)),
    ),
    (Passage(1, "title", "heading", "text"),),
    100,
    (Tool("find", "finds", "{}"),),
    Choosing("auto"),
    Form("answer", "{}"),
    Sampling(0.0, 1.0, ("end",)),
)


def key(prompt: Prompt = SAID, tenant_id: UUID = TENANT, route: RouteIdentity = ROUTE) -> bytes | None:
    return caching.make_key(tenant_id, route, Question(prompt))


# --- the key --------------------------------------------------------------------------------------------------------


def vary(value: Any) -> Iterator[Any]:
    """`value` with one thing changed in it, each thing there is by itself; of texts and numbers, one bit."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            for changed in vary(getattr(value, name)):
                yield msgspec.structs.replace(value, **{name: changed})
    elif isinstance(value, tuple):
        yield value[1:]
        for at, each in enumerate(value):
            for changed in vary(each):
                yield (*value[:at], changed, *value[at + 1 :])
    elif isinstance(value, str):
        yield value[:-1] + chr(ord(value[-1:] or "\0") ^ 1)
        yield value + " "
    elif isinstance(value, bytes):
        yield bytes([value[0] ^ 1, *value[1:]])
    elif isinstance(value, int):
        yield value ^ 1


def test_whatever_differs_in_a_prompt_is_another_key() -> None:
    samplings = (Sampling(0.0, 0.5, ("end",)), Sampling(0.0, None, ("end",)))
    others = [msgspec.structs.replace(SAID, sampling=sampling) for sampling in samplings]
    variants = [SAID, *vary(SAID), *others, msgspec.structs.replace(SAID, form=None)]
    assert len(variants) > 50
    keys = [key(variant) for variant in variants]
    assert None not in keys
    assert len(set(keys)) == len(variants)


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_words_cannot_move_from_one_part_to_another(words: list[str]) -> None:
    one, two = (Text(word) for word in words)
    parts = [(one, two), (two, one), (Text(one.text + two.text),), (one,), (two,)]
    prompts = {msgspec.structs.replace(SAID, messages=(PromptMessage("user", each),)) for each in parts}
    turns = msgspec.structs.replace(SAID, messages=(PromptMessage("user", (one,)), PromptMessage("user", (two,))))
    assert len({key(prompt) for prompt in (*prompts, turns)}) == len(prompts) + 1


def test_another_tenant_and_another_model_are_another_key() -> None:
    others = [
        RouteIdentity("n", ROUTE.targets),
        RouteIdentity("m", (("openai", "https://y.example", "m"),)),
        RouteIdentity("m", (("anthropic", "https://x.example", "m"),)),
        RouteIdentity("m", (*ROUTE.targets, ("openai", "", "n"))),
    ]
    keys = {key(), key(tenant_id=UUID(int=6)), *(key(route=route) for route in others)}
    assert len(keys) == 6


def test_a_model_is_known_by_whom_it_asks_and_by_no_secret() -> None:
    targets = [{"provider": "openai", "model": "x", "key": "k"}, {"provider": "extractive"}]
    models = [{"name": "a", "targets": targets[:1], "fallbacks": ["b"]}, {"name": "b", "targets": targets[1:]}]
    table = RouteTable(LlmSettings.model_validate({"models": models, "keys": {"k": "geheim"}}))
    found = table.identify(None)
    assert found == table.identify("a") == RouteIdentity("a", (("openai", "", "x"), ("extractive", "", "")))
    assert (found.asks_a_model, table.identify("b").asks_a_model) == (True, False)
    assert "geheim" not in repr(found)


GROUNDED = Grounding("Why?", [], SAID.passages, msgspec.convert({"words": None, "meaning": None}, SearchFreshness), [])


@pytest.mark.parametrize(
    ("temperature", "grounded", "shared"),
    [(0.0, False, True), (0.0, True, True), (None, True, True), (None, False, False), (0.7, True, False)],
)
def test_an_answer_is_given_again_where_asking_again_is_no_other_question(
    temperature: float | None, grounded: bool, shared: bool
) -> None:
    prompt = msgspec.structs.replace(SAID, sampling=Sampling(temperature))
    question = Question(prompt, GROUNDED if grounded else None)
    assert (caching.make_key(TENANT, ROUTE, question) is not None) == shared
    quoting = RouteIdentity("m", (("extractive", "", ""),))
    assert caching.make_key(TENANT, quoting, question) is None, "what quotes is quicker than a look"


def test_brackets_that_are_checked_are_no_brackets_that_are_not() -> None:
    assert key() != caching.make_key(TENANT, ROUTE, Question(SAID, GROUNDED))


def test_what_is_too_long_is_not_looked_up() -> None:
    picture = PromptMessage("user", (Image("image/png", bytes(caching.PROMPT_BYTES_MAX)),))
    assert key(msgspec.structs.replace(SAID, messages=(picture,))) is None


@pytest.mark.parametrize(
    ("header", "policy"),
    [
        (None, CachePolicy()),
        ("", CachePolicy()),
        ("no-transform, only-if-cached", CachePolicy()),
        ("No-Cache", CachePolicy(reads=False)),
        ("max-age=60", CachePolicy(age_s_max=60)),
        ('max-age="60"', CachePolicy(age_s_max=60)),
        ("max-age=0", CachePolicy(reads=False, age_s_max=0)),
        ("max-age=-1, max-age=x", CachePolicy()),
        ("max-age=" + "9" * 30, CachePolicy()),
        ("no-cache, no-store", None),
        (" NO-STORE ", None),
    ],
)
def test_what_the_header_asks_for(header: str | None, policy: CachePolicy | None) -> None:
    assert caching.read_policy(header) == policy


def done(finish: Finish = "stop") -> DoneEvent:
    return DoneEvent(finish, datetime(2026, 1, 15, tzinfo=UTC))


@pytest.mark.parametrize(
    ("events", "stored"),
    [
        ([TextDelta("So"), Citations([], []), done()], True),
        ([TextDelta("So"), done("length")], False),
        ([ToolCallStart(0, "c", "find"), done("tool-calls")], False),
        ([done("refused")], False),
        ([TextDelta("So")], False),
        ([], False),
    ],
)
def test_only_what_came_to_its_end_is_stored(events: list[ChatEvent], stored: bool) -> None:
    usage = UsageSpent(Tokens(), "provider", 0, 5, None)
    assert caching.choose_repeated([*events[:-1], usage, *events[-1:]]) == (events if stored else None)


# --- on a database --------------------------------------------------------------------------------------------------


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    async with standing_in() as standing:
        standing.script = whole()
        yield standing


@pytest.fixture
async def world(fresh_database: Settings, server: StandIn) -> AsyncIterator[World]:
    async with chatting(fresh_database, **openai(server, cache_s=3_600)) as made:
        yield made


def whole(*words: str) -> list[Step]:
    return [recorded.OPENAI_START, *map(recorded.openai_text, words or ("So ", "[1].")), recorded.OPENAI_END]


def status_of(response: httpx.Response) -> str | None:
    status: str | None = response.headers.get("cache-status")
    return status


HIT, MISS, BYPASS = "adriatic; hit", "adriatic; fwd=miss", "adriatic; fwd=request"
FOLLOW = "adriatic; fwd=miss; collapsed"


async def ask(caller: Caller, path: str = "/v1/chat/stream", headers: Any = None, **more: Any) -> httpx.Response:
    response = await caller.post(path, QUESTION | more if path == "/v1/chat/stream" else more, headers=headers or {})
    assert response.status_code == 200, response.text
    return response


async def settled(world: World) -> None:
    """Nothing is being written, stored or written down any more."""
    await idle(world)
    supervisor = world.app.state.supervisor
    await soon(lambda: not (supervisor._sharing._storing or supervisor._settling or supervisor.keeper._tasks))


def rows(world: World, of: str = "app.cached_answers") -> list[Any]:
    return query(world.settings.postgres.dsn("admin"), f"select to_jsonb(t) from {of} t")


def events_of(response: httpx.Response) -> list[ServerEvent]:
    return list(SseDecoder().feed(response.content))


def data_of(response: httpx.Response) -> dict[str, Any]:
    """The last data of each event."""
    return {event.name: json.loads(event.data) for event in events_of(response)}


async def furnish(world: World, corpus: Corpus) -> tuple[Caller, Caller]:
    """Two users of a tenant that has something to ask about."""
    ada = await furnished(world, corpus)
    return ada, world.caller(ada.tenant_id, subject="grace")


@pytest.mark.stack
async def test_a_hit_is_the_callers_own_answer_and_costs_nothing(world: World, server: StandIn, corpus: Corpus) -> None:
    ada, grace = await furnish(world, corpus)
    first = await ask(ada)
    await settled(world)
    second = await ask(grace)
    assert (status_of(first), status_of(second)) == (MISS, HIT)
    assert len(server.requests) == 1
    was, now = data_of(first), data_of(second)
    assert text_of(events_of(second)) == text_of(events_of(first)) == "So [1]."
    # How many pieces there are is up to how they came.
    assert [name for name, _ in groupby(event.name for event in events_of(second))] == [
        *("start", "sources", "delta", "citations", "usage", "done")
    ]
    assert (now["sources"], now["citations"], now["start"]["model"]) == (
        *(was["sources"], was["citations"], was["start"]["model"]),
    )
    assert now["usage"]["usage_source"] == "cache"
    assert (set(now["usage"]["tokens"].values()), now["usage"]["cost_micro_usd"]) == ({0}, 0)
    for name in ("session_id", "answer_id", "attempt_id"):
        assert was["start"][name] not in second.text, "whose answer it was"
    await settled(world)
    assert len(rows(world, "app.usage_events")) == 1, "who was not asked is not in the ledger"
    asked = [row["used"] for (row,) in rows(world, "app.limit_uses") if row["time_window"] == "minute"]
    assert asked == [1, 1], "a question is one of the minute all the same"
    assert "ratelimit" in second.headers
    # It is an answer like every other one.
    found = (await grace.get(f"/v1/chat/answers/{now['start']['answer_id']}")).json()
    assert (found["state"], found["text"]) == ("completed", "So [1].")
    again = await grace.get(f"/v1/chat/answers/{now['start']['answer_id']}/stream")
    assert again.content == second.content
    assert (await grace.get(f"/v1/chat/answers/{was['start']['answer_id']}")).status_code == 404
    metrics = (await world.http.get("/metrics")).text
    assert 'adriatic_chat_cache_total{outcome="hit"}' in metrics


@pytest.mark.stack
async def test_whatever_is_asked_otherwise_is_asked_anew(world: World, server: StandIn, corpus: Corpus) -> None:
    ada, grace = await furnish(world, corpus)
    first = await ask(ada)
    await settled(world)
    asked = [
        await ask(grace, question=QUESTION["question"] + " "),
        await ask(grace, question=QUESTION["question"].replace("W", "V")),
        await ask(grace, sources=1),
        await ask(ada, session_id=data_of(first)["start"]["session_id"]),
    ]
    assert [status_of(answer) for answer in asked] == [MISS] * 4
    assert len(server.requests) == 5
    assert status_of(await ask(grace)) == HIT


@pytest.mark.stack
async def test_a_source_that_changed_is_another_question(world: World, server: StandIn, corpus: Corpus) -> None:
    ada, grace = await furnish(world, corpus)
    await ask(ada)
    await settled(world)
    corpus.connection.execute(
        "update mv.chunks set body = replace(body, 'fails', 'works') where tenant_id = %s", [ada.tenant_id]
    )
    assert status_of(await ask(grace)) == MISS
    corpus.adr(ada.tenant_id, "Nobody writes twice, again", "# Nobody writes twice, again\n\nA dual write fails.\n")
    assert status_of(await ask(grace)) == MISS
    assert "Nobody writes twice, again" in str(server.requests[2])


@pytest.mark.stack
async def test_the_same_prompt_of_another_tenant_is_asked_anew_even_with_the_key_in_hand(
    world: World, server: StandIn, corpus: Corpus
) -> None:
    ada, _ = await furnish(world, corpus)
    mallory = await furnished(world, corpus)
    await ask(ada)
    await settled(world)
    assert status_of(await ask(mallory)) == MISS
    await settled(world)
    prompts = [request["messages"] for request in server.requests]
    assert prompts[0] == prompts[1], "the very same words"
    stored = {row["tenant_id"]: bytes.fromhex(row["prompt_key"][2:]) for (row,) in rows(world)}
    ours, theirs = (stored[str(caller.tenant_id)] for caller in (ada, mallory))
    assert ours != theirs
    database = Database(world.settings.postgres)
    await database.open()
    try:
        assert await caching.find(database, ada.tenant_id, ours, 60) is not None
        assert await caching.find(database, mallory.tenant_id, ours, 60) is None
        async with database.connection() as connection, connection.transaction():
            await connection.execute("select set_config('app.tenant_id', $1, true)", str(mallory.tenant_id))
            found = await connection.fetch("select tenant_id from app.cached_answers")
        assert {row["tenant_id"] for row in found} == {mallory.tenant_id}, "row security shows no other"
    finally:
        await database.close()


BROKEN: dict[str, list[Step]] = {
    "broke off": [recorded.OPENAI_START, recorded.openai_text("Half")],
    "failed": [recorded.OPENAI_START, recorded.openai_text("Half"), recorded.OPENAI_ERROR],
    "was cut at its bound": [
        *(recorded.OPENAI_START, recorded.openai_text("Half"), recorded.openai_chunk({}, "length")),
        b"data: [DONE]\n\n",
    ],
}


@pytest.mark.stack
@pytest.mark.parametrize("how", BROKEN)
async def test_an_answer_that_is_not_whole_is_not_given_again(
    how: str, world: World, server: StandIn, corpus: Corpus
) -> None:
    ada, grace = await furnish(world, corpus)
    server.script = BROKEN[how]
    assert "Half" in (await ask(ada)).text
    await settled(world)
    assert rows(world) == []
    server.script = whole()
    answer = await ask(grace)
    assert (status_of(answer), text_of(events_of(answer))) == (MISS, "So [1].")


@pytest.mark.stack
async def test_a_caller_can_refuse_to_take_and_to_give(world: World, server: StandIn, corpus: Corpus) -> None:
    ada, grace = await furnish(world, corpus)
    for refused in (await ask(ada, cache=False), await ask(ada, headers={"cache-control": "no-store"})):
        assert status_of(refused) is None
    await settled(world)
    assert rows(world) == []
    assert status_of(await ask(ada)) == MISS
    await settled(world)
    assert status_of(await ask(grace, cache=False)) is None
    server.script = whole("Better [1].")
    assert status_of(await ask(grace, headers={"cache-control": "no-cache"})) == BYPASS
    await settled(world)
    assert len(server.requests) == 5
    newest = await ask(ada)
    assert (status_of(newest), text_of(events_of(newest))) == (HIT, "Better [1].")


@pytest.mark.stack
async def test_an_answer_grows_old(world: World, server: StandIn, corpus: Corpus) -> None:
    ada, grace = await furnish(world, corpus)
    await ask(ada)
    await settled(world)
    age = "update app.cached_answers set created_at = created_at - interval '1 minute'"
    with psycopg.connect(world.settings.postgres.dsn("admin")) as admin:
        admin.execute(age)
    young = {"cache-control": "max-age=30"}
    assert status_of(await ask(grace)) == HIT
    assert status_of(await ask(grace, headers={"cache-control": "max-age=3600"})) == HIT
    assert status_of(await ask(grace, headers=young)) == MISS
    await settled(world)
    assert status_of(await ask(ada, headers=young)) == HIT, "the younger one took its place"
    with psycopg.connect(world.settings.postgres.dsn("admin")) as admin:
        admin.execute(age.replace("minute", "hour"))
    assert status_of(await ask(ada)) == MISS
    await settled(world)
    with psycopg.connect(world.settings.postgres.dsn("admin")) as admin:
        admin.execute(age.replace("minute", "hour"))
    with psycopg.connect(world.settings.postgres.dsn("flows"), autocommit=True) as flows:
        forget_old(flows, kept_for(cache_s=7_200))
        assert len(rows(world)) == 1
        forget_old(flows, kept_for(cache_s=3_600))
        assert rows(world) == []


@pytest.mark.stack
@pytest.mark.parametrize("what", ["answers", "sessions"])
async def test_who_deletes_a_conversation_takes_its_answers_back(
    what: str, world: World, server: StandIn, corpus: Corpus
) -> None:
    ada, grace = await furnish(world, corpus)
    start = data_of(await ask(ada))["start"]
    await settled(world)
    mine = data_of(await ask(grace))["start"]
    await settled(world)
    path = f"/v1/chat/{what}/{start[what[:-1] + '_id']}"
    assert (await grace.delete(path)).status_code == 404
    assert (await ada.delete(path)).status_code == 204
    assert rows(world) == []
    assert (await grace.get(f"/v1/chat/answers/{mine['answer_id']}")).status_code == 200, "what was given is given"
    assert status_of(await ask(grace)) == MISS


@pytest.mark.stack
async def test_what_was_deleted_while_it_was_written_is_not_stored(world: World, corpus: Corpus) -> None:
    ada, _ = await furnish(world, corpus)
    database = Database(world.settings.postgres)
    await database.open()
    try:
        answer = CachedAnswer("openai", "m", [TextDelta("So"), done()], None)
        await caching.store(database, ada.tenant_id, b"k" * 32, uuid4(), answer)
        assert await caching.find(database, ada.tenant_id, b"k" * 32, 60) is None
        await caching.store(database, ada.tenant_id, b"k" * 32, None, answer)
        assert await caching.find(database, ada.tenant_id, b"k" * 32, 60) == answer
        long = msgspec.structs.replace(answer, events=[TextDelta("x" * caching.CACHED_BYTES_MAX), done()])
        await caching.store(database, ada.tenant_id, b"l" * 32, None, long)
        assert await caching.find(database, ada.tenant_id, b"l" * 32, 60) is None
    finally:
        await database.close()


@pytest.mark.stack
async def test_of_a_tenant_the_newest_are_stored(world: World, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, _ = await furnish(world, corpus)
    monkeypatch.setattr(caching, "TENANT_ANSWERS_MAX", 3)
    database = Database(world.settings.postgres)
    await database.open()
    try:
        for number in range(5):
            answer = CachedAnswer("openai", "m", [TextDelta(str(number)), done()], None)
            await caching.store(database, ada.tenant_id, bytes([number] * 32), None, answer)
        found = [await caching.find(database, ada.tenant_id, bytes([number] * 32), 60) for number in range(5)]
        assert [answer is not None for answer in found] == [False, False, True, True, True]
    finally:
        await database.close()


@pytest.mark.stack
async def test_where_nothing_is_kept_nothing_is_stored(
    fresh_database: Settings, server: StandIn, corpus: Corpus
) -> None:
    async with chatting(fresh_database, **openai(server, cache_s=3_600, kept_days=0)) as world:
        ada, grace = await furnish(world, corpus)
        assert status_of(await ask(ada)) == MISS
        await settled(world)
        assert (rows(world), status_of(await ask(grace))) == ([], MISS)


@pytest.mark.stack
async def test_an_answer_of_another_target_after_a_failure_is_not_given_again(
    fresh_database: Settings, server: StandIn, corpus: Corpus
) -> None:
    async with standing_in() as away:
        away.status, away.body = 500, {"error": {"message": "no"}}
        targets = [
            {"name": name, "provider": "openai", "model": name, "base_url": f"{provider.url}/v1"}
            for name, provider in (("good", away), ("poor", server))
        ]
        llm = {"models": [{"name": "m", "targets": targets}], "cache_s": 60}
        async with chatting(fresh_database, **llm) as world:
            ada, grace = await furnish(world, corpus)
            await ask(ada)
            await settled(world)
            assert rows(world) == []
            away.status, away.script = 200, whole("Good [1].")
            answer = await ask(grace)
            assert (status_of(answer), text_of(events_of(answer))) == (MISS, "Good [1].")


@pytest.mark.stack
async def test_clients_of_other_protocols_share_one_answer_and_see_that(
    world: World, server: StandIn, corpus: Corpus
) -> None:
    ada, grace = await furnish(world, corpus)
    said = {"model": "gpt-test-1", "messages": [{"role": "user", "content": "Why?"}], "max_tokens": 9}
    certain = said | {"temperature": 0}
    assert status_of(await ask(ada, "/v1/chat/completions", **said)) is None, "the caller may want other words"
    assert status_of(await ask(ada, "/v1/chat/completions", **certain)) == MISS
    await settled(world)
    completion = await ask(grace, "/v1/chat/completions", **certain)
    message = await ask(grace, "/v1/messages", **certain)
    streamed = await ask(grace, "/v1/chat/completions", **certain, stream=True)
    assert [status_of(answer) for answer in (completion, message, streamed)] == [HIT] * 3
    assert len(server.requests) == 2
    assert completion.json()["choices"][0]["message"]["content"] == message.json()["content"][0]["text"] == "So [1]."
    assert (completion.json()["usage"]["total_tokens"], message.json()["usage"]["output_tokens"]) == (0, 0)
    assert streamed.text.rstrip().endswith("data: [DONE]")
    refused = await ask(grace, "/v1/messages", {"cache-control": "no-store"}, **certain)
    assert (status_of(refused), len(server.requests)) == (None, 3)
    await settled(world)
    assert [row["answer_id"] for (row,) in rows(world)] == [None], "a conversation is the client's"


# --- over real connections ------------------------------------------------------------------------------------------

CACHING = {"ADRIATIC_LLM__CACHE_S": "3600"}


async def follow(caller: Caller) -> tuple[httpx.Response, list[ServerEvent]]:
    """All events of one connection."""
    headers = {"authorization": f"Bearer {caller.token}"}
    decoder, heard = SseDecoder(), list[ServerEvent]()
    async with caller.http.stream("POST", "/v1/chat/stream", json=QUESTION, headers=headers) as response:
        async for part in response.aiter_raw():
            heard += decoder.feed(part)
    return response, heard


def pause_between(before: str, after: str, resumed: asyncio.Event) -> Iterator[Step]:
    """An answer in two halves; the second comes when the test says so."""
    yield from (recorded.OPENAI_START, recorded.openai_text(before))
    while not resumed.is_set():
        yield 0.02
    yield from (recorded.openai_text(after), recorded.OPENAI_END)


async def counted(world: Two, table: str, count: int) -> list[Any]:
    """The rows of a table, when there are `count`."""
    statement = f"select to_jsonb(t) from {table} t"
    await soon(lambda: len(query(world.settings.postgres.dsn("admin"), statement)) >= count, f"{count} of {table}")
    return [row for (row,) in query(world.settings.postgres.dsn("admin"), statement)]


@pytest.mark.stack
async def test_equal_questions_at_one_moment_are_one_call_and_every_process_has_the_answer(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    async with two_processes(fresh_database, corpus, tmp_path, **CACHING) as world:
        resumed = asyncio.Event()
        world.provider.script = cast("Any", pause_between("It fails", " in the middle.", resumed))
        callers = [world.caller(0, subject) for subject in ("ada", "grace", "edith", "mary")]
        asking = [asyncio.create_task(follow(caller)) for caller in callers]
        await counted(world, "app.answers", 4)
        resumed.set()
        answers = await asyncio.gather(*asking)
        assert sorted(status_of(response) or "" for response, _ in answers) == sorted([MISS, FOLLOW, FOLLOW, FOLLOW])
        assert len(world.provider.requests) == 1
        assert {text_of(heard) for _, heard in answers} == {"It fails in the middle."}
        assert all(heard[-1].name == "done" for _, heard in answers)
        assert len({heard[0].id for _, heard in answers}) == 4, "each has an answer of its own"
        await counted(world, "app.cached_answers", 1)
        response, heard = await follow(world.caller(1, "joan"))
        assert (status_of(response), text_of(heard)) == (HIT, text_of(answers[0][1]))
        assert len(world.provider.requests) == 1
        for caller, (_, theirs) in zip(callers, answers, strict=True):
            again = await listen(caller, f"/v1/chat/answers/{theirs[0].id.partition('.')[0]}/stream")
            assert [event.data for event in again] == [event.data for event in theirs]


@pytest.mark.stack
async def test_a_leader_who_stops_or_leaves_stops_for_nobody_else(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    async with two_processes(fresh_database, corpus, tmp_path, **CACHING) as world:
        resumed = asyncio.Event()
        world.provider.script = cast("Any", pause_between("Half", " and half.", resumed))
        leader, follower = world.caller(0, "ada"), world.caller(0, "grace")
        leading = asyncio.create_task(follow(leader))
        await asyncio.wait_for(world.provider.asked.wait(), PATIENCE_S)
        following = asyncio.create_task(follow(follower))
        noted = await counted(world, "app.answers", 2)
        first = min(noted, key=lambda row: row["begun_at"])["answer_id"]
        assert (await leader.post(f"/v1/chat/answers/{first}/stop", None)).status_code == 202
        _, stopped = await leading
        assert json.loads(stopped[-1].data)["code"] == "stopped"
        resumed.set()
        response, heard = await following
        assert (status_of(response), text_of(heard), heard[-1].name) == (FOLLOW, "Half and half.", "done")
        state = (await leader.get(f"/v1/chat/answers/{first}")).json()
        assert (state["state"], state["text"]) == ("stopped", "Half")
        assert len(world.provider.requests) == 1
        bills = await counted(world, "app.usage_events", 1)
        assert [row["outcome"] for row in bills] == ["completed"], "one bill, of a call that went to its end"
        assert await counted(world, "app.cached_answers", 0) == [], "it was taken back"


@pytest.mark.stack
async def test_when_all_have_left_the_provider_is_let_go(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    async with two_processes(fresh_database, corpus, tmp_path, **CACHING) as world:
        world.provider.script = [recorded.OPENAI_START, recorded.openai_text("Half"), recorded.SILENT_S]
        callers = [world.caller(0, subject) for subject in ("ada", "grace", "edith")]
        # Whoever asks when all others have left asks anew: an answer that was cut is given to nobody.
        leaving = asyncio.Barrier(len(callers))
        listening = (listen(each, "/v1/chat/stream", QUESTION, events_max=3, leaving=leaving) for each in callers)
        left = await asyncio.wait_for(asyncio.gather(*listening), PATIENCE_S)
        await asyncio.wait_for(world.provider.closed.wait(), PATIENCE_S)
        assert [text_of(heard) for heard in left] == ["Half"] * 3
        assert len(world.provider.requests) == 1


async def test_who_asks_in_the_moment_in_which_the_last_reader_leaves_asks_anew(
    fresh_database: Settings, corpus: Corpus
) -> None:
    async with standing_in() as server, chatting(fresh_database, **openai(server)) as world:
        tenant = await furnished(world, corpus)
        assert (await tenant.get("/v1/logs")).status_code == 200
        async with world.admin() as admin:
            user_id = await admin.fetchval("select user_id from app.users where tenant_id = $1", tenant.tenant_id)
        supervisor, resumed = world.app.state.supervisor, asyncio.Event()
        server.script = cast("Any", pause_between("Half", " and half.", resumed))

        def start() -> Answer:
            attempt = Attempt(tenant.tenant_id, user_id, uuid4(), uuid4(), "", "/v1/chat/stream")
            wishes = Wishes(cache=CachePolicy(reads=True))
            answer: Answer = supervisor.start(attempt, Question(write_prompt("", "Why?", (), 100)), wishes)
            return answer

        first = start()
        leaving = first.open()
        await asyncio.wait_for(first.first(), PATIENCE_S)
        leaving.close()
        server.script = [recorded.OPENAI_START, recorded.openai_text("All of it."), recorded.OPENAI_END]
        second = start()
        with closing(second.open()) as reading:
            told: list[Any] = []
            async with asyncio.timeout(PATIENCE_S):
                while not reading.at_end:
                    told += [event for _, event in await reading.read(1.0)]
            assert second.failure is None
            assert "".join(event.text for event in told if isinstance(event, TextDelta)) == "All of it."
        resumed.set()
        await soon(lambda: first.ended, "the end of the first")
        assert len(server.requests) == 2
