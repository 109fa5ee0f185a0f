"""Known-item search: does the search find an ADR by its title, when the title is not in its text? Pure.

Owns which ADRs of a history are asked for, how their title is taken out, and the scores. Every ADR with a title of its
own is a query and has one right answer, so that nobody has to judge anything and any history is an evaluation. It is
kind to search by words where a text repeats its title's words, and says nothing about vague questions. Refuses I/O: who
runs it is `adriatic/cli/evaluate.py`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from statistics import fmean

import msgspec

from api.adrs.document import ParsedAdr, parse, strip_title
from connectors.history import Fault, FileChange

DEPTH = 10
"""Hits that are looked at: what a person sees without paging."""
RESAMPLES = 1_000
"""Samples of the bootstrap: the interval's ends move by less than it is wide for 300 queries."""


class KnownItem(msgspec.Struct, frozen=True):
    """One ADR without its title. `query` is the title, or None when the text has none of its own, is an index or a
    template: then it is only something that could be found wrongly."""

    path: str
    query: str | None
    text: str


class KnownItemScores(msgspec.Struct, frozen=True):
    """Means over `queries`. nDCG and MRR are cut at `DEPTH`; `low` and `high` are the 95 % interval of nDCG."""

    queries: int
    ndcg: float
    mrr: float
    recall: float
    low: float
    high: float


class HistoryEnd:
    """What a history holds at its end, by path, and the paths that a file had before."""

    def __init__(self, changes: Iterable[FileChange | Fault]) -> None:
        self.former: dict[str, tuple[str, ...]] = {}
        self._content: dict[str, bytes] = {}
        for change in changes:
            if not isinstance(change, Fault):
                self._take(change)

    def _take(self, change: FileChange) -> None:
        if change.change in ("D", "R"):
            old = change.old_path or change.path
            self._content.pop(old, None)
            if change.change == "R":
                self.former[change.path] = (*self.former.pop(old, ()), old)
        if change.change != "D" and change.content is not None:
            self._content[change.path] = change.content

    def texts(self) -> Iterator[tuple[str, str, ParsedAdr]]:
        """Path, text and what it says, in the order of paths. What is no UTF-8 is left out."""
        for path, content in sorted(self._content.items()):
            with suppress(UnicodeDecodeError):
                text = content.decode().replace("\0", " ")
                yield path, text, parse(text, path=path)


def items(changes: Iterable[FileChange | Fault]) -> list[KnownItem]:
    """The ADRs at the end of a history, in the order of paths."""
    return [_item(path, text, document) for path, text, document in HistoryEnd(changes).texts()]


def _item(path: str, text: str, document: ParsedAdr) -> KnownItem:
    asked = document.role == "record" and not {"no-title", "empty", "placeholder"} & set(document.oddities)
    return KnownItem(path, as_query(document.title) if asked else None, strip_title(text, path=path))


def question_of(text: str) -> tuple[str, str] | None:
    """The query for a text, and the text without its title; None for a text that is not asked for."""
    item = _item("", text, parse(text, path=""))
    return (item.query, item.text) if item.query and item.text.strip() else None


def as_query(title: str) -> str:
    """The words of a title, without what a search would read as its syntax."""
    return " ".join(word.lstrip("-") for word in title.replace('"', " ").split())


def gain(rank: int | None) -> float:
    """What the right answer at this place is worth: with one right answer the ideal gain is 1, and nDCG is the gain of
    its place."""
    return 1 / math.log2(1 + rank) if rank and rank <= DEPTH else 0.0


def scores(ranks: Sequence[int | None]) -> KnownItemScores:
    """`ranks` are the places at which the right ADRs were found, from 1; None: not among the first `DEPTH`."""
    found = [rank if rank is not None and rank <= DEPTH else None for rank in ranks]
    gains = [gain(rank) for rank in found]
    low, high = interval(gains)
    return KnownItemScores(
        queries=len(ranks),
        ndcg=fmean(gains) if gains else 0.0,
        mrr=fmean(1 / rank if rank else 0.0 for rank in found) if found else 0.0,
        recall=fmean(1.0 if rank else 0.0 for rank in found) if found else 0.0,
        low=low,
        high=high,
    )


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Bootstrap percentiles, from a fixed seed, so that the same ranks give the same interval."""
    if not values:
        return 0.0, 0.0
    chance = random.Random(0)  # noqa: S311 - a sample, not a secret
    means = sorted(fmean(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return means[int(RESAMPLES * 0.025)], means[int(RESAMPLES * 0.975)]
