"""The rounds of searching, without doing any: what to search for, what was found, what is missing. Pure.

Owns the queries of each round, the joining of their rankings, and the gaps after it. The question is always among the
queries, as it was asked: whatever else is searched for counts less, so that no expansion drowns it. Refuses I/O
(`api/research/researcher.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

import msgspec

from api.jobs.service import JobError
from api.research.schemas import ResearchPass
from api.research.words import find_words, stems_of
from api.search.schemas import Degraded, SearchFreshness
from api.search.service import FUSION_K
from schemas.sources import Kind

CANDIDATES_MAX: Final = 60
"""Passages that are kept between rounds. What ranks below is no source of an answer of twenty."""
HITS_EACH: Final = 30
"""Hits of each query."""
QUERIES_MAX: Final = 8
"""Queries of one round, each of which takes some 20 ms."""
PART_WEIGHT, GAP_WEIGHT, EXPANSION_WEIGHT = 0.6, 0.4, 0.3
"""What a rank counts beside that for the question itself, which counts 1: of a part, of a gap, of an expansion."""
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
    """A passage as the search gave it. `score` is the sum over queries, `late` that of the reranker, where there is
    one."""

    key: PassageKey
    char_start: int
    char_end: int
    title: str
    heading: str
    status: str
    label: str | None
    log: str | None
    path: str | None
    score: float
    late: float | None = None


class PlannedQuery(msgspec.Struct, frozen=True):
    """What to search for, and what a rank in it counts."""

    text: str
    weight: float


class ResearchState(msgspec.Struct):
    """Where research stands between two steps: all that the next one needs."""

    parts: list[str] = []
    planned: list[PlannedQuery] = []
    asked: list[str] = []
    found: list[FoundPassage] = []
    passes: list[ResearchPass] = []
    reranked: str | None = None
    rerank_error: JobError | None = None
    degraded: list[Degraded] = []
    as_of: SearchFreshness | None = None


def plan_first(question: str, parts: Sequence[str]) -> list[PlannedQuery]:
    """The question, and its parts where it has several."""
    planned = [PlannedQuery(question, 1.0)]
    if list(parts) != [question]:
        planned += [PlannedQuery(part, PART_WEIGHT) for part in parts]
    return _distinct(planned, ())


def merge(
    found: Sequence[FoundPassage], rankings: Iterable[tuple[float, Sequence[FoundPassage]]]
) -> list[FoundPassage]:
    """What was found, and what each ranking adds to it, best first: rank by rank, as the arms of a search are joined.
    A passage that is there already keeps its place in it."""
    by_key = {each.key: msgspec.structs.replace(each) for each in found}
    for weight, ranking in rankings:
        for rank, passage in enumerate(ranking, 1):
            there = by_key.setdefault(passage.key, msgspec.structs.replace(passage, score=0.0))
            there.score += weight / (FUSION_K + rank)
    return sorted(by_key.values(), key=lambda each: (-each.score, each.key))[:CANDIDATES_MAX]


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
        planned.append(PlannedQuery(" ".join(words), GAP_WEIGHT))
        planned.append(PlannedQuery(part, GAP_WEIGHT))
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
    return _distinct([PlannedQuery(f"{question} {' '.join(words)}", EXPANSION_WEIGHT)], asked)


def best_of_sources(found: Iterable[FoundPassage]) -> list[FoundPassage]:
    """The best passage of each source, in the order of all."""
    seen: dict[tuple[Kind, UUID], FoundPassage] = {}
    for each in found:
        seen.setdefault((each.key.kind, each.key.source_id), each)
    return list(seen.values())


def rank(found: Sequence[FoundPassage]) -> list[FoundPassage]:
    """By the reranker where it has ranked, and behind those by the search."""
    return sorted(found, key=lambda each: (each.late is None, -(each.late or 0.0), -each.score, each.key))


def _distinct(planned: Iterable[PlannedQuery], asked: Sequence[str]) -> list[PlannedQuery]:
    """Each query once, and none that was asked before; at most `QUERIES_MAX`."""
    known = {each.casefold() for each in asked}
    fresh = []
    for each in planned:
        if each.text.strip() and each.text.casefold() not in known:
            known.add(each.text.casefold())
            fresh.append(each)
    return fresh[:QUERIES_MAX]
