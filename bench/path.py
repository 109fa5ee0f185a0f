"""What a write costs on its way: commit → topic, commit → findable by words and by meaning, and imports.

Owns the load (bounded, on a tenant of its own, at a steady rate) and the reading of the clocks. Commit time is the
source's own (`adriatic.committed_at`); arrival is when a plain consumer has the record; findable is what the tables
say.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
from confluent_kafka import Consumer, TopicPartition

from adriatic.cli.remote import local_token, local_url
from api.tenants import service
from connectors.kafka.partitioner import partition_for
from runtime.deadline import Deadline
from runtime.settings import Settings
from schemas.headers import COMMITTED_AT_HEADER, TENANT_HEADER

VERSIONS = "adriatic.app.adr_versions"
PARTITIONS = 8
WRITES = 150
WRITES_PER_S = 5.0
"""A rate that leaves the machine mostly idle: it is the latency of the path that is asked for, not of a queue."""
IMPORT_ADRS = 100
IMPORT_EDITS = 10
SETTLE_MAX_S = 300.0
DECISIONS = Path(__file__).resolve().parents[1] / "docs" / "decisions"


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of `count` observations, in milliseconds."""

    what: str
    p50_ms: float
    p95_ms: float
    p99_ms: float
    count: int

    @classmethod
    def of(cls, what: str, seconds: list[float]) -> Spread:
        p50, p95, p99 = (float(value) * 1000 for value in np.percentile(seconds, [50, 95, 99]))
        return cls(what, p50, p95, p99, len(seconds))


@dataclass(frozen=True, slots=True)
class Imported:
    """A history of the project's own making, through the installed command."""

    changes: int
    changes_per_s: float
    words_s: float
    meaning_s: float
    embedded: int
    passages: int


def latencies(settings: Settings) -> list[Spread]:
    """Writes at a steady rate through the API, each watched on its way."""
    slug, tenant_id = new_tenant(settings)
    arrivals: list[float] = []
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(settings, str(tenant_id), arrivals, stop))
    watcher.start()
    answers: list[float] = []
    try:
        with client(settings, tenant_id) as http:
            for number, text in zip(range(WRITES), _texts(random.Random(1)), strict=False):
                due = time.monotonic() + 1 / WRITES_PER_S
                began = time.perf_counter()
                http.post("/v1/adrs", json={"body": f"# {slug} {number}\n\n{text}"}).raise_for_status()
                answers.append(time.perf_counter() - began)
                time.sleep(max(0.0, due - time.monotonic()))
        words, meaning = _findable(settings, tenant_id, WRITES)
        deadline = Deadline.after(30)
        while len(arrivals) < WRITES and not deadline.passed:
            time.sleep(0.1)
    finally:
        stop.set()
        watcher.join()
    return [
        Spread.of("write answered by the API", answers),
        Spread.of("commit → topic", arrivals),
        Spread.of("commit → findable by words", words),
        Spread.of("commit → findable by meaning", meaning),
    ]


def imports(settings: Settings) -> Imported:
    """`adriatic import` of a made-up history of edits, and how long until the last edit is findable."""
    slug, tenant_id = new_tenant(settings)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "history.jsonl"
        file.write_text("".join(json.dumps(change) + "\n" for change in _history(random.Random(2))))
        command = [sys.executable, "-m", "adriatic", "import", str(file), "--tenant", slug, "--no-wait"]
        began = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        took_s = time.monotonic() - began
    written = time.monotonic()
    words_s = _until(settings, tenant_id, "words_version", written)
    meaning_s = _until(settings, tenant_id, "meaning_version", written)
    with psycopg.connect(settings.postgres.dsn("flows")) as connection:
        row = connection.execute(
            "select embedded, first_chunks + edit_chunks from mv.embedding_stats where tenant_id = %s", [tenant_id]
        ).fetchone()
    embedded, passages = row or (0, 0)
    changes = IMPORT_ADRS * IMPORT_EDITS
    return Imported(changes, changes / took_s, words_s, meaning_s, embedded, passages)


def searches(settings: Settings, titles: list[str], rounds: int = 5) -> list[Spread]:
    """Over HTTP, one at a time, in the tenant of this project's decisions; a first round warms up."""
    spreads = []
    with client(settings, tenant_id(settings, "demo")) as http:
        for mode in ("words", "meaning", "hybrid"):
            took: list[float] = []
            for round_ in range(rounds):
                for title in titles:
                    began = time.perf_counter()
                    # A word more in each round: the embedder must not answer from memory.
                    http.get("/v1/search", params={"q": f"{title} x{round_}", "mode": mode}).raise_for_status()
                    if round_:
                        took.append(time.perf_counter() - began)
            spreads.append(Spread.of(f"GET /v1/search, {mode}", took))
    return spreads


