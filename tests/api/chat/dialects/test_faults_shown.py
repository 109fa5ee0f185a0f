"""Every fault of a provider as every kind of client is told of it: nobody can take what broke for a whole answer.

`tests/connectors/llm/test_faults.py` has each fault in each dialect of providers, `test_encoders.py` beside this each
cut of an answer in each dialect of clients. Here both are one: fault by client, through all that is between, with the
dialect of the provider taken in turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, get_args

import httpx
import pytest

from connectors.llm.fake.requests import DialectName
from connectors.llm.fake.scripts import MODEL_PREFIX, RETRY_AFTER_S, SCRIPTS, WAITS, FakePace
from connectors.llm.fake.server import FakeLlm, listen
from connectors.llm.sse import SseDecoder
from runtime.settings import LimitSettings, LlmSettings, Settings
from tests.api.chat.test_connections import furnished
from tests.api.search.corpus import Corpus
from tests.api.world import Caller, running
from tests.connectors.llm.test_faults import BROKEN, CHUNKS, REFUSED, STALLED
from tests.connectors.llm.test_faults import WHOLE as UNHARMED
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.stack

PROVIDERS = get_args(DialectName)
SAYS = [{"role": "user", "content": "Why no dual write?"}]
FAULTS = (*BROKEN, *STALLED, *REFUSED, *WAITS, "no-end")
WHOLE = (*UNHARMED, "think", "refuse", "tools")
SILENT_S = 3.0
"""Patience with a provider that says nothing, in seconds."""
KINDS_AT_ONCE = 4
AT_ONCE = 24


class ClientKind(NamedTuple):
    """How one kind of client asks, and what in the bytes makes it take an answer for whole."""

    path: str
    body: Mapping[str, Any]
    ends: tuple[bytes, ...]
    streams: bool = True


CLIENTS: Mapping[str, ClientKind] = {
    "ours": ClientKind("/v1/chat/stream", {"question": "Why no dual write?"}, (b"event: done",)),
    "ai-sdk": ClientKind(
        "/v1/chat/stream?protocol=ai-sdk", {"question": "Why no dual write?"}, (b"[DONE]", b'"type":"finish')
    ),
    "completion stream": ClientKind(
        "/v1/chat/completions", {"messages": SAYS, "stream": True}, (b"[DONE]", b'"finish_reason":"')
    ),
    "completion": ClientKind("/v1/chat/completions", {"messages": SAYS}, (b'"finish_reason":"',), False),
    "response stream": ClientKind(
        "/v1/responses", {"input": "Why?", "stream": True}, (b"response.completed", b"response.incomplete")
    ),
    "response": ClientKind("/v1/responses", {"input": "Why?"}, (b'"status":"completed"', b'"incomplete"'), False),
    "message stream": ClientKind(
        *("/v1/messages", {"messages": SAYS, "max_tokens": 99, "stream": True}), (b"message_stop", b'"stop_reason":"')
    ),
    "message": ClientKind("/v1/messages", {"messages": SAYS, "max_tokens": 99}, (b'"stop_reason":"',), False),
}


class Case(NamedTuple):
    """One client that meets one script of a provider with one dialect."""

    client: str
    script: str
    provider: DialectName

    @property
    def name(self) -> str:
        """Of a model that nobody else asks: its breaker, and its key, are its own."""
        return f"{self.client}/{self.script}".replace(" ", "-")

    @property
    def is_whole(self) -> bool:
        """Gemini's answers end with the reason to end: what others lack, it does not have."""
        return self.script in WHOLE or (self.script == "no-end" and self.provider == "gemini")


def combine(scripts: tuple[str, ...]) -> list[list[Case]]:
    """Client by client."""
    return [
        [Case(client, script, PROVIDERS[(row + column) % len(PROVIDERS)]) for column, script in enumerate(scripts)]
        for row, client in enumerate(CLIENTS)
    ]


