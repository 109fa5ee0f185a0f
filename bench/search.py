"""What a search costs, and what it finds, by the size of the tenant: p50 and p95 by mode, recall against the exact
search with and without a filter that leaves 1 %, what an index takes, and a tenant of 500 passages beside it all.

`python -m bench.search` fills a database of its own on the Postgres of the settings (`bench/search_world.py`), searches
it through the API's own service with the real embedder, prints tables, and drops it. Beside it stands what a user would
build (`bench/search_plain.py`). Ten minutes on two idle cores up to 10^5 passages; `--sizes 1000 1000000` for more. A
million takes an hour to fill: with `--database NAME` it is kept, and the next run with this name measures at once.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from uuid import UUID

import numpy as np
import psycopg
from psycopg import sql

from api.adrs.document import Status
from api.db import Database
from api.search import service
from api.search.arms import CANDIDATES_MAX
from api.search.embedding import QueryEmbedder
from api.search.fusion import WORDS_SHARE
from api.search.schemas import Mode, SearchRequest
from bench import search_plain
from bench.search_world import Material, Vectors, draw, fill, gather, hash_of
from connectors.embedders import Embedder, build
from connectors.postgres import word_segments
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
UNINDEXED_MAX = 100_000
"""Passages up to which a tenant is searched before there is an index too. Ten times as many take a second each time."""
NOT_INDEXED = ", nothing indexed"
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


def measure(
    postgres: PostgresSettings, embedder: EmbedderSettings, sizes: Sequence[int] = SIZES, database: str = ""
) -> Iterator[Row]:
    """Fill and build what is not there, and search. Without a name the database is dropped afterwards. Each figure is
    given when it is known: of a million passages the last one comes an hour after the first."""
    used = kept_database(postgres, database) if database else fresh_database(postgres)
    with used as own, psycopg.connect(own.dsn("admin"), autocommit=True) as connection:
        built = build(embedder)
        material = gather(connection, built)
        tenants = {size: _find(connection, size) or _fill(connection, material, size) for size in (BESIDE, *sizes)}
        queries = np.asarray(built.embed(list(material.titles)), dtype=np.float32)
        with psycopg.connect(own.dsn("flows"), autocommit=True) as flows:
            few = {size: each for size, each in tenants.items() if size <= UNINDEXED_MAX}
            bare = not flows.execute("select exists (select from mv.vector_indexes)").fetchone()[0]  # type: ignore[index]
            if bare:
                yield from asyncio.run(_measure_modes(own, built, few, material, {}, NOT_INDEXED))
            build_indexes(flows)
            _pack_words(flows)
            plain_s = _build_plain(connection, material)
            connection.execute("vacuum analyze")
            exact = _find_exact(connection, material, tenants, queries)
            yield from asyncio.run(_measure_modes(own, built, tenants, material, exact))
            for size, tenant_id in tenants.items():
                yield from _measure_meaning(own, tenant_id, size, material, queries, exact)
            yield from _measure_plain(connection, plain_s, tenants, material, queries, exact)
            for size, tenant_id in tenants.items():
                yield from _measure_index(flows, tenant_id, size, material)


FILTERS: dict[str, list[Status]] = {"": [], ", filter of 1 %": ["rejected"]}
"""What a filter is called, and the statuses that pass it; none: no filter."""
Arm = Literal["words", "meaning", "nearest"]
ScoredSource = tuple[UUID, float]
Exact = dict[tuple[int, str, Arm], list[list[ScoredSource]]]
"""What an exact search by one arm finds for each query, the best first; by size and filter. `nearest`: by the nearest
passage alone."""


def _find(connection: psycopg.Connection[Any], size: int) -> UUID | None:
    row = connection.execute("select tenant_id from app.tenants where slug = %s", [f"bench-{size}"]).fetchone()
    return row[0] if row else None


def _fill(connection: psycopg.Connection[Any], material: Material, size: int) -> UUID:
    began_s = time.monotonic()
    tenant_id = fill(connection, material, f"bench-{size}", size)
    connection.execute("vacuum analyze")
    _tell(f"filled {size} passages in {time.monotonic() - began_s:.0f} s")
    return tenant_id


def build_indexes(flows: psycopg.Connection[Any]) -> None:
    settings = SearchSettings(index_memory_mb=4_096)
    for _ in range(STEPS_MAX):
        with flows.transaction():
            if step(flows, settings) is None:
                return


def _pack_words(flows: psycopg.Connection[Any]) -> None:
    """Every step that the agent would take."""
    settings, began_s = SearchSettings(), time.monotonic()
    for _ in range(STEPS_MAX):
        with flows.transaction():
            if word_segments.step(flows, settings) is None:
                break
    _tell(f"segments of words: {time.monotonic() - began_s:.0f} s")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- what there is to be found ---------------------------------------------------------------------------------------


_EXACT = """
  select c.source_id, 1 - (e.embedding <=> %s) as similarity, s.chunks = 1 as alone
  from mv.search_state s
  join mv.chunks c using (tenant_id, kind, source_id)
  join mv.embeddings e on e.tenant_id = c.tenant_id and e.space = %s and e.text_hash = c.text_hash
  where s.tenant_id = %s and (s.status = any(%s) or %s)
  order by (e.embedding <=> %s) + 0
  limit 3000
