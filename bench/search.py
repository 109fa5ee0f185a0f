"""What a search costs: p50 and p95 by mode, for a tenant of 500 chunks beside one of 20 000, in one database.

`python bench/search.py` fills a database of its own on the Postgres of the settings, searches it through the API's own
service with the real embedder, prints a table, and drops it. Texts are this project's decisions with their words
mixed, so that frequencies are those of prose; vectors are random, which costs an exact scan the same.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from psycopg import sql

from api.adrs.document import parse
from api.db import Database
from api.search import service
from api.search.embedding import QueryEmbedder
from api.search.schemas import Mode, SearchRequest
from connectors.embedders import EmbeddingSpace, build
from connectors.postgres.provision import provision
from connectors.postgres.vectors import send
from dataflows.chunker import analyse_chunk, chunk
from runtime.deadline import Deadline
from runtime.ids import new_id
from runtime.settings import EmbedderSettings, PostgresSettings, load

DECISIONS = Path(__file__).resolve().parents[1] / "docs" / "decisions"
SIZES = (500, 20_000)
"""Chunks of a tenant: a team, and what the exact scan is meant to hold."""
MODES: tuple[Mode, ...] = ("words", "meaning", "hybrid")
ROUNDS = 5
"""Of all queries; the first is a warm-up."""


@dataclass(frozen=True, slots=True)
class Row:
    """Milliseconds of one mode in a tenant of so many chunks."""

    chunks: int
    mode: str
    p50_ms: float
    p95_ms: float
    searches: int


def measure(postgres: PostgresSettings, embedder: EmbedderSettings) -> list[Row]:
    """Fill, search, drop. Takes about a minute."""
    with _database(postgres) as own, psycopg.connect(own.dsn("admin"), autocommit=True) as connection:
        built = build(embedder)
        titles = [parse(file.read_text()).title for file in sorted(DECISIONS.glob("0*.md"))]
        tenants = {size: _fill(connection, built.space, size) for size in SIZES}
        connection.execute("vacuum analyze")

        async def run() -> list[Row]:
            database = Database(own)
            await database.open()
            queries = QueryEmbedder(lambda: built)
            try:
                return [
                    await _search(database, queries, tenant_id, size, mode, titles)
                    for size, tenant_id in tenants.items()
                    for mode in MODES
                ]
            finally:
                await queries.close()
                await database.close()

        return asyncio.run(run())


async def _search(
    database: Database, queries: QueryEmbedder, tenant_id: UUID, size: int, mode: Mode, titles: list[str]
) -> Row:
    took_ms: list[float] = []
    for round_ in range(ROUNDS):
        for title in titles:
            began_s = time.perf_counter()
            # A word more in each round: the embedder must not answer from memory.
            result = await service.search(database, queries, tenant_id, SearchRequest(f"{title} x{round_}", mode))
            assert result.hits
            assert not result.degraded
            if round_:
                took_ms.append((time.perf_counter() - began_s) * 1000)
    p50, p95 = np.percentile(took_ms, [50, 95])
    return Row(size, mode, float(p50), float(p95), len(took_ms))


@contextmanager
def _database(postgres: PostgresSettings) -> Iterator[PostgresSettings]:
    name = f"bench_search_{new_id().hex[:12]}"
    own = postgres.model_copy(update={"database": name})
    try:
        provision(own, Deadline.after(60))
        yield own
    finally:
        with psycopg.connect(postgres.dsn("admin", "postgres"), autocommit=True) as admin:
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def _texts(chance: random.Random) -> Iterator[tuple[str, str]]:
    """Title and text, without end: a third of the words of each decision are another's."""
    written = [file.read_text() for file in sorted(DECISIONS.glob("0*.md"))]
    words = [re.split(r"( +)", text) for text in written]
    while True:
        for text, own in zip(written, words, strict=True):
            other = chance.choice(words)
            yield parse(text).title, "".join(chance.choice(other) if chance.random() < 0.33 else word for word in own)


