"""What a user would build: one table, one HNSW index, a condition on the tenant; and `ts_rank_cd` over one GIN index.

Owns that table, beside ours in the database of the benchmark. Its settings are pgvector's own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from bench.search_world import Vectors
from connectors.postgres.vectors import send

WORDS_QUERIES_MAX = 20
"""Queries by words. Each ranks all that has one of the words, which takes seconds in a million."""

_FILL = """
  insert into bench.passages (tenant_id, source_id, status, embedding)
  select s.tenant_id, s.source_id, s.status, e.embedding
  from mv.search_state s
  join mv.chunks c using (tenant_id, kind, source_id)
  join mv.embeddings e on e.tenant_id = c.tenant_id and e.text_hash = c.text_hash
"""
_SEARCH = """
  select source_id
  from bench.passages
  where tenant_id = %s and (status = any(%s) or %s)
  order by embedding <=> %s
  limit 100
"""


def build(connection: psycopg.Connection[Any], dimension: int, memory_mb: int) -> float:
    """Seconds to build the index over all tenants."""
    connection.execute("create schema bench")
    connection.execute("create table bench.passages (tenant_id uuid, source_id uuid, status text, embedding vector)")
    connection.execute(_FILL)
    connection.execute(
        sql.SQL("alter table bench.passages alter embedding type vector({})").format(sql.Literal(dimension))
    )
    connection.execute("create index on bench.passages (tenant_id)")
    connection.execute("select set_config('maintenance_work_mem', %s, false)", [f"{memory_mb}MB"])
    began_s = time.perf_counter()
    connection.execute("create index on bench.passages using hnsw (embedding vector_cosine_ops)")
    took_s = time.perf_counter() - began_s
    connection.execute("vacuum analyze bench.passages")
    return took_s


def search(
    connection: psycopg.Connection[Any], tenant_id: UUID, statuses: Sequence[str], queries: Vectors
) -> tuple[list[list[UUID]], list[float]]:
    """The sources of the nearest passages, the nearest first, and how long each query took in milliseconds."""
    found, took_ms = [], []
    for query in queries:
        began_s = time.perf_counter()
        rows = connection.execute(_SEARCH, [tenant_id, list(statuses), not statuses, send(query)]).fetchall()
        took_ms.append((time.perf_counter() - began_s) * 1000)
        found.append(list(dict.fromkeys(row[0] for row in rows)))
    return found, took_ms


_WORDS = """
  select source_id
  from mv.chunks c, (select websearch_to_tsquery('pg_catalog.english', %s) as query) q
  where c.tenant_id = %s and c.tsv @@ q.query
  group by source_id
  order by max(ts_rank_cd(c.tsv, q.query)) desc, source_id
  limit 100
"""


def search_words(
    connection: psycopg.Connection[Any], tenant_id: UUID, texts: Sequence[str]
) -> tuple[list[list[UUID]], list[float]]:
    """The sources with the best passages that have any of the words, and the milliseconds of each query."""
    found, took_ms = [], []
    for text in texts[:WORDS_QUERIES_MAX]:
        began_s = time.perf_counter()
        rows = connection.execute(_WORDS, [" or ".join(text.split()), tenant_id]).fetchall()
        took_ms.append((time.perf_counter() - began_s) * 1000)
        found.append([row[0] for row in rows])
    return found, took_ms
