"""Who of ours reads a topic: the flows and the agents that say so.

Owns the two rooms' answers put together; the file of a topic does not name its readers. Refuses to know of others:
anybody may read a topic.
"""

from __future__ import annotations

from dataflows import catalog as flows
from streams import catalog as agents


def consumers_of(topic: str) -> tuple[str, ...]:
    """Names of flows and agents, by the topic's contract name."""
    return flows.readers_of(topic) + agents.readers_of(topic)