@asynccontextmanager
async def asking(
    settings: Settings, tenant: Caller, cases: list[Case], silent_s: float
) -> AsyncIterator[tuple[Caller, FakeLlm]]:
    async with listen(FakeLlm("whole", FakePace(chunks=CHUNKS))) as fake:
        models = []
        for case in cases:
            base = f"{fake.url}/v1" if case.provider == "openai" else fake.url
            target = {"provider": case.provider, "model": MODEL_PREFIX + case.script, "base_url": base}
            models.append({"name": case.name, "targets": [{**target, "name": case.name, "key": case.name}]})
        llm = LlmSettings.model_validate(
            {
                "models": models,
                "keys": {case.name: f"key of {case.name}" for case in cases},
                "streams_per_tenant_max": AT_ONCE,
                "first_token_s": silent_s,
                "idle_s": silent_s,
            }
        )
        limits = LimitSettings.model_validate(dict.fromkeys(LimitSettings.model_fields, 0))
        async with running(settings.model_copy(update={"llm": llm, "limits": limits})) as world:
            yield world.caller(tenant.tenant_id), fake


async def ask_all(caller: Caller, cases: list[Case]) -> list[tuple[Case, httpx.Response]]:
    turns = asyncio.Semaphore(AT_ONCE - 1)

    async def ask(case: Case) -> tuple[Case, httpx.Response]:
        kind = CLIENTS[case.client]
        async with turns:
            body = {**kind.body, "model": case.name}
            return case, await asyncio.wait_for(caller.post(kind.path, body), PATIENCE_S)

    return list(await asyncio.gather(*map(ask, cases)))


def looks_whole(case: Case, response: httpx.Response) -> bool:
    """Whether this client would take it for a whole answer."""
    return response.status_code == 200 and any(end in response.content for end in CLIENTS[case.client].ends)


def find_error(case: Case, response: httpx.Response) -> dict[str, Any]:
    """What went wrong, where this client finds it."""
    if response.status_code != 200:
        body: dict[str, Any] = response.json()
        error: dict[str, Any] = body if "detail" in body else body["error"]
        return error
    *_, last = SseDecoder().feed(response.content)
    assert last.name == "error" or b'"error"' in last.data or b'"errorText"' in last.data, (case, last)
    return {"last": last.data}


def test_every_script_is_met() -> None:
    """But the one that never ends, which ends as one that falls silent, and those that ask for tools of ours, which are
    whole for callers who bring none (`tests/api/chat/test_tools.py`)."""
    assert {*FAULTS, *WHOLE} >= {*SCRIPTS, *WAITS} - {"endless", "tools-all", "tools-again", "tools-unknown"}


async def test_no_client_takes_what_broke_for_a_whole_answer(fresh_database: Settings, corpus: Corpus) -> None:
    tenant, turns = await furnished(fresh_database, corpus), asyncio.Semaphore(KINDS_AT_ONCE)

    async def meet(cases: list[Case]) -> None:
        async with turns, asking(fresh_database, tenant, cases, SILENT_S) as (caller, fake):
            for case, response in await ask_all(caller, cases):
                hold_to_it(case, response)
            assert fake.bills.stats.requests == len(cases), "each was asked once, and nobody again"

    await asyncio.gather(*map(meet, combine(FAULTS)))


def hold_to_it(case: Case, response: httpx.Response) -> None:
    if case.is_whole:
        assert looks_whole(case, response), (case, response.content)
        return
    assert not looks_whole(case, response), (case, response.content)
    assert find_error(case, response), (case, response.content)
    if not CLIENTS[case.client].streams:
        assert response.status_code >= 400, (case, "half an answer in one piece is none")
    if case.script in REFUSED or case.script in WAITS:
        assert response.status_code in (400, 413, 429, 503, 529), (case, response.content)
    if case.script in WAITS and case.script != "rate-limit":
        assert response.headers["retry-after"] == f"{RETRY_AFTER_S:g}", (case, response.headers)


async def test_each_client_gets_the_end_of_what_is_whole(fresh_database: Settings, corpus: Corpus) -> None:
    tenant = await furnished(fresh_database, corpus)
    for cases in combine(WHOLE):
        async with asking(fresh_database, tenant, cases, PATIENCE_S) as (caller, _):
            for case, response in await ask_all(caller, cases):
                assert looks_whole(case, response), (case, response.content)
