"""Scores are the same for both of a pair, exact, and the same for one pair as for all; lists follow a change."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflows.nearness import (
    LINKED,
    PASSAGES_MAX,
    RELATED_MAX,
    TERMS_MAX,
    WORDS_MAX,
    Corpus,
    Features,
    Key,
    features,
    merge,
    near,
    share_words,
    unpack,
    words_of,
)

DIMENSION = 12
VOCABULARY = ["kafka", "ledger", "partition", "offset", "tenant", "policy", "vector", "budget", "lease", "replay"]


def unit(rows: Any) -> Any:
    vectors = np.asarray(rows, dtype=np.float64) + 1e-3
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def of(text: str, vectors: Any = ((1.0,) + (0.0,) * (DIMENSION - 1),)) -> Features:
    words = words_of(text)
    return features(words, {word: word for word in words}, unit(vectors))


@st.composite
def some_features(draw: st.DrawFn) -> Features:
    words = draw(st.lists(st.sampled_from(VOCABULARY), max_size=12))
    component = st.integers(-3, 3).map(float)
    vectors = draw(st.lists(st.lists(component, min_size=DIMENSION, max_size=DIMENSION), min_size=1, max_size=8))
    return of(" ".join(words), vectors)


def corpora(least: int = 1, most: int = 16) -> st.SearchStrategy[Corpus]:
    return st.lists(some_features(), min_size=least, max_size=most).map(
        lambda some: Corpus(tuple(UUID(int=number + 1) for number in range(len(some))), tuple(some))
    )


def plain_list(corpus: Corpus, adr_id: UUID, linked: set[UUID]) -> list[Key]:
    """One pair after the other."""
    mine = corpus.all[corpus.at[adr_id]]
    keys = [
        Key(round(near(mine, theirs).score + (LINKED if other in linked else 0.0), 6), other)
        for other, theirs in zip(corpus.ids, corpus.all, strict=True)
        if other != adr_id
    ]
    return sorted(keys, key=lambda key: (-key.score, key.related_id))[:RELATED_MAX]


@settings(max_examples=60)
@given(corpus=corpora(), data=st.data())
def test_one_with_all_is_each_pair_by_itself(corpus: Corpus, data: st.DataObject) -> None:
    for adr_id in corpus.ids:
        linked = data.draw(st.sets(st.sampled_from(corpus.ids), max_size=2))
        score, words, meaning = corpus.with_all(adr_id)
        for at, theirs in enumerate(corpus.all):
            assert near(corpus.all[corpus.at[adr_id]], theirs) == (score[at], words[at], meaning[at])
        assert corpus.list_related(adr_id, linked) == plain_list(corpus, adr_id, linked - {adr_id})


@given(one=some_features(), other=some_features())
def test_a_pair_is_as_near_from_both_sides(one: Features, other: Features) -> None:
    assert near(one, other) == near(other, one)
    assert set(share_words(one, other)) == set(share_words(other, one))


@settings(max_examples=60)
@given(before=corpora(2), after=corpora(2), data=st.data())
def test_a_list_after_a_change_is_the_list_made_anew_or_is_said_to_be_unclear(
    before: Corpus, after: Corpus, data: st.DataObject
) -> None:
    """Some ADRs become others, some go, some come; for the rest the list is merged."""
    changed = data.draw(st.sets(st.sampled_from([*before.ids, *after.ids]), min_size=1))
    kept = [adr_id for adr_id in before.ids if adr_id not in changed]
    now = {adr_id: before.all[before.at[adr_id]] for adr_id in kept}
    now |= {adr_id: after.all[after.at[adr_id]] for adr_id in sorted(changed) if adr_id in after.at}
    corpus = Corpus(tuple(sorted(now)), tuple(now[adr_id] for adr_id in sorted(now)))
    for adr_id in kept:
        fresh = [key for key in plain_list_of_all(corpus, adr_id) if key.related_id in changed]
        found = merge(before.list_related(adr_id), changed, fresh)
        assert found is None or found == corpus.list_related(adr_id)


def plain_list_of_all(corpus: Corpus, adr_id: UUID) -> list[Key]:
    scores = corpus.scores(adr_id)
    return [Key(float(scores[at]), other) for at, other in enumerate(corpus.ids) if other != adr_id]


def test_a_full_list_takes_a_nearer_one_in_and_is_unclear_when_one_of_it_fell_behind() -> None:
    ids = [UUID(int=number) for number in range(1, 13)]
    old = [Key(1 - place / 100, adr_id) for place, adr_id in enumerate(ids[:RELATED_MAX])]
    newcomer = Key(0.995, ids[11])
    assert merge(old, {ids[11]}, [newcomer]) == [old[0], newcomer, *old[1:-1]]
    assert merge(old, {ids[0]}, [Key(0.5, ids[0])]) is None
    assert merge(old, {ids[0]}, []) is None
    assert merge(old, {ids[0]}, [Key(0.95, ids[0])]) == sorted(
        [*old[1:], Key(0.95, ids[0])], key=lambda key: (-key.score, key.related_id)
    )
    assert merge(old[:4], {ids[0]}, []) == old[1:4], "all that exist were in it"


def test_equal_scores_are_in_the_order_of_ids() -> None:
    same = of("kafka ledger")
    corpus = Corpus(tuple(UUID(int=number) for number in range(1, 15)), (same,) * 14)
    assert [key.related_id.int for key in corpus.list_related(UUID(int=14))] == list(range(1, RELATED_MAX + 1))
    linked = corpus.list_related(UUID(int=14), {UUID(int=13), UUID(int=99)})
    assert [key.related_id.int for key in linked] == [13, *range(1, RELATED_MAX)]


def test_words_of_the_form_do_not_count_and_the_commonest_spelling_is_shown() -> None:
    words = words_of("## Status\n\nAccepted. Ledgers keep a ledger; the LEDGER is a_decision of 2026. " + "x" * 100)
    assert words == ["ledgers", "keep", "ledger", "the", "ledger", "is", "of"]
    one = features(words, {"ledgers": "ledger", "ledger": "ledger", "keep": "keep"}, unit([[1.0, 0.0]]))
    assert set(one.terms) == {"ledger", "keep"}
    assert share_words(one, one)[0] == "ledger"


def test_repetition_counts_less_and_less() -> None:
    often = of("kafka " * 100 + "ledger " * 4)
    once = of("kafka ledger")
    assert 0.8 < near(often, once).words < 1.0
    assert near(of("kafka"), of("ledger")).words == 0.0
    assert near(of("kafka"), of("kafka " * 9)).words == 1.0


def test_meaning_is_the_mean_of_the_nearest_pairs() -> None:
    axes = np.eye(DIMENSION)
    assert near(of("", axes[:1]), of("", axes[:1])).meaning == pytest.approx(1.0, abs=0.02)
    assert near(of("", axes[:1]), of("", axes[1:2])).meaning == pytest.approx(0.0, abs=0.02)
    # Seven equal passages: 49 pairs, of which 7 are near, and the nearest five count.
    assert near(of("", axes[:7]), of("", axes[:7])).meaning == pytest.approx(1.0, abs=0.02)
    assert near(of("", axes[:3]), of("", axes[:3])).meaning == pytest.approx(3 / 5, abs=0.02)


def test_features_are_bounded_and_come_back_from_their_bytes() -> None:
    big = of(" ".join(f"word{number}" for number in range(WORDS_MAX + 50)), np.ones((PASSAGES_MAX + 9, DIMENSION)))
    assert (len(big.terms), len(big.hashes), big.passages.shape) == (WORDS_MAX, WORDS_MAX, (PASSAGES_MAX, DIMENSION))
    again = unpack(big.words_packed, big.terms, big.passages_packed, big.dimension)
    assert near(again, big) == near(big, big)
    assert share_words(again, big) == share_words(big, big)
    assert len(share_words(big, big)) == TERMS_MAX


def test_an_adr_without_words_is_near_by_meaning_alone() -> None:
    empty = of("")
    assert (near(empty, empty).words, share_words(empty, empty)) == (0.0, ())
    corpus = Corpus((UUID(int=1), UUID(int=2)), (empty, empty))
    assert [key.related_id for key in corpus.list_related(UUID(int=1))] == [UUID(int=2)]
    assert Corpus((UUID(int=1),), (empty,)).list_related(UUID(int=1)) == []
