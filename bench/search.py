"""What a search costs, and what it finds, by the size of the tenant: p50 and p95 by mode, recall against the exact scan
with and without a filter that leaves 1 %, what an index takes, and a tenant of 500 passages beside it all.

`python bench/search.py` fills a database of its own on the Postgres of the settings (`bench/search_world.py`), searches
it through the API's own service with the real embedder, prints tables, and drops it. Beside it stands what a user would
build (`bench/search_plain.py`). Ten minutes on two idle cores up to 10^5 passages; `--sizes 1000000` for more.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from psycopg import sql

from api.db import Database
from api.search import service
from api.search.embedding import QueryEmbedder
from api.search.schemas import Mode, SearchRequest
from bench import search_plain
from bench.search_world import Material, Vectors, draw, fill, gather, hash_of
from connectors.embedders import Embedder, build
from connectors.postgres.provision import provision
from connectors.postgres.vector_indexes import step
from connectors.postgres.vectors import send
from dataflows.vectors import keep as keep_vectors
from runtime.deadline import Deadline
from runtime.ids import new_id
from runtime.settings import EmbedderSettings, PostgresSettings, SearchSettings, load
from schemas.sources import SourceKey

BESIDE = 500
"""Passages of a team beside the large ones."""
SIZES = (1_000, 10_000, 100_000)
MODES: tuple[Mode, ...] = ("words", "meaning", "hybrid")
ROUNDS = 3
"""Of all queries; the first is a warm-up."""
STEPS_MAX = 100_000
"""Steps until every index is live: a million passages take some five hundred."""
UPDATES = 20
"""Edits of one passage whose cost is measured."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a tenant of so many passages. `recall`: of the ten nearest sources by an exact scan."""

    passages: int
    what: str
    p50_ms: float | None = None
    p95_ms: float | None = None
    recall: float | None = None
    note: str = ""


def measure(postgres: PostgresSettings, embedder: EmbedderSettings, sizes: Sequence[int] = SIZES) -> list[Row]:
    """Fill, build, search, drop."""
    with own_database(postgres) as own, psycopg.connect(own.dsn("admin"), autocommit=True) as connection:
        built = build(embedder)
        material = gather(connection, built)
        tenants = {size: fill(connection, material, f"bench-{size}", size) for size in (BESIDE, *sizes)}
        connection.execute("vacuum analyze")
        queries = np.asarray(built.embed(list(material.titles)), dtype=np.float32)
        rows = asyncio.run(_measure_modes(own, built, tenants, material.titles, ", nothing indexed"))
        with psycopg.connect(own.dsn("flows"), autocommit=True) as flows:
            _build_indexes(flows)
            connection.execute("vacuum analyze")
            rows += asyncio.run(_measure_modes(own, built, tenants, material.titles))
            exact = {(size, each): _exact(connection, tenants[size], material, queries, each)
                     for size in tenants for each in FILTERS}  # fmt: skip
            for size, tenant_id in tenants.items():
                rows += _measure_meaning(own, tenant_id, size, material, queries, exact)
                rows += _measure_index(flows, tenant_id, size, material)
        return [*rows, *_measure_plain(connection, material, tenants, queries, exact)]


FILTERS = {"": ["accepted", "rejected"], ", filter of 1 %": ["rejected"]}
"""What a filter is called, and the statuses that pass it."""
Exact = dict[tuple[int, str], list[list[UUID]]]


def _build_indexes(flows: psycopg.Connection[Any]) -> None:
    settings = SearchSettings(index_memory_mb=4_096)
    for _ in range(STEPS_MAX):
        with flows.transaction():
            if step(flows, settings) is None:
                return


# --- our own --------------------------------------------------------------------------------------------------------


async def _measure_modes(
    own: PostgresSettings, built: Embedder, tenants: dict[int, UUID], titles: Sequence[str], when: str = ""
) -> list[Row]:
    """Through the service, embedding and snippets included."""
    database, queries = Database(own), QueryEmbedder(lambda: built)
    await database.open()
    try:
        return [
            Row(size, f"{mode} search{when}", *await _search(database, queries, tenant_id, mode, titles))
            for size, tenant_id in tenants.items()
            for mode in MODES
        ]
    finally:
        await queries.close()
        await database.close()


async def _search(
    database: Database, queries: QueryEmbedder, tenant_id: UUID, mode: Mode, titles: Sequence[str]
) -> tuple[float, float]:
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
    return _spread(took_ms)


def _spread(took_ms: Sequence[float]) -> tuple[float, float]:
    p50, p95 = np.percentile(took_ms, [50, 95])
    return float(p50), float(p95)


_EXACT = """
  select c.source_id
  from mv.search_state s
  join mv.chunks c using (tenant_id, kind, source_id)
  join mv.embeddings e on e.tenant_id = c.tenant_id and e.space = %s and e.text_hash = c.text_hash
  where s.tenant_id = %s and s.status = any(%s)
  order by (e.embedding <=> %s) + 0
  limit 100
"""
_MEANING = """
  select source_id, route
  from mv.search_meaning(%s, %s, null, null, %s::jsonb, 100)
  order by score desc
"""
_LISTED = """
  select source_id, route
  from mv.search_meaning(
    %s, %s,
    array(
      select kind
      from mv.search_state
      where tenant_id = app.current_tenant() and status = 'rejected'
      order by source_id
    ),
    array(
      select source_id
      from mv.search_state
      where tenant_id = app.current_tenant() and status = 'rejected'
      order by source_id
    ),
    null, 100
  )
  order by score desc
"""
"""As the service asks when what passes can be listed."""


