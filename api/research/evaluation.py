"""Does research find what a question is about? Questions are made by rule from what was taken out of a history. Pure.

Owns the questions, which of the texts each is about, and the scores. Titles are taken out of all texts, and so are the
mentions of other records and one sentence of each. Four kinds of question are made of them: a title; a sentence; two
titles that share a link; two titles by chance. The last two have two right answers, which is what several searches are
for. Nobody has to judge anything, so any history is an evaluation; it is kinder than people, who do not know the words.
Refuses I/O: who runs it is `adriatic/cli/evaluate_research.py`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import fmean
from typing import Final, Literal

import msgspec

from api.adrs.linked import LinkedAdr
from api.research.sentences import split_sentences
from api.research.words import stems_of
from api.search.known_item import as_query, interval

RECALL_AT: Final = 20
GAIN_AT: Final = 10
SENTENCE_WORDS: Final = (6, 25)
"""Words that count of a sentence that is asked for: fewer fit everything, more are a list."""
TITLE_WORDS_MIN: Final = 2
"""Words that count of a title that is asked for."""

QuestionKind = Literal["title", "sentence", "linked", "pair"]
KINDS: Final[tuple[QuestionKind, ...]] = ("title", "sentence", "linked", "pair")


class MadeQuestion(msgspec.Struct, frozen=True):
    """`right`: the places of the items that it is about."""

    kind: QuestionKind
    text: str
    right: frozenset[int]


class HeldOut(msgspec.Struct, frozen=True):
    """A history for this evaluation: its texts without what is asked for, and the questions."""

    texts: list[str]
    questions: list[MadeQuestion]


class RetrievalScores(msgspec.Struct, frozen=True):
    """Means over `questions`, each with its 95 % interval."""

    questions: int
    recall: float
    recall_low: float
    recall_high: float
    ndcg: float
    ndcg_low: float
    ndcg_high: float


def hold_out(items: Sequence[LinkedAdr], seed: int, each_max: int) -> HeldOut:
    """The texts and at most `each_max` questions of a kind, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - a sample, not a secret
    texts: list[str] = []
    sentences: dict[int, str] = {}
    for at, item in enumerate(items):
        text = item.text.partition("\n")[2].lstrip()
        chosen = _choose_sentence(text, chance)
        if chosen is not None:
            sentences[at] = " ".join(chosen.split())
            text = text.replace(chosen, "", 1)
        texts.append(text)
    titles = {at: as_query(item.title) for at, item in enumerate(items) if _can_be_asked(item, texts[at])}
    made: dict[QuestionKind, list[MadeQuestion]] = {
        "title": [MadeQuestion("title", title, frozenset({at})) for at, title in titles.items()],
        "sentence": [MadeQuestion("sentence", said, frozenset({at})) for at, said in sentences.items()],
        "linked": [
            MadeQuestion("linked", f"How does {titles[at]} relate to {titles[other]}?", frozenset({at, other}))
            for at, item in enumerate(items)
            for other, _ in item.links
            if at in titles and other in titles
        ],
    }
    order = sorted(titles)
    chance.shuffle(order)
    made["pair"] = [
        MadeQuestion("pair", f"{titles[one]}? And what about {titles[other]}?", frozenset({one, other}))
        for one, other in zip(order[::2], order[1::2], strict=False)
    ]
    return HeldOut(texts, [each for kind in KINDS for each in _sample(made[kind], each_max, chance)])


def _choose_sentence(text: str, chance: random.Random) -> str | None:
    """One sentence that stands in the text once and says enough to be asked for."""
    low, high = SENTENCE_WORDS
    fit = [
        each.text
        for each in split_sentences(text)
        if low <= len(stems_of(each.text)) <= high and text.count(each.text) == 1 and len(each.text) < 400
    ]
    # A text of which little would be left keeps it.
    return chance.choice(fit) if len(fit) >= 3 else None


def _can_be_asked(item: LinkedAdr, text: str) -> bool:
    return len(stems_of(item.title)) >= TITLE_WORDS_MIN and bool(text.strip())


def _sample(questions: list[MadeQuestion], count: int, chance: random.Random) -> list[MadeQuestion]:
    return questions if len(questions) <= count else chance.sample(questions, count)


def measure(right: frozenset[int], ranked: Sequence[int]) -> tuple[float, float]:
    """Recall@20 and nDCG@10 of one question; what is right is equally right."""
    recall = len(right & set(ranked[:RECALL_AT])) / len(right)
    gain = sum(1 / math.log2(1 + place) for place, each in enumerate(ranked[:GAIN_AT], 1) if each in right)
    ideal = sum(1 / math.log2(1 + place) for place in range(1, min(len(right), GAIN_AT) + 1))
    return recall, gain / ideal


def scores(measured: Sequence[tuple[float, float]]) -> RetrievalScores:
    recalls, gains = [each for each, _ in measured], [each for _, each in measured]
    return RetrievalScores(
        len(measured),
        *(fmean(recalls) if measured else 0.0, *interval(recalls)),
        *(fmean(gains) if measured else 0.0, *interval(gains)),
    )
