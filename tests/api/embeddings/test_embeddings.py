"""`/v1/embeddings`: what the openai SDK gets, unchanged; what is refused; limits, money and the books."""

from __future__ import annotations

import asyncio
import json
import threading
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from api.embeddings.schemas import TEXTS_BYTES_MAX, TEXTS_MAX
from connectors.embedders import Vector
from connectors.embedders.minilm import MiniLM
from connectors.embedders.spaces import DIMENSION, MODEL
from runtime.setting_embedders import EmbedderSettings
from runtime.settings import LimitSettings, Settings
from tests.api.test_server import client, serving
from tests.api.world import Caller, World, running
from tests.connectors.embedders import stand_in as embedding
from tests.patience import PATIENCE_S, soon

pytestmark = pytest.mark.stack

TEXTS = ["A dual write fails in the middle.", "Kafka is the ledger."]


def endpoint(server: embedding.StandIn, **more: Any) -> dict[str, Any]:
    """A further model, of vectors that can be shortened."""
    return {
        "name": "small",
        "model": "text-embedding-3-small",
        "base_url": server.url,
        "key": "k",
        "dimension": embedding.DIMENSION,
        "send_dimension": True,
        **more,
    }


@asynccontextmanager
async def embedding_world(
    settings: Settings, limits: LimitSettings | None = None, **embedder: Any
) -> AsyncIterator[World]:
    changed = {
        "embedder": EmbedderSettings.model_validate(embedder),
        "limits": limits or LimitSettings(user_streams=0, new_user_requests=0, user_tokens_per_day=0),
    }
    async with running(settings.model_copy(update=changed)) as world:
        yield world


@pytest.fixture
def server() -> Iterator[embedding.StandIn]:
    standing = embedding.StandIn()
    yield standing
    standing.close()


async def rows_of(world: World, caller: Caller, count: int) -> list[Any]:
    """The tenant's rows, when there are `count`."""
    rows: list[Any] = []
    async with world.admin() as admin:
        for _ in range(round(PATIENCE_S / 0.02)):
            rows = await admin.fetch(
                "select * from app.usage_events where tenant_id = $1 order by started_at", caller.tenant_id
            )
            if len(rows) >= count and not world.app.state.supervisor.calls.unsettled:
                break
            await asyncio.sleep(0.02)
    assert len(rows) == count
    return rows


async def ask(caller: Caller, status: int = 200, **body: Any) -> dict[str, Any]:
    response = await caller.post("/v1/embeddings", {"model": "adriatic", **body})
    assert response.status_code == status, response.text
    told: dict[str, Any] = response.json()
    return told


async def test_openais_sdk_unchanged(fresh_database: Settings, tmp_path: Path, server: embedding.StandIn) -> None:
    """The SDK asks for base64 by itself, and decodes it; the model is asked by the name of the settings."""
    async with running(fresh_database) as world:
        tenant = await world.tenant()
    models = json.dumps([endpoint(server)])
    variables = {"ADRIATIC_EMBEDDER__MODELS": models, "ADRIATIC_EMBEDDER__KEYS": json.dumps({"k": "secret"})}
    with serving(fresh_database, tmp_path, **variables) as process:
        async with (
            client(process, fresh_database, tenant) as caller,
            openai.AsyncOpenAI(base_url=f"{process.url}/v1", api_key=caller.token, max_retries=0) as sdk,
        ):
            told = await sdk.embeddings.create(model="adriatic", input=TEXTS)
            assert (told.object, told.model, [item.index for item in told.data]) == ("list", "adriatic", [0, 1])
            wanted = MiniLM(threads=1).embed(TEXTS)
            np.testing.assert_array_equal(np.asarray(told.data[1].embedding, np.float32), wanted[1])
            numbers = await sdk.embeddings.create(model="adriatic", input=TEXTS[1], encoding_format="float")
            np.testing.assert_allclose(numbers.data[0].embedding, told.data[1].embedding, rtol=1e-6)
            short = await sdk.embeddings.create(model="small", input=TEXTS, dimensions=8)
            assert [len(item.embedding) for item in short.data] == [8, 8]
            assert short.usage.prompt_tokens == short.usage.total_tokens == 1
            with pytest.raises(openai.NotFoundError, match="no embedding model"):
                await sdk.embeddings.create(model="nobody", input="x")
            with pytest.raises(openai.NotFoundError, match="dimensions can be 384"):
                await sdk.embeddings.create(model="adriatic", input="x", dimensions=15_999)
            with pytest.raises(openai.BadRequestError, match="tokens are not taken"):
                await sdk.embeddings.create(model="adriatic", input=[1, 2, 3])
        assert process.stop() == 0
        assert not [line for line in process.lines() if line["message"] == "unexpected exception"]


