"""What a flow is: the `Processor` that `dataflows.runner` runs.

A new flow is a module with one subclass of `Flow` and a line in `dataflows/catalog.py`. It says which topics it reads
and which views it keeps, turns events into effects (pure), and writes effects with SQL. Reading, decoding, retries,
dead letters, offsets, watermarks, lag and health are the core's and the runner's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic

from connectors.consumer.contract import Effects, Event
from connectors.kafka.source import BatchLimits
from connectors.postgres.sink import Connection

__all__ = ["Effects", "Event", "Flow"]


class Flow(ABC, Generic[Effects]):
    """One view-keeping flow. Instances hold no state that matters: that is in Postgres.

    Delivery: the events of one partition come in order and each one's effects are committed exactly once together with
    the offset. Still every flow must stand a replay from the beginning (an operator may set the offset back), so
    effects are versioned or keyed, and a replay changes nothing.
    """

    name: str
    """Of the flow in `ops.consumer_offsets`, metrics and `adriatic flow run`; for ever, it names the offsets."""
    topics: tuple[str, ...]
    """By contract name: the schema is that of `<topic>-value`."""
    views: tuple[str, ...] = ()
    """Whose watermarks this flow moves."""
    limits: BatchLimits = BatchLimits()
    raw: bool = False
    """Records come as they are, not decoded: whoever reads what strangers write looks at who wrote it first."""

    def start(self, connection: Connection) -> None:
        """Once, before the first record, in a transaction of its own. Raises `DependencyUnavailable` to be called again
        later, `Halted` when the flow must not run."""

    @classmethod
    def views_of(cls, topic: str) -> tuple[str, ...]:
        """Those of `views` that are made from this topic, by contract name: whose watermarks its records move."""
        del topic
        return cls.views

    def redriving(self) -> Flow[Effects]:
        """The flow for dead letters that a person decided to process again. It raises where it must not be taken for
        done."""
        return self

    @abstractmethod
    def transform(self, events: Sequence[Event]) -> Effects:
        """Events to effects: no I/O, no clock, no random. Whatever it raises is taken for an event's fault: the batch
        is halved until the events that raise are alone."""

    def prepare(self, connection: Connection, effects: Effects) -> Effects:
        """What needs a look at the database or a slow dependency (an embedder), outside the transaction that writes.

        `connection` is for reading. Raises `DependencyUnavailable` to be called again later, anything else like
        `transform`. May be called more than once for the same events.
        """
        del connection
        return effects

    @abstractmethod
    def apply(self, connection: Connection, effects: Effects) -> None:
        """Write the effects: SQL in the sink's transaction, follow-up events with `app.emit`. A data fault that
        Postgres reports is treated like one in `transform`; a deadlock or a lost connection is tried again."""
