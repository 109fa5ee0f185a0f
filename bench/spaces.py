"""Six tenants change their embedding space while they are searched: failures, mixed scores, quality, and what it takes.

`python -m bench.spaces` fills a database of its own on the Postgres of the settings with six histories (`--data`; else
this project's decisions, six times), in the space of an endpoint beside it whose vectors are hashed words. Then each
tenant changes to the model in the process, goes back, goes again and drops the first, over HTTP and with the worker
that does jobs, while every tenant is searched on and on. Prints two lines for each tenant and two for the searches,
and drops all.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import psycopg

from adriatic.cli.stream import job_kinds
from api.agents.desk import AgentDesk
from api.app import create_app
from api.research.asking import ResearchDesk
from api.search.known_item import as_query, items
from api.tenants import service as tenants
from bench.search import fresh_database
from connectors.embedders.spaces import SpaceEmbedders
from connectors.history import open_source
from connectors.kafka.records import Record
from connectors.objects import Objects
from connectors.parsers.pool import Parsers
from connectors.postgres.connections import connect
from dataflows.catalog import views
from dataflows.embed import Embed
from dataflows.flow import Event, Flow
from dataflows.index import BULK_TOPIC, REQUESTS_TOPIC, Index
from runtime import logs
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import EmbedderSettings, Settings, TelemetrySettings, load
from schemas import sources
from streams.worker import Worker

DECISIONS = Path(__file__).resolve().parent.parent / "docs" / "decisions"
TENANTS = 6
HASHED = 256
"""Dimensions of the endpoint's vectors."""
QUERIES_MAX = 40
"""Titles that a tenant is searched for, over and over."""
TEXTS = 10
"""Texts of each history, unless told otherwise: a hundred passages, of which each is embedded three times."""
PAUSE_S = 0.05
"""Between two searches of a tenant."""
TEXT_BYTES_MAX = 1_048_576
POLL_S = 0.1
TOLERANCE = 1e-4
"""Between a score of a search and the product of both vectors."""


# --- an endpoint with a model that is small and poor, and needs no weights ------------------------------------------


def hash_words(text: str) -> list[float]:
    """Texts with words in common are nearer than texts without."""
    vector = np.zeros(HASHED, np.float32)
    for word in text.lower().split() or [text]:
        digest = hashlib.sha256(word.encode()).digest()
        vector[digest[0]] += 1 if digest[1] % 2 else -1
    norm = np.linalg.norm(vector)
    return list((vector / norm if norm else np.full(HASHED, HASHED**-0.5)).tolist())


class Endpoint(BaseHTTPRequestHandler):
    """Speaks OpenAI's embeddings API."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        rows = [
            {"object": "embedding", "index": at, "embedding": hash_words(text)}
            for at, text in enumerate(request["input"])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        body = json.dumps({"object": "list", "model": request["model"], "data": rows, "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        return


@contextmanager
def serving() -> Iterator[str]:
    """The endpoint's address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


def settings_of(settings: Settings, postgres: Any, url: str, home: Path) -> Settings:
    """Hashed words for everybody, and the model in the process under the name `local`."""
    local = {"name": "local", "kind": "minilm", "model": "all-MiniLM-L6-v2-int8", "dimension": 384}
    first = {"kind": "openai", "model": "hashed-words", "dimension": HASHED, "base_url": url, "threads": 1}
    embedder = EmbedderSettings.model_validate({**first, "models": [local]})
    return settings.model_copy(update={"postgres": postgres, "embedder": embedder, "home": home})


# --- the system -----------------------------------------------------------------------------------------------------


@dataclass
class Switched:
    """What became of one tenant."""

    tenant: str
    texts: int
    passages: int = 0
    build_s: float = 0.0
    flip_ms: float = 0.0
    rollback_ms: float = 0.0
    same_after_rollback: bool = False
    drop_s: float = 0.0
    rows_left: int = -1
    evaluation: dict[str, Any] = field(default_factory=dict)


@dataclass
class Tally:
    """Searches and what was wrong with them. `seen`: query, space and hit, whose scores are compared at the end."""

    searches: int = 0
    failed: int = 0
    took_ms: list[float] = field(default_factory=list)
    seen: dict[tuple[UUID, str, str, str, int], set[float]] = field(default_factory=dict)
    by_space: dict[str, int] = field(default_factory=dict)


class Tenant:
    """A client of one tenant."""

    def __init__(self, http: httpx.AsyncClient, tenant_id: UUID, token: str, queries: Sequence[str]) -> None:
        self._http = http
        self._headers = {"authorization": f"Bearer {token}"}
        self.tenant_id = tenant_id
        self.queries = queries

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        response = await self._http.request(method, path, json=body, headers=self._headers)
        response.raise_for_status()
        return response.json()

    async def search(self, query: str, mode: str) -> httpx.Response:
        body = {"q": query, "mode": mode, "explain": True}
        return await self._http.post("/v1/search", json=body, headers=self._headers)

    async def job(self, path: str) -> None:
        """A job of a change, until it is over."""
        job = await self.call("POST", f"/v1/spaces{path}", {"name": "local" if path != "/drops" else "adriatic"})
        while job["finished_at"] is None:
            await asyncio.sleep(POLL_S)
            job = await self.call("GET", f"/v1/jobs/{job['job_id']}")
        assert job["state"] == "succeeded", job


