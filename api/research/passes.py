"""The rounds of searching, without doing any: what to search for, what was found, what is missing. Pure.

Owns the queries of each round, the joining of their rankings, and the gaps after it. A passage has the best place that
any query gives it: what is first for one part of a question is the answer to that part, however far down it is for the
others. Sums of ranks, as they join the arms of a search, put first what is nowhere first (`adriatic eval research`,
nDCG@10 0.65 against 0.85). The question itself is always among the queries, as it was asked, and the others have a
handicap. Refuses I/O (`api/research/researcher.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal
from uuid import UUID

import msgspec

from api.jobs.service import JobError
from api.research.schemas import ResearchPass, ResearchRequest
from api.research.words import find_words, stems_of
from api.search.schemas import Degraded, SearchFreshness
from api.withdrawn import NamedSource
from schemas.sources import Kind

CANDIDATES_MAX: Final = 60
"""Passages that are kept between rounds. What ranks below is no source of an answer of twenty."""
HITS_EACH: Final = 30
"""Hits of each query."""
QUERIES_MAX: Final = 8
"""Queries of one round, each of which takes some 20 ms."""
PART_HANDICAP, EXPANSION_HANDICAP, GAP_HANDICAP = 0.5, 5.0, 15.0
"""Places that a ranking stands behind that of the question: a part's comes right after it, and what a guess finds
pushes nothing out of the first ones."""
LATE_SHARE: Final = 0.5
"""What the order of the reranker counts beside that of the search."""
FUSION_K: Final = 60
"""The constant of reciprocal rank fusion, from the paper that proposed it (Cormack, Clarke, Büttcher, SIGIR 2009): the
scores of a reranker have no scale that is known, and those of several searches none in common."""
COVERED_MIN: Final = 0.6
"""The share of a part's words that one passage must have for the part not to be missing."""
FEEDBACK_SOURCES: Final = 4
"""Sources whose words an expansion takes: further down, feedback drifts."""
FEEDBACK_WORDS_MAX: Final = 6
FEEDBACK_IN_MIN: Final = 2
"""Sources that must share a word for it to be about the question and not about one of them."""


class PassageKey(msgspec.Struct, frozen=True, order=True):
    """Which passage of which version: what a citation rests on."""

    kind: Kind
    source_id: UUID
    version: int
    ordinal: int


class FoundPassage(msgspec.Struct):
    """A passage as the search gave it. `place` is its best one, handicaps included."""

    key: PassageKey
    char_start: int
    char_end: int
    title: str
    heading: str
    status: str
    label: str | None
    log: str | None
    path: str | None
    place: float


class PlannedQuery(msgspec.Struct, frozen=True):
    """What to search for, and how many places its ranking stands behind."""

    text: str
    handicap: float


class ResearchDraft(msgspec.Struct, frozen=True):
    """What a model wrote, and the passages that it was given, in the order of their numbers. Nothing of it is checked
    yet. `error`: why there is nothing."""

    model: str = ""
    text: str = ""
    offered: list[PassageKey] = []
    error: JobError | None = None


class ResearchState(msgspec.Struct):
    """Where research stands between two steps: all that the next one needs."""

    parts: list[str] = []
    planned: list[PlannedQuery] = []
    asked: list[str] = []
    found: list[FoundPassage] = []
    passes: list[ResearchPass] = []
    words_of: list[NamedSource] = []
    """Sources whose words an expansion that is planned takes."""
    reranked: str | None = None
    rerank_error: JobError | None = None
    draft: ResearchDraft | None = None
    degraded: list[Degraded] = []
    as_of: SearchFreshness | None = None


NextStep = Literal["search", "rerank", "write", "answer"]


def choose_step(request: ResearchRequest, state: ResearchState) -> NextStep:
    """What comes next. A round is done when one is planned: each round plans the next within the bound on rounds, and
    the first one that of an expansion, which is no further round of looking for what is missing."""
    if state.planned:
        return "search"
    if request.rerank and state.reranked is None and state.rerank_error is None and state.found:
        return "rerank"
    if request.write and state.draft is None and state.found:
        return "write"
    return "answer"


def plan_first(question: str, parts: Sequence[str]) -> list[PlannedQuery]:
    """The question, and its parts where it has several."""
    planned = [PlannedQuery(question, 0.0)]
    if list(parts) != [question]:
        planned += [PlannedQuery(part, PART_HANDICAP) for part in parts]
    return _distinct(planned, ())