async def test_the_model_of_the_search_costs_nothing_and_counts(fresh_database: Settings) -> None:
    async with embedding_world(fresh_database) as world:
        caller = await world.tenant()
        told = await ask(caller, input=TEXTS)
        wanted = MiniLM(threads=1).embed(TEXTS)
        assert [item["index"] for item in told["data"]] == [0, 1]
        for item, vector in zip(told["data"], wanted, strict=True):
            np.testing.assert_array_equal(np.asarray(item["embedding"], np.float32), vector)
        assert told["usage"]["prompt_tokens"] == told["usage"]["total_tokens"] > 8
        (row,) = await rows_of(world, caller, 1)
        assert (row["provider"], row["model"], row["outcome"]) == ("minilm", MODEL, "completed")
        assert (row["cost_micro_usd"], row["usage_source"]) == (0, "provider")
        assert row["input_uncached"] == told["usage"]["prompt_tokens"]
        async with world.admin() as admin:
            assert await admin.fetchval("select count(*) from app.attempts") == 0, "nothing is left in flight"


async def test_base64_is_the_same_numbers(fresh_database: Settings) -> None:
    async with embedding_world(fresh_database) as world:
        caller = await world.tenant()
        numbers = (await ask(caller, input=TEXTS[0]))["data"][0]["embedding"]
        letters = (await ask(caller, input=TEXTS[0], model=MODEL, encoding_format="base64"))["data"][0]["embedding"]
        decoded = np.frombuffer(b64decode(letters), "<f4")
        assert len(decoded) == DIMENSION
        np.testing.assert_array_equal(decoded, np.asarray(numbers, np.float32))


async def test_an_endpoint_is_asked_and_paid(fresh_database: Settings, server: embedding.StandIn) -> None:
    server.misbehave = lambda request: (200, {}, _with_usage(request["input"], 500_000))
    async with embedding_world(fresh_database, models=[endpoint(server)], keys={"k": "secret"}) as world:
        caller = await world.tenant()
        told = await ask(caller, model="small", input=TEXTS, user="somebody")
        assert (told["model"], told["usage"]["prompt_tokens"]) == ("small", 500_000)
        assert server.keys == ["Bearer secret"]
        assert (server.requests[0]["model"], server.requests[0]["input"]) == ("text-embedding-3-small", TEXTS)
        (row,) = await rows_of(world, caller, 1)
        assert (row["provider"], row["model"]) == ("openai", "text-embedding-3-small")
        assert row["cost_micro_usd"] == 10_000, "half a million tokens at $0.02 a million"


async def test_vectors_are_shortened_where_they_can_be(fresh_database: Settings, server: embedding.StandIn) -> None:
    models = [endpoint(server), endpoint(server, name="fixed", model="fixed", send_dimension=False)]
    async with embedding_world(fresh_database, models=models, keys={"k": "secret"}) as world:
        caller = await world.tenant()
        whole: Vector = np.asarray((await ask(caller, model="small", input=TEXTS[0]))["data"][0]["embedding"])
        short: Vector = np.asarray(
            (await ask(caller, model="small", input=TEXTS[0], dimensions=4))["data"][0]["embedding"]
        )
        assert len(short) == 4
        np.testing.assert_allclose(np.linalg.norm(short), 1, rtol=1e-5)
        np.testing.assert_allclose(short, whole[:4] / np.linalg.norm(whole[:4]), rtol=1e-5)
        for model, wanted in (("fixed", 4), ("small", embedding.DIMENSION + 1), ("adriatic", 100)):
            told = await ask(caller, 404, model=model, input="x", dimensions=wanted)
            assert f"no vectors of {wanted} numbers" in told["error"]["message"]
        await ask(caller, input="x", dimensions=DIMENSION)


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        ({"input": []}, 400, "input"),
        ({"input": "\u200b\n"}, 400, "the text at 0 is blank"),
        ({"input": ["x", " "]}, 400, "the text at 1 is blank"),
        ({"input": [1, 2]}, 400, "tokens are not taken"),
        ({"input": [[1, 2]]}, 400, "tokens are not taken"),
        ({"input": ["x"] * (TEXTS_MAX + 1)}, 413, f"more than {TEXTS_MAX}"),
        ({"input": "x" * (TEXTS_BYTES_MAX + 1)}, 413, "bytes"),
        ({"input": "x", "model": "nobody"}, 404, "there are adriatic"),
        ({"input": "x", "encoding_format": "hex"}, 400, "encoding_format"),
        ({"input": "x", "dimensions": 0}, 400, "dimensions"),
    ],
)
async def test_what_is_refused_is_refused_before_anybody_is_asked(
    fresh_database: Settings, sent: dict[str, Any], status: int, said: str
) -> None:
    async with embedding_world(fresh_database) as world:
        caller = await world.tenant()
        assert said in json.dumps(await ask(caller, status, **sent))
        await rows_of(world, caller, 0)


