"""What a flow is: the `Processor` that `dataflows.runner` runs.

A new flow is a module with one subclass of `Flow` and a line in `dataflows/catalog.py`. The class declares the flow
once: what it is called, reads, keeps and shows, how it is made, what is right. Everything else follows from that: its
process and port, `adriatic flow`, `status`, the readers of its topics, live views, `verify`, the reference. It turns
events into effects (pure), and writes effects with SQL. Reading, decoding, retries, dead letters, offsets, watermarks,
lag and health are the core's and the runner's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Self

from connectors.consumer.contract import Effects, Event
from connectors.kafka.source import BatchLimits
from connectors.postgres.connections import Connection
from dataflows.comparison import Comparison, unlike
from runtime.settings import Settings
from schemas.flows import KeptTable, KeptView

__all__ = ["Effects", "Event", "Flow"]


class Flow(ABC, Generic[Effects]):
    """One view-keeping flow. Instances hold no state that matters: that is in Postgres.

    Delivery: the events of one partition come in order and each one's effects are committed exactly once together with
    the offset. Still every flow must stand a replay from the beginning (an operator may set the offset back), so
    effects are versioned or keyed, and a replay changes nothing.
    """

    name: str
    """Name of the flow in `ops.consumer_offsets`, metrics and `adriatic flow run`; for ever, it names the offsets."""
    about: str
    """What it makes of what, in a few words for people."""
    topics: tuple[str, ...]
    """Contract names: the schema is that of `<topic>-value`."""
    tables: tuple[KeptTable, ...] = ()
    """Every table that `apply` writes, and what is right in it."""
    views: tuple[KeptView, ...] = ()
    """What readers see of it, by names that have watermarks."""
    limits: BatchLimits = BatchLimits()
    raw: bool = False
    """Records come as they are, not decoded: whoever reads what strangers write looks at who wrote it first."""

    @classmethod
    def build(cls, settings: Settings) -> Self:
        """The flow, ready to run. Raises what its parts raise (weights that are not there). What is slow to import is
        imported in here: who only reads the declaration does not pay for a model runtime."""
        del settings
        return cls()

    def start(self, connection: Connection) -> None:
        """Once, before the first record, in a transaction of its own. Raises `DependencyUnavailable` to be called again
        later, `Halted` when the flow must not run."""

    @classmethod
    def views_of(cls, topic: str) -> tuple[str, ...]:
        """Names of those of `views` that are made from this topic, by contract name: its records move their
        watermarks."""
        return tuple(view.name for view in cls.views if not view.follows and topic in (view.made_from or cls.topics))

    def for_redrive(self) -> Flow[Effects]:
        """The flow for dead letters that a person decided to process again. It raises where it must not be taken for
        done."""
        return self

    @classmethod
    def compare(cls, comparison: Comparison) -> None:
        """Add every row of the tenant that is not what its sources give, for `adriatic verify`. A flow whose tables all
        have a query that says what is right needs nothing of its own."""
        right = {table.name: (table.columns, table.right) for table in cls.tables if table.right}
        comparison.add_unlike(unlike(comparison.connection, comparison.tenant.tenant_id, right))

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
