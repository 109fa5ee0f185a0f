"""How the two arms of a search are best joined: learnt on all histories but one, reported on that one.

Owns the forms that are compared, their parameter, and the intervals. Known items and passages are asked of the running
system once, with their explanations, and what came is kept in a file; trying a form then needs no system. A question
that names an ADR is left out: what is named stands first, however the arms are joined. Parameters are chosen for the
mean of both tasks. `rank` is the form to beat, reciprocal rank fusion; where its scores are equal, which they often
are, chance decides, and the mean over chance is what is compared. Refuses to change anything: what won stands in
`api/search/service.py`, and docs/decisions/0012 says why.

    python -m bench.fusion --data histories/ --candidates candidates.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from adriatic.cli.evaluate import EvaluatedHistory, import_corpora, open_histories
from api.search import known_item, passage_item
from api.search.known_item import DEPTH, KnownItem, interval
from api.search.schemas import LIMIT_MAX, Hit, SearchRequest, SearchResult
from runtime.errors import InvalidInput
from runtime.settings import Settings, load

Column = npt.NDArray[np.float64]
TASKS: Final = ("known-item", "passage")
SHARES: Final = tuple(round(0.05 * step, 2) for step in range(1, 15))
"""Shares of words that are tried."""
CONSTANTS: Final = (1.0, 5.0, 10.0, 20.0, 60.0)
RIDGE: Final = 0.3
STEPS_MAX: Final = 40
FEATURES: Final = ("words", "nearest", "both", "words_rank", "meaning_rank", "agree", "terms")
"""What the linear model knows of a hit: the score by words as a share of the best, its cosine, the mean of two cosines,
the reciprocal places, whether both arms show the same passage, and the share of terms that it has. Titles are taken
out, and each ADR is asked for as often as any other: nothing can be learnt here of titles, age, status or links."""


class Candidates(msgspec.Struct, frozen=True):
    """What was found for one question, each feature a list over hits. `right`: which of them is right, if any is."""

    task: str
    history: str
    right: int | None
    features: dict[str, list[float]]

    def column(self, name: str) -> Column:
        return np.array(self.features[name], dtype=np.float64)


# --- asking ---------------------------------------------------------------------------------------------------------


def gather(settings: Settings, paths: Sequence[Path]) -> Iterator[Candidates]:
    """Ask the running system everything, each task in tenants of its own."""
    for task in TASKS:
        corpora = [EvaluatedHistory(name, _items(task, source)) for name, source in open_histories(settings, paths)]
        with import_corpora(settings, corpora, keep=False, prefix=f"fus-{task[:3]}-") as remotes:
            for corpus, remote in zip(corpora, remotes, strict=True):
                for number, query in corpus.queries:
                    request = SearchRequest(query, limit=LIMIT_MAX, explain=True)
                    try:
                        result = remote.request("POST", "/v1/search", SearchResult, body=request)
                    except InvalidInput:
                        continue
                    if not any(hit.explain and (hit.explain.named or hit.explain.exact) for hit in result.hits):
                        yield _read(task, corpus.name, number, result)


def _items(task: str, source: Any) -> list[KnownItem]:
    if task == "known-item":
        return known_item.items(source.changes())
    return [KnownItem(each.path, each.query, each.text) for each in passage_item.items(source.changes(), 1)]


def _read(task: str, history: str, number: int, result: SearchResult) -> Candidates:
    """What the explanations say. What an arm did not find has there what the last that it found would have at most."""
    assert result.explain is not None
    rows = [_features(hit, result.explain.words_share, len(result.explain.terms)) for hit in result.hits]
    right = next((at for at, hit in enumerate(result.hits) if hit.number == number), None)
    return Candidates(task, history, right, {name: [row[name] for row in rows] for name in FEATURES})


def _features(hit: Hit, share: float, terms: int) -> dict[str, float]:
    assert hit.explain is not None
    words, meaning, unlisted = hit.explain.words, hit.explain.meaning, hit.explain.unlisted
    both = (meaning.contribution if meaning else unlisted) / (1 - share)
    return {
        "words": (words.contribution if words else unlisted) / share,
        "nearest": meaning.score if meaning else both,
        "both": both,
        "words_rank": 1 / words.rank if words else 0.0,
        "meaning_rank": 1 / meaning.rank if meaning else 0.0,
        "agree": float(bool(words and meaning and words.ordinal == meaning.ordinal)),
        "terms": len(words.terms or ()) / max(1, terms) if words else 0.0,
    }


# --- forms ----------------------------------------------------------------------------------------------------------


def by_rank(one: Candidates, constant: float) -> Column:
    """Reciprocal rank fusion: the sum of 1 / (constant + place)."""
    parts = [one.column(name) for name in ("words_rank", "meaning_rank")]
    return np.asarray(sum(np.where(part > 0, part / (constant * part + 1), 0.0) for part in parts))


def by_nearest(one: Candidates, share: float) -> Column:
    """Scores, meaning by the nearest passage."""
    return share * one.column("words") + (1 - share) * one.column("nearest")


def by_two(one: Candidates, share: float) -> Column:
    """Scores, meaning by the mean of the two nearest passages: what the service does."""
    return share * one.column("words") + (1 - share) * one.column("both")


def measure(one: Candidates, scores: Column) -> float:
    """The gain of the right answer, in the mean over every order of those with its score."""
    if one.right is None:
        return 0.0
    rounded = np.round(scores, 9)
    before = int((rounded > rounded[one.right]).sum())
    equal = int((rounded == rounded[one.right]).sum())
    return fmean(known_item.gain(before + place) for place in range(1, equal + 1))


Scorer = Callable[[Candidates], Column]


def fit_parameter(
    form: Callable[[Candidates, float], Column], values: Sequence[float], some: Sequence[Candidates]
) -> tuple[Scorer, str]:
    """The parameter with the highest mean over both tasks."""

    def mean(value: float) -> float:
        return fmean(
            fmean([measure(one, form(one, value)) for one in some if one.task == task] or [0.0]) for task in TASKS
        )

    best = max(values, key=mean)
    return (lambda one: form(one, best)), f"{best:g}"


def fit_linear(some: Sequence[Candidates]) -> tuple[Scorer, str]:
    """Logistic regression over all features: the right hit against the others of its question, by Newton's steps that
    are halved until they help."""
    lists = [(np.stack([one.column(name) for name in FEATURES], 1), one.right) for one in some if one.right is not None]
    scale = np.concatenate([rows for rows, _ in lists]).std(0) + 1e-9
    lists = [(rows / scale, right) for rows, right in lists]
    weights = np.zeros(len(FEATURES))

    def likelihood(trial: Column) -> float:
        sums = [(rows @ trial)[right] - np.logaddexp.reduce(rows @ trial) for rows, right in lists]
        return float(np.sum(sums) - RIDGE / 2 * trial @ trial)

    for _ in range(STEPS_MAX):
        slope, curve = -RIDGE * weights, RIDGE * np.eye(len(FEATURES))
        for rows, right in lists:
            share = np.exp(rows @ weights - np.logaddexp.reduce(rows @ weights))
            mean = share @ rows
            slope += rows[right] - mean
            curve += (rows * share[:, None]).T @ rows - np.outer(mean, mean)
        step, before = np.linalg.solve(curve, slope), likelihood(weights)
        while np.abs(step).max() > 1e-6 and likelihood(weights + step) < before:
            step /= 2
        weights = weights + step
        if np.abs(step).max() < 1e-3:
            break
    found = weights / scale
    said = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(FEATURES, found, strict=True))
    return (lambda one: np.stack([one.column(name) for name in FEATURES], 1) @ found), said


FORMS: Final[dict[str, Callable[[Sequence[Candidates]], tuple[Scorer, str]]]] = {
    "rank, its constant": lambda some: fit_parameter(by_rank, CONSTANTS, some),
    "nearest passage": lambda some: fit_parameter(by_nearest, SHARES, some),
    "two nearest": lambda some: fit_parameter(by_two, SHARES, some),
    "linear": fit_linear,
}


# --- the result -----------------------------------------------------------------------------------------------------


def report(found: Sequence[Candidates]) -> Iterator[str]:
    """Each form, by the history that it was not learnt on, and over all."""
    histories = list(dict.fromkeys(one.history for one in found))
    for name, learn in FORMS.items():
        yield f"{name}, against rank with 60: nDCG@{DEPTH} before, after, the difference and its 95 % interval"
        pairs: dict[str, list[tuple[float, float]]] = {task: [] for task in TASKS}
        for history in histories:
            scorer, said = learn([one for one in found if one.history != history])
            for task in TASKS:
                some = [one for one in found if (one.history, one.task) == (history, task)]
                gains = [(measure(one, by_rank(one, 60.0)), measure(one, scorer(one))) for one in some]
                pairs[task] += gains
                yield f"  {history:<34} {task:<11} {_compare(gains)}  {said if task == TASKS[0] else ''}".rstrip()
        for task in TASKS:
            yield f"  {'overall':<34} {task:<11} {_compare(pairs[task])}"
        yield ""


def _compare(gains: Sequence[tuple[float, float]]) -> str:
    if not gains:
        return "nothing asked"
    low, high = interval([after - before for before, after in gains])
    before, after = fmean(each for each, _ in gains), fmean(each for _, each in gains)
    return f"{before:.3f} {after:.3f}  {after - before:+.3f} ({low:+.3f} to {high:+.3f}, {len(gains)} questions)"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, action="append", required=True, help="as for `adriatic eval`")
    arguments.add_argument("--candidates", type=Path, required=True, help="where they are kept; asked for once")
    asked = arguments.parse_args()
    if not asked.candidates.is_file():
        asked.candidates.write_bytes(msgspec.json.encode(list(gather(load(), asked.data))))
    for line in report(msgspec.json.decode(asked.candidates.read_bytes(), type=list[Candidates])):
        print(line)


if __name__ == "__main__":
    main()
