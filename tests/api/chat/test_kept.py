"""Answers that are kept, over real connections and two API processes: a reader who is cut goes on, wherever it comes
back; a process that dies leaves a clear end; a conversation remembers, and only its user sees it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import psycopg
import pytest

from api.auth.issuer import LocalIssuer
from api.chat import conversations
from api.chat.conversations import RememberedTurn
from connectors.llm.prompts import Text
from connectors.llm.sse import ServerEvent, SseDecoder
from connectors.postgres.retention import forget_old
from runtime.settings import LlmSettings, Settings
from tests.api.chat.test_connections import furnished
from tests.api.search.corpus import Corpus
from tests.api.test_server import Server, serving
from tests.api.world import Caller, running
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import SILENT_S, StandIn, standing_in
from tests.connectors.postgres.ages import kept_for
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.stack

QUESTION = {"question": "Why no dual write?", "on_disconnect": "keep"}
WORDS = [f"word{number} " for number in range(120)]
CUTS = 50


@dataclass
class Two:
    """Two API processes on one database, and a provider. `one` and `two` are the same user's."""

    settings: Settings
    provider: StandIn
    servers: tuple[Server, Server]
    one: Caller
    two: Caller

    def caller(self, number: int, subject: str, tenant_id: Any = None) -> Caller:
        tenant = tenant_id or self.one.tenant_id
        token = LocalIssuer.open(self.settings.home, self.settings.auth).mint(tenant, subject=subject, ttl_s=600)
        return Caller((self.one, self.two)[number].http, tenant, token.text)


@asynccontextmanager
async def two_processes(settings: Settings, corpus: Corpus, folder: Path, **more: str) -> AsyncIterator[Two]:
    tenant = await furnished(settings, corpus)
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(standing_in())
        variables = {
            "ADRIATIC_LLM__PROVIDER": "openai",
            "ADRIATIC_LLM__MODEL": "m",
            "ADRIATIC_LLM__BASE_URL": f"{provider.url}/v1",
        } | more
        (folder / "two").mkdir()
        servers = tuple(
            stack.enter_context(serving(settings, place, **variables)) for place in (folder, folder / "two")
        )
        token = LocalIssuer.open(settings.home, settings.auth).mint(tenant.tenant_id, subject="ada", ttl_s=600).text
        clients = [
            Caller(await stack.enter_async_context(_client(server)), tenant.tenant_id, token) for server in servers
        ]
        yield Two(settings, provider, (servers[0], servers[1]), *clients)


def _client(server: Server) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=30)


