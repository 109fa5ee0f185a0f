"""The plain recomputation of what the search reads, for `adriatic verify`: the newest version of each source, cut
and embedded anew.

Shares the pure parts with the flows (chunker, analysis, embedder) and nothing else. Read next: `dataflows/oracle.py`,
which says what is compared when; `dataflows/index.py` and `dataflows/embed.py`, which keep the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID

import numpy as np

from connectors.embedders import Embedder, Vector
from connectors.embedders.spaces import SpaceEmbedders
from connectors.postgres.connections import Connection
from connectors.postgres.vectors import read
from dataflows.chunker import Chunk, analyse_chunks, chunk, title_line
from dataflows.comparison import Comparison, Kind
from schemas.arrays import arrays_of
from schemas.sources import SourceKey, columns_of

COSINE_MIN = 0.9999
"""Two computations of one vector: equal but for rounding on another kind of processor."""
SOURCES_AT_ONCE = 200
HASHES_AT_ONCE = 10_000
"""Rows in memory of what is read: as many texts and as many passages, however many a tenant has."""


@dataclass(frozen=True, slots=True)
class _Expected:
    """The newest version of a source, and its passages as they must be."""

    source: SourceKey
    version: int
    deleted: bool
    title: str
    status: str
    effective_at: Any
    chunks: tuple[Chunk, ...]

    @property
    def name(self) -> str:
        return f"{self.source.kind} {self.source.source_id} v{self.version}"


NEWEST = """
  with newest as (
    select kind, source_id, max(version) as version
    from app.source_versions
    where tenant_id = %(tenant)s
    group by kind, source_id
  )
  select v.tenant_id, v.kind, v.source_id, v.version, v.deleted, v.title, v.status, v.effective_at, v.body
  from newest n
  join app.source_versions v on v.kind = n.kind and v.source_id = n.source_id and v.version = n.version
  where v.tenant_id = %(tenant)s
  order by v.kind, v.source_id
"""


def _expect(connection: Connection, tenant_id: UUID) -> Iterator[_Expected]:
    with connection.cursor(name="newest") as cursor:
        cursor.itersize = SOURCES_AT_ONCE
        cursor.execute(NEWEST, {"tenant": tenant_id})
        for *key, version, deleted, title, status, effective_at, body in cursor:
            chunks = () if deleted else tuple(chunk(title, body))
            yield _Expected(SourceKey(*key), version, deleted, title, status, effective_at, chunks)


# --- words ----------------------------------------------------------------------------------------------------------

STATE_COLUMNS = ("words_version", "deleted", "title", "status", "effective_at", "chunks")
READ_STATES = """
  select
    tenant_id, kind, source_id, words_version, deleted, title, status, effective_at, chunks, meaning_version
  from mv.search_state
  where tenant_id = %s
"""


def compare_words(comparison: Comparison) -> None:
    """`mv.search_state` and `mv.chunks`."""
    connection, tenant_id = comparison.connection, comparison.tenant.tenant_id
    states = {SourceKey(*row[:3]): row[3:] for row in connection.execute(READ_STATES, [tenant_id])}
    known: set[SourceKey] = set()
    expected = _expect(connection, tenant_id)
    while some := list(islice(expected, SOURCES_AT_ONCE)):
        stored = _read_chunks(connection, some)
        for each in some:
            _compare_state(comparison, each, states.get(each.source))
            _compare_chunks(comparison, each, stored.get(each.source, {}))
        _compare_words(comparison, some)
        known.update(each.source for each in some)
    _compare_lengths(comparison)
    for source in sorted(set(states) - known):
        if not states[source][1]:
            comparison.add("extra", f"{source.kind} {source.source_id}", "is findable, and has no version")
    _find_orphans(comparison, known)


def _compare_state(comparison: Comparison, expected: _Expected, state: Any) -> None:
    tenant, where = comparison.tenant, expected.name
    if expected.deleted:
        tenant.deleted += 1
    else:
        tenant.sources[expected.source.kind] = tenant.sources.get(expected.source.kind, 0) + 1
    if state is None:
        comparison.add("missing", where, "is not in mv.search_state")
        return
    wanted = (
        *(expected.version, expected.deleted, expected.title, expected.status, expected.effective_at),
        len(expected.chunks),
    )
    for name, have, want in zip(STATE_COLUMNS, state, wanted, strict=False):
        if have != want:
            comparison.add("different", where, f"search_state.{name} is not what the version says")
    if not expected.deleted and state[-1] != expected.version:
        comparison.add("not-complete", where, f"findable by meaning is version {state[-1]}")


CHUNK_COLUMNS = ("heading_path", "body", "char_start", "char_end", "text_hash")
READ_CHUNKS = """
  select
    c.tenant_id, c.kind, c.source_id, c.version, c.ordinal, c.heading_path, c.body, c.char_start, c.char_end,
    c.text_hash
  from mv.chunks c
  join unnest(
    %s::uuid[], %s::text[], %s::uuid[]
  ) as a (tenant_id, kind, source_id) using (tenant_id, kind, source_id)
