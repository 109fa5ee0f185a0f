"""Ranking passages anew for a question: the seam, and the choice by settings.

Owns the contract: for each question as many scores as passages, in their order, a higher one for what fits better.
Scores of two rerankers, or of two questions, are never compared. Refuses to decide what happens without one: whoever
asks does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runtime.settings import RerankerSettings, SecretSettings


class Reranker(Protocol):
    """Safe to call from several threads; blocks. Raises `DependencyUnavailable` when an endpoint does not answer or
    answers nonsense, and `Halted` for weights that are not those that were released."""

    @property
    def name(self) -> str: ...

    def score(self, questions: Sequence[str], passages: Sequence[str]) -> list[list[float]]: ...

    def close(self) -> None: ...


def build(settings: RerankerSettings, secrets: SecretSettings | None = None) -> Reranker:
    """The reranker that the settings ask for, ready to work."""
    # Imported here: a process that never ranks anew should not pay for a model or a client.
    if settings.kind == "late":
        from connectors.rerankers.late import LateInteraction

        return LateInteraction()
    from connectors.rerankers.remote import RemoteReranker

    return RemoteReranker(settings, secrets)
