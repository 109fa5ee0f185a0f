"""The agents of this release. A new agent is a module and a line in `MODULES`.

Owns which agents there are, and who reads a topic. Refuses to know anything of a single one: that is in its class
(`streams/agent.py`).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import lru_cache

from streams.agent import Agent

MODULES = ("streams.announcements",)
"""Each has one agent."""


def agents() -> Mapping[str, type[Agent]]:
    """Every agent by name."""
    return _agents(MODULES)


@lru_cache(maxsize=8)
def _agents(modules: tuple[str, ...]) -> Mapping[str, type[Agent]]:
    found = [_agent_in(module) for module in modules]
    return {agent.name: agent for agent in found}


def _agent_in(name: str) -> type[Agent]:
    values = vars(importlib.import_module(name)).values()
    (agent,) = (
        kind for kind in values if isinstance(kind, type) and issubclass(kind, Agent) and kind.__module__ == name
    )
    return agent


def readers_of(topic: str) -> tuple[str, ...]:
    """Names of the agents that read a topic, by contract name."""
    return tuple(name for name, agent in agents().items() if topic in agent.topics)
