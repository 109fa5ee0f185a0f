"""How near two ADRs are: the features of each, the score of a pair, and the pairs of one with all others. Pure.

Owns the formula. The score of a pair depends on these two ADRs and on nothing else: no frequency in the corpus, no
rank. So an edit changes only the pairs of the ADR that was edited (docs/decisions/0022). It is symmetric, and exact:
features are small integers, whose products add up to the same sum in any order, so that two computations of a score are
equal and `adriatic verify` may compare them as they are. Refuses I/O: `dataflows/related_lists.py` does it.

Measured on the links of six real histories, taken out of the texts, recall@5 and MRR: this score 0.667 and 0.610, BM25
with the whole text as its query 0.627 and 0.550 (`adriatic eval related`).
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple
from uuid import UUID

import numpy as np
import numpy.typing as npt

WORDS_MAX: Final = 1_000
"""Different words of an ADR that count: its heaviest. A text of 7 000 words has about 1 500."""
PASSAGES_MAX: Final = 64
"""Passages of an ADR that count, its first: those of six real histories have 16 on average, and 90 at most."""
PAIRS: Final = 5
"""Nearest pairs of passages whose mean is the meaning: one alone may be two boilerplate sections. On the six histories
3 and 10 give the same within 0.01."""
WORDS_SHARE: Final = 0.6
MEANING_SHARE: Final = 0.4
"""Shares of the score. Anything between 0.5 and 0.65 for words is within 0.015 on the six histories."""
LINKED: Final = 1.0
"""Added for an explicit link: more than words and meaning together can be, so what people linked comes first."""
RELATED_MAX: Final = 10
"""Others in a list: what is shown without paging."""
TERMS_MAX: Final = 5
"""Shared words that are named."""

WORD_CHARS_MAX: Final = 64
"""A longer word is an encoded blob; it would say nothing to anybody."""
_WEIGHT: Final = 1_000
"""The length of a vector of words, in the integers that stand for it."""
_COMPONENT: Final = 2_048
"""The length of a passage's vector, likewise. A product of two is at most about 2²², below the 2²⁴ up to which float32
counts exactly, and a component of usual size (0.05) has 100 steps."""
_DIGITS: Final = 6
"""Digits of a score, as it is kept."""

_WORD = re.compile(r"[^\W_]+")
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_FORM: Final = """
    status accepted proposed rejected deprecated superseded supersedes draft approved context decision decisions decided
    deciders decide decider consequence consequences date title author authors record records architecture architectural
    adr adrs option options considered alternative alternatives pros cons good bad because chosen outcome positive
    negative rationale approach problem statement drivers driver issue link links discussion summary background team
    project use used using uses need needs needed new make makes made want one two following see well way like however
    first since therefore also implementation implement implemented http https www com github md
"""
FORM_WORDS: Final = frozenset(_FORM.split())
"""Words of the form that decision records have, not of what they are about. Without frequencies nothing else would tell
them apart: leaving them out is worth 0.02 recall@5 by words."""


class Key(NamedTuple):
    """The place of an ADR in a list: nearest first, then by id."""

    score: float
    related_id: UUID

    @property
    def order(self) -> tuple[float, UUID]:
        return -self.score, self.related_id


@dataclass(frozen=True, slots=True)
class Features:
    """Features of one ADR. `hashes` ascend; `weights` and `terms` go with them. `passages` has a row for each."""

    hashes: npt.NDArray[np.uint64]
    weights: npt.NDArray[np.uint16]
    terms: tuple[str, ...]
    passages: npt.NDArray[np.int16]

    @property
    def words_packed(self) -> bytes:
        return self.hashes.astype("<u8").tobytes() + self.weights.astype("<u2").tobytes()

    @property
    def passages_packed(self) -> bytes:
        return self.passages.tobytes()

    @property
    def dimension(self) -> int:
        return int(self.passages.shape[1])


def unpack(words: bytes, terms: Sequence[str], passages: bytes, dimension: int) -> Features:
    """The counterpart of what `Features` packs. `terms` may be left empty where nobody asks for them."""
    count = len(words) // 10
    return Features(
        np.frombuffer(words, "<u8", count),
        np.frombuffer(words, "<u2", count, count * 8),
        tuple(terms),
        np.frombuffer(passages, "<i2").reshape(-1, dimension),
    )


# --- features -------------------------------------------------------------------------------------------------------


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case, in order, as far as they can count; numbers do not."""
    found = (word.lower() for word in _WORD.findall(text))
    return [
        word
        for word in found
        if 1 < len(word) <= WORD_CHARS_MAX and not word.isdigit() and word not in FORM_WORDS  # "11" tells nobody why
    ]


