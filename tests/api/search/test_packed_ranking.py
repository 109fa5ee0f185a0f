"""Adding up packed lists gives what adding up one source after another gives."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import numpy as np
import pytest

from api.search import packed_ranking
from api.search.packed_ranking import Wanted, Word, WordList, WordSegment, rank
from connectors.postgres.word_segments import Ids, as_ids

AVERAGE = 70.0
SHARES = (0.9, 0.4, 0.124, 0.126, 0.02, 0.0)
"""Of the sources, that have a word: more and less than what a dense list begins at, and none."""


def draw(seed: int, sizes: tuple[int, ...]) -> tuple[list[WordSegment], list[Word], dict[UUID, float]]:
    """Segments, words, and the score of every source that is alive and has one, in double precision."""
    chance = np.random.default_rng(seed)
    segments: list[WordSegment] = []
    scores: dict[UUID, float] = {}
    lists: list[list[WordList]] = [[] for _ in SHARES]
    for size in sizes:
        ids = sorted(UUID(bytes=chance.bytes(16)) for _ in range(size))
        lengths = chance.integers(1, 400, size)
        dead = np.flatnonzero(chance.random(size) < 0.1)
        packed = b"".join(each.bytes for each in ids)
        segments.append(WordSegment.read(packed, lengths.astype(">i4").tobytes(), dead.astype(">i2").tobytes()))
        for n, share in enumerate(SHARES):
            places = chance.permutation(np.flatnonzero(chance.random(size) < share))
            counts = chance.choice([0.25, 1.0, 2.0, 7.0, 80.0] if n % 2 else [0.25, 1.0, 2.25], len(places))
            lists[n].append(WordList.read(places.astype(">i2").tobytes(), counts.astype(">f4").tobytes(), size))
            for place, count in zip(places.tolist(), counts.tolist(), strict=True):
                if place not in dead:
                    norm = 1.5 * (0.25 + 0.75 * float(lengths[place]) / AVERAGE)
                    scores[ids[place]] = scores.get(ids[place], 0) + (n + 0.1) * 2.5 * count / (count + norm)
    return segments, [Word(n + 0.1, each) for n, each in enumerate(lists)], scores


def best_of(scores: dict[UUID, float], count: int) -> list[tuple[UUID, float]]:
    """As the database has it: rounded, and of equals those with the lowest ids."""
    rounded = [(each, round(score, 9)) for each, score in scores.items()]
    return sorted(rounded, key=lambda item: (-item[1], item[0]))[:count]


def packed(ids: Iterable[UUID]) -> Ids:
    return as_ids(b"".join(each.bytes for each in ids))


@pytest.mark.parametrize("seed", range(4))
def test_the_best_are_those_with_the_highest_scores(seed: int) -> None:
    segments, words, scores = draw(seed, (300, 1, 900, 40))
    assert {each.places is None for word in words for each in word.lists} == {True, False}
    for count in (1, 10, 100, 2_000):
        found, proved = rank(segments, words, AVERAGE, Wanted(count, 10, packed([])))
        assert proved
        best = best_of(scores, count)
        assert [each for each, _ in found] == [each for each, _ in best]
        assert [score for _, score in found] == pytest.approx([score for _, score in best], abs=2e-9)


def test_those_that_changed_take_nobodys_place() -> None:
    segments, words, scores = draw(5, (300, 900))
    changed = [each for each, _ in best_of(scores, 80)[::2]]
    found, _ = rank(segments, words, AVERAGE, Wanted(50, 10, packed(changed)))
    others = {each: score for each, score in scores.items() if each not in changed}
    assert [each for each, _ in found] == [each for each, _ in best_of(others, 50)]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_of_those_that_pass_a_filter_none_is_missed(share: float) -> None:
    """Some of them are in no segment, and one has none of the words."""
    segments, words, scores = draw(6, (300, 1, 900))
    chance = np.random.default_rng(1)
    passing = {each for each in scores if chance.random() < share}
    among = packed(sorted({*passing, UUID(int=0), UUID(int=2**128 - 1)}))
    found, proved = rank(segments, words, AVERAGE, Wanted(100, 10, packed([]), among))
    assert proved
    best = best_of({each: score for each, score in scores.items() if each in passing}, 100)
    assert [each for each, _ in found] == [each for each, _ in best]
    assert rank(segments, words, AVERAGE, Wanted(100, 10, packed([]), packed([]))) == ([], True)


def test_of_many_equals_those_with_the_lowest_ids_are_found_and_nothing_is_proved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packed_ranking, "EQUAL_MAX", 3)
    ids = sorted(UUID(int=7**n % 2**127) for n in range(60))
    lengths = np.full(30, 50)
    halves = [ids[::2], ids[1::2]]
    segments = [WordSegment.read(packed(half).tobytes(), lengths.astype(">i4").tobytes(), b"") for half in halves]
    counts = np.full(30, 1.0)
    counts[0] = 3
    places = np.arange(30).astype(">i2").tobytes()
    word = Word(1.0, [WordList.read(places, counts.astype(">f4").tobytes(), 30) for _ in segments])
    found, proved = rank(segments, [word], AVERAGE, Wanted(20, 10, packed([])))
    assert [each for each, _ in found] == ids[:20], "the first of each half says it more, and both are the lowest"
    assert not proved
    assert rank(segments, [word], AVERAGE, Wanted(20, 2, packed([])))[1], "the first two are"


def test_nobody_has_a_word() -> None:
    assert rank([], [Word(1.0, [])], AVERAGE, Wanted(10, 10, packed([]))) == ([], True)
