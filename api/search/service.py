"""A search, in one read-only transaction of the tenant: filters, the arms, their fusion, the snippets, the watermarks.

Owns the rule for an arm that cannot take part: a hybrid search goes on by words and says so, a search by meaning alone
is a 503. Refuses to rank: the functions of `schemas/sql/0010_search_functions.sql` do. Holds no connection while a
query is embedded. Read next: `sql`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from api import watermarks
from api.db import Connection, Database, tenant_transaction
from api.logs import service as logs
from api.search import facets, identifiers, inflected, packed, reading, schemas, snippets, sql
from api.search import query as queries
from api.search.allowed import Allowed
from api.search.embedding import QueryEmbedder
from connectors.embedders import EmbeddingSpace, Vector
from runtime import metrics
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import AdriaticError, DependencyUnavailable
from schemas import sources

CANDIDATES_MAX = 100
"""Most hits of each arm, before fusion."""
ASKED_MAX = 2_000
"""The same before each is asked whether it passes a filter, as `mv.search_words` has it."""
WORDS_SHARE = 0.25
"""Share of the words in a score; the rest is meaning's. Learnt on five of six real histories at a time and reported on
the sixth (`python -m bench.fusion`, docs/decisions/0012): five times 0.25, once 0.20."""
NAMED_SCORE = 4.0
"""What an ADR gets for being asked for by its number: above anything else, which is at most 3."""
EXACT_SCORE = 2.0
"""What a source gets for having the name that the query is: below an ADR of that name, above any fusion, which is at
most 1."""
STATEMENT_MS_MAX = 5_000
"""Time for each statement of a search. The slowest that a healthy database shows takes 0.2 s: common words over 20 000
chunks."""
LISTED_SOURCES_MAX = 20_000
"""Sources that pass a filter and are handed to the arms as a list. A tenant with more passing has a filter that each
candidate is asked by: that ends soon, since so many pass."""
LISTED_PASSAGES_MAX = 30_000
"""The same in passages, where the tenant has an index by meaning: comparing more of them one by one takes longer than
walking the index."""
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
    embedded: tuple[EmbeddingSpace, Vector] | None = None
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
            space = await connection.fetchval("select mv.active_space($1)", tenant_id)
            if space and embedder.turn_to(tenant_id, space) is not lane and not last:
                raise _TurnedElsewhere
            failed = failed or await _other_space(connection, tenant_id, space, embedded)
            embedded = None if failed else embedded
        degraded = [_degrade(request, "meaning", failed)] if failed else []
        allowed = await _find_allowed(connection, tenant_id, request, query)
        chosen = await _choose_by_words(connection, asked, allowed)
        rows = await _hits(connection, asked, embedded, allowed, chosen) if query.text else []
        if chosen and allowed.filter and not any(row["words_candidates"] for row in rows):
            # None of what has the words passes. Words that begin like them are looked for among all.
            chosen = None
            rows = await _hits(connection, asked, embedded, allowed, None)
        shown = await snippets.cut(connection, rows, read.terms)
        as_of = await _freshness(connection, request, embedded is not None)
        indexes = await connection.fetch(sql.INDEXES) if request.explain else []
        # What only excludes finds nothing, so there is nothing to count.
        counts = request.facets and query.text
        counted = await facets.count(connection, request, read.words, read.terms, allowed) if counts else None
    explanation = None
    if request.explain:
        timed = (embed_s, SYSTEM_CLOCK.monotonic() - began_s - embed_s)
        explanation = _explain(asked, embedded and embedded[0], allowed, chosen, rows, indexes, timed)
    hits = [_hit(row, snippet, request.explain) for row, snippet in zip(rows, shown, strict=True)]
    return schemas.SearchResult(
        *(request.mode, hits, degraded, as_of, explanation),
        facets=counted,
        corrected=[schemas.Correction(each.typed, each.called) for each in read.corrected],
        by_meaning_alone=_why_without_words(request, read, rows),
    )


def _explain(
    asked: _AskedSearch,
    space: EmbeddingSpace | None,
    allowed: Allowed,
    chosen: packed.Chosen | None,
    rows: list[Any],
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
        candidates_words=rows[0]["words_candidates"] if rows else 0,
        candidates_meaning=rows[0]["meaning_candidates"] if rows else 0,
        words_looked_at=rows[0]["words_looked_at"] if rows else None,
        words_proved=rows[0]["words_proved"] and (chosen is None or chosen.proved) if rows else None,
        words_routes=chosen.routes if chosen else {},
        meaning_routes=msgspec.json.decode(rows[0]["meaning_routes"] or "{}") if rows else {},
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
    request: schemas.SearchRequest, read: reading.QueryReading, rows: list[Any]
) -> schemas.Wordless | None:
    if (
        not rows
        or request.mode == "meaning"
        or rows[0]["words_candidates"]
        or any(row["named"] or row["exact"] for row in rows)
    ):
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
    connection: Connection, tenant_id: UUID, space: str | None, embedded: tuple[EmbeddingSpace, Vector] | None
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


async def _choose_by_words(connection: Connection, asked: _AskedSearch, allowed: Allowed) -> packed.Chosen | None:
    """The best by words where the tenant has segments. A list of what may be found is ranked in full without them."""
    if asked.request.mode == "meaning" or not asked.query.text or allowed.ids is not None:
        return None
    each_is_asked = allowed.filter or allowed.unwanted[0]
    sources_max = ASKED_MAX if each_is_asked else CANDIDATES_MAX
    only_kind = allowed.filter.get("kind") if allowed.filter else None
    return await packed.choose(connection, asked.tenant_id, asked.read.words, only_kind, sources_max)


async def _hits(
    connection: Connection,
    asked: _AskedSearch,
    embedded: tuple[EmbeddingSpace, Vector] | None,
    allowed: Allowed,
    chosen: packed.Chosen | None,
) -> list[Any]:
    rows: list[Any] = await connection.fetch(
        sql.HITS,
        asked.read.words,
        allowed.kinds,
        allowed.ids,
        asked.request.mode != "meaning",
        embedded[0].name if embedded else None,
        embedded[1] if embedded else None,
        list(asked.query.numbers),
        asked.request.limit,
        CANDIDATES_MAX,
        WORDS_SHARE,
        NAMED_SCORE,
        allowed.filter_json,
        *allowed.unwanted,
        *(identifiers.find_name(asked.query) or (None, None)),
        EXACT_SCORE,
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


def _hit(row: Any, snippet: schemas.Snippet, explain: bool) -> schemas.Hit:
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
        snippet=snippet,
        chunk=schemas.ChunkPlace(
            *(row["version"], row["ordinal"], row["heading_path"], row["char_start"], row["char_end"]),
            pages=(row["first_page"], row["last_page"]) if row["first_page"] else None,
        ),
        document=_document(row) if row["origin"] else None,
        path=_path(row, source_id),
        explain=_explain_hit(row) if explain else None,
    )


def _path(row: Any, source_id: UUID) -> str | None:
    """Where the API shows it. Programs that show a PDF open it at the page that its address names."""
    if row["origin"] == "feed":
        return None
    path = sources.KINDS[row["kind"]].path.format(source_id)
    return f"{path}#page={row['first_page']}" if row["first_page"] and row["media_type"] == PDF else path


def _explain_hit(row: Any) -> schemas.HitExplanation:
    arms = _arm(row, "words"), _arm(row, "meaning")
    return schemas.HitExplanation(*arms, row["named"], row["exact"], row["unlisted_part"])


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
        terms=list(map(inflected.show_term, row["terms"])) if arm == "words" else None,
        second=row["meaning_second"] if arm == "meaning" else None,
    )
