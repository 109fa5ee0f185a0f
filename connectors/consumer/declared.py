"""Finding what is declared: the one processor of each module of a catalogue, by name.

Owns that a module declares exactly one. Refuses to know which modules there are: `dataflows/catalog.py` and
`streams/catalog.py` do.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=8)
def find_declared(modules: tuple[str, ...], base: type[Any]) -> Mapping[str, type[Any]]:
    """The subclass of `base` that each of `modules` has of its own."""
    found = [_find_in(module, base) for module in modules]
    return {processor.name: processor for processor in found}


def _find_in(module: str, base: type[Any]) -> type[Any]:
    values = vars(importlib.import_module(module)).values()
    (processor,) = (
        kind for kind in values if isinstance(kind, type) and issubclass(kind, base) and kind.__module__ == module
    )
    return processor