def features(words: Sequence[str], stems: Mapping[str, str], vectors: Sequence[Sequence[float]] | Any) -> Features:
    """`words` are those of title and text; `stems` gives each its stem, and leaves out stop words; `vectors` are of
    length 1, one a passage, in order, at least one."""
    counts = Counter(word for word in words if word in stems)
    spelled: dict[str, str] = {}
    by_stem: Counter[str] = Counter()
    for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        spelled.setdefault(stems[word], word)  # the commonest form is shown
        by_stem[stems[word]] += count
    kept = sorted(by_stem.items(), key=lambda item: (-item[1], item[0]))[:WORDS_MAX]
    length = sum(count for _, count in kept) ** 0.5  # the root evens out repetition; its square is the count again
    rows = sorted((_hash(stem), max(1, round(_WEIGHT * count**0.5 / length)), spelled[stem]) for stem, count in kept)
    passages = np.rint(np.asarray(vectors[:PASSAGES_MAX], dtype=np.float64) * _COMPONENT)
    return Features(
        np.array([row[0] for row in rows], dtype="<u8"),
        np.array([row[1] for row in rows], dtype="<u2"),
        tuple(row[2] for row in rows),
        passages.astype("<i2"),
    )


def _hash(stem: str) -> int:
    return int.from_bytes(hashlib.blake2b(stem.encode(), digest_size=8).digest(), "little")


# --- one pair -------------------------------------------------------------------------------------------------------


class Nearness(NamedTuple):
    """`score` without links; what it is made of."""

    score: float
    words: float
    meaning: float


def near(one: Features, other: Features) -> Nearness:
    """How near two ADRs are, without links; the same for both."""
    _, mine, theirs = np.intersect1d(one.hashes, other.hashes, assume_unique=True, return_indices=True)
    words = int(np.dot(one.weights[mine].astype(np.int64), other.weights[theirs].astype(np.int64)))
    products = (one.passages.astype(np.float32) @ other.passages.astype(np.float32).T).ravel()
    count = min(PAIRS, products.size)
    total = np.partition(products, products.size - count)[products.size - count :].sum(dtype=np.float64)
    return Nearness(*(float(part) for part in _score(np.float64(words), total, np.float64(count))))


def share_words(one: Features, other: Features) -> tuple[str, ...]:
    """The words that add most to how near the two are by words, as `one` writes them."""
    _, mine, theirs = np.intersect1d(one.hashes, other.hashes, assume_unique=True, return_indices=True)
    products = one.weights[mine].astype(np.int64) * other.weights[theirs]
    ranked = heapq.nsmallest(
        TERMS_MAX, ((-int(product), one.terms[at]) for product, at in zip(products, mine, strict=True))
    )
    return tuple(term for _, term in ranked)


def _score(words: Any, sums: Any, pairs: Any) -> tuple[Any, Any, Any]:
    """Compute scores from the integers, with the same operations for one pair and for many: both give the same bits."""
    by_words = np.minimum(words / (_WEIGHT * _WEIGHT), 1.0)
    by_meaning = np.clip(sums / (pairs * float(_COMPONENT * _COMPONENT)), -1.0, 1.0)
    total = np.round(WORDS_SHARE * by_words + MEANING_SHARE * by_meaning, _DIGITS)
    return total, np.round(by_words, _DIGITS), np.round(by_meaning, _DIGITS)


