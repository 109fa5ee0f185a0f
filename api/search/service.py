"""A search, in one read-only transaction of the tenant: filters, the arms, their fusion, the snippets, the watermarks.

Owns the rule for an arm that cannot take part: a hybrid search goes on by words and says so, a search by meaning alone
is a 503. Refuses to rank: the functions of `schemas/sql/0010_search_functions.sql` do. Holds no connection while a
query is embedded. Read next: `sql`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import UUID

from api import watermarks
from api.db import Connection, Database, tenant_transaction
from api.logs import service as logs
from api.search import arms, facets, identifiers, inflected, reading, schemas, snippets, sql
from api.search import query as queries
from api.search.allowed import Allowed
from api.search.embedding import QueryEmbedder
from api.search.fusion import WORDS_SHARE, Candidate, Listed, fuse
from connectors.embedders import EmbeddingSpace
from runtime import metrics
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import AdriaticError, DependencyUnavailable
from schemas import sources

STATEMENT_MS_MAX = 5_000
"""Time for each statement of a search. The slowest that a healthy database shows takes 0.2 s: common words over 20 000
chunks."""
LISTED_SOURCES_MAX = 20_000
"""Sources that pass a filter and are handed to the arms as a list. A tenant with more passing has a filter that each
candidate is asked by: that ends soon, since so many pass."""
LISTED_PASSAGES_MAX = 30_000
"""The same in passages, where the tenant has an index by meaning: comparing more of them one by one takes longer than
walking the index."""
DELETED_MAX = 20
"""Candidates beyond those that are shown which are read with them: as many may have been deleted a moment ago."""
NOTHING = arms.FoundByArms(arms.NO_WORDS, Listed([], [], set(), set(), arms.CANDIDATES_MAX))
"""What is found of a query that only excludes."""
PDF = "application/pdf"
TURNS_MAX = 3
"""Times that a query is embedded: a tenant that changes its space twice while one search runs is not a tenant."""


class _AskedSearch(NamedTuple):
    """One search, as it was read. `began_s` is on the monotonic clock."""

    tenant_id: UUID
    request: schemas.SearchRequest
    query: queries.Query
    read: reading.QueryReading
    began_s: float

    @property
    def by_meaning(self) -> bool:
        """Whether its meaning counts: a query of which no word counts has nothing else."""
        return bool(self.query.text) and (self.request.mode != "words" or not self.read.terms)


class _TurnedElsewhere(Exception):
    """The tenant searches in another space than its query was embedded in: embed it there."""


async def search(
    database: Database, embedder: QueryEmbedder, tenant_id: UUID, request: schemas.SearchRequest
) -> schemas.SearchResult:
    """Raises `InvalidInput` for a query that is too large, and `DependencyUnavailable` when no arm can answer."""
    query = queries.parse(request.q)
    metrics.SEARCHES.labels(request.mode).inc()
    began_s = SYSTEM_CLOCK.monotonic()
    async with _begin(database, tenant_id) as connection:
        read = await reading.read(connection, query, typing=request.typing, correct=request.correct)
    asked = _AskedSearch(tenant_id, request, query, read, began_s)
    for turns_left in reversed(range(TURNS_MAX)):
        try:
            return await _search_once(database, embedder, asked, last=not turns_left)
        except _TurnedElsewhere:
            continue
    raise AssertionError("the last turn answers")


async def _search_once(
    database: Database, embedder: QueryEmbedder, asked: _AskedSearch, *, last: bool
) -> schemas.SearchResult:
    """Raises `_TurnedElsewhere`, but the last time."""
    tenant_id, request, query, read, began_s = asked
    failed: AdriaticError | None = None
    embedded: arms.Embedded | None = None
    lane, turn_s = embedder.lane_of(tenant_id), SYSTEM_CLOCK.monotonic()
    if asked.by_meaning:
        try:
            embedded = await lane.embed(tenant_id, read.text)
        except AdriaticError as error:
            failed = error
    embed_s = SYSTEM_CLOCK.monotonic() - turn_s
    async with _begin(database, tenant_id) as connection:
        if asked.by_meaning:
            # In the snapshot that the vectors are read in: a query is never compared with those of another space.
            space = await connection.fetchval(sql.SPACE, tenant_id)
            if space and embedder.turn_to(tenant_id, space) is not lane and not last:
                raise _TurnedElsewhere
            failed = failed or await _other_space(connection, tenant_id, space, embedded)
            embedded = None if failed else embedded
        degraded = [_degrade(request, "meaning", failed)] if failed else []
        allowed = await _find_allowed(connection, tenant_id, request, query)
        by_words = request.mode != "meaning"
        found = (
            await arms.find(connection, arms.Asked(tenant_id, query, read, by_words, embedded), allowed)
            if query.text
            else NOTHING
        )
        candidates = fuse(found.listed)
        # What only excludes finds nothing, so there is nothing to count.
        counts = request.facets and query.text
        counted = await facets.count(connection, request, read.words, read.terms, allowed) if counts else None
        shown = await _read_shown(connection, asked, candidates, found.words)
        pieces = await snippets.cut(connection, [(row["body"], _terms(each, row)) for each, row in shown], read.terms)
        as_of = await _freshness(connection, request, embedded is not None)
        indexes = await connection.fetch(sql.INDEXES) if request.explain else []
    explanation = None
    if request.explain:
        timed = (embed_s, SYSTEM_CLOCK.monotonic() - began_s - embed_s)
        explanation = _explain(asked, embedded and embedded[0], allowed, found, indexes, timed)
    hits = [_hit(*each, piece, request.explain) for each, piece in zip(shown, pieces, strict=True)]
    return schemas.SearchResult(
        *(request.mode, hits, degraded, as_of, explanation),
        facets=counted,
        corrected=[schemas.Correction(each.typed, each.called) for each in read.corrected],
        by_meaning_alone=_why_without_words(request, read, found),
    )


def _explain(
    asked: _AskedSearch,
    space: EmbeddingSpace | None,
    allowed: Allowed,
    found: arms.FoundByArms,
    indexes: list[Any],
    timed: tuple[float, float],
) -> schemas.SearchExplanation:
    """`timed`: the seconds that it took to embed the query, and those of all else."""
    query, read = asked.query, asked.read
    return schemas.SearchExplanation(
        text=read.text,
        terms=list(map(inflected.show_term, read.terms)),
        required=list(query.required),
        excluded=list(query.excluded),
        numbers=list(query.numbers),
        space=space.name if space else None,
        filtered_to=None if allowed.ids is None else len(allowed.ids),
        filtered_each=allowed.filter is not None,
        bounded=allowed.bounded,
        candidates_words=len(found.words.hits),
        candidates_meaning=len(found.listed.meaning),
        words_looked_at=found.words.looked_at,
        words_proved=found.words.proved,
        words_routes=found.words.routes,
        meaning_routes={hit.kind: hit.route for hit in found.listed.meaning},
        indexes=[schemas.IndexRecall(*row) for row in indexes],
        words_share=WORDS_SHARE,
        embed_ms=round(timed[0] * 1000, 3),
        query_ms=round(timed[1] * 1000, 3),
    )


@asynccontextmanager
async def _begin(database: Database, tenant_id: UUID) -> AsyncIterator[Connection]:
    """A transaction of the tenant whose statements have the time of a search."""
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        await connection.execute("select set_config('statement_timeout', $1, true)", str(STATEMENT_MS_MAX))
        yield connection


def _why_without_words(
    request: schemas.SearchRequest, read: reading.QueryReading, found: arms.FoundByArms
) -> schemas.Wordless | None:
    listed = found.listed
    if request.mode == "meaning" or not listed.meaning or listed.words or listed.named or listed.exact:
        return None
    return "no word is found" if read.terms else "no word counts"


def _degrade(request: schemas.SearchRequest, arm: schemas.Arm, error: AdriaticError) -> schemas.Degraded:
    if request.mode == arm:
        raise DependencyUnavailable(
            f"search by {arm} cannot answer now: {error.detail}",
            hint=error.hint or 'try again, or search with mode "words"',
        ) from error
    return schemas.Degraded(arm, error.code, error.detail, error.hint)


async def _other_space(
    connection: Connection, tenant_id: UUID, space: str | None, embedded: arms.Embedded | None
) -> DependencyUnavailable | None:
    """Vectors of two spaces are never compared: what is wrong when the tenant has no vectors in that of the query. One
    that it searched in a moment ago is as complete as the one that it searches in now."""
    if space is None or embedded is None or space == embedded[0].name:
        return None
    if await connection.fetchval(_IS_COMPLETE, tenant_id, embedded[0].name):
        return None
    return DependencyUnavailable(
        f"what is searched is embedded in the space {space}, and queries here in {embedded[0].name}",
        hint="give the API and the flow `embed` the same embedder settings",
    )


_IS_COMPLETE = "select exists (select from mv.kept_spaces($1) k where k.complete and k.space = $2)"


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
        return Allowed(kinds, ids, listed=(kinds, ids))
    listed = (kinds[:LISTED_SOURCES_MAX], ids[:LISTED_SOURCES_MAX])
    if required:
        return Allowed(*listed, bounded=too_many, listed=listed)
    found = await connection.fetch(sql.EXCLUDED, excluded, LISTED_SOURCES_MAX + 1) if excluded else []
    unwanted = ([each["kind"] for each in found], [each["source_id"] for each in found])
    bounded = len(found) > LISTED_SOURCES_MAX
    return Allowed(filter=_filter(request), unwanted=unwanted, bounded=bounded, listed=listed)


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


async def _read_shown(
    connection: Connection, asked: _AskedSearch, candidates: Sequence[Candidate], words: arms.ByWords
) -> list[tuple[Candidate, Any]]:
    """The best with all that is shown of them. Those that were deleted since the flow looked are left out, so more are
    read where not enough are left."""
    shown: list[tuple[Candidate, Any]] = []
    name = identifiers.find_name(asked.query) or (None, None)
    limit = asked.request.limit
    # Look-ups of a few rows by keys, which are planned alike for every tenant: planning takes longer than they do.
    await connection.execute("select set_config('plan_cache_mode', 'force_generic_plan', true)")
    while len(shown) < limit and candidates:
        some, candidates = candidates[: limit + DELETED_MAX], candidates[limit + DELETED_MAX :]
        rows = await connection.fetch(
            sql.SHOWN,
            [each.pair[0] for each in some],
            [each.pair[1] for each in some],
            [each.meaning.version if each.meaning and each.is_by_meaning else None for each in some],
            [each.ordinal for each in some],
            [each.exact for each in some],
            [each.words is not None and each.words.terms is None for each in some],
            limit - len(shown),
            list(words.wanted),
            *name,
        )
        shown += [(some[row["n"] - 1], row) for row in rows]
    return shown


def _terms(candidate: Candidate, row: Any) -> Sequence[str]:
    """The words that the passages of a hit have."""
    return (candidate.words and candidate.words.terms) or row["terms"] or ()


async def _freshness(
    connection: Connection, request: schemas.SearchRequest, by_meaning: bool
) -> schemas.SearchFreshness:
    words = await watermarks.read(connection, watermarks.WORDS_VIEW)
    return schemas.SearchFreshness(
        words=words if request.mode != "meaning" else None,
        meaning=await watermarks.read_meaning(connection, words) if by_meaning else None,
    )


def _hit(candidate: Candidate, row: Any, snippet: schemas.Snippet, explain: bool) -> schemas.Hit:
    source_id = candidate.pair[1]
    return schemas.Hit(
        kind=row["kind"],
        source_id=source_id,
        number=row["number"],
        log=row["log"],
        title=row["title"],
        status=row["status"],
        tags=row["tags"],
        version=row["words_version"],
        effective_at=row["effective_at"],
        score=candidate.score,
        snippet=snippet,
        chunk=schemas.ChunkPlace(
            *(row["chunk_version"], row["chunk_ordinal"], row["heading_path"], row["char_start"], row["char_end"]),
            pages=(row["first_page"], row["last_page"]) if row["first_page"] else None,
        ),
        document=_document(row) if row["origin"] else None,
        path=_path(row, source_id),
        explain=_explain_hit(candidate, row) if explain else None,
    )


def _path(row: Any, source_id: UUID) -> str | None:
    """Where the API shows it. Programs that show a PDF open it at the page that its address names."""
    if row["origin"] == "feed":
        return None
    path = sources.KINDS[row["kind"]].path.format(source_id)
    return f"{path}{schemas.PAGE_MARK}{row['first_page']}" if row["first_page"] and row["media_type"] == PDF else path


def _explain_hit(candidate: Candidate, row: Any) -> schemas.HitExplanation:
    words, meaning = candidate.words, candidate.meaning
    by_words = by_meaning = None
    if words and candidate.words_rank:
        terms = list(map(inflected.show_term, _terms(candidate, row)))
        by_words = schemas.ArmRank(
            *(candidate.words_rank, words.score, candidate.words_part, row["words_version"]),
            ordinal=row["said_ordinal"] if words.ordinal is None else words.ordinal,
            terms=terms,
        )
    if meaning and candidate.meaning_rank:
        by_meaning = schemas.ArmRank(
            *(candidate.meaning_rank, meaning.score, candidate.meaning_part, meaning.version, meaning.ordinal),
            second=meaning.second,
        )
    return schemas.HitExplanation(by_words, by_meaning, candidate.named, candidate.exact, candidate.unlisted_part)


def _document(row: Any) -> schemas.HitDocument:
    return schemas.HitDocument(row["origin"], row["media_type"], row["uri"], row["partial"])