"""


def _read_chunks(
    connection: Connection, some: Sequence[_Expected]
) -> dict[SourceKey, dict[tuple[int, int], tuple[Any, ...]]]:
    stored: dict[SourceKey, dict[tuple[int, int], tuple[Any, ...]]] = {}
    for tenant_id, kind, source_id, version, ordinal, *rest in connection.execute(
        READ_CHUNKS, columns_of([each.source for each in some])
    ):
        stored.setdefault(SourceKey(tenant_id, kind, source_id), {})[version, ordinal] = tuple(rest)
    return stored


def _compare_chunks(
    comparison: Comparison, expected: _Expected, stored: dict[tuple[int, int], tuple[Any, ...]]
) -> None:
    comparison.tenant.chunks += len(expected.chunks)
    for part in expected.chunks:
        where = f"{expected.name} #{part.ordinal}"
        have = stored.pop((expected.version, part.ordinal), None)
        if have is None:
            comparison.add("missing", where, "is not in mv.chunks")
            continue
        wanted = (part.heading_path, part.body, part.char_start, part.char_end, part.text_hash)
        for name, old, new in zip(CHUNK_COLUMNS, have, wanted, strict=True):
            if old != new:
                comparison.add("different", where, f"chunks.{name} is not what the text gives")
    source = expected.source
    for version, ordinal in sorted(stored):
        kind: Kind = "extra" if version == expected.version else "orphan"
        where = f"{source.kind} {source.source_id} v{version} #{ordinal}"
        comparison.add(kind, where, "should not be in mv.chunks")


UNLIKE_WORDS = """
  select c.kind, c.source_id, c.version, c.ordinal
  from mv.chunks c
  join unnest(
    %s::uuid[], %s::text[], %s::uuid[], %s::bigint[], %s::int[], %s::text[], %s::text[], %s::text[]
  ) as a (
    tenant_id, kind, source_id, version, ordinal, title, heading_path, body
  ) using (tenant_id, kind, source_id, version, ordinal)
  cross join lateral (select mv.chunk_tsv(a.ordinal, a.title, a.heading_path, a.body) as tsv offset 0) v
  where c.tsv <> v.tsv or c.length <> mv.chunk_length(v.tsv)
"""


def _compare_words(comparison: Comparison, some: Sequence[_Expected]) -> None:
    rows = [
        (*each.source, each.version, part.ordinal, *words)
        for each in some
        for part, words in zip(each.chunks, analyse_chunks(title_line(each.title), each.chunks), strict=True)
    ]
    for kind, source_id, version, ordinal in comparison.connection.execute(UNLIKE_WORDS, arrays_of(rows, 8)):
        where = f"{kind} {source_id} v{version} #{ordinal}"
        comparison.add("words", where, "tsv or length is not of its text")


UNLIKE_LENGTHS = """
  select s.kind, s.source_id, s.words_version
  from mv.search_state s
  left join mv.chunks c on c.tenant_id = s.tenant_id
    and c.kind = s.kind
    and c.source_id = s.source_id
    and c.version = s.words_version
  where s.tenant_id = %s
  group by s.kind, s.source_id, s.words_version, s.length
  having s.length <> coalesce(sum(c.length), 0)
