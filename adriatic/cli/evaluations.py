"""`adriatic eval` with all its commands: each of them is a module that adds itself to the group."""

from __future__ import annotations

from adriatic.cli import evaluate_related, evaluate_suggestions  # noqa: F401 - they add their commands
from adriatic.cli.evaluate import evaluate

__all__ = ["evaluate"]
