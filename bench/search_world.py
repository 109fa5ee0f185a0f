"""The tenants that `bench/search.py` searches: as many passages as it wants, in the pipeline's own tables, in minutes.

Owns texts and vectors that are like real ones. Texts are this project's decisions with a third of their words mixed, so
that frequencies are those of prose; a few hundred are cut and analysed, and each source takes one of them. A vector is
one that the embedder made of a passage of them, moved: one half of it is noise with the covariance of all of them.
Uniform noise would be a cloud without near and far, in which no index finds anything; copies would be found too easily.
Refuses to measure.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import psycopg

from api.adrs.document import parse
from connectors.embedders import Embedder, EmbeddingSpace
from dataflows.chunker import analyse_chunks, chunk
from dataflows.words import keep as keep_words
from runtime.ids import new_id
from schemas.sources import SourceKey

Vectors = npt.NDArray[np.float32]

DECISIONS = Path(__file__).resolve().parents[1] / "docs" / "decisions"
TEXTS = 60
"""Texts that are cut and analysed: some 1 200 passages, half a minute of the embedder."""
NOISE = 0.5
"""Share of a vector that is noise. Among 10^5, the tenth nearest to a title then has a cosine of 0.68."""
RARE_SHARE = 0.01
"""Sources with the status `rejected`: what a filter leaves."""
SOURCES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage as `mv.chunks` has it."""

    heading_path: str
    body: str
    char_start: int
    char_end: int
    tsv: str
    length: int


@dataclass(frozen=True, slots=True)
class Material:
    """What tenants are made of."""

    space: EmbeddingSpace
    titles: tuple[str, ...]
    texts: tuple[tuple[str, tuple[Passage, ...]], ...]
    vectors: Vectors
    spread: Vectors
    """Noise with the covariance of the vectors: a row of standard normals times this."""


