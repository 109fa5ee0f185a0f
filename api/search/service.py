"""A search, in one read-only transaction of the tenant: filters, the arms, their fusion, the snippets, the watermarks.

Owns the rule for an arm that cannot take part: a hybrid search goes on by words and says so, a search by meaning alone
is a 503. Refuses to rank: the functions of `schemas/sql/0010_search_functions.sql` do. Holds no connection while a
query is embedded. Read next: `sql`.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from api import watermarks
from api.db import Connection, Database, tenant_transaction
from api.logs import service as logs
from api.search import packed, schemas, sql
from api.search import query as queries
from api.search.embedding import QueryEmbedder
from api.search.snippet import START, STOP, snippet
from connectors.embedders import EmbeddingSpace, Vector
from runtime import metrics
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import AdriaticError, DependencyUnavailable
from schemas import sources

CANDIDATES_MAX = 100
"""Most hits of each arm, before fusion."""
ASKED_MAX = 2_000
"""The same before each is asked whether it passes a filter, as `mv.search_words` has it."""
FUSION_K = 60
"""The constant of reciprocal rank fusion, from the paper that proposed it (Cormack, Clarke, Büttcher, SIGIR 2009). On
six real histories 20 and 60 differ by 0.001 nDCG, and unequal weights of the arms gain nothing."""
NAMED_SCORE = 1.0
"""What an ADR gets for being asked for by its number: above any sum of ranks, which is at most 2 / 61."""
STATEMENT_MS_MAX = 5_000
"""Time for each statement of a search. The slowest that a healthy database shows takes 0.2 s: common words over 20 000
chunks."""
LISTED_SOURCES_MAX = 20_000
"""Sources that pass a filter and are handed to the arms as a list. A tenant with more passing has a filter that each
candidate is asked by: that ends soon, since so many pass."""
LISTED_PASSAGES_MAX = 30_000
"""The same in passages, where the tenant has an index by meaning: comparing more of them one by one takes longer than
walking the index."""
SNIPPET_WORDS_MAX = 40
SNIPPET_WORDS_MIN = 20
"""Three lines of a terminal: enough to tell whether to open it."""


async def search(
    database: Database, embedder: QueryEmbedder, tenant_id: UUID, request: schemas.SearchRequest
) -> schemas.SearchResult:
    """Raises `InvalidInput` for a query that is too large, and `DependencyUnavailable` when no arm can answer."""
    query = queries.parse(request.q)
    metrics.SEARCHES.labels(request.mode).inc()
    began_s = SYSTEM_CLOCK.monotonic()
    degraded: list[schemas.Degraded] = []
    embedded: tuple[EmbeddingSpace, Vector] | None = None
    if request.mode != "words" and query.text:
        try:
            embedded = await embedder.embed(tenant_id, query.text)
        except AdriaticError as error:
            degraded.append(_degrade(request, "meaning", error))
    embed_s = SYSTEM_CLOCK.monotonic() - began_s
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        await connection.execute("select set_config('statement_timeout', $1, true)", str(STATEMENT_MS_MAX))
        if embedded and (refused := await _other_space(connection, embedded[0])):
            degraded.append(_degrade(request, "meaning", refused))
            embedded = None
        allowed = await _find_allowed(connection, tenant_id, request, query)
        chosen = await _choose_by_words(connection, tenant_id, request, query, allowed)
        rows = await _hits(connection, request, query, embedded, allowed, chosen) if query.text else []
        if chosen and allowed.filter and not any(row["words_candidates"] for row in rows):
            # None of what has the words passes. Words that begin like them are looked for among all.
            chosen = None
            rows = await _hits(connection, request, query, embedded, allowed, None)
        as_of = await _freshness(connection, request, embedded is not None)
        terms = await connection.fetchval("select mv.search_terms($1)", query.words) if request.explain else []
        indexes = await connection.fetch(sql.INDEXES) if request.explain else []
    explanation = None
    if request.explain:
        explanation = schemas.SearchExplanation(
            text=query.text,
            terms=terms,
            required=list(query.required),
            excluded=list(query.excluded),
            numbers=list(query.numbers),
            space=embedded[0].name if embedded else None,
            filtered_to=None if allowed.ids is None else len(allowed.ids),
            filtered_each=allowed.filter is not None,
            bounded=allowed.bounded,
            candidates_words=rows[0]["words_candidates"] if rows else 0,
            candidates_meaning=rows[0]["meaning_candidates"] if rows else 0,
            words_looked_at=rows[0]["words_looked_at"] if rows else None,
            words_proved=rows[0]["words_proved"] and (chosen is None or chosen.proved) if rows else None,
            words_routes=chosen.routes if chosen else {},
            meaning_routes=msgspec.json.decode(rows[0]["meaning_routes"] or "{}") if rows else {},
            indexes=[schemas.IndexRecall(*row) for row in indexes],
            fusion_k=FUSION_K,
            embed_ms=round(embed_s * 1000, 3),
            query_ms=round((SYSTEM_CLOCK.monotonic() - began_s - embed_s) * 1000, 3),
        )
    hits = [_hit(row, request.explain) for row in rows]
    return schemas.SearchResult(request.mode, hits, degraded, as_of, explanation)


def _degrade(request: schemas.SearchRequest, arm: schemas.Arm, error: AdriaticError) -> schemas.Degraded:
    if request.mode == arm:
        raise DependencyUnavailable(
            f"search by {arm} cannot answer now: {error.detail}",
            hint=error.hint or 'try again, or search with mode "words"',
        ) from error
    return schemas.Degraded(arm, error.code, error.detail, error.hint)


async def _other_space(connection: Connection, space: EmbeddingSpace) -> DependencyUnavailable | None:
    """Vectors of two spaces are never compared: what is wrong when the tenants' vectors are of another one."""
    active = await connection.fetchval("select space from mv.embedding_spaces where active")
    if active is None or active == space.name:
        return None
    return DependencyUnavailable(
        f"what is searched is embedded in the space {active}, and queries here in {space.name}",
        hint="give the API and the flow `embed` the same embedder settings",
    )


