"""`/v1/search`: the same search as a link (GET) and as a document (POST)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from litestar import Controller, Response
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from api import watermarks
from api.adrs.document import Status
from api.auth.roles import NEEDS_READ
from api.auth.users import Principal
from api.db import Database
from api.requests import require_zone
from api.routes import By, Db, body, get, post
from api.search import schemas, service
from api.search.embedding import QueryEmbedder
from api.search.query import QUERY_CHARS_MAX
from schemas import sources, text

_REQUEST = {
    "q": "why is there no dual write",
    "mode": "hybrid",
    "status": ["accepted"],
    "limit": 5,
    "explain": True,
    "facets": ["status"],
}
_AS_OF = {"state": "fresh", "lsn": "0/1A2B3C8", "time": "2026-01-15T09:00:00Z", "age_s": 0.8}
_ARM = {"rank": 1, "score": 9.83, "contribution": 0.25, "version": 2, "ordinal": 3}
_RESULT = {
    "mode": "hybrid",
    "hits": [
        {
            "kind": "adr",
            "source_id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
            "number": 2,
            "log": "main",
            "title": "Everything enters Kafka through the WAL",
            "status": "accepted",
            "tags": ["kafka"],
            "version": 2,
            "effective_at": "2026-01-12T10:00:00Z",
            "score": 0.685,
            "snippet": {
                "text": "Nobody writes twice. A dual write fails in the middle",
                "highlights": [[7, 13], [23, 33]],
            },
            "chunk": {
                "version": 2,
                "ordinal": 3,
                "heading_path": "Decision Outcome",
                "char_start": 812,
                "char_end": 1790,
            },
            "path": "/v1/adrs/0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
            "explain": {
                "words": _ARM | {"terms": ["dual", "write"]},
                "meaning": _ARM | {"score": 0.61, "second": 0.55, "contribution": 0.435},
                "named": False,
                "exact": False,
            },
        }
    ],
    "degraded": [],
    "as_of": {"words": _AS_OF, "meaning": _AS_OF},
    "corrected": [{"from": "wirte", "to": "write"}],
    "facets": {
        "of": "sources with a word",
        "sources": 9,
        "at_least": False,
        "by": {"status": {"values": [{"value": "accepted", "count": 8}, {"value": "rejected", "count": 1}], "more": 0}},
    },
    "explain": {
        "text": "why is there no dual write",
        "terms": ["dual", "write"],
        "required": [],
        "excluded": [],
        "numbers": [],
        "space": "minilm/all-MiniLM-L6-v2-int8@bb8c5045854c/384",
        "filtered_to": 14,
        "filtered_each": False,
        "bounded": False,
        "candidates_words": 9,
        "candidates_meaning": 14,
        "words_looked_at": None,
        "words_proved": True,
        "words_routes": {"adr": "segments"},
        "meaning_routes": {"adr": "index"},
        "indexes": [{"kind": "adr", "recall": 0.995, "measured_at": "2026-03-01T09:00:00Z"}],
        "words_share": 0.25,
        "embed_ms": 2.4,
        "query_ms": 6.1,
    },
}
_DESCRIPTION = "The best hits, best first. `degraded` names an arm that could not take part."

_Statuses = Annotated[list[Status] | None, QueryParameter(max_items=schemas.VALUES_MAX, description="One of these.")]
_Values = Annotated[
    list[str] | None, QueryParameter(max_items=schemas.VALUES_MAX, description="Repeat it for several values.")
]
_Value = Annotated[str | None, QueryParameter(max_length=schemas.VALUE_CHARS_MAX, description="One value.")]


class SearchController(Controller):
    """Search by words, by meaning, and both."""

    path = "/v1/search"
    tags = ("search",)
    opt = NEEDS_READ

    @get("/", "Search, as a link", _RESULT, _DESCRIPTION)
    async def search_by_link(
        self,
        database: Db,
        embedder: NamedDependency[QueryEmbedder],
        principal: By,
        q: Annotated[
            str,
            QueryParameter(
                pattern=text.BODY,
                min_length=1,
                max_length=QUERY_CHARS_MAX,
                description='Words, "required phrases", -exclusions, or the name of an ADR like ADR-12.',
            ),
        ],
        mode: Annotated[
            schemas.Mode, QueryParameter(description="By words (BM25), by meaning (vectors), or both joined.")
        ] = "hybrid",
        status: _Statuses = None,
        tag: _Values = None,
        log: _Value = None,
        author: _Value = None,
        since: Annotated[
            datetime | None, QueryParameter(description="In effect at or after this time (with its zone).")
        ] = None,
        until: Annotated[
            datetime | None, QueryParameter(description="In effect before this time (with its zone).")
        ] = None,
        limit: Annotated[
            int, QueryParameter(ge=1, le=schemas.LIMIT_MAX, description="Hits at most.")
        ] = schemas.LIMIT_DEFAULT,
        explain: Annotated[bool, QueryParameter(description="Say how each hit got its place.")] = False,
        kind: Annotated[sources.Kind | None, QueryParameter(description="Sources of this kind only.")] = None,
        typing: Annotated[bool, QueryParameter(description=schemas.TYPING)] = False,
        correct: Annotated[bool, QueryParameter(description=schemas.CORRECT)] = True,
        facets: Annotated[
            list[schemas.Facet] | None, QueryParameter(max_items=schemas.FACETS_MAX, description=schemas.FACETS)
        ] = None,
        position: watermarks.Position = None,
    ) -> Response[schemas.SearchResult]:
        """Statuses are alternatives, tags are all required, and filters are joined by and."""
        require_zone("since", since)
        require_zone("until", until)
        request = schemas.SearchRequest(
            *(q, mode, status or [], tag or [], log, author, since, until, limit, explain, kind),
            typing=typing,
            correct=correct,
            facets=facets or [],
        )
        await _wait_for_position(database, principal, position, mode)
        return _answer(await service.search(database, embedder, principal.tenant_id, request))

    @post("/", "Search", _RESULT, _DESCRIPTION, errors=(413, 415))
    async def search(
        self,
        database: Db,
        embedder: NamedDependency[QueryEmbedder],
        principal: By,
        data: Annotated[schemas.SearchRequest, body("Search", _REQUEST)],
        position: watermarks.Position = None,
    ) -> Response[schemas.SearchResult]:
        """The query in the body: it does not end up in logs of addresses. The answer is that of the link."""
        await _wait_for_position(database, principal, position, data.mode)
        return _answer(await service.search(database, embedder, principal.tenant_id, data))


async def _wait_for_position(
    database: Database, principal: Principal, position: str | None, mode: schemas.Mode
) -> None:
    """Wait for the position. The mode `hybrid` waits for words alone: `as_of.meaning` says how far the other arm is."""
    words, meaning = watermarks.WORDS_VIEW, mode == "meaning"
    await watermarks.wait_until_shown(database, principal.tenant_id, words, position, meaning=meaning)


def _answer(result: schemas.SearchResult) -> Response[schemas.SearchResult]:
    """Set the watermark of the arm that is furthest behind, for clients that do not look into the body."""
    order = ("fresh", "stale", "unknown")
    used = [as_of for as_of in (result.as_of.words, result.as_of.meaning) if as_of is not None]
    behind = max(used, key=lambda as_of: (order.index(as_of.state), as_of.age_s or 0.0))
    return Response(result, headers=behind.headers())