def gather(connection: psycopg.Connection[Any], embedder: Embedder) -> Material:
    """Cut, analyse and embed. Makes the space known."""
    space = embedder.space
    connection.execute(
        "insert into mv.embedding_spaces values (%s, %s, %s, %s, %s, true) on conflict do nothing",
        [space.name, space.provider, space.model, space.revision, space.dimension],
    )
    texts: list[tuple[str, tuple[Passage, ...]]] = []
    embedded: list[Any] = []
    for title, text in _mixed(random.Random(7), TEXTS):
        parts = chunk(title, text)
        texts.append((title, tuple(_analyse(connection, title, parts))))
        embedded += embedder.embed([part.text for part in parts])
    vectors = np.asarray(embedded, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    centred = vectors - vectors.mean(axis=0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    spread = (values[:, None] * axes / np.sqrt(len(vectors))).astype(np.float32)
    titles = tuple(parse(file.read_text()).title for file in sorted(DECISIONS.glob("0*.md")))
    return Material(space, titles, tuple(texts), vectors, spread)


def _mixed(chance: random.Random, count: int) -> Iterator[tuple[str, str]]:
    written = [file.read_text() for file in sorted(DECISIONS.glob("0*.md"))]
    words = [re.split(r"( +)", text) for text in written]
    for number in range(count):
        own, other = words[number % len(words)], chance.choice(words)
        text = "".join(chance.choice(other) if chance.random() < 0.33 else word for word in own)
        yield parse(written[number % len(words)]).title, text


_ANALYSE = """
  select t.tsv::text, mv.chunk_length(t.tsv)
  from (select mv.chunk_tsv(%s, %s, %s, %s) as tsv) t
"""


def _analyse(connection: psycopg.Connection[Any], title: str, parts: Sequence[Any]) -> Iterator[Passage]:
    for part, words in zip(parts, analyse_chunks(title, parts), strict=True):
        row = connection.execute(_ANALYSE, [part.ordinal, *words]).fetchone()
        assert row is not None
        yield Passage(part.heading_path, part.body, part.char_start, part.char_end, *row)


def fill(connection: psycopg.Connection[Any], material: Material, slug: str, size: int) -> UUID:
    """A new tenant with so many passages, all findable."""
    chance, normal = random.Random(slug), np.random.default_rng(size)
    tenant_id, log_id = new_id(), new_id()
    with connection.transaction():
        connection.execute("insert into app.tenants values (%s, %s, 'bench')", [tenant_id, slug])
        connection.execute("insert into app.logs values (%s, %s, 'default', 'bench')", [tenant_id, log_id])
        left = size
        while left > 0:
            some: list[Source] = []
            while left > 0 and len(some) < SOURCES_AT_ONCE:
                title, parts = chance.choice(material.texts)
                some.append((new_id(), title, "rejected" if chance.random() < RARE_SHARE else "accepted", parts[:left]))
                left -= len(some[-1][3])
            _write(connection, tenant_id, log_id, some)
            _write_vectors(connection, material, normal, tenant_id, some)
    return tenant_id


Source = tuple[UUID, str, str, Sequence[Passage]]

_COPY_ADRS = """
  copy app.adrs (tenant_id, adr_id, log_id, title, status, version, created_at, updated_at)
  from stdin
"""
_COPY_VERSIONS = """
  copy app.adr_versions (tenant_id, adr_id, version, change, title, status, body, effective_at)
  from stdin
"""
_COPY_STATES = """
  copy mv.search_state (
    tenant_id, kind, source_id, words_version, meaning_version, title, status, effective_at, recorded_at,
    words_at, meaning_at, chunks, length
  )
  from stdin
"""
_COPY_CHUNKS = """
  copy mv.chunks (
    tenant_id, kind, source_id, version, ordinal, heading_path, body, char_start, char_end, text_hash, tsv,
    length
  )
  from stdin
"""


def _write(connection: psycopg.Connection[Any], tenant_id: UUID, log_id: UUID, some: Sequence[Source]) -> None:
    now = "2026-03-01 09:00+00"
    with connection.cursor() as cursor:
        with cursor.copy(_COPY_ADRS) as copy:
            for source_id, title, status, _ in some:
                copy.write_row((tenant_id, source_id, log_id, title, status, 1, now, now))
        with cursor.copy(_COPY_VERSIONS) as copy:
            for source_id, title, status, _ in some:
                copy.write_row((tenant_id, source_id, 1, "create", title, status, title, now))
        with cursor.copy(_COPY_STATES) as copy:
            for source_id, title, status, parts in some:
                length = sum(part.length for part in parts)
                copy.write_row(
                    (tenant_id, "adr", source_id, 1, 1, title, status, now, now, now, now, len(parts), length)
                )
        with cursor.copy(_COPY_CHUNKS) as copy:
            for source_id, _, _, parts in some:
                for ordinal, part in enumerate(parts):
                    copy.write_row(
                        (tenant_id, "adr", source_id, 1, ordinal, part.heading_path, part.body, part.char_start,
                         part.char_end, hash_of(source_id, ordinal), part.tsv, part.length)
                    )  # fmt: skip
    keep_words(connection, [SourceKey(tenant_id, "adr", source_id) for source_id, *_ in some])


def hash_of(source_id: UUID, ordinal: int) -> bytes:
    """What a passage's vector is stored under: every passage has a vector of its own, whatever text it shares."""
    return source_id.bytes + ordinal.to_bytes(16, "big")


def draw(material: Material, normal: np.random.Generator, count: int) -> Vectors:
    """So many new vectors."""
    kept = material.vectors[normal.integers(len(material.vectors), size=count)]
    noise = normal.standard_normal((count, len(material.spread))).astype(np.float32) @ material.spread
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    moved = (1 - NOISE) * kept + NOISE * noise
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray(moved, dtype=np.float32)


def _write_vectors(
    connection: psycopg.Connection[Any],
    material: Material,
    normal: np.random.Generator,
    tenant_id: UUID,
    some: Sequence[Source],
) -> None:
    keys = [hash_of(source_id, ordinal) for source_id, _, _, parts in some for ordinal in range(len(parts))]
    vectors = draw(material, normal, len(keys))
    head = vectors.shape[1].to_bytes(2, "big") + b"\x00\x00"
    with connection.cursor() as cursor, cursor.copy(_COPY_VECTORS) as copy:
        copy.set_types(["uuid", "text", "bytea", "bytea"])
        for key, vector in zip(keys, vectors.astype(">f4"), strict=True):
            # The binary form of a `vector`: its dimension, and then its numbers.
            copy.write_row((tenant_id, material.space.name, key, head + vector.tobytes()))


_COPY_VECTORS = """
  copy mv.embeddings (tenant_id, space, text_hash, embedding)
  from stdin (format binary)
"""