def new_tenant(settings: Settings) -> tuple[str, uuid.UUID]:
    slug = f"bench-{uuid.uuid4().hex[:8]}"

    async def make() -> uuid.UUID:
        async with service.owner(settings.postgres) as connection:
            return (await service.create(connection, slug, "")).tenant_id

    return slug, asyncio.run(make())


def tenant_id(settings: Settings, slug: str) -> uuid.UUID:
    async def find() -> uuid.UUID:
        async with service.owner(settings.postgres) as connection:
            return next(each.tenant_id for each in await service.list_all(connection) if each.slug == slug)

    return asyncio.run(find())


@contextmanager
def client(settings: Settings, tenant_id: uuid.UUID) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {local_token(settings, tenant_id)}"}
    with httpx.Client(base_url=local_url(settings), headers=headers, timeout=60) as http:
        yield http


def _watch(settings: Settings, tenant_id: str, arrivals: list[float], stop: threading.Event) -> None:
    """Read the tenant's partition from its end on; how old each record is when it is here."""
    consumer = Consumer(
        {
            **settings.kafka.client_config(),
            "group.id": f"bench-{uuid.uuid4().hex}",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 10,
            "auto.offset.reset": "latest",
        }
    )
    place = TopicPartition(VERSIONS, partition_for(tenant_id, PARTITIONS))
    place.offset = consumer.get_watermark_offsets(place, timeout=10)[1]
    consumer.assign([place])
    try:
        while not stop.is_set():
            message = consumer.poll(0.2)
            if message is None or message.error():
                continue
            headers: dict[str, Any] = dict(message.headers() or ())
            if headers.get(TENANT_HEADER, b"").decode() == tenant_id:
                arrivals.append(time.time() - int(headers[COMMITTED_AT_HEADER]) / 1e6)
    finally:
        consumer.close()


_READ_DELAYS = """
  select
    extract(epoch from words_at - recorded_at)::float8, extract(epoch from meaning_at - recorded_at)::float8
  from mv.search_state
  where tenant_id = %s and meaning_at is not null
"""


def _findable(settings: Settings, tenant_id: uuid.UUID, count: int) -> tuple[list[float], list[float]]:
    deadline = Deadline.after(SETTLE_MAX_S)
    with psycopg.connect(settings.postgres.dsn("flows"), autocommit=True) as connection:
        while not deadline.passed:
            rows = connection.execute(_READ_DELAYS, [tenant_id]).fetchall()
            if len(rows) >= count:
                return [row[0] for row in rows], [row[1] for row in rows]
            time.sleep(0.1)
    raise SystemExit(f"not findable within {SETTLE_MAX_S} s; see `adriatic status`")


_COUNT_WAITING = """
  select count(*)
  from app.adrs a
  left join mv.search_state s on s.tenant_id = a.tenant_id and s.kind = 'adr' and s.source_id = a.adr_id
  where a.tenant_id = %s
    and case when %s then s.meaning_version else s.words_version end is distinct from a.version
"""


def _until(settings: Settings, tenant_id: uuid.UUID, column: str, since: float) -> float:
    """Seconds from `since` until every ADR is findable in its newest version."""
    deadline = Deadline.after(SETTLE_MAX_S)
    with psycopg.connect(settings.postgres.dsn("flows"), autocommit=True) as connection:
        while not deadline.passed:
            if connection.execute(_COUNT_WAITING, [tenant_id, column == "meaning_version"]).fetchone() == (0,):
                return time.monotonic() - since
            time.sleep(0.05)
    raise SystemExit(f"not findable within {SETTLE_MAX_S} s; see `adriatic status`")


def _texts(chance: random.Random) -> Iterator[str]:
    """Paragraphs of this project's decisions, shuffled: prose of a decision's length, never twice the same."""
    paragraphs = [part for file in sorted(DECISIONS.glob("0*.md")) for part in file.read_text().split("\n\n")]
    prose = [part for part in paragraphs if part[:1].isalpha()]
    while True:
        yield "\n\n".join(f"## Part {number}\n\n{chance.choice(prose)}" for number in range(6))


def _history(chance: random.Random) -> Iterator[dict[str, Any]]:
    """Every record written once, and then edited in one paragraph at a time, as people do."""
    texts = _texts(chance)
    bodies = [next(texts).split("\n\n") for _ in range(IMPORT_ADRS)]
    for edit in range(IMPORT_EDITS):
        for number, body in enumerate(bodies):
            if edit:
                at = chance.randrange(1, len(body), 2)
                body[at] = f"{body[at]} Seen again {edit}."
            yield {
                "repo": "bench",
                "commit": f"{edit:08x}{number:032x}",
                "committed_at": f"2026-01-{edit + 1:02}T10:{number // 60:02}:{number % 60:02}+00:00",
                "subject": f"Edit {edit}",
                "change": "M" if edit else "A",
                "path": f"adr/{number:04}-record.md",
                "old_path": None,
                "content": f"# Record {number}\n\n" + "\n\n".join(body) + "\n",
            }