class Allowed(NamedTuple):
    """What may be found: pair by pair, or by a filter that each candidate is asked by, or without either everything.
    `unwanted`: pairs that are taken out of what is found."""

    kinds: list[str] | None = None
    ids: list[UUID] | None = None
    filter: dict[str, Any] | None = None
    unwanted: tuple[list[str], list[UUID]] = ([], [])
    bounded: bool = False


async def _find_allowed(
    connection: Connection, tenant_id: UUID, request: schemas.SearchRequest, query: queries.Query
) -> Allowed:
    """What passes the filters. Raises `InvalidInput` for a log that is not there."""
    filters = (request.status, request.tag, request.log, request.author, request.since, request.until)
    if not any((*filters, query.required, query.excluded, request.kind)):
        return Allowed()
    required, excluded = (list(map(queries.analyse_clause, clauses)) for clauses in (query.required, query.excluded))
    row = await connection.fetchrow(sql.ALLOWED, *filters, required, excluded, request.kind, LISTED_SOURCES_MAX + 1)
    kinds, ids = row["kinds"] or [], row["ids"] or []
    if request.log and not ids:
        await logs.require_known(connection, tenant_id, request.log)
    too_many = len(ids) > LISTED_SOURCES_MAX
    if not too_many and not (row["passages"] > LISTED_PASSAGES_MAX and await connection.fetch(sql.INDEXES)):
        return Allowed(kinds, ids)
    if required:
        return Allowed(kinds[:LISTED_SOURCES_MAX], ids[:LISTED_SOURCES_MAX], bounded=too_many)
    found = await connection.fetch(sql.EXCLUDED, excluded, LISTED_SOURCES_MAX + 1) if excluded else []
    unwanted = ([each["kind"] for each in found], [each["source_id"] for each in found])
    return Allowed(filter=_filter(request), unwanted=unwanted, bounded=len(found) > LISTED_SOURCES_MAX)