def merge(
    found: Sequence[FoundPassage], rankings: Iterable[tuple[float, Sequence[FoundPassage]]]
) -> list[FoundPassage]:
    """What was found before and by these rankings, each with its handicap; the best place first."""
    by_key = {each.key: each for each in found}
    for handicap, ranking in rankings:
        for rank, passage in enumerate(ranking, 1):
            there = by_key.get(passage.key)
            if there is None or rank + handicap < there.place:
                by_key[passage.key] = msgspec.structs.replace(passage, place=rank + handicap)
    return sorted(by_key.values(), key=lambda each: (each.place, each.key))[:CANDIDATES_MAX]


def find_missing(parts: Sequence[str], texts: Iterable[str]) -> dict[str, frozenset[str]]:
    """The parts that no text covers, and of each the words that its best text lacks. A part of which no word counts is
    never missing."""
    spoken = list(map(stems_of, texts))
    missing = {}
    for part in parts:
        wanted = stems_of(part)
        best = max(spoken, key=lambda stems: len(wanted & stems), default=frozenset[str]())
        if wanted and len(wanted & best) / len(wanted) < COVERED_MIN:
            missing[part] = wanted - best
    return missing


def plan_gaps(missing: Mapping[str, frozenset[str]], asked: Sequence[str]) -> list[PlannedQuery]:
    """Queries for what is missing: the words that nothing found has, and the part alone."""
    planned = []
    for part, stems in missing.items():
        words = [part[word.start : word.end] for word in find_words(part) if word.stem in stems]
        planned.append(PlannedQuery(" ".join(words), GAP_HANDICAP))
        planned.append(PlannedQuery(part, GAP_HANDICAP))
    return _distinct(planned, asked)


def plan_expansion(question: str, best: Sequence[tuple[FoundPassage, str]], asked: Sequence[str]) -> list[PlannedQuery]:
    """The question with words that the best sources share and it does not have (pseudo relevance feedback), in the
    spelling that they have there. `best`: passages with their texts, one a source, best first."""
    known = stems_of(question)
    spelled: dict[str, str] = {}
    shared: Counter[str] = Counter()
    for passage, body in best[:FEEDBACK_SOURCES]:
        text = f"{passage.title}\n{body}"
        stems: dict[str, str] = {}
        for word in find_words(text):
            stems.setdefault(word.stem, text[word.start : word.end])
        shared.update(stems.keys() - known)
        spelled = stems | spelled
    chosen = [
        each for each, count in sorted(shared.items(), key=lambda item: (-item[1], item[0])) if count >= FEEDBACK_IN_MIN
    ]
    words = [spelled[each] for each in chosen if not each.isdigit()][:FEEDBACK_WORDS_MAX]
    if not words:
        return []
    return _distinct([PlannedQuery(f"{question} {' '.join(words)}", EXPANSION_HANDICAP)], asked)


def best_of_sources(found: Iterable[FoundPassage]) -> list[FoundPassage]:
    """The best passage of each source, in the order of all."""
    seen: dict[tuple[Kind, UUID], FoundPassage] = {}
    for each in found:
        seen.setdefault((each.key.kind, each.key.source_id), each)
    return list(seen.values())


def rerank(found: Sequence[FoundPassage], scores: Sequence[Mapping[PassageKey, float]]) -> list[FoundPassage]:
    """The passages that have scores, in an order that is half theirs and half the search's; behind them the others.
    `scores` are those of one reranker, one mapping for each part: scores for two questions are not compared, so a
    passage has the best rank that any part gives it."""
    best: dict[PassageKey, int] = {}
    for each in scores:
        for place, key in enumerate(sorted(each, key=lambda key: (-each[key], key)), 1):
            best[key] = min(place, best.get(key, place))
    late = {key: place for place, key in enumerate(sorted(best, key=lambda key: (best[key], key)), 1)}

    def score(item: tuple[int, FoundPassage]) -> tuple[bool, float]:
        place, passage = item
        ranked = late.get(passage.key)
        if ranked is None:
            return True, place
        return False, -(LATE_SHARE / (FUSION_K + ranked) + (1 - LATE_SHARE) / (FUSION_K + place))

    return [passage for _, passage in sorted(enumerate(found, 1), key=score)]


def _distinct(planned: Iterable[PlannedQuery], asked: Sequence[str]) -> list[PlannedQuery]:
    """Each query once, and none that was asked before; at most `QUERIES_MAX`."""
    known = {each.casefold() for each in asked}
    fresh = []
    for each in planned:
        if each.text.strip() and each.text.casefold() not in known:
            known.add(each.text.casefold())
            fresh.append(each)
    return fresh[:QUERIES_MAX]
