"""The plain recomputation of what the search reads, for `adriatic verify`: the newest version of each ADR and document,
cut and embedded anew.

Shares the pure parts with the flows (chunker, embedder) and nothing else. Read next: `dataflows/oracle.py`, which says
what is compared when; `dataflows/index.py` and `dataflows/embed.py`, which keep the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np

from connectors.embedders import Embedder
from connectors.postgres.sink import Connection
from dataflows.chunker import Chunk, chunk, title_line
from dataflows.comparison import Comparison, Kind, TenantReport, VerifyReport

COSINE_MIN = 0.9999
"""Two computations of one vector: equal but for rounding on another kind of processor."""
ADRS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class _Expected:
    """The newest version of an ADR or a document, and its passages as they must be.

    `version` is the one that rows name. A document's is a count of what was applied, which no recomputation knows: it
    is taken from `mv.search_state` (0 without a row), and `source_version` is compared instead.
    """

    adr_id: UUID
    version: int
    deleted: bool
    title: str
    status: str
    effective_at: Any
    chunks: tuple[Chunk, ...]
    kind: str = "adr"
    source_version: int | None = None


def _expected(connection: Connection, tenant_id: UUID) -> Iterator[_Expected]:
    with connection.cursor(name="newest") as cursor:
        cursor.itersize = ADRS_AT_ONCE
        cursor.execute(
            "select distinct on (adr_id) adr_id, version, change = 'delete', title, status, effective_at, body "
            "from app.adr_versions where tenant_id = %s order by adr_id, version desc",
            [tenant_id],
        )
        for adr_id, version, deleted, title, status, effective_at, body in cursor:
            chunks = () if deleted else tuple(chunk(title, body))
            yield _Expected(adr_id, version, deleted, title, status, effective_at, chunks)
    with connection.cursor(name="newest_documents") as cursor:
        cursor.itersize = ADRS_AT_ONCE
        cursor.execute(
            "select distinct on (d.document_id) d.document_id, coalesce(s.words_version, 0), d.kind = 'delete', "
            "d.title, d.effective_at, d.body, d.version from app.document_versions d left join mv.search_state s "
            "on s.tenant_id = d.tenant_id and s.adr_id = d.document_id "
            "where d.tenant_id = %s order by d.document_id, d.version desc",
            [tenant_id],
        )
        for document_id, version, deleted, title, effective_at, body, source_version in cursor:
            chunks = () if deleted else tuple(chunk(title, body))
            yield _Expected(document_id, version, deleted, title, "", effective_at, chunks, "document", source_version)


# --- words ----------------------------------------------------------------------------------------------------------


def compare_words(comparison: Comparison) -> None:
    """`mv.search_state` and `mv.chunks`."""
    connection, report, tenant = comparison.connection, comparison.report, comparison.tenant
    states = {
        row[0]: row[1:]
        for row in connection.execute(
            "select adr_id, words_version, deleted, title, status, effective_at, chunks, kind, source_version, "
            "meaning_version "
            "from mv.search_state where tenant_id = %s",
            [tenant.tenant_id],
        )
    }
    expected = list(_expected(connection, tenant.tenant_id))
    for start in range(0, len(expected), ADRS_AT_ONCE):
        some = expected[start : start + ADRS_AT_ONCE]
        stored = _stored_chunks(connection, tenant.tenant_id, [adr.adr_id for adr in some])
        for adr in some:
            _compare_state(report, tenant, adr, states.get(adr.adr_id))
            _compare_chunks(report, tenant, adr, stored.get(adr.adr_id, {}))
        _compare_words(connection, report, tenant, some)
    known = {adr.adr_id for adr in expected}
    for adr_id in sorted(set(states) - known):
        if not states[adr_id][1]:
            report.add(tenant, "extra", f"{tenant.slug} {adr_id}", "is findable, and has no version")
    _find_orphans(connection, report, tenant, known)


def _compare_state(report: VerifyReport, tenant: TenantReport, adr: _Expected, state: Any) -> None:
    where = f"{tenant.slug} {adr.adr_id} v{adr.version}"
    tenant.adrs += adr.kind == "adr" and not adr.deleted
    tenant.documents += adr.kind == "document" and not adr.deleted
    tenant.deleted += adr.deleted
    if state is None:
        report.add(tenant, "missing", where, "is not in mv.search_state")
        return
    names = ("words_version", "deleted", "title", "status", "effective_at", "chunks", "kind", "source_version")
    wanted = (
        *(adr.version, adr.deleted, adr.title, adr.status, adr.effective_at, len(adr.chunks)),
        *(adr.kind, adr.source_version),
    )
    for name, have, want in zip(names, state, wanted, strict=False):
        if have != want:
            report.add(tenant, "different", where, f"search_state.{name} is not what the version says")
    if not adr.deleted and state[-1] != adr.version:
        report.add(tenant, "not-complete", where, f"findable by meaning is version {state[-1]}")


def _stored_chunks(
    connection: Connection, tenant_id: UUID, adr_ids: Sequence[UUID]
) -> dict[UUID, dict[tuple[int, int], Any]]:
    stored: dict[UUID, dict[tuple[int, int], Any]] = {}
    for adr_id, version, ordinal, *rest in connection.execute(
        "select adr_id, version, ordinal, heading_path, body, char_start, char_end, text_hash, source_version "
        "from mv.chunks "
        "where tenant_id = %s and adr_id = any(%s)",
        [tenant_id, list(adr_ids)],
    ):
        stored.setdefault(adr_id, {})[version, ordinal] = tuple(rest)
    return stored


def _compare_chunks(
    report: VerifyReport, tenant: TenantReport, adr: _Expected, stored: dict[tuple[int, int], Any]
) -> None:
    tenant.chunks += len(adr.chunks)
    for part in adr.chunks:
        where = f"{tenant.slug} {adr.adr_id} v{adr.version} #{part.ordinal}"
        have = stored.pop((adr.version, part.ordinal), None)
        if have is None:
            report.add(tenant, "missing", where, "is not in mv.chunks")
            continue
        names = ("heading_path", "body", "char_start", "char_end", "text_hash", "source_version")
        wanted = (part.heading_path, part.body, part.char_start, part.char_end, part.text_hash, adr.source_version)
        for name, old, new in zip(names, have, wanted, strict=True):
            if old != new:
                report.add(tenant, "different", where, f"chunks.{name} is not what the text gives")
    for version, ordinal in sorted(stored):
        kind: Kind = "extra" if version == adr.version else "orphan"
        report.add(tenant, kind, f"{tenant.slug} {adr.adr_id} v{version} #{ordinal}", "should not be in mv.chunks")


def _compare_words(
    connection: Connection, report: VerifyReport, tenant: TenantReport, adrs: Sequence[_Expected]
) -> None:
    rows = connection.execute(
        "select c.adr_id, c.version, c.ordinal from mv.chunks c "
        "join unnest(%s::uuid[], %s::int[], %s::text[]) as a (adr_id, version, title) using (adr_id, version), "
        "lateral (select mv.chunk_tsv(c.ordinal, a.title, c.heading_path, c.body) as tsv offset 0) v "
        "where c.tenant_id = %s and (c.tsv <> v.tsv or c.length <> mv.chunk_length(v.tsv))",
        [
            [adr.adr_id for adr in adrs],
            [adr.version for adr in adrs],
            [title_line(adr.title) for adr in adrs],
            tenant.tenant_id,
        ],
    )
    for adr_id, version, ordinal in rows:
        report.add(tenant, "words", f"{tenant.slug} {adr_id} v{version} #{ordinal}", "tsv or length is not of its text")


def _find_orphans(connection: Connection, report: VerifyReport, tenant: TenantReport, known: set[UUID]) -> None:
    rows = connection.execute(
        "select adr_id, count(*) from mv.chunks where tenant_id = %s and not adr_id = any(%s) group by adr_id",
        [tenant.tenant_id, list(known)],
    )
    for adr_id, count in rows:
        report.add(tenant, "orphan", f"{tenant.slug} {adr_id}", f"{count} chunks of an ADR that has no version")


# --- meaning --------------------------------------------------------------------------------------------------------


def compare_vectors(comparison: Comparison) -> None:
    """`mv.embeddings`."""
    connection, report, tenant = comparison.connection, comparison.report, comparison.tenant
    space, embedder, sample = comparison.space, comparison.embedder, comparison.sample
    rows = connection.execute(
        "select c.adr_id, c.version, c.ordinal, c.text_hash, e.text_hash is not null from mv.chunks c "
        "join mv.search_state s on s.tenant_id = c.tenant_id and s.adr_id = c.adr_id and s.words_version = c.version "
        "left join mv.embeddings e on e.tenant_id = c.tenant_id and e.space = %s and e.text_hash = c.text_hash "
        "where c.tenant_id = %s and not s.deleted",
        [space, tenant.tenant_id],
    ).fetchall()
    hashes: set[bytes] = set()
    for adr_id, version, ordinal, text_hash, has_vector in rows:
        hashes.add(text_hash)
        tenant.vectors += has_vector
        if not has_vector:
            report.add(tenant, "no-vector", f"{tenant.slug} {adr_id} v{version} #{ordinal}", "has no vector")
    if embedder is None or space is None:
        return
    if embedder.space.name != space:
        report.add(tenant, "vector", tenant.slug, f"the settings' embedder makes {embedder.space.name}, not {space}")
        return
    # Hashes are as good as random, so the first few of them are a sample, and the same one every time.
    chosen = set(sorted(hashes)[:sample] if sample is not None else hashes)
    texts = {
        part.text_hash: part.text
        for adr in _expected(connection, tenant.tenant_id)
        for part in adr.chunks
        if part.text_hash in chosen
    }
    _recompute(connection, report, tenant, embedder, texts)


def _recompute(
    connection: Connection, report: VerifyReport, tenant: TenantReport, embedder: Embedder, texts: dict[bytes, str]
) -> None:
    ordered = sorted(texts)
    for start in range(0, len(ordered), ADRS_AT_ONCE):
        keys = ordered[start : start + ADRS_AT_ONCE]
        vectors = embedder.embed([texts[key] for key in keys])
        stored: dict[bytes, str] = dict(
            connection.execute(
                "select text_hash, embedding::text from mv.embeddings "
                "where tenant_id = %s and space = %s and text_hash = any(%s)",
                [tenant.tenant_id, embedder.space.name, keys],
            ).fetchall()
        )
        for key, vector in zip(keys, vectors, strict=True):
            if key not in stored:
                continue  # reported as no-vector already
            tenant.vectors_recomputed += 1
            cosine = _cosine(vector, stored[key])
            if not cosine >= COSINE_MIN:
                report.add(tenant, "vector", f"{tenant.slug} text {key.hex()[:16]}", f"cosine {cosine:.6f} to its text")


def _cosine(vector: Any, literal: str) -> float:
    other = np.array(literal.strip("[]").split(","), dtype=np.float32)
    if other.shape != vector.shape:
        return float("nan")
    norms = float(np.linalg.norm(vector)) * float(np.linalg.norm(other))
    return float(np.dot(vector, other)) / norms if norms else float("nan")