"""


def _compare_lengths(comparison: Comparison) -> None:
    for kind, source_id, version in comparison.connection.execute(UNLIKE_LENGTHS, [comparison.tenant.tenant_id]):
        comparison.add("words", f"{kind} {source_id} v{version}", "is not as long as its chunks together")


COUNT_ORPHANS = """
  select c.kind, c.source_id, count(*)
  from mv.chunks c
  left join unnest(
    %s::uuid[], %s::text[], %s::uuid[]
  ) as a (tenant_id, kind, source_id) using (tenant_id, kind, source_id)
  where c.tenant_id = %s and a.source_id is null
  group by c.kind, c.source_id
"""


def _find_orphans(comparison: Comparison, known: set[SourceKey]) -> None:
    of = [*columns_of(sorted(known)), comparison.tenant.tenant_id]
    for kind, source_id, count in comparison.connection.execute(COUNT_ORPHANS, of):
        comparison.add("orphan", f"{kind} {source_id}", f"{count} chunks of a source that has no version")


# --- meaning --------------------------------------------------------------------------------------------------------


KEPT_SPACES = "select space, complete from mv.kept_spaces(%s) order by space"
LEFT_SPACES = """
  select p.space
  from mv.embedding_spaces p
  where p.space not in (select k.space from mv.kept_spaces(%(tenant)s) k)
    and p.space not in (select t.space from app.tenant_spaces t where t.tenant_id = %(tenant)s)
    and exists (select from mv.embeddings e where e.tenant_id = %(tenant)s and e.space = p.space)
"""
READ_HASHES = """
  select c.kind, c.source_id, c.version, c.ordinal, c.text_hash, e.text_hash is not null
  from mv.chunks c
  join mv.search_state s on s.tenant_id = c.tenant_id
    and s.kind = c.kind
    and s.source_id = c.source_id
    and s.words_version = c.version
  left join mv.embeddings e on e.tenant_id = c.tenant_id and e.space = %s and e.text_hash = c.text_hash
  where c.tenant_id = %s and not s.deleted
"""


def compare_vectors(comparison: Comparison) -> None:
    """`mv.embeddings`, in each space that the tenant keeps; in others it has none."""
    connection, tenant = comparison.connection, comparison.tenant
    for space, is_complete in connection.execute(KEPT_SPACES, [tenant.tenant_id]).fetchall():
        _compare_space(comparison, space, is_complete=is_complete)
    for (space,) in connection.execute(LEFT_SPACES, {"tenant": tenant.tenant_id}):
        comparison.add("extra", space, "has vectors, and the tenant does not keep this space")


def _compare_space(comparison: Comparison, space: str, *, is_complete: bool) -> None:
    """One space. What is still being built may lack vectors; those that it has are right."""
    tenant, embedder, sample = comparison.tenant, comparison.embedder, comparison.sample
    hashes: set[bytes] = set()
    with comparison.connection.cursor(name="hashes") as rows:
        rows.itersize = HASHES_AT_ONCE
        rows.execute(READ_HASHES, [space, tenant.tenant_id])
        for kind, source_id, version, ordinal, text_hash, has_vector in rows:
            hashes.add(text_hash)
            tenant.vectors += has_vector
            if is_complete and not has_vector:
                comparison.add("no-vector", f"{kind} {source_id} v{version} #{ordinal}", f"has no vector in {space}")
    if isinstance(embedder, SpaceEmbedders):
        embedder = embedder.find(space)
    elif embedder is not None and embedder.space.name != space:
        embedder = None
    if comparison.embedder is None:
        return
    if embedder is None:
        comparison.report.add(tenant, "vector", tenant.slug, f"no embedder of the settings makes {space}")
        return
    # Hashes are as good as random, so the first few of them are a sample, and the same one every time.
    chosen = set(sorted(hashes)[:sample] if sample is not None else hashes)
    texts = {
        part.text_hash: part.text
        for each in _expect(comparison.connection, tenant.tenant_id)
        for part in each.chunks
        if part.text_hash in chosen
    }
    _recompute(comparison, embedder, texts)


UNLIKE_VECTORS = """
  with live as (
    select slot, kind, space
    from mv.vector_indexes
    where tenant_id = %(tenant)s and state = 'live'
  ),
  wanted as (
    select distinct live.slot, c.source_id, c.text_hash, e.embedding::halfvec as embedding
    from live
    join mv.search_state s on s.tenant_id = %(tenant)s and s.kind = live.kind and not s.deleted
    join mv.chunks c on c.tenant_id = s.tenant_id
      and c.kind = s.kind
      and c.source_id = s.source_id
      and c.version = s.meaning_version
    join mv.embeddings e on e.tenant_id = c.tenant_id and e.space = live.space and e.text_hash = c.text_hash
  ),
  kept as (
    select v.slot, v.source_id, v.text_hash, v.embedding
    from mv.vectors v
    join live using (slot)
    where v.tenant_id = %(tenant)s
  )
  select live.kind, source_id, text_hash, w.slot is null, k.slot is null
  from wanted w
  full join kept k using (slot, source_id, text_hash)
  join live using (slot)
  where w.slot is null or k.slot is null or w.embedding <> k.embedding
