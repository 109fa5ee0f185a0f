"""Finding the record at fault in a batch.

Owns the halving. Pure: refuses I/O. Used by `core.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from runtime.errors import OperatingError

T = TypeVar("T")
R = TypeVar("R")


def isolate(items: Sequence[T], work: Callable[[Sequence[T]], R]) -> tuple[list[R], list[tuple[T, Exception]]]:
    """`work` on all of `items`, else on halves, down to single ones: results in order, and the items that failed alone.

    One bad item among n costs about 2·log2(n) further calls. An `OperatingError` is nobody's fault and goes up.
    """
    if not items:
        return [], []
    try:
        return [work(items)], []
    except OperatingError:
        raise
    except Exception as error:
        if len(items) == 1:
            return [], [(items[0], error)]
    middle = len(items) // 2
    left, left_failed = isolate(items[:middle], work)
    right, right_failed = isolate(items[middle:], work)
    return left + right, left_failed + right_failed
