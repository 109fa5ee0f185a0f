"""Late interaction: each word piece of the question finds the piece of a passage that is nearest to it.

Owns the sum of those (MaxSim, from ColBERT, Khattab and Zaharia, SIGIR 2020), with the token vectors of the model that
comes along. It was not trained for this, so what it is worth is measured (`adriatic eval research`). It needs no
key and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from connectors.embedders.tokens import TokenEmbedder, TokenVectors


class LateInteraction:
    """See `Reranker`. A passage takes some 20 ms."""

    name: Final = "late-interaction"

    def __init__(self, embedder: TokenEmbedder | None = None) -> None:
        self._embedder = embedder or TokenEmbedder()

    def score(self, questions: Sequence[str], passages: Sequence[str]) -> list[list[float]]:
        made = self._embedder.embed([*questions, *passages])
        asked, others = made[: len(questions)], made[len(questions) :]
        return [[max_sim(each, other) for other in others] for each in asked]

    def close(self) -> None:
        self._embedder.close()


def max_sim(question: TokenVectors, passage: TokenVectors) -> float:
    """The mean over the question's pieces of the cosine with the nearest piece of the passage; 0 where one of them has
    no piece."""
    if not len(question) or not len(passage):
        return 0.0
    return float(np.mean(np.max(question @ passage.T, axis=1)))