"""
MISCOUNTED = """
  select i.kind, i.slot
  from mv.vector_indexes i
  where i.tenant_id = %(tenant)s
    and i.passages <> (select count(*) from mv.vectors v where v.tenant_id = i.tenant_id and v.slot = i.slot)
"""


def compare_indexes(comparison: Comparison) -> None:
    """`mv.vectors` of indexes that searches take, and what `mv.vector_indexes` counts of all."""
    of = {"tenant": comparison.tenant.tenant_id}
    for kind, source_id, text_hash, extra, missing in comparison.connection.execute(UNLIKE_VECTORS, of):
        wrong: Kind = "extra" if extra else "missing" if missing else "different"
        comparison.add(wrong, f"{kind} {source_id} {text_hash.hex()[:16]}", "mv.vectors is not what the source shows")
    for kind, slot in comparison.connection.execute(MISCOUNTED, of):
        comparison.add("different", f"{kind} index {slot}", "mv.vector_indexes does not count what is in mv.vectors")


READ_VECTORS = """
  select text_hash, embedding
  from mv.embeddings
  where tenant_id = %s and space = %s and text_hash = any(%s)
"""


def _recompute(comparison: Comparison, embedder: Embedder, texts: dict[bytes, str]) -> None:
    ordered, tenant = sorted(texts), comparison.tenant
    cursor = comparison.connection.cursor(binary=True)
    for start in range(0, len(ordered), SOURCES_AT_ONCE):
        keys = ordered[start : start + SOURCES_AT_ONCE]
        vectors = embedder.embed([texts[key] for key in keys])
        cursor.execute(READ_VECTORS, [tenant.tenant_id, embedder.space.name, keys])
        stored: dict[bytes, bytes] = dict(cursor.fetchall())
        for key, vector in zip(keys, vectors, strict=True):
            if key not in stored:
                continue  # reported as no-vector already
            tenant.vectors_recomputed += 1
            cosine = _cosine(vector, read(stored[key]))
            if not cosine >= COSINE_MIN:
                comparison.add("vector", f"text {key.hex()[:16]}", f"cosine {cosine:.6f} to its text", key)


def _cosine(vector: Vector, other: Vector) -> float:
    if other.shape != vector.shape:
        return float("nan")
    norms = float(np.linalg.norm(vector)) * float(np.linalg.norm(other))
    return float(np.dot(vector, other)) / norms if norms else float("nan")
