"""The steps of research, each of which takes a state and gives the next: search, rank anew, compose.

Owns what each step asks of the search, of the reranker and of the database, and how much of it. A step writes nothing:
whoever runs it keeps the state (`api/research/job.py`), so a step that was cut off is done again and changes nothing.
A reranker that cannot answer is said, and the order of the search stands. Refuses rules (`passes`, `composing`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final
from uuid import UUID

import msgspec

from api.chat.grounding import strip_operators
from api.db import Database
from api.jobs.service import JobError
from api.jobs.wanted import WorkerHold
from api.research import passes
from api.research.authoring import ResearchAuthor
from api.research.citing import CitedPlace, read_pages, read_places
from api.research.composing import (
    ComposedAnswer,
    PassageText,
    assemble,
    compose,
    is_answered,
    merge_written,
    open_at_pages,
    place_claim,
    place_of,
)
from api.research.passes import FoundPassage, PassageKey, PlannedQuery, ResearchDraft, ResearchState
from api.research.questions import decompose
from api.research.schemas import ResearchPass, ResearchRequest, ResearchResult
from api.research.writing import check_draft
from api.search import service as searching
from api.search.embedding import QueryEmbedder
from api.search.query import QUERY_CHARS_MAX
from api.search.schemas import Hit, SearchRequest, SearchResult
from api.withdrawn import NamedSource
from connectors.rerankers import Reranker
from runtime.errors import AdriaticError
from runtime.logs import get_logger

log = get_logger("research")

RERANKED_MAX: Final = 40
"""Passages that are ranked anew: late interaction takes some 20 ms for each, so all of them about a second."""
AT_ONCE: Final = 3
"""Searches of one question that run at a time, of the few connections that research has."""
TOP: Final = 10
"""Passages that count when it is asked what is missing."""


BuildAuthor = Callable[[Database, AsyncExitStack], Awaitable[ResearchAuthor]]
NO_MODEL: Final = JobError("no-model", "no chat model is set", "set llm.provider and llm.model, or ask without write")
NOTHING_TO_WRITE: Final = JobError("nothing-found", "the sources hold no answer, so no model was asked", "")


class Researcher:
    """Makes the steps of one process. `build_reranker` is called at the first use, in a thread, and `build_author` too;
    without one, no model writes."""

    def __init__(
        self,
        database: Database,
        embedder: QueryEmbedder,
        build_reranker: Callable[[], Reranker],
        build_author: BuildAuthor | None = None,
    ) -> None:
        self.database = database
        self._embedder = embedder
        self._build_reranker = build_reranker
        self._reranker: Reranker | None = None
        self._build_author = build_author
        self._author: ResearchAuthor | None = None
        self._stack = AsyncExitStack()
        self._building = asyncio.Lock()

    async def close(self) -> None:
        await self._stack.aclose()
        if self._reranker is not None:
            self._reranker.close()

    @staticmethod
    def begin(request: ResearchRequest) -> ResearchState:
        """The state before the first search: the question taken apart."""
        question = strip_operators(request.question)
        parts = [strip_operators(part) for part in decompose(request.question)]
        parts = [part for part in parts if part] or [question]
        return ResearchState(parts=parts, planned=passes.plan_first(question, parts))

    async def search(self, tenant_id: UUID, request: ResearchRequest, state: ResearchState) -> ResearchState:
        """One round: what is planned is searched for, and the next is planned, if something is missing and another
        round is left. Raises what a search raises that no arm can answer."""
        rankings = await self._search_all(tenant_id, request, state)
        known = {each.key for each in state.found}
        found = passes.merge(state.found, [(query.handicap, ranking) for query, ranking, _ in rankings])
        asked = [*state.asked, *(each.text for each in state.planned)]
        best = found[:TOP]
        texts = await self.read(tenant_id, best)
        missing = passes.find_missing(state.parts, [each.context for each in texts])
        told = ResearchPass(
            *([each.text for each in state.planned], sum(each.key not in known for each in found), list(missing)),
            words_of=state.words_of,
        )
        is_first = not state.passes
        planned: list[PlannedQuery] = []
        words_of: list[NamedSource] = []
        if len(state.passes) + 1 < request.passes:
            planned = passes.plan_gaps(missing, asked)
        if request.expand and is_first:
            pairs = [(each.passage, each.text) for each in texts]
            question = strip_operators(request.question)
            expansion = passes.plan_expansion(question, pairs, asked)
            planned = [*expansion, *planned][: passes.QUERIES_MAX]
            if expansion:
                lenders = pairs[: passes.FEEDBACK_SOURCES]
                words_of = [NamedSource(each.key.kind, each.key.source_id) for each, _ in lenders]
        last = rankings[-1][2] if rankings else None
        return msgspec.structs.replace(
            state,
            planned=planned,
            asked=asked,
            found=found,
            passes=[*state.passes, told],
            words_of=words_of,
            degraded=next((each.degraded for _, _, each in rankings if each.degraded), state.degraded),
            as_of=last.as_of if last else state.as_of,
        )

    async def rerank(self, tenant_id: UUID, request: ResearchRequest, state: ResearchState) -> ResearchState:
        """Rank the best passages anew, each with its title and heading. Where that cannot be, the order of the search
        stands, and the result says why."""
        texts = await self.read(tenant_id, state.found[:RERANKED_MAX])
        if not texts:  # what was found is gone
            return msgspec.structs.replace(state, found=state.found[RERANKED_MAX:])
        try:
            reranker = await self._open_reranker()
            contexts = [each.context for each in texts]
            scores = await asyncio.to_thread(reranker.score, state.parts, contexts)
        except AdriaticError as error:
            log.warning("passages keep the order of the search", code=error.code, detail=error.detail)
            told = JobError(error.code, error.detail, error.hint)
            return msgspec.structs.replace(state, rerank_error=told)
        keys = [each.passage.key for each in texts]
        by_part = [dict(zip(keys, each, strict=True)) for each in scores]
        return msgspec.structs.replace(state, found=passes.rerank(state.found, by_part), reranked=reranker.name)

    async def write(self, hold: WorkerHold, request: ResearchRequest, state: ResearchState) -> ResearchState:
        """Have a model write the answer from what was found. Where it cannot be, the answer is quotes, and the result
        says why. It is not asked where the sources hold nothing: what it wrote then would be its own."""
        context = assemble(await self.read(hold.tenant_id, state.found), request.sources)
        if not any(part.answered for part in compose(state.parts, context).parts):
            draft = ResearchDraft(error=NOTHING_TO_WRITE)
        else:
            author = await self._open_author()
            draft = await author.write(hold, state.parts, context) if author else ResearchDraft(error=NO_MODEL)
        return msgspec.structs.replace(state, draft=draft)

    async def answer(self, tenant_id: UUID, request: ResearchRequest, state: ResearchState) -> ResearchResult:
        """What the sources say, every citation checked against the version that it names."""
        texts = await self.read(tenant_id, state.found)
        context = assemble(texts, request.sources)
        composed: ComposedAnswer = compose(state.parts, context)
        draft, written = state.draft, None
        if draft is not None and draft.error is None:
            there = {each.passage.key: each for each in texts}
            checked = check_draft(
                draft.text, [there.get(key) for key in draft.offered], {each.place: each.text for each in texts}
            )
            composed, written = merge_written(composed, draft.model, checked)
        told = [claim for part in composed.parts for claim in part.claims] + (written.claims if written else [])
        pages = await read_pages(self.database, tenant_id, [place_claim(each, composed.sources) for each in told])
        if written is not None:
            written = msgspec.structs.replace(written, claims=open_at_pages(written.claims, composed.sources, pages))
        return ResearchResult(
            answered=is_answered(composed.parts, written),
            sources=composed.sources,
            parts=[
                msgspec.structs.replace(part, claims=open_at_pages(part.claims, composed.sources, pages))
                for part in composed.parts
            ],
            text=composed.text,
            passes=state.passes,
            reranked=state.reranked,
            rerank_error=state.rerank_error,
            written=written,
            write_error=draft.error if draft else None,
            degraded=state.degraded,
            as_of=state.as_of,
        )

    async def read(self, tenant_id: UUID, found: Sequence[FoundPassage]) -> list[PassageText]:
        """Passages with their texts, in order; what is gone meanwhile is left out."""
        texts: Mapping[CitedPlace, str] = await read_places(self.database, tenant_id, list(map(place_of, found)))
        return [PassageText(each, texts[place]) for each in found if (place := place_of(each)) in texts]

    async def _search_all(
        self, tenant_id: UUID, request: ResearchRequest, state: ResearchState
    ) -> list[tuple[PlannedQuery, list[FoundPassage], SearchResult]]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def ask(query: PlannedQuery) -> tuple[PlannedQuery, list[FoundPassage], SearchResult]:
            async with gate:
                wanted = _as_search(request, query.text)
                result = await searching.search(self.database, self._embedder, tenant_id, wanted)
            return query, list(map(_as_passage, result.hits)), result

        return list(await asyncio.gather(*map(ask, state.planned)))

    async def _open_author(self) -> ResearchAuthor | None:
        async with self._building:
            if self._author is None and self._build_author is not None:
                self._author = await self._build_author(self.database, self._stack)
            return self._author

    async def _open_reranker(self) -> Reranker:
        async with self._building:
            if self._reranker is None:
                self._reranker = await asyncio.to_thread(self._build_reranker)
            return self._reranker


def _as_search(request: ResearchRequest, text: str) -> SearchRequest:
    """A query with the filters of the request. A question has words that no text here has, and means them."""
    return SearchRequest(
        text[:QUERY_CHARS_MAX],
        status=request.status,
        tag=request.tag,
        log=request.log,
        author=request.author,
        since=request.since,
        until=request.until,
        kind=request.kind,
        limit=passes.HITS_EACH,
        correct=False,
    )


def _as_passage(hit: Hit) -> FoundPassage:
    return FoundPassage(
        key=PassageKey(hit.kind, hit.source_id, hit.chunk.version, hit.chunk.ordinal),
        char_start=hit.chunk.char_start,
        char_end=hit.chunk.char_end,
        title=hit.title,
        heading=hit.chunk.heading_path,
        status=hit.status,
        label=None if hit.number is None else f"ADR-{hit.number}",
        log=hit.log,
        path=hit.path,
        place=0.0,
    )