async def listen(
    caller: Caller,
    path: str,
    body: Any = None,
    *,
    last: str = "",
    events_max: int | None = None,
    leaving: asyncio.Barrier | None = None,
) -> list[ServerEvent]:
    """The events of one connection, which is cut after `events_max`; `leaving`: not before the others are that far."""
    headers = {"authorization": f"Bearer {caller.token}"} | ({"last-event-id": last} if last else {})
    heard: list[ServerEvent] = []
    decoder = SseDecoder()
    method = "GET" if body is None else "POST"
    async with caller.http.stream(method, path, json=body, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        with suppress(httpx.RemoteProtocolError, httpx.ReadError):  # a process that is killed
            async for part in response.aiter_raw():
                for event in decoder.feed(part):
                    heard.append(event)
                    if len(heard) == events_max:
                        if leaving:
                            await leaving.wait()
                        return heard
    return heard


def answer_of(event: ServerEvent) -> str:
    return event.id.rpartition(".")[0]


def text_of(events: list[ServerEvent]) -> str:
    return "".join(json.loads(event.data)["text"] for event in events if event.name == "delta")


def paced(words: list[str], pause_s: float = 0.02) -> list[bytes | float]:
    steps: list[bytes | float] = [recorded.OPENAI_START]
    for word in words:
        steps += [recorded.openai_text(word), *([pause_s] if pause_s else [])]
    return [*steps, recorded.OPENAI_END]


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_reader_who_is_cut_again_and_again_gets_each_event_once_and_in_order(
    seed: int, fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    async with two_processes(fresh_database, corpus, tmp_path) as world:
        world.provider.script = paced(WORDS)
        heard = await listen(world.one, "/v1/chat/stream", QUESTION, events_max=chance.randint(1, 5))
        path = f"/v1/chat/answers/{answer_of(heard[0])}/stream"
        for _ in range(CUTS):
            if heard[-1].name in ("done", "error"):
                break
            reader = chance.choice((world.one, world.two))
            heard += await listen(reader, path, last=heard[-1].id, events_max=chance.randint(1, 5))
        heard += await listen(world.two, path, last=heard[-1].id)
        numbers = [int(event.id.rpartition(".")[2]) for event in heard]
        assert numbers == list(range(len(heard)))
        assert heard[-1].name == "done"
        assert text_of(heard) == "".join(WORDS)
        assert len(world.provider.requests) == 1, "nobody asked twice"
        for caller in (world.one, world.two):  # and afterwards, for as long as it is kept
            again = await listen(caller, path)
            assert [(event.id, event.name, event.data) for event in again] == [
                (event.id, event.name, event.data) for event in heard
            ]


async def test_an_answer_is_stopped_through_another_process(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    async with two_processes(fresh_database, corpus, tmp_path) as world:
        world.provider.script = [recorded.OPENAI_START, recorded.openai_text("Half of it"), SILENT_S]
        heard = await listen(world.one, "/v1/chat/stream", QUESTION, events_max=3)
        answer = f"/v1/chat/answers/{answer_of(heard[0])}"
        stranger = world.caller(1, "mallory")
        assert (await stranger.post(f"{answer}/stop", None)).status_code == 404
        assert (await world.two.get(answer)).json()["state"] == "running"
        reading = asyncio.create_task(listen(world.two, f"{answer}/stream", last=heard[-1].id))
        assert (await world.two.post(f"{answer}/stop", None)).status_code == 202
        await asyncio.wait_for(world.provider.closed.wait(), PATIENCE_S)
        rest = await reading
        assert [event.name for event in rest] == ["usage", "error"]
        assert json.loads(rest[-1].data)["code"] == "stopped"
        for caller in (world.one, world.two):
            found = (await caller.get(answer)).json()
            assert (found["state"], found["text"]) == ("stopped", "Half of it")
        assert (await world.one.post(f"{answer}/stop", None)).status_code == 202, "again changes nothing"


async def test_the_readers_of_a_process_that_is_killed_get_what_was_written_and_a_clear_end(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    async with two_processes(fresh_database, corpus, tmp_path) as world:
        world.provider.script = [recorded.OPENAI_START, recorded.openai_text("Half of it"), SILENT_S]
        heard = await listen(world.one, "/v1/chat/stream", QUESTION, events_max=2)
        answer = f"/v1/chat/answers/{answer_of(heard[0])}"
        heard += await listen(world.two, f"{answer}/stream", last=heard[-1].id, events_max=1)
        assert heard[-1].name == "delta"
        reading = asyncio.create_task(listen(world.two, f"{answer}/stream", last=heard[-1].id))
        world.servers[0].process.kill()
        with psycopg.connect(fresh_database.postgres.dsn("admin")) as admin:  # the time of a lease
            admin.execute(
                "update ops.api_processes set lease_until = now() - interval '1 second' "
                "where process_id = (select process_id from app.answers)"
            )
        (end,) = await asyncio.wait_for(reading, PATIENCE_S)
        assert (end.name, json.loads(end.data)["code"]) == ("error", "dependency-unavailable")
        assert int(end.id.rpartition(".")[2]) == len(heard)
        again = await listen(world.two, f"{answer}/stream")
        assert [event.id for event in again] == [event.id for event in (*heard, end)], "every reader gets the same"
        found = (await world.two.get(answer)).json()
        assert (found["state"], found["text"]) == ("failed", "Half of it")


async def test_answers_are_their_users_alone(fresh_database: Settings, corpus: Corpus, tmp_path: Path) -> None:
    async with running(fresh_database) as api:
        other_tenant = await api.tenant()
    async with two_processes(fresh_database, corpus, tmp_path) as world:
        world.provider.script = paced(WORDS[:3], 0.0)
        heard = await listen(world.one, "/v1/chat/stream", QUESTION)
        session = json.loads(heard[0].data)["session_id"]
        answer = f"/v1/chat/answers/{answer_of(heard[0])}"
        paths = [answer, f"{answer}/stream", f"/v1/chat/sessions/{session}"]
        for number in (0, 1):
            for stranger in (
                world.caller(number, "mallory"),
                world.caller(number, "ada", other_tenant.tenant_id),
            ):
                assert [(await stranger.get(path)).status_code for path in paths] == [404, 404, 404]
                assert [(await stranger.delete(path)).status_code for path in (paths[0], paths[2])] == [404, 404]
                assert (await stranger.post(f"{answer}/stop", None)).status_code == 404
                assert (await stranger.get("/v1/chat/sessions")).json()["items"] == []
        assert [(await world.two.get(path)).status_code for path in paths] == [200, 200, 200]
        bad = await world.two.request("GET", f"{answer}/stream", headers={"last-event-id": f"{uuid4()}.1"})
        assert (bad.status_code, bad.json()["code"]) == (400, "invalid-input")


async def test_a_conversation_remembers_is_listed_and_goes_when_its_user_says_so(
    fresh_database: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    async with two_processes(fresh_database, corpus, tmp_path) as world:
        world.provider.script = paced(["Because ", "it fails [1]."], 0.0)
        first = await listen(world.one, "/v1/chat/stream", QUESTION)
        session = json.loads(first[0].data)["session_id"]
        await written(world, answer_of(first[0]))
        second = await listen(world.two, "/v1/chat/stream", {"question": "And then?", "session_id": session})
        await written(world, answer_of(second[0]))
        *before, last = [message for message in world.provider.requests[1]["messages"] if message["role"] != "system"]
        assert before == [
            {"role": "user", "content": QUESTION["question"]},
            {"role": "assistant", "content": "Because it fails."},
        ]
        assert last["content"].endswith("And then?")
        assert "A dual write fails." in last["content"], "a follow-up is searched with the question before it"

        (listed,) = (await world.one.get("/v1/chat/sessions")).json()["items"]
        assert (listed["session_id"], listed["title"], listed["answers"]) == (session, QUESTION["question"], 2)
        turns = (await world.one.get(f"/v1/chat/sessions/{session}")).json()["items"]
        assert second[-1].name == "done", second
        assert [(turn["question"], turn["state"]) for turn in turns] == [
            (QUESTION["question"], "completed"),
            ("And then?", "completed"),
        ]
        assert (await world.one.delete(f"/v1/chat/answers/{turns[0]['answer_id']}")).status_code == 204
        (left,) = (await world.two.get(f"/v1/chat/sessions/{session}")).json()["items"]
        assert left["answer_id"] == turns[1]["answer_id"]
        assert (await world.two.delete(f"/v1/chat/sessions/{session}")).status_code == 204
        assert (await world.one.get(f"/v1/chat/sessions/{session}")).status_code == 404
        with psycopg.connect(fresh_database.postgres.dsn("admin")) as admin:
            assert admin.execute("select count(*) from app.answer_parts").fetchone() == (0,)
            spent = admin.execute("select count(*) from app.usage_events").fetchone()
            assert spent == (2,), "what it cost stays in the books"


async def written(world: Two, answer_id: str) -> None:
    """Wait until an answer is written down."""
    connection = await asyncpg.connect(world.settings.postgres.dsn("admin"))
    for _ in range(round(PATIENCE_S / 0.05)):
        if await connection.fetchval("select ended_at from app.answers where answer_id = $1", answer_id):
            break
        await asyncio.sleep(0.05)
    await connection.close()


async def test_what_is_not_to_be_kept_is_not(fresh_database: Settings, corpus: Corpus) -> None:
    tenant = await furnished(fresh_database, corpus)
    settings = fresh_database.model_copy(update={"llm": LlmSettings.model_validate({"kept_days": 0})})
    async with running(settings) as api:
        caller = api.caller(tenant.tenant_id)
        heard = await listen(caller, "/v1/chat/stream", QUESTION)
        assert heard[-1].name == "done"
        assert (await caller.get(f"/v1/chat/answers/{answer_of(heard[0])}")).status_code == 404
        assert (await caller.get("/v1/chat/sessions")).json()["items"] == []


def test_old_answers_are_forgotten(fresh_database: Settings, corpus: Corpus) -> None:
    tenant_id, user_id = corpus.tenant("old"), uuid4()
    row = "insert into app.answers values (%s, gen_random_uuid(), %s, gen_random_uuid(), gen_random_uuid(), 'q', %s)"
    with psycopg.connect(fresh_database.postgres.dsn("admin")) as admin:
        admin.execute("insert into app.users (tenant_id, user_id, subject) values (%s, %s, 'a')", [tenant_id, user_id])
        for age in ("29 days", "31 days"):
            admin.execute(row.replace("%s)", "now() - %s::interval)"), [tenant_id, user_id, age])
    with psycopg.connect(fresh_database.postgres.dsn("flows")) as flows:
        assert [forget_old(flows, kept_for(kept_days=30))["answers"] for _ in range(2)] == [1, 0]


def turn(question: str, text: str) -> RememberedTurn:
    """No two are alike."""
    return RememberedTurn(question, text, (("adr", uuid4()),))


def test_a_model_is_told_of_the_newest_turns_that_fit() -> None:
    turns = [turn("q", "x" * (conversations.MEMORY_BYTES_MAX // 3)) for _ in range(5)]
    assert conversations.choose_recent(turns) == turns[3:]
    assert conversations.choose_recent(turns[:2]) == turns[:2]
    huge = turn("q", "x" * conversations.MEMORY_BYTES_MAX)
    assert conversations.choose_recent([turns[0], huge]) == []
    said = conversations.tell([turn("Why?", "So [1], and so [2, 3]. Not [now].")])
    assert [part for message in said for part in message.parts] == [Text("Why?"), Text("So, and so. Not [now].")]