def _exact(
    connection: psycopg.Connection[Any], tenant_id: UUID, material: Material, queries: Vectors, name: str
) -> list[list[UUID]]:
    found = []
    for query in queries:
        rows = connection.execute(_EXACT, [material.space.name, tenant_id, FILTERS[name], send(query)])
        found.append(list(dict.fromkeys(row[0] for row in rows))[:10])
    return found


def _recall(found: Sequence[Sequence[UUID]], exact: Sequence[Sequence[UUID]]) -> float:
    """Of the exact ten, or of as many as there are. A query for which there is nothing to find does not count."""
    shares = [len(set(some[:10]) & set(best)) / len(best) for some, best in zip(found, exact, strict=True) if best]
    return float(np.mean(shares)) if shares else float("nan")


def _measure_meaning(
    own: PostgresSettings, tenant_id: UUID, size: int, material: Material, queries: Vectors, exact: Exact
) -> Iterator[Row]:
    """The arm alone, in the database."""
    with psycopg.connect(own.dsn("api")) as connection:
        connection.execute("select set_config('app.tenant_id', %s, false)", [str(tenant_id)])
        for name in FILTERS:
            found: list[list[UUID]] = []
            took_ms: list[float] = []
            routes: set[str] = set()
            for query in queries:
                began_s = time.perf_counter()
                of = [material.space.name, send(query)]
                rows = connection.execute(_LISTED, of) if name else connection.execute(_MEANING, [*of, None])
                ranked = rows.fetchall()
                took_ms.append((time.perf_counter() - began_s) * 1000)
                found.append([row[0] for row in ranked])
                routes |= {row[1] for row in ranked}
            spread = _spread(took_ms)
            yield Row(
                size, f"meaning alone{name}", *spread, _recall(found, exact[size, name]), "/".join(sorted(routes))
            )


_STANDING = """
  select build_ms / 1000.0, bytes / 1e6
  from mv.vector_indexes
  where tenant_id = %s
"""
_SOURCES = """
  select source_id
  from mv.chunks
  where tenant_id = %s and ordinal = 0
  order by source_id desc
  limit %s
"""
_EDIT = """
  update mv.chunks
  set text_hash = %s
  where tenant_id = %s and source_id = %s and ordinal = 0
"""


def _measure_index(flows: psycopg.Connection[Any], tenant_id: UUID, size: int, material: Material) -> Iterator[Row]:
    """What the index takes, and what an edit of one passage costs the flow that keeps it."""
    standing = flows.execute(_STANDING, [tenant_id]).fetchone()
    note = f"graph {standing[1]:.0f} MB, built in {standing[0]:.0f} s" if standing else "no index"
    normal, took_ms = np.random.default_rng(5), []
    for (source_id,) in flows.execute(_SOURCES, [tenant_id, UPDATES]).fetchall():
        key = hash_of(source_id, 1_000_000)
        vector = send(draw(material, normal, 1)[0])
        with flows.transaction():
            flows.execute(
                "insert into mv.embeddings values (%s, %s, %s, %s)", [tenant_id, material.space.name, key, vector]
            )
            flows.execute(_EDIT, [key, tenant_id, source_id])
            began_s = time.perf_counter()
            keep_vectors(flows, [SourceKey(tenant_id, "adr", source_id)])
            took_ms.append((time.perf_counter() - began_s) * 1000)
    yield Row(size, "an edit of one passage", *_spread(took_ms), note=note)


# --- what a user would build ----------------------------------------------------------------------------------------


def _measure_plain(
    connection: psycopg.Connection[Any], material: Material, tenants: dict[int, UUID], queries: Vectors, exact: Exact
) -> Iterator[Row]:
    took_s = search_plain.build(connection, material.space.dimension, 4_096)
    for size, tenant_id in tenants.items():
        for name, statuses in FILTERS.items():
            found, took_ms = search_plain.search(connection, tenant_id, statuses, queries)
            # The edits of `_measure_index` moved one passage of a few sources: hardly any of the nearest.
            note = f"one index of all tenants, built in {took_s:.0f} s" if not name else ""
            yield Row(size, f"plain HNSW{name}", *_spread(took_ms), _recall(found, exact[size, name]), note)


@contextmanager
def own_database(postgres: PostgresSettings) -> Iterator[PostgresSettings]:
    name = f"bench_search_{new_id().hex[:12]}"
    own = postgres.model_copy(update={"database": name})
    try:
        provision(own, Deadline.after(60))
        yield own
    finally:
        with psycopg.connect(postgres.dsn("admin", "postgres"), autocommit=True) as admin:
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    settings = load()
    print(f"{'passages':>9}  {'what':<34}  {'p50 ms':>8}  {'p95 ms':>8}  {'recall':>6}  note")
    for row in measure(settings.postgres, settings.embedder, arguments.parse_args().sizes):
        times = "  ".join(f"{'-' if each is None else format(each, '.1f'):>8}" for each in (row.p50_ms, row.p95_ms))
        recall = "-" if row.recall is None else f"{row.recall:.3f}"
        print(f"{row.passages:>9}  {row.what:<34}  {times}  {recall:>6}  {row.note}")


if __name__ == "__main__":
    main()
