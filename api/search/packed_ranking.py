"""Scores of all sources that have one of the words, added up from packed lists. Pure.

Owns BM25 as `mv.search_words_exact` has it: in single precision of all, which decides nothing, and in double precision
of whatever might be among the best. Refuses to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self
from uuid import UUID

import numpy as np
import numpy.typing as npt

from connectors.postgres.word_segments import Ids, Places, as_ids, as_places, as_uuids, find_places

K1, B = 1.5, 0.75
DENSE_SHARE = 8
"""A list that has an eighth of a segment is kept as a count for each source: adding all of them up without looking for
places is faster, and takes no more room."""
QUARTERS = 4
"""Counts are quarters, as small as they come, so most of a dense list is one byte each."""
EQUAL_SHARE = 4e-6
"""The share of the best score that rounding may add to a sum of 32 words, or take away."""
EQUAL_MAX = 400
"""Sources beyond those that were asked for which score like the last of them. More are texts that are repeated: those
with the lowest ids are handed on, as an exact search would."""
DECIMALS = 9
"""Digits of a score, as the database rounds it: how a sum was added up must not decide a tie."""
PLACE_BITS = 16
"""Bits of a place in a segment, which has 32768 at most."""
BYTES_OF_AN_OBJECT = 500
"""Room of a list beside its numbers."""

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WordSegment:
    """The sources of a segment: ids in their order, lengths, and places that are dead."""

    ids: Ids
    lengths: Floats
    dead: Places
    dead_count: int
    room: int

    @classmethod
    def read(cls, ids: bytes, lengths: bytes, dead: bytes) -> Self:
        """The columns of `mv.word_segments`, read."""
        places = as_places(dead)
        room = len(ids) + len(lengths) + places.nbytes + BYTES_OF_AN_OBJECT
        return cls(as_ids(ids), np.frombuffer(lengths, dtype=">i4").astype(np.float32), places, len(places), room)


@dataclass(frozen=True, slots=True)
class WordList:
    """Which sources of a segment have a word, in order, and how often, in quarters. `places` is None where `quarters`
    has a number for each source from the first on."""

    places: npt.NDArray[np.uint16] | None
    quarters: npt.NDArray[np.uint8] | Floats
    room: int

    @classmethod
    def read(cls, places: bytes, counts: bytes, sources: int) -> Self:
        """The columns of `mv.word_pages`, read in a segment of so many sources."""
        at = np.frombuffer(places, dtype=">u2").astype(np.uint16)
        quarters: npt.NDArray[np.uint8] | Floats = np.frombuffer(counts, dtype=">f4").astype(np.float32) * QUARTERS
        if len(at) * DENSE_SHARE < sources:
            order = np.argsort(at)
            return cls(at[order], quarters[order], at.nbytes + quarters.nbytes + BYTES_OF_AN_OBJECT)
        narrow = quarters.max() <= np.iinfo(np.uint8).max
        dense: npt.NDArray[np.uint8] | Floats = np.zeros(sources, np.uint8) if narrow else np.zeros(sources, np.float32)
        dense[at] = quarters
        return cls(None, dense, dense.nbytes + BYTES_OF_AN_OBJECT)

    def count(self, places: Places) -> Doubles:
        """How often the word is in the sources at these places."""
        if self.places is None:
            return self.quarters[places].astype(np.float64) / QUARTERS
        counts = np.zeros(len(places))
        if len(self.places):
            at = np.minimum(np.searchsorted(self.places, places), len(self.places) - 1)
            has = self.places[at] == places
            counts[has] = self.quarters[at[has]].astype(np.float64) / QUARTERS
        return counts


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the query: its rarity, and its list in each segment."""

    idf: float
    lists: Sequence[WordList]


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many of the best are wanted, of which so many are to be proved, beside those that changed. `among`: the only
    ones that count, in the order of their ids; null: all."""

    sources: int
    proved: int
    changed: Ids
    among: Ids | None = None


ScoredId = tuple[UUID, float]


def rank(
    segments: Sequence[WordSegment], words: Sequence[Word], average: float, wanted: Wanted
) -> tuple[list[ScoredId], bool]:
    """The best sources with their scores, the best first; and whether the first of all are known to be there.
    `average`: how long a source is."""
    kept_scores, kept_at = np.zeros(0, np.float32), np.zeros(0, np.int64)
    least = np.float32(0)
    enough = wanted.sources + len(wanted.changed)
    for number, segment in enumerate(segments):
        scores = _add_up(segment, [(word.idf, word.lists[number]) for word in words], average)
        if wanted.among is None:
            places = np.flatnonzero(scores > least)
        else:
            places = find_places(segment.ids, wanted.among)
            places = places.compress(scores.take(places) > least)
        kept_scores = np.concatenate([kept_scores, scores[places]])
        kept_at = np.concatenate([kept_at, places + (number << PLACE_BITS)])
        if len(kept_scores) > enough:
            last = np.partition(kept_scores, -enough)[-enough]
            least = max(last - kept_scores.max() * EQUAL_SHARE, np.float32(0))
            good = kept_scores > least
            kept_scores, kept_at = kept_scores[good], kept_at[good]
    ids = _find_ids(segments, kept_at)
    current = np.flatnonzero(~np.isin(ids, wanted.changed))
    kept, proved = _choose(kept_scores[current], ids[current], wanted)
    chosen = current[kept]
    exact = np.round(_score(segments, words, average, kept_at[chosen]), DECIMALS)
    order = np.lexsort((ids[chosen], -exact))[: wanted.sources]
    return list(zip(as_uuids(ids[chosen][order]), exact[order].tolist(), strict=True)), proved


def _add_up(segment: WordSegment, lists: Sequence[tuple[float, WordList]], average: float) -> Floats:
    norms = np.float32(QUARTERS * K1) * (np.float32(1 - B) + np.float32(B / average) * segment.lengths)
    scores = np.zeros(len(norms), np.float32)
    for idf, one in lists:
        weight = np.float32(idf * (K1 + 1))
        if one.places is None:
            part = one.quarters.astype(np.float32)
            part /= part + norms
            part *= weight
            scores += part
        elif len(one.places):
            # Numpy is twice as fast by indices of its own kind. A source is in a list once, so it is added to once.
            at = one.places.astype(np.intp)
            scores[at] += weight * (one.quarters / (one.quarters + norms.take(at)))
    scores[segment.dead] = 0
    return scores


def _choose(scores: Floats, ids: Ids, wanted: Wanted) -> tuple[Places, bool]:
    """Which of them may be among the best, and whether the first of all are known to be there."""
    order = np.argsort(-scores, kind="stable")
    if len(ids) <= wanted.sources:
        return order, True
    scores = scores[order]
    last, equal = scores[wanted.sources - 1], scores[0] * EQUAL_SHARE
    above, with_equals = (int(np.count_nonzero(scores > last + each)) for each in (equal, -equal))
    if with_equals <= wanted.sources + EQUAL_MAX:
        return order[:with_equals], True
    equals = order[above:with_equals]
    lowest = equals[np.argsort(ids[equals])][: wanted.sources + EQUAL_MAX - above]
    return np.concatenate([order[:above], lowest]), wanted.proved <= above


def _score(
    segments: Sequence[WordSegment], words: Sequence[Word], average: float, at: npt.NDArray[np.int64]
) -> Doubles:
    """The scores of these in double precision, as the database computes them."""
    scores = np.zeros(len(at))
    for number, segment in enumerate(segments):
        own = np.flatnonzero(at >> PLACE_BITS == number)
        places = at[own] & (1 << PLACE_BITS) - 1
        norms = K1 * (1 - B + B * segment.lengths[places].astype(np.float64) / average)
        for word in words:
            counts = word.lists[number].count(places)
            scores[own] += word.idf * counts * (K1 + 1) / (counts + norms)
    return scores


def _find_ids(segments: Sequence[WordSegment], at: npt.NDArray[np.int64]) -> Ids:
    """Who they are: above the sixteenth bit is the number of the segment, below it the place there."""
    ids = np.zeros(len(at), dtype="S16")
    for number, segment in enumerate(segments):
        own = at >> PLACE_BITS == number
        ids[own] = segment.ids[at[own] & (1 << PLACE_BITS) - 1]
    return ids
