"""The flows of this release, by name. A new flow is a module and a line here."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.kafka.records import TopicPartition
from dataflows.flow import Flow
from runtime.errors import NotFound
from runtime.settings import Settings

FLOWS: dict[str, str] = {
    "index": "versions of ADRs → passages, searchable by words",
    "embed": "texts → vectors, searchable by meaning",
    "feeds": "what outside producers send → versions of documents",
    "activity": "versions of ADRs → what happened, newest first, and counts",
    "usage": "what models were asked → tokens and money by hour, day, model, user, key; what jobs are at",
    "related": "what is findable, and links → the nearest other ADRs of each, and why",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a flow reads and keeps, known without building it."""

    topics: tuple[str, ...]
    views: Mapping[str, tuple[str, ...]]
    """Each with the topics that it is made from."""

    def partitions_of(self, view: str, read: Iterable[TopicPartition]) -> int:
        """How many of the partitions that the flow reads must report before the watermark of `view` says anything."""
        of_others = set(self.topics).difference(self.views.get(view, self.topics))
        return sum(source.topic not in of_others for source in read)


def shapes(settings: Settings) -> Mapping[str, Shape]:
    """Every flow of `FLOWS`. From its class where a module in here has it, so that no model is loaded for it."""
    classes = {kind.name: kind for kind in _classes() if isinstance(getattr(kind, "name", None), str)}
    found = {name: classes.get(name) or build(name, settings) for name in FLOWS}
    return {name: Shape(tuple(flow.topics), _views(flow)) for name, flow in found.items()}


def _views(flow: type[Flow[Any]] | Flow[Any]) -> Mapping[str, tuple[str, ...]]:
    return {view: tuple(topic for topic in flow.topics if view in flow.views_of(topic)) for view in flow.views}


def _classes() -> Iterator[type[Flow[Any]]]:
    package = importlib.import_module("dataflows")
    for module in pkgutil.iter_modules(package.__path__, "dataflows."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Flow):
                yield value


def build(name: str, settings: Settings) -> Flow[Any]:
    """A flow, ready to run. Raises `NotFound`, and what its parts raise (weights that are not there)."""
    makers: dict[str, Callable[[Settings], Flow[Any]]] = {
        "index": _index,
        "embed": _embed,
        "activity": _activity,
        "usage": _usage,
        "related": _related,
        "feeds": _feeds,
    }
    if name not in makers:
        raise NotFound(f"there is no flow {name}", hint=f"one of {', '.join(FLOWS)}")
    return makers[name](settings)


def _index(_settings: Settings) -> Flow[Any]:
    from dataflows.index import Index

    return Index()


def _activity(_settings: Settings) -> Flow[Any]:
    from dataflows.activity import Activity

    return Activity()


def _usage(_settings: Settings) -> Flow[Any]:
    from dataflows.usage import Usage

    return Usage()


def _related(_settings: Settings) -> Flow[Any]:
    from dataflows.related import Related

    return Related()


def _feeds(settings: Settings) -> Flow[Any]:
    from connectors.registry import RegistryClient
    from dataflows.feeds import Feeds

    return Feeds(RegistryClient(settings.registry))


def _embed(settings: Settings) -> Flow[Any]:
    # Imported here: only this flow pays for a model runtime.
    from connectors.embedders import build as build_embedder
    from dataflows.embed import Embed

    return Embed(build_embedder(settings.embedder))