# --- one with all ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corpus:
    """All ADRs of a tenant, as arrays. `ids` ascend; position `i` in every array is `ids[i]`.

    Holds 4 bytes for each component of a passage and 12 for each word: about 32 kB an ADR.
    """

    ids: tuple[UUID, ...]
    all: tuple[Features, ...]

    @cached_property
    def at(self) -> dict[UUID, int]:
        return {source_id: position for position, source_id in enumerate(self.ids)}

    @cached_property
    def _words(self) -> tuple[npt.NDArray[np.intp], Ints, npt.NDArray[np.intp], int]:
        """Number all words of all ADRs: the number of each, its weight, whose it is; and how many numbers there are."""
        hashes = np.concatenate([each.hashes for each in self.all])
        different, numbers = np.unique(hashes, return_inverse=True)
        owners = np.repeat(np.arange(len(self.all)), [len(each.hashes) for each in self.all])
        weights = np.concatenate([each.weights for each in self.all]).astype(np.int64)
        return numbers, weights, owners, len(different)

    @cached_property
    def _word_starts(self) -> npt.NDArray[np.intp]:
        return np.concatenate(([0], np.cumsum([len(each.hashes) for each in self.all]))).astype(np.intp)

    @cached_property
    def _passages(self) -> npt.NDArray[np.float32]:
        return np.concatenate([each.passages for each in self.all]).astype(np.float32)

    @cached_property
    def _passage_starts(self) -> npt.NDArray[np.intp]:
        return np.concatenate(([0], np.cumsum([len(each.passages) for each in self.all]))).astype(np.intp)

    def with_all(self, source_id: UUID) -> tuple[Floats, Floats, Floats]:
        """Score, words and meaning of one ADR with each (with itself too). Takes time linear in the tenant."""
        position = self.at[source_id]
        sums, pairs = self._meaning(position)
        return _score(self._weigh_shared(position), sums, pairs)

    def _weigh_shared(self, position: int) -> Floats:
        numbers, weights, owners, count = self._words
        start, end = self._word_starts[position], self._word_starts[position + 1]
        mine = np.zeros(count, dtype=np.int64)
        mine[numbers[start:end]] = weights[start:end]
        # As float64, which holds these integers exactly: a word adds at most 10⁶, and there are 1 000.
        return np.bincount(owners, weights=mine[numbers] * weights, minlength=len(self.all)).astype(np.float64)

    def _meaning(self, position: int) -> tuple[Floats, Floats]:
        starts = self._passage_starts
        mine = self._passages[starts[position] : starts[position + 1]]
        products = self._passages @ mine.T
        if len(mine) > PAIRS:  # no more pairs than that can count, for each passage of the others
            products = np.partition(products, len(mine) - PAIRS, axis=1)[:, -PAIRS:]
        return _sum_of_largest(products, starts)

    def list_related(self, source_id: UUID, linked: Set[UUID] = frozenset()) -> list[Key]:
        """The list of one ADR, nearest first: at most `RELATED_MAX`, never itself."""
        return self.best(self.scores(source_id, linked))

    def best(self, scores: Floats) -> list[Key]:
        """The list that scores by position give."""
        near = self._candidates(scores)
        return sorted((Key(float(scores[at]), self.ids[at]) for at in near), key=lambda key: key.order)[:RELATED_MAX]

    def scores(self, source_id: UUID, linked: Set[UUID] = frozenset()) -> Floats:
        """Scores with links, by position; below every other for the ADR itself."""
        scores = self.with_all(source_id)[0]
        scores[[self.at[other] for other in linked if other in self.at]] += LINKED
        scores = np.round(scores, _DIGITS)
        scores[self.at[source_id]] = -np.inf
        return scores

    def _candidates(self, scores: Floats) -> Iterator[int]:
        """Positions that may be in the list: all that score like the last of them, too."""
        least = -np.inf
        if len(scores) > RELATED_MAX:
            least = np.partition(scores, len(scores) - RELATED_MAX)[-RELATED_MAX]
        for at in np.flatnonzero((scores >= least) & (scores > -np.inf)):
            yield int(at)


def _sum_of_largest(products: npt.NDArray[np.float32], starts: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Sum the `PAIRS` largest values of each segment of rows, and count them (fewer than `PAIRS` where
    the segment is smaller). Round by round takes the largest that is left of every segment at once."""
    columns = np.ascontiguousarray(np.sort(products, axis=1)[:, ::-1].T)
    depth, width = columns.shape
    heads = np.zeros(width, dtype=np.intp)
    current = columns[0].copy()
    segment_of = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    sums, pairs = np.zeros(len(starts) - 1), np.zeros(len(starts) - 1)
    for _ in range(PAIRS):
        largest = np.maximum.reduceat(current, starts[:-1])
        there = largest > -np.inf
        sums[there] += largest[there]
        pairs += there
        hits = np.flatnonzero(current == largest[segment_of])
        owners = segment_of[hits]
        taken = hits[np.concatenate(([True], owners[1:] != owners[:-1]))]
        heads[taken] += 1
        left = taken[heads[taken] < depth]
        current[taken] = -np.inf
        current[left] = columns[heads[left], left]
    return sums, pairs


# --- lists after a change -------------------------------------------------------------------------------------------


def merge(old: Sequence[Key], changed: Set[UUID], fresh: Sequence[Key]) -> list[Key] | None:
    """The list of an ADR after others changed: `old` is its list, `fresh` the keys of those changed that still exist.

    None when that cannot be told from these: one that changed has left its place, and who was the eleventh is unknown.
    """
    kept = [key for key in old if key.related_id not in changed]
    new = sorted([*kept, *fresh], key=lambda key: key.order)[:RELATED_MAX]
    if len(kept) == len(old) or len(old) < RELATED_MAX:
        return new  # none left, or all that exist were in it
    last = max(key.order for key in old)
    return new if len(new) == RELATED_MAX and new[-1].order <= last else None