def flow(settings: Settings, embedders: SpaceEmbedders) -> None:
    """What the flows do about all versions that are there."""
    with psycopg.connect(settings.postgres.dsn("admin")) as admin:
        versions = admin.execute("select to_jsonb(v) - 'original' from app.adr_versions v").fetchall()
    contract = sources.KINDS["adr"].contract
    changes = [_event(contract, {"op": "c", "before": None, "after": row[0]}) for row in versions]
    for at in range(0, len(changes), Index.limits.records_max):
        _step(settings, Index(), changes[at : at + Index.limits.records_max])
    with psycopg.connect(settings.postgres.dsn("admin")) as admin:
        asked = admin.execute(
            "select topic, value from app.outbox where topic = any(%s) order by event_id",
            [[REQUESTS_TOPIC, BULK_TOPIC]],
        ).fetchall()
    for topic, value in asked:
        texts = [{**each, "text_hash": base64.b64decode(each["text_hash"])} for each in value["items"]]
        _step(settings, Embed(embedders), [_event(topic, value | {"items": texts})])


def _event(contract: str, value: Any) -> Event:
    return Event(Record(contract, 0, 0, None, None, b""), value, contract)


def _step(settings: Settings, kept: Flow[Any], events: list[Event]) -> None:
    with connect(settings.postgres) as connection:
        kept.apply(connection, kept.prepare(connection, kept.transform(events)))


@asynccontextmanager
async def serving_api(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, Any]]:
    app = create_app(settings, views())
    transport = httpx.ASGITransport(app=app)
    async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://api", timeout=60) as http:
        yield http, app.state.issuer


# --- the change -----------------------------------------------------------------------------------------------------


async def measure(settings: Settings, histories: Sequence[Path], texts: int) -> tuple[list[Switched], Tally, int]:
    """Fill, search, change; then compare every score with the vectors of the space that it was said to be of."""
    embedders = SpaceEmbedders.from_settings(settings.embedder)
    with connect(settings.postgres) as connection:
        Embed(embedders).start(connection)
    life = Lifecycle(Health())
    worker = Worker(
        job_kinds(
            *(Objects(settings), Parsers(), embedders),
            *(ResearchDesk(settings, embedders), AgentDesk(settings, embedders)),
        ),
        settings.postgres,
        life,
    )
    tally = Tally()
    async with serving_api(settings) as (http, issuer):
        town = [await _fill(settings, http, issuer, number, path, texts) for number, path in enumerate(histories)]
        await asyncio.to_thread(flow, settings, embedders)
        worker.start()
        stop = asyncio.Event()
        searching = [asyncio.create_task(_search(tenant, tally, stop)) for tenant, _ in town]
        for tenant, switched in town:
            await _change(tenant, switched)
        mixed = await asyncio.to_thread(_count_mixed, settings, embedders, tally)
        for tenant, switched in town:
            began_s = time.perf_counter()
            await tenant.job("/drops")
            switched.drop_s = time.perf_counter() - began_s
        stop.set()
        await asyncio.gather(*searching)
    life.stop()
    worker.join(30)
    with psycopg.connect(settings.postgres.dsn("admin")) as admin:
        for tenant, switched in town:
            ((switched.passages, switched.rows_left),) = admin.execute(
                _COUNTS, {"tenant": tenant.tenant_id, "space": embedders.spaces[0].name}
            )
    embedders.close()
    return [switched for _, switched in town], tally, mixed


_COUNTS = """
  select
    (select count(*) from mv.chunks where tenant_id = %(tenant)s),
    (select count(*) from mv.embeddings where tenant_id = %(tenant)s and space = %(space)s)
"""


async def _fill(
    settings: Settings, http: httpx.AsyncClient, issuer: Any, number: int, path: Path, texts: int
) -> tuple[Tenant, Switched]:
    found = items(open_source(path, content_bytes_max=TEXT_BYTES_MAX).changes())[:texts]
    async with tenants.owner(settings.postgres) as connection:
        made = await tenants.create(connection, f"bench-{number}")
    token = issuer.mint(made.tenant_id, subject="bench", ttl_s=7_200).text
    titles = [as_query(each.query) for each in found if each.query]
    tenant = Tenant(http, made.tenant_id, token, titles[:QUERIES_MAX])
    for item in found:
        title = f"# {item.query}\n\n" if item.query else ""
        await tenant.call("POST", "/v1/adrs", {"body": title + item.text})
    return tenant, Switched(path.name.split(".")[0], len(found))


