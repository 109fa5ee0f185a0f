"""What the consumer core drives: the seam between it and whatever keeps tables or hears of jobs.

Owns `Event` and the class `Processor`; `dataflows/flow.py` and `streams/agent.py` have its two kinds. Refuses any
behaviour. Read next: `core.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from connectors.kafka.records import Record
from connectors.postgres.connections import Connection

Effects = TypeVar("Effects")


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded record. Tombstones (no value) never become one: they only move the offset. Where records are taken
    `raw`, every record becomes one, and `value` is None. `contract` is the contract name of its topic: what a value
    speaks of, nobody guesses from its fields."""

    record: Record
    value: Any
    contract: str


class Processor(ABC, Generic[Effects]):
    """Makes rows of events, in three steps. Instances hold no state that matters: that is in Postgres.

    Delivery: the events of one partition come in order, and each one's effects are committed exactly once together with
    the offset. Still a replay from the beginning must change nothing (an operator may set the offset back). When the
    core calls, every transaction that the events come from is visible: what is not in a table is not there.
    """

    name: str
    """The name in `ops.consumer_offsets` and metrics, and of the consumer group `adriatic.<name>`; for ever."""
    about: str
    """What it makes of what, in a few words for people."""
    topics: tuple[str, ...]
    """Contract names: the schema is that of `<topic>-value`."""
    raw: bool = False
    """Records come as they are, not decoded: whoever reads what strangers write looks at who wrote it first."""

    @classmethod
    def views_of(cls, topic: str) -> tuple[str, ...]:
        """Views whose watermarks the records of this topic move, by contract name. None, where no tables are kept."""
        del topic
        return ()

    @abstractmethod
    def transform(self, events: Sequence[Event]) -> Effects:
        """Events to effects: no I/O, no clock, no random. Whatever it raises is taken for an event's fault: the batch
        is halved until the events that raise are alone."""

    def prepare(self, connection: Connection, effects: Effects) -> Effects:
        """What needs a look at the database or a slow dependency. Never called while a transaction is open.

        `connection` is for reading. Raises `DependencyUnavailable` to be called again later, anything else like
        `transform`. May be called more than once for the same events.
        """
        del connection
        return effects

    @abstractmethod
    def apply(self, connection: Connection, effects: Effects) -> None:
        """Write the effects: SQL in the transaction that moves the offset, follow-up events with `app.emit`. A data
        fault that Postgres reports is treated like one in `transform`; a deadlock or a lost connection is tried
        again."""