_INSERT_ADRS = """
  insert into app.adrs (tenant_id, adr_id, log_id, title, status, version, created_at, updated_at)
  values (%s, %s, %s, %s, 'accepted', 1, now(), now())
"""

_INSERT_VERSIONS = """
  insert into app.adr_versions (tenant_id, adr_id, version, change, title, status, body, effective_at)
  values (%s, %s, 1, 'create', %s, 'accepted', %s, now())
"""

_INSERT_STATES = """
  insert into mv.search_state (
    tenant_id, kind, source_id, words_version, meaning_version, title, status, effective_at, recorded_at,
    words_at, chunks, length
  )
  values (%s, 'adr', %s, 1, 1, %s, 'accepted', now(), now(), now(), %s, 0)
"""

_INSERT_CHUNKS = """
  insert into mv.chunks
  select %s, 'adr', %s, 1, c.*, t.tsv, mv.chunk_length(t.tsv)
  from
    (select %s::int as ordinal, %s as heading_path, %s as body, %s::int, %s::int, %s::bytea) c,
    lateral (select mv.chunk_tsv(c.ordinal, %s, %s, %s) as tsv) t
"""

_MEASURE = """
  update mv.search_state s
  set length = (
    select sum(c.length)
    from mv.chunks c
    where c.tenant_id = s.tenant_id and c.source_id = s.source_id
  )
  where s.tenant_id = %s and s.source_id = %s
"""


def _fill(connection: psycopg.Connection[Any], space: EmbeddingSpace, size: int) -> UUID:
    chance, normal = random.Random(size), np.random.default_rng(size)
    tenant_id, log_id = new_id(), new_id()
    with connection.transaction():
        connection.execute("insert into app.tenants values (%s, %s, 'bench')", [tenant_id, f"bench-{size}"])
        connection.execute("insert into app.logs values (%s, %s, 'default', 'bench')", [tenant_id, log_id])
        connection.execute(
            "insert into mv.embedding_spaces values (%s, %s, %s, %s, %s, true) on conflict do nothing",
            [space.name, space.provider, space.model, space.revision, space.dimension],
        )
        filled = 0
        for title, text in _texts(chance):
            adr_id, parts = new_id(), chunk(title, text)[: size - filled]
            connection.execute(
                _INSERT_ADRS,
                [tenant_id, adr_id, log_id, title],
            )
            connection.execute(_INSERT_VERSIONS, [tenant_id, adr_id, title, text])
            connection.execute(
                _INSERT_STATES,
                [tenant_id, adr_id, title, len(parts)],
            )
            with connection.cursor() as cursor:
                cursor.executemany(
                    _INSERT_CHUNKS,
                    [
                        (tenant_id, adr_id, part.ordinal, part.heading_path, part.body, part.char_start, part.char_end,
                         part.text_hash, *analyse_chunk(title, part))
                        for part in parts
                    ],
                )  # fmt: skip
                cursor.executemany(
                    "insert into mv.embeddings values (%s, %s, %s, %s) on conflict do nothing",
                    [
                        (
                            tenant_id,
                            space.name,
                            part.text_hash,
                            send(normal.normal(size=space.dimension).astype(np.float32)),
                        )
                        for part in parts
                    ],
                )
            connection.execute(_MEASURE, [tenant_id, adr_id])
            connection.execute(
                "select mv.keep_words(array[%s::uuid], array['adr'], array[%s::uuid])", [tenant_id, adr_id]
            )
            filled += len(parts)
            if filled >= size:
                return tenant_id
    raise AssertionError("there is always another text")


def main() -> None:
    settings = load()
    print(f"{'chunks':>7}  {'mode':<8}  {'p50 ms':>7}  {'p95 ms':>7}  searches")
    for row in measure(settings.postgres, settings.embedder):
        print(f"{row.chunks:>7}  {row.mode:<8}  {row.p50_ms:>7.1f}  {row.p95_ms:>7.1f}  {row.searches:>8}")


if __name__ == "__main__":
    main()
