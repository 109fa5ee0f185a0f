"""`adriatic eval` with all its commands: each of them is a module that adds itself to the group."""

from __future__ import annotations

from adriatic.cli import (  # noqa: F401 - they add their commands
    evaluate_citations,
    evaluate_guard,
    evaluate_passage,
    evaluate_related,
    evaluate_research,
    evaluate_suggestions,
)
from adriatic.cli.evaluate import evaluate

__all__ = ["evaluate"]
