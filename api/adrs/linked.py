"""Do two ADRs belong together? Whoever linked them said so; the links are taken out, and asked for. Pure.

Owns which ADRs of a history are asked for, what is taken out of their texts, plain BM25 as the line to beat, and the
scores. The question is an ADR that has a link to or from another one; right are all that it is linked with, in either
direction. Texts go in without what refers to other records (`strip_mentions`) and without titles of others where they
are quoted. An index, a template and a list (a text that links to many) neither ask nor answer: their links say nothing
about what they decide. They stay among what may be found wrongly. Refuses I/O: who runs it is
`adriatic/cli/evaluate_related.py`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Final
from uuid import UUID

import msgspec

from api.adrs.document import ParsedAdr, strip_title
from api.adrs.mentions import LinkKind, strip_mentions
from api.imports.links import KnownAdr, Resolver
from api.search.known_item import HistoryEnd, interval
from connectors.history import Fault, FileChange

RECALL_AT: Final = 5
DEPTH: Final = 10
"""Places that are looked at: as long as a list is."""
LIST_LINKS_MIN: Final = 13
"""Others that a text links to before it is a list. A decision has a few; lists that were seen have fifty and more."""

BM25_K1: Final = 1.2
BM25_B: Final = 0.75


class LinkedAdr(msgspec.Struct, frozen=True):
    """One ADR without its links. `links` lead to others, by their place among the items; `linked` are both ways."""

    path: str
    title: str
    text: str
    links: tuple[tuple[int, LinkKind], ...] = ()
    linked: frozenset[int] = frozenset()


class LinkScores(msgspec.Struct, frozen=True):
    """Means over `queries`; MRR is cut at `DEPTH`. `low` and `high` are the 95 % interval of the recall."""

    queries: int
    recall: float
    mrr: float
    low: float
    high: float


# --- what is asked for ----------------------------------------------------------------------------------------------


def items(changes: Iterable[FileChange | Fault]) -> list[LinkedAdr]:
    """The ADRs at the end of a history, in the order of paths. Texts that are no UTF-8 are left out."""
    end = HistoryEnd(changes)
    texts = list(end.texts())
    links = _links(texts, end.former)
    titles = [document.title for _, _, document in texts]
    return [
        LinkedAdr(
            path,
            document.title,
            f"# {document.title}\n\n{_blind(text, titles, document.title)}",
            tuple(sorted(links.get(at, {}).items())),
            frozenset(links.get(at, {})) | {other for other, to in links.items() if at in to},
        )
        for at, (path, text, document) in enumerate(texts)
    ]


def _links(
    texts: Sequence[tuple[str, str, ParsedAdr]], former: dict[str, tuple[str, ...]]
) -> dict[int, dict[int, LinkKind]]:
    """Which ADR links to which, resolved as an import does it."""
    taken: set[int] = set()
    known: list[KnownAdr] = []
    for at, (path, _, document) in enumerate(texts):
        number = document.number if document.number not in taken else None
        if number is not None:
            taken.add(number)
        known.append(KnownAdr(UUID(int=at), number, path, True, former.get(path, ())))
    resolver = Resolver(known)
    found: dict[int, dict[int, LinkKind]] = {}
    for at, (_, _, document) in enumerate(texts):
        for link in document.links:
            target = resolver.resolve(UUID(int=at), link.target)
            if target is not None:
                found.setdefault(at, {}).setdefault(target.int, link.kind)
    out = {at for at, (_, _, document) in enumerate(texts) if document.role != "record"}
    out |= {at for at, to in found.items() if len(to) >= LIST_LINKS_MIN}
    return {
        at: {other: kind for other, kind in to.items() if other not in out} for at, to in found.items() if at not in out
    }


def _blind(text: str, titles: Iterable[str], own: str) -> str:
    text = strip_mentions(strip_title(text))
    for title in titles:
        words = title.split()
        if len(words) > 1 and title.casefold() != own.casefold():
            text = re.sub(r"\s+".join(map(re.escape, words)), " ", text, flags=re.IGNORECASE)
    return text


# --- the line to beat -----------------------------------------------------------------------------------------------


def bm25(corpus: Sequence[LinkedAdr]) -> list[list[int]]:
    """List for each item the nearest others by Okapi BM25, its whole text as the query: plain words, no stems, no stop
    words."""
    texts = [Counter(re.findall(r"\w+", item.text.lower())) for item in corpus]
    sizes = [sum(text.values()) for text in texts]
    average = fmean(sizes) if sizes else 0.0
    frequency = Counter(word for text in texts for word in text)
    idf = {word: math.log(1 + (len(texts) - n + 0.5) / (n + 0.5)) for word, n in frequency.items()}

    def score(query: Counter[str], at: int) -> float:
        text, norm = texts[at], BM25_K1 * (1 - BM25_B + BM25_B * sizes[at] / average)
        return sum(
            count * idf[word] * text[word] * (BM25_K1 + 1) / (text[word] + norm)
            for word, count in query.items()
            if word in text
        )

    ranked: list[list[int]] = []
    for at, query in enumerate(texts):
        others = sorted((-score(query, other), other) for other in range(len(texts)) if other != at)
        ranked.append([other for _, other in others[:DEPTH]])
    return ranked


# --- scores ---------------------------------------------------------------------------------------------------------

Measured = tuple[float, float]
"""Recall and reciprocal rank of one question."""


def measure(corpus: Sequence[LinkedAdr], lists: Sequence[Sequence[int]]) -> list[Measured]:
    """Measure how well the list of each linked item holds what it is linked with."""
    found: list[Measured] = []
    for item, others in zip(corpus, lists, strict=True):
        if not item.linked:
            continue
        recall = sum(other in item.linked for other in others[:RECALL_AT]) / len(item.linked)
        places = [place for place, other in enumerate(others[:DEPTH], 1) if other in item.linked]
        found.append((recall, 1 / places[0] if places else 0.0))
    return found


def scores(found: Sequence[Measured]) -> LinkScores:
    recalls = [recall for recall, _ in found]
    low, high = interval(recalls)
    return LinkScores(
        len(found),
        fmean(recalls) if found else 0.0,
        fmean(rank for _, rank in found) if found else 0.0,
        low,
        high,
    )
