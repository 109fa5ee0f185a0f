"""Rows as arrays of their columns, for statements that take many rows at once: what `unnest` takes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def arrays_of(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """The columns of `rows`, each of which has `width` of them; as many empty ones of no rows."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
