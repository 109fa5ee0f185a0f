"""The agents of this release. A new agent is a module and a line in `MODULES`.

Owns which agents there are, and who reads a topic. Refuses to know anything of a single one: that is in its class
(`streams/agent.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors.consumer.declared import find_declared
from streams.agent import Agent

MODULES = ("streams.announcements",)
"""Each has one agent."""


def agents() -> Mapping[str, type[Agent]]:
    """Every agent by name."""
    return find_declared(MODULES, Agent)


def readers_of(topic: str) -> tuple[str, ...]:
    """Names of the agents that read a topic, by contract name."""
    return tuple(name for name, agent in agents().items() if topic in agent.topics)
