"""The flows of this release. A new flow is a module and a line in `MODULES`.

Owns which flows there are, and what follows from all their declarations together: who reads a topic, which views there
are. Refuses to know anything of a single one: that is in its class (`dataflows/flow.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.consumer.declared import find_declared
from dataflows.flow import Flow
from runtime.errors import NotFound
from runtime.settings import Settings
from schemas.flows import KeptView

MODULES = (
    "dataflows.index",
    "dataflows.embed",
    "dataflows.activity",
    "dataflows.usage",
    "dataflows.related",
    "dataflows.feeds",
)
"""Each has one flow."""


def flows() -> Mapping[str, type[Flow[Any]]]:
    """Every flow by name: its declaration, and the way to build it."""
    return find_declared(MODULES, Flow)


def views() -> tuple[KeptView, ...]:
    """Every view of every flow."""
    return tuple(view for flow in flows().values() for view in flow.views)


def readers_of(topic: str) -> tuple[str, ...]:
    """Names of the flows that read a topic, by contract name."""
    return tuple(name for name, flow in flows().items() if topic in flow.topics)


def build(name: str, settings: Settings) -> Flow[Any]:
    """A flow, ready to run. Raises `NotFound`, and what its parts raise (weights that are not there)."""
    if name not in flows():
        raise NotFound(f"there is no flow {name}", hint=f"one of {', '.join(flows())}")
    return flows()[name].build(settings)