async def test_tokens_and_requests_count_against_the_limits(fresh_database: Settings) -> None:
    limits = LimitSettings(user_streams=0, new_user_requests=2, user_tokens_per_day=10)
    async with embedding_world(fresh_database, limits) as world:
        caller = await world.tenant()
        first = await caller.post("/v1/embeddings", {"model": "adriatic", "input": TEXTS})
        assert "r=1" in first.headers["ratelimit"]
        await rows_of(world, caller, 1)
        told = await ask(caller, 429, input="x")
        assert "10 tokens in a day" in told["error"]["message"]


async def test_a_budget_covers_an_endpoint_and_not_what_is_free(
    fresh_database: Settings, server: embedding.StandIn
) -> None:
    models = [endpoint(server), endpoint(server, name="unpriced", model="bge-small")]
    async with embedding_world(fresh_database, models=models, keys={"k": "secret"}) as world:
        caller = await world.tenant()
        budget = {"level": "org", "period": "month", "limit_micro_usd": 1}
        assert (await caller.put("/v1/budgets", budget)).status_code in (200, 201)
        told = await ask(caller, 429, model="small", input="word " * 1_000)
        assert "micro-USD left" in told["error"]["message"]
        told = await ask(caller, 403, model="unpriced", input="x")
        assert "is not known" in told["error"]["message"]
        assert server.requests == []
        await ask(caller, input=TEXTS)


async def test_an_endpoint_that_is_away_is_said_and_recorded(
    fresh_database: Settings, server: embedding.StandIn
) -> None:
    server.misbehave = lambda request: embedding.refusal(500, "no")
    async with embedding_world(fresh_database, models=[endpoint(server)], keys={"k": "secret"}) as world:
        caller = await world.tenant()
        await ask(caller, 503, model="small", input="x")
        server.misbehave = lambda request: embedding.refusal(400, "no") if "bad" in request["input"] else None
        told = await ask(caller, 400, model="small", input=["good", "bad"])
        assert "the text at 1 cannot be embedded" in told["error"]["message"]
        rows = await rows_of(world, caller, 2)
        assert [row["outcome"] for row in rows] == ["failed", "failed"]


async def test_a_stop_ends_what_is_in_flight_and_sends_no_further_batch(
    fresh_database: Settings, server: embedding.StandIn
) -> None:
    """The endpoint answers only when all has been seen. What another tenant asked goes on."""
    let_go = threading.Event()
    server.misbehave = lambda request: None if let_go.wait(PATIENCE_S) else embedding.refusal(500, "never let go")
    models = [endpoint(server)]
    async with embedding_world(fresh_database, models=models, keys={"k": "secret"}, batch_max=1) as world:
        caller, other = await world.tenant(), await world.tenant()
        try:
            asked = asyncio.create_task(ask(caller, 403, model="small", input=TEXTS))
            going_on = asyncio.create_task(ask(other, model="small", input=TEXTS[0]))
            await soon(lambda: len(server.requests) == 2, "both at the endpoint")
            order = {"state": "stopped", "reason": "It runs in a circle"}
            assert (await caller.put("/v1/spend/switch", order)).status_code == 200
            told = await asyncio.wait_for(asked, PATIENCE_S)
            assert told["error"]["code"] == "spend_stopped"
            assert "It runs in a circle" in told["error"]["message"]
            (row,) = await rows_of(world, caller, 1)
            assert (row["outcome"], row["code"], row["usage_source"]) == ("failed", "spend-stopped", "estimated")
            assert row["input_uncached"] + row["unseen_tokens_max"] == sum(map(len, TEXTS)), "at most a token a byte"
            assert not going_on.done()
        finally:
            let_go.set()
        assert len((await asyncio.wait_for(going_on, PATIENCE_S))["data"]) == 1
        await soon(lambda: not world.app.state.embeddings._waiting, "the end of all threads")
        assert len(server.requests) == 2, "the second text of the first caller was not sent"
        async with world.admin() as admin:
            assert await admin.fetchval("select count(*) from app.attempts") == 0


def _with_usage(texts: list[str], tokens: int) -> bytes:
    told = json.loads(embedding.answer(texts))
    told["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json.dumps(told).encode()