"""
_EXACT_WORDS = (
    "select source_id, score from mv.search_words_exact(%s, null, null, 100) order by score desc, kind, source_id"
)
_EXACT_WORDS_LISTED = """
  with passing as materialized (
    select
      coalesce(array_agg(kind order by source_id), '{}') as kinds,
      coalesce(array_agg(source_id order by source_id), '{}') as ids
    from mv.search_state
    where tenant_id = %s and status = any(%s)
  )
  select e.source_id, e.score
  from passing p, mv.search_words_exact(%s, p.kinds, p.ids, 100) as e
  order by e.score desc, e.kind, e.source_id
"""


def _find_exact(
    connection: psycopg.Connection[Any], material: Material, tenants: dict[int, UUID], queries: Vectors
) -> Exact:
    exact: Exact = {}
    for size, tenant_id in tenants.items():
        began_s = time.monotonic()
        connection.execute("select set_config('app.tenant_id', %s, false)", [str(tenant_id)])
        for name, statuses in FILTERS.items():
            of = [material.space.name, tenant_id, statuses, not statuses]
            passages = [connection.execute(_EXACT, [send(query), *of, send(query)]).fetchall() for query in queries]
            exact[size, name, "nearest"] = [_distinct(rows) for rows in passages]
            exact[size, name, "meaning"] = [_by_two_nearest(rows[:CANDIDATES_MAX]) for rows in passages]
            listed = [tenant_id, statuses]
            exact[size, name, "words"] = [
                _distinct(
                    (
                        connection.execute(_EXACT_WORDS_LISTED, [*listed, title])
                        if statuses
                        else connection.execute(_EXACT_WORDS, [title])
                    ).fetchall()
                )
                for title in material.titles
            ]
        _tell(f"searched {size} passages exactly in {time.monotonic() - began_s:.0f} s")
    return exact


def _distinct(rows: Sequence[Sequence[Any]]) -> list[ScoredSource]:
    """The sources of rows that begin with source and score, each by its first."""
    best: dict[UUID, float] = {}
    for source_id, score, *_ in rows:
        best.setdefault(source_id, score)
    return list(best.items())[:CANDIDATES_MAX]


def _by_two_nearest(passages: Sequence[tuple[UUID, float, bool]]) -> list[ScoredSource]:
    """Sources by the mean of their two nearest passages, as `mv.search_meaning` has it."""
    similar: dict[UUID, list[float]] = {}
    for source_id, similarity, alone in passages:
        similar.setdefault(source_id, []).extend([similarity] * (2 if alone else 1))
    least = passages[-1][1] if passages else 0.0
    scored = [(source_id, sum([*each, least][:2]) / 2) for source_id, each in similar.items()]
    return sorted(scored, key=lambda item: (-item[1], item[0]))


def _join(exact: Exact, size: int, name: str) -> list[list[ScoredSource]]:
    """What a hybrid search finds of exact arms, joined as the service joins them."""
    joined = []
    for words, meaning in zip(exact[size, name, "words"], exact[size, name, "meaning"], strict=True):
        best = max((score for _, score in words), default=1.0)
        by_words = {source_id: score / best for source_id, score in words}
        by_meaning = dict(meaning)
        least_words = min(by_words.values()) if len(words) == CANDIDATES_MAX else 0.0
        least_meaning = min(by_meaning.values(), default=0.0)
        scored = [
            (
                each,
                WORDS_SHARE * by_words.get(each, least_words) + (1 - WORDS_SHARE) * by_meaning.get(each, least_meaning),
            )
            for each in {**by_words, **by_meaning}
        ]
        joined.append(sorted(scored, key=lambda item: (-item[1], item[0])))
    return joined


def _recall(found: Sequence[Sequence[UUID]], exact: Sequence[Sequence[ScoredSource]]) -> float:
    """Of the exact ten, or of as many as there are. A query for which there is nothing to find does not count."""
    shares = [
        len(set(some[:10]) & {each for each, _ in best[:10]}) / len(best[:10])
        for some, best in zip(found, exact, strict=True)
        if best
    ]
    return float(np.mean(shares)) if shares else float("nan")


# --- our own --------------------------------------------------------------------------------------------------------


async def _measure_modes(
    own: PostgresSettings, built: Embedder, tenants: dict[int, UUID], material: Material, exact: Exact, when: str = ""
) -> list[Row]:
    """Through the service, embedding and snippets included."""
    database, queries = Database(own), QueryEmbedder(lambda: built)
    await database.open()
    rows = []
    try:
        for size, tenant_id in tenants.items():
            for name, statuses in FILTERS.items():
                best = _by_mode(exact, size, name) if exact else {}
                for mode in MODES:
                    asked = _Asked(tenant_id, mode, statuses, material.titles)
                    took_ms, found = await _search(database, queries, asked)
                    recall = _recall(found, best[mode]) if best else None
                    rows.append(Row(size, f"{mode} search{name}{when}", *_spread(took_ms), recall))
    finally:
        await queries.close()
        await database.close()
    return rows


def _by_mode(exact: Exact, size: int, name: str) -> dict[Mode, list[list[ScoredSource]]]:
    return {
        "words": exact[size, name, "words"],
        "meaning": exact[size, name, "meaning"],
        "hybrid": _join(exact, size, name),
    }


class _Asked(NamedTuple):
    tenant_id: UUID
    mode: Mode
    statuses: list[Status]
    titles: Sequence[str]


async def _search(database: Database, queries: QueryEmbedder, asked: _Asked) -> tuple[list[float], list[list[UUID]]]:
    """Milliseconds of each search but those of the first round, in which what is found is taken down."""
    took_ms: list[float] = []
    found: list[list[UUID]] = []
    for round_ in range(ROUNDS):
        for title in asked.titles:
            # A word more in each round: the embedder must not answer from memory.
            text = f"{title} x{round_}" if round_ else title
            request = SearchRequest(text, asked.mode, status=asked.statuses, correct=False)
            began_s = time.perf_counter()
            result = await service.search(database, queries, asked.tenant_id, request)
            assert not result.degraded
            if round_:
                took_ms.append((time.perf_counter() - began_s) * 1000)
            else:
                found.append([hit.source_id for hit in result.hits])
    return took_ms, found


def _spread(took_ms: Sequence[float]) -> tuple[float, float]:
    p50, p95 = np.percentile(took_ms, [50, 95])
    return float(p50), float(p95)


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
                size,
                f"meaning alone{name}",
                *spread,
                _recall(found, exact[size, name, "nearest"]),
                "/".join(sorted(routes)),
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
    # Another text in each run of a database that is kept: one that is there already would be no edit.
    run = new_id().int % 2**31
    normal, took_ms = np.random.default_rng(run), []
    for (source_id,) in flows.execute(_SOURCES, [tenant_id, UPDATES]).fetchall():
        key = hash_of(source_id, run)
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


def _build_plain(connection: psycopg.Connection[Any], material: Material) -> float | None:
    """Seconds that its index took; None where an earlier run has built it."""
    if connection.execute("select to_regclass('bench.passages')").fetchone() != (None,):
        return None
    took_s = search_plain.build(connection, material.space.dimension, 4_096)
    _tell(f"plain index: {took_s:.0f} s")
    return took_s


def _measure_plain(
    connection: psycopg.Connection[Any],
    took_s: float | None,
    tenants: dict[int, UUID],
    material: Material,
    queries: Vectors,
    exact: Exact,
) -> Iterator[Row]:
    note = "one index of all tenants" + (f", built in {took_s:.0f} s" if took_s is not None else "")
    for size, tenant_id in tenants.items():
        for name, statuses in FILTERS.items():
            found, took_ms = search_plain.search(connection, tenant_id, statuses, queries)
            yield Row(size, f"plain HNSW{name}", *_spread(took_ms), _recall(found, exact[size, name, "nearest"]), note)
        found, took_ms = search_plain.search_words(connection, tenant_id, material.titles)
        yield Row(
            size, "ts_rank_cd", *_spread(took_ms), _recall(found, exact[size, "", "words"][: len(found)]), "of any word"
        )


@contextmanager
def fresh_database(postgres: PostgresSettings) -> Iterator[PostgresSettings]:
    """A new database on this Postgres, migrated; dropped afterwards."""
    name = f"bench_search_{new_id().hex[:12]}"
    own = postgres.model_copy(update={"database": name})
    try:
        provision(own, Deadline.after(60))
        yield own
    finally:
        with psycopg.connect(postgres.dsn("admin", "postgres"), autocommit=True) as admin:
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@contextmanager
def kept_database(postgres: PostgresSettings, name: str) -> Iterator[PostgresSettings]:
    """This database, made and migrated if it is not there. It stays."""
    own = postgres.model_copy(update={"database": name})
    provision(own, Deadline.after(60))
    yield own


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="passages of a tenant")
    arguments.add_argument("--database", default="", help="its name: it is kept, and used again")
    asked = arguments.parse_args()
    settings = load()
    print(f"{'passages':>9}  {'what':<41}  {'p50 ms':>8}  {'p95 ms':>8}  {'recall':>6}  note")
    for row in measure(settings.postgres, settings.embedder, asked.sizes, asked.database):
        times = "  ".join(f"{'-' if each is None else format(each, '.1f'):>8}" for each in (row.p50_ms, row.p95_ms))
        recall = "-" if row.recall is None else f"{row.recall:.3f}"
        print(f"{row.passages:>9}  {row.what:<41}  {times}  {recall:>6}  {row.note}", flush=True)


if __name__ == "__main__":
    main()