def _filter(request: schemas.SearchRequest) -> dict[str, Any]:
    """The filter that `mv.search_passes` asks of one source. By what only ADRs have, nothing else need be looked at."""
    asked = {
        "kind": request.kind or ("adr" if request.status or request.tag or request.log or request.author else None),
        "status": request.status,
        "tags": request.tag,
        "log": request.log,
        "author": request.author,
        "since": request.since and request.since.isoformat(),
        "until": request.until and request.until.isoformat(),
    }
    return {name: value for name, value in asked.items() if value}


async def _choose_by_words(
    connection: Connection,
    tenant_id: UUID,
    request: schemas.SearchRequest,
    query: queries.Query,
    allowed: Allowed,
) -> packed.Chosen | None:
    """The best by words where the tenant has segments. A list of what may be found is ranked in full without them."""
    if request.mode == "meaning" or not query.text or allowed.ids is not None:
        return None
    each_is_asked = allowed.filter or allowed.unwanted[0]
    sources_max = ASKED_MAX if each_is_asked else CANDIDATES_MAX
    only_kind = allowed.filter.get("kind") if allowed.filter else None
    return await packed.choose(connection, tenant_id, query.words, only_kind, sources_max)


async def _hits(
    connection: Connection,
    request: schemas.SearchRequest,
    query: queries.Query,
    embedded: tuple[EmbeddingSpace, Vector] | None,
    allowed: Allowed,
    chosen: packed.Chosen | None,
) -> list[Any]:
    rows: list[Any] = await connection.fetch(
        sql.HITS,
        query.words,
        allowed.kinds,
        allowed.ids,
        request.mode != "meaning",
        embedded[0].name if embedded else None,
        embedded[1] if embedded else None,
        list(query.numbers),
        request.limit,
        CANDIDATES_MAX,
        FUSION_K,
        NAMED_SCORE,
        START + STOP,
        # One fragment: with words before the match, where a headline would begin at it.
        f"StartSel={START}, StopSel={STOP}, MaxFragments=1, MaxWords={SNIPPET_WORDS_MAX}, MinWords={SNIPPET_WORDS_MIN}",
        query.text,
        allowed.filter and msgspec.json.encode(allowed.filter).decode(),
        *allowed.unwanted,
        chosen and chosen.kinds,
        chosen and chosen.ids,
    )
    return rows


async def _freshness(
    connection: Connection, request: schemas.SearchRequest, by_meaning: bool
) -> schemas.SearchFreshness:
    words = await watermarks.read(connection, watermarks.WORDS_VIEW)
    return schemas.SearchFreshness(
        words=words if request.mode != "meaning" else None,
        meaning=await watermarks.read_meaning(connection, words) if by_meaning else None,
    )


def _hit(row: Any, explain: bool) -> schemas.Hit:
    source_id = UUID(str(row["source_id"]))
    return schemas.Hit(
        kind=row["kind"],
        source_id=source_id,
        number=row["number"],
        log=row["log"],
        title=row["title"],
        status=row["status"],
        tags=row["tags"],
        version=row["shown_version"],
        effective_at=row["effective_at"],
        score=row["score"],
        snippet=schemas.Snippet(*snippet(row["headline"])),
        chunk=schemas.ChunkPlace(
            row["version"], row["ordinal"], row["heading_path"], row["char_start"], row["char_end"]
        ),
        document=_document(row) if row["origin"] else None,
        path=None if row["origin"] == "feed" else sources.KINDS[row["kind"]].path.format(source_id),
        explain=schemas.HitExplanation(_arm(row, "words"), _arm(row, "meaning"), row["named"]) if explain else None,
    )


def _document(row: Any) -> schemas.HitDocument:
    return schemas.HitDocument(row["origin"], row["media_type"], row["uri"], row["partial"])


def _arm(row: Any, arm: schemas.Arm) -> schemas.ArmRank | None:
    if row[f"{arm}_rank"] is None:
        return None
    return schemas.ArmRank(
        rank=row[f"{arm}_rank"],
        score=row[f"{arm}_score"],
        contribution=row[f"{arm}_part"],
        version=row[f"{arm}_version"],
        ordinal=row[f"{arm}_ordinal"],
        terms=row["terms"] if arm == "words" else None,
    )
