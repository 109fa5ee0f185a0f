"""What two arms found, joined: one score for each source, the best first. Pure.

Owns the sum (docs/decisions/0012): a share of the score by words over the best of them, the rest the mean of the two
nearest passages; what an arm did not list counts there as at most as good as the last that it did; an ADR that was
named by its number, and a source that has the name which the query is, are above. Refuses to find and to read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from api.search.schemas import Route

WORDS_SHARE: Final = 0.25
"""Share of the words in a score; the rest is meaning's. Learnt on five of six real histories at a time and reported on
the sixth (`python -m bench.fusion`, docs/decisions/0012): five times 0.25, once 0.20."""
NAMED_SCORE: Final = 4.0
"""What an ADR gets for being asked for by its number: above anything else, which is at most 3."""
EXACT_SCORE: Final = 2.0
"""What a source gets for having the name that the query is: below an ADR of that name, above any fusion, which is at
most 1."""
DECIMALS: Final = 9
"""Digits of a score that decide an order: how a sum was added up must not."""

Pair = tuple[str, UUID]
"""A source: its kind and its id."""


class WordsHit(NamedTuple):
    """A source that has words of the query. `ordinal` and `terms`: the passage to show and its words, where they are
    known before it is shown."""

    kind: str
    source_id: UUID
    score: float
    ordinal: int | None = None
    terms: Sequence[str] | None = None

    @property
    def pair(self) -> Pair:
        return self.kind, self.source_id


class MeaningHit(NamedTuple):
    """A source near in meaning, by its nearest passage (`score`) and the one behind it (`second`)."""

    kind: str
    source_id: UUID
    version: int
    ordinal: int
    score: float
    route: Route
    second: float

    @property
    def pair(self) -> Pair:
        return self.kind, self.source_id

    @property
    def nearness(self) -> float:
        return (self.score + self.second) / 2


@dataclass(frozen=True, slots=True)
class Listed:
    """What the arms found. `words` and `meaning`: by kind and id, in any order, at most `candidates_max` by words.
    `exact`: sources with the name that the query is."""

    words: Sequence[WordsHit]
    meaning: Sequence[MeaningHit]
    named: Collection[Pair]
    exact: Collection[Pair]
    candidates_max: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A source that may be shown, with all that its score is made of. Ranks begin at 1; an arm that has not listed it
    has null."""

    pair: Pair
    score: float
    words: WordsHit | None
    words_rank: int | None
    words_part: float
    meaning: MeaningHit | None
    meaning_rank: int | None
    meaning_part: float
    unlisted_part: float
    named: bool
    exact: bool

    @property
    def is_by_meaning(self) -> bool:
        """Whether the passage that is shown is that of the arm of meaning: of the arm that ranks the source higher."""
        if self.exact or self.meaning_rank is None:
            return False
        return self.words_rank is None or self.meaning_rank < self.words_rank

    @property
    def ordinal(self) -> int | None:
        """The passage to show; null: that which has the name, or else that which says most of the words."""
        if self.exact:
            return None
        if self.meaning is not None and self.is_by_meaning:
            return self.meaning.ordinal
        if self.words is not None:
            return self.words.ordinal
        return 0


def put_best_first(hits: Iterable[WordsHit]) -> list[WordsHit]:
    """Order hits by their score, and of equals that of the lower kind and id, as the database has it."""
    return sorted(hits, key=lambda hit: (-hit.score, hit.kind, hit.source_id.int))


def fuse(found: Listed) -> list[Candidate]:
    """All that was found, the best first; of equals that of the lower kind and id."""
    by_words = put_best_first(found.words)
    by_meaning = sorted(found.meaning, key=lambda hit: (-round(hit.nearness, DECIMALS), hit.kind, hit.source_id.int))
    words = {hit.pair: (rank, hit) for rank, hit in enumerate(by_words, start=1)}
    meaning = {hit.pair: (rank, hit) for rank, hit in enumerate(by_meaning, start=1)}
    best = by_words[0].score if by_words else 0.0
    # What an arm did not list is at most as good as the last that it did.
    least_words = by_words[-1].score if len(by_words) >= found.candidates_max else 0.0
    least_meaning: dict[str, float] = {}
    for hit in by_meaning:
        least_meaning[hit.kind] = min(hit.second, least_meaning.get(hit.kind, hit.second))
    least_of_all = min(least_meaning.values(), default=0.0)
    candidates = []
    for pair in {*words, *meaning, *found.named, *found.exact}:
        words_rank, by_word = words.get(pair, (None, None))
        meaning_rank, near = meaning.get(pair, (None, None))
        words_part = WORDS_SHARE * by_word.score / best if by_word and best else 0.0
        meaning_part = (1 - WORDS_SHARE) * near.nearness if near else 0.0
        unlisted = WORDS_SHARE * least_words / best if by_word is None and best else 0.0
        if near is None:
            unlisted += (1 - WORDS_SHARE) * least_meaning.get(pair[0], least_of_all)
        named, exact = pair in found.named, pair in found.exact
        score = words_part + meaning_part + unlisted
        score += NAMED_SCORE * named + EXACT_SCORE * exact
        candidates.append(
            Candidate(
                *(pair, score, by_word, words_rank, words_part, near, meaning_rank, meaning_part),
                *(unlisted, named, exact),
            )
        )
    return sorted(candidates, key=lambda each: (-round(each.score, DECIMALS), each.pair[0], each.pair[1].int))
