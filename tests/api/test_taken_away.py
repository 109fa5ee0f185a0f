"""What is taken away, asked of every reader in the moment after: no flow runs here, so what flows keep still has it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from runtime.settings import Settings
from tests import databases
from tests.api.chat.test_cache import HIT, MISS, data_of, settled, status_of, whole
from tests.api.chat.test_routes import chatting, openai
from tests.api.mcp.test_tools import call
from tests.api.research import world as desks
from tests.api.search.corpus import Corpus
from tests.api.world import Caller, World
from tests.connectors.llm.stand_in import StandIn, standing_in
from tests.patience import soon

pytestmark = pytest.mark.stack

WORD = "zirconium"
TEXT = f"# Refine {WORD}\n\nThe anchor holds, says the {WORD} of the harbour.\n"
ANCHOR = "# The anchor\n\nThe anchor holds in the harbour, and stays.\n"
QUESTION = f"What says the {WORD}?"
OF_BOTH = "What says that the anchor holds in the harbour?"
"""Which the anchor answers too."""

Sees = Callable[[], Awaitable[bool]]
"""Asks in one way; whether anything of the source is in what comes."""


@dataclass
class Scene:
    """A source, an anchor that stays, and who asks."""

    world: World
    caller: Caller
    kind: str
    source_id: str
    anchor: str
    provider: StandIn
    research_id: str = ""
    session_id: str = ""

    async def look_into(self) -> None:
        """A question that is answered before, and a conversation that stands on both sources."""
        made = await self.caller.post("/v1/research", {"question": OF_BOTH})
        self.research_id = made.json()["research_id"]
        with desks.working(self.world.settings):
            await soon(lambda: self._is_over(self.research_id), "research")
        answer = await self.caller.post("/v1/chat/stream", {"question": OF_BOTH})
        self.session_id = data_of(answer)["start"]["session_id"]
        await settled(self.world)

    def _is_over(self, job_id: str) -> bool:
        over = "select 1 from app.jobs where job_id = %s and finished_at is not null"
        return bool(databases.ask(self.world.settings.postgres.dsn("admin"), over, job_id))

    async def looked_into(self) -> bool:
        """In the result that was kept, whatever the question says."""
        found = (await self.caller.get(f"/v1/research/{self.research_id}")).json()
        result = found["result"]
        told = json.dumps([result["sources"], [each["claims"] for each in result["parts"]], result["text"]])
        return self.source_id in told or WORD in told

    async def is_remembered(self) -> bool:
        """In what a model is told of the conversation."""
        asked = len(self.provider.requests)
        more = {"question": f"{OF_BOTH} Again?", "session_id": self.session_id}
        await self.caller.post("/v1/chat/stream", more, headers={"cache-control": "no-store"})
        await settled(self.world)
        (told,) = self.provider.requests[asked:]
        return any(each["role"] == "assistant" for each in told["messages"])

    async def get(self, path: str, **query: Any) -> str:
        found = await self.caller.get(path, params=query)
        assert found.status_code in (200, 404, 410), found.text
        return found.text if found.status_code == 200 else ""

    async def search(self, **query: Any) -> dict[str, Any]:
        found = await self.caller.post("/v1/search", {"q": WORD, "mode": "words"} | query)
        assert found.status_code == 200, found.text
        answer: dict[str, Any] = found.json()
        return answer

    async def chat(self) -> bool:
        """In what is answered, and in what the model is told."""
        asked = len(self.provider.requests)
        answer = await self.caller.post(
            "/v1/chat/stream", {"question": QUESTION}, headers={"cache-control": "no-store"}
        )
        told = json.dumps(self.provider.requests[asked:]).replace(QUESTION, "")
        return self.source_id in answer.text or WORD in told

    async def is_given_again(self) -> bool:
        answer = await self.caller.post("/v1/chat/stream", {"question": QUESTION})
        await settled(self.world)
        return status_of(answer) == HIT

    def readers(self) -> dict[str, Sees]:
        def searched(**query: Any) -> Sees:
            async def sees() -> bool:
                return self.source_id in json.dumps((await self.search(**query))["hits"])

            return sees

        def says(path: str, sought: str = "", **query: Any) -> Sees:
            async def sees() -> bool:
                return (sought or self.source_id) in await self.get(path, **query)

            return sees

        async def counted() -> bool:
            facets = (await self.search(facets=["kind", "year"]))["facets"]
            return bool(facets["sources"] or any(each["values"] for each in facets["by"].values()))

        async def corrected() -> bool:
            return bool((await self.search(q=WORD.replace("c", "k"))).get("corrected"))

        async def told() -> bool:
            found = await call(self.caller, "search_adrs", query=WORD, documents=True)
            return WORD in json.dumps(found).replace(f'"query": "{WORD}"', "")

        readers = {
            "search by words": searched(),
            "search by both": searched(mode="hybrid"),
            "search of its kind": searched(kind=self.kind),
            "search while typing": searched(q=WORD[:-3], typing=True),
            "facets": counted,
            "corrections": corrected,
            "chat": self.chat,
            "an editor's search": told,
            "an answer that is kept": self.is_given_again,
        }
        places = {"adr": "/v1/adrs", "document": "/v1/documents", "page": "/v1/pages"}
        readers["by its id"] = says(f"{places[self.kind]}/{self.source_id}")
        if self.kind != "page":
            readers |= {"research that is kept": self.looked_into, "a conversation that goes on": self.is_remembered}
            readers["list"] = says(places[self.kind])
        if self.kind == "adr":
            readers |= self._readers_of_decisions(says)
        return readers

    def _readers_of_decisions(self, says: Callable[..., Sees]) -> dict[str, Sees]:
        async def checked() -> bool:
            found = await self.caller.post("/v1/decisions/check", {"change": f"Use {WORD} here.\n"})
            return self.source_id in found.text

        async def read() -> bool:
            return "anchor holds" in json.dumps(await call(self.caller, "read_adr", adr="ADR-2"))

        return {
            "related": says(f"/v1/adrs/{self.anchor}/related"),
            "suggested": says(f"/v1/adrs/{self.anchor}/suggestions"),
            "all suggestions": says("/v1/suggestions"),
            "check of a change": checked,
            "an editor's reading": read,
        }


@pytest.fixture
async def provider() -> AsyncIterator[StandIn]:
    async with standing_in() as standing:
        standing.script = whole("So ", "[1, 2].")
        yield standing


@pytest.fixture
async def world(fresh_database: Settings, provider: StandIn) -> AsyncIterator[World]:
    async with chatting(fresh_database, **openai(provider, cache_s=3_600)) as made:
        yield made


async def furnish(world: World, corpus: Corpus, kind: str, provider: StandIn) -> Scene:
    caller = await world.tenant()
    tenant = caller.tenant_id
    corpus.log(tenant, "default")
    corpus.watermark(datetime.now(UTC))
    anchor = corpus.adr(tenant, "The anchor", ANCHOR, number=1)
    execute = corpus.connection.execute
    if kind == "adr":
        source = corpus.adr(tenant, f"Refine {WORD}", TEXT, number=2)
        corpus.near(tenant, anchor, source)
        corpus.suggestion(tenant, source, anchor)
    elif kind == "document":
        made = await caller.http.post(
            "/v1/documents",
            files={"file": (f"{WORD}.md", TEXT.encode())},
            headers={"authorization": f"Bearer {caller.token}"},
        )
        source = UUID(made.json()["id"])
        execute(
            "update app.documents set state = 'processed', media_type = 'text/markdown', version = 1 "
            "where document_id = %s",
            [source],
        )
        execute(
            "insert into app.document_versions (tenant_id, document_id, version, kind, origin, title, media_type, "
            "body, effective_at) values (%s, %s, 1, 'create', 'upload', %s, 'text/markdown', %s, now())",
            [tenant, source, f"Refine {WORD}", TEXT],
        )
        corpus.index(tenant, kind, source, 1, f"Refine {WORD}", TEXT)
    else:
        crawl = await caller.post("/v1/crawls", {"start_urls": ["https://docs.example/"]})
        source = corpus.page(tenant, UUID(crawl.json()["crawl_id"]), f"Refine {WORD}")
        corpus.index(tenant, kind, source, 1, f"Refine {WORD}", f"What Refine {WORD} says.")
    return Scene(world, caller, kind, str(source), str(anchor), provider)


@pytest.mark.parametrize("kind", ["adr", "document", "page"])
async def test_no_reader_has_it_in_the_moment_after(world: World, corpus: Corpus, provider: StandIn, kind: str) -> None:
    scene = await furnish(world, corpus, kind, provider)
    readers = scene.readers()
    await scene.look_into()
    first = await scene.caller.post("/v1/chat/stream", {"question": QUESTION})
    await settled(world)
    assert status_of(first) == MISS
    assert {name for name, sees in readers.items() if not await sees()} == set(), "every reader has it before"
    path = {"adr": "/v1/adrs", "document": "/v1/documents", "page": "/v1/pages"}[kind]
    deleted = await scene.caller.delete(f"{path}/{scene.source_id}", headers={"if-match": '"1"'})
    assert deleted.status_code in (200, 204), deleted.text
    assert {name for name, sees in readers.items() if await sees()} == set()
    assert corpus.connection.execute(
        "select count(*) from mv.chunks where source_id = %s", [scene.source_id]
    ).fetchone() != (0,), "what the flows keep is still there: it was the readers who left it out"
