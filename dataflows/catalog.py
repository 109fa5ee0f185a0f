"""The flows of this release, by name. A new flow is a module and a line here."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adriatic.errors import NotFound
from adriatic.settings import Settings
from dataflows.flow import Flow

FLOWS: dict[str, str] = {
    "index": "versions of ADRs → passages, searchable by words",
    "embed": "texts → vectors, searchable by meaning",
    "activity": "versions of ADRs → what happened, newest first, and counts",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a flow reads and keeps, known without building it."""

    topics: tuple[str, ...]
    views: tuple[str, ...]


def shapes(settings: Settings) -> Mapping[str, Shape]:
    """Every flow of `FLOWS`. From its class where a module in here has it, so that no model is loaded for it."""
    classes = {kind.name: kind for kind in _classes() if isinstance(getattr(kind, "name", None), str)}
    found = {name: classes.get(name) or build(name, settings) for name in FLOWS}
    return {name: Shape(tuple(flow.topics), tuple(flow.views)) for name, flow in found.items()}


def _classes() -> Iterator[type[Flow[Any]]]:
    package = importlib.import_module("dataflows")
    for module in pkgutil.iter_modules(package.__path__, "dataflows."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Flow):
                yield value


def build(name: str, settings: Settings) -> Flow[Any]:
    """A flow, ready to run. Raises `NotFound`, and what its parts raise (weights that are not there)."""
    makers: dict[str, Callable[[Settings], Flow[Any]]] = {"index": _index, "embed": _embed, "activity": _activity}
    if name not in makers:
        raise NotFound(f"there is no flow {name}", hint=f"one of {', '.join(FLOWS)}")
    return makers[name](settings)


def _index(_settings: Settings) -> Flow[Any]:
    from dataflows.index import Index

    return Index()


def _activity(_settings: Settings) -> Flow[Any]:
    from dataflows.activity import Activity

    return Activity()


def _embed(settings: Settings) -> Flow[Any]:
    # Imported here: only this flow pays for a model runtime.
    from connectors.embedders import build as build_embedder
    from dataflows.embed import Embed

    return Embed(build_embedder(settings.embedder))