async def _search(tenant: Tenant, tally: Tally, stop: asyncio.Event) -> None:
    turn = 0
    while not stop.is_set():
        query, mode = tenant.queries[turn % len(tenant.queries)], ("meaning", "hybrid")[turn % 2]
        turn += 1
        await asyncio.sleep(PAUSE_S)
        began_s = time.perf_counter()
        response = await tenant.search(query, mode)
        tally.took_ms.append((time.perf_counter() - began_s) * 1000)
        tally.searches += 1
        if response.status_code != 200 or (found := response.json())["degraded"] or not found["hits"]:
            tally.failed += 1
            continue
        space, text = found["explain"]["space"], found["explain"]["text"]
        tally.by_space[space] = tally.by_space.get(space, 0) + 1
        for hit in found["hits"]:
            if arm := hit["explain"]["meaning"]:
                key = (tenant.tenant_id, text, space, hit["source_id"], arm["ordinal"])
                tally.seen.setdefault(key, set()).add(arm["score"])


async def _change(tenant: Tenant, switched: Switched) -> None:
    """There, back, and there again."""
    before = [(await tenant.search(query, "meaning")).json()["hits"] for query in tenant.queries]
    began_s = time.perf_counter()
    await tenant.job("")
    switched.build_s = time.perf_counter() - began_s
    await tenant.job("/evaluations")
    began_s = time.perf_counter()
    spaces = await tenant.call("PUT", "/v1/spaces/active", {"name": "local", "force": True})
    switched.flip_ms = (time.perf_counter() - began_s) * 1000
    switched.evaluation = spaces["evaluations"][0]
    began_s = time.perf_counter()
    await tenant.call("PUT", "/v1/spaces/active", {"name": "adriatic"})
    switched.rollback_ms = (time.perf_counter() - began_s) * 1000
    after = [(await tenant.search(query, "meaning")).json()["hits"] for query in tenant.queries]
    switched.same_after_rollback = before == after
    await tenant.call("PUT", "/v1/spaces/active", {"name": "local", "force": True})


_VECTOR = """
  select e.embedding::real[]
  from mv.chunks c
  join mv.embeddings e on e.tenant_id = c.tenant_id and e.text_hash = c.text_hash and e.space = %s
  where c.tenant_id = %s and c.source_id = %s and c.ordinal = %s
"""


def _count_mixed(settings: Settings, embedders: SpaceEmbedders, tally: Tally) -> int:
    """Scores that are not the product of a query and a passage that are both in the space that was said."""
    mixed, queries = 0, {}
    with psycopg.connect(settings.postgres.dsn("admin")) as admin:
        for (tenant_id, query, space, source_id, ordinal), scores in list(tally.seen.items()):
            if (space, query) not in queries:
                embedder = embedders.find(space)
                assert embedder is not None
                queries[space, query] = embedder.embed([query])[0]
            row = admin.execute(_VECTOR, [space, tenant_id, source_id, ordinal]).fetchone()
            assert row is not None, "a passage is gone"
            right = float(np.dot(queries[space, query], np.asarray(row[0], np.float32)))
            mixed += sum(abs(right - score) > TOLERANCE for score in scores)
    return mixed


def _lines(switched: Sequence[Switched], tally: Tally, mixed: int) -> Iterator[str]:
    for each in switched:
        by = each.evaluation
        old, new, difference = (by[name] for name in ("quality_against", "quality", "difference"))
        yield (
            f"{each.tenant:<34} {each.texts:>4} texts {each.passages:>5} passages  built {each.build_s:5.1f} s  "
            f"flip {each.flip_ms:4.0f} ms  rollback {each.rollback_ms:4.0f} ms, "
            f"{'same answers' if each.same_after_rollback else 'OTHER ANSWERS'}  "
            f"dropped {each.drop_s:4.1f} s, {each.rows_left} rows left"
        )
        yield (
            f"{'':<34} nDCG@10 {old['ndcg']:.3f} ({old['low']:.3f} to {old['high']:.3f}) → {new['ndcg']:.3f} "
            f"({new['low']:.3f} to {new['high']:.3f}), {difference['ndcg']:+.3f} ({difference['low']:+.3f} to "
            f"{difference['high']:+.3f}) of {by['questions']} titles: {by['verdict']}"
        )
    p50, p95 = np.percentile(tally.took_ms, [50, 95])
    spaces = ", ".join(f"{count} in {space}" for space, count in sorted(tally.by_space.items()))
    yield f"{tally.searches} searches, {tally.failed} failed, {mixed} scores mixed of {len(tally.seen)} compared"
    yield f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, of six at once; {spaces}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, help="A folder of JSONL histories; the first six are taken.")
    arguments.add_argument("--texts", type=int, default=TEXTS, help="Texts of each history, at most.")
    chosen = arguments.parse_args()
    run(load(), chosen.data, chosen.texts)


def run(base: Settings, data: Path | None, texts: int = TEXTS) -> None:
    """Measure on the Postgres of these settings, and print."""
    logs.configure("bench", TelemetrySettings(log_level="ERROR"))
    histories = sorted(data.iterdir())[:TENANTS] if data else [DECISIONS] * TENANTS
    with (
        serving() as url,
        fresh_database(base.postgres) as own,
        tempfile.TemporaryDirectory(prefix="adriatic-bench-") as home,
    ):
        settings = settings_of(base, own, url, Path(home))
        for line in _lines(*asyncio.run(measure(settings, histories, texts))):
            print(line)


if __name__ == "__main__":
    main()
